//! What happens in a simulated car, one line each. `docs/simulator.md` describes the lines.

use std::fmt;

use can_bus::Frame;
use device_chain::agreement::VoteKind;
use device_chain::block::Seal;
use device_chain::grant::SignedGrant;
use device_chain::order::Endorsement;
use device_chain::record::{Named, Record};
use device_chain::tx::Transaction;
use device_chain::types::{Hash, Height};
use device_chain::validator::{Decision, Report};
use device_chain::wire::{Header, Kind, NIL_PROPOSER};
use ecu_node::store::Diagnosis;

/// Something that happened, as somebody outside sees it.
#[derive(Clone, Debug)]
pub struct Event {
    /// Virtual time, ns.
    pub at_ns: u64,
    /// What.
    pub what: What,
}

/// A place on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Station {
    /// An ECU, by its index in [`Car::ecus`](crate::car::Car::ecus). Those behind the validators are twins.
    Ecu(u8),
    /// An endpoint.
    Endpoint(u8),
    /// A place without keys.
    Rogue,
    /// The rest of the car.
    Load,
    /// What joins two segments: the gateway, but not as a validator.
    Router,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum What {
    /// An ECU came up.
    Booted {
        /// Which.
        ecu: u8,
        /// The nonce of its boot.
        nonce: u64,
        /// What its journal looked like.
        diagnosis: Diagnosis,
        /// The height up to which it knows the chain.
        height: Height,
    },
    /// An ECU lost its power.
    Off {
        /// Which.
        ecu: u8,
        /// In the middle of a durable write.
        torn: bool,
    },
    /// A mesh frame ended on a segment.
    Frame {
        /// Who sent it there.
        sender: Station,
        /// Bit per ECU that got it.
        heard: u16,
        /// The frame.
        frame: Frame,
    },
    /// A frame came in at an ECU with another content than was sent.
    Corrupted {
        /// Where.
        ecu: u8,
        /// What came in.
        frame: Frame,
    },
    /// A fact is durable at an ECU.
    Durable {
        /// Where.
        ecu: u8,
        /// The fact.
        record: Record,
        /// The power went before the ECU knew; all of it, a part, or nothing may be there at the next boot.
        torn: bool,
    },
    /// An ECU acts on a decision.
    Decided {
        /// Which.
        ecu: u8,
        /// The decision.
        decision: Box<Decision>,
    },
    /// An ECU reports something.
    Report {
        /// Which.
        ecu: u8,
        /// What.
        report: Report,
    },
    /// A seal came to an ECU.
    Sealed {
        /// Which.
        ecu: u8,
        /// The block.
        number: u32,
        /// Its seal.
        seal: Seal,
    },
    /// Somebody wants something decided.
    Asked {
        /// At which ECU.
        ecu: u8,
        /// What.
        tx: Transaction,
    },
    /// A grant came into the car.
    Granted {
        /// At which ECU.
        ecu: u8,
        /// The grant.
        grant: Box<SignedGrant>,
    },
    /// A signature under an order came into the car.
    Endorsed {
        /// At which ECU.
        ecu: u8,
        /// The order and the signature.
        endorsement: Box<Endorsement>,
    },
    /// An ECU's secure boot has measured its firmware.
    Measured {
        /// Which.
        ecu: u8,
        /// Its digest.
        firmware: Hash,
    },
    /// Nothing can be made durable at an ECU any more.
    Abstains {
        /// Where.
        ecu: u8,
    },
    /// An endpoint has something to record.
    Sensed {
        /// Which.
        endpoint: u8,
        /// How much.
        bytes: usize,
    },
    /// An endpoint holds its record for decided.
    Recorded {
        /// Which.
        endpoint: u8,
        /// Boot number and count.
        sequence: u64,
    },
    /// Something was done to the car.
    Fault(String),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09} {}", self.at_ns / 1_000_000_000, self.at_ns % 1_000_000_000, self.what)
    }
}

