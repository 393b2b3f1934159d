//! DC-60 to DC-62: what time it is, by clocks of which some are wrong and some lie.

use super::car::MADE_MS;
use super::net::{GATEWAY, HEARTBEAT_US};
use super::*;
use crate::block::BlockHeader;
use crate::limits::{LATE_DECISIONS, MAX_BACKLOG, MAX_TIME_STEP_MS, MIN_TIME_RISE_MS, TIME_TOLERANCE_MS};
use crate::wire::{CLOCK_FORM, Header, Kind};

const HOUR_MS: u64 = 3_600_000;
const YEAR_MS: u64 = 365 * 24 * HOUR_MS;
/// A clock that has stopped at its beginning, or at its end.
const ZERO: u64 = 0;
const MAXIMUM: u64 = u64::MAX;

/// A car that was made an hour ago.
struct Garage {
    net: Net,
    /// What the clocks of the others say is told in their names by the test.
    liars: StdVec<u8>,
    serial: u64,
    /// True time when the net's was zero.
    zero_ms: u64,
}

impl Garage {
    fn new(n: usize) -> Self {
        let net = Net::trusted(n);
        let zero_ms = MADE_MS + HOUR_MS - net.now.0 / 1000;
        Self { net, liars: StdVec::new(), serial: 0, zero_ms }
    }

    fn true_ms(&self) -> u64 {
        self.zero_ms + self.net.now.0 / 1000
    }

    /// Sets the clocks of these, by what they say at each true time.
    fn set(&mut self, who: impl IntoIterator<Item = u8>, says: impl Fn(u64) -> u64) {
        for at in who {
            let ms = says(self.true_ms());
            if self.liars.contains(&at) {
                let (height, body) = (self.net.height(at), ms.to_le_bytes());
                let header = Header::new(Kind::Grant, height).round(CLOCK_FORM);
                let subject = crate::hash::hash(crate::hash::Domain::Body, &[&body]);
                let clock = self.net.forge(at, header, &subject, &body, |_| true);
                self.net.replay(&clock);
                self.keep_alive(at);
            } else {
                self.net.tell(at, Input::Clock(ms));
            }
        }
    }

    /// A liar whose heartbeats the test writes.
    fn keep_alive(&mut self, liar: u8) {
        let validator = &self.net.ecu(liar).validator;
        let (head, digest) = (*validator.state().head(), *validator.digest());
        let header = Header::new(Kind::Decided, validator.state().height()).hint(Some((0, &head)));
        let decided = self.net.forge(liar, header, &digest, &[], |_| true);
        self.net.replay(&decided);
    }

    /// From now on the test speaks for these.
    fn corrupt(&mut self, who: impl IntoIterator<Item = u8>) {
        for liar in who {
            self.net.ecus[usize::from(liar)].mute = true;
            self.liars.push(liar);
        }
    }

    /// Until all have heard what the clocks say.
    fn hear(&mut self) {
        self.net.run(70 * HEARTBEAT_US);
    }

    fn agreed(&self, at: u8) -> u64 {
        self.net.ecu(at).validator.state().time_ms()
    }

    fn estimate(&self, at: u8) -> Option<u64> {
        self.net.ecu(at).validator.estimate()
    }

    /// Something is decided.
    fn approve(&mut self) {
        self.serial += 1;
        let height = self.net.top() + 1;
        self.net.unlock(self.serial, 1);
        self.net.reach(height, HEARTBEAT_US);
    }

    /// The gateway closes a block that says it is `ms`; whether the others have approved it. If not, the height ends with nothing.
    fn close_at(&mut self, ms: u64) -> bool {
        let number = self.net.ecu(1).validator.state().event().number;
        let header = BlockHeader { time_ms: ms, ..self.net.block() };
        self.net.tell(GATEWAY, Input::Submit(Transaction::EventBlock(header)));
        self.net.run(20 * HEARTBEAT_US);
        self.net.ecu(1).validator.state().event().number > number
    }

    #[track_caller]
    fn knows_the_time(&self, at: u8) {
        let estimate = self.estimate(at).expect("enough clocks");
        assert!(estimate.abs_diff(self.true_ms()) < 100, "ecu {at}: {estimate}, it is {}", self.true_ms());
    }
}

#[test]
fn clocks_that_agree_are_believed_and_blocks_carry_the_time() {
    let mut car = Garage::new(7);
    car.set(0..5, |now| now);
    assert_eq!(car.estimate(1), None, "nobody has heard the others' clocks");
    car.hear();
    (0..7).for_each(|at| car.knows_the_time(at));
    car.approve();
    let now = car.net.ecu(GATEWAY).validator.time_to_give();
    assert!(car.close_at(now));
    assert_eq!((0..7).map(|at| car.agreed(at)).collect::<StdVec<_>>(), [now; 7]);
}

