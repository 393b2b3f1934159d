//! The adapter's end of serial-line CAN ([`can_bus::slcan`]): joins a stream of bytes to a bus.
//!
//! Every frame that is asked for is answered once, in the order of the wire: `z` or `Z` when it was on it, BEL when it was not.

use std::collections::BTreeMap;
use std::io;

use can_bus::Id;
use can_bus::port::{BusCommand, BusEvent};
use can_bus::slcan::{Decoder, Line};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::bus::Bus;

/// Bytes that may wait for the stream before nothing more is fetched from the bus: who does not read loses frames there, as
/// with any adapter.
const MAX_WAITING: usize = 16 * 1024;
/// Frames from the stream that may wait for the bus; more are refused.
const MAX_UNDER_WAY: usize = 32;

/// What came over the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames from the stream that were on the bus.
    pub sent: u64,
    /// Frames from the stream that were not.
    pub refused: u64,
    /// Frames from the bus.
    pub received: u64,
    /// Frames that the bus lost before they were fetched.
    pub lost: u64,
    /// Lines of the stream that said nothing.
    pub malformed: u32,
}

/// Serves until the stream ends.
///
/// # Errors
/// The bus is gone, or the stream fails.
pub async fn serve<B: Bus>(
    bus: &mut B,
    input: &mut (impl AsyncRead + Unpin),
    output: &mut (impl AsyncWrite + Unpin),
) -> io::Result<Traffic> {
    let mut adapter = Adapter::default();
    let mut bytes = [0; 512];
    loop {
        adapter.traffic.malformed = adapter.decoder.malformed();
        tokio::select! {
            read = input.read(&mut bytes) => match read? {
                0 => return Ok(adapter.traffic),
                length => bytes[..length].iter().filter_map(|byte| adapter.take(*byte)).for_each(|command| bus.command(command)),
            },
            written = output.write(&adapter.waiting), if !adapter.waiting.is_empty() => match written {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(adapter.traffic),
                written => drop(adapter.waiting.drain(..written?)),
            },
            event = bus.event(), if adapter.waiting.len() < MAX_WAITING => adapter.hear(event?),
        }
    }
}

#[derive(Default)]
struct Adapter {
    decoder: Decoder,
    open: bool,
    token: u32,
    /// Frames at the bus, and whether their identifiers have 29 bits.
    under_way: BTreeMap<u32, bool>,
    /// For the stream.
    waiting: Vec<u8>,
    traffic: Traffic,
}

impl Adapter {
    /// Takes a byte of the stream; what the bus is to do about it.
    fn take(&mut self, byte: u8) -> Option<BusCommand> {
        let before = self.decoder.malformed();
        let line = self.decoder.push(byte);
        let answer = match line {
            Some(Line::Frame(frame)) if self.open && self.under_way.len() < MAX_UNDER_WAY => {
                self.token = self.token.wrapping_add(1);
                self.under_way.insert(self.token, matches!(frame.id(), Id::Extended(_)));
                return Some(BusCommand::Transmit { token: self.token, frame });
            }
            Some(Line::Frame(_)) => {
                self.traffic.refused += 1;
                Line::Refused
            }
            Some(Line::Open) => {
                self.open = true;
                Line::Done
            }
            Some(Line::Close) => {
                self.open = false;
                Line::Done
            }
            // the bus has its bit rates already
            Some(Line::BitRate(_) | Line::DataBitRate(_) | Line::Done) => Line::Done,
            Some(Line::Sent { .. } | Line::Refused) => Line::Refused,
            None if self.decoder.malformed() > before => Line::Refused,
            None => return None,
        };
        self.say(answer);
        None
    }

