//! The ports of this project keep their word, and the tests for ports find those that do not.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use can_bus::frame::{Frame, id_from_raw};
use can_bus::mailbox::{Controller, Mailboxes};
use can_bus::port::{BusCommand, BusEvent};
use can_bus::timing::BitTiming;
use device_chain::keys::{Device, KeyHandle, KeyStore, SoftKeys};
use device_chain::mac::{Key, Suite, Tag, TagInput};
use device_chain::types::{Micros, ValidatorIndex};
use ecu_node::conformance::{self, Loopback, Results, TEST_KEY, TEST_PEER};
use journal::part::{FRAM, STM32G4, STM32H743};
use journal::{Counter, Defect, FileCounter, FileFlash, Flash, Geometry, MemCounter, MemError, MemFlash};

const GEOMETRY: Geometry = Geometry { erase_size: 2048, write_size: 8, capacity: 16 * 1024 };
const TIMING: BitTiming = BitTiming::FD_500K_2M;

fn results(run: impl FnOnce(&mut Results)) -> Results {
    let mut results = Results::new();
    run(&mut results);
    results
}

#[track_caller]
fn keeps_its_word(run: impl FnOnce(&mut Results)) {
    let results = results(run);
    assert!(results.passed(), "{results:#?}");
}

#[track_caller]
fn is_found(broken: &str, promise: &str, run: impl FnOnce(&mut Results)) {
    let results = results(run);
    assert!(results.failed().any(|name| name == promise), "{broken}: {results:#?}");
    assert!(!results.passed());
}

#[test]
fn nothing_that_was_looked_at_is_no_success() {
    assert!(!Results::new().passed());
}

// Flash, counter, journal

#[test]
fn flashes_in_memory_keep_their_word() {
    for part in [STM32G4, STM32H743, FRAM] {
        let mut flash = MemFlash::of(part);
        keeps_its_word(|results| conformance::flash(&mut flash, results));
        let mut counter = MemCounter::default();
        keeps_its_word(|results| {
            // through `&mut`, as a start that finds what was there
            let (flash, counter) = (std::cell::RefCell::new(&mut flash), std::cell::RefCell::new(&mut counter));
            let mut reopen = || Ok((Shared(&flash), Shared(&counter)));
            conformance::journal(&mut reopen, results);
        });
    }
}

/// A port that is opened more than once, one after the other.
struct Shared<'a, P>(&'a std::cell::RefCell<P>);

impl<F: Flash> Flash for Shared<'_, F> {
    type Error = F::Error;

    fn geometry(&self) -> Geometry {
        self.0.borrow().geometry()
    }

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), F::Error> {
        self.0.borrow_mut().read(offset, bytes)
    }

    fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), F::Error> {
        self.0.borrow_mut().program(offset, bytes)
    }

    fn erase(&mut self, offset: u32, length: u32) -> Result<(), F::Error> {
        self.0.borrow_mut().erase(offset, length)
    }

    fn sync(&mut self) -> Result<(), F::Error> {
        self.0.borrow_mut().sync()
    }
}

impl<C: Counter> Counter for Shared<'_, C> {
    type Error = C::Error;

    fn value(&self) -> u64 {
        self.0.borrow().value()
    }

    fn raise(&mut self, to: u64) -> Result<(), C::Error> {
        self.0.borrow_mut().raise(to)
    }
}

#[test]
fn flash_and_counter_in_files_keep_their_word() {
    let folder = tempfile::tempdir().unwrap();
    let (flash, counter) = (folder.path().join("flash"), folder.path().join("counter"));
    drop(FileFlash::create(&flash, GEOMETRY).unwrap());
    drop(FileCounter::create(&counter).unwrap());
    let open = |flash: &Path, counter: &Path| -> io::Result<(FileFlash, FileCounter)> {
        Ok((FileFlash::open(flash, GEOMETRY)?, FileCounter::open(counter)?))
    };
    keeps_its_word(|results| conformance::flash(&mut FileFlash::open(&flash, GEOMETRY).unwrap(), results));
    keeps_its_word(|results| conformance::counter(&mut || FileCounter::open(&counter), results));
    for _ in 0..2 {
        keeps_its_word(|results| conformance::journal(&mut || open(&flash, &counter), results));
    }
}

