use std::vec::Vec;

use super::*;
use crate::mac::Suite;

fn pair() -> Pair {
    Pair::new(Key::new([7; 32]))
}

fn secret(height: Height) -> Key {
    Key::new([height as u8; 32])
}

fn is_same(one: &Pair, other: &Pair) -> bool {
    one.key().same(other.key())
}

/// What a thief of `pair` can make of it alone: the key, and those after it.
fn reach(pair: &Pair) -> Vec<Key> {
    core::iter::successors(Some(pair.key().clone()), |key| Some(key.after())).take(20).collect()
}

#[test]
fn a_step_leads_to_the_same_key_and_never_back() {
    let (mut one, mut other, before) = (pair(), pair(), pair());
    assert!(one.step() && other.step());
    assert!(is_same(&one, &other));
    assert!(reach(&one).iter().all(|key| !key.same(before.key())));
}

#[test]
fn who_is_a_step_behind_follows_and_who_is_two_behind_does_not() {
    let (mut ahead, mut behind) = (pair(), pair());
    ahead.step();
    assert_eq!(behind.heard(|key| key.same(ahead.key())), Heard::Ahead);
    assert_eq!(behind.heard(|key| key.same(ahead.key())), Heard::Same);
    ahead.step();
    ahead.step();
    assert_eq!(behind.heard(|key| key.same(ahead.key())), Heard::No);
    assert_eq!(ahead.heard(|key| key.same(behind.key())), Heard::No, "what is behind is gone");
}

#[test]
fn a_refresh_gives_way_to_a_newer_one_until_it_is_offered() {
    let mut pair = pair();
    assert!(!pair.wants(0) && pair.wants(5));
    assert!(pair.take(5, secret(5)) && !pair.take(5, secret(6)) && !pair.take(4, secret(4)));
    assert!(pair.take(9, secret(9)), "nobody has been offered the other one");
    pair.offer();
    assert!(!pair.wants(12) && !pair.take(12, secret(12)), "the peer may have it");
    assert!(!pair.step(), "the peer may have stepped by it");
    pair.met();
    assert!(pair.take(12, secret(12)), "the peer has proved that it has not");
    let mut other = super::Pair::new(pair.key().mixed(&secret(12)));
    pair.renew();
    assert!(is_same(&pair, &other) && !pair.has_secret() && !pair.wants(12));
    assert_eq!(other.heard(|key| key.same(pair.key())), Heard::Same);
}

