//! The image: what lies in static memory, and the scenario.

use core::hint::black_box;

use cortex_m_semihosting::debug::{self, EXIT_FAILURE, EXIT_SUCCESS};
use cortex_m_semihosting::hio;
use device_chain::block::{BlockHeader, Finality};
use device_chain::grant::{Action, Grant, GrantUse, SignedGrant};
use device_chain::hash::Domain;
use device_chain::registry::Devices;
use device_chain::slot::Slot;
use device_chain::tx::Transaction;
use device_chain::types::{Hash, Signature};
use device_chain::validator::Mode;
use ecu_node::Input;
use panic_halt as _;
use static_cell::ConstStaticCell;

use crate::aside::aside;
use crate::car::{Car, N};
use crate::node::signer;

static CAR: ConstStaticCell<Car> = ConstStaticCell::new(Car::NEW);

/// Who asks for approvals, and who loses its power.
const ASKER: usize = 1;
const VICTIM: usize = 7;
const GATEWAY: usize = 0;

#[cortex_m_rt::entry]
fn main() -> ! {
    let done = live(CAR.take());
    debug::exit(if done.is_some() { EXIT_SUCCESS } else { EXIT_FAILURE });
    loop {
        cortex_m::asm::wfi();
    }
}

fn say(line: &str) {
    if let Ok(mut out) = hio::hstdout() {
        let _ = out.write_all(line.as_bytes());
    }
}

/// The fleet has its key, and every ECU has power.
#[inline(never)]
fn begin(car: &mut Car) -> Option<()> {
    aside(&mut || car.fleet = Slot::Full(signer(3, 0)));
    (0..N).try_for_each(|at| car.boot(at))
}

/// `None` where something does not come as it should.
fn live(car: &mut Car) -> Option<()> {
    begin(car)?;
    say("provisioned and booted\n");
    car.run_until(10, &|car| {
        car.powered()
            .all(|node| node.ecu.validator().mode() == Mode::Trusted && node.ecu.validator().peers_heard() == N - 1)
    })?;
    say("ignition\n");
    let mut serial = 0;
    for _ in 0..10 {
        approve(car, &mut serial)?;
    }
    block(car, true)?;
    say("approvals, a block and its seals\n");

    car.kill(VICTIM);
    for _ in 0..6 {
        approve(car, &mut serial)?;
    }
    car.boot(VICTIM)?;
    together(car)?;
    if car.run_until(1, &|car| car.seen[VICTIM].caught_up.is_some()).is_some() {
        return None; // it was to come by decisions
    }
    say("a reboot, its journal, and the decisions that it missed\n");

    car.kill(VICTIM);
    for _ in 0..70 {
        block(car, false)?;
    }
    car.boot(VICTIM)?;
    together(car)?;
    car.run_until(1, &|car| car.seen[VICTIM].caught_up.is_some())?;
    say("a longer absence: the state as a whole\n");

    car.wipe(VICTIM)?;
    car.boot(VICTIM)?;
    car.run_until(60, &|car| car.seen[VICTIM].readmitted)?;
    approve(car, &mut serial)?;
    together(car)?;
    say("a wiped journal, and readmission\n");
    car.seen.iter().all(|seen| black_box(seen).grants > 0).then_some(())
}

/// Until all are at the same height.
fn together(car: &mut Car) -> Option<()> {
    car.run_until(60, &|car| (0..N).all(|at| !car.on[at] || car.height(at) == car.height(GATEWAY)))
}

/// A grant comes, is passed on and checked, and is used.
fn approve(car: &mut Car, serial: &mut u64) -> Option<()> {
    *serial += 1;
    let usage = order(car, *serial)?;
    car.run_until(10, &|car| car.powered().all(|node| node.ecu.validator().use_of(&usage.digest).is_ok()))?;
    let height = car.height(ASKER) + 1;
    car.tell(ASKER, &|_| Input::Submit(Transaction::UseGrant(usage)))?;
    car.run_until(10, &|car| (0..N).all(|at| !car.on[at] || car.height(at) >= height))
}

/// The fleet's grant comes to who asks for the approval.
#[inline(never)]
fn order(car: &mut Car, serial: u64) -> Option<GrantUse> {
    let mesh = car.powered().nth(ASKER)?.ecu.validator().registry().mesh();
    let grant = || Grant {
        mesh,
        issuer: 0,
        serial,
        action: Action::Unlock,
        holder: Hash([7; 32]),
        not_before: 0,
        not_after: u32::MAX,
    };
    let usage = grant().usage();
    let (fleet, mut signature) = (car.fleet.get()?, Signature::from_bytes(&[0; 64]));
    aside(&mut || signature = fleet.sign(Domain::Grant, &usage.digest));
    car.tell(ASKER, &|_| Input::Grant(SignedGrant { grant: grant(), signature }))?;
    Some(usage)
}

/// The gateway closes a block; its seals are waited for if they are wanted. It tries again if something else is decided first.
fn block(car: &mut Car, sealed: bool) -> Option<()> {
    let number = car.state(GATEWAY)?.event().number + 1;
    (0..5).find_map(|_| close(car, number))?;
    let seals = N as u32 - 1;
    if sealed { car.run_until(10, &|car| car.seen[GATEWAY].seals >= seals) } else { Some(()) }
}

fn close(car: &mut Car, number: u32) -> Option<()> {
    car.tell(GATEWAY, &|state| {
        Input::Submit(Transaction::EventBlock(BlockHeader {
            number,
            previous: state.event().hash,
            tree_size: state.height(),
            tree_root: state.tree().root(),
            attested_root: Hash::NIL,
            attested_count: 0,
            finality: Finality::Final,
            members: state.members(),
            time_ms: state.time_ms(),
        }))
    })?;
    let closed = |car: &Car, at| car.state(at).is_some_and(|state| state.event().number >= number);
    car.run_until(2, &|car| (0..N).all(|at| !car.on[at] || closed(car, at)))
}
