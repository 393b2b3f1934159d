//! The agreement on the present height and, while others may need this node's votes there, on the one before (L6).

use crate::agreement::Instance;
use crate::types::Height;

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Current,
    Previous,
}

/// Two places that take turns: on a chip an instance is too large to be moved.
pub(super) struct Heights {
    places: [Instance; 2],
    present: u8,
    has_previous: bool,
}

impl Heights {
    pub(super) const fn idle() -> Self {
        Self { places: [const { Instance::idle() }; 2], present: 0, has_previous: false }
    }

    pub(super) const fn current(&self) -> &Instance {
        &self.places[(self.present & 1) as usize]
    }

    pub(super) const fn current_mut(&mut self) -> &mut Instance {
        &mut self.places[(self.present & 1) as usize]
    }

    pub(super) fn previous(&self) -> Option<&Instance> {
        self.has_previous.then_some(&self.places[usize::from(self.present & 1 ^ 1)])
    }

    pub(super) fn previous_mut(&mut self) -> Option<&mut Instance> {
        self.has_previous.then_some(&mut self.places[usize::from(self.present & 1 ^ 1)])
    }

    /// Those there are, the older one first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Instance> {
        self.previous().into_iter().chain([self.current()])
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Instance> {
        let [first, second] = &mut self.places;
        let (current, other) = if self.present == 0 { (first, second) } else { (second, first) };
        self.has_previous.then_some(other).into_iter().chain([current])
    }

    /// The instance of a height, where there is one.
    pub(super) fn at(&self, height: Height) -> Option<&Instance> {
        self.iter().find(|instance| instance.height() == height)
    }

    pub(super) fn at_mut(&mut self, height: Height) -> Option<&mut Instance> {
        self.iter_mut().find(|instance| instance.height() == height)
    }

    /// The present height becomes the one before. What is in the place of the new one is to be [begun](Instance::begin) anew.
    pub(super) const fn turn(&mut self) {
        (self.present, self.has_previous) = (self.present ^ 1, true);
    }

    pub(super) const fn forget_previous(&mut self) {
        self.has_previous = false;
    }

    /// The place of one of them, to be begun.
    pub(super) fn place(&mut self, which: Which) -> &mut Instance {
        self.has_previous |= which == Which::Previous;
        let at = self.present & 1 ^ u8::from(which == Which::Previous);
        &mut self.places[usize::from(at)]
    }
}
