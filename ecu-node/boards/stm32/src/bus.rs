//! The bus port over FDCAN1.
//!
//! The driver of embassy-stm32 sets the controller up; sending and receiving is done here, for the port asks for more than it offers: which
//! frame was sent, taking a frame back, and one order of what was sent and received. The interrupt moves frames into a queue, so that the
//! ECU may be busy for the time of many frames. Every frame is received: the identifier plan sorts them.

use core::cell::RefCell;
use core::mem;

use can_bus::frame::Frame;
use can_bus::mailbox::{Controller, Mailboxes};
use can_bus::mcan;
use can_bus::port::{BusCommand, BusEvent, ErrorState};
use critical_section::Mutex;
use embassy_stm32::can::config::{FrameTransmissionConfig, TxBufferMode};
use embassy_stm32::can::{Can, CanConfigurator, OperatingMode};
use embassy_stm32::interrupt::typelevel;
use embassy_stm32::{Peri, pac, peripherals};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::signal::Signal;
use embassy_time::Instant;
use heapless::Deque;

use crate::chip::{self, CanRx, CanTx, Interrupts, message_ram};

/// Transmit buffers of the controller.
const BUFFERS: usize = 3;
/// Events that wait for the ECU: 30 ms of the longest frames at 500 kbit/s and 2 Mbit/s.
const EVENTS: usize = 64;

const FDCAN: pac::can::Fdcan = pac::FDCAN1;

static STATE: Mutex<RefCell<State>> = Mutex::new(RefCell::new(State::new()));
static WAKE: Signal<CriticalSectionRawMutex, ()> = Signal::new();

struct State {
    mailboxes: Mailboxes<BUFFERS>,
    events: Deque<BusEvent, EVENTS>,
    lost: u32,
    error_state: ErrorState,
    error_state_told: ErrorState,
}

impl State {
    const fn new() -> Self {
        Self {
            mailboxes: Mailboxes::new(),
            events: Deque::new(),
            lost: 0,
            error_state: ErrorState::Active,
            error_state_told: ErrorState::Active,
        }
    }

