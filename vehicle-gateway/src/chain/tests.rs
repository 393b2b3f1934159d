//! The chain of a small car, told step by step.

use device_chain::limits::MAX_TIME_STEP_MS;
use device_chain::types::ValidatorIndex;
use event_chain::fixture::{Car, START_MS};
use event_chain::verify::ChainVerifier;
use tempfile::TempDir;

use super::*;

const POLICY: Policy = Policy { close_us: 2_000_000, idle_us: 15_000_000, seal_us: 1_000_000 };

/// A gateway with its log, beside a car whose mesh decides at once.
struct Bench {
    car: Car,
    chain: Chain,
    log: Log,
    folder: TempDir,
    now_s: f64,
    estimate_ms: Option<u64>,
    submitted: Vec<Transaction>,
    forwarded: Vec<(Block, Finality)>,
    broken: Vec<Broken>,
    /// The uplink's storage.
    full: bool,
}

impl Bench {
    fn new() -> Self {
        let (car, folder) = (Car::new("BENCH"), tempfile::tempdir().expect("a folder"));
        let mut chain = Chain::new(car.genesis.clone(), POLICY, Micros(0));
        let (log, found) = Log::open(&folder.path().join("chain.log"), &mut chain).expect("a log");
        assert_eq!(found, Found::Nothing);
        let (submitted, forwarded, broken) = Default::default();
        Self { car, chain, log, folder, now_s: 0.0, estimate_ms: None, submitted, forwarded, broken, full: false }
    }

    fn now(&self) -> Now {
        Now { at: Micros((self.now_s * 1e6) as u64), unix_ms: 1_000, estimate_ms: self.estimate_ms }
    }

    fn give(&mut self, input: Input) {
        let now = self.now();
        self.chain.handle(now, input);
        while let Some(effect) = self.chain.poll() {
            match effect {
                Effect::Persist(entry) => self.log.append(&entry).expect("room"),
                Effect::Submit(tx) => self.submitted.push(tx),
                Effect::Forward(_, _) if self.full => {}
                Effect::Forward(block, finality) => {
                    self.chain.handle(now, Input::Forwarded(block.header.number, finality));
                    self.forwarded.push((*block, finality));
                }
                Effect::Broken(broken) => self.broken.push(broken),
            }
        }
        self.log.sync(&self.chain).expect("a disk");
    }

    fn at(&mut self, seconds: f64) {
        self.now_s = seconds;
        self.give(Input::Tick);
    }

    /// The mesh decides, and the gateway hears it.
    fn decide(&mut self, tx: &Transaction) {
        self.decide_unheard(tx);
        self.give(Input::Decided(self.car.state.height(), tx.encode().expect("fits")));
    }

    fn decide_unheard(&mut self, tx: &Transaction) {
        self.car.state.apply(&tx.encode().expect("fits"), tx, &mut self.car.registry).expect("allowed");
    }

    fn record(&self) -> Transaction {
        let sequence = self.car.state.sequence(0).unwrap_or_default() + 1;
        Transaction::Record { endpoint: 0, sequence, data: [1, 2, 3].into() }
    }

    fn decide_submitted(&mut self) {
        let tx = self.submitted.pop().expect("a header was submitted");
        self.decide(&tx);
    }

    /// Seals of the newest block that the mesh approved.
    fn seal(&mut self, by: impl IntoIterator<Item = ValidatorIndex>) {
        let event = self.car.state.event().clone();
        for validator in by {
            let seal = Seal::sign(validator, &self.car.validators[usize::from(validator)], &event.hash);
            self.give(Input::Seal(event.number, seal));
        }
    }

    /// `kill -9`: only the log is left.
    fn restart(&mut self) -> Found {
        self.chain = Chain::new(self.car.genesis.clone(), POLICY, self.now().at);
        let (log, found) = Log::open(&self.folder.path().join("chain.log"), &mut self.chain).expect("a log");
        self.log = log;
        while let Some(effect) = self.chain.poll() {
            let Effect::Broken(broken) = effect else { panic!("{effect:?} before any input") };
            self.broken.push(broken);
        }
        found
    }
}

fn note(text: &str) -> Input {
    Input::Attest(RecordKind::Note(text.try_into().expect("short")))
}

