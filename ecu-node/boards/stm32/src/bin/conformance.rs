//! Tries every port of the board and says over the debug probe what came of it. The journal and the counter are lost.
//!
//! FDCAN1 is in loopback: no transceiver and no bus are needed.
#![no_std]
#![no_main]

use core::cell::RefCell;

use can_bus::port::{BusCommand, BusEvent};
use can_bus::timing::BitTiming;
use device_chain::keys::{Device, SoftKeys};
use device_chain::mac::{Key, Suite};
use device_chain::types::Micros;
use ecu_node::conformance::{self, Loopback, Results, TEST_KEY, TEST_PEER};
use ecu_stm32::bus::Bus;
use ecu_stm32::chip::{self, Interrupts};
use ecu_stm32::counter::BackupCounter;
use ecu_stm32::flash::{JournalFlash, Shared};
use ecu_stm32::log;
use embassy_stm32::can::OperatingMode;
use embassy_stm32::flash::Flash;
use embassy_stm32::rng::Rng;
use embassy_time::{Duration, Instant};
use static_cell::StaticCell;

static FLASH: StaticCell<Shared> = StaticCell::new();
/// How long the bus is silent until nothing more is awaited.
const SILENCE: Duration = Duration::from_millis(100);

struct Looped(Bus);

impl Loopback for Looped {
    fn command(&mut self, command: BusCommand) {
        self.0.command(command);
    }

    fn event(&mut self) -> Option<BusEvent> {
        let until = Instant::now() + SILENCE;
        loop {
            let event = self.0.event();
            if event.is_some() || Instant::now() > until {
                return event;
            }
        }
    }
}

#[cortex_m_rt::entry]
fn main() -> ! {
    log::start();
    let p = embassy_stm32::init(chip::config());
    let (fdcan, rx, tx, flash, rng, _watchdog) = ecu_stm32::parts!(p);
    let mut results = Results::new();

    let flash: &'static Shared = FLASH.init(RefCell::new(Flash::new_blocking(flash)));
    conformance::flash(&mut JournalFlash::new(flash), &mut results);
    conformance::counter(&mut || Ok(BackupCounter::open()), &mut results);
    conformance::journal(&mut || Ok((JournalFlash::new(flash), BackupCounter::open())), &mut results);
    BackupCounter::clear();

    for suite in [Suite::Blake2s, Suite::Cmac] {
        let mut keys = SoftKeys::new(suite);
        keys.load(Device::Validator(TEST_PEER), Key::new(TEST_KEY));
        conformance::keys(&mut keys, suite, &mut results);
    }
    let mut rng = Rng::new(rng, Interrupts);
    conformance::random(&mut || Some(ecu_stm32::nonce(&mut rng)), &mut results);
    conformance::clock(&mut || Micros(Instant::now().as_micros()), &mut results);
    let bus = Bus::start(fdcan, rx, tx, OperatingMode::InternalLoopbackMode);
    conformance::bus(&mut Looped(bus), BitTiming::FD_500K_2M, &mut results);

    for (name, passed) in results.iter() {
        log::line!("{} {}", if passed { "ok  " } else { "FAIL" }, name);
    }
    log::line!("conformance: {}", if results.passed() { "passed" } else { "FAILED" });
    loop {
        cortex_m::asm::wfi();
    }
}
