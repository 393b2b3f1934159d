//! Correct nodes and liars, everywhere they can get.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash as _, Hasher};
use std::string::String;
use std::time::Instant;

use super::calm::ends;
use super::engine::{Engine, correct_others};
use super::local::Local;
use super::views::{View, Views};
use super::*;

/// The views of `N` correct nodes, in ascending order, for who is who does not matter; of a state and its mirror image, P for
/// Q, the lesser one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct State<const N: usize>(u64);

impl<const N: usize> State<N> {
    /// Bits of the number of a view.
    const BITS: u32 = u64::BITS / N as u32;

    fn of<E: Engine>(views: &Views<E>, nodes: [View; N]) -> Self {
        let pack = |mut nodes: [View; N]| {
            nodes.sort_unstable();
            assert!(u64::from(nodes[N - 1]) >> Self::BITS == 0, "too many views");
            Self(nodes.into_iter().fold(0, |packed, view| packed << Self::BITS | u64::from(view)))
        };
        pack(nodes).min(pack(nodes.map(|view| views.mirrored(view))))
    }

    fn nodes(self) -> [View; N] {
        core::array::from_fn(|at| (self.0 >> ((N - 1 - at) as u32 * Self::BITS)) as View & ((1 << Self::BITS) - 1))
    }
}

/// States are many and no enemy chooses them.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a state is one number");
    }

    fn write_u64(&mut self, state: u64) {
        let mixed = state.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}

/// What must hold in every state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Must {
    /// No two have decided differently. Whoever has decided gives all its help at once ([`Local::generous`]): others can hear no less
    /// than of a real one, so what cannot happen then cannot happen at all; and there are a hundred times fewer states.
    Agree,
    /// Nor have they here, without that. And from here on, if the liar is silent and nothing is lost, all decide the same within eight
    /// rounds, whoever's turn it is. Tried in one of so many states, with some of the votes that may have been heard before.
    End(u64),
}

impl Must {
    fn holds(self, nodes: &[Local], quorum: Quorum) -> bool {
        let mut decided = nodes.iter().flat_map(|node| node.said.decisions());
        let agree = decided.next().is_none_or(|first| decided.all(|other| other == first));
        agree
            && match self {
                Self::Agree => true,
                Self::End(one_in) => {
                    let mut hasher = DefaultHasher::new();
                    nodes.hash(&mut hasher);
                    let is_tried = hasher.finish().is_multiple_of(one_in);
                    !is_tried || ends(nodes, quorum)
                }
            }
    }
}

pub(crate) struct World<E, const N: usize> {
    quorum: Quorum,
    must: Must,
    views: Views<E>,
    /// States met, and from where.
    met: HashMap<State<N>, State<N>, BuildHasherDefault<Mix>>,
}

impl<E: Engine + Sync, const N: usize> World<E, N> {
    /// Goes everywhere, as long as all is as it must be. What happens on the way to where it is not, if it is not.
    pub(crate) fn explore(engine: E, rounds: Round, must: Must) -> Option<StdVec<[Local; N]>> {
        let (world, broken) = Self::everywhere(engine, rounds, must, must == Must::Agree);
        broken.map(|state| world.way_to(state))
    }

    /// All views that a node can have.
    pub(crate) fn views(engine: E, rounds: Round) -> StdVec<Local> {
        let (world, broken) = Self::everywhere(engine, rounds, Must::Agree, false);
        assert_eq!(broken, None);
        world.views.all()
    }

    fn everywhere(engine: E, rounds: Round, must: Must, generous: bool) -> (Self, Option<State<N>>) {
        let (quorum, beginning) = (engine.quorum(), engine.beginning());
        assert_eq!(N, correct_others(quorum) + 1, "all but the liars");
        let mut world = Self { quorum, must, views: Views::new(engine, rounds, generous), met: HashMap::default() };
        let beginning = world.views.number(beginning);
        let first = State::of(&world.views, [beginning; N]);
        world.met.insert(first, first);
        let (start, mut edge, mut depth, mut steps) = (Instant::now(), std::vec![first], 0, 0_u64);
        let mut broken = world.broken(&edge);
        while broken.is_none() && !edge.is_empty() {
            depth += 1;
            edge = world.beyond(&edge, &mut steps);
            broken = world.broken(&edge);
            if start.elapsed().as_secs() > 10 {
                std::eprintln!(
                    "  depth {depth}: {} states, {} views, {} s",
                    world.met.len(),
                    world.views.len(),
                    start.elapsed().as_secs()
                );
            }
        }
        std::println!(
            "{} validators, {rounds} rounds, {}: {must:?} {} {} states, {steps} steps, depth {depth}, {} views of a node, {:.1} s{}",
            quorum.n,
            Flaw::at_work().map_or_else(|| "by the rules".into(), |flaw| std::format!("{flaw:?}")),
            if broken.is_some() { "BROKEN after" } else { "holds in all" },
            world.met.len(),
            world.views.len(),
            start.elapsed().as_secs_f64(),
            memory(),
        );
        (world, broken)
    }

    /// The states one step beyond these that were not met before.
    fn beyond(&mut self, edge: &[State<N>], steps: &mut u64) -> StdVec<State<N>> {
        let mut next = StdVec::new();
        for state in edge {
            let nodes = state.nodes();
            for at in (0..N).filter(|at| *at == 0 || nodes[at - 1] != nodes[*at]) {
                self.views.learn(nodes[at]);
                let mut others = nodes;
                others.rotate_left(at + 1);
                for to in self.views.next(nodes[at], &others[..N - 1]) {
                    let mut stepped = nodes;
                    stepped[at] = to;
                    let stepped = State::of(&self.views, stepped);
                    *steps += 1;
                    if let Entry::Vacant(new) = self.met.entry(stepped) {
                        new.insert(*state);
                        next.push(stepped);
                    }
                }
            }
        }
        next
    }

    /// One of these in which something is not as it must be.
    fn broken(&self, edge: &[State<N>]) -> Option<State<N>> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let flaw = Flaw::at_work();
        let broken = |states: &[State<N>]| {
            states.iter().copied().find(|state| !self.must.holds(&self.views_of(*state), self.quorum))
        };
        std::thread::scope(|scope| {
            let parts = edge.chunks(edge.len().div_ceil(threads).max(1));
            let workers: StdVec<_> = parts
                .map(|part| scope.spawn(move || flaw.map_or_else(|| broken(part), |flaw| flaw.during(|| broken(part)))))
                .collect();
            workers.into_iter().filter_map(|worker| worker.join().expect("no panic")).next()
        })
    }

    fn views_of(&self, state: State<N>) -> [Local; N] {
        state.nodes().map(|view| *self.views.view(view))
    }

    fn way_to(&self, mut state: State<N>) -> StdVec<[Local; N]> {
        let mut way = std::vec![self.views_of(state)];
        while self.met[&state] != state {
            state = self.met[&state];
            way.push(self.views_of(state));
        }
        way.reverse();
        way
    }
}

/// The most memory so far, where the system tells.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let most =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    most.map_or_else(String::new, |kib| std::format!(", {} MiB", kib / 1024))
}
