//! The `dbc` program: what it prints and its exit status.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Exit status, stdout, stderr of the program, run in this folder.
fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_dbc")).current_dir(folder).args(arguments).output().expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
    (output.status.code().expect("it is not killed"), text(output.stdout), text(output.stderr))
}

/// A folder with a good and a bad DBC file and three logs.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let good = "BO_ 1 A: 2 ECM\n SG_ S : 0|8@1- (0.1,0) [0|0] \"V\" ECM\n SG_ T : 8|8@1+ (1,0) [0|0] \"\" ECM\n\
                VAL_ 1 T 3 \"on\" ;\n";
    let files = [
        ("good.dbc", good),
        ("bad.dbc", "BO_ 1 A: 1 ECM\n SG_ S : 4|8@1+ (1,0) [0|0] \"\" ECM\n"),
        ("good.log", "(1.000000) can0 001#FF03\n(2.000000) can0 002#00\n(3.000000) can0 001#01\n"),
        ("bad.log", "(1.000000) can0 001#FF03\n(2.000000) can0 001#F\n"),
    ];
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("the folder is writable");
    }
    folder
}

#[test]
fn check_reports_every_file() {
    let folder = folder();
    let good = "good.dbc: 1 messages, 2 signals, 0 warnings\n";
    let bad = "error: bad.dbc:2: signal S does not fit in message A; \
               correct its start bit, length or byte order, or the message's length\n";
    assert_eq!(run(folder.path(), &["check", "good.dbc"]), (0, good.into(), String::new()));
    assert_eq!(run(folder.path(), &["check", "bad.dbc", "good.dbc"]), (2, format!("{bad}{good}"), String::new()));
}

#[test]
fn decode_prints_a_line_per_known_frame() {
    let (status, out, err) = run(folder().path(), &["decode", "--dbc", "good.dbc", "good.log"]);
    assert_eq!(status, 0);
    assert_eq!(out, "(0000000001.000000) can0 A S=-0.1V T=3(on)\n(0000000003.000000) can0 A S=0.1V T=absent\n");
    assert_eq!(err, "2 frames decoded, 1 frames of 1 unknown identifiers\n");

    let (_, out, _) = run(folder().path(), &["decode", "--json", "--dbc", "good.dbc", "good.log"]);
    let frames: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(frames[0]["signals"]["S"], serde_json::json!({"raw": -1, "value": -0.1, "unit": "V", "name": null}));
    assert_eq!(frames[1]["time_us"], 3_000_000);
    assert_eq!(frames[1]["signals"]["T"], serde_json::Value::Null);
}

#[test]
fn messages_lists_signals() {
    let (status, out, _) = run(folder().path(), &["messages", "good.dbc"]);
    assert_eq!((status, out.lines().count()), (0, 4));
    assert!(out.starts_with("     001  A  2 bytes classic  ECM\n          S "), "{out}");
    let (_, out, _) = run(folder().path(), &["messages", "--json", "good.dbc"]);
    let message: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(message["signals"][1]["texts"], serde_json::json!({"3": "on"}));
}

#[test]
fn bad_input_ends_with_status_2_and_a_reason() {
    let table: [(&[&str], &str); 5] = [
        (&["decode", "--dbc", "bad.dbc", "good.log"], "error: bad.dbc:2: signal S does not fit in message A; "),
        (&["decode", "--dbc", "good.dbc", "bad.log"], "error: bad.log: line 2: column 21: expected "),
        (&["decode", "--dbc", "good.dbc", "none.log"], "error: none.log: cannot be read: "),
        (&["messages", "none.dbc"], "error: none.dbc: cannot be read: "),
        (&["explode"], "error: unrecognized subcommand"),
    ];
    for (arguments, reason) in table {
        let (status, _, err) = run(folder().path(), arguments);
        assert_eq!(status, 2, "{arguments:?}");
        assert!(err.starts_with(reason), "{err}");
    }
}
