//! The car's end: nothing leaves the car without a receipt, whatever is cut, killed or forged.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

mod common;

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use cloud_link::uplink::{Pushed, SharedWindow, Uplink, UplinkError, UplinkReport, Window, WindowError};
use cloud_link::wire::{Action, Claim, Finality, GrantOrder, Mode, ReceiptAnswer};
use common::{Fleet, NOW_MS, VEHICLE, config};
use device_chain::sign::SigningKey;
use event_chain::block::Block;
use event_chain::fixture::{archive_key, fleet_key};
use event_chain::receipt::{Receipt, SignedReceipt};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

const ROOM: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

impl Fleet {
    fn window(&self, max_bytes: u64) -> Window {
        Window::open(&self.path("window"), self.car.genesis.clone(), max_bytes).unwrap()
    }

    /// Drives into a window.
    fn window_with(&mut self, blocks: usize) -> (SharedWindow, Vec<Block>) {
        let mut window = self.window(ROOM);
        let blocks: Vec<Block> = (0..blocks).map(|_| self.car.drive()).collect();
        blocks.iter().for_each(|block| window.put(block).unwrap());
        (Arc::new(Mutex::new(window)), blocks)
    }

    fn receipt(&self, block: &Block, finality: device_chain::block::Finality, key: &SigningKey) -> Vec<u8> {
        let mesh = self.car.genesis.mesh();
        let (number, hash) = (block.header.number, block.hash(&mesh));
        let receipt = Receipt { mesh, number, block: hash, finality, complete: true, time_ms: NOW_MS };
        event_chain::codec::encode(&SignedReceipt::sign(receipt, key))
    }

    fn files(&self) -> usize {
        let is_block = |file: &fs::DirEntry| file.path().extension().is_some_and(|extension| extension == "block");
        fs::read_dir(self.path("window")).unwrap().filter(|file| is_block(file.as_ref().unwrap())).count()
    }
}

/// Runs an uplink until its report satisfies.
async fn run_until(uplink: &Uplink, satisfied: impl FnMut(&UplinkReport) -> bool) -> UplinkReport {
    let (grants, _received) = mpsc::channel(8);
    let (_claims, claims) = watch::channel(Claim { mode: Mode::Trusted, height: 0, peers: 4 });
    let mut report = uplink.report();
    tokio::select! {
        () = uplink.run(grants, claims) => unreachable!("runs until dropped"),
        report = timeout(PATIENCE, report.wait_for(satisfied)) => report.expect("in time").unwrap().clone(),
    }
}

#[tokio::test]
async fn blocks_leave_the_car_on_receipts() {
    let mut fleet = Fleet::new();
    let (window, blocks) = fleet.window_with(5);
    let (address, server) = fleet.serve().await;
    let uplink = Uplink::new(config(address), window).unwrap();
    run_until(&uplink, |report| report.archived == 5 && report.waiting == 0).await;
    server.abort();
    assert_eq!(fleet.files(), 0);
    let kept = fleet.window(ROOM).archived().cloned().unwrap();
    assert_eq!((kept.number, kept.block), (5, blocks[4].hash(&fleet.car.genesis.mesh())), "the chain goes on from it");
    let next = fleet.car.drive();
    fleet.window(ROOM).put(&next).unwrap();
}

#[tokio::test]
async fn a_cut_link_is_survived() {
    let mut fleet = Fleet::new();
    let (window, _) = fleet.window_with(3);
    let (address, server) = fleet.serve().await;
    server.abort();
    let _ = server.await;
    let uplink = Uplink::new(config(address), window).unwrap();
    let report = run_until(&uplink, |report| report.error.is_some()).await;
    assert!(report.error.unwrap().contains("cannot be reached"));
    assert_eq!(fleet.files(), 3);

    let (address, _server) = fleet.serve().await;
    let uplink = Uplink::new(config(address), Arc::new(Mutex::new(fleet.window(ROOM)))).unwrap();
    run_until(&uplink, |report| report.archived == 3).await;
}

