//! A mesh with twins, and an oracle beside each correct node.

use super::{Shadow, Tally};
use crate::twins::{Failure, Schedule, Setup, run};

/// Runs the schedule of a number, without power cuts: what a node heard and lost then the oracle would still know.
///
/// # Errors
/// The first difference that nothing explains, or what must never happen to the mesh.
pub fn watch(setup: Setup, number: u64) -> Result<Tally, String> {
    let mut schedule = Schedule::new(setup, number);
    schedule.hops.iter_mut().for_each(|hop| hop.power_cut = None);
    let correct = (0..setup.validators as u8).filter(|me| !schedule.twins.contains(me));
    let mut shadows: Vec<_> =
        correct.map(|me| (usize::from(me), Shadow::new(setup.validators, schedule.height, me, number))).collect();
    let course = run(setup, &schedule, &mut |event| {
        let at = event.node();
        shadows.iter_mut().filter(|(me, _)| Some(*me) == at).for_each(|(_, shadow)| shadow.watch(event));
    });
    course.map_err(|failure: Failure| format!("{failure:?}"))?;
    let mut tally = Tally::default();
    for (me, shadow) in shadows {
        tally.add(shadow.end().map_err(|what| format!("node {me}: {what}"))?);
    }
    Ok(tally)
}