    fn hear(&mut self, event: BusEvent) {
        match event {
            BusEvent::Received { frame, .. } if self.open => {
                self.traffic.received += 1;
                self.say(Line::Frame(frame));
            }
            BusEvent::Transmitted { token } => {
                if let Some(extended) = self.under_way.remove(&token) {
                    self.traffic.sent += 1;
                    self.say(Line::Sent { extended });
                }
            }
            BusEvent::Dropped { token } => {
                if self.under_way.remove(&token).is_some() {
                    self.traffic.refused += 1;
                    self.say(Line::Refused);
                }
            }
            BusEvent::Overrun { frames } => self.traffic.lost += u64::from(frames),
            BusEvent::Received { .. } | BusEvent::State(_) => {}
        }
    }

    fn say(&mut self, line: Line) {
        self.waiting.extend_from_slice(&line.text());
    }
}

#[cfg(test)]
mod tests {
    use can_bus::Frame;
    use can_bus::frame::id_from_raw;

    use super::super::bus::{ChannelBus, ChannelPort};
    use super::*;

    fn frame(raw: u32) -> Frame {
        Frame::fd(id_from_raw(raw).unwrap(), &[]).unwrap()
    }

    async fn next(port: &mut ChannelPort) -> (u32, Frame) {
        match port.commands.recv().await {
            Some(BusCommand::Transmit { token, frame }) => (token, frame),
            other => panic!("{other:?}"),
        }
    }

    async fn read(stream: &mut (impl AsyncRead + Unpin), text: &str) {
        let mut bytes = vec![0; text.len()];
        stream.read_exact(&mut bytes).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes), text);
    }

    #[tokio::test]
    async fn frames_are_answered_in_the_order_of_the_wire() {
        let (mut stream, theirs) = tokio::io::duplex(64);
        let (mut bus, mut port) = ChannelBus::pair();
        let served = tokio::spawn(async move {
            let (mut input, mut output) = tokio::io::split(theirs);
            serve(&mut bus, &mut input, &mut output).await
        });
        let mut closed = Adapter::default();
        let received = |raw| BusEvent::Received { segment: 0, at_us: 0, frame: frame(raw) };

        stream.write_all(b"b1000\r").await.unwrap();
        read(&mut stream, "\x07").await; // closed: nothing is sent, nor heard
        closed.hear(received(0x200));
        assert!(closed.waiting.is_empty());
        stream.write_all(b"S6\rY2\rO\r?\r").await.unwrap();
        read(&mut stream, "\r\r\r\x07").await;
        stream.write_all(b"b1000\rB000001000\rb3000\r").await.unwrap();
        let (first, second, third) = (next(&mut port).await, next(&mut port).await, next(&mut port).await);
        assert_eq!((first.1, third.1), (frame(0x100), frame(0x300)));
        port.events.send(BusEvent::Transmitted { token: second.0 }).await.unwrap();
        port.events.send(received(0x201)).await.unwrap();
        port.events.send(BusEvent::Dropped { token: third.0 }).await.unwrap();
        port.events.send(BusEvent::Transmitted { token: first.0 }).await.unwrap();
        port.events.send(BusEvent::Overrun { frames: 4 }).await.unwrap();
        read(&mut stream, "Z\rb2010\r\x07z\r").await;
        drop(stream);
        let traffic = served.await.unwrap().unwrap();
        assert_eq!(traffic, Traffic { sent: 2, refused: 2, received: 1, lost: traffic.lost, malformed: 1 });
    }

    /// Neither end waits for the other.
    #[tokio::test]
    async fn who_does_not_read_may_write() {
        let (mut stream, theirs) = tokio::io::duplex(64);
        let (mut bus, mut port) = ChannelBus::pair();
        let served = tokio::spawn(async move {
            let (mut input, mut output) = tokio::io::split(theirs);
            serve(&mut bus, &mut input, &mut output).await
        });
        stream.write_all(b"O\r").await.unwrap();
        read(&mut stream, "\r").await;
        for at in 0..100 {
            let event = BusEvent::Received { segment: 0, at_us: 0, frame: frame(at) };
            port.events.send(event).await.unwrap();
        }
        stream.write_all(&b"b1000\r".repeat(20)).await.unwrap();
        assert_eq!(next(&mut port).await.1, frame(0x100));
        drop(stream);
        assert!(served.await.unwrap().is_ok());
    }
}
