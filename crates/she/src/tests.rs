//! The commands, against the specification's own example and its list of errors.

use super::*;

const UID: Uid = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const MASTER: Block = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const NEW: Block = [15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0];
const BLANK: Block = [0xFF; 16];
const MESSAGE: &[u8] = b"forty-eight bytes of message, as a tag of Ringfort";
const LATENCY: Latency = Latency { call_us: 100, block_us: 10, write_us: 5_000 };

fn key_1() -> Slot {
    Slot::key(1).unwrap()
}

/// An SHE that has its MASTER_ECU_KEY.
fn she() -> She {
    let mut she = She::new(UID, [0x5E; 16], LATENCY);
    let master = Update::new(&UID, Slot::MASTER_ECU, (Slot::MASTER_ECU, &BLANK), 1, Flags::NONE, &MASTER);
    assert!(she.load_key(&master).is_ok());
    she
}

/// By the owner of MASTER_ECU_KEY.
fn update(counter: u32, flags: Flags, key: &Block) -> Update {
    Update::new(&UID, key_1(), (Slot::MASTER_ECU, &MASTER), counter, flags, key)
}

/// With a key in KEY_1.
fn with_key(flags: Flags) -> She {
    let mut she = she();
    assert!(she.load_key(&update(1, flags, &NEW)).is_ok());
    she
}

fn block(hex: u128) -> Block {
    hex.to_be_bytes()
}

/// The specification's example of a memory update: KEY_1 of device 1, by MASTER_ECU_KEY, counter 1, no flags. The same values are in the
/// tests of NXP's SPSDK and of others.
#[test]
fn the_specifications_memory_update() {
    let update = update(1, Flags::NONE, &NEW);
    assert_eq!(update.m1, block(0x0000_0000_0000_0000_0000_0000_0000_0141));
    assert_eq!(
        update.m2,
        [0x2b11_1e2d_93f4_8656_6bcb_ba1d_7f7a_9797, 0xc946_43b0_50fc_5d4d_7de1_4cff_6822_03c3].map(block)
    );
    assert_eq!(update.m3, block(0xb9d7_45e5_ace7_d418_60bc_63c2_b9f5_bb46));
    let proof = she().load_key(&update).unwrap();
    assert_eq!(
        proof.m4,
        [0x0000_0000_0000_0000_0000_0000_0000_0141, 0xb472_e8d8_727d_70d5_7295_e748_49a2_7917].map(block)
    );
    assert_eq!(proof.m5, block(0x820d_8d95_dc11_b466_8878_160c_b2a4_e23e));
    assert!(Proof::new(&UID, key_1(), Slot::MASTER_ECU, 1, &NEW).is(&proof));
    assert!(!Proof::new(&UID, key_1(), Slot::MASTER_ECU, 1, &MASTER).is(&proof), "it proves which key");
}

#[test]
fn flags_and_counter_have_their_bits() {
    for (at, flags) in [
        Flags { write_protected: true, ..Flags::NONE },
        Flags { boot_protected: true, ..Flags::NONE },
        Flags { debugger_protected: true, ..Flags::NONE },
        Flags { for_macs: true, ..Flags::NONE },
        Flags { no_wildcard: true, ..Flags::NONE },
        Flags { verify_only: true, ..Flags::NONE },
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(flags.pack(0x0FED_CBA9), (0x0FED_CBA9 << 100 | 1_u128 << (99 - at)).to_be_bytes());
        assert_eq!(Flags::unpack(&flags.pack(7)), (7, flags));
    }
}

