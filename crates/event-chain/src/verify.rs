//! Following a chain of blocks from the genesis, believing nobody.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use device_chain::block::Finality;
use device_chain::codec;
use device_chain::genesis::Genesis;
use device_chain::limits::MAX_PAGE;
use device_chain::registry::{Devices, Registry};
use device_chain::state::{EventHead, Refusal, State};
use device_chain::tx::{Transaction, TxBytes};
use device_chain::types::{Hash, Height, ValidatorIndex};

use crate::block::{Block, BlockError, attested_root};
use crate::codec::encode;

/// What is wrong with a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The block's number, as it or its place claims.
    pub number: u32,
    /// The rule that it breaks.
    pub rule: Rule,
}

/// A rule of the chain that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The bytes are no block.
    Bytes(BlockError),
    /// Another block comes next.
    Number {
        /// The next number.
        expected: u32,
    },
    /// It names another block before.
    Previous {
        /// The hash of the block before; of block 1: the mesh identity.
        expected: Hash,
    },
    /// Its first decision is not the approval of the block before.
    Approval,
    /// A decision that the validators of this genesis cannot have made.
    Decision {
        /// Its height.
        height: Height,
        /// The rule of the mesh; `None` if the bytes are no transaction.
        refusal: Option<Refusal>,
    },
    /// A header that the validators of this genesis cannot have approved.
    Header(Refusal),
    /// The records that the gateway attests are not those of the header.
    Attested,
    /// Seals are not in the order of validators, or one seals twice.
    SealOrder,
    /// A seal that its validator did not make.
    Seal(ValidatorIndex),
    /// Too few seals for even one honest validator among them.
    Seals {
        /// How many there are.
        have: usize,
        /// f + 1.
        need: usize,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {}: ", self.number)?;
        match &self.rule {
            Rule::Bytes(error) => write!(f, "{error}"),
            Rule::Number { expected } => write!(f, "block {expected} was to come: one is missing or out of order"),
            Rule::Previous { expected } => {
                write!(f, "does not follow {expected}: altered, of another car, or the block before was replaced")
            }
            Rule::Approval => f.write_str("does not begin with the approval of the block before: one was replaced"),
            Rule::Decision { height, refusal: None } => write!(f, "the decision at height {height} is damaged"),
            Rule::Decision { height, refusal: Some(refusal) } => {
                write!(
                    f,
                    "no quorum can have made the decision at height {height} ({refusal:?}): altered, added or dropped"
                )
            }
            Rule::Header(Refusal::Block(broken)) => write!(f, "the header {broken}: decisions or header were altered"),
            Rule::Header(refusal) => write!(f, "the header could not be approved: {refusal:?}"),
            Rule::Attested => f.write_str("the records attested by the gateway are not those that were sealed"),
            Rule::SealOrder => f.write_str("seals are not in the order of validators, or a validator seals twice"),
            Rule::Seal(validator) => {
                write!(f, "the seal of validator {validator} is not of its key: altered, or re-hashed by somebody else")
            }
            Rule::Seals { have, need } => write!(f, "{have} seals, at least {need} are needed"),
        }
    }
}

impl core::error::Error for Fault {}

/// Verifies block after block.
#[derive(Clone, Debug)]
pub struct ChainVerifier {
    genesis: Genesis,
    registry: Box<Registry>,
    state: State,
    head: EventHead,
}

/// The pages of a registry that say more than the genesis, as they are kept beside it.
pub type Pages = Vec<(u8, Vec<u8>)>;

/// What a registry says that its genesis does not.
#[must_use]
pub fn pages_of(registry: &Registry) -> Pages {
    let mut buffer = [0; MAX_PAGE];
    let write = |page| registry.write_page(page, &mut buffer).map(|bytes| (page, bytes.to_vec()));
    registry.changed_pages().filter_map(write).collect()
}

/// The registry of a genesis and what has changed since; `None` if that is damaged.
#[must_use]
pub fn registry_of(genesis: &Genesis, pages: &Pages) -> Option<Registry> {
    let mut registry = Registry::from(genesis);
    pages.iter().all(|(page, bytes)| registry.restore_page(*page, bytes)).then_some(registry)
}

impl ChainVerifier {
    /// Before the first block. Take the genesis from the maker, never from the car.
    #[must_use]
    pub fn new(genesis: Genesis) -> Self {
        let registry = Box::new(Registry::from(&genesis));
        let state = State::new(&*registry);
        let head = state.event().clone();
        Self { genesis, registry, state, head }
    }

    /// After the blocks that made `snapshot`; `None` if it is damaged or of another car. The snapshot is believed: keep
    /// it where the archive keeps its own.
    #[must_use]
    pub fn resume(genesis: Genesis, snapshot: &[u8]) -> Option<Self> {
        let (head, state, pages): (EventHead, Vec<u8>, Pages) = codec::decode(snapshot)?;
        let registry = Box::new(registry_of(&genesis, &pages)?);
        let state = State::decode(&state, &*registry)?;
        let sound = head.tree_size == state.height() && state.is_of(&registry);
        sound.then_some(Self { genesis, registry, state, head })
    }

