//! What becomes of a state if nothing goes wrong any more.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::local::{Local, Vote};
use super::simulation::Dice;
use super::*;

/// Rounds in which all decide, also if the liar has voted ahead.
const ENOUGH: Round = 8;
/// Deliveries and waits that take more than so many rounds.
const MAX_CALMS: usize = 200;
/// Rounds in which the liar may have voted.
const LIED_ROUNDS: Round = 3;

/// Whether all decide, the same and soon, at any of as many heights as there are validators and in any order: who proposes next
/// depends on both. The liar, whose place is the last, is silent from here on.
pub(super) fn ends(nodes: &[Local], quorum: Quorum) -> bool {
    let turned = (0..nodes.len()).map(|first| {
        let mut order = nodes.to_vec();
        order.rotate_left(first);
        order
    });
    let orders: StdVec<_> = turned.flat_map(|order| [order.clone(), order.into_iter().rev().collect()]).collect();
    let mut all = (1..=quorum.n as Height).flat_map(|height| orders.iter().map(move |order| (height, order)));
    all.all(|(height, order)| {
        let mut hasher = DefaultHasher::new();
        (order, height).hash(&mut hasher);
        ends_at(order, quorum, height, Dice::new(hasher.finish()))
    })
}

fn ends_at(nodes: &[Local], quorum: Quorum, height: Height, mut dice: Dice) -> bool {
    let mut mesh = Mesh::of((0..).zip(nodes).map(|(me, view)| view.awake(quorum, height, me)).collect());
    for at in 0..nodes.len() {
        for (voter, vote) in heard_before(nodes, at, &mut dice) {
            mesh.nodes[at].instance.on_vote(vote.kind(), vote.round(), voter, vote.value(), &mut Actions::new());
        }
        mesh.step(at);
    }
    let start = mesh.highest_round();
    for _ in 0..MAX_CALMS {
        mesh.calm();
        if mesh.decisions().count() == nodes.len() {
            break;
        }
        if mesh.highest_round() > start + ENOUGH {
            return false;
        }
    }
    mesh.decisions().count() == nodes.len() && !mesh.is_split()
}

/// Some votes that a node may have heard up to here, the liar's and others'.
fn heard_before(nodes: &[Local], at: usize, dice: &mut Dice) -> StdVec<(ValidatorIndex, Vote)> {
    let liar = nodes.len() as ValidatorIndex;
    let lies: StdVec<Vote> = Vote::all(LIED_ROUNDS).collect();
    let mut heard: StdVec<_> = (0..dice.below(8)).map(|_| (liar, lies[dice.below(lies.len())])).collect();
    for (other, node) in (0..).zip(nodes).filter(|(other, _)| usize::from(*other) != at) {
        heard.extend(node.said.iter().filter(|_| dice.below(2) == 0).map(|vote| (other, vote)));
    }
    heard
}
