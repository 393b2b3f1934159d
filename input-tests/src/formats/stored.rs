//! What lies in flash and files.

use std::sync::LazyLock;

use crc::{CRC_32_ISCSI, Crc};
use device_chain::genesis::Genesis;
use device_chain::keys::{Device, KeyHandle, KeyStore};
use device_chain::mac::Suite;
use device_chain::record::Record;
use device_chain::sign::SigningKey;
use device_chain::types::Micros;
use ecu_node::linux::sealed::{SealKey, seal, unseal};
use ecu_node::trace::{self, Step};
use ecu_node::{Input, keyfile, provision};
use event_chain::codec::encode;
use journal::{Geometry, Identity, Journal, MAX_RECORD, MemCounter, MemFlash, SLOT_SIZE, slot_of, value_of};
use vehicle_gateway::chain::Entry;

use super::{Group, reading};
use crate::values;
use crate::{Dice, Format, Reading};

pub const FACTS: Group = Group {
    name: "fact",
    formats: &[
        Format { name: "fact: boot", make: fact::<0>, read: reading::<Record> },
        Format { name: "fact: vote", make: fact::<1>, read: reading::<Record> },
        Format { name: "fact: decided", make: fact::<2>, read: reading::<Record> },
        Format { name: "fact: amnesiac", make: fact::<3>, read: reading::<Record> },
        Format { name: "fact: readmitted", make: fact::<4>, read: reading::<Record> },
        Format { name: "fact: past", make: fact::<5>, read: reading::<Record> },
        Format { name: "fact: parent", make: fact::<6>, read: reading::<Record> },
        Format { name: "entry of the chain's log", make: entry, read: reading::<Entry> },
    ],
};

pub const JOURNALS: Group = Group {
    name: "journal",
    formats: &[
        Format { name: "journal", make: journal, read: read_journal },
        Format { name: "counter", make: |dice| slot_of(dice.long()).to_vec(), read: read_slot },
    ],
};

pub const FILES: Group = Group {
    name: "file",
    formats: &[
        Format { name: "key file", make: key_file, read: read_key_file },
        Format { name: "sealed key file", make: sealed_key_file, read: read_sealed_key_file },
        Format { name: "provisioning image", make: provisioned, read: read_provisioned },
        Format { name: "trace", make: traced, read: read_trace },
    ],
};

fn fact<const KIND: usize>(dice: &mut Dice<'_>) -> Vec<u8> {
    encode(&values::fact(KIND, dice))
}

fn entry(dice: &mut Dice<'_>) -> Vec<u8> {
    encode(&match dice.below(4) {
        0 => Entry::Decided(values::transaction_bytes(dice)),
        1 => Entry::Proposed(values::header(dice)),
        2 => Entry::Sealed(values::seal(dice)),
        _ => Entry::Forwarded(values::finality(dice)),
    })
}

/// Two banks of two pages each.
pub const GEOMETRY: Geometry = Geometry { erase_size: 256, write_size: 8, capacity: 1024 };
/// Whose journal it is.
pub const IDENTITY: Identity = [0xC4; 32];

/// A flash, and behind it the counter.
fn journal(dice: &mut Dice<'_>) -> Vec<u8> {
    let (mut flash, mut counter) = (MemFlash::new(GEOMETRY), MemCounter::default());
    let formatted = Journal::<_, MemCounter>::format(&mut flash, IDENTITY).is_ok();
    if formatted && let Ok((mut journal, _)) = Journal::open(&mut flash, &mut counter, IDENTITY) {
        for _ in 0..dice.below(8) {
            let (kind, payload) = (dice.byte(), dice.up_to(60));
            let _ = if dice.once_in(4) {
                journal.rewrite(|new| new.append(kind, &payload))
            } else {
                journal.append(kind, &payload).map(|_| ())
            };
        }
    }
    let count = journal::Counter::value(&counter);
    [flash.image(), &count.to_le_bytes()].concat()
}

