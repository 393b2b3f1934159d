//! Arguments: `show FILE`, `count FILE`, or `list FILE` for what each input took, too.

use core::fmt::{self, Write};
use core::hint::black_box;
use core::panic::PanicInfo;

use can_bus::port::BusEvent;
use cortex_m_semihosting::debug::{self, EXIT_FAILURE, EXIT_SUCCESS};
use cortex_m_semihosting::{heprintln, hprintln};
use device_chain::keys::SoftKeys;
use device_chain::types::Micros;
use device_chain::wire::{Header, Kind};
use ecu_node::trace::{self, HEAD, MAX_RECORD, Player, Step};
use ecu_node::{Ecu, Input};
use heapless::String;
use static_cell::StaticCell;

use crate::machine::{File, HostError, Machine, arguments};

/// Instructions between two ticks of the clock with `-icount shift=0`.
const PER_TICK: u64 = 40;
/// Longest line: a state in the notation of `Debug`.
const MAX_LINE: usize = 32 * 1024;

const ARGUMENTS: &str = "arguments: show, count or list, and a FILE";

static ECU: StaticCell<Ecu<SoftKeys>> = StaticCell::new();
static LINE: StaticCell<String<MAX_LINE>> = StaticCell::new();
static RECORD: StaticCell<[u8; MAX_RECORD]> = StaticCell::new();

#[cortex_m_rt::entry]
fn main() -> ! {
    let mut machine = Machine::start();
    if let Err(what) = replay(&mut machine) {
        heprintln!("error: {}", what);
        end(EXIT_FAILURE);
    }
    end(EXIT_SUCCESS)
}

/// Records of a file, one after the other.
struct Records {
    file: File,
    left: usize,
    buffer: &'static mut [u8; MAX_RECORD],
}

impl Records {
    fn next(&mut self) -> Result<Option<(Micros, Step)>, &'static str> {
        const CUT: fn(HostError) -> &'static str = |_| "the trace is cut off";
        if self.left == 0 {
            return Ok(None);
        }
        let mut head = [0; HEAD];
        self.file.read(&mut head).map_err(CUT)?;
        let (now, kind, length) = trace::head(&head);
        let bytes = self.buffer.get_mut(..length).ok_or("a record is too long")?;
        self.file.read(bytes).map_err(CUT)?;
        self.left = self.left.checked_sub(HEAD + length).ok_or("the trace is cut off")?;
        trace::read(kind, bytes).map(|step| Some((now, step))).ok_or("a record says nothing")
    }
}

fn replay(machine: &mut Machine) -> Result<(), &'static str> {
    let mut arguments_buffer = [0; File::MAX_PATH];
    let told = arguments(&mut arguments_buffer).map_err(|_| "no arguments")?;
    let (what, path) = told.split_once(' ').ok_or(ARGUMENTS)?;
    let file = File::read_only(path).map_err(|_| "there is no such trace")?;
    let left = file.length().map_err(|_| "there is no such trace")?;
    let mut records = Records { file, left, buffer: RECORD.init([0; MAX_RECORD]) };
    let mut player = Player::default();
    let ecu = loop {
        let (now, step) = records.next()?.ok_or("nobody boots")?;
        if let Some(ecu) = player.prepare(now, step) {
            break ECU.init(ecu);
        }
    };
    match what {
        "show" => show(ecu, &mut records),
        "count" | "list" => count(machine, ecu, &mut records, what == "list"),
        _ => Err(ARGUMENTS),
    }
}

/// Prints every effect.
fn show(ecu: &mut Ecu<SoftKeys>, records: &mut Records) -> Result<(), &'static str> {
    let line = LINE.init(String::new());
    while let Some((now, step)) = records.next()? {
        match step {
            Step::Input(input) => ecu.handle(now, input),
            Step::Poll => {
                while let Some(effect) = ecu.poll() {
                    line.clear();
                    let written: fmt::Result = write!(line, "{} {effect:?}", now.0);
                    written.map_err(|_| "an effect is too long")?;
                    hprintln!("{}", line);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Ticks of a part of a trace, and its calls.
#[derive(Default)]
struct Sum {
    ticks: u64,
    calls: u32,
    longest: u64,
}

impl Sum {
    fn add(&mut self, ticks: u64, calls: u32) {
        self.ticks += ticks;
        self.calls += calls;
        self.longest = self.longest.max(ticks);
    }

    #[inline(never)]
    fn print(&self, mark: u8) {
        let (instructions, longest) = (self.ticks * PER_TICK, self.longest * PER_TICK);
        hprintln!("part={} instructions={} inputs={} longest={}", mark, instructions, self.calls, longest);
    }
}

/// Counts what each part takes: all inputs and all polls, neither the reading of the trace nor what would carry out effects.
fn count(
    machine: &mut Machine,
    ecu: &mut Ecu<SoftKeys>,
    records: &mut Records,
    list: bool,
) -> Result<(), &'static str> {
    let (mut sum, mut part) = (Sum::default(), 0);
    // what the clock itself takes
    let empty = (0..1000).map(|_| ticks(machine, || {})).sum::<u64>();
    let empty = |calls: u64| empty * calls / 1000;
    let mut measured = 0;
    while let Some((now, step)) = records.next()? {
        match step {
            Step::Input(input) => {
                let what = list.then(|| name(&input));
                let took = ticks(machine, || handle(ecu, now, input));
                if let Some(what) = what {
                    hprintln!("part={} {} {}", part, what, took * PER_TICK);
                }
                sum.add(took, 1);
                measured += 1;
            }
            Step::Poll => {
                let took = ticks(machine, || poll(ecu));
                if list {
                    hprintln!("part={} poll {}", part, took * PER_TICK);
                }
                sum.add(took, 0);
                measured += 1;
            }
            Step::Mark(next) => {
                sum.ticks = sum.ticks.saturating_sub(empty(measured));
                sum.print(part);
                (sum, part, measured) = (Sum::default(), next, 0);
            }
            _ => {}
        }
    }
    sum.ticks = sum.ticks.saturating_sub(empty(measured));
    sum.print(part);
    Ok(())
}

/// An input in a word; for a frame of the mesh the kind of its message.
fn name(input: &Input) -> &'static str {
    let Input::Bus(BusEvent::Received { frame, .. }) = input else {
        return match input {
            Input::Bus(BusEvent::Transmitted { .. }) => "transmitted",
            Input::Persisted(_) => "persisted",
            Input::Tick => "tick",
            Input::GrantChecked(..) => "grant-checked",
            _ => "other",
        };
    };
    match Header::parse(frame.data()).map(|header| header.kind) {
        Some(Kind::Propose) => "propose",
        Some(Kind::Prevote) => "prevote",
        Some(Kind::Precommit) => "precommit",
        Some(_) => "message",
        None => "segment",
    }
}

#[inline(never)]
fn handle(ecu: &mut Ecu<SoftKeys>, now: Micros, input: Input) {
    ecu.handle(now, input);
}

#[inline(never)]
fn poll(ecu: &mut Ecu<SoftKeys>) {
    while let Some(effect) = ecu.poll() {
        black_box(&effect); // looked at where it is
    }
}

fn ticks(machine: &mut Machine, operation: impl FnOnce()) -> u64 {
    let begin = machine.ticks();
    operation();
    machine.ticks() - begin
}

fn end(status: debug::ExitStatus) -> ! {
    debug::exit(status);
    loop {
        cortex_m::asm::wfi();
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    heprintln!("{}", info);
    end(EXIT_FAILURE)
}