#[test]
fn what_is_new_is_in_a_block_after_two_seconds() {
    let mut bench = Bench::new();
    let record = bench.record();
    bench.decide(&record);
    bench.give(note("engine on"));
    bench.at(1.9);
    assert_eq!(bench.submitted, []);
    bench.at(2.0);
    bench.decide_submitted();
    bench.seal(0..3);
    let (block, finality) = bench.forwarded.pop().expect("forwarded");
    assert_eq!((finality, block.decisions.len(), block.seals.len()), (Finality::Final, 1, 3));
    let mut verifier = ChainVerifier::new(bench.car.genesis.clone());
    assert_eq!(verifier.accept(&block), Ok(Finality::Final));
    let attested = block.attested.expect("they are here");
    assert!(matches!(&attested[..], [AttestedRecord { kind: RecordKind::Note(text), .. }] if text == "engine on"));
}

/// DC-62: what the gateway's own clock says is in no header.
#[test]
fn a_block_has_the_time_that_the_clocks_of_the_mesh_say() {
    for (clocks, time_ms) in [
        (None, START_MS),
        (Some(START_MS + 5_000), START_MS + 5_000),
        (Some(START_MS - 5_000), START_MS),
        (Some(START_MS + 2 * MAX_TIME_STEP_MS), START_MS + MAX_TIME_STEP_MS),
    ] {
        let mut bench = Bench::new();
        bench.estimate_ms = clocks;
        bench.at(15.0);
        assert!(matches!(&bench.submitted[..], [Transaction::EventBlock(header)] if header.time_ms == time_ms));
    }
}

#[test]
fn a_header_that_has_waited_is_made_anew_when_the_time_has_come() {
    let mut bench = Bench::new();
    bench.at(15.0);
    bench.at(20.0);
    assert_eq!(bench.submitted[0], bench.submitted[1], "nobody knows the time: the same one again");
    bench.estimate_ms = Some(START_MS + 60_000);
    bench.at(25.0);
    assert!(matches!(&bench.submitted[2], Transaction::EventBlock(header) if header.time_ms == START_MS + 60_000));
    bench.submitted.swap(0, 2);
    bench.submitted.truncate(1);
    bench.decide_submitted();
    bench.seal(0..3);
    assert_eq!(bench.forwarded.len(), 1);
}

#[test]
fn a_quiet_car_gives_a_sign_of_life() {
    let mut bench = Bench::new();
    bench.at(14.9);
    assert_eq!(bench.submitted, []);
    bench.at(15.0);
    bench.decide_submitted();
    bench.seal(0..3);
    bench.at(29.9);
    assert_eq!(bench.submitted, [], "the approval of a block is no news");
    bench.at(30.0);
    assert_eq!(bench.submitted.len(), 1);
}

#[test]
fn a_header_that_lost_its_height_is_made_anew_at_once() {
    let mut bench = Bench::new();
    bench.give(note("first"));
    bench.at(2.0);
    let record = bench.record();
    bench.decide(&record);
    let [Transaction::EventBlock(lost), Transaction::EventBlock(anew)] = &bench.submitted[..] else { panic!() };
    assert_eq!((lost.tree_size, anew.tree_size), (0, 1));
    bench.decide_submitted();
    assert_eq!(bench.chain.status().blocks, 1);
}

#[test]
fn a_header_without_an_answer_is_submitted_again_as_it_was() {
    let mut bench = Bench::new();
    bench.give(note("first"));
    bench.at(2.0);
    bench.give(note("too late for this block"));
    bench.at(6.9);
    assert_eq!(bench.submitted.len(), 1);
    bench.at(7.0);
    assert_eq!(bench.submitted[0], bench.submitted[1]);
}

#[test]
fn many_records_close_a_block_at_once() {
    let mut bench = Bench::new();
    for _ in 1..MANY_ATTESTED {
        bench.give(note("x"));
    }
    assert_eq!(bench.submitted, []);
    bench.give(note("x"));
    assert_eq!(bench.submitted.len(), 1);
    for _ in MANY_ATTESTED..MAX_ATTESTED + 5 {
        bench.give(note("x"));
    }
    assert_eq!(bench.chain.status().dropped_records, 5);
}

#[test]
fn many_decisions_close_a_block_before_the_mesh_has_to_wait() {
    let mut bench = Bench::new();
    for _ in 1..MANY_DECISIONS {
        let record = bench.record();
        bench.decide(&record);
    }
    assert_eq!(bench.submitted, []);
    let record = bench.record();
    bench.decide(&record);
    assert_eq!(bench.submitted.len(), 1);
}