/// What a start finds. Whatever it is, a rewrite makes it whole.
fn read_journal(bytes: &[u8]) -> Reading {
    let mut image = bytes.to_vec();
    let count = image.split_off(image.len().min(GEOMETRY.capacity as usize));
    image.resize(GEOMETRY.capacity as usize, 0xFF);
    let count = count.iter().take(8).rev().fold(0, |count, byte| count << 8 | u64::from(*byte));
    let (mut flash, mut counter) = (MemFlash::from_image(GEOMETRY, image), MemCounter::default());
    let _ = journal::Counter::raise(&mut counter, count);
    let opened = Journal::open(&mut flash, &mut counter, IDENTITY);
    let (mut journal, recovery) = opened.map_err(|error| format!("{error:?}"))?;
    let mut told = format!("{recovery:?}").into_bytes();
    let replayed = journal.for_each(&mut [0; MAX_RECORD], |sequence, kind, payload| {
        told.extend(sequence.to_le_bytes());
        told.extend([kind, payload.len() as u8]);
        told.extend(payload);
    });
    assert!(replayed.is_ok(), "what was found stays: {replayed:?}");
    if journal.last_sequence().max(count) < u64::MAX - 2 && journal.rewrite(|new| new.append(1, b"on")).is_ok() {
        assert!(journal.append(1, b"and on").is_ok());
        let again = Journal::open(&mut flash, &mut counter, IDENTITY).map(|(_, recovery)| recovery.needs_rewrite());
        assert_eq!(again, Ok(false), "after a rewrite everything is well");
    }
    Ok(told)
}

fn read_slot(bytes: &[u8]) -> Reading {
    let slot: &[u8; SLOT_SIZE] = bytes.try_into().map_err(|_| "not as long as a slot")?;
    let value = value_of(slot).ok_or("torn")?;
    assert_eq!(slot_of(value), *slot);
    Ok(value.to_le_bytes().to_vec())
}

const ENDPOINTS: usize = 2;
const VALIDATORS: usize = 4;

/// A car whose devices have these seeds: their places, from 1.
static CAR: LazyLock<Genesis> = LazyLock::new(|| {
    values::genesis(VALIDATORS, ENDPOINTS, Suite::Blake2s, |at| SigningKey::from_seed([at as u8 + 1; 32]).public())
});

fn key_file(dice: &mut Dice<'_>) -> Vec<u8> {
    let own = dice.below(VALIDATORS + ENDPOINTS);
    let reach = if own < VALIDATORS { VALIDATORS + ENDPOINTS } else { VALIDATORS };
    let peers: Vec<usize> = (0..reach).filter(|peer| *peer != own).collect();
    let mut file = b"RINGKEY\x01".to_vec();
    file.extend(CAR.mesh().0.0);
    file.extend([own as u8 + 1; 32]);
    file.extend((peers.len() as u16).to_le_bytes());
    for peer in peers {
        let endpoint = peer.checked_sub(VALIDATORS);
        file.extend([u8::from(endpoint.is_some()), endpoint.unwrap_or(peer) as u8]);
        file.extend(dice.bytes::<32>());
    }
    with_checksum(file)
}

fn with_checksum(mut body: Vec<u8>) -> Vec<u8> {
    body.extend(Crc::<u32>::new(&CRC_32_ISCSI).checksum(&body).to_le_bytes());
    body
}

/// Whose file it is, and a tag by each of its keys.
fn read_key_file(bytes: &[u8]) -> Reading {
    let parsed = keyfile::parse(bytes, &CAR).map_err(|error| error.to_string())?;
    let peers = (0..VALIDATORS as u8).map(Device::Validator).chain((0..ENDPOINTS as u8).map(Device::Endpoint));
    let tags = peers.filter_map(|peer| parsed.keys.tag(KeyHandle::Pair(peer), &[0; 48]));
    let mut told = format!("{:?}", parsed.device).into_bytes();
    told.extend(tags.flatten());
    Ok(told)
}

/// The key that opens it.
fn seal_key() -> SealKey {
    SealKey::new([0xCE; 32].into())
}

fn sealed_key_file(dice: &mut Dice<'_>) -> Vec<u8> {
    seal(&key_file(dice), &CAR.mesh(), &seal_key(), dice.bytes())
}

/// Whatever is in it is what was sealed, and sealing it again gives the same.
fn read_sealed_key_file(bytes: &[u8]) -> Reading {
    let file = unseal(bytes, Some(&CAR.mesh()), &seal_key()).map_err(|error| error.to_string())?;
    let nonce = bytes[48..60].try_into().expect("as long as that");
    assert!(seal(&file, &CAR.mesh(), &seal_key(), nonce) == bytes, "two boxes of one key file");
    read_key_file(&file)
}

/// A damaged key file whose checksum is right: only forgers make one, and whoever has a fault in the program that writes it.
///
/// # Panics
/// If it is read wrongly.
pub fn forged_key_file(bytes: &[u8]) {
    let mut dice = Dice::of_bytes(bytes);
    let mut file = key_file(&mut dice);
    file.truncate(file.len() - 4);
    let damaged = with_checksum(dice.damage(file));
    let _ = read_key_file(&damaged);
    let _ = read_key_file(&with_checksum(bytes.to_vec()));
    let _ = read_sealed_key_file(&seal(&damaged, &CAR.mesh(), &seal_key(), [0; 12]));
}

