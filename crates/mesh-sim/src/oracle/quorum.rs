//! Nothing is approved below quorum: the oracle counts the PRECOMMITs that were on the wire, checks each tag for the
//! receiver with the receiver's keys, and compares with what the receiver then made durable (C2, C5).

use std::collections::{BTreeMap, BTreeSet};

use device_chain::agreement::VoteKind;
use device_chain::genesis::Genesis;
use device_chain::hash::Domain;
use device_chain::mac::{Key, MacKey, Suite, TAG_INPUT};
use device_chain::record::Record;
use device_chain::types::{Height, Round, ValidatorIndex};
use device_chain::wire::{HEADER, Kind, NIL_PROPOSER, tag_slot};

use super::hashing::Bytes32;
use super::{Invariant, World};
use crate::event::{Event, What};
use crate::keys::Keyring;

/// A PRECOMMIT that came in at a receiver.
struct Heard {
    voter: ValidatorIndex,
    round: Round,
    head: [u8; HEADER],
    tag: Vec<u8>,
}

/// PRECOMMITs heard and decisions that they carry.
pub struct QuorumOfVotes {
    suite: Suite,
    tag_len: usize,
    pairs: Vec<Vec<Option<Key>>>,
    sessions: BTreeMap<(u8, u8, u64, u64), MacKey>,
    /// By receiver and height, since the receiver's boot.
    heard: BTreeMap<(u8, Height), Vec<Heard>>,
    /// Own PRECOMMITs that are durable.
    own: BTreeSet<(u8, Height, Round, Bytes32)>,
    /// Heights at which a receiver had a quorum itself.
    carried: BTreeSet<(u8, Height)>,
    /// Decisions for which some honest ECU had a quorum.
    backed: BTreeSet<(Height, Bytes32)>,
    nonces: BTreeMap<u8, u64>,
}

impl QuorumOfVotes {
    /// With the keys of a car.
    #[must_use]
    pub fn new(keyring: &Keyring, genesis: &Genesis) -> Self {
        let n = genesis.validators.len() as u8;
        Self {
            suite: genesis.suite,
            tag_len: genesis.tag_len(),
            pairs: (0..n).map(|one| (0..n).map(|other| keyring.pair(one, other)).collect()).collect(),
            sessions: BTreeMap::new(),
            heard: BTreeMap::new(),
            own: BTreeSet::new(),
            carried: BTreeSet::new(),
            backed: BTreeSet::new(),
            nonces: BTreeMap::new(),
        }
    }

    fn hear(&mut self, world: &World, heard: u16, data: &[u8]) {
        let Some(parts) = world.message(data) else { return };
        let header = parts.header;
        if header.kind != Kind::Precommit || header.hint_proposer == NIL_PROPOSER {
            return;
        }
        for receiver in (0..world.thresholds.n as u8).filter(|at| heard >> at & 1 == 1 && *at != header.sender) {
            let Some(tag) = parts.tag(tag_slot(header.sender, receiver), self.tag_len) else { continue };
            let precommit = Heard { voter: header.sender, round: header.round, head: *parts.head, tag: tag.to_vec() };
            self.heard.entry((receiver, header.height)).or_default().push(precommit);
        }
    }

    /// Whether a key that `voter` shares with `receiver` made this tag: one for each pair of boots (DC-21).
    fn is_genuine(&mut self, world: &World, receiver: u8, heard: &Heard, value: &Bytes32) -> bool {
        let voter = heard.voter;
        let pair = self.pairs.get(usize::from(voter)).and_then(|of| of[usize::from(receiver)].as_ref());
        let (Some(pair), Some(own)) = (pair, self.nonces.get(&receiver).copied()) else { return false };
        let mut input = [0; TAG_INPUT];
        input[..HEADER].copy_from_slice(&heard.head);
        input[HEADER..].copy_from_slice(value);
        world.nonces(voter).iter().rev().any(|nonce| {
            let key = self.sessions.entry((voter, receiver, *nonce, own)).or_insert_with(|| {
                let nonces = if voter < receiver { [*nonce, own] } else { [own, *nonce] };
                pair.derive(self.suite, Domain::SessionKey, nonces).for_tags(self.suite)
            });
            key.tag(&input)[..heard.tag.len()] == heard.tag[..]
        })
    }

    /// Whether a quorum of genuine PRECOMMITs of one round, its own among them, was there for `ecu`.
    fn is_carried(&mut self, world: &World, ecu: u8, height: Height, value: &Bytes32) -> bool {
        let heard = self.heard.remove(&(ecu, height)).unwrap_or_default();
        let mut voters: BTreeMap<Round, BTreeSet<u8>> = BTreeMap::new();
        let counts = |voter: u8| world.voters(height).checked_shr(voter.into()).is_some_and(|bits| bits & 1 == 1);
        for precommit in heard.iter().filter(|precommit| counts(precommit.voter)) {
            let known = voters.get(&precommit.round).is_some_and(|of| of.contains(&precommit.voter));
            if !known && self.is_genuine(world, ecu, precommit, value) {
                voters.entry(precommit.round).or_default().insert(precommit.voter);
            }
        }
        let own = |round: Round| usize::from(counts(ecu) && self.own.contains(&(ecu, height, round, *value)));
        voters.iter().any(|(round, of)| of.len() + own(*round) >= world.quorum(height))
    }

    fn on_decision(&mut self, world: &World, ecu: u8, height: Height, value: Bytes32) -> Result<(), String> {
        if self.is_carried(world, ecu, height, &value) {
            self.carried.insert((ecu, height));
            self.backed.insert((height, value));
        }
        self.heard.retain(|(at, of), _| *at != ecu || *of > height);
        self.own.retain(|(at, of, ..)| *at != ecu || *of > height);
        if self.backed.contains(&(height, value)) {
            return Ok(());
        }
        Err(format!("ecu{ecu} decided height {height}, for which no honest ECU has heard a quorum"))
    }
}

impl Invariant for QuorumOfVotes {
    fn name(&self) -> &'static str {
        "quorum"
    }

    fn see(&mut self, world: &World, event: &Event) -> Result<(), String> {
        match &event.what {
            What::Booted { ecu, nonce, .. } => {
                self.nonces.insert(*ecu, *nonce);
                self.heard.retain(|(at, _), _| at != ecu);
                self.sessions.retain(|(_, at, ..), _| at != ecu);
                self.carried.retain(|(at, _)| at != ecu);
            }
            What::Frame { heard, frame, .. } => self.hear(world, *heard, frame.data()),
            What::Corrupted { ecu, frame } => self.hear(world, 1 << ecu, frame.data()),
            What::Durable { ecu, record, .. } if world.is_honest(*ecu) => match record {
                Record::Vote(vote) if vote.kind == VoteKind::Precommit => {
                    if let Some(value) = world.value(*ecu, vote.height, &vote.value) {
                        self.own.insert((*ecu, vote.height, vote.round, value));
                    }
                }
                Record::Decided(height, name) => {
                    let value =
                        world.value(*ecu, *height, name).ok_or(format!("ecu{ecu} decided something unknown"))?;
                    return self.on_decision(world, *ecu, *height, value);
                }
                _ => {}
            },
            What::Decided { ecu, decision }
                if world.is_honest(*ecu) && decision.live && !self.carried.contains(&(*ecu, decision.height)) =>
            {
                return Err(format!("ecu{ecu} acts live on height {} without a quorum of its own", decision.height));
            }
            _ => {}
        }
        Ok(())
    }
}
