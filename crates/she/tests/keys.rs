//! The key store over an SHE: it keeps the word of the port, and no key comes out of it.
#![allow(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

use std::cell::RefCell;
use std::rc::Rc;

use device_chain::keys::{Device, KeyHandle, KeyStore, SoftKeys};
use device_chain::mac::{Key, Suite};
use ecu_node::conformance::{self, Results, TEST_KEY, TEST_PEER};
use she::{Flags, Latency, Personalisation, She, SheKeys, Slot, personalise};

const UID: [u8; 15] = *b"an ECU of a car";
const MASTER: [u8; 16] = [0x3A; 16];

fn personalised(flags: Flags, pairs: impl IntoIterator<Item = (Device, Key)>) -> (Rc<RefCell<She>>, Personalisation) {
    let mut she = She::new(UID, [0x5E; 16], Latency::SLOW);
    let made = personalise(&mut she, &MASTER, flags, pairs).unwrap();
    (Rc::new(RefCell::new(she)), made)
}

fn failed(store: &mut impl KeyStore) -> Vec<&'static str> {
    let mut results = Results::new();
    conformance::keys(store, Suite::Cmac, &mut results);
    results.failed().collect()
}

#[test]
fn a_key_in_a_slot_and_a_wrapped_one_keep_the_word_of_the_port() {
    let test = (Device::Validator(TEST_PEER), Key::new(TEST_KEY));
    let ten = (100..110).map(|at| (Device::Endpoint(at), Key::new([at; 32])));
    for (pairs, counts) in [(vec![test.clone()], (1, 0)), (ten.chain([test]).collect(), (10, 1))] {
        let (she, made) = personalised(Flags::MAC, pairs);
        assert_eq!(made.counts(), counts);
        assert_eq!(failed(&mut SheKeys::new(she, made)), [""; 0]);
    }
}

/// Each of twelve keys gives the tags of the software store, whichever was used before it; also in the next start.
#[test]
fn more_keys_than_slots_are_told_apart() {
    let devices = (1..7).map(Device::Validator).chain((0..6).map(Device::Endpoint));
    let pairs: Vec<_> = devices.zip(1..).map(|(device, key)| (device, Key::new([key; 32]))).collect();
    let mut soft = SoftKeys::new(Suite::Cmac);
    assert!(pairs.iter().all(|(device, key)| soft.load(*device, key.clone())));
    let (she, made) = personalised(Flags::MAC, pairs.clone());
    for _ in 0..2 {
        let mut keys = SheKeys::new(she.clone(), made.clone());
        for peer in 1..7 {
            keys.derive(peer, [7, 8]);
            soft.derive(peer, [7, 8]);
        }
        for round in [0, 3, 1, 2] {
            for (at, (device, _)) in pairs.iter().enumerate() {
                let handle =
                    if at % 4 == round { KeyHandle::Candidate(1 + at as u8 % 6) } else { KeyHandle::Pair(*device) };
                let tag = keys.tag(handle, &[at as u8; 48]).unwrap();
                assert_eq!(Some(tag), soft.tag(handle, &[at as u8; 48]), "{handle:?}");
                assert!(keys.verify(handle, &[at as u8; 48], &tag[..8]));
            }
        }
        she.borrow_mut().reset(true);
    }
}

/// Pairwise keys speak in both directions: a peer behind a verify-only slot can be heard, never answered, and has no session.
#[test]
fn a_verify_only_slot_is_not_for_pairwise_keys() {
    let peer = Device::Validator(TEST_PEER);
    let (she, made) = personalised(Flags { verify_only: true, ..Flags::MAC }, [(peer, Key::new(TEST_KEY))]);
    let mut keys = SheKeys::new(she, made);
    let tag = Key::new(TEST_KEY).for_tags(Suite::Cmac).tag(&[7; 48]);
    assert!(keys.verify(KeyHandle::Pair(peer), &[7; 48], &tag[..8]));
    assert_eq!(keys.tag(KeyHandle::Pair(peer), &[7; 48]), None);
    keys.derive(TEST_PEER, [1, 2]);
    assert_eq!(keys.tag(KeyHandle::Candidate(TEST_PEER), &[7; 48]), None);
}

/// What the CPU holds beside the SHE says nothing of the keys, and another SHE makes nothing of it.
#[test]
fn what_the_cpu_keeps_is_worth_nothing_without_this_she() {
    let secret: [u8; 32] = core::array::from_fn(|at| 0x80 | at as u8);
    let pairs = (0..12).map(|at| (Device::Endpoint(at), Key::new(secret)));
    let (she, made) = personalised(Flags::MAC, pairs);
    let kept = format!("{made:?}");
    assert!(!kept.contains("131, 132, 133"), "{kept}");
    let wrapped = KeyHandle::Pair(Device::Endpoint(11));
    assert!(SheKeys::new(she, made.clone()).tag(wrapped, &[0; 48]).is_some());
    let other = Rc::new(RefCell::new(She::new(UID, [0x5F; 16], Latency::SLOW)));
    let stolen = SheKeys::new(other, made);
    assert_eq!(stolen.tag(wrapped, &[0; 48]), None);
    assert_eq!(stolen.tag(KeyHandle::Pair(Device::Endpoint(0)), &[0; 48]), None);
}

/// A key that is locked, as after a manipulated start, is no key: the ECU is silent, as if it had lost it.
#[test]
fn a_manipulated_start_locks_the_keys() {
    let peer = Device::Validator(TEST_PEER);
    let (she, made) = personalised(Flags { boot_protected: true, ..Flags::MAC }, [(peer, Key::new(TEST_KEY))]);
    she.borrow_mut().reset(false);
    assert_eq!(SheKeys::new(she.clone(), made.clone()).tag(KeyHandle::Pair(peer), &[0; 48]), None);
    assert!(she.borrow_mut().generate_mac(Slot::key(1).unwrap(), &[0; 48]).is_err());
    she.borrow_mut().reset(true);
    assert!(SheKeys::new(she, made).tag(KeyHandle::Pair(peer), &[0; 48]).is_some());
}