#[test]
fn what_is_no_update_for_this_slot_of_this_device_is_refused() {
    let protected = Flags { write_protected: true, ..Flags::MAC };
    let named = Flags { no_wildcard: true, ..Flags::MAC };
    let by = |uid: &Uid, slot, auth, key: &Block| Update::new(uid, slot, (auth, key), 2, Flags::MAC, &MASTER);
    let (anybody, other) = ([0; 15], [9; 15]);
    for (what, flags, update, outcome) in [
        ("a higher counter", Flags::MAC, update(2, Flags::MAC, &MASTER), None),
        ("any device", Flags::MAC, by(&anybody, key_1(), Slot::MASTER_ECU, &MASTER), None),
        ("the key itself authorises", Flags::MAC, by(&UID, key_1(), key_1(), &NEW), None),
        ("the same counter", Flags::MAC, update(1, Flags::MAC, &MASTER), Some(Error::KeyUpdate)),
        ("another device", Flags::MAC, by(&other, key_1(), Slot::MASTER_ECU, &MASTER), Some(Error::KeyUpdate)),
        ("any device, but none asked", named, by(&anybody, key_1(), Slot::MASTER_ECU, &MASTER), Some(Error::KeyUpdate)),
        ("by a wrong key", Flags::MAC, by(&UID, key_1(), Slot::MASTER_ECU, &NEW), Some(Error::KeyUpdate)),
        ("write-protected", protected, update(2, Flags::MAC, &MASTER), Some(Error::KeyWriteProtected)),
        ("by another slot", Flags::MAC, by(&UID, Slot::MASTER_ECU, key_1(), &NEW), Some(Error::KeyInvalid)),
        ("the secret itself", Flags::MAC, by(&UID, Slot::SECRET, Slot::MASTER_ECU, &MASTER), Some(Error::KeyInvalid)),
        ("by an empty slot", Flags::MAC, by(&UID, Slot::RAM, Slot::key(2).unwrap(), &BLANK), Some(Error::KeyEmpty)),
    ] {
        let mut she = with_key(flags);
        let before = she.generate_mac(key_1(), MESSAGE);
        assert_eq!(she.load_key(&update).err(), outcome, "{what}");
        assert_eq!(she.generate_mac(key_1(), MESSAGE) == before, outcome.is_some(), "{what}: replaced, or as it was");
    }
}

#[test]
fn an_update_with_one_wrong_bit_is_refused() {
    for bit in 0..3 * 128 + 128 {
        let mut wrong = update(2, Flags::MAC, &MASTER);
        let (part, mask) = (bit / 128, 1 << (bit % 8));
        let byte = bit % 128 / 8;
        match part {
            0 => wrong.m1[byte] ^= mask,
            1 | 2 => wrong.m2[part - 1][byte] ^= mask,
            _ => wrong.m3[byte] ^= mask,
        }
        assert!(with_key(Flags::MAC).load_key(&wrong).is_err(), "bit {bit}");
    }
}

#[test]
fn a_mac_is_made_and_checked_by_keys_for_it_only() {
    let mut she = with_key(Flags::MAC);
    let mac = she.generate_mac(key_1(), MESSAGE).unwrap();
    assert_eq!(mac, cmac(&NEW, MESSAGE));
    for bits in 0..=128 {
        assert_eq!(she.verify_mac(key_1(), MESSAGE, &mac, bits), Ok(true), "{bits} bits");
    }
    let mut wrong = mac;
    wrong[7] ^= 1;
    for (bits, verified) in [(63, true), (64, false), (128, false), (0, false)] {
        assert_eq!(she.verify_mac(key_1(), MESSAGE, &wrong, bits), Ok(verified), "{bits} bits");
    }
    assert_eq!(she.verify_mac(key_1(), MESSAGE, &mac, 129), Err(Error::General));
    for (slot, error) in [
        (Slot::key(2).unwrap(), Error::KeyEmpty),
        (Slot::RAM, Error::KeyEmpty),
        (Slot::MASTER_ECU, Error::KeyInvalid),
        (Slot::SECRET, Error::KeyInvalid),
    ] {
        assert_eq!(she.generate_mac(slot, MESSAGE), Err(error));
    }
    assert_eq!(with_key(Flags::NONE).generate_mac(key_1(), MESSAGE), Err(Error::KeyInvalid), "for encryption");
}

