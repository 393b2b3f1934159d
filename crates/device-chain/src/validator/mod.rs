//! A validator: everything one node of the mesh knows and does, as inputs in and effects out.
//!
//! Run it so: [`Validator::handle`] every input, then [`Validator::poll`] until `None` and carry the effects out in
//! order, then sleep until [`Validator::deadline`]. While a state waits for its [proof](Validator::proof), keep the message that
//! brought it, and hand it over again when that is complete. A peer's bad message is counted ([`Counters`]), never an error.
//!
//! What is marked `inline(never)` has large values on the stack, which would otherwise lie there while something else is done
//! (`docs/measurements/footprint.md`).

mod clocks;
mod fairness;
mod heights;
mod ignition;
mod life;
mod membership;
mod orders;
mod outbox;
mod pages;
mod presence;
mod receive;
mod recovery;
mod refresh;
mod status;
mod sync;
#[cfg(test)]
pub(crate) mod tests;
mod voting;
mod workings;

use core::cell::OnceCell;

use heapless::{Deque, Vec};

use heights::Heights;
pub use orders::record_sequence;
pub use outbox::{Cancel, Effect};
pub use presence::{Presence, called, firmware_word, present_subject};
pub use receive::Source;
pub use recovery::NotAValidator;
pub use sync::Proof;
pub use workings::Workings;

use crate::agreement::Timeouts;
use crate::genesis::RawIdentifier;
use crate::grant::{GrantRefusal, GrantUse, SignedGrant};
use crate::keys::KeyStore;
use crate::limits::{HELD_BYTES, MAX_GRANTS, MAX_HELD, MAX_PENDING, MAX_RECORDS, MAX_TX, MAX_VALIDATORS};
use crate::order::{Endorsement, OrderRefusal};
use crate::packed::Packed;
use crate::pairing::{Agreed, Ephemeral};
use crate::quorum::Quorum;
use crate::record::{History, NamedValues};
use crate::registry::Registry;
use crate::session::Session;
use crate::slot::Slot;
use crate::state::{Refusal, State};
use crate::tx::{Transaction, TxBytes};
use crate::types::{Hash, Height, MeshId, Micros, Round, Signature, ValidatorIndex};
use crate::wire::{Class, HEADER, MAX_FRAME};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// The deadline has come.
    Tick,
    /// A whole message came in on an identifier of `source`.
    Message {
        /// Whose identifier carried it, by the genesis. CAN names no sender: this is a claim.
        source: Source,
        /// Header, body, tags, perhaps padding.
        bytes: &'a [u8],
    },
    /// The message whose state is proven ([`Validator::proof`]).
    Adopt(&'a [u8]),
    /// Somebody else sent on an identifier of this node.
    Impostor(RawIdentifier),
    /// The last frame of the own proposal of a height and round is on the wire.
    Proposed(Height, Round),
    /// All [`Effect::Persist`] up to this token are durable.
    Persisted(u64),
    /// Answer to [`Effect::Sign`].
    Signed(Hash, Signature),
    /// Answer to [`Effect::CheckGrant`]: whether a fleet authority signed it.
    GrantChecked(Hash, bool),
    /// Answer to [`Effect::Agree`].
    Agreed(Agreed),
    /// Answer to [`Effect::Draw`]; or somebody wants this node's pairwise keys refreshed now.
    Refresh(Ephemeral),
    /// The last [`Effect::Keep`] is durable.
    Kept,
    /// A grant from outside: check it and pass it on to the others.
    Grant(SignedGrant),
    /// Answer to [`Effect::CheckEndorsement`]: whether the key made that signature.
    EndorsementChecked(Signature, bool),
    /// A signature under an order, from outside: check it and pass it on to the others. When there are enough of them the
    /// order is asked for.
    Endorsement(Endorsement),
    /// Digest of the firmware that this node runs, as its secure boot has measured it.
    Measured(Hash),
    /// A transaction that this node wants decided.
    Submit(Transaction),
    /// This node's clock says so, milliseconds of Unix time: of a satellite receiver, a network, a battery-backed clock (DC-60).
    Clock(u64),
}

/// What this boot brings.
#[derive(Clone, Copy, Debug)]
pub struct Boot {
    /// Random, new at every boot.
    pub nonce: u64,
}

/// What the mesh can do now (`docs/protocol.md` chapter 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No quorum: no approvals; what was agreed last stays in force.
    Isolated,
    /// A quorum is there.
    Trusted,
}

