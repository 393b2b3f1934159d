//! The SocketCAN adapter on a real (virtual) bus: `scripts/vcan cargo test -p can-bus --features linux --test vcan`.
//!
//! Needs `vcan0` with CAN FD and `vcan1` without. Every test uses identifiers of its own, since they run side by side.

use std::{
    io,
    process::Command,
    time::{Duration, Instant},
};

use can_bus::{
    BusCommand, BusEvent, ErrorState, Frame,
    frame::id_from_raw,
    linux::{LinuxBus, interface},
    port::{Filter, TRANSMIT_QUEUE},
};
use tokio::{sync::Mutex, time::timeout};

const FD_BUS: &str = "vcan0";
const CLASSIC_BUS: &str = "vcan1";
/// Error messages pass every filter: held by whoever uses the classic bus.
static CLASSIC_BUS_IN_USE: Mutex<()> = Mutex::const_new(());

/// A node that hears one identifier and the error messages.
fn node(interface: &str, raw: u32) -> LinuxBus {
    let filter = Filter { id: raw, mask: 0x7FF };
    LinuxBus::open(interface, 3, Instant::now(), &[filter])
        .unwrap_or_else(|error| panic!("these tests need a bus: {error}"))
}

fn frame(raw: u32, data: &[u8]) -> Frame {
    Frame::fd(id_from_raw(raw).expect("an identifier"), data).expect("a length of a DLC")
}

async fn event(bus: &mut LinuxBus) -> BusEvent {
    timeout(Duration::from_secs(5), bus.event()).await.expect("an event within 5 s").expect("the bus works")
}

async fn assert_silent(bus: &mut LinuxBus) {
    let event = timeout(Duration::from_millis(200), bus.event()).await;
    assert!(event.is_err(), "{event:?}");
}

fn received(event: BusEvent) -> Frame {
    let BusEvent::Received { segment: 3, frame, .. } = event else { panic!("not received: {event:?}") };
    frame
}

fn cansend(interface: &str, frame: &str) {
    let status = Command::new("cansend").args([interface, frame]).status().expect("cansend (package can-utils)");
    assert!(status.success(), "cansend {interface} {frame}");
}

#[test]
fn what_the_interfaces_are() -> io::Result<()> {
    assert!(interface::is_virtual(FD_BUS)? && interface::is_fd(FD_BUS)?);
    assert!(interface::is_virtual(CLASSIC_BUS)? && !interface::is_fd(CLASSIC_BUS)?);
    Ok(())
}

#[tokio::test]
async fn interfaces_that_cannot_be_opened_say_what_to_do() {
    let error = |name| LinuxBus::open(name, 0, Instant::now(), &[Filter::ALL]).err().expect("an error").to_string();
    assert!(error("vcan9").starts_with("vcan9 does not exist: run under scripts/vcan"), "{}", error("vcan9"));
    assert_eq!(error("lo"), "lo is no CAN interface");
}

#[tokio::test]
async fn a_frame_is_received_by_others_and_confirmed_to_its_sender() {
    let (mut sender, mut receiver) = (node(FD_BUS, 0x101), node(FD_BUS, 0x101));
    let frame = frame(0x101, &[7; 64]);
    sender.command(BusCommand::Transmit { token: 5, frame });
    assert_eq!(event(&mut sender).await, BusEvent::Transmitted { token: 5 });
    assert_eq!(received(event(&mut receiver).await), frame);
    assert_silent(&mut sender).await;
    assert_silent(&mut receiver).await;
}

#[tokio::test]
async fn every_kind_of_frame_passes() {
    let (mut sender, mut receiver) = (node(FD_BUS, 0x102), node(FD_BUS, 0x102));
    for text in ["102#", "102#0011223344556677", "102#R", "102#R4", "102##400", "102##6AABB", "102##5"] {
        let frame: Frame = text.parse().expect("valid");
        sender.command(BusCommand::Transmit { token: 1, frame });
        assert_eq!(event(&mut sender).await, BusEvent::Transmitted { token: 1 }, "{text}");
        assert_eq!(received(event(&mut receiver).await), frame);
    }
}

/// Far more frames than the kernel is given at a time: all confirmed, the most urgent first, in the order in which the
/// other side has them.
#[tokio::test]
async fn a_full_queue_goes_out_by_priority() {
    let filter = Filter { id: 0x200, mask: 0x700 };
    let open = || LinuxBus::open(FD_BUS, 3, Instant::now(), &[filter]).expect("a bus");
    let (mut sender, mut receiver) = (open(), open());
    let count = TRANSMIT_QUEUE as u32;
    for token in 0..=count {
        sender.command(BusCommand::Transmit { token, frame: frame(0x2FF - token, &[token as u8]) });
    }
    assert_eq!(event(&mut sender).await, BusEvent::Dropped { token: count }, "one too many");
    for token in (0..count).rev() {
        assert_eq!(event(&mut sender).await, BusEvent::Transmitted { token });
        assert_eq!(received(event(&mut receiver).await).data(), [token as u8]);
    }
}

#[tokio::test]
async fn a_waiting_frame_can_be_aborted() {
    let mut sender = node(FD_BUS, 0x103);
    for token in 0..2 {
        sender.command(BusCommand::Transmit { token, frame: frame(0x103, &[token as u8]) });
    }
    sender.command(BusCommand::Abort { token: 0 });
    assert_eq!(event(&mut sender).await, BusEvent::Dropped { token: 0 });
    assert_eq!(event(&mut sender).await, BusEvent::Transmitted { token: 1 });
    sender.command(BusCommand::Abort { token: 1 });
    assert_silent(&mut sender).await;
}