    /// Queues a frame that came in. Room is kept for the answer to every frame that is to go out.
    fn received(&mut self, frame: Frame) {
        let event = BusEvent::Received { segment: 0, at_us: Instant::now().as_micros(), frame };
        if self.events.len() + self.mailboxes.outstanding() >= EVENTS || self.events.push_back(event).is_err() {
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// Queues the answer to a frame. Only a node that has more frames waiting than there is room for can lose one.
    fn answer(&mut self, event: Option<BusEvent>) {
        if let Some(event) = event
            && self.events.push_back(event).is_err()
        {
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// Takes what both FIFOs hold, in the order of the wire.
    fn take_all(&mut self) {
        loop {
            let receive = FDCAN.rxfs(0).read();
            let sent = FDCAN.txefs().read();
            let received = (receive.ffl() > 0).then(|| {
                let first = usize::from(receive.fgi()) * mcan::ELEMENT;
                mcan::received(|word| message_ram::receive(first + word).read())
            });
            let transmitted = (sent.effl() > 0).then(|| {
                let first = usize::from(sent.efgi()) * mcan::EVENT;
                mcan::sent(message_ram::event(first + 1).read())
            });
            match (received, transmitted) {
                (None, None) => return,
                (Some(Some(earlier)), Some((_, later))) if mcan::is_before(earlier.timestamp, later) => {
                    self.received(earlier.frame);
                    FDCAN.rxfa(0).write(|w| w.set_fai(receive.fgi()));
                }
                (_, Some((buffer, _))) => {
                    FDCAN.txefa().write(|w| w.set_efai(sent.efgi()));
                    let answer = self.mailboxes.done(&mut Registers, buffer.into(), true);
                    self.answer(answer);
                }
                (Some(element), None) => {
                    if let Some(element) = element {
                        self.received(element.frame);
                    }
                    FDCAN.rxfa(0).write(|w| w.set_fai(receive.fgi()));
                }
            }
        }
    }

    /// Frames that were taken back before they were sent.
    fn take_cancelled(&mut self) {
        for buffer in 0..BUFFERS {
            let gone = !FDCAN.txbrp().read().trp(buffer)
                && FDCAN.txbcf().read().cf(buffer)
                && !FDCAN.txbto().read().to(buffer);
            if gone && self.mailboxes.is_cancelling(buffer) {
                let answer = self.mailboxes.done(&mut Registers, buffer, false);
                self.answer(answer);
            }
        }
    }
}

/// The transmit buffers.
struct Registers;

impl Controller for Registers {
    fn request(&mut self, buffer: usize, frame: &Frame) {
        for (word, value) in (buffer * mcan::ELEMENT..).zip(mcan::transmit_element(frame, buffer as u8)) {
            message_ram::transmit(word).write_value(value);
        }
        FDCAN.txbar().write(|w| w.set_ar(buffer, true));
    }

    fn cancel(&mut self, buffer: usize) {
        FDCAN.txbcr().write(|w| w.set_cr(buffer, true));
    }
}

/// What the controller's interrupt does beside what the driver does.
pub struct FromController;

impl typelevel::Handler<typelevel::FDCAN1_IT0> for FromController {
    #[expect(unsafe_code, reason = "declared so; it is called from that interrupt only")]
    unsafe fn on_interrupt() {
        let lost = FDCAN.ir().read().rfl(0);
        FDCAN.ir().write(|w| {
            w.set_rfl(0, true);
            w.set_tcf(true);
            w.set_ep(true);
            w.set_ew(true);
        });
        let status = FDCAN.psr().read();
        critical_section::with(|cs| {
            let mut state = STATE.borrow_ref_mut(cs);
            state.take_all();
            state.take_cancelled();
            state.lost = state.lost.saturating_add(lost.into());
            state.error_state = match (status.bo(), status.ep(), status.ew()) {
                (true, _, _) => ErrorState::BusOff,
                (_, true, _) => ErrorState::Passive,
                (_, _, true) => ErrorState::Warning,
                _ => ErrorState::Active,
            };
        });
        WAKE.signal(());
    }
}

/// The bus.
pub struct Bus {
    /// Dropped, it would give the pins back.
    _can: Can<'static>,
}

impl Bus {
    /// Starts the controller: 500 kbit/s, 2 Mbit/s in the data phase; after bus-off it comes back by itself once it has seen 128 times
    /// eleven recessive bits.
    #[must_use]
    pub fn start(
        fdcan: Peri<'static, peripherals::FDCAN1>,
        rx: Peri<'static, CanRx>,
        tx: Peri<'static, CanTx>,
        mode: OperatingMode,
    ) -> Self {
        let mut configurator = CanConfigurator::new(fdcan, rx, tx, Interrupts);
        let mut config = configurator
            .config()
            .set_nominal_bit_timing(chip::NOMINAL)
            .set_data_bit_timing(chip::DATA)
            .set_automatic_bus_off_recovery(true);
        config.frame_transmit = FrameTransmissionConfig::AllowFdCanAndBRS;
        config.tx_buffer_mode = TxBufferMode::Priority;
        configurator.set_config(config);
        let can = configurator.start(mode);
        chip::enable_cancellation_interrupts(BUFFERS);
        FDCAN.ie().modify(|w| {
            w.set_tefne(true);
            w.set_tcfe(true);
            w.set_rfle(0, true);
            w.set_epe(true);
            w.set_ewe(true);
        });
        Self { _can: can }
    }

    /// Takes a command.
    pub fn command(&mut self, command: BusCommand) {
        critical_section::with(|cs| {
            let mut state = STATE.borrow_ref_mut(cs);
            let answer = state.mailboxes.command(&mut Registers, command);
            state.answer(answer);
        });
    }

    /// The next event, if there is one.
    pub fn event(&mut self) -> Option<BusEvent> {
        critical_section::with(|cs| {
            let mut state = STATE.borrow_ref_mut(cs);
            if state.error_state != state.error_state_told {
                state.error_state_told = state.error_state;
                return Some(BusEvent::State(state.error_state));
            }
            match mem::take(&mut state.lost) {
                0 => state.events.pop_front(),
                frames => Some(BusEvent::Overrun { frames }),
            }
        })
    }

    /// Waits until there may be one.
    pub async fn wait(&self) {
        WAKE.wait().await;
    }
}