/// A flash with a fault of its driver.
struct BrokenFlash {
    flash: MemFlash,
    fault: FlashFault,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum FlashFault {
    /// Programs go to the place before.
    OneUnitOff,
    /// An erase takes everything behind, too.
    ErasesTheRest,
    /// Reads are rounded down to whole words.
    AlignsReads,
    /// Of several units only the first is programmed.
    FirstUnitOnly,
    /// The second bank is the first one again.
    HalfTheSize,
    /// Behind the end it begins again.
    WrapsAround,
}

impl Flash for BrokenFlash {
    type Error = MemError;

    fn geometry(&self) -> Geometry {
        self.flash.geometry()
    }

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), MemError> {
        let half = GEOMETRY.capacity / 2;
        match self.fault {
            FlashFault::AlignsReads => self.flash.read(offset / 4 * 4, bytes),
            FlashFault::HalfTheSize if offset >= half => self.flash.read(offset - half, bytes),
            FlashFault::WrapsAround => self.flash.read(offset % GEOMETRY.capacity, bytes),
            _ => self.flash.read(offset, bytes),
        }
    }

    fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), MemError> {
        let unit = GEOMETRY.write_size;
        match self.fault {
            FlashFault::OneUnitOff => self.flash.program(offset - unit, bytes),
            FlashFault::FirstUnitOnly => self.flash.program(offset, &bytes[..unit as usize]),
            FlashFault::HalfTheSize => self.flash.program(offset % (GEOMETRY.capacity / 2), bytes),
            _ => self.flash.program(offset, bytes),
        }
    }

    fn erase(&mut self, offset: u32, length: u32) -> Result<(), MemError> {
        match self.fault {
            FlashFault::ErasesTheRest => self.flash.erase(offset, GEOMETRY.capacity - offset),
            FlashFault::HalfTheSize => self.flash.erase(offset, length.min(GEOMETRY.capacity / 2)),
            _ => self.flash.erase(offset, length),
        }
    }

    fn sync(&mut self) -> Result<(), MemError> {
        self.flash.sync()
    }
}

#[test]
fn a_flash_that_does_otherwise_is_found() {
    for (fault, promise) in [
        (FlashFault::OneUnitOff, "flash: a unit reads as it was programmed"),
        (FlashFault::AlignsReads, "flash: any offset and length can be read"),
        (FlashFault::FirstUnitOnly, "flash: units are programmed in a row"),
        (FlashFault::ErasesTheRest, "flash: an erase touches its pages only"),
        (FlashFault::HalfTheSize, "flash: a program touches its units only"),
        (FlashFault::WrapsAround, "flash: what is not all inside is refused"),
    ] {
        let mut broken = BrokenFlash { flash: MemFlash::new(GEOMETRY), fault };
        is_found(&format!("{fault:?}"), promise, |results| conformance::flash(&mut broken, results));
    }
    for (defect, promise) in [
        (Defect::IgnoresProgram, "flash: a unit reads as it was programmed"),
        (Defect::RefusesProgram, "flash: the last unit can be programmed"),
        (Defect::IgnoresErase, "flash: an erased unit can be programmed again"),
        (Defect::RefusesErase, "flash: a page can be erased"),
        (Defect::StuckLow(4), "flash: erased bytes read 0xFF"),
    ] {
        let mut worn = MemFlash::new(GEOMETRY);
        worn.wear_out(0..GEOMETRY.capacity, defect);
        is_found(&format!("{defect:?}"), promise, |results| conformance::flash(&mut worn, results));
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum CounterFault {
    Forgets,
    GoesBack,
    StaysAtOnce,
}

struct BrokenCounter<'a> {
    kept: &'a std::cell::Cell<u64>,
    value: u64,
    fault: CounterFault,
}

impl Counter for BrokenCounter<'_> {
    type Error = MemError;

    fn value(&self) -> u64 {
        self.value
    }

    fn raise(&mut self, to: u64) -> Result<(), MemError> {
        let to = match self.fault {
            CounterFault::GoesBack => to,
            CounterFault::StaysAtOnce => self.value + u64::from(to > self.value),
            CounterFault::Forgets => to.max(self.value),
        };
        self.value = to;
        if self.fault != CounterFault::Forgets {
            self.kept.set(to);
        }
        Ok(())
    }
}

