//! Mixed versions: an ECU that was not updated with the others, or was alone. Whatever it says is of another wire version
//! (DC-2); to the mesh it is silent.

use can_bus::Frame;

use super::{Liar, Seat};

/// The wire version that it speaks.
const VERSION: u8 = device_chain::genesis::WIRE_VERSION + 1;

/// Speaks the next wire version.
pub struct OtherVersion;

impl Liar for OtherVersion {
    fn edit(&mut self, _seat: &mut Seat<'_>, frame: Frame) -> Vec<Frame> {
        let mut data = frame.data().to_vec();
        if let Some(byte) = data.get_mut(2) {
            *byte = VERSION << 4 | *byte & 15;
        }
        Frame::fd(frame.id(), &data).into_iter().collect()
    }
}