#[test]
fn a_clock_stuck_at_zero_does_not_freeze_time() {
    for (n, broken) in [(4, 1), (7, 2)] {
        let mut car = Garage::new(n);
        let ids = car.net.ids();
        car.set(ids.skip(broken), |now| now);
        car.set(0..broken as u8, |_| ZERO); // the gateway's among them
        car.hear();
        for at in car.net.ids() {
            car.knows_the_time(at);
        }
        for _ in 0..LATE_DECISIONS {
            car.approve();
        }
        car.net.run(HEARTBEAT_US);
        assert!(car.agreed(2).abs_diff(car.true_ms()) < TIME_TOLERANCE_MS, "{n} validators");
    }
}

#[test]
fn a_clock_stuck_at_its_maximum_does_not_advance_time() {
    for (n, broken) in [(4, 1), (7, 2)] {
        let mut car = Garage::new(n);
        let ids = car.net.ids();
        car.set(ids.skip(broken), |now| now);
        car.set(0..broken as u8, |_| MAXIMUM); // the gateway's among them
        car.hear();
        for at in car.net.ids() {
            car.knows_the_time(at);
        }
        car.approve();
        for ahead in [MADE_MS + MAX_TIME_STEP_MS, car.true_ms() + 2 * TIME_TOLERANCE_MS] {
            assert!(!car.close_at(ahead), "{n} validators");
        }
        assert!(car.agreed(2) <= car.true_ms());
    }
}

/// What readings, whose, and what a node makes of them: bad ones of f liars and of one honest validator.
#[test]
fn f_liars_and_one_bad_clock_move_nothing() {
    for (n, liars) in [(4, 1), (5, 1), (7, 2), (8, 2)] {
        for (lie, bad) in [
            (ZERO, ZERO),
            (MAXIMUM, MAXIMUM),
            (MAXIMUM, ZERO),
            (ZERO, MAXIMUM),
            (MADE_MS + 10 * YEAR_MS, MADE_MS + 10 * YEAR_MS),
        ] {
            let mut car = Garage::new(n);
            car.corrupt((1..).take(liars));
            let honest: StdVec<u8> = car.net.ids().filter(|at| !car.liars.contains(at)).collect();
            car.set(honest[1..].iter().copied(), |now| now);
            car.set([honest[0]], |_| bad); // the gateway's
            for _ in 0..35 {
                car.set((1..).take(liars), |_| lie);
                car.net.run(2 * HEARTBEAT_US);
            }
            for at in honest {
                car.knows_the_time(at);
            }
        }
    }
}

/// The bound of DC-60: with four validators, a liar and a clock that lags behind hold time back; they never push it.
#[test]
fn with_four_a_liar_and_a_slow_clock_hold_time_back_but_never_push_it() {
    for (bad, expected) in [(MADE_MS + 1_000, false), (MADE_MS + YEAR_MS, true)] {
        let mut car = Garage::new(4);
        car.corrupt([1]);
        car.set([2, 3], |now| now);
        car.set([0], |_| bad);
        for _ in 0..35 {
            car.set([1], |_| bad);
            car.net.run(2 * HEARTBEAT_US);
        }
        let estimate = car.estimate(2).expect("four clocks");
        assert!(estimate <= car.true_ms());
        assert_eq!(estimate.abs_diff(car.true_ms()) < 100, expected);
    }
}

#[test]
fn a_liar_that_tells_each_another_time_splits_nobody() {
    let mut car = Garage::new(4);
    car.corrupt([3]);
    car.set(0..3, |now| now);
    for step in 0..35 {
        car.set([3], |now| if step % 2 == 0 { now + TIME_TOLERANCE_MS } else { now - TIME_TOLERANCE_MS });
        car.net.run(2 * HEARTBEAT_US);
    }
    (0..3).for_each(|at| car.knows_the_time(at));
}

