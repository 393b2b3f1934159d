//! Places on a bus: a virtual SocketCAN interface, or the simulated bus of this process. Never a real car's.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use can_bus::linux::{LinuxBus, interface};
use can_bus::port::{BusCommand, BusEvent, Filter};
use can_bus::{Frame, candump};
use ecu_node::linux::bus::{Bus, ChannelBus};
use tokio::time::timeout;

/// How long a frame may take to get onto the wire.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);

/// How long to wait for a silence: a mesh that agrees on something goes on for less.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);

/// Either bus.
pub enum AnyBus {
    /// A virtual interface.
    Vcan(Box<LinuxBus>),
    /// The simulated bus.
    Sim(ChannelBus),
}

impl Bus for AnyBus {
    fn command(&mut self, command: BusCommand) {
        match self {
            Self::Vcan(bus) => bus.command(command),
            Self::Sim(bus) => Bus::command(bus, command),
        }
    }

    async fn event(&mut self) -> io::Result<BusEvent> {
        match self {
            Self::Vcan(bus) => bus.event().await,
            Self::Sim(bus) => Bus::event(bus).await,
        }
    }
}

/// An interface on which nothing may be attacked.
#[derive(Debug)]
pub struct NotVirtual(String);

impl fmt::Display for NotVirtual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name) = self;
        write!(
            f,
            "{name} is no virtual CAN interface: nothing is attacked or flooded on what may be a real car's bus; "
        )?;
        write!(f, "use a vcan interface (scripts/vcan makes vcan0 and vcan1)")
    }
}

impl std::error::Error for NotVirtual {}

/// That no car hangs on an interface.
///
/// # Errors
/// [`NotVirtual`], or there is no such interface.
pub fn require_virtual(name: &str) -> Result<()> {
    match interface::is_virtual(name) {
        Ok(true) => Ok(()),
        Ok(false) => Err(NotVirtual(name.to_owned()).into()),
        Err(error) => Err(error).context("run under scripts/vcan, where vcan0 and vcan1 exist"),
    }
}

/// A place on a virtual interface; call it where a tokio runtime is entered.
///
/// # Errors
/// [`NotVirtual`], or the interface cannot be opened.
pub fn open_vcan(name: &str) -> Result<AnyBus> {
    require_virtual(name)?;
    Ok(AnyBus::Vcan(Box::new(LinuxBus::open(name, 0, Instant::now(), &[Filter::ALL])?)))
}

/// Somebody on a bus who has no keys: sends any frame, hears every frame.
pub struct Tap {
    bus: AnyBus,
    token: u32,
}

impl Tap {
    /// On this bus.
    #[must_use]
    pub const fn new(bus: AnyBus) -> Self {
        Self { bus, token: 0 }
    }

    /// Sends a frame and waits until it was on the wire.
    ///
    /// # Errors
    /// The bus is gone, or too busy with more urgent frames.
    pub async fn send(&mut self, frame: Frame) -> Result<()> {
        self.token = self.token.wrapping_add(1);
        let token = self.token;
        self.bus.command(BusCommand::Transmit { token, frame });
        let sent = async {
            loop {
                match self.bus.event().await? {
                    BusEvent::Transmitted { token: done } if done == token => return Ok(()),
                    BusEvent::Dropped { .. } => bail!("a frame was not sent: {frame:?}"),
                    _ => {}
                }
            }
        };
        timeout(SEND_TIMEOUT, sent).await.context("the bus is busy")?
    }

    /// The next frame of somebody else.
    ///
    /// # Errors
    /// The bus is gone.
    pub async fn hear(&mut self) -> Result<Frame> {
        loop {
            if let BusEvent::Received { frame, .. } = self.bus.event().await? {
                return Ok(frame);
            }
        }
    }

    /// Waits until nobody has sent anything for so long.
    ///
    /// # Errors
    /// The bus is gone, or never silent.
    pub async fn hear_silence(&mut self, pause: Duration) -> Result<()> {
        let silence = async {
            while let Ok(frame) = timeout(pause, self.hear()).await {
                frame?;
            }
            Ok(())
        };
        timeout(SILENCE_TIMEOUT, silence).await.context("the bus is never silent")?
    }

    /// The bus, for who has more to do with it.
    pub const fn bus(&mut self) -> &mut AnyBus {
        &mut self.bus
    }

    /// The bus alone.
    #[must_use]
    pub fn into_bus(self) -> AnyBus {
        self.bus
    }
}

/// A frame in the notation of `cansend`.
///
/// # Errors
/// It is none.
pub fn frame(text: &str) -> Result<Frame> {
    text.parse().map_err(|error: candump::LineError| anyhow::anyhow!("{text}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_virtual_can_is_attacked() {
        let refused = open_vcan("lo").err().unwrap();
        assert!(refused.downcast_ref::<NotVirtual>().is_some(), "{refused}");
        assert!(format!("{:#}", open_vcan("can-of-no-car").err().unwrap()).contains("no network interface"));
    }
}
