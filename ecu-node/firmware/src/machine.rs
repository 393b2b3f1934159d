//! The emulated board, and all `unsafe` of these images: registers of the ARM CMSDK peripherals, and calls to the host (semihosting).
#![allow(unsafe_code, reason = "registers lie at addresses, and the host is called by a breakpoint")]

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;
use cortex_m_semihosting::{nr, syscall};
use device_chain::types::Micros;

/// Clock of the peripherals.
const TICKS_PER_US: u64 = 25;
/// Longest sleep: well below the 171 s in which a timer goes round.
const MAX_SLEEP_US: u64 = 10_000_000;

/// Peripherals by their address.
#[derive(Clone, Copy)]
#[repr(usize)]
enum Block {
    Clock = 0x4000_0000,
    Alarm = 0x4000_1000,
    Uart = 0x4000_4000,
}

impl Block {
    fn register(self, offset: usize) -> *mut u32 {
        (self as usize + offset) as *mut u32
    }

    fn read(self, offset: usize) -> u32 {
        // SAFETY: the offsets below are those of registers of the block, and reading them moves no memory
        unsafe { self.register(offset).read_volatile() }
    }

    fn write(self, offset: usize, value: u32) {
        // SAFETY: as above; no register starts a transfer to memory
        unsafe { self.register(offset).write_volatile(value) }
    }
}

/// Registers of a timer, which counts down.
const TIMER_CONTROL: usize = 0x0;
const TIMER_VALUE: usize = 0x4;
const TIMER_RELOAD: usize = 0x8;
const TIMER_INTERRUPT: usize = 0xC;
const TIMER_ENABLED: u32 = 1;
const TIMER_INTERRUPTS: u32 = 1 << 3;
/// Registers of a UART.
const UART_DATA: usize = 0x0;
const UART_STATE: usize = 0x4;
const UART_CONTROL: usize = 0x8;
const UART_INTERRUPT: usize = 0xC;
const UART_DIVIDER: usize = 0x10;
const UART_SEND_FULL: u32 = 1;
const UART_RECEIVED: u32 = 1 << 1;
const UART_BOTH_WAYS: u32 = 0b11;
const UART_RECEIVE_INTERRUPT: u32 = 1 << 3;
/// The smallest that the peripheral allows; the emulator does not care.
const DIVIDER: u32 = 16;

/// What ends a sleep. Interrupts stay masked: none has a handler.
#[derive(Clone, Copy)]
enum Wake {
    Received = 0,
    Alarm = 9,
}

// SAFETY: the numbers are those of the board
unsafe impl InterruptNumber for Wake {
    fn number(self) -> u16 {
        self as u16
    }
}

/// UART and timers, set up once.
pub struct Machine {
    ticks: u64,
    last: u32,
    /// Until when the alarm is set, if it is.
    alarm: Option<Option<Micros>>,
}

/// What ended a wait.
pub enum Event {
    /// A byte came in.
    Received(u8),
    /// The moment has come.
    Time,
}

impl Machine {
    /// Starts the clock at 0 and opens the UART.
    pub fn start() -> Self {
        cortex_m::interrupt::disable();
        Block::Clock.write(TIMER_RELOAD, u32::MAX);
        Block::Clock.write(TIMER_VALUE, u32::MAX);
        Block::Clock.write(TIMER_CONTROL, TIMER_ENABLED);
        Block::Uart.write(UART_DIVIDER, DIVIDER);
        Block::Uart.write(UART_CONTROL, UART_BOTH_WAYS | UART_RECEIVE_INTERRUPT);
        for wake in [Wake::Received, Wake::Alarm] {
            // SAFETY: they are masked, and only end a sleep
            unsafe { NVIC::unmask(wake) };
        }
        Self { ticks: 0, last: u32::MAX, alarm: None }
    }

    /// Time since the start.
    pub fn now(&mut self) -> Micros {
        Micros(self.ticks() / TICKS_PER_US)
    }

    /// Ticks of the clock since the start, 25 in a microsecond.
    pub fn ticks(&mut self) -> u64 {
        let value = Block::Clock.read(TIMER_VALUE);
        self.ticks += u64::from(self.last.wrapping_sub(value));
        self.last = value;
        self.ticks
    }

    fn receive(&mut self) -> Option<u8> {
        let received = Block::Uart.read(UART_STATE) & UART_RECEIVED != 0;
        received.then(|| Block::Uart.read(UART_DATA) as u8)
    }

    /// Sends bytes; waits for the line.
    pub fn send(&mut self, bytes: &[u8]) {
        for byte in bytes {
            while Block::Uart.read(UART_STATE) & UART_SEND_FULL != 0 {}
            Block::Uart.write(UART_DATA, u32::from(*byte));
        }
    }

