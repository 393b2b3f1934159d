//! Inputs for one node: what the other validators may say, honest or not, and when its time runs out and its power goes.

use device_chain::agreement::VoteKind;
use device_chain::quorum::Quorum;
use device_chain::types::{Height, Round, ValidatorIndex};
use fastrand::Rng;

use super::{Shadow, Tally};
use crate::node::{Event, Name, Node, Packet, Seat};

/// Inputs of a script.
const INPUTS: usize = 120;

/// Runs the script of a number at a node of so many, as it counts them, beside the oracle. `watch` sees every event.
///
/// # Errors
/// The first difference that nothing explains.
pub fn run(validators: usize, quorum: Quorum, number: u64, watch: &mut dyn FnMut(&Event)) -> Result<Tally, String> {
    let rng = &mut Rng::with_seed(number);
    let me = rng.u8(..validators as ValidatorIndex);
    let height = rng.u32(1..=validators as Height);
    let mut script = Script {
        node: Node::new(Seat { height, me, quorum, free: Name::Skip }),
        shadow: Shadow::new(validators, height, me, number),
        heard: Vec::new(),
        watch,
    };
    // in most rounds most validators want the same, or nothing would ever come about
    let trends: [Option<Name>; 16] = std::array::from_fn(|_| any_vote(rng));
    for _ in 0..INPUTS {
        if script.shadow.is_over() {
            break;
        }
        match rng.u8(..32) {
            0..=4 => script.waits(),
            5 => script.power_cut(height, validators),
            _ => {
                let by = rng.u8(..validators as ValidatorIndex);
                let round = (script.node.round() + rng.u8(..16) / 14).saturating_sub(rng.u8(..8) / 6);
                let trend = trends.get(usize::from(round)).copied().flatten();
                let vote = if rng.u8(..8) > 0 { trend } else { any_vote(rng) };
                let packet = match (rng.u8(..7), vote) {
                    (0, Some(of)) if round > 0 || of != Name::Skip => Packet::Propose(round, of),
                    (1..=2, _) => Packet::Vote(VoteKind::Precommit, round, vote),
                    (3..=4, Some(_)) if round > 0 => Packet::Vote(VoteKind::Ready, round, vote),
                    _ => Packet::Vote(VoteKind::Prevote, round, vote),
                };
                let by = match packet {
                    Packet::Propose(round, _) if round > 0 => proposer(height, round, validators),
                    _ => by,
                };
                if by != me {
                    script.hears(by, packet);
                }
            }
        }
    }
    script.shadow.end()
}

fn any_vote(rng: &mut Rng) -> Option<Name> {
    [None, Some(Name::Skip), Some(Name::P), Some(Name::P), Some(Name::Q)][rng.usize(..5)]
}

fn proposer(height: Height, round: Round, validators: usize) -> ValidatorIndex {
    ((height + Height::from(round)) % validators as Height) as ValidatorIndex
}

struct Script<'a> {
    node: Node,
    shadow: Shadow,
    heard: Vec<(ValidatorIndex, Packet)>,
    watch: &'a mut dyn FnMut(&Event),
}

impl Script<'_> {
    fn hears(&mut self, by: ValidatorIndex, packet: Packet) {
        self.heard.push((by, packet));
        self.happens(Event::Hears(0, by, packet), |node| node.hear(by, packet));
    }

    fn waits(&mut self) {
        if let Some(wait) = self.node.wait_left() {
            self.happens(Event::Waits(0), |node| node.pass(wait));
        }
    }

    /// It comes back with its journal, and the others say again what they have said. Not where it would come back in another round, for
    /// the oracle does not.
    fn power_cut(&mut self, height: Height, validators: usize) {
        let round = self.node.round();
        let has_voted = self.node.said().iter().any(|packet| matches!(packet, Packet::Vote(_, at, _) if *at == round));
        if !has_voted || proposer(height, round, validators) == self.node.me() {
            return;
        }
        self.see(&Event::PowerCut(0));
        self.node.power_cut();
        for (by, packet) in std::mem::take(&mut self.heard) {
            self.hears(by, packet);
        }
    }

    fn happens(&mut self, event: Event, act: impl FnOnce(&mut Node)) {
        self.see(&event);
        let Self { node, shadow, watch, .. } = self;
        node.watched(0, act, |event| {
            watch(&event);
            shadow.watch(&event);
        });
    }

    fn see(&mut self, event: &Event) {
        (self.watch)(event);
        self.shadow.watch(event);
    }
}
