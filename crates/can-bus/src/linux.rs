//! The bus port over SocketCAN, on tokio.
//!
//! The kernel gives every frame back to the socket that sent it, in the order of the bus. A frame that comes in and equals
//! one that is on its way out is its confirmation; anything else is somebody else's frame, also when it carries one of our
//! identifiers. (If an attacker sends the very bytes that are on their way out, one of the two frames is reported as
//! received: that it was on the wire twice is seen all the same.)

pub mod interface;
mod kernel;

use std::{
    collections::VecDeque,
    format, io,
    string::{String, ToString},
    time::Duration,
};

use socketcan::{CanAnyFrame, SocketOptions, tokio::CanFdSocket};
use tokio::time::Instant;

use crate::{
    frame::Frame,
    port::{BusCommand, BusEvent, Filter},
    queue::TransmitQueue,
};

/// Most frames handed to the kernel at a time; what waits here can still be aborted or overtaken.
const IN_FLIGHT: usize = 4;
/// A frame without confirmation for so long was lost with its echo: flushed at bus-off, or dropped in an overrun. No frame
/// waits that long for a bus that works.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(1);
/// When to try again if the kernel's queue is full: it can hold frames of other processes for about that long.
const RETRY: Duration = Duration::from_millis(1);
/// How often the kernel is asked for frames that it had no room for.
const OVERRUN_CHECK: Duration = Duration::from_millis(100);

/// One segment through SocketCAN, with classic and CAN FD frames.
pub struct LinuxBus {
    socket: CanFdSocket,
    interface: String,
    segment: u8,
    epoch: Instant,
    waiting: TransmitQueue,
    in_flight: VecDeque<InFlight>,
    /// Events not yet fetched.
    ready: VecDeque<BusEvent>,
    retry_at: Option<Instant>,
    overrun_check_at: Instant,
    overruns: u32,
}

struct InFlight {
    token: u32,
    frame: Frame,
    deadline: Instant,
}

impl LinuxBus {
    /// Opens an interface as the segment with the given number. Times of frames count from `epoch`.
    ///
    /// A frame is received if one of `filters` accepts it. They must accept what this node sends, or nothing is confirmed.
    ///
    /// # Errors
    /// The interface does not exist, is no CAN interface, or the kernel has no CAN; the text says what to do.
    pub fn open(interface: &str, segment: u8, epoch: std::time::Instant, filters: &[Filter]) -> io::Result<Self> {
        let explain = |error| explain(interface, &error);
        let filters: std::vec::Vec<_> = filters.iter().map(|filter| (filter.id, filter.mask)).collect();
        let socket = CanFdSocket::open(interface).map_err(explain)?;
        socket.set_recv_own_msgs(true).map_err(explain)?;
        socket.set_filters(&filters).map_err(explain)?;
        socket.set_error_filter(kernel::ERROR_MASK).map_err(explain)?;
        Ok(Self {
            socket,
            interface: interface.to_string(),
            segment,
            epoch: Instant::from_std(epoch),
            waiting: TransmitQueue::new(),
            in_flight: VecDeque::new(),
            ready: VecDeque::new(),
            retry_at: None,
            overrun_check_at: Instant::now(),
            overruns: 0,
        })
    }

    /// Takes a command. Frames go out while [`Self::event`] is awaited.
    pub fn command(&mut self, command: BusCommand) {
        match command {
            BusCommand::Transmit { token, frame } => {
                if !self.waiting.push(token, frame) {
                    self.ready.push_back(BusEvent::Dropped { token });
                }
            }
            BusCommand::Abort { token } => {
                if self.waiting.abort(token) {
                    self.ready.push_back(BusEvent::Dropped { token });
                }
            }
        }
    }

