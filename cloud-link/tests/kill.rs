//! `kill -9`, on both sides, in mid-batch: nothing is lost, nothing is stored twice.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

mod common;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cloud_link::uplink::Window;
use common::{Fleet, VEHICLE};

const BLOCKS: u32 = 150;
const PATIENCE: Duration = Duration::from_secs(120);

/// A process that is killed, never asked.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap(); // SIGKILL
        self.0.wait().unwrap();
    }
}

fn start(program: PathBuf, arguments: &[&str], fleet: &Fleet) -> Killed {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(fleet.folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
    Killed(command.spawn().unwrap())
}

fn serve(fleet: &Fleet, address: &str) -> Killed {
    let arguments =
        ["serve", "--listen", address, "--store", "fleet.db", "--keys", "keys", "--checkpoints", "checkpoints"];
    start(env!("CARGO_BIN_EXE_cloud-link").into(), &arguments, fleet)
}

fn uplink(fleet: &Fleet, address: &str) -> Killed {
    // cargo builds examples beside the folder of the tests
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples/uplink");
    start(program, &["window", "car.genesis", "maker.pub", &format!("http://{address}")], fleet)
}

#[test]
fn both_sides_are_killed_again_and_again() {
    let mut fleet = Fleet::new();
    let mut window = Window::open(&fleet.path("window"), fleet.car.genesis.clone(), 1 << 20).unwrap();
    for _ in 0..BLOCKS {
        window.put(&fleet.car.drive()).unwrap();
    }
    drop(window);
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);

    let receipt = fleet.path("window/archived.receipt");
    let archived = || {
        let bytes = std::fs::read(&receipt).ok()?;
        event_chain::receipt::SignedReceipt::open(&bytes, &fleet.car.genesis).map(|receipt| receipt.number)
    };
    let begun = Instant::now();
    let (mut service, mut car) = (Some(serve(&fleet, &address)), Some(uplink(&fleet, &address)));
    let mut kills = 0;
    loop {
        // Lives of different lengths end at different steps.
        std::thread::sleep(Duration::from_millis(100 + kills * 37 % 300));
        if archived() == Some(BLOCKS) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "stuck at {:?} after {kills} kills", archived());
        if kills.is_multiple_of(2) {
            drop(service.take());
            service = Some(serve(&fleet, &address));
        } else {
            drop(car.take());
            car = Some(uplink(&fleet, &address));
        }
        kills += 1;
    }
    drop((service, car));
    assert!(kills > 2, "only {kills} kills: raise BLOCKS");
    println!("{kills} kills");

    let stored = fleet.archive().blocks(VEHICLE, BLOCKS).unwrap();
    assert_eq!(stored.iter().map(|block| block.number).collect::<Vec<_>>(), [BLOCKS]);
    let checkpoint = fleet.checkpoint();
    let verified = fleet.run(&[
        "verify",
        "--store",
        "fleet.db",
        "--genesis",
        "car.genesis",
        "--maker-key",
        "maker.pub",
        "--checkpoint",
        checkpoint.to_str().unwrap(),
    ]);
    let report = String::from_utf8(verified.stdout).unwrap();
    assert_eq!(verified.status.code(), Some(0), "{report}");
    assert!(report.contains(&format!("{BLOCKS} verified")), "{report}");
}