#[test]
fn a_counter_that_does_otherwise_is_found() {
    for (fault, promise) in [
        (CounterFault::Forgets, "counter: what it was raised to is still there at the next start"),
        (CounterFault::GoesBack, "counter: it never goes back"),
        (CounterFault::StaysAtOnce, "counter: it can skip numbers"),
    ] {
        let kept = std::cell::Cell::new(0);
        let mut reopen = || Ok(BrokenCounter { kept: &kept, value: kept.get(), fault });
        is_found(&format!("{fault:?}"), promise, |results| conformance::counter(&mut reopen, results));
        if fault == CounterFault::Forgets {
            let flash = std::cell::RefCell::new(MemFlash::new(GEOMETRY));
            let mut reopen = || Ok((Shared(&flash), BrokenCounter { kept: &kept, value: kept.get(), fault }));
            is_found("counter", "journal: what was acknowledged is there at the next start (P1, P4)", |results| {
                conformance::journal(&mut reopen, results);
            });
        }
    }
}

// Keys

fn soft_keys(suite: Suite) -> SoftKeys {
    let mut keys = SoftKeys::new(suite);
    assert!(keys.load(Device::Validator(TEST_PEER), Key::new(TEST_KEY)));
    keys
}

#[test]
fn the_software_key_store_keeps_its_word() {
    for suite in [Suite::Cmac, Suite::Blake2s] {
        keeps_its_word(|results| conformance::keys(&mut soft_keys(suite), suite, results));
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum KeyFault {
    OtherSuite,
    AcceptsShortTags,
    LooksAtFourBytes,
    SortsNonces,
    KeepsCandidate,
    DropsSession,
    DefaultKey,
}

struct BrokenKeys {
    keys: SoftKeys,
    fault: KeyFault,
}

impl KeyStore for BrokenKeys {
    fn tag(&self, key: KeyHandle, message: &TagInput) -> Option<Tag> {
        let tag = self.keys.tag(key, message);
        if self.fault == KeyFault::DefaultKey {
            return tag.or(Some([0; 16]));
        }
        tag
    }

    fn verify(&self, key: KeyHandle, message: &TagInput, tag: &[u8]) -> bool {
        match self.fault {
            KeyFault::AcceptsShortTags => {
                self.keys.tag(key, message).is_some_and(|full| full.get(..tag.len()) == Some(tag))
            }
            KeyFault::LooksAtFourBytes => tag.len() <= 16 && self.keys.verify(key, message, &tag[..tag.len().min(4)]),
            _ => self.keys.verify(key, message, tag),
        }
    }

    fn forget(&mut self, device: Device) {
        self.keys.forget(device);
    }

    fn derive(&mut self, peer: ValidatorIndex, mut nonces: [u64; 2]) {
        if self.fault == KeyFault::SortsNonces {
            nonces.sort_unstable();
        }
        self.keys.derive(peer, nonces);
        if self.fault == KeyFault::DropsSession {
            self.keys.promote(peer);
        }
    }

    fn promote(&mut self, peer: ValidatorIndex) {
        if self.fault != KeyFault::KeepsCandidate {
            self.keys.promote(peer);
        }
    }
}

#[test]
fn a_key_store_that_does_otherwise_is_found() {
    for (fault, promise) in [
        (KeyFault::OtherSuite, "keys: a tag is the known answer (M2)"),
        (KeyFault::AcceptsShortTags, "keys: shorter and longer ones are refused"),
        (KeyFault::LooksAtFourBytes, "keys: a tag with one wrong bit is refused"),
        (KeyFault::SortsNonces, "keys: the candidate comes from both nonces (DC-21)"),
        (KeyFault::KeepsCandidate, "keys: and no candidate any more"),
        (KeyFault::DropsSession, "keys: a candidate is no session yet"),
        (KeyFault::DefaultKey, "keys: without a key there is no tag"),
    ] {
        let own = if fault == KeyFault::OtherSuite { Suite::Cmac } else { Suite::Blake2s };
        let mut broken = BrokenKeys { keys: soft_keys(own), fault };
        is_found(&format!("{fault:?}"), promise, |results| conformance::keys(&mut broken, Suite::Blake2s, results));
    }
}

// Randomness and the clock

#[test]
fn the_systems_randomness_and_clock_keep_their_word() {
    let mut draw = || getrandom::u64().ok();
    keeps_its_word(|results| conformance::random(&mut draw, results));
    let epoch = std::time::Instant::now();
    let mut now = || Micros(epoch.elapsed().as_micros() as u64);
    keeps_its_word(|results| conformance::clock(&mut now, results));
}

#[test]
fn numbers_that_are_not_random_and_clocks_that_do_not_run_are_found() {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut good = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state ^ (state >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) ^ state.rotate_left(31)
    };
    let mut step = 0u64;
    type Source<'a> = Box<dyn FnMut() -> Option<u64> + 'a>;
    let sources: [(&str, Source<'_>); 5] = [
        ("random: it gives numbers", Box::new(|| None)),
        ("random: no number comes twice", Box::new(|| Some(4))),
        (
            "random: the numbers do not go by steps",
            Box::new(move || {
                step = step.wrapping_add(0x0123_4567_89AB_CDEF);
                Some(step)
            }),
        ),
        ("random: each bit takes both values", Box::new(|| Some(good() & !(1 << 17)))),
        ("random: half of the bits are ones", Box::new(|| getrandom::u64().ok().map(|number| number | 0xFF))),
    ];
    for (promise, mut draw) in sources {
        is_found(promise, promise, |results| conformance::random(&mut draw, results));
    }
    let mut at = 1_000;
    let mut back = || {
        at -= 1;
        Micros(at)
    };
    is_found("backwards", "clock: it never goes back", |results| conformance::clock(&mut back, results));
    is_found("stopped", "clock: it moves", |results| conformance::clock(&mut || Micros(7), results));
}

// The bus

#[derive(Clone, Copy, Debug, PartialEq)]
enum BusFault {
    None,
    AnswersTwice,
    NeverConfirms,
    LastComeFirst,
    IgnoresUrgency,
    SendsWhatItDropped,
    IgnoresAborts,
    CutsFrames,
    LosesTheEnd,
    CountsMilliseconds,
    ForgetsTheNode,
}

/// Three buffers, and a wire on which a frame takes as long as it does.
struct Wire {
    mailboxes: Mailboxes<3>,
    buffers: Buffers,
    ready: VecDeque<BusEvent>,
    now_ns: u64,
    fault: BusFault,
    fifo: VecDeque<(u32, Frame)>,
}

#[derive(Default)]
struct Buffers {
    frames: [Option<Frame>; 3],
    cancelled: [bool; 3],
}

impl Controller for Buffers {
    fn request(&mut self, buffer: usize, frame: &Frame) {
        self.frames[buffer] = Some(*frame);
    }

    fn cancel(&mut self, buffer: usize) {
        self.cancelled[buffer] = true;
    }
}

impl Wire {
    fn new(fault: BusFault) -> Self {
        let mailboxes = Mailboxes::new();
        Self { mailboxes, buffers: Buffers::default(), ready: VecDeque::new(), now_ns: 0, fault, fifo: VecDeque::new() }
    }

    fn receive(&mut self, frame: Frame) {
        self.now_ns += TIMING.unstuffed_ns(&frame);
        let unit = if self.fault == BusFault::CountsMilliseconds { 1_000_000 } else { 1_000 };
        let (at_us, mut frame) = (self.now_ns / unit, frame);
        if self.fault == BusFault::CutsFrames && frame.len() > 32 {
            frame = Frame::fd(frame.id(), &frame.data()[..32]).expect("a length that there is");
        }
        self.ready.push_back(BusEvent::Received { segment: 0, at_us, frame });
    }

    fn answer(&mut self, event: Option<BusEvent>) {
        match (self.fault, event) {
            (BusFault::NeverConfirms, Some(BusEvent::Transmitted { .. })) => {}
            (BusFault::AnswersTwice, Some(event)) => self.ready.extend([event, event]),
            (_, event) => self.ready.extend(event),
        }
    }

    fn step(&mut self) {
        if let Some((token, frame)) = match self.fault {
            BusFault::LastComeFirst => self.fifo.pop_back(),
            _ => self.fifo.pop_front(),
        } {
            self.receive(frame);
            return self.ready.push_back(BusEvent::Transmitted { token });
        }
        if let Some(at) = self.buffers.cancelled.iter().position(|cancelled| *cancelled) {
            self.buffers.cancelled[at] = false;
            let frame = self.buffers.frames[at].take();
            let event = self.mailboxes.done(&mut self.buffers, at, false);
            if self.fault == BusFault::SendsWhatItDropped {
                frame.into_iter().for_each(|frame| self.receive(frame));
            }
            return self.answer(event);
        }
        let urgency = |at: &usize| self.buffers.frames[*at].map(|frame| frame.arbitration());
        let Some(at) = (0..3).filter(|at| urgency(at).is_some()).min_by_key(urgency) else { return };
        let frame = self.buffers.frames[at].take().expect("it was looked for");
        let event = self.mailboxes.done(&mut self.buffers, at, true);
        self.receive(frame);
        self.answer(event);
    }
}

impl Loopback for Wire {
    fn command(&mut self, command: BusCommand) {
        match (self.fault, command) {
            (BusFault::LastComeFirst | BusFault::IgnoresUrgency, BusCommand::Transmit { token, frame }) => {
                return self.fifo.push_back((token, frame));
            }
            (BusFault::IgnoresAborts, BusCommand::Abort { .. }) => return,
            (BusFault::LosesTheEnd, BusCommand::Transmit { .. }) if self.mailboxes.outstanding() >= 16 => return,
            (BusFault::ForgetsTheNode, BusCommand::Transmit { token, .. }) if self.mailboxes.outstanding() >= 8 => {
                return self.ready.push_back(BusEvent::Dropped { token });
            }
            _ => {}
        }
        let event = self.mailboxes.command(&mut self.buffers, command);
        self.answer(event);
    }

    fn event(&mut self) -> Option<BusEvent> {
        // a frame taken back gives no event
        for _ in 0..8 {
            if self.ready.is_empty() {
                self.step();
            }
        }
        self.ready.pop_front()
    }
}

#[test]
fn transmit_buffers_keep_the_word_of_a_bus() {
    keeps_its_word(|results| conformance::bus(&mut Wire::new(BusFault::None), TIMING, results));
}

#[test]
fn a_bus_that_does_otherwise_is_found() {
    assert!(id_from_raw(0x123).is_some());
    for (fault, promise) in [
        (BusFault::AnswersTwice, "bus: frames of one identifier keep their order, and so do their confirmations"),
        (BusFault::NeverConfirms, "bus: of too many frames each is answered once"),
        (BusFault::LastComeFirst, "bus: frames of one identifier keep their order, and so do their confirmations"),
        (BusFault::IgnoresUrgency, "bus: the most urgent frame goes first"),
        (BusFault::SendsWhatItDropped, "bus: a frame at the controller is sent or aborted, and answered once"),
        (BusFault::IgnoresAborts, "bus: a frame that waits can be aborted"),
        (BusFault::CutsFrames, "bus: frames of every length arrive as they were sent, 29-bit identifier"),
        (BusFault::LosesTheEnd, "bus: of too many frames each is answered once"),
        (BusFault::CountsMilliseconds, "bus: frames carry the time at which they came, in microseconds"),
        (BusFault::ForgetsTheNode, "bus: as many as a node may have waiting are sent"),
    ] {
        let mut broken = Wire::new(fault);
        is_found(&format!("{fault:?}"), promise, |results| conformance::bus(&mut broken, TIMING, results));
    }
}
