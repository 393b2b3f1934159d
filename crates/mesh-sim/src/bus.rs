//! A CAN bus in virtual time: arbitration, exact frame times, one order of frames for everybody, and what goes wrong.
//!
//! A frame that nothing disturbs takes the time that its bits take ([`Length`]), without making them. When a fault touches
//! it, two nodes send the same identifier, nobody acknowledges it, its sender is error passive, or somebody does not know
//! FD frames, all controllers run bit by bit on a [`Line`] until the wire is idle again. Both ways lead to the same.
//!
//! When the wire becomes idle, the frame that wins arbitration among the first of all nodes goes out; what is submitted at
//! that very nanosecond takes part. A node hears of a frame at the end of its last bit, before the intermission; a frame
//! that an error cut short is sent again. A node that went bus-off comes back by itself, after 128 times 11 recessive bits.
//!
//! Foreign traffic is one more node, and so is a babbling idiot.

use can_bus::timing::BitTiming;
use can_bus::{BusCommand, BusEvent, Frame, Kind, queue::TransmitQueue};

use crate::wire::INTERMISSION_BITS;
use crate::wire::bits::encode;
use crate::wire::controller::{Controller, Notice};
use crate::wire::disturbance::Disturbance;
use crate::wire::length::Length;
use crate::wire::line::Line;

/// What keeps frames apart.
const INTERMISSION: Length = Length { nominal: INTERMISSION_BITS as u32, data: 0 };
/// Most instants that are looked at for the time of the next event; a wire that is held for long has none.
const LOOK_AHEAD: usize = 10_000;

/// One segment with its nodes.
pub struct SimBus {
    segment: u8,
    nodes: Vec<Node>,
    line: Line,
    wire: Wire,
    missed: Missed,
    disturbed: Disturbed,
    statistics: Statistics,
    now_ns: u64,
    /// What nodes have not been told yet.
    events: Vec<(usize, BusEvent)>,
}

/// Whether a receiver misses a frame.
type Missed = Box<dyn FnMut(&Transmission, usize) -> bool>;
/// What happens to a frame.
type Disturbed = Box<dyn FnMut(&Transmission) -> Disturbance>;

/// What a node has to send.
#[derive(Default)]
struct Node {
    /// The frame on the wire stays in it until it is through.
    queue: TransmitQueue,
    /// The frame that it last began to send, and how often that failed.
    tried: (u32, u32),
}

/// What happens on the wire.
enum Wire {
    /// Nothing, and nobody wants to send.
    Idle { since_ns: u64 },
    /// Arbitration, in which everything submitted until then takes part.
    Arbitration { at_ns: u64 },
    /// A frame that nothing disturbs is on it.
    Frame { sent: Transmission, start_ns: u64, end_ns: u64 },
    /// Bit by bit.
    Bits { sent: Option<Transmission>, start_ns: u64 },
}

/// A frame on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmission {
    /// How many frames were on this wire before.
    pub index: u64,
    /// How often this frame was cut short before.
    pub attempt: u32,
    /// The node that sends it.
    pub sender: usize,
    /// The frame.
    pub frame: Frame,
}

/// What a bus has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames that ended.
    pub frames: u64,
    /// Frames that an error cut short.
    pub errors: u64,
    /// Time for which they held the wire, in ns.
    pub busy_ns: u64,
}

impl SimBus {
    /// A bus without nodes at time 0; `segment` is its number in what nodes receive. A bit takes whole ns, rounded up.
    pub fn new(segment: u8, timing: BitTiming) -> Self {
        Self {
            segment,
            line: Line::new(&timing),
            nodes: Vec::new(),
            wire: Wire::Idle { since_ns: 0 },
            missed: Box::new(|_, _| false),
            disturbed: Box::new(|_| Disturbance::default()),
            statistics: Statistics::default(),
            now_ns: 0,
            events: Vec::new(),
        }
    }

    /// Adds a node, with power; returns its index. On a bus that has been running it takes part as soon as it has seen an
    /// idle bus, as after [`Self::start`].
    pub fn attach(&mut self) -> usize {
        self.attach_controller(true)
    }

    /// Adds a node whose controller does not know FD frames and destroys them; returns its index.
    pub fn attach_classic(&mut self) -> usize {
        self.attach_controller(false)
    }

