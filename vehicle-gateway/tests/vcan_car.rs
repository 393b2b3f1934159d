//! A whole car on real (virtual) buses: six ECUs, the gateway and the cloud, as processes. Runs under `scripts/vcan`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

const ECUS: [&str; 6] = ["powertrain", "chassis", "adas", "body", "telematics", "battery"];
const VEHICLE: &str = "RINGFORT-DEMO-0001";
/// User-mode Linux has one slow processor, and debug builds are slow, too.
const PATIENCE: Duration = Duration::from_secs(120);
/// There is one pair of buses.
static BUSES: Mutex<()> = Mutex::new(());

/// Both buses, for one test at a time.
fn buses() -> impl Drop {
    for name in ["vcan0", "vcan1"] {
        let is_there = can_bus::linux::interface::is_virtual(name).is_ok_and(|is_virtual| is_virtual);
        assert!(is_there, "these tests need the bus {name}: run them under scripts/vcan");
    }
    BUSES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Bench {
    folder: tempfile::TempDir,
    port: u16,
}

/// A program of the workspace, built beside this test's own.
fn program(name: &str) -> Command {
    let path = Path::new(env!("CARGO_BIN_EXE_vehicle-gateway")).with_file_name(name);
    assert!(path.exists(), "{} is missing: cargo build --workspace --bins", path.display());
    Command::new(path)
}

impl Bench {
    /// A car as it leaves the end of the line, known to its cloud.
    fn provisioned() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let port = listener.local_addr().expect("bound").port();
        let bench = Self { folder: tempfile::tempdir().expect("a folder"), port };
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let car = include_str!("../../car.toml")
            .replace("http://127.0.0.1:8377", &bench.url())
            .replace("dbc/demo-car.dbc", root.join("dbc/demo-car.dbc").to_str().expect("plain"));
        std::fs::write(bench.path("car.toml"), car).expect("a disk");
        let keys = bench.run("cloud-link", &["keygen", "--out", "keys", "--json"]);
        let key = |name: &str| keys[name].as_str().expect("a key").to_owned();
        let (fleet, archive) = (key("fleet"), key("archive"));
        let provision = ["provision", "--config", "car.toml", "--out", "car", "--json"];
        bench.run("ecu-node", &[&provision[..], &["--fleet-key", &fleet, "--archive-key", &archive]].concat());
        let registered = bench.command("cloud-link", &["register", "--store", "fleet.db"]).args(GENESIS).status();
        assert!(registered.expect("it runs").success());
        bench
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, name: &str, args: &[&str]) -> Command {
        let mut command = program(name);
        command.args(args).current_dir(self.folder.path()).env("CLOUD_LINK_URL", self.url()).stdout(Stdio::null());
        command
    }

    /// Runs a command that prints JSON.
    fn run(&self, name: &str, args: &[&str]) -> Value {
        let output = self.command(name, args).stdout(Stdio::piped()).output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{name} {args:?}: {error}: {told}"))
    }

    /// Starts a process that logs to a file.
    fn start(&self, name: &str, args: &[&str]) -> Process {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path(&format!("{}.log", args.join("-").replace('/', "-"))));
        Process(self.command(name, args).stderr(log.expect("a disk")).spawn().expect("it starts"))
    }

    fn start_ecus(&self) -> Vec<Process> {
        ECUS.iter().map(|name| self.start("ecu-node", &["run", "--state", &format!("car/{name}")])).collect()
    }

    fn start_gateway(&self) -> Process {
        self.start("vehicle-gateway", &["run", "--config", "car.toml", "--state", "car/gateway"])
    }

    fn start_cloud(&self) -> Process {
        let listen = format!("127.0.0.1:{}", self.port);
        let args =
            ["serve", "--store", "fleet.db", "--keys", "keys", "--checkpoints", "checkpoints", "--listen", &listen];
        self.start("cloud-link", &args)
    }

    /// What the gateway shows, `null` while it shows nothing.
    fn status(&self) -> Value {
        let mut command = self.command("vehicle-gateway", &["status", "--json", "--state", "car/gateway"]);
        let output = command.stdout(Stdio::piped()).stderr(Stdio::null()).output().expect("it runs");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Waits until the gateway's status is as wanted.
    fn wait(&self, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            if start.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(self.path("run---config-car.toml---state-car-gateway.log"));
                panic!("not within {PATIENCE:?}: {what}\n{status:#}\n{}", log.unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

const GENESIS: [&str; 4] = ["--genesis", "car/genesis.bin", "--maker-key", "car/maker.pub"];

fn number(status: &Value, pointer: &str) -> u64 {
    status.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

fn drive() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dbc/demo-drive.log.gz");
    path.to_str().expect("plain").to_owned()
}

#[test]
fn blocks_reach_the_cloud_sealed_by_a_quorum_and_a_kill_loses_none() {
    let _buses = buses();
    let bench = Bench::provisioned();
    let (_cloud, _ecus) = (bench.start_cloud(), bench.start_ecus());
    let gateway = bench.start_gateway();
    let _drive = bench.start("vehicle-gateway", &["play", "--loop", "--interface", "vcan1", "--log", &drive()]);
    let status = bench.wait("two blocks archived", |status| number(status, "/gateway/window/archived") >= 2);
    assert!(number(&status, "/gateway/recorded") > 0, "{status:#}");

    let holder = "ab".repeat(32);
    let order = ["grant", VEHICLE, "unlock", "--token", "keys/operator.token", "--holder", &holder, "--json"];
    bench.run("cloud-link", &order);
    bench.wait("the grant is used", |status| status.pointer("/gateway/grants/0/state/used").is_some());

    // Killed when its newest block has just been sealed, with the next one under way.
    let sealed = |status: &Value| number(status, "/gateway/window/sealed");
    let before = sealed(&bench.status());
    let status = bench.wait("a new block is sealed", |status| sealed(status) > before);
    drop(gateway);
    let _gateway = bench.start_gateway();
    let last = sealed(&status);
    let status = bench.wait("it goes on", |status| number(status, "/gateway/window/archived") >= last + 2);
    assert_eq!(status.pointer("/gateway/chain/broken"), Some(&Value::Null));

    let trust = bench.run("cloud-link", &["trust", VEHICLE, "--json"]);
    assert_eq!((&trust["trusted"], &trust["finality"]), (&true.into(), &"final".into()), "{trust:#}");
    let verified = bench.command("cloud-link", &["verify", "--store", "fleet.db"]).args(GENESIS).status();
    assert!(verified.expect("it runs").success());
}

#[test]
fn a_log_is_played_at_its_own_pace_and_what_the_bus_does_not_take_is_counted() {
    let _buses = buses();
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("drive.log");
    let text = "(10.000000) can7 123#01\n(12.000000) can7 123##1AA\n(13.000000) can7 18DB33F1#R2\n";
    std::fs::write(&log, text).expect("a disk");
    let start = Instant::now();
    let args = ["play", "--interface", "vcan1", "--speed", "2", "--log", log.to_str().expect("plain")];
    let output = program("vehicle-gateway").args(args).output().expect("it runs");
    assert!((1.5..10.0).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
    assert!(output.status.success());
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(told, "2 frames played onto vcan1, 1 refused by it\n");
}

/// What a diagnostic tester sends is seen by everybody as it was sent, once; nothing of it makes the gateway speak.
#[test]
fn diagnostics_pass_untouched() {
    let _buses = buses();
    let bench = Bench::provisioned();
    let _gateway = bench.start_gateway();
    bench.wait("the gateway runs", |status| status["node"]["mode"] == "isolated");
    let dump = |interface: &str| {
        let log = File::create(bench.path(&format!("{interface}.dump"))).expect("a disk");
        Process(
            Command::new("candump").args(["-L", interface]).stdout(log).spawn().expect("candump (package can-utils)"),
        )
    };
    let dumps = ["vcan0", "vcan1"].map(dump);
    std::thread::sleep(Duration::from_millis(500));
    let requests =
        ["7DF#0201000000000000", "7E0#0322F19000000000", "7E8#0462F19000000000", "18DA10F1#0210030000000000"];
    for interface in ["vcan0", "vcan1"] {
        for frame in requests {
            assert!(Command::new("cansend").args([interface, frame]).status().expect("cansend").success());
        }
    }
    std::thread::sleep(Duration::from_secs(2));
    let status = bench.wait("four frames of others", |status| number(status, "/node/frames/other") == 4);
    drop(dumps);
    let seen = |interface: &str| {
        let text = std::fs::read_to_string(bench.path(&format!("{interface}.dump"))).expect("a log");
        text.lines().filter_map(|line| line.split(' ').nth(2).map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(seen("vcan1"), requests, "the gateway never sends on the car's segment");
    let (mesh, others): (Vec<_>, Vec<_>) = seen("vcan0").into_iter().partition(|frame| frame.contains("##"));
    assert_eq!(others, requests);
    assert!(mesh.iter().all(|frame| frame.starts_with("0A0##")), "a lonely gateway says HELLO and DECIDED: {mesh:?}");
    assert_eq!(number(&status, "/node/frames/malformed"), 0);
}