#[test]
fn a_kept_pair_is_read_as_it_was_written_and_nothing_else() {
    let mut bytes = [0; PAIR_BYTES];
    let mut pair = pair();
    for change in
        [|_: &mut Pair| (), |pair: &mut Pair| assert!(pair.take(3, secret(3))), |pair: &mut Pair| pair.offer()]
    {
        change(&mut pair);
        pair.write(&mut bytes);
        let read = Pair::read(&bytes).expect("it was written");
        let mut again = [0; PAIR_BYTES];
        read.write(&mut again);
        assert_eq!(bytes, again);
        assert_eq!((read.has_secret(), read.is_offered()), (pair.has_secret(), pair.is_offered()));
    }
    for flags in [2, 4, 255] {
        bytes[PAIR_BYTES - 1] = flags;
        assert!(Pair::read(&bytes).is_none(), "{flags}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "curves: minutes")]
fn both_sides_work_out_the_same_secret_and_no_third_does() {
    let [one, other, third] = [1, 2, 3].map(|seed| SigningKey::from_seed([seed; 32]));
    let drawn = Ephemeral::from_random([9; 32]);
    let asked = |own| Agreement { peer: 0, height: 4, public: drawn.public, own };
    let of = |agreed: Agreed| agreed.secret.expect("no key is weak");
    let own = of(asked(Some(drawn.secret.clone())).run(&one, &other.public()));
    assert!(own.same(&of(asked(None).run(&other, &one.public()))));
    assert!(!own.same(&of(asked(None).run(&third, &one.public()))));
    assert!(!own.same(&of(asked(Some(drawn.secret.clone())).run(&one, &third.public()))));
    let weak = Agreement { peer: 0, height: 4, public: [0; 32], own: None };
    assert!(weak.run(&one, &other.public()).secret.is_none());
}

#[derive(Clone, Copy, PartialEq)]
enum Origin {
    Hello,
    Offer,
    /// An offer, whose step the key has taken already because of a HELLO.
    Followed,
}

/// What one side of a pair has: durable, in memory, and of its session. As the validator has it, without the rest.
struct Side {
    durable: Pair,
    pair: Pair,
    boot: u64,
    session: Option<(Key, u64)>,
    /// Key, the peer's boot, and where it comes from.
    candidate: Option<(Key, u64, Origin)>,
    peer_kept: bool,
    stepped: bool,
}

/// Two sides, and whoever hears, keeps and repeats all they say.
struct World {
    sides: [Side; 2],
    boots: u64,
    newest: Height,
    hellos: [Vec<(Key, u64)>; 2],
    confirms: [Vec<(Key, bool)>; 2],
}

impl World {
    fn new() -> Self {
        let side = |boot| Side {
            durable: pair(),
            pair: pair(),
            boot,
            session: None,
            candidate: None,
            peer_kept: false,
            stepped: false,
        };
        Self {
            sides: [side(1), side(2)],
            boots: 2,
            newest: 0,
            hellos: Default::default(),
            confirms: Default::default(),
        }
    }

    fn is_durable(&self, at: usize) -> bool {
        let [mut durable, mut pair] = [[0; PAIR_BYTES]; 2];
        self.sides[at].durable.write(&mut durable);
        self.sides[at].pair.write(&mut pair);
        durable == pair
    }

    fn derive(&self, at: usize, key: &Key, its: u64) -> Key {
        let mine = self.sides[at].boot;
        let nonces = if at == 0 { [mine, its] } else { [its, mine] };
        key.derive(Suite::Blake2s, Domain::SessionKey, nonces)
    }

    fn hello(&mut self, at: usize) {
        let said = (self.sides[at].pair.key().clone(), self.sides[at].boot);
        self.hellos[at].push(said.clone());
        self.hear_hello(1 - at, &said);
    }

    fn hear_hello(&mut self, at: usize, (key, boot): &(Key, u64)) {
        let side = &mut self.sides[at];
        let heard = side.pair.heard(|own| own.same(key));
        if heard == Heard::No {
            return;
        }
        if heard == Heard::Ahead {
            side.stepped = true;
            side.candidate
                .iter_mut()
                .filter(|(.., origin)| *origin == Origin::Offer)
                .for_each(|of| of.2 = Origin::Followed);
        }
        let unproven = side.candidate.as_ref().is_some_and(|(_, of, origin)| of == boot && *origin == Origin::Hello);
        let is_known = unproven && heard == Heard::Same || side.session.as_ref().is_some_and(|(_, of)| of == boot);
        if !is_known {
            let key = side.pair.key().clone();
            self.sides[at].candidate = Some((self.derive(at, &key, *boot), *boot, Origin::Hello));
        }
    }

    fn confirm(&mut self, at: usize) {
        let (side, kept) = (&self.sides[at], self.is_durable(at));
        let session = side.session.as_ref().map(|(key, _)| key);
        let Some(key) = side.candidate.as_ref().map(|(key, ..)| key).or(session).cloned() else { return };
        self.confirms[at].push((key.clone(), kept));
        self.hear_confirm(1 - at, &(key, kept));
    }

    fn hear_confirm(&mut self, at: usize, (key, kept): &(Key, bool)) {
        let side = &mut self.sides[at];
        if let Some((_, boot, origin)) = side.candidate.take_if(|(own, ..)| own.same(key)) {
            side.session = Some((key.clone(), boot));
            match origin {
                Origin::Offer => side.pair.renew(),
                Origin::Hello | Origin::Followed => side.pair.met(),
            }
            match origin {
                Origin::Hello => (side.peer_kept, side.stepped) = (false, false),
                Origin::Offer | Origin::Followed => side.stepped = true,
            }
        }
        side.peer_kept |= *kept && side.session.as_ref().is_some_and(|(own, _)| own.same(key));
    }

    /// What is done once a heartbeat.
    fn tend(&mut self, at: usize) {
        let (newest, durable) = (self.newest, self.is_durable(at));
        let side = &mut self.sides[at];
        let settled =
            side.session.is_some() && side.candidate.as_ref().is_none_or(|(.., origin)| *origin != Origin::Hello);
        if settled && side.peer_kept && !side.stepped && durable {
            side.stepped = true;
            side.pair.step();
        }
        if side.pair.wants(newest) {
            side.pair.take(newest, secret(newest));
        }
        if settled && side.peer_kept {
            if side.pair.has_secret() && !side.pair.is_offered() {
                side.pair.offer();
            } else if side.pair.has_secret() && self.is_durable(at) {
                let (key, its) = (
                    self.sides[at].pair.next().expect("it has one"),
                    self.sides[at].session.as_ref().expect("settled").1,
                );
                self.sides[at].candidate = Some((self.derive(at, &key, its), its, Origin::Offer));
            }
        }
    }

    fn keep(&mut self, at: usize) {
        self.sides[at].durable = self.sides[at].pair.clone();
    }

    fn cut(&mut self, at: usize) {
        self.boots += 1;
        let side = &mut self.sides[at];
        side.pair = side.durable.clone();
        (side.boot, side.session, side.candidate) = (self.boots, None, None);
        (side.peer_kept, side.stepped) = (false, false);
    }

    fn chance(&mut self, dice: &mut impl FnMut(usize) -> usize) {
        let at = dice(2);
        match dice(16) {
            0..=2 => self.hello(at),
            3..=6 => self.confirm(at),
            7..=9 => self.tend(at),
            10 | 11 => self.keep(at),
            12 if dice(3) == 0 => self.cut(at),
            13 if dice(2) == 0 => self.newest += 1,
            14 if !self.hellos[at].is_empty() => {
                let said = self.hellos[at][dice(self.hellos[at].len())].clone();
                self.hear_hello(1 - at, &said);
            }
            15 if !self.confirms[at].is_empty() => {
                let said = self.confirms[at][dice(self.confirms[at].len())].clone();
                self.hear_confirm(1 - at, &said);
            }
            // said, and lost
            _ => {
                let said = (self.sides[at].pair.key().clone(), self.sides[at].boot);
                self.hellos[at].push(said);
            }
        }
    }

    /// With power and a wire that loses nothing the two find each other, and are of one key.
    fn finds_itself(&mut self) -> bool {
        (0..2).for_each(|at| self.cut(at));
        for _ in 0..3 {
            (0..2).for_each(|at| self.hello(at));
        }
        (0..4).for_each(|at| self.confirm(at % 2));
        let keys = self.sides.each_ref().map(|side| side.session.as_ref().map(|(key, _)| key));
        matches!(keys, [Some(one), Some(other)] if one.same(other)) && is_same(&self.sides[0].pair, &self.sides[1].pair)
    }
}

fn dice(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |sides| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % sides
    }
}

/// DC-23, DC-24: lost frames, repeated frames, power cuts between any two steps, refreshes in between.
#[test]
fn in_whatever_order_things_happen_the_two_sides_find_each_other() {
    let (mut stepped, mut renewed) = (0, 0);
    for seed in 0..if cfg!(miri) { 20 } else { 5_000 } {
        let (mut dice, mut world) = (dice(seed), World::new());
        for _ in 0..20 + dice(250) {
            world.chance(&mut dice);
        }
        assert!(world.finds_itself(), "seed {seed}");
        stepped += usize::from(!world.sides[0].pair.key().same(pair().key()));
        renewed += usize::from(reach(&pair()).iter().all(|key| !key.same(world.sides[0].pair.key())));
    }
    assert!(cfg!(miri) || stepped > 2_000 && renewed > 200, "{stepped} have stepped, {renewed} with a refresh");
}

#[test]
fn who_slept_through_a_hundred_refreshes_takes_the_newest() {
    let mut world = World::new();
    for _ in 0..100 {
        world.newest += 1;
        world.tend(0);
        world.keep(0);
    }
    assert!(world.finds_itself(), "by the key that both have");
    for _ in 0..4 {
        (0..2).for_each(|at| world.tend(at));
        (0..2).for_each(|at| world.keep(at));
        (0..4).for_each(|at| world.confirm(at % 2));
    }
    assert!(is_same(&world.sides[0].pair, &world.sides[1].pair));
    let keys = reach(&pair());
    assert!(keys.iter().any(|key| key.mixed(&secret(100)).same(world.sides[0].pair.key())), "with the newest in it");
}