/// What this node has decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Height.
    pub height: Height,
    /// Its hash.
    pub hash: Hash,
    /// Canonical bytes.
    pub bytes: TxBytes,
    /// Their meaning.
    pub tx: Transaction,
    /// Round that decided, 0 on the fast path.
    pub round: Round,
    /// From the own request to the decision, microseconds; `None` if somebody else asked for it.
    pub latency_us: Option<u64>,
    /// Decided here, by a quorum of precommits that this node verified. False while catching up: what it allows was
    /// allowed at another time, so nothing may move because of it.
    pub live: bool,
}

/// Worth a line in a log. `T` is what was refused, `G` names a grant: its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report<T = Transaction, G = Hash> {
    /// The mode changed.
    Mode(Mode),
    /// A session with a peer is confirmed.
    Met(ValidatorIndex),
    /// First-hand proof that a validator voted twice in one slot (C1).
    Equivocation(ValidatorIndex),
    /// An own transaction is not, or no longer, valid.
    Refused(T, Refusal),
    /// A grant was refused.
    GrantRefused(G, GrantRefusal),
    /// A grant is verified and may be used.
    GrantReady(G),
    /// An order was refused, or a signature under it.
    OrderRefused(G, OrderRefusal),
    /// All signatures that an order needs are there.
    OrderReady(G),
    /// This node has caught up to a height without deciding it itself.
    CaughtUp(Height),
    /// This node may vote again.
    Readmitted(Height),
}

/// Messages counted by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Verified and taken.
    pub accepted: u64,
    /// The tag is wrong.
    pub bad_tag: u64,
    /// Seen before in this session.
    pub replayed: u64,
    /// About a height that is long decided, or far ahead: late, recorded, or of no use yet.
    pub stale: u64,
    /// Of another mesh.
    pub foreign: u64,
    /// Another wire version or MAC suite.
    pub version: u64,
    /// Not a message: length, kind, sender or encoding.
    pub malformed: u64,
    /// Not checkable yet and kept.
    pub held: u64,
    /// A peer spoke that shares no session with this node yet.
    pub unknown: u64,
    /// Somebody else on an own identifier.
    pub impostor: u64,
    /// An own message or order found no room.
    pub dropped: u64,
}

impl Counters {
    const ZERO: Self = Self {
        accepted: 0,
        bad_tag: 0,
        replayed: 0,
        stale: 0,
        foreign: 0,
        version: 0,
        malformed: 0,
        held: 0,
        unknown: 0,
        impostor: 0,
        dropped: 0,
    };
}

/// A transaction that this node wants decided.
struct Pending {
    bytes: TxBytes,
    /// Not proposed before: who is further back in line waits for those in front.
    due: Micros,
    /// Heights on which its proposal came to nothing.
    failures: u32,
    asked: Micros,
    /// Asked for at this node, so that a refusal is told.
    own: bool,
}

impl Pending {
    fn tx(&self) -> Option<Transaction> {
        Transaction::decode(&self.bytes)
    }
}

/// A grant, and whether its signature was checked.
struct HeldGrant {
    signed: SignedGrant,
    digest: Hash,
    genuine: bool,
    /// Who sent it, if not this node's own application.
    from: Option<ValidatorIndex>,
    /// Pass it on once it is checked.
    relay: bool,
}

impl HeldGrant {
    const fn usage(&self) -> GrantUse {
        self.signed.grant.usage_named(self.digest)
    }
}

/// An endpoint's record that this node has verified.
#[derive(PartialEq, Eq)]
struct HeldRecord {
    endpoint: u8,
    sequence: u64,
    data: Vec<u8, { crate::limits::MAX_RECORD_DATA }>,
}

/// Longest message that may be kept for later: a proposal.
const MAX_HELD_MESSAGE: usize = HEADER + MAX_TX + 8 * (MAX_VALIDATORS - 1);
/// Messages of a sender kept for later, each behind the time since when: they are votes but for one or two.
type Held = Packed<HELD_BYTES>;
const _: () = assert!(HELD_BYTES >= (1 + 8 + MAX_HELD_MESSAGE) + (MAX_HELD - 1) * (1 + 8 + MAX_FRAME));

