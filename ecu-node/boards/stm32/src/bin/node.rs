//! The ECU. What has to be quick runs in interrupts, signatures in what is left of the time:
//!
//! | priority | what |
//! |---|---|
//! | high | FDCAN1: frames into a queue and out of it |
//! | low | the pump with the journal, in an interrupt that nothing else uses; it feeds the watchdog |
//! | none | Ed25519 |
#![no_std]
#![no_main]

use core::cell::RefCell;

use device_chain::keys::{Device, SoftKeys};
use device_chain::mac::Suite;
use device_chain::registry::Registry;
use device_chain::sign::SigningKey;
use device_chain::types::Micros;
use device_chain::validator::Boot;
use ecu_node::solo::{Outcome, Solo, Work};
use ecu_node::{Ecu, Input, keyfile, provision};
use ecu_stm32::bus::Bus;
use ecu_stm32::chip::{self, CanRx, CanTx, Interrupts, Watchdog};
use ecu_stm32::counter::BackupCounter;
use ecu_stm32::flash::{JournalFlash, Shared};
use ecu_stm32::log;
use embassy_executor::{Executor, InterruptExecutor};
use embassy_futures::select::select3;
use embassy_stm32::can::OperatingMode;
use embassy_stm32::flash::{Blocking, Flash};
use embassy_stm32::interrupt::{self, InterruptExt, Priority};
use embassy_stm32::rng::Rng;
use embassy_stm32::wdg::IndependentWatchdog;
use embassy_stm32::{Peri, peripherals};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::channel::Channel;
use embassy_sync::signal::Signal;
use embassy_time::{Instant, Timer};
use static_cell::{ConstStaticCell, StaticCell};

type Node = Solo<'static, SoftKeys, JournalFlash, BackupCounter>;

/// Priorities of interrupts, in the upper four bits: the lower one interrupts the higher one.
const HIGH: u8 = 0x40;
const LOW: u8 = 0x80;
/// The pump looks at everything at least so often.
const PATIENCE_US: u64 = 250_000;

static ECU: ConstStaticCell<Ecu<SoftKeys>> = ConstStaticCell::new(Ecu::new(SoftKeys::new(Suite::Cmac)));
static NODE: StaticCell<Node> = StaticCell::new();
static FLASH: StaticCell<Shared> = StaticCell::new();
static SIGNER: StaticCell<Executor> = StaticCell::new();
static PUMP: InterruptExecutor = InterruptExecutor::new();
static IDENTITY: Signal<CriticalSectionRawMutex, SigningKey> = Signal::new();
static WORK: Channel<CriticalSectionRawMutex, Work, 1> = Channel::new();
static ANSWERS: Channel<CriticalSectionRawMutex, Input, 1> = Channel::new();

/// What the pump has to itself.
struct Parts {
    fdcan: Peri<'static, peripherals::FDCAN1>,
    rx: Peri<'static, CanRx>,
    tx: Peri<'static, CanTx>,
    flash: Peri<'static, peripherals::FLASH>,
    rng: Peri<'static, peripherals::RNG>,
    watchdog: Peri<'static, Watchdog>,
}

/// The interrupt of the pump: that of a UART which the board does not use.
#[embassy_stm32::interrupt]
#[allow(unsafe_code, reason = "the executor's interrupt, called from there and nowhere else")]
unsafe fn UART5() {
    // SAFETY: this is the interrupt that it was started with
    unsafe { PUMP.on_interrupt() }
}

#[cortex_m_rt::entry]
fn main() -> ! {
    log::start();
    let p = embassy_stm32::init(chip::config());
    let (fdcan, rx, tx, flash, rng, watchdog) = ecu_stm32::parts!(p);
    interrupt::FDCAN1_IT0.set_priority(Priority::from(HIGH));
    interrupt::UART5.set_priority(Priority::from(LOW));
    let parts = Parts { fdcan, rx, tx, flash, rng, watchdog };
    match pump(parts) {
        Ok(task) => PUMP.start(interrupt::UART5).spawn(task),
        Err(_) => log::line!("error: the pump runs already"),
    }
    SIGNER.init(Executor::new()).run(|spawner| {
        if let Ok(task) = sign() {
            spawner.spawn(task);
        }
    })
}

