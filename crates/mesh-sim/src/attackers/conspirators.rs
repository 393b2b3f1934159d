//! The conspirators: all f liars play the traces of `docs/protocol.md`, chapter 3. At a height whose round 1 is one of theirs to
//! propose they divide the car between two values, and each says at once all that the play has for it.
//!
//! They watch nobody: a vote counts whenever it comes, so that the worst can be said from the beginning. What the others then do
//! follows from the rules, and what the schedule does to them is chance. At other heights they vote as the ECUs in their seats do.

use std::ops::Range;

use can_bus::Frame;
use device_chain::codec;
use device_chain::genesis::Genesis;
use device_chain::limits::MAX_TX;
use device_chain::tx::{Transaction, decision_hash};
use device_chain::types::{Height, Round, ValidatorIndex};
use device_chain::wire::Header;
use device_chain::wire::Kind::{self, Precommit, Prevote, Propose, Ready};

use super::voice::Voice;
use super::{Liar, Seat, hint};
use crate::dice::Dice;

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// An alarm of the leader.
    P,
    /// Another one.
    Q,
    /// An alarm about an identifier of somebody else, for which nobody has evidence (V2).
    Lie,
}
use What::{Lie, P, Q};

/// For whom the tags of a line are right, of the correct validators in an order that is new at each height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom {
    All,
    First,
    Last,
    /// As many as are a quorum with the liars, from the first one on.
    Camp,
    /// Those behind the camp.
    Rest,
    /// As many as the camp, to the last one: some are in both.
    Tail,
    /// Those before the tail.
    Head,
    ButFirst,
}
use Whom::{All, ButFirst, Camp, First, Head, Last, Rest, Tail};

/// Round, kind, what for, whom it is for.
type Line = (Round, Kind, What, Whom);

/// In a line: the round in which the ECU in the seat is, from round 2 on.
const NOW: Round = Round::MAX;

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// The first has a polka for P, the last one of a later round for Q.
    T2,
    /// The first decides P, of its camp one may forget its lock, and the others are for Q.
    T5,
    /// The first decides P, and is needed by the others.
    T6,
    /// The first decides P in round 1, then there is an old polka for Q.
    T12,
    /// All are to believe what nobody has seen (V2).
    Slander,
}

const TRACES: [Trace; 5] = [Trace::T2, Trace::T5, Trace::T6, Trace::T12, Trace::Slander];

impl Trace {
    /// What is said from the beginning, and what when round 1 is over.
    const fn acts(self) -> [&'static [Line]; 2] {
        match self {
            Self::T2 => [
                &[
                    (0, Propose, P, Camp),
                    (0, Propose, Q, Rest),
                    (0, Prevote, P, First),
                    (1, Propose, Q, All),
                    (1, Prevote, Q, Last),
                ],
                &[],
            ],
            Self::T5 => [
                &[
                    (0, Propose, P, Camp),
                    (0, Propose, Q, Rest),
                    (0, Prevote, P, Camp),
                    (0, Prevote, Q, Rest),
                    (0, Precommit, P, First),
                    (1, Propose, Q, All),
                    (1, Prevote, Q, All),
                    (1, Ready, Q, All),
                    (1, Precommit, Q, All),
                ],
                &[(NOW, Propose, Q, All), (NOW, Prevote, Q, All), (NOW, Ready, Q, All), (NOW, Precommit, Q, All)],
            ],
            Self::T6 => {
                [&[(0, Propose, P, Camp), (0, Propose, Q, Rest), (0, Prevote, P, Camp), (0, Precommit, P, First)], &[]]
            }
            Self::T12 => [
                &[
                    (0, Propose, P, Head),
                    (0, Propose, Q, Tail),
                    (1, Propose, P, Camp),
                    (1, Prevote, P, Camp),
                    (1, Ready, P, Camp),
                    (1, Precommit, P, First),
                ],
                &[
                    (0, Prevote, Q, ButFirst),
                    (NOW, Propose, Q, All),
                    (NOW, Prevote, Q, ButFirst),
                    (NOW, Ready, Q, ButFirst),
                    (NOW, Precommit, Q, ButFirst),
                ],
            ],
            Self::Slander => [&[(0, Propose, Lie, All), (0, Prevote, Lie, All), (0, Precommit, Lie, All)], &[]],
        }
    }
}

/// Lines in one Δ.
const LINES_PER_PHASE: u64 = 2;
/// After so many lines round 1 is over where all goes on as it should: 12 Δ.
const SECOND_ACT: usize = 24;

/// One of them.
pub struct Conspirator {
    /// Bit per validator: all of them.
    gang: u8,
    /// Who is dealt what, and which play.
    seed: u64,
    /// The only trace, or one after the other.
    only: Option<Trace>,
    voice: Voice,
    height: Height,
    lines: usize,
}

impl Conspirator {
    /// One of `gang` (bit per validator); `seed` is the same for all of them.
    #[must_use]
    pub fn new(gang: u8, seed: u64, genesis: &Genesis, from_ns: u64) -> Self {
        let interval_ns = u64::from(genesis.policy.phase_us) * 1000 / LINES_PER_PHASE;
        Self { gang, seed, only: None, voice: Voice::new(interval_ns, from_ns), height: 0, lines: 0 }
    }

