//! The commands as a person runs them.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

mod common;

use common::{Fleet, VEHICLE};
use serde_json::Value;

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_issued_and_trust_asked_for() {
    let mut fleet = Fleet::new();
    let (address, _server) = fleet.serve().await;
    let url = format!("http://{address}");
    let trust = ["trust", VEHICLE, "--url", &url];
    let untrusted = fleet.run(&trust);
    assert_eq!(untrusted.status.code(), Some(1), "not to be trusted is a failed check");
    assert!(text(&untrusted.stdout).contains("No block of this car is final yet."));

    fleet.archive_blocks_at(0, 1);
    let trusted = fleet.run(&[&trust[..], &["--json"]].concat());
    assert_eq!(trusted.status.code(), Some(0));
    let answer: Value = serde_json::from_slice(&trusted.stdout).unwrap();
    assert_eq!((&answer["trusted"], &answer["block"], &answer["finality"]), (&true.into(), &1.into(), &"final".into()));

    let holder = "ab".repeat(32);
    let grant = ["grant", VEHICLE, "unlock", "--url", &url, "--holder", &holder, "--token", "keys/operator.token"];
    let issued = fleet.run(&grant);
    assert_eq!(text(&issued.stdout), "serial 1, good from height 2 to 1002\n");
    let wrong = fleet.run(&["grant", VEHICLE, "lock", "--url", &url, "--holder", &holder, "--token", "maker.pub"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("bearer token"));
    assert_eq!(fleet.run(&["trust", "nobody", "--url", &url]).status.code(), Some(2));
}

#[test]
fn a_service_that_is_not_there_is_another_exit_status() {
    let fleet = Fleet::new();
    let output = fleet.run(&["trust", VEHICLE, "--url", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("cloud-link serve"));
}

#[test]
fn keys_are_made_once() {
    let fleet = Fleet::new();
    let made = fleet.run(&["keygen", "--out", "new", "--json"]);
    let public: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(public["fleet"].as_str().unwrap().len(), 64);
    let again = fleet.run(&["keygen", "--out", "new"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("never overwritten"));
}

#[test]
fn help_teaches() {
    let fleet = Fleet::new();
    let help = fleet.run(&["--help"]);
    for word in ["keygen", "register", "serve", "verify", "Exit status"] {
        assert!(text(&help.stdout).contains(word), "{word}");
    }
    let serve = fleet.run(&["serve", "--help"]);
    assert!(text(&serve.stdout).contains("TLS"));
    assert_eq!(fleet.run(&["unlock"]).status.code(), Some(2));
}

#[test]
fn registration_names_the_vehicle() {
    let fleet = Fleet::new();
    let register = ["register", "--store", "other.db", "--genesis", "car.genesis", "--maker-key"];
    let output = fleet.run(&[&register[..], &["maker.pub"]].concat());
    assert_eq!(text(&output.stdout), format!("{VEHICLE}  {}\n", fleet.car.genesis.mesh().0));
    let output = fleet.run(&[&register[..], &["maker.pub", "--json"]].concat());
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["vehicle"], VEHICLE);
    let wrong_maker = "11".repeat(32);
    for (maker, names) in [("00", "00"), (&wrong_maker, "car.genesis")] {
        let output = fleet.run(&[&register[..], &[maker]].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(names), "{}", text(&output.stderr));
    }
}

#[test]
fn a_service_that_cannot_start_says_why() {
    let mut fleet = Fleet::new();
    fleet.archive_blocks(2);
    std::fs::write(fleet.path("junk"), "junk").unwrap();
    let serve = |store: &str, keys: &str| {
        fleet.run(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--store",
            store,
            "--keys",
            keys,
            "--checkpoints",
            "checkpoints",
        ])
    };
    for (store, keys, status, names) in [
        ("junk", "keys", 2, "junk"),
        ("no/such/fleet.db", "keys", 2, "no/such/fleet.db"),
        ("fleet.db", "none", 2, "keygen"),
    ] {
        let output = serve(store, keys);
        assert_eq!(output.status.code(), Some(status), "{names}");
        assert!(text(&output.stderr).contains(names), "{}", text(&output.stderr));
    }
    std::fs::write(fleet.checkpoint(), "junk").unwrap();
    let output = serve("fleet.db", "keys");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains(".checkpoint"), "{}", text(&output.stderr));
}