#[test]
fn too_few_seals_are_waited_for_and_one_more_upgrades() {
    let mut bench = Bench::new();
    bench.at(15.0);
    bench.decide_submitted();
    bench.seal([1]);
    bench.at(100.0);
    assert_eq!((bench.forwarded.len(), bench.submitted.len()), (0, 0), "one of four seals proves nothing");
    bench.seal([3]);
    assert_eq!(
        bench.forwarded.pop().map(|(block, finality)| (block.seals.len(), finality)),
        Some((2, Finality::Provisional))
    );
    bench.seal([3, 0]);
    assert_eq!(
        bench.forwarded.pop().map(|(block, finality)| (block.seals.len(), finality)),
        Some((3, Finality::Final))
    );
    bench.seal([2]);
    assert_eq!(bench.forwarded, [], "a quorum is enough");
}

#[test]
fn a_quorum_within_the_patience_is_forwarded_once() {
    let mut bench = Bench::new();
    bench.at(15.0);
    bench.decide_submitted();
    bench.seal([0, 1]);
    assert_eq!(bench.forwarded, []);
    assert_eq!(bench.chain.deadline(), Some(Micros(16_000_000)));
    bench.seal([2]);
    assert_eq!(bench.forwarded.len(), 1);
}

#[test]
fn validators_that_are_faster_than_the_own_node_have_sealed_already() {
    let mut bench = Bench::new();
    bench.at(15.0);
    let header = bench.submitted.pop().expect("submitted");
    bench.decide_unheard(&header);
    bench.seal(1..4);
    assert_eq!(bench.forwarded, []);
    bench.give(Input::Decided(1, header.encode().expect("fits")));
    assert_eq!(bench.forwarded.len(), 1);
}

#[test]
fn a_full_uplink_is_asked_again_and_holds_up_the_next_block() {
    let mut bench = Bench::new();
    bench.at(15.0);
    bench.decide_submitted();
    bench.full = true;
    bench.seal(0..3);
    bench.at(100.0);
    assert_eq!((bench.forwarded.len(), bench.submitted.len()), (0, 0));
    assert_eq!(bench.chain.deadline(), Some(Micros(101_000_000)));
    bench.full = false;
    bench.at(101.0);
    assert_eq!((bench.forwarded.len(), bench.submitted.len()), (1, 1));
}

#[test]
fn a_false_seal_is_counted_and_left_out() {
    let mut bench = Bench::new();
    bench.at(15.0);
    bench.decide_submitted();
    let event = bench.car.state.event().clone();
    let stolen = Seal::sign(1, &bench.car.validators[2], &event.hash);
    bench.give(Input::Seal(event.number, stolen));
    bench.give(Input::Seal(event.number, Seal { validator: 200, ..stolen }));
    bench.give(Input::Seal(event.number + 2, stolen));
    let status = bench.chain.status();
    assert_eq!((status.bad_seals, status.sealing.map(|sealing| sealing.seals)), (2, Some(0)));
}