fn provisioned(dice: &mut Dice<'_>) -> Vec<u8> {
    let (genesis, keys) = (dice.up_to(40), dice.up_to(40));
    let lengths = [genesis.len(), keys.len()].map(|length| (length as u32).to_le_bytes()).concat();
    [b"RINGDEV\x01", &dice.bytes::<32>()[..], &lengths, &genesis, &keys, &dice.up_to(9)].concat()
}

fn read_provisioned(bytes: &[u8]) -> Reading {
    let parts = provision::parse(bytes).ok_or("not provisioned")?;
    let whole = [b"RINGDEV\x01", &parts.maker.0[..], &bytes[40..48], parts.genesis, parts.keys].concat();
    assert!(bytes.starts_with(&whole), "the parts follow each other");
    Ok([&[parts.genesis.len() as u8], &whole[..]].concat())
}

fn step(dice: &mut Dice<'_>) -> Step {
    use can_bus::port::{BusEvent, ErrorState};
    Step::Input(match dice.below(16) {
        0 => return Step::Genesis(values::plain_genesis(4 + dice.below(5))),
        1 => return Step::Key(dice.byte(), dice.bytes()),
        2 => return Step::Boot(dice.byte(), dice.long()),
        3 => return Step::Poll,
        4 => return Step::Mark(dice.byte()),
        5 => Input::Tick,
        6 => Input::Bus(BusEvent::Received { segment: 0, at_us: 0, frame: super::bus::frame(dice) }),
        7 => Input::Bus(BusEvent::Transmitted { token: dice.int() }),
        8 => Input::Bus(BusEvent::Dropped { token: dice.int() }),
        9 => Input::Bus(BusEvent::Overrun { frames: dice.int() }),
        10 => {
            let states = [ErrorState::Active, ErrorState::Warning, ErrorState::Passive, ErrorState::BusOff];
            Input::Bus(BusEvent::State(dice.pick(&states)))
        }
        11 => Input::Persisted(dice.long()),
        12 => Input::Signed(values::hash(dice), values::signature(dice)),
        13 => Input::GrantChecked(values::hash(dice), dice.flag()),
        14 => Input::Grant(values::grant(dice)),
        15 => Input::EndorsementChecked(values::signature(dice), dice.flag()),
        16 => Input::Endorsement(values::endorsement(dice)),
        17 => Input::Measured(values::hash(dice)),
        _ => {
            let kind = dice.below(values::TRANSACTIONS);
            Input::Submit(values::transaction(kind, dice))
        }
    })
}

fn written(now: Micros, step: &Step) -> Vec<u8> {
    let mut record = Vec::new();
    let fits = trace::write(now, step, &mut vec![0; trace::MAX_RECORD], &mut |part| record.extend_from_slice(part));
    assert!(fits, "longer than a record: {step:?}");
    record
}

fn traced(dice: &mut Dice<'_>) -> Vec<u8> {
    (0..=dice.below(3)).flat_map(|_| written(Micros(dice.long()), &step(dice))).collect()
}

/// Record after record, written again; what is written again says the same.
fn read_trace(bytes: &[u8]) -> Reading {
    let (mut rest, mut told) = (bytes, Vec::new());
    while let Some((head, behind)) = rest.split_first_chunk() {
        let (now, kind, length) = trace::head(head);
        let (said, behind) = behind.split_at_checked(length).ok_or("cut off")?;
        let step = trace::read(kind, said).ok_or("says nothing")?;
        let again = written(now, &step);
        let (head, said) = again.split_first_chunk().ok_or("no head")?;
        let step = trace::read(trace::head(head).1, said).expect("what was written");
        assert_eq!(written(now, &step), again);
        told.extend(again);
        rest = behind;
    }
    if rest.is_empty() { Ok(told) } else { Err("cut off".into()) }
}

/// The log of the chain with arbitrary entries, each well framed.
pub fn chain_log(dice: &mut Dice<'_>) -> Vec<u8> {
    let mut log = [&b"RFEVENT1"[..], &CAR.mesh().0.0].concat();
    while !dice.is_empty() {
        let payload = if dice.flag() { entry(dice) } else { dice.up_to(200) };
        let length = (payload.len() as u32).to_le_bytes();
        let crc = Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
        log.extend(length);
        log.extend(crc.checksum(&length).to_le_bytes());
        log.extend(crc.checksum(&payload).to_le_bytes());
        log.extend(payload);
    }
    log
}

/// The car whose log that is.
#[must_use]
pub fn car() -> &'static Genesis {
    &CAR
}
