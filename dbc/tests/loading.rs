//! What a DBC file may say, what is refused and in which words.

use std::fs;

use dbc::{Database, Diagnostic};
use proptest::prelude::*;

const HEADER: &str = "VERSION \"\"\n\nNS_ :\n\nBS_:\n\nBU_: ECM\n";
/// Line of the first statement after [`HEADER`].
const FIRST: usize = 8;

fn parse(statements: &str) -> Result<Database, Diagnostic> {
    Database::parse("car.dbc", &format!("{HEADER}{statements}\n"))
}

fn warnings(statements: &str) -> Vec<String> {
    parse(statements).expect("the statements are valid").warnings().iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let table = [
        (0, "hello", "this is not a DBC statement"),
        (1, "BO_ 1 A: 8 ECM\nSG_ S : 0|8@1+ (1,0) [0|1]\n", "expected unit"),
        (0, "BO_ 1 A: -8 ECM\nBO_ 2 B: 8 ECM", "Invalid Uint value: '-8'"),
        (0, "BO_ 2048 A: 8 ECM", "message A has identifier 2048, which does not exist"),
        (0, "BO_ 70000 A: 8 ECM", "message A has identifier 70000, which does not exist"),
        (0, "BO_ 2684354560 A: 8 ECM", "message A has identifier 2684354560, which does not exist"),
        (0, "BO_ 1 A: 70000 ECM", "message A has 70000 bytes"),
        (1, "BO_ 1 A: 8 ECM\nBO_ 1 B: 8 ECM", "identifier 001 is already defined in line 8"),
        (1, "BO_ 1 A: 1 ECM\n SG_ S : 0|9@1+ (1,0) [0|0] \"\" ECM", "signal S does not fit in message A"),
        (1, "BO_ 1 A: 1 ECM\n SG_ S : 6|8@0+ (1,0) [0|0] \"\" ECM", "signal S does not fit in message A"),
        (1, "BO_ 1 A: 1 ECM\n SG_ S : 4294967295|8@0+ (1,0) [0|0] \"\" ECM", "signal S does not fit in message A"),
        (1, "BO_ 1 A: 1 ECM\n SG_ S : 0|0@1+ (1,0) [0|0] \"\" ECM", "signal S has no bits"),
        (
            2,
            "BO_ 1 A: 2 ECM\n SG_ S : 0|8@1+ (1,0) [0|0] \"\" ECM\n SG_ S : 8|8@1+ (1,0) [0|0] \"\" ECM",
            "message A already has a signal S in line 9",
        ),
        (
            1,
            "BO_ 1 A: 1 ECM\n SG_ S : 0|8@1+ (1e999,0) [0|0] \"\" ECM",
            "signal S has a factor or offset that is not a finite number",
        ),
        (
            1,
            "BO_ 1 A: 2 ECM\n SG_ S : 0|16@1- (1,0) [0|0] \"\" ECM\nSIG_VALTYPE_ 1 S : 1;",
            "signal S is an IEEE float of 32 bits but has 16",
        ),
        (
            1,
            "BO_ 1 A: 1 ECM\n SG_ S m1 : 0|8@1+ (1,0) [0|0] \"\" ECM",
            "signal S is multiplexed, but its message has no multiplexor",
        ),
        (
            3,
            "BO_ 1 A: 3 ECM\n SG_ M1 M : 0|8@1+ (1,0) [0|0] \"\" ECM\n SG_ M2 M : 8|8@1+ (1,0) [0|0] \"\" ECM\n \
             SG_ S m1 : 16|8@1+ (1,0) [0|0] \"\" ECM",
            "signal S is multiplexed, but by which of several multiplexors?",
        ),
        (
            1,
            "BO_ 1 A: 1 ECM\n SG_ S m1 : 0|8@1+ (1,0) [0|0] \"\" ECM\nSG_MUL_VAL_ 1 S Mode 1-1;",
            "signal S has the unknown multiplexor Mode",
        ),
        (
            1,
            "BO_ 1 A: 2 ECM\n SG_ X m1M : 0|8@1+ (1,0) [0|0] \"\" ECM\n SG_ Y m1M : 8|8@1+ (1,0) [0|0] \"\" ECM\n\
             SG_MUL_VAL_ 1 X Y 1-1;\nSG_MUL_VAL_ 1 Y X 1-1;",
            "signal X depends on multiplexors that select each other",
        ),
    ];
    for (line, statements, what) in table {
        let error = parse(statements).expect_err(statements);
        assert_eq!(error.line, Some(FIRST + line), "{error}");
        assert!(error.what.starts_with(what), "{error}\nshould begin with: {what}");
        assert!(error.to_string().starts_with(&format!("car.dbc:{}: ", FIRST + line)), "{error}");
    }
}

