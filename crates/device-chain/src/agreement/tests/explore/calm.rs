//! What becomes of a state if nothing goes wrong any more.

use super::local::Local;
use super::*;

/// Rounds in which all decide, as of the traces.
const ENOUGH: Round = 5;
/// Deliveries and waits that take more than so many rounds.
const MAX_CALMS: usize = 200;

/// Whether all decide, the same and soon, at this height: which of them proposes next depends on it. The liar is silent, its
/// place the last.
pub(super) fn ends(nodes: &[Local], quorum: Quorum, height: Height) -> bool {
    let mut mesh = Mesh::of((0..).zip(nodes).map(|(me, view)| view.awake(quorum, height, me)).collect());
    (0..nodes.len()).for_each(|at| mesh.step(at));
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
