//! Which rules of the protocol were seen at work: a mark for each numbered rule that shows outside.
//!
//! Of some that do not, the counters of the ECUs tell; the rest are definitions, and the tests of `device-chain` cite them.

use std::collections::{BTreeMap, BTreeSet};

use device_chain::block::BlockHeader;
use device_chain::genesis::WIRE_VERSION;
use device_chain::record::Record;
use device_chain::state::Refusal;
use device_chain::tx::Transaction;
use device_chain::types::{Height, Round};
use device_chain::validator::{Counters, Decision, Report, Workings};
use device_chain::wire::{DECIDED_VALUE, Header, Kind, NIL_PROPOSER};

use super::World;
use crate::event::{Event, Station, What};

/// A rule, what shows that it is at work, and the test for it.
type Rule = (&'static str, &'static str, fn(&Memory, &World, &Event) -> bool);

/// Marks of rules that show outside.
pub const RULES: &[Rule] = &[
    ("C1", "a liar is caught voting twice", |_, _, event| report(event, |of| matches!(of, Report::Equivocation(_)))),
    (
        "C2",
        "a quorum of precommits decides",
        |_, _, event| matches!(&event.what, What::Decided { decision, .. } if decision.live),
    ),
    ("C3", "READY is said", |_, world, event| vote(world, event, |_, of| of.kind == Kind::Ready)),
    ("C5", "a decision of others is adopted", |memory, _, event| match &event.what {
        What::Decided { ecu, decision } => !decision.live && memory.repeated.contains(&(*ecu, decision.height)),
        _ => false,
    }),
    (
        "DC-2",
        "another wire version is on the bus",
        |_, _, event| matches!(&event.what, What::Frame { frame, .. } if frame.data().get(2).is_some_and(|of| of >> 4 != WIRE_VERSION)),
    ),
    ("DC-6", "votes of another car are on the bus", |_, world, event| {
        rogue(event, |of| of.kind.vote().is_some() && of.mesh.to_le_bytes() != world.mesh[..2])
    }),
    ("DC-20", "a HELLO of another car is said in this one's name", |_, world, event| {
        rogue(event, |of| of.kind == Kind::Hello && !world.nonces(of.sender).contains(&of.nonce()))
    }),
    ("DC-21", "a session is confirmed", |_, _, event| report(event, |of| matches!(of, Report::Met(_)))),
    ("DC-22", "a HELLO is said again by somebody else", |_, world, event| {
        rogue(event, |of| of.kind == Kind::Hello && world.nonces(of.sender).contains(&of.nonce()))
    }),
    ("DC-33", "a state as a whole is handed over", |_, _, event| segment_of(event, Kind::State)),
    ("DC-34", "somebody is readmitted", |_, _, event| decided(event, |tx| matches!(tx, Transaction::Readmit { .. }))),
    ("DC-35", "who was silent for long is suspended", |_, _, event| {
        decided(event, |tx| matches!(tx, Transaction::Suspend { .. }))
    }),
    ("DC-40", "a forged grant is refused", |_, _, event| report(event, |of| matches!(of, Report::GrantRefused(..)))),
    ("DC-41", "a used grant is refused", |_, _, event| {
        report(event, |of| matches!(of, Report::Refused(Transaction::UseGrant(_), Refusal::Grant(_))))
    }),
    ("DC-42", "a record is decided and acknowledged, though somebody else says it, too", |_, world, event| {
        world.has_copied_record && matches!(event.what, What::Recorded { .. })
    }),
    ("DC-44", "an abused identifier is recorded", |_, world, event| {
        decided(event, |tx| matches!(tx, Transaction::Alarm { identifier, .. } if world.is_abused(*identifier)))
    }),
    ("DC-45", "a quorum decides, too late to move anything", |memory, _, event| match &event.what {
        What::Decided { ecu, decision } => !decision.live && !memory.repeated.contains(&(*ecu, decision.height)),
        _ => false,
    }),
    ("DC-50", "a block is closed", |_, _, event| decided(event, |tx| matches!(tx, Transaction::EventBlock(_)))),
    ("DC-52", "the backlog refuses more", |_, _, event| {
        report(event, |of| matches!(of, Report::Refused(_, Refusal::Backlog)))
    }),
    ("L1", "nil is prevoted when time is over", |_, world, event| {
        vote(world, event, |_, of| of.kind == Kind::Prevote && of.hint_proposer == NIL_PROPOSER)
    }),
    ("L2", "a locked value is precommitted", |_, world, event| {
        vote(world, event, |_, of| of.kind == Kind::Precommit && of.hint_proposer != NIL_PROPOSER)
    }),
    ("L3", "who is locked does not vote for the next proposal", |memory, world, event| {
        vote(world, event, |ecu, of| {
            let nil = of.kind == Kind::Prevote && of.hint_proposer == NIL_PROPOSER;
            nil && memory.locked.get(&(ecu, of.height)).is_some_and(|locked| *locked < of.round)
        })
    }),
    ("L4", "the designated proposer of a later round proposes", |_, world, event| {
        honest(world, event).is_some_and(|(ecu, of)| {
            let designated = (u64::from(of.height) + u64::from(of.round)) % world.thresholds.n as u64;
            of.kind == Kind::Propose && of.round > 0 && designated == u64::from(ecu)
        })
    }),
    ("L6", "a decided ECU helps at the height before", |_, world, event| {
        vote(world, event, |ecu, of| of.height <= world.height(ecu))
    }),
    ("M1", "READY is said for a value, in a later round", |_, world, event| {
        vote(world, event, |_, of| of.kind == Kind::Ready && of.round > 0 && of.hint_proposer != NIL_PROPOSER)
    }),
    ("M3", "a value is asked for", |_, world, event| {
        honest(world, event).is_some_and(|(_, of)| of.kind == Kind::Fetch)
    }),
    ("M4", "a vote is said again", |memory, world, event| {
        vote(world, event, |ecu, of| memory.said.contains_key(&slot(ecu, of)))
    }),
    ("M5", "a READY of an old round is said", |memory, world, event| {
        vote(world, event, |ecu, of| {
            of.kind == Kind::Ready && memory.rounds.get(&(ecu, of.height)).is_some_and(|newest| *newest > of.round)
        })
    }),
    ("P1", "a vote is durable", |_, _, event| fact(event, |of| matches!(of, Record::Vote(_)))),
    ("P2", "a vote of the boot before is said again", |memory, world, event| {
        vote(world, event, |ecu, of| memory.said.get(&slot(ecu, of)).is_some_and(|boot| *boot < memory.boot(ecu)))
    }),
    ("P3", "a READY is durable", |_, _, event| {
        let ready = |of: &Record| matches!(of, Record::Vote(vote) if Kind::from(vote.kind) == Kind::Ready);
        fact(event, ready)
    }),
    ("P4", "a decision is durable", |_, _, event| fact(event, |of| matches!(of, Record::Decided(..)))),
    (
        "P5",
        "an amnesiac comes up",
        |_, _, event| matches!(&event.what, What::Booted { diagnosis, .. } if diagnosis.is_amnesia()),
    ),
    ("R1", "some without a vote, the others decide", |_, world, event| {
        live(event, |of| world.voters(of.height).count_ones() < world.thresholds.n as u32)
    }),
    ("R3", "f is not counted again for fewer members", |_, world, event| {
        live(event, |of| {
            let members = world.members(of.height).count_ones() as usize;
            (members - 1) / 3 < world.thresholds.f
        })
    }),
    ("R4", "who was suspended is resumed", |_, _, event| decided(event, |tx| matches!(tx, Transaction::Resume { .. }))),
    ("P6", "the flash of an ECU fails, and it says nothing more that would have to be durable", |_, _, event| {
        matches!(event.what, What::Abstains { .. })
    }),
    ("S1", "a seal comes to the gateway", |_, _, event| matches!(event.what, What::Sealed { .. })),
    ("S3", "a block names fewer members than there are validators", |_, world, event| {
        let fewer = |header: &BlockHeader| header.members.count() < world.thresholds.n;
        decided(event, |tx| matches!(tx, Transaction::EventBlock(header) if fewer(header)))
    }),
    ("V1", "the chain refuses an order", |_, _, event| report(event, |of| matches!(of, Report::Refused(..)))),
    ("V3", "nothing is decided", |_, _, event| decided(event, |tx| *tx == Transaction::Skip)),
    ("W2", "time runs out in round 0", |_, world, event| vote(world, event, |_, of| of.round > 0)),
];