    fn attach_controller(&mut self, fd_tolerant: bool) -> usize {
        self.line.attach(fd_tolerant);
        self.nodes.push(Node::default());
        let node = self.nodes.len() - 1;
        if self.now_ns > 0 {
            // in the middle of a frame, perhaps
            self.line.power_on(node, self.now_ns);
        }
        node
    }

    /// From now on, a receiver misses a frame when `missed(frame, receiver)` says so, as when it does not fetch it in time:
    /// its controller has acknowledged the frame, and nobody else notices.
    pub fn drop_when(&mut self, missed: impl FnMut(&Transmission, usize) -> bool + 'static) {
        self.missed = Box::new(missed);
    }

    /// From now on, `disturbed(frame)` says what happens to each frame that is sent. It is asked when the frame begins, and
    /// again when it is repeated.
    pub fn disturb_when(&mut self, disturbed: impl FnMut(&Transmission) -> Disturbance + 'static) {
        self.disturbed = Box::new(disturbed);
    }

    /// Takes a command of a node; returns the answer if there is one at once. Times never go back. A node that has no
    /// power gets it with this.
    ///
    /// # Panics
    /// `node` was not attached.
    pub fn command(&mut self, now_ns: u64, node: usize, command: BusCommand) -> Option<BusEvent> {
        self.go_on(now_ns);
        self.start(node);
        match command {
            BusCommand::Transmit { token, frame } => {
                if !self.nodes[node].queue.push(token, frame) {
                    return Some(BusEvent::Dropped { token });
                }
                if let Wire::Idle { since_ns } = self.wire {
                    self.wire = Wire::Arbitration { at_ns: since_ns.max(now_ns) };
                }
                None
            }
            BusCommand::Abort { token } if self.is_on_wire(node, token) => None,
            BusCommand::Abort { token } => self.nodes[node].queue.abort(token).then_some(BusEvent::Dropped { token }),
        }
    }

    /// Takes the power from a node, at the time that the bus has been told last: its frames are gone, the one on the wire
    /// breaks off, and it neither hears nor acknowledges anything.
    ///
    /// # Panics
    /// `node` was not attached.
    pub fn silence(&mut self, node: usize) {
        self.go_by_bits();
        self.line.power_off(node);
        self.nodes[node] = Node::default();
    }

    /// Gives a node its power back, if it has none; it takes part as soon as it has seen an idle bus, 11 recessive bits.
    ///
    /// # Panics
    /// `node` was not attached.
    pub fn start(&mut self, node: usize) {
        if self.line.is_off(node) {
            self.line.power_on(node, self.now_ns);
        }
    }

    /// Holds the wire dominant from now on, as a short circuit does.
    pub fn hold(&mut self, now_ns: u64, until_ns: u64) {
        self.go_on(now_ns);
        self.go_by_bits();
        if !matches!(self.wire, Wire::Bits { .. }) {
            self.line.begin(now_ns);
            self.wire = Wire::Bits { sent: None, start_ns: now_ns };
        }
        self.line.hold(until_ns);
    }

    /// The controller of a node: its error counters and state.
    ///
    /// # Panics
    /// `node` was not attached.
    pub fn controller(&self, node: usize) -> &Controller {
        self.line.controller(node)
    }

    /// When to [advance](Self::advance) next if nothing else is submitted, in ns: a node will be told something then, or a
    /// frame begins.
    pub fn next_at(&self) -> Option<u64> {
        if !self.events.is_empty() {
            return Some(self.now_ns);
        }
        match self.wire {
            Wire::Idle { .. } => self.line.wakes_ns(),
            Wire::Arbitration { at_ns } => Some(at_ns + 1),
            Wire::Frame { end_ns, .. } => Some(end_ns),
            Wire::Bits { .. } => Some(self.next_of_bits()),
        }
    }

    /// What the nodes hear until `now_ns`, in the order of the wire: node and event.
    pub fn advance(&mut self, now_ns: u64) -> Vec<(usize, BusEvent)> {
        self.go_on(now_ns);
        std::mem::take(&mut self.events)
    }