/// A validator.
pub struct Validator<K> {
    registry: Registry,
    mesh: MeshId,
    me: ValidatorIndex,
    gateway: ValidatorIndex,
    /// Of the full set: its size, which is that of messages, and f, which no suspension changes (R3).
    full: Quorum,
    tag_len: usize,
    keys: K,
    boot: u32,
    nonce: u64,
    amnesiac: bool,
    /// It became one in this boot, which cannot be readmitted any more.
    lost_since_boot: bool,
    started: Micros,
    now: Micros,
    mode: Mode,

    state: State,
    /// Digest of the state, once somebody needs it.
    digest: OnceCell<Hash>,
    /// The height before is helped along until n − f are known to have decided it (L6).
    heights: Heights,
    decided_at: Micros,
    /// The last decisions, for those who were away.
    history: History,
    /// Own votes of these values are durable with content.
    stored: NamedValues,

    sessions: [Session; MAX_VALIDATORS],
    keeping: refresh::Keeping,
    counter: u32,
    held: [Held; MAX_VALIDATORS],
    /// What is held may be checkable now.
    release: bool,
    pending: Deque<Pending, MAX_PENDING>,
    grants: Deque<HeldGrant, MAX_GRANTS>,
    records: Deque<HeldRecord, MAX_RECORDS>,
    impostors: Vec<(RawIdentifier, u32), 4>,
    life: life::Life,
    pages: pages::Pages,
    roll: presence::Roll,

    outbox: outbox::Outbox,
    /// The own seal of a block, until it has left.
    seal: Option<(u32, Signature)>,
    hello_due: Option<Micros>,
    answer_due: Option<Micros>,
    hello_sent: Option<Micros>,
    hello_backoff: u32,
    confirm_due: Option<Micros>,
    confirm_sent: Option<Micros>,
    heartbeat_due: Micros,
    retransmit_due: Option<Micros>,
    retransmits: u32,
    helped_at: Micros,
    fetch: Slot<sync::Fetch>,
    /// Which of the wanted values is asked for next.
    fetch_turn: usize,
    catch_up: sync::CatchUp,
    fairness: fairness::Fairness,
    clocks: clocks::Clocks,
    counters: Counters,
    workings: Workings,
}

impl<K> Validator<K> {
    /// A validator that knows no car yet. Give it its place ([`Self::install`]), then what its journal holds
    /// ([`Self::replay`]), and start it ([`Self::start`]): then it takes inputs.
    ///
    /// It is all zeros but for its keys, so that on a chip it can lie in static memory from the beginning: for the stack it is too large.
    #[must_use]
    pub const fn new(keys: K) -> Self {
        Self {
            registry: Registry::NONE,
            mesh: MeshId(Hash::NIL),
            me: 0,
            gateway: 0,
            full: Quorum { n: 0, f: 0 },
            tag_len: 0,
            keys,
            boot: 0,
            nonce: 0,
            amnesiac: false,
            lost_since_boot: false,
            started: Micros(0),
            now: Micros(0),
            mode: Mode::Isolated,
            state: State::NONE,
            digest: OnceCell::new(),
            heights: Heights::idle(),
            decided_at: Micros(0),
            history: History::new(),
            stored: NamedValues::NONE,
            sessions: [Session::NONE; MAX_VALIDATORS],
            keeping: refresh::Keeping::NONE,
            counter: 0,
            held: [const { Held::new() }; MAX_VALIDATORS],
            release: false,
            pending: Deque::new(),
            grants: Deque::new(),
            records: Deque::new(),
            impostors: Vec::new(),
            life: life::Life::NONE,
            pages: pages::Pages::NONE,
            roll: presence::Roll::EMPTY,
            outbox: outbox::Outbox::EMPTY,
            seal: None,
            hello_due: None,
            answer_due: None,
            hello_sent: None,
            hello_backoff: 0,
            confirm_due: None,
            confirm_sent: None,
            heartbeat_due: Micros(0),
            retransmit_due: None,
            retransmits: 0,
            helped_at: Micros(0),
            fetch: Slot::Empty,
            fetch_turn: 0,
            catch_up: sync::CatchUp::IDLE,
            fairness: fairness::Fairness::NONE,
            clocks: clocks::Clocks::NONE,
            counters: Counters::ZERO,
            workings: Workings::ZERO,
        }
    }

    /// Its keys.
    pub const fn keys(&self) -> &K {
        &self.keys
    }

    /// Its keys, to be loaded before it starts, beside the genesis that they belong to.
    pub const fn keys_mut(&mut self) -> (&Registry, &mut K) {
        (&self.registry, &mut self.keys)
    }
}