/// Who has taken over a receiver cannot speak as the sender to a third, though all of them share one key.
#[test]
fn a_verify_only_key_checks_and_makes_nothing() {
    let mut sender = with_key(Flags::MAC);
    let mut receiver = with_key(Flags { verify_only: true, ..Flags::MAC });
    let mac = sender.generate_mac(key_1(), MESSAGE).unwrap();
    assert_eq!(receiver.verify_mac(key_1(), MESSAGE, &mac, 128), Ok(true));
    assert_eq!(receiver.generate_mac(key_1(), MESSAGE), Err(Error::KeyInvalid));
}

#[test]
fn protected_keys_are_locked_by_a_failed_boot_and_by_a_debugger() {
    let mut booted = with_key(Flags { boot_protected: true, ..Flags::MAC });
    let mut watched = with_key(Flags { debugger_protected: true, ..Flags::MAC });
    for she in [&mut booted, &mut watched] {
        assert!(she.generate_mac(key_1(), MESSAGE).is_ok());
    }
    booted.reset(false);
    watched.attach_debugger();
    for she in [&mut booted, &mut watched] {
        assert_eq!(she.generate_mac(key_1(), MESSAGE), Err(Error::KeyNotAvailable));
        she.reset(true);
        assert!(she.generate_mac(key_1(), MESSAGE).is_ok());
    }
}

#[test]
fn the_ram_key_is_plain_or_wrapped_by_this_device_and_gone_at_a_reset() {
    let mut she = she();
    assert_eq!(she.export_ram_key().err(), Some(Error::KeyEmpty));
    she.load_plain_key(&NEW);
    let (wrapped, proof) = she.export_ram_key().unwrap();
    assert!(!format!("{wrapped:?}").contains("15, 14, 13"), "it is encrypted");
    she.reset(true);
    assert_eq!(she.generate_mac(Slot::RAM, MESSAGE), Err(Error::KeyEmpty));
    assert_eq!(she.load_key(&wrapped).unwrap(), proof);
    assert_eq!(she.generate_mac(Slot::RAM, MESSAGE), Ok(cmac(&NEW, MESSAGE)));
    assert_eq!(she.export_ram_key().err(), Some(Error::KeyInvalid), "it did not come as plain text");
    let mut other = She::new(UID, [0x5F; 16], LATENCY);
    assert_eq!(other.load_key(&wrapped).err(), Some(Error::KeyUpdate), "another secret");
}

#[test]
fn random_numbers_need_a_seed_and_differ_in_every_start() {
    let mut she = she();
    assert_eq!(she.random(), Err(Error::RngSeed));
    let mut seen = Vec::new();
    for _ in 0..3 {
        she.reset(true);
        she.init_rng();
        seen.extend((0..4).map(|_| she.random().unwrap()));
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 12);
}

#[test]
fn it_says_who_it_is_under_its_master_key() {
    let mut she = she();
    let (uid, status, mac) = she.get_id(&[7; 16]);
    assert_eq!((uid, status), (UID, 0x18));
    assert_eq!(mac, cmac(&MASTER, &[&[7; 16][..], &UID, &[status]].concat()));
    assert_eq!(She::new(UID, [1; 16], LATENCY).get_id(&[7; 16]).2, [0; 16], "without that key");
}

#[test]
fn each_command_takes_its_time() {
    let mut she = with_key(Flags::MAC);
    assert_eq!(she.elapsed_us(), 2 * (100 + 12 * 10 + 5_000), "two keys");
    let mac = she.generate_mac(key_1(), &[0; 48]).unwrap();
    assert_eq!(she.elapsed_us(), 100 + 3 * 10);
    let _ = she.verify_mac(key_1(), &[0; 48], &mac, 64);
    she.load_plain_key(&NEW);
    assert_eq!(she.elapsed_us(), 100 + 3 * 10 + 100);
    assert_eq!(she.elapsed_us(), 0);
}
