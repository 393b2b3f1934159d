//! Between our values and those of the kernel.

use std::io;

use socketcan::{
    CanAnyFrame, CanDataFrame, CanErrorFrame, CanFdFrame, CanRemoteFrame, EmbeddedFrame, SocketOptions,
    errors::{ControllerProblems, ErrorCause},
    id::FdFlags,
};

use crate::{
    frame::{Frame, Kind},
    port::{BusEvent, ErrorState},
};

/// The error messages that a socket is to receive.
pub const ERROR_MASK: u32 = libc::CAN_ERR_CRTL | libc::CAN_ERR_BUSOFF | libc::CAN_ERR_RESTARTED;

/// The frame for the kernel; `None` if it has no such frame.
pub fn to_kernel(frame: &Frame) -> Option<CanAnyFrame> {
    Some(match frame.kind() {
        Kind::Classic => CanDataFrame::new(frame.id(), frame.data())?.into(),
        Kind::Remote => CanRemoteFrame::new_remote(frame.id(), frame.len())?.into(),
        Kind::Fd { brs, esi } => {
            let mut flags = FdFlags::FDF;
            flags.set(FdFlags::BRS, brs);
            flags.set(FdFlags::ESI, esi);
            CanFdFrame::with_flags(frame.id(), frame.data(), flags)?.into()
        }
    })
}

/// A frame of the bus; `None` if it is an error message of the controller.
///
/// A virtual bus also carries FD frames of lengths that no DLC stands for; a controller would pad them, and so do we.
pub fn from_kernel(frame: &CanAnyFrame) -> Option<Frame> {
    match frame {
        CanAnyFrame::Normal(frame) => Frame::classic(frame.id(), frame.data()).ok(),
        CanAnyFrame::Remote(frame) => Frame::remote(frame.id(), frame.dlc()).ok(),
        CanAnyFrame::Fd(frame) => {
            let padded = Frame::fd_padded(frame.id(), frame.data()).ok()?;
            let esi = frame.flags().contains(FdFlags::ESI);
            Frame::fd_with_flags(padded.id(), padded.data(), frame.is_brs(), esi).ok()
        }
        CanAnyFrame::Error(_) => None,
    }
}

/// What an error message of the controller means for the node.
pub fn events(message: &CanErrorFrame) -> impl Iterator<Item = BusEvent> + use<> {
    let error = message.into_error();
    let problems = error.controller().unwrap_or(ControllerProblems::empty());
    let has = |cause| error.causes().any(|c| *c == cause);
    let any = |flags| problems.intersects(flags);
    let state = if has(ErrorCause::BusOff) {
        Some(ErrorState::BusOff)
    } else if any(ControllerProblems::RX_PASSIVE | ControllerProblems::TX_PASSIVE) {
        Some(ErrorState::Passive)
    } else if any(ControllerProblems::RX_WARNING | ControllerProblems::TX_WARNING) {
        Some(ErrorState::Warning)
    } else if any(ControllerProblems::ACTIVE) || has(ErrorCause::Restarted) {
        Some(ErrorState::Active)
    } else {
        None
    };
    let overrun = any(ControllerProblems::RX_OVERFLOW).then_some(BusEvent::Overrun { frames: 1 });
    overrun.into_iter().chain(state.map(BusEvent::State))
}

/// Frames that the kernel had no room for in the socket's receive buffer, since it was opened.
pub fn overruns(socket: &impl SocketOptions) -> io::Result<u32> {
    const DROPS: usize = 4 * libc::SK_MEMINFO_DROPS as usize;
    let mut info = [0; DROPS + 4];
    socket.get_socket_option_bytes(libc::SOL_SOCKET, libc::SO_MEMINFO, &mut info)?;
    Ok(u32::from_ne_bytes([info[DROPS], info[DROPS + 1], info[DROPS + 2], info[DROPS + 3]]))
}
