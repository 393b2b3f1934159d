//! STM32G474RE on a NUCLEO-G474RE: crystal of 24 MHz, 160 MHz.

use cortex_m_rt::exception;
use embassy_stm32::rcc::{Hse, HseMode, Pll, PllMul, PllPreDiv, PllQDiv, PllRDiv, PllSource, Sysclk, mux::Fdcansel};
use embassy_stm32::time::Hertz;
use embassy_stm32::{Config, pac, peripherals};
use journal::Geometry;

/// The pin to the transceiver's RXD.
pub type CanRx = peripherals::PA11;
/// The pin to the transceiver's TXD.
pub type CanTx = peripherals::PA12;
/// The watchdog.
pub type Watchdog = peripherals::IWDG;

/// 64 pages of 2 KiB, at the start of bank 2 (`memory/stm32g474.x`).
pub const JOURNAL: Geometry = Geometry { erase_size: 2 * 1024, write_size: 8, capacity: 128 * 1024 };
/// Where they begin.
pub const JOURNAL_ADDRESS: u32 = 0x0804_0000;
/// Where genesis and keys are: the end of bank 1.
pub const PROVISION_ADDRESS: usize = 0x0803_A000;
/// Room for them.
pub const PROVISION_SIZE: usize = 24 * 1024;
/// A whole bank of the journal erased and written takes a second.
pub const WATCHDOG_US: u32 = 4_000_000;

/// Clocks: PLL 320 MHz from the crystal, half of it for the core, a quarter for FDCAN; RNG from HSI48.
#[must_use]
pub fn config() -> Config {
    let mut config = Config::default();
    config.rcc.hse = Some(Hse { freq: Hertz(24_000_000), mode: HseMode::Oscillator });
    config.rcc.pll = Some(Pll {
        source: PllSource::HSE,
        prediv: PllPreDiv::DIV6,
        mul: PllMul::MUL80,
        divp: None,
        divq: Some(PllQDiv::DIV4),
        divr: Some(PllRDiv::DIV2),
    });
    config.rcc.sys = Sysclk::PLL1_R;
    config.rcc.boost = true;
    config.rcc.mux.fdcansel = Fdcansel::PLL1_Q;
    config
}

/// The pins of [`CanRx`] and [`CanTx`], the flash, and so on, out of all there are.
#[macro_export]
macro_rules! parts {
    ($p:ident) => {
        ($p.FDCAN1, $p.PA11, $p.PA12, $p.FLASH, $p.RNG, $p.IWDG)
    };
}

/// Word of the first receive FIFO, of the transmit events, of the transmit buffers.
pub(crate) mod message_ram {
    use embassy_stm32::pac::{FDCANRAM1, common};

    type Word = common::Reg<u32, common::RW>;

    pub fn receive(word: usize) -> Word {
        FDCANRAM1.rxfifo0(word)
    }

    pub fn event(word: usize) -> Word {
        FDCANRAM1.txefifo(word)
    }

    pub fn transmit(word: usize) -> Word {
        FDCANRAM1.txbuf(word)
    }
}

/// Asks to be told of frames that were taken back.
pub(crate) fn enable_cancellation_interrupts(buffers: usize) {
    pac::FDCAN1.txbcie().write(|w| (0..buffers).for_each(|buffer| w.set_cfie(buffer, true)));
}

/// Runs a read of the flash. Two wrong bits raise an NMI, which [`NonMaskableInt`] answers.
pub(crate) fn without_ecc_faults<R>(read: impl FnOnce() -> R) -> R {
    read()
}

/// Nothing is left that a program or an erase would mind: the driver clears it.
pub(crate) fn clear_flash_errors() {}

/// A torn unit of the journal was read: it reads as whatever it holds, and the journal's CRC finds that. Any other reason for an NMI is a
/// fault.
#[exception]
#[allow(unsafe_code, reason = "an exception handler is declared so; it touches one register, which nobody else does")]
unsafe fn NonMaskableInt() {
    let flags = pac::FLASH.eccr().read();
    if !flags.eccd() && !flags.eccd2() {
        cortex_m::peripheral::SCB::sys_reset();
    }
    pac::FLASH.eccr().modify(|w| {
        w.set_eccd(true);
        w.set_eccd2(true);
    });
}

/// Lets the backup registers be written: the driver has opened the backup domain already.
pub(crate) fn enable_backup_registers() {
    pac::RCC.apb1enr1().modify(|w| w.set_rtcapben(true));
}

pub(crate) fn read_backup(register: usize) -> u32 {
    pac::TAMP.bkpr(register).read().bkp()
}

pub(crate) fn write_backup(register: usize, value: u32) {
    pac::TAMP.bkpr(register).write(|w| w.set_bkp(value));
}
