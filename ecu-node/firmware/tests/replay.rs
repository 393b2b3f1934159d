//! The same bytes everywhere: what happened to one ECU of a simulated car, replayed here and in the emulated chip, makes it do the same.
#![allow(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

#[path = "../../../crates/mesh-sim/tests/common/mod.rs"]
mod common;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::{env, fs};

use can_bus::timing::BitTiming;
use common::{GATEWAY, SECOND_US, approve, next_block};
use device_chain::limits::MAX_HISTORY;
use device_chain::mac::Suite;
use device_chain::types::{Micros, ValidatorIndex};
use ecu_node::Input;
use ecu_node::trace::{self, HEAD, MAX_RECORD, Player, Step};
use mesh_sim::car::Car;
use mesh_sim::event::What;
use mesh_sim::genesis::Plan;
use mesh_sim::keys::Keyring;
use mesh_sim::workload::grant;

const IMAGE: &str = "thumbv7em-none-eabihf/firmware/replay";
/// The one that is recorded: it asks for nothing.
const ME: ValidatorIndex = 3;
/// Parts of a trace, as `scripts/measure --validator` names them.
const QUIET: u8 = 1;
const APPROVAL: u8 = 2;
const OTHER: u8 = 3;

/// What happened to `ME`.
#[derive(Clone, Default)]
struct Trace(Rc<RefCell<Vec<u8>>>);

impl Trace {
    /// From its first boot on, which is now.
    fn begin(car: &mut Car) -> Self {
        let (trace, boot, now, plan) = (Self::default(), Self::default(), Micros(car.now_us()), car.plan().clone());
        let (keyring, told) = (Keyring::new(&plan, &plan.genesis()), trace.clone());
        let step = |input: Option<&Input>| input.map_or(Step::Poll, |input| Step::Input(input.clone()));
        car.record(ME, Box::new(move |now, input| told.add(now, &step(input))));
        car.boot(ME);
        let nonce = car.events.iter().rev().find_map(|event| match event.what {
            What::Booted { ecu: ME, nonce, .. } => Some(nonce),
            _ => None,
        });
        boot.add(now, &Step::Genesis(plan.genesis()));
        for peer in (0..plan.validators).filter(|peer| *peer != ME) {
            keyring.pair(ME, peer).unwrap().export_to(|key| boot.add(now, &Step::Key(peer, *key)));
        }
        boot.add(now, &Step::Boot(ME, nonce.unwrap()));
        trace.0.borrow_mut().splice(0..0, boot.0.take());
        trace
    }

    fn add(&self, now: Micros, step: &Step) {
        let (mut bytes, mut buffer) = (self.0.borrow_mut(), vec![0; MAX_RECORD]);
        assert!(trace::write(now, step, &mut buffer, &mut |part| bytes.extend_from_slice(part)), "{step:?}");
    }

    fn mark(&self, car: &Car, part: u8) {
        self.add(Micros(car.now_us()), &Step::Mark(part));
    }

    /// Every effect when it is replayed here.
    fn replay(&self) -> Vec<String> {
        let (bytes, mut at) = (self.0.borrow(), 0);
        let (mut player, mut ecu, mut effects) = (Player::default(), None, Vec::new());
        while at < bytes.len() {
            let (now, kind, length) = trace::head(bytes[at..at + HEAD].try_into().unwrap());
            let step = trace::read(kind, &bytes[at + HEAD..at + HEAD + length]).unwrap();
            at += HEAD + length;
            match (&mut ecu, step) {
                (None, step) => ecu = player.prepare(now, step).map(Box::new),
                (Some(ecu), Step::Input(input)) => ecu.handle(now, input),
                (Some(ecu), Step::Poll) => {
                    while let Some(effect) = ecu.poll() {
                        effects.push(format!("{} {effect:?}", now.0));
                    }
                }
                _ => {}
            }
        }
        effects
    }