/// A rule that does not show outside, what shows in a validator's own counters that it is at work, and the test for it.
type Inner = (&'static str, &'static str, fn(&Counters, &Workings) -> bool);

/// Marks that are read from the counters of honest ECUs. No invariant rests on them.
pub const INNER: &[Inner] = &[
    ("F1", "a proposal is set aside", |_, at| at.set_aside > 0),
    ("F2", "a proposer has failed", |_, at| at.failed > 0),
    ("F3", "a second proposal does not count", |_, at| at.second_proposals > 0),
    ("L5", "a node is taken along to a later round", |_, at| at.taken_along > 0),
    ("L7", "a few voters are left alone", |_, at| at.left_alone > 0),
    ("M2", "a tag is wrong", |counted, _| counted.bad_tag > 0),
    ("M6", "a message is taken back before it is sealed", |_, at| at.taken_back > 0),
    ("R2", "a message waits until its height has come", |_, at| at.ahead > 0),
    ("V2", "what others vouch for is voted for", |_, at| at.vouched > 0),
];

type Slot = (u8, Height, Round, u8);

/// What some marks must remember.
#[derive(Default)]
pub struct Memory {
    /// Votes said, and in which boot first.
    said: BTreeMap<Slot, u32>,
    /// The newest round that an ECU has voted in, by height.
    rounds: BTreeMap<(u8, Height), Round>,
    /// The first round in which an ECU has precommitted a value, by height.
    locked: BTreeMap<(u8, Height), Round>,
    boots: BTreeMap<u8, u32>,
    /// Decided values that were repeated to an ECU since its boot.
    repeated: BTreeSet<(u8, Height)>,
}

