//! Which schedule a number stands for.

use device_chain::quorum::Quorum;
use device_chain::types::{Height, Round, ValidatorIndex};
use fastrand::Rng;

use crate::node::Name;

/// Copies there may be: seven validators, three of them twice.
pub const MAX_COPIES: usize = 10;
/// The bus behaves when a correct node has been through so many rounds.
pub const ROUNDS: Round = 4;
/// Or after so many hops.
const HOPS: usize = 40;

/// Who is there.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Validators.
    pub validators: usize,
    /// How many of them are twins.
    pub twins: usize,
    /// How many votes are enough, as all of them count.
    pub quorum: Quorum,
}

impl Setup {
    /// As many twins as the protocol withstands.
    #[must_use]
    pub const fn full(validators: usize) -> Self {
        let quorum = Quorum::full(validators);
        Self { validators, twins: quorum.f, quorum }
    }

    /// Whether there are not more copies than schedules have places for.
    #[must_use]
    pub const fn is_possible(self) -> bool {
        self.twins <= self.validators && self.copies() <= MAX_COPIES
    }

    /// Nodes: each twin is two.
    const fn copies(self) -> usize {
        self.validators + self.twins
    }
}

/// One hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hop {
    /// The cell of each copy; it hears those in the same one.
    pub cells: [u8; MAX_COPIES],
    /// Who is heard first; then the others in their order.
    pub first: u8,
    /// For whom time runs out although it heard something; for all others it does when they heard nothing new. A bit each.
    pub hasty: u16,
    /// Whether what was said in earlier hops is said again (M4): that is so every 4 Δ or more seldom.
    pub repeats: bool,
    /// Who loses power behind it, and comes back with its journal.
    pub power_cut: Option<u8>,
}

/// What happens until the bus behaves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Schedule {
    /// Shifts the turns of designated proposers.
    pub height: Height,
    /// The validators that are twins. Their second copies stand behind all validators.
    pub twins: Vec<ValidatorIndex>,
    /// The copies that propose in round 0, and what.
    pub openers: [(u8, Name); 2],
    /// What each copy of a twin proposes where the rules leave it free. Correct validators then propose Skip.
    pub free: [Name; MAX_COPIES],
    /// Twins say nothing any more when the bus behaves; else they behave, too.
    pub silent: bool,
    /// Hop by hop.
    pub hops: [Hop; HOPS],
}

impl Schedule {
    /// The schedule of a number.
    ///
    /// # Panics
    /// The setup is not possible ([`Setup::is_possible`]).
    #[must_use]
    pub fn new(setup: Setup, number: u64) -> Self {
        assert!(setup.is_possible(), "too many copies");
        let rng = &mut Rng::with_seed(number);
        let mut twins: Vec<_> = (0..setup.validators as ValidatorIndex).collect();
        rng.shuffle(&mut twins);
        twins.truncate(setup.twins);
        let copies = setup.copies() as u8;
        let first = rng.u8(..copies);
        let second = (first + rng.u8(1..copies)) % copies;
        Self {
            // where the turns begin matters only relative to the twins, which may be anywhere
            height: setup.validators as Height,
            twins,
            openers: [(first, Name::P), (second, *pick(rng, &[Name::P, Name::Q, Name::Q]))],
            free: std::array::from_fn(|_| *pick(rng, &[Name::Skip, Name::P, Name::Q])),
            silent: rng.bool(),
            hops: Self::hops(rng, copies),
        }
    }

    /// In some schedules the mesh is split anew in every hop, in some it often stays so for a while; some have power cuts or hasty nodes, some
    /// none.
    fn hops(rng: &mut Rng, copies: u8) -> [Hop; HOPS] {
        let (stays, cuts, haste) = (*pick(rng, &[0, 0, 0, 4, 7]), rng.bool(), rng.bool());
        let mut last = None;
        std::array::from_fn(|_| {
            let mut hop = Hop::any(rng, copies);
            hop.cells = last.filter(|_| rng.u8(..8) < stays).unwrap_or(hop.cells);
            hop.power_cut = hop.power_cut.filter(|_| cuts);
            hop.hasty = if haste { hop.hasty } else { 0 };
            last = Some(hop.cells);
            hop
        })
    }
}

impl Hop {
    /// All in one cell, nobody hasty.
    pub(super) const CALM: Self = Self { cells: [0; MAX_COPIES], first: 0, hasty: 0, repeats: true, power_cut: None };

    fn any(rng: &mut Rng, copies: u8) -> Self {
        let cells = *pick(rng, &[1, 2, 2, 2, 3, 3]);
        Self {
            cells: std::array::from_fn(|copy| if copy < copies.into() { rng.u8(..cells) } else { 0 }),
            first: rng.u8(..copies),
            hasty: (0..copies).filter(|_| rng.u8(..8) == 0).fold(0, |hasty, copy| hasty | 1 << copy),
            repeats: rng.u8(..4) == 0,
            power_cut: (rng.u8(..8) == 0).then(|| rng.u8(..copies)),
        }
    }
}

fn pick<'a, T>(rng: &mut Rng, of: &'a [T]) -> &'a T {
    &of[rng.usize(..of.len())]
}