/// A step of a block's way, and its name.
type Step = (&'static str, fn(&mut Bench));

/// Killed at every step of a block's way: the block is the same, and whole.
#[test]
fn nothing_is_lost_by_a_kill_at_any_step() {
    let steps: [Step; 6] = [
        ("decision", |bench| {
            let record = bench.record();
            bench.decide(&record);
        }),
        ("record", |bench| bench.give(note("kept"))),
        ("header", |bench| bench.at(2.0)),
        ("approval", |bench| {
            bench.at(2.0 + RESUBMIT_US as f64 / 1e6);
            let first = bench.submitted.remove(0);
            assert!(bench.submitted.iter().all(|again| *again == first), "one header a height");
            bench.submitted.clear();
            bench.decide(&first);
        }),
        ("seals", |bench| bench.seal([0, 1])),
        ("quorum", |bench| bench.seal([0, 1, 2])),
    ];
    for killed_after in 0..steps.len() {
        let mut bench = Bench::new();
        for (at, (_, step)) in steps.iter().enumerate() {
            step(&mut bench);
            if at == killed_after {
                assert_eq!(bench.restart(), Found::Intact);
            }
        }
        let name = steps[killed_after].0;
        let finals: Vec<_> = bench.forwarded.iter().filter(|(_, finality)| *finality == Finality::Final).collect();
        let [(block, _)] = finals[..] else { panic!("killed after {name}: {} final blocks", finals.len()) };
        assert_eq!((block.decisions.len(), block.attested.as_ref().map(|a| a.len())), (1, Some(1)), "{name}");
        assert_eq!(ChainVerifier::new(bench.car.genesis.clone()).accept(block), Ok(Finality::Final), "{name}");
    }
}

#[test]
fn decisions_made_while_away_come_in_again() {
    let mut bench = Bench::new();
    let first = bench.record();
    bench.decide(&first);
    let missed = bench.record();
    bench.decide_unheard(&missed);
    bench.restart();
    for (height, tx) in [(1, &first), (2, &missed), (2, &missed)] {
        bench.give(Input::Decided(height, tx.encode().expect("fits")));
    }
    bench.give(Input::CaughtUp(2));
    assert_eq!((bench.chain.status().height, bench.broken.len()), (2, 0));
}

#[test]
fn a_gap_ends_the_chain_and_says_so_once() {
    for lost in [Input::CaughtUp(3), Input::Decided(4, Transaction::Skip.encode().expect("fits"))] {
        let mut bench = Bench::new();
        bench.at(15.0);
        bench.decide_submitted();
        bench.give(lost);
        bench.give(Input::Decided(5, Transaction::Skip.encode().expect("fits")));
        assert_eq!(bench.broken, [Broken::Gap { after: 1, to: 4 }]);
        bench.seal(0..3);
        assert_eq!(bench.forwarded.len(), 1, "what exists goes on to the uplink");
        bench.at(100.0);
        assert_eq!(bench.submitted, []);
    }
}

#[test]
fn a_removed_log_is_noticed() {
    let mut bench = Bench::new();
    bench.give(note("will be lost"));
    bench.at(2.0);
    let header = bench.submitted.pop().expect("submitted");
    std::fs::remove_file(bench.folder.path().join("chain.log")).expect("it is there");
    assert_eq!(bench.restart(), Found::Nothing);
    bench.give(Input::Decided(1, header.encode().expect("fits")));
    assert_eq!(bench.broken, [Broken::Records(1)]);
}

#[test]
fn the_log_is_read_up_to_what_was_not_finished() {
    let mut bench = Bench::new();
    let record = bench.record();
    bench.decide(&record);
    let path = bench.folder.path().join("chain.log");
    let sound = std::fs::read(&path).expect("it is there");
    bench.give(note("torn"));
    let whole = std::fs::read(&path).expect("it is there");
    for length in (sound.len() + 1..whole.len()).step_by(5) {
        std::fs::write(&path, &whole[..length]).expect("a disk");
        assert_eq!(bench.restart(), Found::TornTail, "{length}");
        assert_eq!(bench.chain.status().height, 1);
        let zeros = [&whole[..sound.len()], &vec![0; length]].concat();
        std::fs::write(&path, zeros).expect("a disk");
        assert_eq!(bench.restart(), Found::TornTail, "{length} zeros");
    }
}

#[test]
fn a_flipped_bit_is_damage_wherever_it_is() {
    let mut bench = Bench::new();
    let record = bench.record();
    bench.decide(&record);
    bench.give(note("last"));
    let path = bench.folder.path().join("chain.log");
    let whole = std::fs::read(&path).expect("it is there");
    let last = whole.len() - b"last".len() - 20;
    for at in (0..last).step_by(7).filter(|at| !(8..40).contains(at)) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        std::fs::write(&path, &flipped).expect("a disk");
        let found = bench.restart();
        let Found::Damaged { aside, .. } = found else { panic!("byte {at}: {found:?}") };
        assert_eq!(std::fs::read(aside).expect("put aside"), flipped);
    }
    let mut foreign = whole;
    foreign[8] ^= 1;
    std::fs::write(&path, &foreign).expect("a disk");
    let mut chain = Chain::new(bench.car.genesis.clone(), POLICY, Micros(0));
    assert!(matches!(Log::open(&path, &mut chain), Err(LogError::Foreign(_))));
}

#[test]
fn a_long_log_is_rewritten_and_says_the_same() {
    let mut bench = Bench::new();
    let long = "x".repeat(event_chain::record::MAX_TEXT);
    let path = bench.folder.path().join("chain.log");
    let mut longest = 0;
    for round in 1..12 {
        for _ in 0..1000 {
            bench.give(note(&long));
        }
        bench.at(f64::from(round) * 100.0);
        bench.decide_submitted();
        bench.seal(0..3);
        longest = longest.max(std::fs::metadata(&path).expect("it is there").len());
    }
    assert!(longest < 2 << 20, "{longest} bytes");
    let before = bench.chain.kept.clone();
    assert_eq!(bench.restart(), Found::Intact);
    assert_eq!(bench.chain.kept, before);
}
