//! What a node needs from a bus, and the two that there are: SocketCAN, and a pair of channels within one process.

use std::future::Future;
use std::io;
use std::time::Instant;

use can_bus::linux::LinuxBus;
use can_bus::port::{BusCommand, BusEvent, Filter};
use tokio::sync::mpsc;

/// A bus as seen by one node.
pub trait Bus: Send {
    /// Takes a command. Never blocks.
    fn command(&mut self, command: BusCommand);
    /// Waits for the next event. Cancel-safe.
    ///
    /// # Errors
    /// The bus is gone; the text says what to do.
    fn event(&mut self) -> impl Future<Output = io::Result<BusEvent>> + Send;
}

impl Bus for LinuxBus {
    fn command(&mut self, command: BusCommand) {
        Self::command(self, command);
    }

    fn event(&mut self) -> impl Future<Output = io::Result<BusEvent>> + Send {
        Self::event(self)
    }
}

/// Where nodes find their buses, by the names of the interfaces.
pub trait Buses: Send + Sync {
    /// What is found there.
    type Bus: Bus + 'static;
    /// A place on a bus, as segment number `segment`; times of frames count from `epoch`. At least the frames that one of
    /// `filters` accepts are received.
    ///
    /// # Errors
    /// There is no such bus; the text says what to do.
    fn open(&self, interface: &str, segment: u8, epoch: Instant, filters: &[Filter]) -> io::Result<Self::Bus>;
}

/// The CAN interfaces of this machine.
pub struct SocketCan;

impl Buses for SocketCan {
    type Bus = LinuxBus;

    fn open(&self, interface: &str, segment: u8, epoch: Instant, filters: &[Filter]) -> io::Result<LinuxBus> {
        LinuxBus::open(interface, segment, epoch, filters)
    }
}

/// Commands and events that may wait in each direction of a [`ChannelBus`].
pub const CHANNEL_CAPACITY: usize = 256;

/// A bus within this process: whoever holds the [`ChannelPort`] plays the wire.
pub struct ChannelBus {
    commands: mpsc::Sender<BusCommand>,
    events: mpsc::Receiver<BusEvent>,
    refused: Option<u32>,
}

/// The other end of a [`ChannelBus`].
pub struct ChannelPort {
    /// What the node wants.
    pub commands: mpsc::Receiver<BusCommand>,
    /// What the node hears.
    pub events: mpsc::Sender<BusEvent>,
}

impl ChannelBus {
    /// Both ends.
    #[must_use]
    pub fn pair() -> (Self, ChannelPort) {
        let (commands, command_receiver) = mpsc::channel(CHANNEL_CAPACITY);
        let (event_sender, events) = mpsc::channel(CHANNEL_CAPACITY);
        (Self { commands, events, refused: None }, ChannelPort { commands: command_receiver, events: event_sender })
    }
}

impl Bus for ChannelBus {
    fn command(&mut self, command: BusCommand) {
        let refused = self.commands.try_send(command).is_err();
        // a node has one frame of each lane under way, so at most the last refusal matters to it
        if let (true, BusCommand::Transmit { token, .. }) = (refused, command) {
            self.refused = Some(token);
        }
    }

    async fn event(&mut self) -> io::Result<BusEvent> {
        if let Some(token) = self.refused.take() {
            return Ok(BusEvent::Dropped { token });
        }
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the simulated bus has ended");
        self.events.recv().await.ok_or_else(gone)
    }
}
