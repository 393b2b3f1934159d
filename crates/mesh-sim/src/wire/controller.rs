//! One CAN controller, bit by bit: sends and receives frames, signals errors, counts them (ISO 11898-1:2015).

use std::rc::Rc;

use can_bus::{ErrorState, Frame};

use super::bits::{Bit, Field};
use super::confinement::Confinement;
use super::decode::{Decoder, Step};
use super::{DOMINANT, INTERMISSION_BITS, RECESSIVE};

/// Bits of an error or overload flag.
const FLAG_BITS: u8 = 6;
/// Recessive bits behind it.
const DELIMITER_BITS: u8 = 8;
/// Further bits that an error passive transmitter waits before it may send again.
const SUSPEND_BITS: u8 = 8;
/// Dominant bits behind a flag that are one more error.
const STUCK_BITS: u8 = 8;

/// What a controller tells its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A frame of somebody else has ended.
    Received(Frame),
    /// The own frame has ended, acknowledged.
    Transmitted,
    /// The own frame was cut short by an error; it is to be sent again.
    Failed,
    /// The error counters crossed a limit.
    State(ErrorState),
}

/// What a flag is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flag {
    /// Six dominant bits that everybody has to notice.
    Active,
    /// Six recessive bits: an error passive node does not disturb others. `excused` while the transmitter has not counted
    /// a missing acknowledgement.
    Passive { excused: bool },
    /// Six dominant bits that delay the next frame.
    Overload,
}

/// Where a controller is. Numbers count the bits that have been there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Without power, bus-off or not yet part of the bus.
    Out,
    Idle,
    Frame,
    /// `level` held for the last `bits` bits.
    Flag {
        flag: Flag,
        level: bool,
        bits: u8,
    },
    /// Until the first recessive bit.
    AfterFlag {
        flag: Flag,
        dominant: u8,
    },
    Delimiter(u8),
    Intermission(usize),
    Suspend(u8),
}

/// A frame on its way out.
#[derive(Clone, Debug)]
struct Sending {
    bits: Rc<[Bit]>,
    at: usize,
}

/// What an error is, as far as the counters make a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Any,
    /// A recessive stuff bit was overridden during arbitration: it is not the transmitter's fault.
    ArbitrationStuff,
    /// Nobody acknowledged the frame.
    Acknowledge,
}

/// A controller.
#[derive(Clone, Debug)]
pub struct Controller {
    /// Its error counters.
    pub confinement: Confinement,
    phase: Phase,
    fd_tolerant: bool,
    decoder: Decoder,
    sending: Option<Sending>,
    /// Whether the present frame, or the one that an error just ended, is its own.
    transmitter: bool,
    received: Option<Frame>,
    /// What it drives the bus with.
    output: bool,
    /// Bits since the start of frame.
    bits: usize,
}

impl Controller {
    /// A controller on an idle bus. One that is not `fd_tolerant` destroys FD frames.
    #[must_use]
    pub const fn new(fd_tolerant: bool) -> Self {
        Self {
            confinement: Confinement::ZERO,
            phase: Phase::Idle,
            fd_tolerant,
            decoder: Decoder::new(fd_tolerant),
            sending: None,
            transmitter: false,
            received: None,
            output: RECESSIVE,
            bits: 0,
        }
    }

    /// What it drives the bus with.
    #[must_use]
    pub const fn output(&self) -> bool {
        self.output
    }

    /// Bits since the start of frame, those of error frames included.
    #[must_use]
    pub const fn bits(&self) -> usize {
        self.bits
    }

    /// Whether it neither sends nor receives, and may begin to.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// Whether it takes no part in the bus.
    #[must_use]
    pub fn is_out(&self) -> bool {
        self.phase == Phase::Out
    }

    /// Whether a frame of its own is on the bus.
    #[must_use]
    pub const fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    /// Whether it may send when others begin to: it is idle, or in the last bit of the intermission and need not wait.
    #[must_use]
    pub fn may_join(&self) -> bool {
        let last = self.phase == Phase::Intermission(INTERMISSION_BITS - 1);
        self.is_idle() || last && !(self.transmitter && self.confinement.is_passive())
    }

