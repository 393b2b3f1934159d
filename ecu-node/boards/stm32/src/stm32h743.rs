//! STM32H743ZI on a NUCLEO-H743ZI2: 8 MHz from the debug probe, 400 MHz.

use embassy_stm32::rcc::{
    AHBPrescaler, APBPrescaler, Hse, HseMode, Pll, PllDiv, PllMul, PllPreDiv, PllSource, Sysclk, VoltageScale,
    mux::Fdcansel,
};
use embassy_stm32::time::Hertz;
use embassy_stm32::{Config, pac, peripherals};
use journal::Geometry;

/// The pin to the transceiver's RXD.
pub type CanRx = peripherals::PD0;
/// The pin to the transceiver's TXD.
pub type CanTx = peripherals::PD1;
/// The watchdog.
pub type Watchdog = peripherals::IWDG1;

/// Two sectors of 128 KiB, the first ones of bank 2 (`memory/stm32h743.x`).
pub const JOURNAL: Geometry = Geometry { erase_size: 128 * 1024, write_size: 32, capacity: 256 * 1024 };
/// Where they begin.
pub const JOURNAL_ADDRESS: u32 = 0x0810_0000;
/// Where genesis and keys are: the last sector of bank 1.
pub const PROVISION_ADDRESS: usize = 0x080E_0000;
/// Room for them.
pub const PROVISION_SIZE: usize = 128 * 1024;
/// A sector takes up to four seconds to erase.
pub const WATCHDOG_US: u32 = 10_000_000;

/// Clocks: PLL 800 MHz, half of it for the core, a tenth for FDCAN; RNG from HSI48. 400 MHz suits every revision of the chip.
#[must_use]
pub fn config() -> Config {
    let mut config = Config::default();
    config.rcc.hse = Some(Hse { freq: Hertz(8_000_000), mode: HseMode::Bypass });
    config.rcc.pll1 = Some(Pll {
        source: PllSource::HSE,
        prediv: PllPreDiv::DIV4,
        mul: PllMul::MUL400,
        fracn: None,
        divp: Some(PllDiv::DIV2),
        divq: Some(PllDiv::DIV10),
        divr: None,
    });
    config.rcc.sys = Sysclk::PLL1_P;
    config.rcc.ahb_pre = AHBPrescaler::DIV2;
    config.rcc.apb1_pre = APBPrescaler::DIV2;
    config.rcc.apb2_pre = APBPrescaler::DIV2;
    config.rcc.apb3_pre = APBPrescaler::DIV2;
    config.rcc.apb4_pre = APBPrescaler::DIV2;
    config.rcc.voltage_scale = VoltageScale::Scale1;
    config.rcc.mux.fdcansel = Fdcansel::PLL1_Q;
    config
}

/// The pins of [`CanRx`] and [`CanTx`], the flash, and so on, out of all there are.
#[macro_export]
macro_rules! parts {
    ($p:ident) => {
        ($p.FDCAN1, $p.PD0, $p.PD1, $p.FLASH, $p.RNG, $p.IWDG1)
    };
}

/// Word of the first receive FIFO, of the transmit events, of the transmit buffers. The driver lays the RAM out as an STM32G4 has it.
pub(crate) mod message_ram {
    use embassy_stm32::pac::{FDCANRAM, common};

    type Word = common::Reg<u32, common::RW>;

    /// Words of 28 filters for 11-bit identifiers and 8 for 29-bit ones.
    const FILTERS: usize = 28 + 2 * 8;
    /// Words of a receive FIFO of three elements; there are two.
    const FIFO: usize = 3 * can_bus::mcan::ELEMENT;
    const EVENTS: usize = FILTERS + 2 * FIFO;
    const BUFFERS: usize = EVENTS + 3 * can_bus::mcan::EVENT;

    pub fn receive(word: usize) -> Word {
        FDCANRAM.ram(FILTERS + word)
    }

    pub fn event(word: usize) -> Word {
        FDCANRAM.ram(EVENTS + word)
    }

    pub fn transmit(word: usize) -> Word {
        FDCANRAM.ram(BUFFERS + word)
    }
}

/// Asks to be told of frames that were taken back.
pub(crate) fn enable_cancellation_interrupts(buffers: usize) {
    pac::FDCAN1.txbcie().write(|w| (0..buffers).for_each(|buffer| w.set_cf(buffer, true)));
}

/// SCB_CCR: handlers at the priority of a hard fault ignore faults of the bus.
const BFHFNMIGN: u32 = 1 << 8;

/// Runs a read of the flash. Two wrong bits are a fault of the bus, which is ignored meanwhile: a torn unit of the journal reads as whatever
/// comes, and the journal's CRC finds that. Interrupts wait, for as long as a record is.
#[expect(unsafe_code, reason = "FAULTMASK and CCR have no safe access")]
pub(crate) fn without_ecc_faults<R>(read: impl FnOnce() -> R) -> R {
    // SAFETY: the register exists; one bit of it is changed, which nobody else does, with interrupts off.
    let ccr = unsafe { &(*cortex_m::peripheral::SCB::PTR).ccr };
    // SAFETY: it only raises the priority of what follows, and is taken back below: `read` does not panic.
    unsafe { core::arch::asm!("cpsid f") };
    // SAFETY: as above
    unsafe { ccr.modify(|value| value | BFHFNMIGN) };
    cortex_m::asm::dsb();
    cortex_m::asm::isb();
    let result = read();
    cortex_m::asm::dsb();
    // SAFETY: as above
    unsafe { ccr.modify(|value| value & !BFHFNMIGN) };
    // SAFETY: what was before
    unsafe { core::arch::asm!("cpsie f") };
    clear_flash_errors();
    result
}

/// Flags of errors of bank 2, FLASH_CCR2: writing 1 clears. The driver takes a flag that an earlier read has left for a failure of its own.
const FLASH_ERRORS: u32 = 0b0000_0111_1110_1111 << 16;

/// Clears them.
pub(crate) fn clear_flash_errors() {
    pac::FLASH.bank(1).ccr().write(|w| w.0 = FLASH_ERRORS);
}

/// Lets the backup registers be written: the driver has opened the backup domain already.
pub(crate) fn enable_backup_registers() {
    pac::RCC.apb4enr().modify(|w| w.set_rtcapben(true));
}

pub(crate) fn read_backup(register: usize) -> u32 {
    pac::RTC.bkpr(register).read().bkp()
}

pub(crate) fn write_backup(register: usize, value: u32) {
    pac::RTC.bkpr(register).write(|w| w.set_bkp(value));
}