impl fmt::Display for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ecu(ecu) => write!(f, "ecu{ecu}"),
            Self::Endpoint(endpoint) => write!(f, "endpoint{endpoint}"),
            Self::Rogue => f.write_str("rogue"),
            Self::Load => f.write_str("load"),
            Self::Router => f.write_str("router"),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Booted { ecu, nonce, diagnosis, height } => {
                write!(f, "ecu{ecu} booted nonce={nonce:x} h={height} store={diagnosis:?}")
            }
            Self::Off { ecu, torn } => write!(f, "ecu{ecu} off{}", if *torn { " torn-write" } else { "" }),
            Self::Frame { sender, heard, frame } => {
                write!(f, "{sender} sent {:03x} {} heard=", frame.raw_id(), Content(frame))?;
                (0..16).filter(|ecu| heard >> ecu & 1 == 1).try_for_each(|ecu| write!(f, "{ecu:x}"))
            }
            Self::Corrupted { ecu, frame } => write!(f, "ecu{ecu} corrupted {:03x} {}", frame.raw_id(), Content(frame)),
            Self::Durable { ecu, record, torn } => {
                write!(f, "ecu{ecu} {} {}", if *torn { "torn" } else { "durable" }, Fact(record))
            }
            Self::Decided { ecu, decision } => {
                let Decision { height, round, hash, live, .. } = &**decision;
                write!(f, "ecu{ecu} decided h={height} r={round} {} {hash:?}", decision.tx.name())?;
                if *live { f.write_str(" live") } else { Ok(()) }
            }
            Self::Report { ecu, report } => write!(f, "ecu{ecu} report {report:?}"),
            Self::Sealed { ecu, number, seal } => write!(f, "ecu{ecu} sealed block={number} by={}", seal.validator),
            Self::Asked { ecu, tx } => write!(f, "ecu{ecu} asked {}", tx.name()),
            Self::Granted { ecu, grant } => write!(f, "ecu{ecu} granted serial={}", grant.grant.serial),
            Self::Endorsed { ecu, endorsement } => {
                write!(f, "ecu{ecu} endorsed {} by={:?}", endorsement.order.change.name(), endorsement.signer)
            }
            Self::Measured { ecu, firmware } => write!(f, "ecu{ecu} measured {firmware:?}"),
            Self::Abstains { ecu } => write!(f, "ecu{ecu} abstains"),
            Self::Sensed { endpoint, bytes } => write!(f, "endpoint{endpoint} sensed bytes={bytes}"),
            Self::Recorded { endpoint, sequence } => write!(f, "endpoint{endpoint} recorded sequence={sequence:x}"),
            Self::Fault(text) => write!(f, "fault {text}"),
        }
    }
}

/// A mesh frame, as far as its first bytes tell.
struct Content<'a>(&'a Frame);

impl fmt::Display for Content<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = self.0.data();
        let Some(header) = Header::parse(data) else {
            // a segment, or no mesh frame at all
            return match data {
                [_, _, _, kind, transfer, index, ..] if kind >> 4 == 15 => write!(f, "segment {transfer}/{index}"),
                _ => write!(f, "bytes={}", data.len()),
            };
        };
        let Header { kind, sender, height, round, hint_proposer, hint, counter, .. } = header;
        let name = match kind {
            Kind::Record if header.is_presence() => "present",
            Kind::Ack if header.is_presence() => "call",
            kind => kind_name(kind),
        };
        write!(f, "{name} as={sender} ")?;
        match kind {
            Kind::Hello => write!(f, "boot={height} nonce={:x}", header.nonce()),
            Kind::Propose | Kind::Prevote | Kind::Ready | Kind::Precommit if hint_proposer != NIL_PROPOSER => {
                write!(f, "h={height} r={round} value={hint_proposer}:{hint:04x} n={counter}")
            }
            Kind::Prevote | Kind::Precommit => write!(f, "h={height} r={round} nil n={counter}"),
            _ => write!(f, "h={height} to={round} n={counter}"),
        }
    }
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Propose => "propose",
        Kind::Prevote => "prevote",
        Kind::Ready => "ready",
        Kind::Precommit => "precommit",
        Kind::Decided => "decided",
        Kind::Hello => "hello",
        Kind::Confirm => "confirm",
        Kind::Fetch => "fetch",
        Kind::Sync => "sync",
        Kind::Grant => "grant",
        Kind::Record => "record",
        Kind::Ack => "ack",
        Kind::Seal => "seal",
        Kind::State => "state",
        Kind::Value => "value",
    }
}

struct Fact<'a>(&'a Record);

impl fmt::Display for Fact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Record::Boot(boot) => write!(f, "boot {boot}"),
            Record::Vote(vote) => {
                let kind = match vote.kind {
                    VoteKind::Prevote => "prevote",
                    VoteKind::Ready => "ready",
                    VoteKind::Precommit => "precommit",
                };
                write!(f, "{kind} h={} r={} ", vote.height, vote.round)?;
                match &vote.value {
                    Named::Nil => f.write_str("nil"),
                    Named::Content(tx) => write!(f, "of {} bytes", tx.len()),
                    Named::Hint([low, high]) => write!(f, "{high:02x}{low:02x}"),
                }
            }
            Record::Decided(height, _) => write!(f, "decision h={height}"),
            Record::Amnesiac => f.write_str("amnesiac"),
            Record::Readmitted => f.write_str("readmitted"),
            Record::Past(_) | Record::Parent(_) => f.write_str("past"),
        }
    }
}