    /// Whether it knows FD frames.
    #[must_use]
    pub const fn is_fd_tolerant(&self) -> bool {
        self.fd_tolerant
    }

    /// Whether an edge to dominant is to it the start of a frame, wherever in a bit it comes.
    #[must_use]
    pub fn awaits_start(&self) -> bool {
        matches!(self.phase, Phase::Idle | Phase::Suspend(_))
            || self.phase == Phase::Intermission(INTERMISSION_BITS - 1)
    }

    /// Whether its next bit goes at the data bit rate.
    #[must_use]
    pub fn fast(&self) -> bool {
        match &self.sending {
            Some(sending) => sending.bits[sending.at].fast,
            None => self.phase == Phase::Frame && self.decoder.fast(),
        }
    }

    /// Takes no part any more.
    pub fn leave(&mut self) {
        *self = Self { phase: Phase::Out, confinement: self.confinement, ..Self::new(self.fd_tolerant) };
    }

    /// Takes part, with error counters at zero, from an idle bus on.
    pub fn join(&mut self) {
        *self = Self::new(self.fd_tolerant);
    }

    /// Begins to send a frame with its start of frame.
    pub fn start(&mut self, bits: Rc<[Bit]>) {
        self.begin();
        self.output = DOMINANT;
        self.transmitter = true;
        self.sending = Some(Sending { bits, at: 0 });
    }

    /// Takes the level of the bus at the end of a bit, and drives it for the next one.
    pub fn sample(&mut self, seen: bool) -> Option<Notice> {
        if !self.awaits_start() {
            self.bits += 1;
        }
        match self.phase {
            Phase::Out => None,
            Phase::Idle | Phase::Suspend(_) if seen == DOMINANT => self.hear_start(),
            Phase::Idle => None,
            Phase::Suspend(bits) => {
                self.phase = if bits + 1 == SUSPEND_BITS { Phase::Idle } else { Phase::Suspend(bits + 1) };
                None
            }
            Phase::Frame if self.sending.is_some() => self.send(seen),
            Phase::Frame => self.receive(seen),
            Phase::Flag { flag, level, bits } => self.flag(seen, flag, level, bits),
            Phase::AfterFlag { flag, dominant } => self.after_flag(seen, flag, dominant),
            Phase::Delimiter(bits) => match (seen, bits + 1) {
                (RECESSIVE, DELIMITER_BITS) => self.enter(Phase::Intermission(0)),
                (RECESSIVE, bits) => self.enter(Phase::Delimiter(bits)),
                (DOMINANT, DELIMITER_BITS) => self.overload(),
                (DOMINANT, _) => self.error(Cause::Any),
            },
            Phase::Intermission(bits) => match (seen, bits + 1) {
                (RECESSIVE, INTERMISSION_BITS) => self.rest(),
                (RECESSIVE, bits) => self.enter(Phase::Intermission(bits)),
                (DOMINANT, INTERMISSION_BITS) => self.hear_start(),
                (DOMINANT, _) => self.overload(),
            },
        }
    }

    fn enter(&mut self, phase: Phase) -> Option<Notice> {
        self.phase = phase;
        self.output = match phase {
            Phase::Flag { flag: Flag::Active | Flag::Overload, .. } => DOMINANT,
            _ => RECESSIVE,
        };
        None
    }

    fn rest(&mut self) -> Option<Notice> {
        let suspends = self.transmitter && self.confinement.is_passive();
        (self.transmitter, self.bits) = (false, 0);
        self.enter(if suspends { Phase::Suspend(0) } else { Phase::Idle })
    }

    fn begin(&mut self) {
        self.phase = Phase::Frame;
        self.decoder = Decoder::new(self.fd_tolerant);
        self.transmitter = false;
        self.sending = None;
        self.bits = 0;
    }

    fn hear_start(&mut self) -> Option<Notice> {
        self.begin();
        self.bits = 1;
        self.receive(DOMINANT)
    }

