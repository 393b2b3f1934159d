//! What driving takes from a flash: measured on production ECUs in a simulated car, multiplied by a profile.

use std::io::{Error, Result};

use can_bus::timing::BitTiming;
use device_chain::tx::Transaction;
use device_chain::types::Micros;
use ecu_node::Input;
use journal::part::Part;

use crate::car::Car;
use crate::genesis::Plan;
use crate::workload::{block, grant};

const GATEWAY: u8 = 0;
const SECOND_US: u64 = 1_000_000;
/// After a decision, until its last record is written and the journals whose turn it was have been looked after.
const SETTLE_US: u64 = 60_000;
/// Decisions that somebody asked for, over which a block is closed (DC-52).
const BLOCK: u64 = 4;
/// Changes of the bank that are measured, of all ECUs together.
const CHANGES: u32 = 21;
/// Decisions after which a journal that is never rewritten is given up.
const PATIENCE: u64 = 50_000;
/// Starts that are measured.
const STARTS: u32 = 8;
/// Each bank is erased once when it is used again: every other time.
const BANKS: f64 = 2.0;
const DAYS_A_YEAR: f64 = 365.25;

/// How a car is driven.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Driving hours a day.
    pub hours: f64,
    /// Decisions that people and devices ask for, in a driving hour; each is followed by a block.
    pub approvals: f64,
    /// From block to block when nothing is new, s.
    pub idle_s: f64,
    /// Ignitions a day.
    pub ignitions: f64,
}

/// Bytes on the flash, of an average ECU.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Of an approval.
    pub approval: f64,
    /// Of a block.
    pub block: f64,
    /// Of a start, until the car is whole.
    pub start: f64,
    /// Appended to a bank until the other one is used.
    pub bank: f64,
}

/// A year.
#[derive(Clone, Copy, Debug)]
pub struct Year {
    /// Bytes appended.
    pub bytes: f64,
    /// Erases of each page or sector.
    pub erases: f64,
}

impl Measured {
    /// What a profile takes in a year.
    #[must_use]
    pub fn year(&self, profile: &Profile) -> Year {
        let hours = profile.hours * DAYS_A_YEAR;
        let approvals = profile.approvals * hours;
        let blocks = approvals + hours * 3600.0 / profile.idle_s;
        let starts = profile.ignitions * DAYS_A_YEAR;
        let bytes = approvals * self.approval + blocks * self.block + starts * self.start;
        Year { bytes, erases: bytes / self.bank / BANKS }
    }
}

/// Drives a car whose journals lie in `part` until they have changed their banks a few times, and starts it a few times.
///
/// # Errors
/// The car stops deciding, or no journal is ever rewritten.
pub fn measure(part: Part) -> Result<Measured> {
    let mut car = Car::started(Plan { flash: part, ..Plan::default() }, BitTiming::FD_500K_2M);
    come_together(&mut car)?;
    let mut meter = Meter::new(&car);
    let (mut approvals, mut blocks, mut starts) = (Mean::default(), Mean::default(), Mean::default());
    let mut serial = 0;
    while meter.banks.count < CHANGES {
        serial += 1;
        if serial > PATIENCE {
            return Err(Error::other("a journal was never rewritten"));
        }
        approve(&mut car, serial)?;
        meter.read(&car, &mut approvals);
        if serial % BLOCK == 0 {
            let closed = block(&car).ok_or_else(|| Error::other("there is no gateway"))?;
            decide(&mut car, closed)?;
            meter.read(&car, &mut blocks);
        }
    }
    for _ in 0..STARTS {
        (0..car.plan().validators).for_each(|at| car.crash(at));
        (0..car.plan().validators).for_each(|at| car.boot(at));
        come_together(&mut car)?;
        meter.read(&car, &mut starts);
    }
    Ok(Measured { approval: approvals.mean(), block: blocks.mean(), start: starts.mean(), bank: meter.banks.mean() })
}

