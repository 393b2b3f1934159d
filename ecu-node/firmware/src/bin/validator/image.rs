//! The loop: bytes of the UART and the clock in, lines for the UART out.

use core::fmt::Write as _;
use core::panic::PanicInfo;

use can_bus::slcan::{Host, SETUP};
use cortex_m_semihosting::debug::{self, EXIT_FAILURE};
use cortex_m_semihosting::heprintln;
use device_chain::keys::{Device, SoftKeys};
use device_chain::mac::Suite;
use device_chain::registry::Registry;
use device_chain::sign::SigningKey;
use device_chain::types::{Micros, PublicKey};
use device_chain::validator::Boot;
use ecu_node::solo::{Outcome, Solo};
use ecu_node::{Ecu, Input, hex, keyfile};
use heapless::String;
use static_cell::{ConstStaticCell, StaticCell};

use crate::files::{FileCounter, FileFlash};
use crate::machine::{Event, File, HostError, Machine, arguments};

type Node = Solo<'static, SoftKeys, FileFlash, FileCounter>;

/// Longest genesis: as in the Linux process.
const MAX_GENESIS: usize = 64 * 1024;

static ECU: ConstStaticCell<Ecu<SoftKeys>> = ConstStaticCell::new(Ecu::new(SoftKeys::new(Suite::Cmac)));
static NODE: StaticCell<Node> = StaticCell::new();
static GENESIS: StaticCell<[u8; MAX_GENESIS]> = StaticCell::new();
static KEYS: StaticCell<[u8; keyfile::MAX_LENGTH]> = StaticCell::new();

#[cortex_m_rt::entry]
fn main() -> ! {
    let mut machine = Machine::start();
    match open(&mut machine) {
        Ok((node, identity)) => run(machine, NODE.init(node), &identity),
        Err(what) => heprintln!("error: {}", what),
    }
    end()
}

/// The whole of a file of the host.
fn read<'b>(path: &str, buffer: &'b mut [u8]) -> Result<&'b [u8], HostError> {
    let mut file = File::read_only(path)?;
    let bytes = buffer.get_mut(..file.length()?).ok_or(HostError)?;
    file.read(bytes)?;
    Ok(bytes)
}

/// Opens the files of the device that the arguments name, in the folder of the emulator.
fn open(machine: &mut Machine) -> Result<(Node, SigningKey), &'static str> {
    let mut buffer = [0; File::MAX_PATH];
    let arguments = arguments(&mut buffer).ok().and_then(|text| text.split_once(' '));
    let (keys, name) = arguments.ok_or("no device named: -semihosting-config arg=KEYS,arg=NAME")?;
    let path = |end: &str| {
        let mut path = String::<{ File::MAX_PATH }>::new();
        write!(path, "{name}{end}").map(|()| path).map_err(|_| "the name is too long")
    };
    let mut text = [0; 128];
    let text = read("maker.pub", &mut text).map_err(|_| "maker.pub cannot be read")?;
    let maker = core::str::from_utf8(text).ok().and_then(hex::from_hex).ok_or("maker.pub holds no public key")?;
    let bytes = read("genesis.bin", GENESIS.init([0; MAX_GENESIS])).map_err(|_| "genesis.bin cannot be read")?;
    let file = read(keys, KEYS.init([0; keyfile::MAX_LENGTH])).map_err(|_| "the keys cannot be read")?;
    let ecu = ECU.take();
    let validator = ecu.validator_mut();
    validator.read_genesis(bytes, &PublicKey(maker)).map_err(|_| "genesis.bin is not the maker's")?;
    let (registry, keys) = validator.keys_mut();
    keys.set_suite(registry.suite());
    let (device, identity) = keyfile::load(file, registry, |own| Registry::find(bytes, &own.public()), keys)
        .map_err(|_| "the keys are damaged or of another car")?;
    let (Device::Validator(me), Some(identity)) = (device, identity) else {
        return Err("the keys are those of an endpoint");
    };
    validator.take_place(me).map_err(|_| "the genesis has no place for this device")?;

    let (flash, counter) = (path("/journal.bin")?, path(".counter")?);
    let mut reopen = || Ok((FileFlash::open(&flash)?, FileCounter::open(&counter)?));
    let opened = ecu.recover(&mut reopen).map_err(|_| "journal.bin or its counter cannot be opened")?;
    let mut nonce = [0; 8];
    // a board has a random number generator
    File::read_only("/dev/urandom").and_then(|mut file| file.read(&mut nonce)).map_err(|_| "no randomness")?;
    let boot = Boot { nonce: u64::from_le_bytes(nonce) };
    let validator = ecu.validator_mut();
    let height = validator.state().height();
    validator.start(boot, machine.now());
    heprintln!("started name={} height={} journal={:?}", name, height, opened.diagnosis);
    Ok((Solo::new(ecu, opened.store), identity))
}

fn run(mut machine: Machine, node: &mut Node, identity: &SigningKey) -> ! {
    let mut bus = Host::new();
    machine.send(SETUP);
    loop {
        carry_out(&mut machine, &mut bus, node);
        if !node.work(machine.now(), identity) {
            let input = next_input(&mut machine, &mut bus, node.ecu().deadline());
            node.handle(machine.now(), input);
        }
    }
}

/// Waits for a whole line of the bus, or the deadline. A byte alone costs as little as can be: the emulator hands over one at a time.
fn next_input(machine: &mut Machine, bus: &mut Host, deadline: Option<Micros>) -> Input {
    loop {
        match machine.wait(deadline) {
            Event::Received(byte) => {
                if let Some(event) = bus.receive(byte, || machine.now().0) {
                    return Input::Bus(event);
                }
            }
            Event::Time => return bus.expire(machine.now().0).map_or(Input::Tick, Input::Bus),
        }
    }
}

/// Carries out every effect.
fn carry_out(machine: &mut Machine, bus: &mut Host, node: &mut Node) {
    loop {
        let now = machine.now();
        while let Some(outcome) = node.poll(now) {
            match outcome {
                Outcome::Bus(command) => {
                    if let Some(event) = bus.command(command) {
                        node.handle(now, Input::Bus(event));
                    }
                }
                Outcome::Decided(decision) => heprintln!(
                    "decided height={} kind={} round={} live={}",
                    decision.height,
                    decision.tx.name(),
                    decision.round,
                    decision.live
                ),
                Outcome::Report(report) => heprintln!("report {:?}", report),
                Outcome::Sealed(..) => {} // only a gateway asks for seals
            }
        }
        match bus.transmit(now.0) {
            Some(line) => machine.send(&line),
            None => return,
        }
    }
}

fn end() -> ! {
    debug::exit(EXIT_FAILURE);
    loop {
        cortex_m::asm::wfi();
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    heprintln!("{}", info);
    end()
}