/// Makes and checks signatures while nothing else is to be done.
#[embassy_executor::task]
async fn sign() {
    let identity = IDENTITY.wait().await;
    loop {
        let work = WORK.receive().await;
        ANSWERS.send(work.run(&identity)).await;
    }
}

fn now() -> Micros {
    Micros(Instant::now().as_micros())
}

/// Opens what the end of the line has put into the flash, and the journal.
fn open(flash: Flash<'static, Blocking>, nonce: u64) -> Result<&'static mut Node, &'static str> {
    let provision = provision::parse(chip::provision()).ok_or("not provisioned")?;
    let ecu = ECU.take();
    let validator = ecu.validator_mut();
    validator.read_genesis(provision.genesis, &provision.maker).map_err(|_| "the genesis is not the maker's")?;
    let (registry, keys) = validator.keys_mut();
    keys.set_suite(registry.suite());
    let find = |own: &SigningKey| Registry::find(provision.genesis, &own.public());
    let (device, identity) =
        keyfile::load(provision.keys, registry, find, keys).map_err(|_| "the keys are damaged or of another car")?;
    let (Device::Validator(me), Some(identity)) = (device, identity) else {
        return Err("the keys are those of an endpoint");
    };
    validator.take_place(me).map_err(|_| "the genesis has no place for this device")?;

    if BackupCounter::is_empty() {
        log::line!("the counter is empty: the journal is believed as it is found");
    }
    let flash: &'static Shared = FLASH.init(RefCell::new(flash));
    let mut reopen = || Ok((JournalFlash::new(flash), BackupCounter::open()));
    let opened = ecu.recover(&mut reopen).map_err(|_| "the journal cannot be opened")?;
    let validator = ecu.validator_mut();
    let height = validator.state().height();
    validator.start(Boot { nonce }, now());
    log::line!("started validator={} height={} journal={:?}", me, height, opened.diagnosis);
    IDENTITY.signal(identity);
    Ok(NODE.init(Solo::new(ecu, opened.store)))
}

#[embassy_executor::task]
async fn pump(parts: Parts) {
    let mut watchdog = IndependentWatchdog::new(parts.watchdog, chip::WATCHDOG_US);
    watchdog.unleash();
    let nonce = ecu_stm32::nonce(&mut Rng::new(parts.rng, Interrupts));
    let node = match open(Flash::new_blocking(parts.flash), nonce) {
        Ok(node) => node,
        Err(what) => {
            log::line!("error: {}", what);
            loop {
                watchdog.pet();
                Timer::after_micros(PATIENCE_US).await;
            }
        }
    };
    let mut bus = Bus::start(parts.fdcan, parts.rx, parts.tx, OperatingMode::NormalOperationMode);
    loop {
        watchdog.pet();
        carry_out(&mut bus, node);
        let at = now();
        let deadline = node.ecu().deadline();
        if let Some(event) = bus.event() {
            node.handle(at, Input::Bus(event));
        } else if deadline.is_some_and(|deadline| deadline <= at) {
            node.handle(at, Input::Tick);
        } else if let Ok(answer) = ANSWERS.try_receive() {
            node.handle(at, answer);
        } else if !node.keep(at) {
            if !WORK.is_full()
                && let Some(work) = node.next_work()
            {
                let _ = WORK.try_send(work); // nobody else sends
            }
            let until = deadline.map_or(at.0 + PATIENCE_US, |deadline| deadline.0.min(at.0 + PATIENCE_US));
            select3(bus.wait(), ANSWERS.ready_to_receive(), Timer::at(Instant::from_micros(until))).await;
        }
    }
}

/// Carries out every effect. What a decision moves is for the application of the ECU to add here; only live ones move anything.
fn carry_out(bus: &mut Bus, node: &mut Node) {
    while let Some(outcome) = node.poll(now()) {
        match outcome {
            Outcome::Bus(command) => bus.command(command),
            Outcome::Decided(decision) => log::line!(
                "decided height={} kind={} round={} live={}",
                decision.height,
                decision.tx.name(),
                decision.round,
                decision.live
            ),
            Outcome::Report(report) => log::line!("report {:?}", report),
            Outcome::Sealed(..) => {} // only a gateway asks for seals
        }
    }
}
