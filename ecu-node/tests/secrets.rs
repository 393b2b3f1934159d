//! What an ECU says about itself, at the most talkative level of its log, in its status and in its journal, holds none of its keys.
#![allow(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use can_bus::port::{BusCommand, BusEvent, Filter};
use ecu_node::linux::bus::{Buses, CHANNEL_CAPACITY, ChannelBus, ChannelPort};
use ecu_node::linux::car::Car;
use ecu_node::linux::keyfile;
use ecu_node::linux::node::{ClockSource, NodePaths};
use ecu_node::linux::process;
use ecu_node::linux::provision::provision;
use tokio::sync::{broadcast, mpsc, watch};

const NAMES: [&str; 7] = ["gateway", "powertrain", "chassis", "adas", "body", "telematics", "battery"];
const PATIENCE: Duration = Duration::from_secs(60);
/// Head of a key file, up to the seed of the identity; then the number of keys, and behind two bytes each a key.
const SEED: usize = 8 + 32;
const FIRST_KEY: usize = SEED + 32 + 2 + 2;
const ENTRY: usize = 2 + 32;
/// So many bytes of a key in a row are no chance.
const PIECE: usize = 8;

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A wire in this process that takes no time.
struct Wire(mpsc::UnboundedSender<ChannelPort>);

impl Buses for Wire {
    type Bus = ChannelBus;

    fn open(&self, _: &str, _: u8, _: Instant, _: &[Filter]) -> io::Result<ChannelBus> {
        let (bus, port) = ChannelBus::pair();
        self.0.send(port).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bus)
    }
}

/// What one node sends, all others receive.
async fn carry(mut joining: mpsc::UnboundedReceiver<ChannelPort>) {
    let (wire, _) = broadcast::channel(CHANNEL_CAPACITY * NAMES.len());
    for own in 0.. {
        let Some(ChannelPort { mut commands, events }) = joining.recv().await else { return };
        let (wire, mut heard, answers) = (wire.clone(), wire.subscribe(), events.clone());
        tokio::spawn(async move {
            while let Some(command) = commands.recv().await {
                if let BusCommand::Transmit { token, frame } = command {
                    let _ = wire.send((own, frame)); // nobody may be left to hear it
                    let _ = answers.send(BusEvent::Transmitted { token }).await;
                }
            }
        });
        tokio::spawn(async move {
            while let Ok((sender, frame)) = heard.recv().await {
                let received = BusEvent::Received { segment: 0, at_us: 0, frame };
                if sender != own && events.send(received).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// The secret bytes of a device's key file: the seed of the identity and the pairwise keys.
fn secrets(paths: &NodePaths) -> Vec<[u8; 32]> {
    let bytes = keyfile::unseal(paths, None).unwrap();
    let keys = (FIRST_KEY..bytes.len() - 4).step_by(ENTRY);
    [SEED].into_iter().chain(keys).map(|at| bytes[at..at + 32].try_into().unwrap()).collect()
}

/// As programs print bytes: raw, hexadecimal of either case, numbers in a list, base64 from any of its three offsets.
fn spellings(piece: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = piece.iter().map(|byte| format!("{byte:02x}")).collect();
    let list: Vec<_> = piece.iter().map(u8::to_string).collect();
    let mut spelled =
        vec![piece.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes(), list.join(", ").into_bytes()];
    spelled.extend((0..3).map(|skipped| base64(&piece[skipped..])));
    spelled
}

/// Whole groups of three bytes (RFC 4648, 4).
fn base64(bytes: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.chunks_exact(3).map(|three| u32::from_be_bytes([0, three[0], three[1], three[2]]));
    groups.flat_map(|bits| [18, 12, 6, 0].map(|shift| ALPHABET[(bits >> shift & 63) as usize])).collect()
}

fn holds(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

/// How `text` gives a secret away.
fn leak(text: &[u8], secrets: &[[u8; 32]]) -> Option<String> {
    let pieces = secrets.iter().flat_map(|secret| secret.chunks(PIECE));
    pieces.flat_map(spellings).find(|spelled| holds(text, spelled)).map(|found| String::from_utf8_lossy(&found).into())
}

#[test]
fn a_leak_would_be_found_however_it_is_spelled() {
    let secret: [u8; 32] = core::array::from_fn(|at| (at * 7 + 1) as u8);
    assert_eq!(base64(b"foobar"), b"Zm9vYmFy");
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    for said in [secret.to_vec(), hex.to_uppercase().into_bytes(), format!("{secret:?}").into_bytes()] {
        assert!(leak(&said, &[secret]).is_some());
    }
    for before in 0..3 {
        let line = [&b"key="[..], &base64(&[&vec![9; before][..], &secret].concat())].concat();
        assert!(leak(&line, &[secret]).is_some(), "{before} bytes before it");
    }
    assert_eq!(leak(hex.as_bytes(), &[[0x5a; 32]]), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ecu_that_tells_everything_tells_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).init();
    let config = Car::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../car.toml"))).unwrap();
    provision(&config, folder.path(), None, &[]).unwrap();

    let (ports, joining) = mpsc::unbounded_channel();
    tokio::spawn(carry(joining));
    let wire = Arc::new(Wire(ports));
    let (stop, stopped) = watch::channel(false);
    let nodes = NAMES.map(|name| {
        let (paths, wire, mut stopped) = (NodePaths::provisioned(folder.path(), name), wire.clone(), stopped.clone());
        tokio::spawn(async move {
            let shutdown = async move { drop(stopped.wait_for(|stop| *stop).await) };
            process::run(&*wire, &paths, "wire", ClockSource::System, shutdown).await
        })
    });
    // sessions with all: every key was in use
    let status = folder.path().join("body/status.json");
    let trusted = || fs::read_to_string(&status).is_ok_and(|status| status.contains("\"trusted\""));
    let end = Instant::now() + PATIENCE;
    while !trusted() {
        assert!(Instant::now() < end, "never trusted: {}", String::from_utf8_lossy(&log.0.lock().unwrap()));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.send(true).unwrap();
    for node in nodes {
        assert!(node.await.unwrap().is_ok());
    }

    let said = log.0.lock().unwrap().clone();
    assert!(holds(&said, b"started") && holds(&said, b"ended"), "{}", String::from_utf8_lossy(&said));
    for name in NAMES {
        let paths = NodePaths::provisioned(folder.path(), name);
        let secrets = secrets(&paths);
        assert_eq!(secrets.len(), 1 + 6 + 1, "{name}: the seed, the validators, the door sensor");
        assert_eq!(leak(&said, &secrets), None, "{name}: in the log");
        // DC-28: who steals the folder has no key
        let files: Vec<_> = fs::read_dir(&paths.state).unwrap().map(|file| file.unwrap().path()).collect();
        assert!(files.iter().any(|file| file.ends_with("keys.bin")));
        for file in files {
            assert_eq!(leak(&fs::read(&file).unwrap(), &secrets), None, "{}", file.display());
        }
    }
}