#[test]
fn a_gateway_alone_can_neither_freeze_nor_advance_time() {
    let mut car = Garage::new(7);
    car.set(0..7, |now| now);
    car.hear();
    // it is not believed that it is later, or some time between what was agreed and what it is
    car.approve();
    for (what, ms) in [
        ("a little ahead", car.true_ms() + TIME_TOLERANCE_MS + 5_000),
        ("a step ahead", MADE_MS + MAX_TIME_STEP_MS),
        ("somewhere behind", MADE_MS + HOUR_MS / 2),
    ] {
        assert!(!car.close_at(ms), "{what}");
    }
    // it may say nothing new, so that blocks never wait for clocks; but then the others ask for the time
    let mut closed = 0;
    for _ in 0..LATE_DECISIONS {
        car.approve();
        closed += u32::from(car.close_at(car.agreed(GATEWAY)));
    }
    car.net.run(HEARTBEAT_US);
    assert!(closed > 0);
    assert!(car.agreed(3).abs_diff(car.true_ms()) < TIME_TOLERANCE_MS);
    // also if it says nothing at all
    car.net.switch_off(GATEWAY);
    car.net.now = car.net.now.plus(10 * MIN_TIME_RISE_MS * 1000);
    car.net.run(80 * HEARTBEAT_US);
    let height = car.net.top();
    for serial in 0..=u64::from(LATE_DECISIONS) {
        car.net.tell(1, Input::Submit(Transaction::Alarm { identifier: 0x11 + 0x10 * (serial % 4) as u32, count: 3 }));
        car.net.run(2 * HEARTBEAT_US);
    }
    car.net.run(HEARTBEAT_US);
    assert!(car.net.top() > height && car.agreed(3).abs_diff(car.true_ms()) < TIME_TOLERANCE_MS);
}

#[test]
fn a_year_in_a_garage_is_caught_up_in_bounded_steps() {
    let mut car = Garage::new(7);
    car.zero_ms += YEAR_MS;
    car.set(0..7, |now| now);
    car.hear();
    let (asleep, before) = (car.net.top(), car.agreed(0));
    assert_eq!(before, MADE_MS, "while nothing is decided nothing has to be");
    for _ in 0..LATE_DECISIONS {
        car.approve();
    }
    car.net.run(30 * HEARTBEAT_US);
    let steps: StdVec<u64> = car.net.ecu(3).decisions.values().filter_map(|decision| time_of(&decision.tx)).collect();
    assert_eq!(steps.len(), 13, "{steps:?}");
    let rises = steps.iter().scan(before, |last, ms| Some(ms - core::mem::replace(last, *ms)));
    assert!(rises.take(12).all(|rise| rise == MAX_TIME_STEP_MS));
    assert!(car.agreed(3).abs_diff(car.true_ms()) < TIME_TOLERANCE_MS);
    assert_eq!(car.net.top() - asleep, u32::from(LATE_DECISIONS) + 13, "and then no more");
}

fn time_of(tx: &Transaction) -> Option<u64> {
    match tx {
        Transaction::Time { ms } => Some(*ms),
        _ => None,
    }
}

#[test]
fn a_block_closes_while_a_year_is_caught_up() {
    let mut car = Garage::new(4);
    car.zero_ms += YEAR_MS;
    car.set(0..4, |now| now);
    car.hear();
    car.approve();
    assert!(!car.close_at(MADE_MS + MAX_TIME_STEP_MS / 2), "half a step is on no clock");
    assert!(car.close_at(car.net.ecu(GATEWAY).validator.time_to_give()));
    assert_eq!(car.agreed(2), MADE_MS + MAX_TIME_STEP_MS);
    for _ in 0..5 {
        car.approve();
        // the others may ask for the next step just then; the gateway makes its block anew
        assert!((0..3).any(|_| car.close_at(car.net.ecu(GATEWAY).validator.time_to_give())));
    }
}

#[test]
fn a_car_without_clocks_still_closes_blocks() {
    let mut car = Garage::new(7);
    // nor is the time of f + 1 clocks that of the car: f of them may lie
    car.set(3..6, |now| now);
    car.hear();
    for _ in 0..3 {
        car.approve();
        assert_eq!(car.estimate(0), None);
        assert!(!car.close_at(car.true_ms()), "only the gateway says so");
        assert!(car.close_at(MADE_MS));
    }
}

/// A block never waits for a clock: the gateway may know less than the others.
#[test]
fn a_gateway_that_hears_no_clocks_still_closes_blocks() {
    let mut car = Garage::new(7);
    car.net.loss =
        Box::new(|packet, to| to == GATEWAY && packet.header.kind == Kind::Grant && packet.header.round == CLOCK_FORM);
    car.set(0..7, |now| now);
    car.hear();
    assert_eq!(car.estimate(GATEWAY), None);
    for _ in 0..=LATE_DECISIONS {
        car.approve();
        assert!(car.close_at(car.net.ecu(GATEWAY).validator.time_to_give()));
    }
    assert!(car.agreed(GATEWAY).abs_diff(car.true_ms()) < TIME_TOLERANCE_MS, "the others have asked for it");
}