/// Room in the journals, by which what was written is told.
struct Meter {
    room: Vec<u32>,
    /// Room after the last rewrite.
    most: Vec<Option<u32>>,
    /// Bytes between two rewrites.
    banks: Mean,
}

impl Meter {
    fn new(car: &Car) -> Self {
        let room: Vec<_> = rooms(car).collect();
        Self { most: vec![None; room.len()], room, banks: Mean::default() }
    }

    /// What was appended since the last time; nothing is known of a journal that was rewritten meanwhile.
    fn read(&mut self, car: &Car, of: &mut Mean) {
        for ((now, room), most) in rooms(car).zip(&mut self.room).zip(&mut self.most) {
            if now <= *room {
                of.add(*room - now);
            } else {
                if let Some(most) = most.replace(now) {
                    self.banks.add(most - *room);
                }
            }
            *room = now;
        }
    }
}

fn rooms(car: &Car) -> impl Iterator<Item = u32> {
    (0..car.plan().validators).filter_map(|at| car.journal(at)).map(|journal| journal.store().remaining())
}

#[derive(Default)]
struct Mean {
    sum: u64,
    count: u32,
}

impl Mean {
    fn add(&mut self, bytes: u32) {
        self.sum += u64::from(bytes);
        self.count += 1;
    }

    fn mean(&self) -> f64 {
        self.sum as f64 / f64::from(self.count.max(1))
    }
}

fn come_together(car: &mut Car) -> Result<()> {
    let others = usize::from(car.plan().validators) - 1;
    let end = car.now_us() + 10 * SECOND_US;
    let whole = |car: &Car| pumps(car).all(|ecu| ecu.validator().peers_heard() == others);
    if !car.run_until(end, whole) {
        return Err(Error::other("the car does not come together"));
    }
    settle(car);
    Ok(())
}

fn approve(car: &mut Car, serial: u64) -> Result<()> {
    let signed = grant(car, serial);
    let digest = signed.grant.digest();
    car.vouch(signed.clone());
    car.give(GATEWAY, Input::Grant(signed));
    car.run_for(SETTLE_US);
    let tx = car.ecu(GATEWAY).and_then(|ecu| ecu.validator().use_of(&digest).ok());
    decide(car, tx.ok_or_else(|| Error::other("a grant was refused"))?)
}

fn decide(car: &mut Car, tx: Transaction) -> Result<()> {
    let before = pumps(car).map(|ecu| ecu.validator().state().height()).max().unwrap_or(0);
    car.give(GATEWAY, Input::Submit(tx));
    let end = car.now_us() + 10 * SECOND_US;
    if !car.run_until(end, |car| pumps(car).all(|ecu| ecu.validator().state().height() > before)) {
        return Err(Error::other("the car does not decide"));
    }
    settle(car);
    Ok(())
}

/// Lets journals be written and looked after.
fn settle(car: &mut Car) {
    car.run_for(SETTLE_US);
    let end = car.now_us() + 10 * SECOND_US;
    car.run_until(end, |car| {
        let now = Micros(car.now_us());
        (0..car.plan().validators).filter_map(|at| car.journal(at)).all(|journal| journal.is_idle(now))
    });
    car.events.clear();
}

fn pumps(car: &Car) -> impl Iterator<Item = &ecu_node::Ecu<crate::keys::SharedKeys>> {
    (0..car.plan().validators).filter_map(|at| car.ecu(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_is_what_its_days_take() {
        let measured = Measured { approval: 100.0, block: 200.0, start: 50.0, bank: 10_000.0 };
        let profile = Profile { hours: 2.0, approvals: 30.0, idle_s: 15.0, ignitions: 4.0 };
        let day = 60.0 * 100.0 + (60.0 + 480.0) * 200.0 + 4.0 * 50.0;
        let year = measured.year(&profile);
        assert!((year.bytes - day * DAYS_A_YEAR).abs() < 1.0, "{year:?}");
        assert!((year.erases - day * DAYS_A_YEAR / 20_000.0).abs() < 1e-3, "{year:?}");
    }
}