    /// The same, always with this trace.
    #[must_use]
    pub fn playing(self, trace: Trace) -> Self {
        Self { only: Some(trace), ..self }
    }

    const fn is_in(&self, at: ValidatorIndex) -> bool {
        self.gang >> at & 1 == 1
    }

    /// Who may propose in a round, and in round 0 does.
    fn proposer(seat: &Seat<'_>, round: Round) -> ValidatorIndex {
        let n = seat.genesis.validators.len() as Height;
        ((seat.head().0 + 1 + Height::from(round.max(1))) % n) as ValidatorIndex
    }

    /// What is played at the height being agreed on.
    fn play(&self, seat: &Seat<'_>) -> Option<(Trace, Vec<ValidatorIndex>)> {
        if !self.is_in(Self::proposer(seat, 1)) {
            return None;
        }
        let mut dice = Dice::new(self.seed, seat.head().0.into());
        let rolled = *dice.pick(&TRACES);
        let mut correct: Vec<_> = (0..seat.genesis.validators.len() as u8).filter(|at| !self.is_in(*at)).collect();
        for last in (1..correct.len()).rev() {
            correct.swap(last, dice.roll(last as u64 + 1) as usize);
        }
        Some((self.only.unwrap_or(rolled), correct))
    }

    /// An alarm that the chain allows, if there is one.
    fn alarm(seat: &Seat<'_>, what: What, correct: &[ValidatorIndex]) -> Option<Transaction> {
        let (owner, number) = match what {
            P => (Self::proposer(seat, 1), 0),
            Q => (Self::proposer(seat, 1), 1),
            Lie => (*correct.first()?, 0),
        };
        let identifiers = seat.genesis.validators[usize::from(owner)].identifiers.all();
        let alarms = identifiers.map(|identifier| Transaction::Alarm { identifier, count: 1 });
        alarms.into_iter().filter(|alarm| seat.state.check(alarm, seat.registry).is_ok()).nth(number)
    }

    fn say(&mut self, seat: &Seat<'_>, line: Line, correct: &[ValidatorIndex]) -> Vec<Frame> {
        let (round, kind, what, whom) = line;
        let Some(alarm) = Self::alarm(seat, what, correct) else { return Vec::new() };
        let mut buffer = [0; MAX_TX];
        let Some(tx) = codec::encode(&alarm, &mut buffer) else { return Vec::new() };
        let (height, parent) = (seat.head().0 + 1, seat.head().1);
        let value = decision_hash(&seat.genesis.mesh(), height, &parent, tx);
        let header = Header::new(kind, height).round(round).hint(Some((Self::proposer(seat, 1), &value)));
        let header = Header { counter: self.voice.next(), ..header };
        let quorum = seat.genesis.quorum();
        let receivers = correct[whom.of(correct.len(), quorum.votes() - quorum.f)].iter().map(|at| 1 << at).sum();
        seat.frames(header, &value, if kind == Propose { tx } else { &[] }, receivers)
    }
}

impl Whom {
    fn of(self, all: usize, camp: usize) -> Range<usize> {
        match self {
            All => 0..all,
            First => 0..1,
            Last => all - 1..all,
            Camp => 0..camp,
            Rest => camp..all,
            Tail => all - camp..all,
            Head => 0..all - camp,
            ButFirst => 1..all,
        }
    }
}

impl Liar for Conspirator {
    fn edit(&mut self, seat: &mut Seat<'_>, frame: Frame) -> Vec<Frame> {
        let Some(vote) = seat.own_vote(&frame) else { return vec![frame] };
        let meant = seat.choices().into_iter().find(|choice| vote.hint(hint(choice)) == vote);
        let (Some(choice), None) = (meant, self.play(seat)) else { return Vec::new() };
        // its own counter is old by now
        seat.vote(&Header { counter: self.voice.next(), ..vote }, &choice, u8::MAX).into_iter().collect()
    }

    fn due_ns(&self) -> Option<u64> {
        self.voice.due_ns()
    }

    fn act(&mut self, now_ns: u64, seat: &mut Seat<'_>) -> Vec<Frame> {
        self.voice.speak(now_ns);
        let height = seat.head().0 + 1;
        if std::mem::replace(&mut self.height, height) != height {
            self.lines = 0;
        }
        let Some((trace, correct)) = self.play(seat) else { return Vec::new() };
        let [first, second] = trace.acts();
        let then = if self.lines < SECOND_ACT { &[][..] } else { second };
        let at = |round| if round == NOW { seat.round.max(2) } else { round };
        let in_time = |(round, kind, what, whom): &Line| (at(*round), *kind, *what, *whom);
        let is_mine = |(round, kind, ..): &Line| *kind != Propose || Self::proposer(seat, *round) == seat.me;
        let mine: Vec<_> = first.iter().chain(then).map(in_time).filter(is_mine).collect();
        self.lines += 1;
        let line = mine[(self.lines - 1) % mine.len()];
        self.say(seat, line, &correct)
    }
}
