//! What the oracle is told about this mesh: validators by their indices, each with one vote; names as values; no signatures,
//! for it never sees a vote that was not verified.

use std::convert::Infallible;
use std::fmt;

use arc_malachitebft_core_types::{
    Address, Context, Height, LinearTimeouts, NilOrVal, Proposal, ProposalPart, Round, SignedExtension, SigningScheme,
    Validator, ValidatorSet, Value, Vote, VoteType, VotingPower,
};
use device_chain::types::ValidatorIndex;

use crate::node::Name;

/// The types of this mesh.
#[derive(Clone, Debug)]
pub struct Mesh;

/// A validator's index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Index(pub ValidatorIndex);

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Address for Index {}

/// There is one height.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OneHeight;

impl fmt::Display for OneHeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        0.fmt(f)
    }
}

impl Height for OneHeight {
    const ZERO: Self = Self;
    const INITIAL: Self = Self;

    fn increment_by(&self, _: u64) -> Self {
        Self
    }

    fn decrement_by(&self, _: u64) -> Option<Self> {
        None
    }

    fn as_u64(&self) -> u64 {
        0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Value for Name {
    type Id = Self;

    fn id(&self) -> Self {
        *self
    }
}

/// A member, with one vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member(Index);

impl Validator<Mesh> for Member {
    fn address(&self) -> &Index {
        &self.0
    }

    fn public_key(&self) -> &() {
        &()
    }

    fn voting_power(&self) -> VotingPower {
        1
    }
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members(Vec<Member>);

impl Members {
    /// So many.
    pub fn new(validators: usize) -> Self {
        Self((0..validators as ValidatorIndex).map(|at| Member(Index(at))).collect())
    }
}

impl ValidatorSet<Mesh> for Members {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn total_voting_power(&self) -> VotingPower {
        self.0.len() as VotingPower
    }

    fn get_by_address(&self, address: &Index) -> Option<&Member> {
        self.0.get(usize::from(address.0))
    }

    fn get_by_index(&self, index: usize) -> Option<&Member> {
        self.0.get(index)
    }
}

/// Nothing is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsigned;

impl SigningScheme for Unsigned {
    type DecodingError = Infallible;
    type Signature = ();
    type PublicKey = ();
    type PrivateKey = ();

    fn decode_signature(_: &[u8]) -> Result<(), Infallible> {
        Ok(())
    }

    fn encode_signature((): &()) -> Vec<u8> {
        Vec::new()
    }

    fn decode_public_key(_: &[u8]) -> Result<(), Infallible> {
        Ok(())
    }

    fn encode_public_key((): &()) -> Vec<u8> {
        Vec::new()
    }
}

/// Proposals come in one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole;

impl ProposalPart<Mesh> for Whole {
    fn is_first(&self) -> bool {
        true
    }

    fn is_last(&self) -> bool {
        true
    }
}

/// A proposal, with the round of the polka that it claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    pub round: Round,
    pub of: Name,
    pub claims: Round,
    pub by: Index,
}

impl Proposal<Mesh> for Proposed {
    fn height(&self) -> OneHeight {
        OneHeight
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &Name {
        &self.of
    }

    fn take_value(self) -> Name {
        self.of
    }

    fn pol_round(&self) -> Round {
        self.claims
    }

    fn validator_address(&self) -> &Index {
        &self.by
    }
}

/// A vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voted {
    pub kind: VoteType,
    pub round: Round,
    pub of: NilOrVal<Name>,
    pub by: Index,
}

impl Vote<Mesh> for Voted {
    fn height(&self) -> OneHeight {
        OneHeight
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &NilOrVal<Name> {
        &self.of
    }

    fn take_value(self) -> NilOrVal<Name> {
        self.of
    }

    fn vote_type(&self) -> VoteType {
        self.kind
    }

    fn validator_address(&self) -> &Index {
        &self.by
    }

    fn extension(&self) -> Option<&SignedExtension<Mesh>> {
        None
    }

    fn take_extension(&mut self) -> Option<SignedExtension<Mesh>> {
        None
    }

    fn extend(self, _: SignedExtension<Mesh>) -> Self {
        self
    }
}

impl Context for Mesh {
    type Address = Index;
    type Height = OneHeight;
    type ProposalPart = Whole;
    type Proposal = Proposed;
    type Validator = Member;
    type ValidatorSet = Members;
    type Timeouts = LinearTimeouts;
    type Value = Name;
    type Vote = Voted;
    type Extension = ();
    type SigningScheme = Unsigned;

    /// Whoever enters a round says whose turn it is; the engine does not ask.
    fn select_proposer<'a>(&self, members: &'a Members, _: OneHeight, _: Round) -> &'a Member {
        &members.0[0]
    }

    fn new_proposal(&self, _: OneHeight, round: Round, of: Name, claims: Round, by: Index) -> Proposed {
        Proposed { round, of, claims, by }
    }

    fn new_prevote(&self, _: OneHeight, round: Round, of: NilOrVal<Name>, by: Index) -> Voted {
        Voted { kind: VoteType::Prevote, round, of, by }
    }

    fn new_precommit(&self, _: OneHeight, round: Round, of: NilOrVal<Name>, by: Index) -> Voted {
        Voted { kind: VoteType::Precommit, round, of, by }
    }
}
