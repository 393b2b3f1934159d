//! The simulated bus in real time: arbitration and frame times of `mesh-sim`, for nodes that are tasks of this process.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use can_bus::port::{BusCommand, BusEvent};
use can_bus::timing::BitTiming;
use ecu_node::linux::bus::{ChannelBus, ChannelPort};
use mesh_sim::bus::SimBus;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// How long the wire waits when nothing is on it.
const IDLE: Duration = Duration::from_secs(1);

enum Message {
    Attach(mpsc::Sender<BusEvent>),
    Command(usize, BusCommand),
    Detach(usize),
}

/// One segment. The wire is a thread, for frame times are shorter than tokio's timers; it ends with this value and the
/// last node.
pub struct Wire {
    attach: Mutex<(Sender<Message>, usize)>,
    runtime: Handle,
}

impl Wire {
    /// A wire without nodes; `segment` is its number in what nodes receive.
    ///
    /// # Errors
    /// No thread can be made.
    pub fn start(runtime: Handle, segment: u8, timing: BitTiming) -> io::Result<Self> {
        let (sender, messages) = channel();
        thread::Builder::new().name(format!("wire-{segment}")).spawn(move || {
            let bus = SimBus::new(segment, timing);
            Wiring { bus, nodes: BTreeMap::new(), epoch: Instant::now() }.run(&messages);
        })?;
        Ok(Self { attach: Mutex::new((sender, 0)), runtime })
    }

    /// A new place on the wire; dropping it is losing power.
    pub fn attach(&self) -> ChannelBus {
        let (bus, ChannelPort { mut commands, events }) = ChannelBus::pair();
        let mut attach = self.attach.lock().unwrap_or_else(PoisonError::into_inner);
        let (sender, node) = (attach.0.clone(), attach.1);
        attach.1 += 1;
        let _ = sender.send(Message::Attach(events));
        self.runtime.spawn(async move {
            while let Some(command) = commands.recv().await {
                let _ = sender.send(Message::Command(node, command));
            }
            let _ = sender.send(Message::Detach(node));
        });
        bus
    }
}

struct Wiring {
    bus: SimBus,
    /// Where events go; a node that does not fetch them loses frames, and is told how many.
    nodes: BTreeMap<usize, (mpsc::Sender<BusEvent>, u32)>,
    epoch: Instant,
}

impl Wiring {
    fn run(mut self, messages: &Receiver<Message>) {
        loop {
            let wait = self.bus.next_at().map_or(IDLE, |at| Duration::from_nanos(at.saturating_sub(self.now_ns())));
            let message = match messages.recv_timeout(wait) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let now_ns = self.now_ns();
            for (node, event) in self.bus.advance(now_ns) {
                self.tell(node, event);
            }
            match message {
                Some(Message::Attach(events)) => {
                    let node = self.bus.attach();
                    self.nodes.insert(node, (events, 0));
                }
                Some(Message::Command(node, command)) => {
                    if let Some(answer) = self.bus.command(now_ns, node, command) {
                        self.tell(node, answer);
                    }
                }
                Some(Message::Detach(node)) => {
                    self.nodes.remove(&node);
                    self.bus.silence(node);
                }
                None => {}
            }
        }
    }

    fn now_ns(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    fn tell(&mut self, node: usize, event: BusEvent) {
        let Some((events, lost)) = self.nodes.get_mut(&node) else { return };
        if *lost > 0 && events.try_send(BusEvent::Overrun { frames: *lost }).is_ok() {
            *lost = 0;
        }
        *lost += u32::from(events.try_send(event).is_err());
    }
}

#[cfg(test)]
mod tests {
    use can_bus::Frame;
    use can_bus::frame::id_from_raw;
    use ecu_node::linux::bus::Bus;
    use mesh_sim::wire::length::Length;

    use super::*;

    #[test]
    fn frames_take_their_time_and_reach_everybody() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let wire = Wire::start(runtime.handle().clone(), 3, BitTiming::FD_500K_2M).unwrap();
        let (mut sender, mut receiver) = (wire.attach(), wire.attach());
        let frame = Frame::fd(id_from_raw(0x100).unwrap(), &[7; 64]).unwrap();
        runtime.block_on(async {
            let begin = Instant::now();
            for token in 0..10 {
                Bus::command(&mut sender, BusCommand::Transmit { token, frame });
            }
            for token in 0..10 {
                assert_eq!(sender.event().await.unwrap(), BusEvent::Transmitted { token });
                let heard = receiver.event().await.unwrap();
                assert!(matches!(heard, BusEvent::Received { segment: 3, frame: same, .. } if same == frame));
            }
            let frame_ns = Length::of(&frame).ns(&BitTiming::FD_500K_2M);
            assert!(begin.elapsed() >= Duration::from_nanos(9 * frame_ns), "{:?}", begin.elapsed());
        });
    }

    #[test]
    fn who_loses_power_has_nothing_left_to_send() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let wire = Wire::start(runtime.handle().clone(), 0, BitTiming::FD_500K_2M).unwrap();
        let (gone, mut alive, _acknowledges) = (wire.attach(), wire.attach(), wire.attach());
        drop(gone);
        let frame = Frame::fd(id_from_raw(1).unwrap(), &[]).unwrap();
        Bus::command(&mut alive, BusCommand::Transmit { token: 1, frame });
        assert_eq!(runtime.block_on(alive.event()).unwrap(), BusEvent::Transmitted { token: 1 });
    }
}
