//! Identifiers that a plan must not use.

use dbc::model::EXTENDED_FLAG;
use dbc::{Database, PlannedIdentifier, collisions};

fn found(plan: &[(u32, &str)]) -> Vec<String> {
    let text = "VERSION \"\"\n\nNS_ :\n\nBS_:\n\nBU_: ECM\nBO_ 145 ENGINE: 8 ECM\nBO_ 2147483792 EXTENDED: 8 ECM\n";
    let database = Database::parse("car.dbc", text).expect("the text is valid");
    let planned = |&(raw_id, what): &(u32, &str)| PlannedIdentifier { raw_id, what: what.into() };
    let plan: Vec<_> = plan.iter().map(planned).collect();
    collisions(&plan, &database).iter().map(ToString::to_string).collect()
}

#[test]
fn a_free_plan_has_none() {
    // 090 is free although the 29-bit 00000090 is not; next to the diagnostic ranges there is room, too.
    let plan =
        [0x090, 0x098, 0x7DE, 0x7F0, EXTENDED_FLAG | 0x18D9_FFFF, EXTENDED_FLAG | 0x18DC_0000, EXTENDED_FLAG | 0x7DF];
    assert_eq!(found(&plan.map(|id| (id, "votes"))), [""; 0]);
}

#[test]
fn each_collision_is_a_sentence_with_both_names() {
    let table = [
        (0x091, "091, planned for votes, is taken by message ENGINE of car.dbc; plan another identifier"),
        (
            EXTENDED_FLAG | 0x90,
            "00000090, planned for votes, is taken by message EXTENDED of car.dbc; plan another identifier",
        ),
        (
            0x7DF,
            "7DF, planned for votes, is taken by diagnostic requests to all ECUs (ISO 15765-4); plan another identifier",
        ),
        (
            0x7E0,
            "7E0, planned for votes, is taken by diagnostic requests to one ECU (ISO 15765-4); plan another identifier",
        ),
        (0x7EF, "7EF, planned for votes, is taken by diagnostic responses (ISO 15765-4); plan another identifier"),
        (
            EXTENDED_FLAG | 0x18DA_F110,
            "18DAF110, planned for votes, is taken by diagnostics with one ECU (ISO 15765-4, 18DAxxxx); plan another identifier",
        ),
        (
            EXTENDED_FLAG | 0x18DB_33F1,
            "18DB33F1, planned for votes, is taken by diagnostic requests to all ECUs (ISO 15765-4, 18DBxxxx); plan another identifier",
        ),
    ];
    for (id, sentence) in table {
        assert_eq!(found(&[(id, "votes")]), [sentence]);
    }
}

#[test]
fn a_plan_collides_with_itself_and_with_all_others_at_once() {
    let sentences = found(&[(0x091, "votes of validator 1"), (0x091, "bulk of validator 2")]);
    assert_eq!(
        sentences[1..],
        [
            "091, planned for bulk of validator 2, is taken by message ENGINE of car.dbc; plan another identifier",
            "091, planned for bulk of validator 2, is taken by votes of validator 1 of the same plan; plan another identifier",
        ]
    );
}
