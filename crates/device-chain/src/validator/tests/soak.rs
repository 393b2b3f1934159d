//! Hundreds of heights with everything going wrong at random, the same for the same seed. What is checked is in
//! [`super::net`]: agreement, one vote per slot across reboots, durable before said, no spinning.

use super::net::{Ecu, GATEWAY, HEARTBEAT_US};
use super::*;
use crate::limits::MAX_OUTBOX;

/// xorshift64*: the same run for the same seed, everywhere.
fn dice(mut state: u64) -> impl FnMut(u64) -> u64 {
    move |n| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

fn soak(n: usize, seed: u64, heights: Height, loss_percent: u64, reboots: bool) {
    let mut net = Net::trusted(n);
    let mut lost = dice(seed | 1);
    net.loss = std::boxed::Box::new(move |_, _| lost(100) < loss_percent);
    let mut roll = dice(seed.wrapping_mul(77) | 1);
    let (mut serial, mut count) = (0, 0);
    let start = net.now;
    while net.top() < heights {
        net.close_block_in_time();
        let by = roll(n as u64) as u8;
        match roll(10) {
            // no more at a time than a validator holds grants
            0..=4 if net.ecus.iter().map(Ecu::own_orders).sum::<usize>() < MAX_GRANTS / 2 => {
                serial += 1;
                net.unlock(serial, by);
            }
            0..=7 => {
                count += 1;
                let record = net.record(1, count, b"door", |_| true);
                for to in net.ids() {
                    if roll(100) >= loss_percent {
                        net.tell(to, Input::Message { source: record.source, bytes: &record.bytes });
                    }
                }
            }
            8 => net.tell(by, Input::Impostor(net.genesis.validators[usize::from(by)].identifiers.vote)),
            _ if reboots => match roll(4) {
                0 if net.ids().all(|at| !net.ecu(at).validator.is_amnesiac()) && by != GATEWAY => net.wipe(by),
                _ => net.reboot(by),
            },
            _ => {}
        }
        net.run(roll(40) * 1_000);
        for ecu in &net.ecus {
            assert!(ecu.queue_len() < 2 * MAX_OUTBOX, "a queue grows");
            assert_eq!(ecu.validator.counters().dropped, 0, "seed {seed}: an own message was dropped");
        }
        assert!(net.now.since(start) < 1_500 * HEARTBEAT_US, "seed {seed}: stands still at {}", net.top());
    }
    // the storm is over: all come to the same present
    net.loss = std::boxed::Box::new(|_, _| false);
    net.run(60 * HEARTBEAT_US);
    let top = net.top();
    for at in net.ids() {
        assert_eq!(net.height(at), top, "seed {seed}: ecu {at} is left behind");
        assert!(!net.ecu(at).validator.is_amnesiac(), "seed {seed}: ecu {at} was not readmitted");
        assert_eq!(net.ecu(at).validator.mode(), Mode::Trusted);
    }
}

#[test]
fn lossy_bus() {
    soak(7, 11, 100, 5, false);
    soak(4, 12, 100, 15, false);
}

#[test]
fn lossy_bus_and_reboots_and_wipes() {
    soak(4, 21, 100, 5, true);
    // one readmitted, one that has decided alone and reboots
    soak(4, 103, 60, 8, true);
    soak(7, 22, 60, 3, true);
}
