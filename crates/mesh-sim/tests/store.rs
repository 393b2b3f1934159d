//! Whatever an ECU finds on its flash, the power may go at any moment of what it does about it: it never comes out of that
//! with less than it knew, nor without knowing that it has forgotten (P5).

use std::cell::RefCell;
use std::rc::Rc;

use device_chain::agreement::VoteKind;
use device_chain::codec;
use device_chain::genesis::Genesis;
use device_chain::keys::SoftKeys;
use device_chain::limits::MAX_MESSAGE;
use device_chain::record::{Named, Record, RecordKind, VoteRecord};
use device_chain::tx::Transaction;
use device_chain::types::{Hash, Round};
use device_chain::validator::Validator;
use ecu_node::store::{self, Diagnosis, Store};
use journal::{Counter, Geometry, MemError, MemFlash, OpenError, Tear};
use mesh_sim::flash::{SharedCounter, SharedFlash};
use mesh_sim::genesis::Plan;

const GEOMETRY: Geometry = Geometry { erase_size: 1024, write_size: 8, capacity: 16 * 1024 };
/// Cuts this many bytes apart: it falls on each place in a unit, and on a few in each page.
const STRIDE: usize = 37;

/// A device: its flash and the counter beside it.
struct Device {
    flash: SharedFlash,
    counter: SharedCounter,
    genesis: Genesis,
}

/// What opening its flash gives.
struct Opened {
    store: Store<SharedFlash, SharedCounter>,
    diagnosis: Diagnosis,
    validator: Box<Validator<SoftKeys>>,
}

impl Opened {
    /// Own votes at the first height.
    fn votes(&self) -> Vec<(VoteKind, Round, Hash)> {
        self.validator.own_votes(1).collect()
    }
}

impl Device {
    fn new(genesis: Genesis) -> Self {
        let mut flash = SharedFlash(Rc::new(RefCell::new(MemFlash::new(GEOMETRY))));
        store::format::<_, SharedCounter>(&mut flash, &genesis).expect("a new flash");
        Self { flash, counter: SharedCounter::default(), genesis }
    }

    /// As it is now, apart from the other.
    fn copy(&self) -> Self {
        let flash = SharedFlash(Rc::new(RefCell::new(self.flash.0.borrow().clone())));
        let mut counter = SharedCounter::default();
        counter.raise(self.counter.value()).expect("a counter in memory");
        Self { flash, counter, genesis: self.genesis.clone() }
    }

    fn open(&self) -> Result<Opened, OpenError<MemError>> {
        let mut validator = Box::new(Validator::new(SoftKeys::new(self.genesis.suite)));
        validator.install(&self.genesis, 0).expect("a place in the genesis");
        let mut reopen = || Ok((self.flash.clone(), self.counter.clone()));
        let opened = store::open(&mut reopen, &mut validator, &mut [0; MAX_MESSAGE])?;
        Ok(Opened { store: opened.store, diagnosis: opened.diagnosis, validator })
    }

    /// Appends a record; whether that was acknowledged.
    fn say(&self, record: &Record) -> bool {
        let mut buffer = [0; MAX_MESSAGE];
        let bytes = codec::encode(record, &mut buffer).expect("short");
        self.open().expect("it opens").store.append([(RecordKind::Fact, bytes)]).is_ok()
    }
}

fn vote(round: u8) -> Record {
    let value = match round {
        0 => Named::Content(Transaction::Skip.encode().expect("short")),
        _ => Named::Nil,
    };
    Record::Vote(VoteRecord { height: 1, round, kind: VoteKind::Prevote, value })
}

/// A device that has voted.
fn used() -> Device {
    let device = Device::new(Plan::default().genesis());
    assert!([Record::Boot(1), vote(0), vote(1)].iter().all(|record| device.say(record)));
    device
}

fn wiped() -> Device {
    let device = used();
    device.flash.restore(None);
    device
}

fn restored() -> Device {
    let device = used();
    let yesterday = device.flash.image();
    assert!(device.say(&vote(2)));
    device.flash.restore(Some(yesterday));
    device
}

fn foreign() -> Device {
    let device = used();
    let other = Device::new(Plan { seed: 2, ..Plan::default() }.genesis());
    device.flash.restore(Some(other.flash.image()));
    device
}

fn damaged() -> Device {
    let device = used();
    let mut image = device.flash.image();
    image[70] ^= 1;
    device.flash.restore(Some(image));
    device
}

/// The power goes after `bytes` of the 24 bytes of a third vote.
fn cut(bytes: u64) -> Device {
    let device = used();
    device.flash.0.borrow_mut().cut_power_after(bytes);
    assert!(!device.say(&vote(2)));
    device.flash.0.borrow_mut().restore_power();
    device
}

#[test]
fn a_cut_while_it_recovers_changes_nothing_about_what_it_knows() {
    let mut cuts = 0;
    // votes that it knows, if it has forgotten none
    for (name, device, votes) in [
        ("wiped", wiped(), None),
        ("restored", restored(), None),
        ("foreign", foreign(), None),
        ("damaged", damaged(), None),
        ("torn", cut(12), Some(2)),
        ("not acknowledged", cut(24), Some(3)),
    ] {
        let amnesiac = votes.is_none();
        for bytes in (0..).step_by(STRIDE) {
            let device = device.copy();
            device.flash.0.borrow_mut().tear_as(Tear::Noise, bytes as u64);
            device.flash.0.borrow_mut().cut_power_after(bytes as u64);
            let done = device.open().is_ok();
            device.flash.0.borrow_mut().restore_power();
            cuts += 1;

            let opened = device.open().expect("it opens");
            assert_eq!(opened.validator.is_amnesiac(), amnesiac, "{name}, cut after {bytes}: {:?}", opened.diagnosis);
            let known = opened.votes().len();
            assert_eq!(votes.unwrap_or(known), known, "{name}, cut after {bytes}");
            let again = device.open().expect("it opens again");
            assert_eq!(
                (again.diagnosis, again.validator.is_amnesiac()),
                (Diagnosis::Intact, amnesiac),
                "{name} {bytes}"
            );
            assert_eq!(again.votes(), opened.votes(), "{name}, cut after {bytes}");
            if done {
                break;
            }
        }
    }
    println!("{cuts} cuts");
    assert!(cuts > 500, "{cuts}");
}

#[test]
fn a_flash_that_cannot_be_begun_anew_is_refused_and_stays_as_it_is() {
    let device = cut(12);
    let bank = GEOMETRY.bank_size();
    device.flash.0.borrow_mut().wear_out(bank..bank + 64, journal::Defect::IgnoresProgram);
    for _ in 0..3 {
        assert_eq!(device.open().map(|opened| opened.diagnosis), Err(OpenError::Worn { offset: bank }));
    }
}