/// A node busy elsewhere (with flash, say) still takes its confirmations for what they are.
#[tokio::test]
async fn confirmations_may_be_fetched_late() {
    let mut sender = node(FD_BUS, 0x10A);
    for token in 0..4 {
        sender.command(BusCommand::Transmit { token, frame: frame(0x10A, &[token as u8]) });
    }
    assert_eq!(event(&mut sender).await, BusEvent::Transmitted { token: 0 });
    std::thread::sleep(Duration::from_millis(1500));
    for token in 1..4 {
        assert_eq!(event(&mut sender).await, BusEvent::Transmitted { token });
    }
}

#[tokio::test]
async fn an_impostor_is_heard_also_when_it_repeats_our_frame() {
    let mut sender = node(FD_BUS, 0x104);
    sender.command(BusCommand::Transmit { token: 1, frame: frame(0x104, &[1]) });
    assert_eq!(event(&mut sender).await, BusEvent::Transmitted { token: 1 });
    cansend(FD_BUS, "104##101");
    assert_eq!(received(event(&mut sender).await), frame(0x104, &[1]));
    cansend(FD_BUS, "104##102");
    assert_eq!(received(event(&mut sender).await), frame(0x104, &[2]));
}

#[tokio::test]
async fn real_tools_and_odd_lengths() {
    let mut receiver = node(FD_BUS, 0x105);
    cansend(FD_BUS, "105#DEADBEEF");
    let data = [0xDE, 0xAD, 0xBE, 0xEF];
    assert_eq!(
        received(event(&mut receiver).await),
        Frame::classic(id_from_raw(0x105).expect("valid"), &data).expect("short")
    );
    cansend(FD_BUS, "105##1000102030405060708");
    assert_eq!(received(event(&mut receiver).await).data(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0]);
}

#[tokio::test]
async fn a_classic_interface_drops_fd_frames_and_sends_classic_ones() {
    let _alone = CLASSIC_BUS_IN_USE.lock().await;
    let mut bus = node(CLASSIC_BUS, 0x106);
    bus.command(BusCommand::Transmit { token: 1, frame: frame(0x106, &[1]) });
    assert_eq!(event(&mut bus).await, BusEvent::Dropped { token: 1 });
    bus.command(BusCommand::Transmit { token: 2, frame: "106#01".parse().expect("valid") });
    assert_eq!(event(&mut bus).await, BusEvent::Transmitted { token: 2 });
}

/// Error messages as drivers send them, here sent by `cansend`.
#[tokio::test]
async fn error_states_are_reported() {
    let _alone = CLASSIC_BUS_IN_USE.lock().await;
    let mut bus = node(CLASSIC_BUS, 0x107);
    for (message, expected) in [
        ("20000004#000C000000000000", BusEvent::State(ErrorState::Warning)),
        ("20000004#0030000000000000", BusEvent::State(ErrorState::Passive)),
        ("20000040#0000000000000000", BusEvent::State(ErrorState::BusOff)),
        ("20000100#0000000000000000", BusEvent::State(ErrorState::Active)),
        ("20000004#0001000000000000", BusEvent::Overrun { frames: 1 }),
    ] {
        cansend(CLASSIC_BUS, message);
        assert_eq!(event(&mut bus).await, expected, "{message}");
    }
}

/// A node that does not fetch its frames learns how many it lost, and does not wait for a confirmation among them for ever.
#[tokio::test]
async fn an_overrun_is_counted() {
    const SENT: u32 = 2000;
    let (mut sender, mut receiver) = (node(FD_BUS, 0x108), node(FD_BUS, 0x108));
    for token in 0..SENT {
        sender.command(BusCommand::Transmit { token, frame: frame(0x108, &[0; 64]) });
        assert_eq!(event(&mut sender).await, BusEvent::Transmitted { token });
    }
    receiver.command(BusCommand::Transmit { token: 1, frame: frame(0x108, &[1]) });
    let (mut lost, mut got) = (0, 0);
    loop {
        match event(&mut receiver).await {
            BusEvent::Overrun { frames } => lost += frames,
            BusEvent::Received { .. } => got += 1,
            BusEvent::Dropped { token: 1 } => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(lost > 0, "the receive buffer held all {SENT} frames");
    assert_eq!(lost + got, SENT + 1);
}

/// Whatever else a task waits for, no frame is lost when `event` is cancelled.
#[tokio::test]
async fn event_can_be_cancelled() {
    const SENT: u32 = 300;
    let (mut sender, mut receiver) = (node(FD_BUS, 0x109), node(FD_BUS, 0x109));
    let (mut confirmed, mut got, mut token) = (0, 0, 0);
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while (confirmed, got) != (SENT, SENT) {
        tokio::select! {
            event = sender.event() => match event.expect("the bus works") {
                BusEvent::Transmitted { .. } => confirmed += 1,
                other => panic!("{other:?}"),
            },
            event = receiver.event() => {
                assert_eq!(received(event.expect("the bus works")).data(), (got as u64).to_le_bytes());
                got += 1;
            }
            _ = tick.tick(), if token < SENT && token - confirmed < TRANSMIT_QUEUE as u32 => {
                let frame = frame(0x109, &(token as u64).to_le_bytes());
                sender.command(BusCommand::Transmit { token, frame });
                token += 1;
            }
            () = tokio::time::sleep_until(deadline) => panic!("{confirmed} confirmed, {got} received of {SENT}"),
        }
    }
}
