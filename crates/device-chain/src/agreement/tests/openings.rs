//! Proposals: whose count, who opens a height and when, and who has to wait (L4, F1 to F3).

use super::*;

const WON: Standing = Standing { has_won: true, set_aside: false };
const ASIDE: Standing = Standing { has_won: false, set_aside: true };

/// Node 0 of seven, where validator 1 stands like that.
fn with_standing(of_1: Standing) -> Node {
    let mut node = Node::new(7, 0);
    let mut standings = Standings::default();
    standings[1] = of_1;
    node.instance.set_standings(standings);
    node
}

#[test]
fn of_members_the_first_proposal_counts_and_later_rounds_have_one_proposer() {
    let mut node = Node::new(4, 0);
    node.instance.set_members(Members::all(4).without(3), Quorum { n: 3, f: 1 });
    let table = [(0, 1, true), (0, 2, true), (0, 3, false), (1, 2, true), (1, 0, false), (1, 3, false), (2, 0, true)];
    for (round, proposer, counts) in table {
        assert_eq!(node.instance.takes_proposal(round, proposer), counts, "of {proposer} in round {round}");
    }
    let ids = [P, Q].map(|hash| node.instance.add_value(value(hash, 1), TX).expect("room"));
    for (round, proposer) in [(0, 1), (0, 3), (1, 2), (1, 0)] {
        for id in ids {
            node.instance.on_proposal(round, proposer, id);
        }
    }
    assert_eq!([0, 1, 2, 3].map(|proposer| node.instance.has_proposed(proposer)), [false, true, false, false]);
    assert_eq!([0, 1, 2, 3].map(|proposer| node.instance.opener(proposer)), [None, Some(ids[0]), None, None]);
    assert_eq!(ids.map(|id| node.instance.proposers(id).collect::<std::vec::Vec<_>>()), [std::vec![1], std::vec![]]);
    assert_eq!((node.instance.takes_proposal(0, 1), node.instance.takes_proposal(1, 2)), (false, false), "one each");
}

#[test]
fn own_proposals_are_those_of_round_0_and_of_the_rounds_in_which_it_is_the_proposer() {
    let mut node = Node::new(4, 2);
    let ids = [P, Q].map(|hash| node.instance.add_value(value(hash, 2), TX).expect("room"));
    assert_eq!([0, 1, 2].map(|round| node.instance.own_proposal_of(round)), [None; 3]);
    node.instance.set_own_proposal(ids[0]);
    node.instance.set_own_proposal(ids[1]);
    node.instance.on_proposal(1, 2, ids[1]);
    node.instance.on_proposal(2, 3, ids[1]);
    let own = [Some(ids[0]), Some(ids[1]), None];
    assert_eq!([0, 1, 2].map(|round| node.instance.own_proposal_of(round)), own, "the first, its own, another's");
}

/// L4, F1: at once, or one propose timeout after another's proposal, if that may be for few to hear.
#[test]
fn when_a_node_opens_a_height() {
    type Heard = fn(&mut Node);
    let (at_once, after_another) = (Some(Micros(0)), Some(START.plus(TIMEOUTS.of(0))));
    let proposed: Heard = |node| drop(node.proposed(0, 1, P));
    let table: [(&str, Standing, Heard, Option<Micros>); 12] = [
        ("nothing is heard", Standing::default(), |_| {}, at_once),
        ("another has proposed", Standing::default(), proposed, after_another),
        ("who has won has proposed", WON, proposed, at_once),
        ("who is set aside has proposed", ASIDE, proposed, at_once),
        (
            "who has won has proposed, and another the same",
            WON,
            |node| {
                node.proposed(0, 1, P);
                node.proposed(0, 2, P);
            },
            after_another,
        ),
        (
            "what was proposed may not be voted for",
            Standing::default(),
            |node| {
                node.instance.add_value(Value { evident: false, ..value(P, 1) }, TX);
                node.instance.on_proposal(0, 1, 0);
                node.run();
            },
            at_once,
        ),
        (
            "what was proposed is known from votes only",
            Standing::default(),
            |node| {
                node.instance.add_value(value(P, 1), TX);
                node.run();
            },
            after_another,
        ),
        ("f have joined", Standing::default(), |node| drop(node.prevotes(0, NIL, 1..3)), at_once),
        ("f + 1 have joined", Standing::default(), |node| drop(node.prevotes(0, NIL, 1..4)), None),
        (
            "it has opened",
            Standing::default(),
            |node| {
                node.instance.add_value(value(P, 0), TX);
                node.instance.set_own_proposal(0);
            },
            None,
        ),
        (
            "it is in a later round",
            Standing::default(),
            |node| node.instance.restore_vote(VoteKind::Prevote, 1, None),
            None,
        ),
        (
            "it has been stirred by a single voter",
            Standing::default(),
            |node| {
                node.prevotes(0, NIL, [1]);
                node.wait();
            },
            None,
        ),
    ];
    for (when, standing, heard, expected) in table {
        let mut node = with_standing(standing);
        heard(&mut node);
        assert_eq!(node.instance.opens_at(), expected, "{when}");
    }
}

/// F1, F2: until the time for a proposal is over, or a correct voter did not wait either.
#[test]
fn what_is_set_aside_gets_the_vote_late_or_with_f_plus_1_voters() {
    let mut node = with_standing(ASIDE);
    assert_eq!(node.proposed(0, 1, P), []);
    assert_eq!(node.prevotes(0, Some(P), [1, 2]), [], "f may be liars");
    assert_eq!(node.prevotes(0, Some(P), [3]), [prevote(0, Some(P))]);
    assert!(node.instance.workings().set_aside && !node.instance.waited_in_vain());

    let mut node = with_standing(ASIDE);
    node.proposed(0, 1, P);
    assert_eq!(node.proposed(0, 2, Q), [prevote(0, Some(Q))], "somebody better");
    assert!(!node.instance.waited_in_vain());

    let mut node = with_standing(ASIDE);
    node.proposed(0, 1, P);
    assert_eq!(node.wait(), [prevote(0, Some(P))], "nobody better came");
    assert!(node.instance.waited_in_vain());

    let mut node = Node::new(7, 0);
    assert_eq!(node.proposed(0, 1, P), [prevote(0, Some(P))]);
    assert_eq!((node.instance.workings(), node.instance.waited_in_vain()), (AtHeight::default(), false));
}