    /// Sleeps until a byte comes in, or that moment.
    pub fn wait(&mut self, until: Option<Micros>) -> Event {
        loop {
            if let Some(byte) = self.receive() {
                return Event::Received(byte);
            }
            if self.alarm != Some(until) && !self.set_alarm(until) {
                return Event::Time;
            }
            cortex_m::asm::wfi();
            // whatever comes in from here on is pending again, or seen above
            Block::Uart.write(UART_INTERRUPT, UART_RECEIVED);
            NVIC::unpend(Wake::Received);
            if NVIC::is_pending(Wake::Alarm) {
                Block::Alarm.write(TIMER_CONTROL, 0);
                Block::Alarm.write(TIMER_INTERRUPT, 1);
                NVIC::unpend(Wake::Alarm);
                self.alarm = None;
                return Event::Time;
            }
        }
    }

    /// False if it is too late for an alarm.
    fn set_alarm(&mut self, until: Option<Micros>) -> bool {
        let now = self.now();
        let sleep_us = until.map_or(MAX_SLEEP_US, |until| until.0.saturating_sub(now.0).min(MAX_SLEEP_US));
        let ticks = (sleep_us * TICKS_PER_US) as u32;
        Block::Alarm.write(TIMER_RELOAD, ticks);
        Block::Alarm.write(TIMER_VALUE, ticks);
        Block::Alarm.write(TIMER_CONTROL, if ticks == 0 { 0 } else { TIMER_ENABLED | TIMER_INTERRUPTS });
        self.alarm = (ticks != 0).then_some(until);
        ticks != 0
    }
}

/// The host does not do what it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostError;

/// An open file of the host.
pub struct File(usize);

impl File {
    /// Opens a file that exists, to be read.
    pub fn read_only(path: &str) -> Result<Self, HostError> {
        Self::open(path, nr::open::R_BINARY)
    }

    /// Opens a file that exists, to be read and written.
    pub fn read_write(path: &str) -> Result<Self, HostError> {
        Self::open(path, nr::open::RW_BINARY)
    }

    fn open(path: &str, mode: usize) -> Result<Self, HostError> {
        let mut name = heapless::String::<{ Self::MAX_PATH + 1 }>::new();
        if path.len() > Self::MAX_PATH || name.push_str(path).and_then(|()| name.push('\0')).is_err() {
            return Err(HostError);
        }
        // SAFETY: the host reads a name that lives
        let handle = unsafe { syscall!(OPEN, name.as_ptr(), mode, path.len()) };
        if handle == usize::MAX { Err(HostError) } else { Ok(Self(handle)) }
    }

    /// Longest path.
    pub const MAX_PATH: usize = 255;

    /// Bytes in it.
    pub fn length(&self) -> Result<usize, HostError> {
        // SAFETY: no memory is passed
        let length = unsafe { syscall!(FLEN, self.0) };
        if length == usize::MAX { Err(HostError) } else { Ok(length) }
    }

    /// Fills `bytes` from where the last call ended.
    pub fn read(&mut self, bytes: &mut [u8]) -> Result<(), HostError> {
        // SAFETY: the host writes into memory that is ours alone meanwhile
        let missing = unsafe { syscall!(READ, self.0, bytes.as_mut_ptr(), bytes.len()) };
        if missing == 0 { Ok(()) } else { Err(HostError) }
    }

    /// Fills `bytes` from `offset` on.
    pub fn read_at(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), HostError> {
        self.seek(offset).and_then(|()| self.read(bytes))
    }

    /// Writes `bytes` from `offset` on.
    pub fn write_at(&mut self, offset: u32, bytes: &[u8]) -> Result<(), HostError> {
        self.seek(offset)?;
        // SAFETY: the host reads memory that lives
        let missing = unsafe { syscall!(WRITE, self.0, bytes.as_ptr(), bytes.len()) };
        if missing == 0 { Ok(()) } else { Err(HostError) }
    }

    fn seek(&mut self, offset: u32) -> Result<(), HostError> {
        // SAFETY: no memory is passed
        let sought = unsafe { syscall!(SEEK, self.0, offset) };
        if sought == 0 { Ok(()) } else { Err(HostError) }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: no memory is passed, and the handle is not used again
        let _ = unsafe { syscall!(CLOSE, self.0) };
    }
}

/// What the image was started with (`-semihosting-config arg=...`).
pub fn arguments(buffer: &mut [u8]) -> Result<&str, HostError> {
    let mut block = [buffer.as_mut_ptr() as usize, buffer.len()];
    // SAFETY: the host writes no more than the buffer holds, and the length into the block, which is told to be written
    let failed = unsafe { cortex_m_semihosting::syscall1(nr::GET_CMDLINE, block.as_mut_ptr() as usize) };
    let length = core::hint::black_box(&block)[1];
    let text = buffer.get(..length).filter(|_| failed == 0).ok_or(HostError)?;
    core::str::from_utf8(text).map(|text| text.trim_end_matches('\0')).map_err(|_| HostError)
}