/// The archive has committed, the receipt was never delivered.
#[tokio::test]
async fn killed_between_commit_and_receipt() {
    let mut fleet = Fleet::new();
    let (window, blocks) = fleet.window_with(2);
    for block in &blocks {
        fleet.archive().ingest(VEHICLE, &block.encode(), NOW_MS).unwrap();
    }
    let (address, _server) = fleet.serve().await;
    run_until(&Uplink::new(config(address), window).unwrap(), |report| report.archived == 2).await;
    let stored = fleet.archive().blocks(VEHICLE, 0).unwrap();
    assert_eq!(stored.len(), 2);
    let receipt: SignedReceipt =
        device_chain::codec::decode(&cloud_link::hex::decode(&stored[1].receipt).unwrap()).unwrap();
    assert_eq!(receipt.receipt.time_ms, NOW_MS, "the first receipt");
}

/// The receipt is durable in the car, the block's file still there.
#[test]
fn killed_between_receipt_and_removal() {
    let mut fleet = Fleet::new();
    let (window, blocks) = fleet.window_with(2);
    let file = fleet.path("window/0000000001.block");
    let bytes = fs::read(&file).unwrap();
    let receipt = fleet.receipt(&blocks[0], device_chain::block::Finality::Final, &archive_key());
    window.lock().unwrap().settle(&receipt).unwrap();
    assert_eq!(fleet.files(), 1);
    fs::write(&file, bytes).unwrap();
    fs::write(fleet.path("window/0000000003.new"), "half a block").unwrap();
    let window = fleet.window(ROOM);
    assert_eq!(window.blocks().map(|(number, _)| number).collect::<Vec<_>>(), [2]);
    assert_eq!(fleet.files(), 1);
}