#[test]
fn whichever_line_is_damaged_is_the_one_that_is_named() {
    let lines: Vec<_> = include_str!("../demo-car.dbc").lines().collect();
    let first_message = lines.iter().position(|line| line.starts_with("BO_ ")).unwrap();
    for (index, line) in lines.iter().enumerate().skip(first_message).filter(|(_, line)| !line.is_empty()) {
        let mut damaged = lines.clone();
        let question = format!("?{line}");
        damaged[index] = &question;
        let error = Database::parse("car.dbc", &damaged.join("\n")).unwrap_err();
        assert_eq!(error.line, Some(index + 1), "{error}");
    }
}

#[test]
fn several_statements_on_a_line_are_refused() {
    let error = parse("BO_ 1 A: 8 ECM BO_ 2 B: 8 ECM").unwrap_err();
    assert_eq!(
        error.to_string(),
        "car.dbc: several statements share a line; start each BO_ and each SG_ on a line of its own"
    );
}

#[test]
fn what_is_odd_is_a_warning() {
    let table = [
        (
            "BO_ 1 A: 1 ECM\n SG_ S : 0|5@1+ (1,0) [0|0] \"\" ECM\n SG_ T : 4|4@1+ (1,0) [0|0] \"\" ECM",
            "car.dbc:10: signal T overlaps S (line 9); correct start bit or length unless both readings are meant",
        ),
        (
            "BO_ 1 A: 1 ECM\n SG_ S : 0|8@1+ (1,0) [5|1] \"\" ECM",
            "car.dbc:9: signal S has its minimum 5 above its maximum 1; correct the range; until then none is checked",
        ),
        (
            "BO_ 1 A: 1 ECM\n SG_ S : 0|8@1+ (0,3) [0|0] \"\" ECM",
            "car.dbc:9: signal S has factor 0, so its value is always 3; write the factor, 1 if the raw value is meant",
        ),
        (
            "BO_ 1 A: 64 ECM\n SG_ S : 0|512@1+ (1,0) [0|0] \"\" ECM",
            "car.dbc:9: signal S of 512 bits is left out; split it into signals of at most 64 bits to have it decoded",
        ),
        (
            "BO_ 1 A: 100 ECM",
            "car.dbc:8: message A has 100 bytes, which no frame holds; only signals in its first 64 bytes can be decoded",
        ),
    ];
    for (statements, warning) in table {
        assert_eq!(warnings(statements), [warning]);
    }
}

#[test]
fn signals_of_different_multiplexor_values_may_share_bits() {
    let simple = "BO_ 1 A: 2 ECM\n SG_ Mode M : 0|8@1+ (1,0) [0|0] \"\" ECM\n SG_ S m0 : 8|8@1+ (1,0) [0|0] \"\" ECM\n \
                  SG_ T m1 : 8|8@1+ (1,0) [0|0] \"\" ECM";
    assert_eq!(warnings(simple), [""; 0]);
    let overlapping_values = format!("{simple}\nSG_MUL_VAL_ 1 S Mode 0-3;\nSG_MUL_VAL_ 1 T Mode 3-4;");
    assert_eq!(warnings(&overlapping_values).len(), 1);
}

