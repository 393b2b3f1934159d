//! What the wire, the controllers and the flash do to an ECU: the faults that a schedule can choose, by the ports of bus and
//! flash. [`Noise`] disturbs bits; [`Link`] does what no bit on the wire shows, at the receivers.

use std::ops::Range;

use can_bus::Frame;
use can_bus::frame::{MAX_CLASSIC, id_from_raw};

use journal::Defect;

use crate::bus::Transmission;
use crate::dice::Dice;
use crate::flash::SharedFlash;
use crate::wire::disturbance::Disturbance;

/// In the data of every mesh frame: the sender alone sees it inverted, and breaks off.
const JAMMED_BIT: usize = 60;

/// What becomes of a frame at a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It comes in.
    Heard,
    /// It does not: a fault in the last bits of the frame, or the other side of a partition.
    Missed,
    /// It comes in twice: the sender saw an error that this receiver did not see, and sent it again.
    Twice,
    /// It comes in with another content: what the CRC does not find.
    Corrupt(Frame),
}

/// What the bus does to frames now; all rates in percent.
#[derive(Clone, Debug)]
pub struct Link {
    /// Frames that nobody gets though the sender believes so.
    pub loss: u8,
    /// Of the frames at a receiver: missed.
    pub omission: u8,
    /// Of the frames at a receiver: received twice.
    pub duplicate: u8,
    /// Of the frames at a receiver: received with a wrong bit.
    pub corruption: u8,
    /// Bit per station: on which side of a partition it is; `None` while there is none.
    pub sides: Option<u32>,
    /// Bit per station that is heard, and hears, on both sides.
    pub both_sides: u32,
    dice: Dice,
}

/// What happens to bits on the wire now: the bit-exact bus asks for each frame.
#[derive(Clone, Debug)]
pub struct Noise {
    /// Frames of which some station sees a wrong bit, percent: one somewhere, or one of the last two, which makes
    /// some receive it twice or not at all.
    pub percent: u8,
    /// Bit per station all of whose frames are destroyed, until its controller is bus-off.
    pub jammed: u32,
    stations: usize,
    dice: Dice,
}

impl Noise {
    /// A quiet wire with so many stations.
    #[must_use]
    pub const fn quiet(stations: usize, dice: Dice) -> Self {
        Self { percent: 0, jammed: 0, stations, dice }
    }

    /// What happens to a frame.
    pub fn disturbance(&mut self, sent: &Transmission) -> Disturbance {
        if self.jammed.checked_shr(sent.sender as u32).is_some_and(|jammed| jammed & 1 == 1) {
            return Disturbance::default().and(Some(sent.sender), JAMMED_BIT);
        }
        if !self.dice.percent(self.percent) {
            return Disturbance::default();
        }
        let (some, frame) = (self.dice.roll(1 << self.stations), &sent.frame);
        let some = (0..self.stations).filter(|at| *at != sent.sender && some >> at & 1 == 1);
        match self.dice.roll(3) {
            0 => Disturbance::omission(frame, sent.sender, some),
            1 => Disturbance::duplicate(frame, some),
            _ => Disturbance::of_bit(1 + self.dice.roll(8 * frame.len() as u64 + 40) as usize),
        }
    }
}

impl Link {
    /// A bus without faults, and the dice for later.
    #[must_use]
    pub const fn perfect(dice: Dice) -> Self {
        Self { loss: 0, omission: 0, duplicate: 0, corruption: 0, sides: None, both_sides: 0, dice }
    }

    /// Ends all faults.
    pub fn heal(&mut self) {
        *self = Self { both_sides: self.both_sides, ..Self::perfect(self.dice.clone()) };
    }

    /// Whether the next frame is lost for everybody.
    pub fn is_lost(&mut self) -> bool {
        self.dice.percent(self.loss)
    }

    /// What becomes of a frame of station `from` at station `to`.
    pub fn fate(&mut self, from: usize, to: usize, frame: &Frame) -> Fate {
        if self.parts(from, to) || self.dice.percent(self.omission) {
            Fate::Missed
        } else if self.dice.percent(self.duplicate) {
            Fate::Twice
        } else if self.dice.percent(self.corruption) {
            with_wrong_bit(frame, &mut self.dice).map_or(Fate::Missed, Fate::Corrupt)
        } else {
            Fate::Heard
        }
    }