    /// Waits for the next event. Cancel-safe: nothing is lost when the future is dropped, as `tokio::select!` does.
    ///
    /// # Errors
    /// The interface went down or away; the text says what to do.
    pub async fn event(&mut self) -> io::Result<BusEvent> {
        loop {
            let now = Instant::now();
            self.send(now)?;
            self.check_overrun(now)?;
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            let wake_at = [self.retry_at, self.in_flight.front().map(|sent| sent.deadline)].into_iter().flatten().min();
            let frame = tokio::select! {
                frame = self.socket.read_frame() => frame,
                () = sleep_until(wake_at) => self.socket.try_read_frame(),
            };
            match frame {
                Ok(frame) => self.receive(&frame),
                // Only now: a confirmation may have waited for us longer than its frame waited for the bus.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.expire(),
                Err(error) => return Err(explain(&self.interface, &error)),
            }
        }
    }

    /// Hands waiting frames to the kernel.
    fn send(&mut self, now: Instant) -> io::Result<()> {
        if self.retry_at.is_some_and(|at| now < at) {
            return Ok(());
        }
        self.retry_at = None;
        while self.in_flight.len() < IN_FLIGHT
            && let Some(&(token, frame)) = self.waiting.peek()
        {
            let frame_for_kernel = kernel::to_kernel(&frame).ok_or(io::Error::from_raw_os_error(libc::EINVAL));
            match frame_for_kernel.and_then(|frame| self.socket.try_write_frame(&frame)) {
                Ok(()) => self.in_flight.push_back(InFlight { token, frame, deadline: now + CONFIRM_TIMEOUT }),
                Err(error) if is_full(&error) => {
                    self.retry_at = Some(now + RETRY);
                    return Ok(());
                }
                // An FD frame for a classic interface.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    self.ready.push_back(BusEvent::Dropped { token });
                }
                Err(error) => return Err(explain(&self.interface, &error)),
            }
            self.waiting.pop();
        }
        Ok(())
    }

    /// Gives up frames that were not confirmed in time.
    fn expire(&mut self) {
        let now = Instant::now();
        while let Some(sent) = self.in_flight.pop_front_if(|sent| sent.deadline <= now) {
            self.ready.push_back(BusEvent::Dropped { token: sent.token });
        }
    }

    /// Asks the kernel, now and then, for frames that it had no room for.
    fn check_overrun(&mut self, now: Instant) -> io::Result<()> {
        if now < self.overrun_check_at {
            return Ok(());
        }
        self.overrun_check_at = now + OVERRUN_CHECK;
        let total = kernel::overruns(&self.socket).map_err(|error| explain(&self.interface, &error))?;
        let frames = total.wrapping_sub(self.overruns);
        self.overruns = total;
        if frames > 0 {
            self.ready.push_back(BusEvent::Overrun { frames });
        }
        Ok(())
    }

    /// Tells our own frames from those of others.
    fn receive(&mut self, incoming: &CanAnyFrame) {
        if let CanAnyFrame::Error(message) = incoming {
            self.ready.extend(kernel::events(message));
        }
        let Some(frame) = kernel::from_kernel(incoming) else { return };
        let sent = self.in_flight.iter().position(|sent| sent.frame == frame);
        self.ready.push_back(match sent.and_then(|at| self.in_flight.remove(at)) {
            Some(sent) => BusEvent::Transmitted { token: sent.token },
            None => {
                let at_us = self.epoch.elapsed().as_micros() as u64;
                BusEvent::Received { segment: self.segment, at_us, frame }
            }
        });
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => core::future::pending().await,
    }
}

/// Whether the kernel has no room at the moment.
fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}

/// Says what the matter is with an interface, and what to do.
fn explain(interface: &str, error: &io::Error) -> io::Error {
    let text = match error.raw_os_error() {
        Some(libc::EAFNOSUPPORT) => "this kernel has no CAN: run under scripts/vcan".to_string(),
        Some(libc::ENODEV) if interface::exists(interface) => format!("{interface} is no CAN interface"),
        Some(libc::ENODEV) => format!(
            "{interface} does not exist: run under scripts/vcan, or create it (ip link add dev {interface} type vcan)"
        ),
        Some(libc::ENETDOWN) => format!("{interface} is down: bring it up (ip link set {interface} up)"),
        _ => format!("{interface}: {error}"),
    };
    io::Error::new(error.kind(), text)
}