impl Memory {
    fn boot(&self, ecu: u8) -> u32 {
        self.boots.get(&ecu).copied().unwrap_or(0)
    }

    fn learn(&mut self, world: &World, event: &Event) {
        match &event.what {
            What::Booted { ecu, .. } => {
                *self.boots.entry(*ecu).or_default() += 1;
                self.repeated.retain(|(at, _)| at != ecu);
            }
            What::Frame { frame, .. } => {
                let repeated = first_chunk(frame.data()).and_then(Header::parse);
                let repeated = repeated.filter(|of| of.kind == Kind::Value && of.hint_proposer == DECIDED_VALUE);
                self.repeated.extend(repeated.map(|of| (of.round, of.height)));
            }
            _ => {}
        }
        if let Some((ecu, vote)) = world.honest_vote(event) {
            let boot = self.boot(ecu);
            self.said.entry(slot(ecu, &vote)).or_insert(boot);
            let newest = self.rounds.entry((ecu, vote.height)).or_default();
            *newest = vote.round.max(*newest);
            if vote.kind == Kind::Precommit && vote.hint_proposer != NIL_PROPOSER {
                self.locked.entry((ecu, vote.height)).or_insert(vote.round);
            }
            if self.said.len() > 1 << 14 {
                self.said.retain(|(_, height, ..), _| *height + 64 > vote.height);
                self.rounds.retain(|(_, height), _| *height + 64 > vote.height);
                self.locked.retain(|(_, height), _| *height + 64 > vote.height);
            }
        }
    }
}

/// How often each rule was seen at work.
#[derive(Default)]
pub struct Marks {
    memory: Memory,
    fired: BTreeMap<&'static str, u64>,
}

impl Marks {
    pub(super) fn see(&mut self, world: &World, event: &Event) {
        for (rule, _, shows) in RULES {
            if shows(&self.memory, world, event) {
                *self.fired.entry(rule).or_default() += 1;
            }
        }
        self.memory.learn(world, event);
    }

    pub(super) fn look(&mut self, counters: &Counters, workings: &Workings) {
        for (rule, ..) in INNER.iter().filter(|(.., shows)| shows(counters, workings)) {
            *self.fired.entry(rule).or_default() += 1;
        }
    }

    /// Rules seen at work, and how often.
    #[must_use]
    pub const fn fired(&self) -> &BTreeMap<&'static str, u64> {
        &self.fired
    }
}

/// Every rule with a mark, and what shows that it is at work.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    let inner = INNER.iter().map(|(rule, what, _)| (*rule, *what));
    RULES.iter().map(|(rule, what, _)| (*rule, *what)).chain(inner)
}

/// The marks that are not among those fired.
pub fn missing<'a>(fired: &'a BTreeSet<&str>) -> impl Iterator<Item = (&'static str, &'static str)> + 'a {
    all().filter(|(rule, _)| !fired.contains(rule))
}

const fn slot(ecu: u8, vote: &Header) -> Slot {
    (ecu, vote.height, vote.round, vote.kind as u8)
}

fn report(event: &Event, is: impl Fn(&Report) -> bool) -> bool {
    matches!(&event.what, What::Report { report, .. } if is(report))
}

fn decided(event: &Event, is: impl Fn(&Transaction) -> bool) -> bool {
    matches!(&event.what, What::Decided { decision, .. } if is(&decision.tx))
}

fn live(event: &Event, is: impl Fn(&Decision) -> bool) -> bool {
    matches!(&event.what, What::Decided { decision, .. } if decision.live && is(decision))
}

fn fact(event: &Event, is: impl Fn(&Record) -> bool) -> bool {
    matches!(&event.what, What::Durable { record, .. } if is(record))
}

fn vote(world: &World, event: &Event, is: impl Fn(u8, &Header) -> bool) -> bool {
    world.honest_vote(event).is_some_and(|(ecu, vote)| is(ecu, &vote))
}

/// A message of an honest ECU, in one frame or the first segment.
fn honest(world: &World, event: &Event) -> Option<(u8, Header)> {
    let What::Frame { sender: Station::Ecu(ecu), frame, .. } = &event.what else { return None };
    let header = Header::parse(frame.data()).or_else(|| Header::parse(first_chunk(frame.data())?))?;
    world.is_honest(*ecu).then_some((*ecu, header))
}

/// A message in one frame of somebody without keys.
fn rogue(event: &Event, is: impl Fn(&Header) -> bool) -> bool {
    let What::Frame { sender: Station::Rogue, frame, .. } = &event.what else { return false };
    Header::parse(frame.data()).is_some_and(|header| is(&header))
}

/// What a first segment carries.
fn first_chunk(data: &[u8]) -> Option<&[u8]> {
    data.get(8..).filter(|_| data[3] >> 4 == can_bus::segment::KIND_SEGMENT && data[5] == 0)
}

fn segment_of(event: &Event, kind: Kind) -> bool {
    let What::Frame { frame, .. } = &event.what else { return false };
    first_chunk(frame.data()).and_then(Header::parse).is_some_and(|header| header.kind == kind)
}