    /// What [`Self::resume`] takes.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        encode(&(&self.head, encode(&self.state), pages_of(&self.registry)))
    }

    /// The genesis.
    #[must_use]
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Who belongs to the car after the last block.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The last block accepted; number 0 before the first.
    #[must_use]
    pub const fn head(&self) -> &EventHead {
        &self.head
    }

    /// The state after the decisions of the last block.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Takes the next block, and says how sure it is.
    ///
    /// # Errors
    /// The first rule that it breaks; nothing has changed then.
    pub fn accept(&mut self, block: &Block) -> Result<Finality, Fault> {
        let follow = self.follow(block).map_err(|rule| Fault { number: block.header.number, rule });
        let finality;
        (self.state, self.registry, self.head, finality) = follow?;
        Ok(finality)
    }

    /// How sure the seals of the next block make it ([`check_seals`]): by the keys after its decisions. Most blocks change no key;
    /// of those the seals are checked before the content.
    ///
    /// # Errors
    /// As [`check_seals`]; and what [`Self::accept`] says of its decisions, where they change who belongs to the car.
    pub fn finality(&self, block: &Block) -> Result<Finality, Rule> {
        let changes = |bytes: &TxBytes| matches!(Transaction::decode(bytes), Some(Transaction::Change(_)));
        if block.decisions.iter().any(changes) {
            check_seals(block, &self.fold(block)?.1)
        } else {
            check_seals(block, &self.registry)
        }
    }

    fn follow(&self, block: &Block) -> Result<(State, Box<Registry>, EventHead, Finality), Rule> {
        let (header, mesh) = (&block.header, self.genesis.mesh());
        let expected = self.head.number + 1;
        if header.number != expected {
            return Err(Rule::Number { expected });
        }
        if header.previous != self.head.hash {
            return Err(Rule::Previous { expected: self.head.hash });
        }
        // Before the content: what nobody has sealed costs a signature to refuse, not the work of thousands of decisions.
        let hash = header.hash(&mesh);
        let finality = self.finality(block)?;
        let (state, registry) = self.fold(block)?;
        // The very rule by which validators approved it: numbering, link, every decision, time.
        state.check(&Transaction::EventBlock(header.clone()), &registry).map_err(Rule::Header)?;
        check_attested(block, &self.genesis)?;
        let head = EventHead { number: header.number, hash, tree_size: header.tree_size };
        Ok((state, registry, head, finality.min(header.finality)))
    }

    /// Makes the decisions again, as every validator made them.
    fn fold(&self, block: &Block) -> Result<(State, Box<Registry>), Rule> {
        let (mut state, mut registry) = (self.state.clone(), self.registry.clone());
        for (at, bytes) in block.decisions.iter().enumerate() {
            let height = state.height() + 1;
            let tx = Transaction::decode(bytes).ok_or(Rule::Decision { height, refusal: None })?;
            state
                .apply(bytes, &tx, &mut registry)
                .map_err(|refusal| Rule::Decision { height, refusal: Some(refusal) })?;
            if at == 0 && self.head.number > 0 && state.event().hash != self.head.hash {
                return Err(Rule::Approval);
            }
        }
        Ok((state, registry))
    }
}

/// All records that the header names, or none where there are some to withhold.
fn check_attested(block: &Block, genesis: &Genesis) -> Result<(), Rule> {
    let header = &block.header;
    let sound = match &block.attested {
        None => header.attested_count > 0,
        Some(records) => {
            records.len() == header.attested_count as usize
                && attested_root(&genesis.mesh(), records) == header.attested_root
        }
    };
    if sound { Ok(()) } else { Err(Rule::Attested) }
}

/// How sure the seals of a block make it: f + 1 provisional, a quorum final. Only seals of those count whom the header
/// names as members (S3); that these are the members is for [`ChainVerifier`] to say.
///
/// # Errors
/// [`Rule::SealOrder`], [`Rule::Seal`] or [`Rule::Seals`].
pub fn check_seals(block: &Block, registry: &Registry) -> Result<Finality, Rule> {
    let (seals, hash) = (&block.seals, block.hash(&registry.mesh()));
    if !seals.is_sorted_by(|left, right| left.validator < right.validator) {
        return Err(Rule::SealOrder);
    }
    for seal in seals {
        let key = registry.validator_key(seal.validator).ok_or(Rule::Seal(seal.validator))?;
        if !seal.is_valid(key, &hash) {
            return Err(Rule::Seal(seal.validator));
        }
    }
    let quorum = block.header.members.quorum(registry);
    match block.counted_seals() {
        have if have >= quorum.votes() => Ok(Finality::Final),
        have if have >= quorum.one_correct() => Ok(Finality::Provisional),
        have => Err(Rule::Seals { have, need: quorum.one_correct() }),
    }
}