#[tokio::test]
async fn a_forged_receipt_lets_nothing_go() {
    let mut fleet = Fleet::new();
    let (window, blocks) = fleet.window_with(1);
    let forged = fleet.receipt(&blocks[0], device_chain::block::Finality::Final, &fleet_key());
    let answer = ReceiptAnswer {
        number: 1,
        block: String::new(),
        finality: Finality::Final,
        receipt: cloud_link::hex::encode(&forged),
    };
    let liar = Router::new().route("/v1/vehicles/{id}/blocks", post(|| async { Json(answer) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uplink = Uplink::new(config(listener.local_addr().unwrap()), window).unwrap();
    tokio::spawn(async move { axum::serve(listener, liar).await });
    let refused = uplink.push_next(&mut Pushed::default()).await;
    assert!(matches!(refused, Err(UplinkError::Window(WindowError::Receipt))), "{refused:?}");
    assert_eq!(fleet.files(), 1);
}

#[test]
fn only_a_final_receipt_for_the_very_block_counts() {
    use device_chain::block::Finality;
    let mut fleet = Fleet::new();
    let (window, blocks) = fleet.window_with(1);
    let mut window = window.lock().unwrap();
    window.settle(&fleet.receipt(&blocks[0], Finality::Provisional, &archive_key())).unwrap();
    assert_eq!(fleet.files(), 1);
    let mut other = blocks[0].clone();
    other.header.time_ms += 1;
    let receipt = fleet.receipt(&other, Finality::Final, &archive_key());
    assert!(matches!(window.settle(&receipt), Err(WindowError::ForeignReceipt(1))));
    assert_eq!(fleet.files(), 1);
}

#[tokio::test]
async fn a_provisional_block_stays_until_a_quorum_sealed_it() {
    let mut fleet = Fleet::new();
    let mut block = fleet.car.close(1);
    let window: SharedWindow = Arc::new(Mutex::new(fleet.window(ROOM)));
    let put = |block: &Block| window.lock().unwrap().put(block).unwrap();
    put(&block);
    let (address, _server) = fleet.serve().await;
    let uplink = Uplink::new(config(address), Arc::clone(&window)).unwrap();
    let mut pushed = Pushed::default();
    assert!(!uplink.push_next(&mut pushed).await.unwrap(), "one seal proves nothing");
    for (validator, files) in [(1, 1), (2, 0)] {
        let seal = fleet.car.seal(&block, validator);
        assert!(block.add_seal(seal, &fleet.car.registry));
        put(&block);
        assert!(uplink.push_next(&mut pushed).await.unwrap());
        assert!(!uplink.push_next(&mut pushed).await.unwrap(), "once");
        assert_eq!(fleet.files(), files);
    }
}

#[tokio::test]
async fn an_archive_that_lost_blocks_is_told_apart() {
    let mut fleet = Fleet::new();
    let (window, blocks) = fleet.window_with(2);
    let receipt = fleet.receipt(&blocks[0], device_chain::block::Finality::Final, &archive_key());
    window.lock().unwrap().settle(&receipt).unwrap();
    let (address, _server) = fleet.serve().await;
    let uplink = Uplink::new(config(address), window).unwrap();
    assert!(matches!(uplink.push_next(&mut Pushed::default()).await, Err(UplinkError::Lost(1))));
}

/// Neither a name that the window does not write nor the highest number keeps it from opening, settling or refusing.
#[test]
fn foreign_files_are_let_be() {
    let mut fleet = Fleet::new();
    let (window, blocks) = fleet.window_with(1);
    drop(window);
    for name in ["2.block", "+1.block"] {
        fs::write(fleet.path("window").join(name), b"no block").unwrap();
    }
    let mut window = fleet.window(ROOM);
    assert!(window.damaged().is_empty());
    let receipt = fleet.receipt(&blocks[0], device_chain::block::Finality::Final, &archive_key());
    window.settle(&receipt).unwrap();
    assert_eq!(fleet.window(ROOM).archived().map(|receipt| receipt.number), Some(1));

    fs::write(fleet.path("window").join(format!("{}.block", u32::MAX)), b"damaged").unwrap();
    let next = fleet.car.drive();
    let refused = fleet.window(ROOM).put(&next);
    assert!(matches!(refused, Err(WindowError::Order { expected: u32::MAX })), "{refused:?}");
}

#[tokio::test]
async fn a_damaged_file_is_recognised() {
    let mut fleet = Fleet::new();
    let (_, blocks) = fleet.window_with(3);
    let file = fleet.path("window/0000000002.block");
    let mut bytes = fs::read(&file).unwrap();
    bytes[100] ^= 1;
    fs::write(&file, bytes).unwrap();
    let window: SharedWindow = Arc::new(Mutex::new(fleet.window(ROOM)));
    assert_eq!(window.lock().unwrap().damaged().iter().copied().collect::<Vec<_>>(), [2]);
    let (address, _server) = fleet.serve().await;
    let uplink = Uplink::new(config(address), Arc::clone(&window)).unwrap();
    let report = run_until(&uplink, |report| report.error.is_some()).await;
    assert!(report.error.unwrap().contains("block 2 is damaged"));
    window.lock().unwrap().put(&blocks[1]).unwrap();
    run_until(&uplink, |report| report.archived == 3).await;
}

#[tokio::test]
async fn a_full_window_gives_up_records_and_then_refuses() {
    let mut fleet = Fleet::new();
    (0..200).for_each(|_| fleet.car.attest(1.0));
    let first = fleet.car.drive();
    let room = first.encode().len() as u64 + 600;
    let mut window = fleet.window(room);
    window.put(&first).unwrap();
    window.put(&fleet.car.drive()).unwrap();
    assert_eq!(window.thinned(), 0);
    let mut full = None;
    for _ in 0..100 {
        let block = fleet.car.drive();
        full = window.put(&block).err();
        if full.is_some() {
            break;
        }
    }
    assert!(matches!(full, Some(WindowError::Full)), "{full:?}");
    assert!(window.thinned() > 1);
    let kept = window.newest();
    drop(window);

    let (address, _server) = fleet.serve().await;
    let uplink = Uplink::new(config(address), Arc::new(Mutex::new(fleet.window(room)))).unwrap();
    run_until(&uplink, |report| report.archived == kept).await;
    let stored = fleet.archive().blocks(VEHICLE, 1).unwrap();
    let block = Block::decode(&cloud_link::hex::decode(&stored[0].bytes).unwrap()).unwrap();
    assert_eq!((block.attested, block.header.attested_count), (None, 201));
}

#[test]
fn a_window_keeps_one_chain() {
    let mut fleet = Fleet::new();
    let mut window = fleet.window(ROOM);
    let (first, second, third) = (fleet.car.drive(), fleet.car.drive(), fleet.car.drive());
    window.put(&first).unwrap();
    assert!(matches!(window.put(&third), Err(WindowError::Order { expected: 2 })));
    let mut fork = first.clone();
    fork.header.time_ms += 1;
    assert!(matches!(window.put(&fork), Err(WindowError::Conflict(1))));
    let mut on_a_fork = second.clone();
    on_a_fork.header.previous = fork.hash(&fleet.car.genesis.mesh());
    assert!(matches!(window.put(&on_a_fork), Err(WindowError::Conflict(1))));
    window.settle(&fleet.receipt(&first, device_chain::block::Finality::Final, &archive_key())).unwrap();
    assert!(matches!(window.put(&on_a_fork), Err(WindowError::Conflict(1))), "also behind an archived one");
    window.put(&second).unwrap();
    fs::write(fleet.path("window/archived.receipt"), "junk").unwrap();
    let opened = Window::open(&fleet.path("window"), fleet.car.genesis.clone(), ROOM);
    assert!(matches!(opened.err(), Some(WindowError::Receipt)));
}

#[tokio::test]
async fn grants_come_down_and_status_goes_up() {
    let mut fleet = Fleet::new();
    fleet.archive_blocks_at(0, 1);
    let (address, _server) = fleet.serve().await;
    let uplink = Uplink::new(config(address), Arc::new(Mutex::new(fleet.window(ROOM)))).unwrap();
    let (grants, mut received) = mpsc::channel(8);
    let (claims, claim) = watch::channel(Claim { mode: Mode::Trusted, height: 3, peers: 4 });
    let running = tokio::spawn(async move { uplink.run(grants, claim).await });

    let client = reqwest::Client::new();
    let url = |what: &str| format!("http://{address}/v1/vehicles/{VEHICLE}/{what}");
    let order = GrantOrder { action: Action::Unlock, holder: "0".repeat(64), valid_heights: Some(10), not_after: None };
    for token in ["", "wrong"] {
        let answer = client.post(url("grants")).bearer_auth(token).json(&order).send().await.unwrap();
        assert_eq!(answer.status(), 401);
    }
    let token = fs::read_to_string(fleet.path("keys/operator.token")).unwrap();
    for serial in 1..=2 {
        let answer = client.post(url("grants")).bearer_auth(token.trim()).json(&order).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        let grant = timeout(PATIENCE, received.recv()).await.expect("in time").unwrap();
        assert_eq!((grant.grant.serial, grant.check(&fleet.car.registry)), (serial, Ok(())));
    }

    let trusted = async |expected: bool| {
        let told = async {
            loop {
                let trust: cloud_link::wire::Trust =
                    client.get(url("trust")).send().await.unwrap().json().await.unwrap();
                if trust.trusted == expected {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, told).await.expect("in time");
    };
    trusted(true).await;
    claims.send(Claim { mode: Mode::Isolated, height: 3, peers: 1 }).unwrap();
    trusted(false).await;
    running.abort();
}

/// A cloud that answers without end, or without waiting, costs the car neither memory nor rest.
#[tokio::test]
async fn a_hostile_cloud_is_bounded() {
    let mut fleet = Fleet::new();
    let (window, _) = fleet.window_with(1);
    let polls = Arc::new(AtomicU32::new(0));
    let polled = Arc::clone(&polls);
    let flood = || async { (StatusCode::BAD_REQUEST, vec![b'x'; 1 << 20]) };
    let liar = Router::new().route("/v1/vehicles/{id}/blocks", post(flood)).route(
        "/v1/vehicles/{id}/grants",
        get(move || async move {
            polled.fetch_add(1, Ordering::Relaxed);
            "[]"
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(listener.local_addr().unwrap());
    config.look = Duration::from_millis(100);
    tokio::spawn(async move { axum::serve(listener, liar).await });
    let uplink = Uplink::new(config, window).unwrap();
    let refused = uplink.push_next(&mut Pushed::default()).await;
    assert!(matches!(refused, Err(UplinkError::Answer(_))), "{refused:?}");
    let (grants, _received) = mpsc::channel(8);
    let (_claims, claims) = watch::channel(Claim { mode: Mode::Trusted, height: 0, peers: 4 });
    let running = timeout(Duration::from_millis(950), uplink.run(grants, claims)).await;
    assert!(running.is_err());
    let polls = polls.load(Ordering::Relaxed);
    assert!((1..=10).contains(&polls), "{polls} polls");
}

#[tokio::test]
async fn strangers_get_little_of_the_service() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let fleet = Fleet::new();
    let (address, _server) = fleet.serve().await;
    let client = reqwest::Client::new();
    let url = |what: &str| format!("http://{address}/v1/vehicles/{what}");
    let json = |body: String| {
        client.put(url(&format!("{VEHICLE}/status"))).header("content-type", "application/json").body(body)
    };
    for (body, status) in [
        (" ".repeat(5000), 413),
        ("{".to_owned(), 400),
        (r#"{"mode":"trusted","height":-1,"peers":4}"#.to_owned(), 422),
        (r#"{"mode":"trusted","height":1,"peers":4,"trusted":true}"#.to_owned(), 422),
        (r#"{"mode":"trusted","height":1,"peers":4}"#.to_owned(), 204),
    ] {
        assert_eq!(json(body.clone()).send().await.unwrap().status(), status, "{body}");
    }
    for (path, status) in [
        (format!("{VEHICLE}/events?from=4294967295"), 200),
        (format!("{VEHICLE}/events?from=4294967296"), 400),
        (format!("{VEHICLE}/blocks?from=-1"), 400),
        (format!("{VEHICLE}/grants?after=18446744073709551615"), 200),
        (format!("{VEHICLE}/grants/18446744073709551615"), 404),
        (format!("{VEHICLE}/grants/-1"), 400),
        ("..%2F..%2Fetc%2Fpasswd/trust".to_owned(), 404),
        ("x'%20OR%20'1'='1/trust".to_owned(), 404),
        ("%00/trust".to_owned(), 404),
        (format!("{}/trust", "0".repeat(64)), 404),
        (format!("{}/trust", "é".repeat(32)), 404),
    ] {
        assert_eq!(client.get(url(&path)).send().await.unwrap().status(), status, "{path}");
    }

    // As many uploads as there are places, none of which sends its body: the next is told so, the rest goes on.
    let head = format!("POST /v1/vehicles/{VEHICLE}/blocks HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n");
    let mut slow = Vec::new();
    for _ in 0..64 {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let busy = async {
        while client.post(url(&format!("{VEHICLE}/blocks"))).body("junk").send().await.unwrap().status() != 503 {}
    };
    timeout(PATIENCE, busy).await.expect("all places taken");
    assert_eq!(client.get(url(&format!("{VEHICLE}/trust"))).send().await.unwrap().status(), 200);
    slow[0].write_all(b"junk junk").await.unwrap();
    let mut answer = [0; 12];
    slow[0].read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 422");
    slow.clear();
    let free = async {
        while client.post(url(&format!("{VEHICLE}/blocks"))).body("junk").send().await.unwrap().status() != 422 {}
    };
    timeout(PATIENCE, free).await.expect("places are given back");
}

#[tokio::test]
async fn the_api_answers_bad_input_by_status() {
    let mut fleet = Fleet::new();
    let blocks = fleet.archive_blocks(1);
    let (_, third) = (fleet.car.drive(), fleet.car.drive());
    let (address, _server) = fleet.serve().await;
    let client = reqwest::Client::new();
    let url = |path: &str| format!("http://{address}{path}");
    let mine = format!("/v1/vehicles/{VEHICLE}/blocks");
    let mut fork = blocks[0].clone();
    fork.header.time_ms += 1;
    for (path, body, status, says) in [
        (mine.as_str(), blocks[0].encode(), 200, "\"finality\":\"final\""),
        (&mine, third.encode(), 409, "\"expected\":2"),
        (&mine, fork.encode(), 409, "\"stored\":"),
        (&mine, b"junk".to_vec(), 422, "not a block"),
        (&mine, vec![0; 1 << 20], 422, "not a block"),
        (&mine, vec![0; (1 << 20) + 1], 413, ""),
        ("/v1/vehicles/nobody/blocks", blocks[0].encode(), 404, "not registered"),
    ] {
        let answer = client.post(url(path)).body(body).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path} {says}");
        let text = answer.text().await.unwrap();
        assert!(text.contains(says), "{says} in {text}");
    }
    for (path, status) in [
        ("/healthz", 200),
        ("/readyz", 200),
        (&format!("{mine}?from=1"), 200),
        (&format!("{mine}?from=x"), 400),
        ("/v1/vehicles/nobody/trust", 404),
        (&format!("/v1/vehicles/{VEHICLE}/grants/7"), 404),
        (&format!("/v1/vehicles/{VEHICLE}/events?from=1"), 200),
        ("/v2", 404),
    ] {
        assert_eq!(client.get(url(path)).send().await.unwrap().status(), status, "{path}");
    }
}
