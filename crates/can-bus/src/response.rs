//! How long a phase of votes can take: the worst-case response time of its frames.
//!
//! Fixed-priority analysis of Davis, Burns, Bril and Lukkien, *Controller Area Network (CAN) schedulability analysis*
//! (Real-Time Systems 35, 2007), simplified to what a phase is: every voter sends one frame of the highest priority that
//! the mesh has, all at once. What wins arbitration against them is given as a share of the wire.

use crate::frame::Frame;
use crate::timing::BitTiming;

/// Bit times that one error costs beside the frame that it destroys: two error flags, delimiter, intermission (Davis
/// et al. 2007, section 4).
const ERROR_BITS: u64 = 31;

/// What a phase of votes has to reckon with.
#[derive(Clone, Copy, Debug)]
pub struct Phase<'f> {
    /// Bit rates.
    pub timing: BitTiming,
    /// The longest vote.
    pub vote: &'f Frame,
    /// The longest frame of lower priority that may hold the wire when the phase begins.
    pub blocking: &'f Frame,
    /// How many vote.
    pub voters: u32,
    /// Frames destroyed by errors in one phase that are tolerated; each is sent once more.
    pub errors: u32,
    /// Share of the wire that wins arbitration against votes, percent.
    pub urgent_percent: u32,
}

impl Phase<'_> {
    /// Nanoseconds until every vote has been on the wire; `None` if what is more urgent leaves nothing of it.
    #[must_use]
    pub fn bound_ns(&self) -> Option<u64> {
        let left = u64::from(100_u32.checked_sub(self.urgent_percent).filter(|left| *left > 0)?);
        let vote = self.timing.worst_case_ns(self.vote);
        let error = vote + self.timing.nominal_ns(ERROR_BITS);
        let blocking = self.timing.worst_case_ns(self.blocking);
        let busy = blocking + u64::from(self.voters) * vote + u64::from(self.errors) * error;
        Some((busy * 100).div_ceil(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::id_from_raw;

    /// Seven 64-byte votes behind a frame as long, one error.
    fn bound_us(timing: BitTiming, urgent_percent: u32) -> Option<u64> {
        let frame = Frame::fd(id_from_raw(0x90).unwrap(), &[0; 64]).unwrap();
        let phase = Phase { timing, vote: &frame, blocking: &frame, voters: 7, errors: 1, urgent_percent };
        phase.bound_ns().map(|ns| ns / 1_000)
    }

    #[test]
    fn seven_votes_with_one_error() {
        for (timing, urgent, expected) in [
            (BitTiming::FD_500K_2M, 0, 3_711),
            (BitTiming::FD_500K_2M, 40, 6_185),
            (BitTiming::FD_1M_5M, 0, 1_550),
            (BitTiming::FD_1M_8M, 0, 1_091),
            (BitTiming::FD_1M_8M, 40, 1_819),
        ] {
            assert_eq!(bound_us(timing, urgent), Some(expected), "{timing:?} {urgent} %");
        }
    }

    #[test]
    fn a_wire_that_others_fill_has_no_bound() {
        assert_eq!(bound_us(BitTiming::FD_500K_2M, 100), None);
        assert_eq!(bound_us(BitTiming::FD_500K_2M, 101), None);
        assert!(bound_us(BitTiming::FD_500K_2M, 99).is_some());
    }
}
