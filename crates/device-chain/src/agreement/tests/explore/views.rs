//! The views that nodes can have, numbered, and where each of them leads.

use std::boxed::Box;
use std::collections::HashMap;

use super::engine::{Engine, OfOthers};
use super::local::Local;
use super::moves::{have_said, moves};
use super::*;

/// A view by its number.
pub(super) type View = u32;

/// A [`super::moves::Move`] by numbers.
#[derive(Clone, Copy)]
struct Step {
    needs: OfOthers,
    to: View,
}

/// All views met so far.
pub(super) struct Views<E> {
    engine: E,
    rounds: Round,
    /// Whether nodes give all their help at once when they have decided.
    generous: bool,
    all: StdVec<Local>,
    numbers: HashMap<Local, View>,
    /// The same with P for Q.
    mirrored: StdVec<View>,
    steps: StdVec<Option<Box<[Step]>>>,
}

impl<E: Engine> Views<E> {
    pub(super) fn new(engine: E, rounds: Round, generous: bool) -> Self {
        let (all, numbers, mirrored, steps) = Default::default();
        Self { engine, rounds, generous, all, numbers, mirrored, steps }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn number(&mut self, view: Local) -> View {
        if let Some(known) = self.numbers.get(&view) {
            return *known;
        }
        let new = self.add(view);
        let mirrored = view.mirrored();
        if mirrored != view {
            (self.mirrored[new as usize], self.mirrored[new as usize + 1]) = (self.add(mirrored), new);
        }
        new
    }

    fn add(&mut self, view: Local) -> View {
        let new = self.all.len() as View;
        self.all.push(view);
        self.numbers.insert(view, new);
        self.mirrored.push(new);
        self.steps.push(None);
        new
    }

    pub(super) fn all(self) -> StdVec<Local> {
        self.all
    }

    pub(super) fn view(&self, number: View) -> &Local {
        &self.all[number as usize]
    }

    pub(super) fn mirrored(&self, number: View) -> View {
        self.mirrored[number as usize]
    }

    /// Finds out where a view leads, once.
    pub(super) fn learn(&mut self, from: View) {
        if self.steps[from as usize].is_none() {
            let (rounds, generous) = (self.rounds, self.generous);
            let kept = |view: Local| if generous { view.generous(rounds) } else { view };
            let found = moves(&self.all[from as usize], &self.engine, rounds, kept);
            let steps = found.into_iter().map(|step| Step { needs: step.needs, to: self.number(step.to) }).collect();
            self.steps[from as usize] = Some(steps);
        }
    }

    /// Where one node can go beside these others.
    pub(super) fn next(&self, from: View, others: &[View]) -> impl Iterator<Item = View> {
        let others: StdVec<&Local> = others.iter().map(|other| self.view(*other)).collect();
        let steps = self.steps[from as usize].iter().flatten();
        steps.filter(move |step| have_said(&step.needs, &others)).map(|step| step.to)
    }
}