#[test]
fn everything_about_a_message_is_found() {
    let database = parse(
        "BO_ 2566834709 A: 64 ECM\n SG_ S : 0|32@1- (0.5,-1) [-10|10] \"V\" ECM\nBO_ 5 B: 12 Vector__XXX\nBO_ 6 C: 8 ECM\n\
         BA_DEF_ BO_ \"GenMsgCycleTime\" INT 0 1000;\nBA_DEF_ BO_ \"VFrameFormat\" ENUM \"StandardCAN\",\"StandardCAN_FD\";\n\
         BA_DEF_DEF_ \"GenMsgCycleTime\" 100;\nBA_DEF_DEF_ \"VFrameFormat\" \"StandardCAN\";\n\
         BA_ \"GenMsgCycleTime\" BO_ 5 0;\nBA_ \"GenMsgCycleTime\" BO_ 6 20;\nBA_ \"VFrameFormat\" BO_ 6 1;\n\
         BA_ \"VssPath\" SG_ 2566834709 S \"Vehicle.Volts\";\nVAL_ 2566834709 S -1 \"off\" 2 \"on\" ;\n\
         SIG_VALTYPE_ 2566834709 S : 1;",
    )
    .unwrap();
    let summary: Vec<_> = database.messages().iter().map(|m| (m.id_text(), m.fd, m.cycle_time_ms)).collect();
    let expected = [("005".into(), true, None), ("006".into(), true, Some(20)), ("18FECA15".into(), true, Some(100))];
    assert_eq!(summary, expected);
    let signal = database.message(0x98FE_CA15).unwrap().signal("S").unwrap();
    assert_eq!((signal.kind, signal.factor, signal.offset), (dbc::ValueKind::Float, 0.5, -1.0));
    assert_eq!((&signal.range, signal.unit.as_str()), (&Some(-10.0..=10.0), "V"));
    assert_eq!((signal.text(-1), signal.text(2), signal.text(3)), (Some("off"), Some("on"), None));
    assert_eq!(signal.vss_path.as_deref(), Some("Vehicle.Volts"));
    assert_eq!(database.message_named("B").unwrap().transmitter, None);
}

#[test]
fn statements_inside_texts_are_texts() {
    let database = parse("CM_ \"not a message:\nBO_ 9 X: 8 ECM\n\\\" // still text\nBO_ 8 Y: 8 ECM\";\nBO_ 1 A: 8 ECM // BO_ \"2\nBO_ 3 B: 8 ECM").unwrap();
    let names: Vec<_> = database.messages().iter().map(|message| message.name.as_str()).collect();
    assert_eq!(names, ["A", "B"]);
}

#[test]
fn latin_1_files_and_byte_order_marks_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{HEADER}BO_ 1 A: 1 ECM\r\n SG_ S : 0|8@1+ (1,-40) [0|0] \"°C\" ECM\r\n");
    let latin_1: Vec<u8> = text.chars().map(|c| c as u8).collect();
    for (bytes, warnings) in [(latin_1, 1), (text.clone().into_bytes(), 0), (format!("\u{feff}{text}").into_bytes(), 0)]
    {
        let path = folder.path().join("car.dbc");
        fs::write(&path, bytes).unwrap();
        let database = Database::load(&path).unwrap();
        assert_eq!(database.message(1).unwrap().signals[0].unit, "°C");
        assert_eq!(database.warnings().len(), warnings);
    }
}

#[test]
fn missing_and_huge_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("car.dbc");
    assert!(Database::load(&path).unwrap_err().what.starts_with("cannot be read: "));
    fs::File::create(&path).unwrap().set_len(dbc::MAX_FILE_BYTES + 1).unwrap();
    assert_eq!(Database::load(&path).unwrap_err().what, format!("is larger than {} bytes", dbc::MAX_FILE_BYTES));
}

/// Pieces that almost make a DBC file.
fn nearly_dbc() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "\n",
        " ",
        "BO_ ",
        "1",
        "2147483649",
        "99999999999999999999",
        "A: ",
        "8 ECM\n",
        " SG_ S ",
        "M ",
        "m1 ",
        "m2M ",
        ": ",
        "0|8@1+ ",
        "63|64@0- ",
        "4294967295|64@1+",
        "(1,0) ",
        "[0|1] ",
        "\"\" ",
        "ECM\n",
        "SG_MUL_VAL_ 1 S S 0-1;\n",
        "SIG_VALTYPE_ 1 S : 2;\n",
        "CM_ \"",
        "//",
        "\\\"",
        "VAL_ 1 S -1 \"x\" ;\n",
        "BO_ 1 A: 8 ECM\n",
        " SG_ S m0M : 7|8@0+ (1,0) [0|0] \"\" ECM\n",
        "BA_ \"GenMsgCycleTime\" BO_ 1 -5;\n",
    ]);
    prop::collection::vec(pieces, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_is_loaded_or_refused(text: String, pieces in nearly_dbc()) {
        let _ = Database::parse("any", &text);
        if let Ok(database) = Database::parse("pieces", &pieces) {
            for message in database.messages() {
                prop_assert_eq!(message.decode(&[0xA5; 64]).count(), message.signals.len());
            }
        }
    }
}
