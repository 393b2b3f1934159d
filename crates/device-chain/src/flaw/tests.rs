//! Every wrong rule is noticed: a test of this crate, run in a process whose validators all break the rule, fails.

use std::process::{Command, Stdio};
use std::string::String;

use super::{Flaw, ORDER};

/// Which test notices what.
const NOTICED: &[(Flaw, &str)] = &[
    (Flaw::ProofFromAll, "agreement::tests::traces::t1_an_unlocked_node_asks_for_no_certificate"),
    (Flaw::PolkaCertifies, "agreement::tests::traces::t2_a_later_round_locks_only_on_a_certificate"),
    (Flaw::Hearsay, "validator::tests::traces::t3_only_a_vote_with_a_tag_for_me_counts"),
    (Flaw::UnboundTag, "validator::tests::traces::t4_a_tag_covers_what_is_voted_for"),
    (Flaw::LockForgotten, "validator::tests::traces::t5_a_power_cut_does_not_unlock"),
    (Flaw::DecidedLeave, "agreement::tests::traces::t6_who_has_decided_goes_on_helping"),
    (Flaw::ReadiesForgotten, "validator::tests::traces::t7_a_power_cut_takes_no_certificate"),
    (Flaw::PrevotesForgotten, "agreement::tests::traces::t8_prevotes_are_durable"),
    (Flaw::SentFirst, "validator::tests::traces::t8_a_vote_is_durable_before_it_leaves"),
    (Flaw::FaultsRecounted, "validator::tests::traces::t9_two_liars_do_not_gain_by_a_suspension"),
    (Flaw::OldProofUnlocks, "agreement::tests::traces::t12_a_lock_yields_to_no_older_certificate"),
    (Flaw::SmallQuorum, "agreement::tests::scenarios::a_precommit_counts_as_its_senders_prevote"),
    (Flaw::FewReadies, "agreement::tests::scenarios::a_lock_yields_only_to_a_newer_certificate"),
    (Flaw::LastVoteCounts, "agreement::tests::scenarios::who_votes_twice_is_reported_and_counted_once"),
    (Flaw::CountedTwice, "agreement::tests::explore::storms::storms_reach_nothing_else"),
    (Flaw::NoEvidence, "agreement::tests::scenarios::without_evidence_of_its_own_a_node_follows_f_plus_1_voters"),
    (Flaw::OneTakesAlong, "agreement::tests::scenarios::f_plus_1_voters_of_a_higher_round_take_a_node_along"),
    (Flaw::OneIsBelieved, "validator::tests::catch_up::who_is_behind_believes_no_single_one"),
    (Flaw::UnboundParent, "golden::decision"),
    (Flaw::AmnesiacVotes, "validator::tests::catch_up::a_wiped_ecu_is_silent_until_readmitted_and_then_votes"),
    (
        Flaw::AnyReadmission,
        "validator::tests::catch_up::a_wiped_ecu_that_reboots_while_it_is_readmitted_is_readmitted_once_more",
    ),
    (Flaw::HelloReplaces, "validator::tests::ignition::a_recorded_session_does_not_bring_a_dead_peer_back"),
    (Flaw::ReplayCounts, "session::tests::every_counter_is_taken_once_in_any_order"),
    (Flaw::GrantAgain, "validator::tests::orders::replayed_expired_foreign_and_unsigned_grants_are_never_decided"),
    (Flaw::AlwaysLive, "validator::tests::catch_up::what_is_decided_long_after_it_was_heard_of_moves_nothing"),
    (Flaw::NonceStays, "validator::tests::aging::a_stolen_session_key_dies_at_the_next_boot"),
    (Flaw::KeysStay, "validator::tests::aging::a_stolen_pairwise_key_opens_no_earlier_session"),
    (Flaw::NothingShared, "validator::tests::aging::a_stolen_pairwise_key_is_healed_by_a_refresh"),
    (Flaw::OneClock, "validator::tests::clocks::a_clock_stuck_at_its_maximum_does_not_advance_time"),
];

/// What the test says by this rule, if it fails; by the right ones without it.
fn failure(test: &str, flaw: Option<Flaw>) -> Option<String> {
    let mut run = Command::new(std::env::current_exe().expect("this test"));
    run.args([test, "--exact", "--include-ignored"]).stdin(Stdio::null());
    run.envs(flaw.map(|flaw| (ORDER, std::format!("{flaw:?}"))));
    let output = run.output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("running 1 test\n"), "no such test: {test}");
    (!output.status.success()).then_some(text)
}

#[test]
#[cfg_attr(miri, ignore = "starts processes")]
fn each_wrong_rule_is_noticed() {
    assert!(Flaw::ALL.iter().eq(NOTICED.iter().map(|(flaw, _)| flaw)), "each has its test, in this order");
    for (flaw, test) in NOTICED {
        assert_eq!(failure(test, None), None, "by the right rules");
        let noticed = failure(test, Some(*flaw)).is_some_and(|said| said.contains("panicked at"));
        std::println!("{flaw:?}: {}", if noticed { test } else { "NOT NOTICED" });
        assert!(noticed, "{flaw:?}: {test} passes");
    }
}