    fn parts(&self, from: usize, to: usize) -> bool {
        let apart = |sides: u32| (sides >> from ^ sides >> to) & 1 == 1;
        self.sides.is_some_and(apart) && (self.both_sides >> from | self.both_sides >> to) & 1 == 0
    }
}

/// An FD frame with one bit changed; `None` if it has no data.
#[must_use]
pub fn with_wrong_bit(frame: &Frame, dice: &mut Dice) -> Option<Frame> {
    let mut data = frame.data().to_vec();
    let bit = dice.roll(8 * data.len() as u64) as usize;
    *data.get_mut(bit / 8)? ^= 1 << (bit % 8);
    Frame::fd(frame.id(), &data).ok()
}

/// How a store is found at the next boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// As it was left.
    None,
    /// Erased.
    Wiped,
    /// As it was at another time: the image given.
    Stale,
    /// A byte in the middle is another one.
    Damaged,
    /// The journal of another car.
    Foreign,
}

/// Does `fault` to a flash; `old` is an earlier image of it, `foreign` one of another car.
pub fn spoil(flash: &SharedFlash, fault: StoreFault, old: Option<&[u8]>, foreign: &[u8]) {
    match fault {
        StoreFault::None => {}
        StoreFault::Wiped => flash.restore(None),
        StoreFault::Stale => flash.restore(old.map(<[u8]>::to_vec)),
        StoreFault::Foreign => flash.restore(Some(foreign.to_vec())),
        StoreFault::Damaged => {
            let mut image = flash.image();
            if let Some(byte) = image.iter().rposition(|byte| *byte != 0xff).and_then(|end| image.get_mut(end / 2)) {
                *byte ^= 0x10;
            }
            flash.restore(Some(image));
        }
    }
}

/// Cuts the power in the middle of what is written next, `bytes` bytes from now.
pub fn cut_power_after(flash: &SharedFlash, bytes: u64) {
    flash.0.borrow_mut().cut_power_after(bytes);
}

/// From now on a place of a flash is worn.
pub fn wear_out(flash: &SharedFlash, place: Range<u32>, defect: Defect) {
    flash.0.borrow_mut().wear_out(place, defect);
}

/// The power is back.
pub fn restore_power(flash: &SharedFlash) {
    flash.0.borrow_mut().restore_power();
}

/// A frame of the car itself that wins arbitration against all of the mesh: what a babbling idiot sends.
#[must_use]
pub fn babble() -> Option<Frame> {
    Frame::classic(id_from_raw(1)?, &[0x55; MAX_CLASSIC]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        Frame::fd(id_from_raw(0x90).unwrap(), &[7; 64]).unwrap()
    }

    #[test]
    fn a_partition_stands_between_its_sides_but_not_before_liars() {
        let mut link = Link::perfect(Dice::new(1, 1));
        (link.sides, link.both_sides) = (Some(0b0011), 0b0100);
        for (from, to, fate) in
            [(0, 1, Fate::Heard), (0, 3, Fate::Missed), (3, 1, Fate::Missed), (2, 0, Fate::Heard), (3, 2, Fate::Heard)]
        {
            assert_eq!(link.fate(from, to, &frame()), fate, "{from} to {to}");
        }
        link.heal();
        assert_eq!(link.fate(0, 3, &frame()), Fate::Heard);
    }

    #[test]
    fn corruption_changes_one_bit() {
        let mut link = Link { corruption: 100, ..Link::perfect(Dice::new(1, 1)) };
        let Fate::Corrupt(changed) = link.fate(0, 1, &frame()) else { panic!("corrupt") };
        let bits = |frame: &Frame| frame.data().iter().map(|byte| byte.count_ones()).sum::<u32>();
        assert_eq!(bits(&changed).abs_diff(bits(&frame())), 1);
    }

    #[test]
    fn only_the_jammed_are_destroyed_on_a_quiet_wire() {
        let mut noise = Noise { jammed: 0b10, ..Noise::quiet(3, Dice::new(1, 1)) };
        let sent = |sender| Transmission { index: 0, attempt: 0, sender, frame: frame() };
        assert!(noise.disturbance(&sent(0)).is_none());
        assert!(noise.disturbance(&sent(1)).inverts(1, JAMMED_BIT));
    }
}