#[test]
fn clocks_that_are_set_back_let_time_stand_still() {
    let mut car = Garage::new(4);
    car.set(0..4, |now| now);
    car.hear();
    car.approve();
    assert!(car.close_at(car.net.ecu(GATEWAY).validator.time_to_give()));
    let agreed = car.agreed(1);
    car.set(0..4, |now| now - HOUR_MS);
    car.hear();
    assert_eq!(car.estimate(1), None, "what lies before the agreed time is no reading");
    car.approve();
    assert!(!car.close_at(agreed + 1_000));
    assert!(car.close_at(agreed));
}

#[test]
fn an_idle_car_says_its_clocks_rarely_and_decides_nothing() {
    let mut car = Garage::new(7);
    car.zero_ms += YEAR_MS;
    car.set(0..7, |now| now);
    car.hear();
    let since = car.net.log.len();
    car.net.run(640 * HEARTBEAT_US);
    let said = car.net.log[since..].iter().filter(|packet| packet.header.kind == Kind::Grant).count();
    assert_eq!((said, car.net.top()), (7 * 10, 0));
}

#[test]
fn a_peer_that_comes_back_hears_the_clocks_at_once() {
    let mut car = Garage::new(4);
    car.set(0..4, |now| now);
    car.hear();
    car.net.reboot(3);
    car.net.run(12 * HEARTBEAT_US);
    car.knows_the_time(3); // by three clocks: it has not read its own
    car.net.switch_off(0);
    car.net.run(5 * HEARTBEAT_US);
    assert_eq!(car.estimate(3), None, "the clock of one that is silent is no reading");
}

/// Times are few among the decisions that wait for a gateway (DC-52).
#[test]
fn without_a_gateway_times_leave_the_history_to_orders() {
    let mut car = Garage::new(7);
    car.set(0..7, |now| now);
    car.hear();
    let mut orders = 0;
    while car.net.ecu(1).validator.state().backlog() < MAX_BACKLOG {
        car.approve();
        orders += 1;
        car.net.run(HEARTBEAT_US);
        car.zero_ms += HOUR_MS;
        car.set(0..7, |now| now);
        car.hear();
    }
    assert_eq!(orders, MAX_BACKLOG - MAX_BACKLOG / (u32::from(LATE_DECISIONS) + 1));
}

/// Golden: header, reading, and a tag for each of the other three. Changed only on purpose.
#[test]
fn a_reading_on_the_wire() {
    let mut net = Net::trusted(4);
    net.ecus[2].validator.counter = 99;
    net.tell(2, Input::Clock(0x0102_0304_0506_0708));
    net.run(6 * HEARTBEAT_US);
    let clock = net.log.iter().find(|packet| packet.header.kind == Kind::Grant).expect("said");
    let hex: std::string::String = clock.bytes.iter().map(|byte| std::format!("{byte:02x}")).collect();
    // it was read 100 ms before it was said
    assert_eq!(hex, "829011920000000002000000650000006c07060504030201cb18b8db4f0357f1fe173602a45738ed7799e984d38e8c6d");
}

#[test]
fn what_is_no_reading_is_malformed() {
    let mut net = Net::trusted(4);
    for (round, body) in [(CLOCK_FORM, &[0; 7][..]), (CLOCK_FORM, &[0; 9]), (3, &[0; 8])] {
        let header = Header::new(Kind::Grant, 0).round(round);
        let subject = crate::hash::hash(crate::hash::Domain::Body, &[body]);
        let message = net.forge(2, header, &subject, body, |_| true);
        let before = *net.ecu(1).validator.counters();
        net.replay(&message);
        assert_eq!(net.ecu(1).validator.counters().malformed, before.malformed + 1);
    }
}

#[test]
fn the_chain_takes_no_time_that_falls_or_leaps() {
    let genesis = car::genesis(4, "TIME");
    let state = crate::state::State::new(&Registry::from(&genesis));
    for (rise, allowed) in [
        (0, false),
        (MIN_TIME_RISE_MS - 1, false),
        (MIN_TIME_RISE_MS, true),
        (MAX_TIME_STEP_MS, true),
        (MAX_TIME_STEP_MS + 1, false),
        (u64::MAX - MADE_MS, false),
    ] {
        let expected = if allowed { Ok(()) } else { Err(Refusal::Time) };
        assert_eq!(
            state.check(&Transaction::Time { ms: MADE_MS + rise }, &Registry::from(&genesis)),
            expected,
            "{rise}"
        );
    }
    for ms in [0, MADE_MS - 1, MADE_MS - MAX_TIME_STEP_MS] {
        assert_eq!(state.check(&Transaction::Time { ms }, &Registry::from(&genesis)), Err(Refusal::Time));
    }
}
