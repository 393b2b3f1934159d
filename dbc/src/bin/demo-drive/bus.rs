//! Arbitration: one frame at a time, the lowest identifier first.

use can_bus::Frame;
use can_bus::timing::BitTiming;

/// A frame that its sender hands to the bus.
pub struct Release {
    /// When, in µs.
    pub time_us: u64,
    /// The frame.
    pub frame: Frame,
}

/// The frames with the times at which the bus has carried them, in µs.
pub fn transmitted(mut releases: Vec<Release>) -> Vec<(u64, Frame)> {
    releases.sort_by_key(|release| release.time_us);
    let mut releases = releases.into_iter().peekable();
    let (mut waiting, mut done, mut now_us): (Vec<Frame>, Vec<_>, u64) = (Vec::new(), Vec::new(), 0);
    loop {
        while let Some(release) = releases.next_if(|release| release.time_us <= now_us) {
            waiting.push(release.frame);
        }
        if let Some(winner) = (0..waiting.len()).min_by_key(|&index| waiting[index].raw_id()) {
            let frame = waiting.remove(winner);
            now_us += BitTiming::FD_500K_2M.worst_case_ns(&frame).div_ceil(1_000);
            done.push((now_us, frame));
        } else if let Some(next) = releases.peek() {
            now_us = next.time_us;
        } else {
            return done;
        }
    }
}