    fn send(&mut self, seen: bool) -> Option<Notice> {
        let sending = self.sending.as_mut()?;
        let sent = sending.bits[sending.at];
        let contends = matches!(sent.field, Field::Start | Field::Arbitration);
        match (sent.field, seen) {
            (Field::Ack, DOMINANT) => {}
            (Field::Ack, RECESSIVE) => return self.error(Cause::Acknowledge),
            (_, seen) if seen == sent.level => {}
            (Field::Arbitration, DOMINANT) if sent.stuff => return self.error(Cause::ArbitrationStuff),
            (Field::Arbitration, DOMINANT) => {
                (self.sending, self.transmitter) = (None, false);
                return self.receive(seen);
            }
            _ => return self.error(Cause::Any),
        }
        sending.at += 1;
        let next = sending.bits[sending.at];
        self.output = next.level;
        if contends {
            // Whoever loses arbitration goes on as a receiver: it has to know what was there before.
            let _ = self.decoder.push(seen);
        }
        if next.field == Field::Intermission {
            self.sending = None;
            self.confinement.transmitted();
            self.enter(Phase::Intermission(0));
            return Some(Notice::Transmitted);
        }
        None
    }

    fn receive(&mut self, seen: bool) -> Option<Notice> {
        let acknowledged = self.output == DOMINANT;
        self.output = RECESSIVE;
        if acknowledged && seen == RECESSIVE {
            return self.error(Cause::Any);
        }
        match self.decoder.push(seen) {
            Ok(Step::More) => None,
            Ok(Step::Acknowledge) => {
                self.output = DOMINANT;
                None
            }
            Ok(Step::Received(frame)) => {
                self.confinement.received();
                self.received = Some(frame);
                None
            }
            Ok(Step::Ended) => {
                self.enter(Phase::Intermission(0));
                self.received.take().map(Notice::Received)
            }
            Ok(Step::Overload) => {
                self.overload();
                self.received.take().map(Notice::Received)
            }
            Err(_) => self.error(Cause::Any),
        }
    }

    fn overload(&mut self) -> Option<Notice> {
        self.enter(Phase::Flag { flag: Flag::Overload, level: DOMINANT, bits: 0 })
    }

    /// Signals an error, as a transmitter or as a receiver. A node that the error makes error passive still signals it as
    /// before.
    fn error(&mut self, cause: Cause) -> Option<Notice> {
        let passive = self.confinement.is_passive();
        let excused = passive && cause == Cause::Acknowledge;
        if !self.transmitter {
            self.confinement.receiver_found();
        } else if !excused && cause != Cause::ArbitrationStuff {
            self.confinement.heavy(true);
        }
        let failed = self.sending.take().map(|_| Notice::Failed);
        let flag = if passive { Flag::Passive { excused } } else { Flag::Active };
        self.enter(Phase::Flag { flag, level: RECESSIVE, bits: 0 });
        failed
    }

    fn flag(&mut self, seen: bool, flag: Flag, level: bool, bits: u8) -> Option<Notice> {
        let (flag, bits) = match flag {
            Flag::Passive { excused } => {
                if excused && seen == DOMINANT {
                    self.confinement.heavy(true);
                }
                (Flag::Passive { excused: excused && seen == RECESSIVE }, if seen == level { bits + 1 } else { 1 })
            }
            _ if seen == RECESSIVE => {
                self.confinement.heavy(self.transmitter);
                (flag, 0)
            }
            _ => (flag, bits + 1),
        };
        let done = bits == FLAG_BITS;
        self.enter(if done { Phase::AfterFlag { flag, dominant: 0 } } else { Phase::Flag { flag, level: seen, bits } })
    }

    fn after_flag(&mut self, seen: bool, flag: Flag, dominant: u8) -> Option<Notice> {
        if seen == RECESSIVE {
            return self.enter(Phase::Delimiter(1));
        }
        // Others go on signalling: this receiver was the first to find the error.
        if dominant == 0 && !self.transmitter && flag != Flag::Overload {
            self.confinement.heavy(false);
        }
        let dominant = dominant + 1;
        if dominant.is_multiple_of(STUCK_BITS) {
            self.confinement.heavy(self.transmitter);
        }
        // The first one is told from all others, so the count does not go back to zero.
        self.enter(Phase::AfterFlag { flag, dominant: if dominant == 2 * STUCK_BITS { STUCK_BITS } else { dominant } })
    }
}