    /// What the bus has carried so far.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    fn go_on(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
        loop {
            match self.wire {
                Wire::Idle { .. } => {
                    if !self.wake(now_ns) {
                        return;
                    }
                }
                Wire::Arbitration { at_ns } => {
                    self.wake(at_ns.min(now_ns));
                    if at_ns >= now_ns {
                        return;
                    }
                    self.arbitrate(at_ns);
                }
                Wire::Frame { end_ns, .. } if end_ns > now_ns => return,
                Wire::Frame { sent, start_ns, end_ns } => self.end_frame(&sent, start_ns, end_ns),
                Wire::Bits { .. } if self.line.next_ns() > now_ns => return,
                Wire::Bits { sent, start_ns } => self.next_bit(sent, start_ns),
            }
        }
    }

    /// Lets those take part again who have waited until then; whether one of them wants to send on an idle wire.
    fn wake(&mut self, until_ns: u64) -> bool {
        let mut wanted = false;
        while let Some(at_ns) = self.line.wakes_ns().filter(|at_ns| *at_ns <= until_ns) {
            for (node, notice) in self.line.wake(at_ns) {
                self.tell(node, notice, None, at_ns);
            }
            if let Wire::Idle { .. } = self.wire {
                self.free(at_ns);
                wanted |= matches!(self.wire, Wire::Arbitration { .. });
            }
        }
        wanted
    }

    /// The node whose first frame wins arbitration among those that may send, and whether another sends the same identifier.
    fn winner(&self, may_send: impl Fn(usize) -> bool) -> Option<(usize, bool)> {
        let mut best: Option<(u32, usize, bool)> = None;
        for (node, sender) in self.nodes.iter().enumerate() {
            let Some((_, frame)) = sender.queue.peek().filter(|_| may_send(node)) else { continue };
            let id = frame.arbitration();
            match &mut best {
                Some((lowest, _, contested)) if *lowest == id => *contested = true,
                Some((lowest, ..)) if *lowest < id => {}
                _ => best = Some((id, node, false)),
            }
        }
        best.map(|(_, winner, contested)| (winner, contested))
    }

    /// The first frame of a node as it sends it now, for the so many-th time.
    fn first_of(&mut self, node: usize) -> Option<Transmission> {
        let index = self.statistics.frames;
        let sender = &mut self.nodes[node];
        let (token, frame) = *sender.queue.peek()?;
        if sender.tried.0 != token {
            sender.tried = (token, 0);
        }
        let frame = match frame.kind() {
            // It says itself that it is error passive.
            Kind::Fd { brs, .. } if self.line.controller(node).confinement.is_passive() => {
                Frame::fd_with_flags(frame.id(), frame.data(), brs, true).unwrap_or(frame)
            }
            _ => frame,
        };
        Some(Transmission { index, attempt: sender.tried.1, sender: node, frame })
    }

    /// The wire is idle, and the frames that wait contend for it.
    fn arbitrate(&mut self, at_ns: u64) {
        let won = self.winner(|node| self.line.controller(node).is_idle());
        let Some((winner, contested)) = won else {
            // All was aborted.
            self.wire = Wire::Idle { since_ns: at_ns };
            return;
        };
        let Some(sent) = self.first_of(winner) else { return };
        let disturbance = (self.disturbed)(&sent);
        if !contested && disturbance.is_none() && self.is_plain(&sent) {
            let length = Length::of(&sent.frame);
            self.statistics.busy_ns += self.line.ns(length);
            let end = Length { nominal: length.nominal - INTERMISSION.nominal, ..length };
            self.wire = Wire::Frame { sent, start_ns: at_ns, end_ns: at_ns + self.line.ns(end) };
        } else {
            self.line.begin(at_ns);
            self.wire = Wire::Bits { sent: Some(sent), start_ns: at_ns };
            self.begin_frames(disturbance);
        }
    }

    /// Whether everybody who hears the frame knows such frames, somebody does, and its sender takes part in everything.
    fn is_plain(&self, sent: &Transmission) -> bool {
        let hears = |(node, controller): &(usize, &Controller)| *node != sent.sender && controller.is_idle();
        let mut others = self.line.controllers().enumerate().filter(hears).peekable();
        let heard = others.peek().is_some();
        let known = others.all(|(_, controller)| controller.is_fd_tolerant() || !sent.frame.is_fd());
        heard && known && !self.line.controller(sent.sender).confinement.is_passive()
    }

    fn end_frame(&mut self, sent: &Transmission, start_ns: u64, end_ns: u64) {
        let free_ns = end_ns + self.line.ns(INTERMISSION);
        self.line.pass(start_ns, free_ns);
        for node in 0..self.nodes.len() {
            if node == sent.sender {
                self.tell(node, Notice::Transmitted, Some(sent), end_ns);
            } else if self.line.controller(node).is_idle() {
                self.tell(node, Notice::Received(sent.frame), Some(sent), end_ns);
            }
        }
        let changed: Vec<_> = self.line.count_frame(sent.sender).collect();
        for (node, state) in changed {
            self.tell(node, Notice::State(state), None, end_ns);
        }
        self.free(free_ns);
    }

    /// The wire is idle.
    fn free(&mut self, at_ns: u64) {
        self.wire = match self.winner(|node| self.line.controller(node).is_idle()) {
            Some(_) => Wire::Arbitration { at_ns },
            None => Wire::Idle { since_ns: at_ns },
        };
    }

    fn next_bit(&mut self, sent: Option<Transmission>, start_ns: u64) {
        let notices = self.line.sample();
        let now_ns = self.line.now_ns();
        for (node, notice) in notices {
            self.tell(node, notice, sent.as_ref(), now_ns);
        }
        if self.line.is_quiet() {
            self.statistics.busy_ns += now_ns - start_ns;
            self.free(now_ns);
        } else if let Some((winner, _)) = self.winner(|node| self.line.is_ready(node)) {
            // Others still have to wait: behind an error, or because they are error passive.
            let sent = self.first_of(winner);
            self.wire = Wire::Bits { sent, start_ns };
            let disturbance = sent.map_or_else(Disturbance::default, |sent| (self.disturbed)(&sent));
            self.begin_frames(disturbance);
        }
    }

    /// Whoever may, begins to send its first frame.
    fn begin_frames(&mut self, disturbance: Disturbance) {
        self.line.disturb(disturbance);
        for node in 0..self.nodes.len() {
            if self.line.controller(node).may_join()
                && let Some(sent) = self.first_of(node)
            {
                self.line.start(node, encode(&sent.frame).into());
            }
        }
    }

    /// From now on bit by bit, if there is an undisturbed frame on the wire.
    fn go_by_bits(&mut self) {
        let Wire::Frame { sent, start_ns, .. } = self.wire else { return };
        self.line.begin(start_ns);
        self.line.disturb(Disturbance::default());
        self.line.start(sent.sender, encode(&sent.frame).into());
        self.statistics.busy_ns -= self.line.ns(Length::of(&sent.frame));
        self.wire = Wire::Bits { sent: Some(sent), start_ns };
        self.go_on(self.now_ns);
    }

    /// When somebody is told something, or may begin to send.
    fn next_of_bits(&self) -> u64 {
        let mut line = self.line.clone();
        for _ in 0..LOOK_AHEAD {
            let told = !line.sample().is_empty();
            let ready =
                || (0..self.nodes.len()).any(|node| line.is_ready(node) && self.nodes[node].queue.peek().is_some());
            if told || line.is_quiet() || ready() {
                break;
            }
        }
        line.now_ns()
    }

    fn is_on_wire(&self, node: usize, token: u32) -> bool {
        let sends = match self.wire {
            Wire::Frame { sent, .. } => sent.sender == node,
            Wire::Bits { .. } => self.line.controller(node).is_sending(),
            Wire::Idle { .. } | Wire::Arbitration { .. } => false,
        };
        sends && self.nodes[node].tried.0 == token
    }

    /// Passes on what a controller tells its node.
    fn tell(&mut self, node: usize, notice: Notice, sent: Option<&Transmission>, at_ns: u64) {
        let (segment, at_us) = (self.segment, at_ns / 1000);
        let sender = &mut self.nodes[node];
        let event = match notice {
            Notice::Received(frame) => {
                if sent.is_some_and(|sent| (self.missed)(sent, node)) {
                    return;
                }
                BusEvent::Received { segment, at_us, frame }
            }
            Notice::Transmitted => {
                let token = sender.tried.0;
                sender.tried.1 = 0;
                self.statistics.frames += 1;
                if !sender.queue.abort(token) {
                    return;
                }
                BusEvent::Transmitted { token }
            }
            Notice::Failed => {
                sender.tried.1 += 1;
                self.statistics.errors += 1;
                return;
            }
            Notice::State(state) => BusEvent::State(state),
        };
        self.events.push((node, event));
    }
}