impl<K: KeyStore> Validator<K> {
    fn timeouts(&self) -> Timeouts {
        Timeouts { phase_us: self.registry.policy().phase_us }
    }

    /// Takes an input. Never blocks, never fails on what a peer sent.
    pub fn handle(&mut self, now: Micros, input: Input<'_>) {
        self.now = self.now.max(now);
        self.take(input);
        self.release_held();
        self.ignite();
        self.catch_up();
        self.vote();
        self.retransmit();
        self.call();
        self.update_mode();
    }

    #[inline(never)]
    fn take(&mut self, input: Input<'_>) {
        match input {
            Input::Tick => {}
            Input::Message { source, bytes } => self.on_message(source, bytes),
            Input::Adopt(message) => self.adopt(message),
            Input::Impostor(identifier) => self.on_impostor(identifier),
            Input::Proposed(height, round) => self.on_proposed(height, round),
            Input::Persisted(token) => self.outbox.persisted(token),
            Input::Signed(digest, signature) => self.on_signed(&digest, &signature),
            Input::GrantChecked(digest, genuine) => self.on_grant_checked(&digest, genuine),
            Input::Agreed(agreed) => self.on_agreed(agreed),
            Input::Refresh(ephemeral) => self.on_refresh(ephemeral),
            Input::Kept => self.on_kept(),
            Input::Grant(signed) => self.on_grant(signed, None),
            Input::EndorsementChecked(signature, genuine) => self.on_endorsement_checked(&signature, genuine),
            Input::Endorsement(endorsement) => self.on_endorsement(endorsement, None),
            Input::Measured(firmware) => self.on_measured(firmware),
            Input::Submit(tx) => self.submit(tx),
            Input::Clock(ms) => self.on_own_clock(ms),
        }
    }

    /// The next effect, its bytes in `buffer`; `None` when there is nothing to do before the next input, or before an
    /// identifier is free that was not.
    ///
    /// `free` tells whether a message on the identifier of a class would leave next: until then it waits here, unsealed, where
    /// it is taken back when it becomes needless and stands only once however often it is asked for.
    ///
    /// `buffer` has [`MAX_SHORT_MESSAGE`](crate::limits::MAX_SHORT_MESSAGE) bytes at least. Where it has fewer than
    /// [`MAX_MESSAGE`](crate::limits::MAX_MESSAGE) a peer that asks for the state is not answered, and a state to be made durable
    /// ([`Self::owes_state`]) waits.
    pub fn poll<'b>(&mut self, free: impl Fn(Class) -> bool, buffer: &'b mut [u8]) -> Option<Effect<'b>> {
        self.next_effect(free, buffer)
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Micros> {
        let timers = [
            self.hello_due,
            self.answer_due,
            self.confirm_due,
            Some(self.heartbeat_due),
            self.retransmit_due,
            self.roll.due,
            self.fetch.get().map(|fetch| fetch.due),
            // nothing is voted, and no timer of a vote runs out, while the journal is behind
            self.heights.current().deadline().filter(|_| self.may_go_on()),
            self.next_proposal(),
            self.pages_due(),
        ];
        timers.into_iter().flatten().min()
    }

    /// Whether a quorum is there, this node among it if it votes.
    fn hears_quorum(&self) -> bool {
        let voters = self.voters();
        let mut there = voters.iter().filter(|voter| *voter == self.me || self.is_heard(*voter));
        there.nth(voters.quorum(&self.registry).votes() - 1).is_some()
    }

    fn update_mode(&mut self) {
        let mode = if self.hears_quorum() { Mode::Trusted } else { Mode::Isolated };
        if mode != self.mode {
            self.mode = mode;
            self.report(Report::Mode(mode));
            if mode == Mode::Trusted {
                self.begin_calls();
            }
        }
    }

    /// What DECIDED commits to (DC-33).
    fn digest(&self) -> &Hash {
        self.digest.get_or_init(|| self.state.digest())
    }

    /// Bound Δ of one phase, microseconds.
    fn phase_us(&self) -> u64 {
        u64::from(self.registry.policy().phase_us)
    }

    /// Interval of DECIDED, microseconds.
    fn heartbeat_us(&self) -> u64 {
        u64::from(self.registry.policy().heartbeat_us)
    }

    fn others(&self) -> impl Iterator<Item = ValidatorIndex> + use<K> {
        let me = self.me;
        (0..self.full.n as ValidatorIndex).filter(move |peer| *peer != me)
    }
}