    /// The same in the emulated chip.
    fn replay_in_the_chip(&self, folder: &Path) -> Vec<String> {
        let file = folder.join("trace");
        fs::write(&file, &*self.0.borrow()).unwrap();
        let mut qemu = Command::new("qemu-system-arm");
        qemu.args(["-M", "mps2-an386", "-cpu", "cortex-m4", "-display", "none", "-monitor", "none", "-serial", "null"]);
        qemu.args(["-semihosting-config", "enable=on,target=native,arg=show,arg=trace", "-kernel"]);
        let output = qemu.arg(image()).current_dir(folder).output().expect("Debian package qemu-system-arm");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

fn image() -> PathBuf {
    let here = env::current_exe().unwrap();
    let found = here.ancestors().map(|folder| folder.join(IMAGE)).find(|path| path.is_file());
    found.expect("cargo build -p ecu-firmware --bin replay --profile firmware --target thumbv7em-none-eabihf")
}

fn car(suite: Suite) -> Car {
    let mut car = Car::new(Plan { suite, endpoints: 0, ..Plan::default() }, BitTiming::FD_500K_2M);
    (0..7).filter(|at| *at != ME).for_each(|at| car.boot(at));
    car
}

/// Ignition, a quiet second, and approvals.
fn approvals(suite: Suite) -> Trace {
    let mut car = car(suite);
    let trace = Trace::begin(&mut car);
    car.run_for(SECOND_US / 10);
    trace.mark(&car, QUIET);
    car.run_for(SECOND_US);
    trace.mark(&car, OTHER);
    for serial in 1..=10 {
        car.run_for(SECOND_US / 5);
        let signed = grant(&car, serial);
        let digest = signed.grant.digest();
        car.give(GATEWAY, Input::Grant(signed));
        car.run_for(SECOND_US / 20);
        let tx = car.ecu(GATEWAY).unwrap().validator().use_of(&digest).unwrap();
        // from the request on; the grant was handed around before
        trace.mark(&car, APPROVAL);
        car.give(GATEWAY, Input::Submit(tx));
        let decided =
            |car: &Car| (0..7).all(|at| u64::from(car.ecu(at).unwrap().validator().state().height()) == serial);
        let end = car.now_us() + SECOND_US;
        assert!(car.run_until(end, decided), "approval {serial}");
        trace.mark(&car, OTHER);
    }
    trace
}

/// The recorded one boots when the others have decided `decisions`.
fn catch_up(decisions: u32) -> Trace {
    let mut car = car(Suite::Blake2s);
    car.run_for(SECOND_US);
    for serial in 1..=u64::from(decisions) {
        if serial % 32 == 0 {
            let block = next_block(&car);
            car.give(GATEWAY, Input::Submit(block));
            car.run_for(50_000);
        } else {
            assert!(approve(&mut car, serial).is_some(), "approval {serial}");
        }
    }
    let height = car.ecu(GATEWAY).unwrap().validator().state().height();
    assert!(height >= decisions, "{height}");
    let trace = Trace::begin(&mut car);
    let caught_up = |car: &Car| car.ecu(ME).unwrap().validator().state().height() >= height;
    let end = car.now_us() + 10 * SECOND_US;
    assert!(car.run_until(end, caught_up), "it does not catch up");
    trace.mark(&car, OTHER);
    trace
}

/// Compares both replays, and says what there was to compare.
fn assert_same(name: &str, trace: &Trace) {
    let folder = tempfile::tempdir().unwrap();
    let (here, chip) = (trace.replay(), trace.replay_in_the_chip(folder.path()));
    let differs = here.iter().zip(&chip).position(|(here, chip)| here != chip);
    assert_eq!(differs.map(|at| (&here[at], &chip[at])), None, "{name}: the first difference");
    assert_eq!(here.len(), chip.len(), "{name}");
    let decided = here.iter().filter(|effect| effect.contains(" Decided(")).count();
    println!("{name}: {} effects are the same, {decided} decisions among them", here.len());
    assert!(decided > 5, "{name}: there is too little in it");
}

#[test]
fn ignition_and_approvals_are_the_same_bytes_in_the_chip() {
    for suite in [Suite::Blake2s, Suite::Cmac] {
        assert_same(&format!("approvals with {suite:?}"), &approvals(suite));
    }
}

#[test]
fn catching_up_is_the_same_bytes_in_the_chip() {
    assert_same("catch-up", &catch_up(40));
}

/// A replay that differs is noticed.
#[test]
fn another_history_is_another_replay() {
    let trace = approvals(Suite::Blake2s);
    let before = trace.replay();
    let other = Trace::default();
    let end = trace.0.borrow().len() / 2;
    other.0.borrow_mut().extend_from_slice(&trace.0.borrow());
    // a byte of a frame in the middle
    let at = (end..).find(|at| trace.0.borrow()[*at..].starts_with(b"b09")).unwrap() + 40;
    other.0.borrow_mut()[at] ^= 1;
    assert_ne!(other.replay(), before);
}

/// In the folder `RINGFORT_TRACE_OUT`.
#[test]
#[ignore = "no test: writes the traces whose instructions scripts/measure --validator counts"]
fn traces_for_counting() {
    let folder = env::var_os("RINGFORT_TRACE_OUT").map(PathBuf::from).expect("RINGFORT_TRACE_OUT");
    let behind = MAX_HISTORY as u32 - 8;
    for (name, trace) in [
        ("blake2s", approvals(Suite::Blake2s)),
        ("cmac", approvals(Suite::Cmac)),
        ("catch-up", catch_up(behind)),
        ("state", catch_up(MAX_HISTORY as u32 + 32)),
    ] {
        fs::write(folder.join(name), &*trace.0.borrow()).unwrap();
    }
}
