//! Every limit of the core in one place. A limit that another depends on is related to it by the compiler.

/// Validators a mesh may have (`docs/protocol.md` DC-1).
pub const MAX_VALIDATORS: usize = 8;
/// Fewest validators that tolerate one fault.
pub const MIN_VALIDATORS: usize = 4;
/// Registered devices without a vote.
pub const MAX_ENDPOINTS: usize = 200;
/// Keys that may sign orders from outside the car.
pub const MAX_AUTHORITIES: usize = 8;
/// Firmware updates that were ordered and not yet confirmed.
pub const MAX_UPDATES: usize = 16;
/// Identities that were revoked or replaced and may not come back; the oldest is forgotten.
pub const MAX_RETIRED_KEYS: usize = 64;
/// Entries of endpoints in a page of the registry: a page travels in one message.
pub const PAGE_ENTRIES: usize = 32;
/// Pages of the registry: the first is that of validators, authorities and the vehicle.
pub const MAX_PAGES: usize = 1 + MAX_ENDPOINTS.div_ceil(PAGE_ENTRIES);
/// Bytes of a page in its canonical encoding: that of endpoints is the longest.
pub const MAX_PAGE: usize = 1 + PAGE_ENTRIES * (5 + 32 + 32 + 3 + 1);
/// Bytes of the registry in memory, without keys: who belongs to the car, what each may send, and what it runs.
pub const REGISTRY_BYTES: usize = 24 * 1024;
/// Bytes of a name (device, vehicle).
pub const MAX_NAME: usize = 24;

/// Bytes of an encoded [`crate::tx::Transaction`].
pub const MAX_TX: usize = 128;
/// Bytes of data in an endpoint's record.
pub const MAX_RECORD_DATA: usize = 24;
/// Bytes of a signed grant.
pub const MAX_GRANT: usize = 160;
/// Bytes of a tag, at most ([`crate::genesis::Genesis::tag_len`]).
pub const MAX_TAG: usize = 8;
/// Bytes of a message between nodes, tags included; what exceeds a frame is segmented.
pub const MAX_MESSAGE: usize = 4096;
/// Bytes of any message but a state's: header, body, tags. A state is the one long message.
pub const MAX_SHORT_MESSAGE: usize = 16 + MAX_GRANT + MAX_TAG * (MAX_VALIDATORS - 1);
/// Bytes of the encoded [`crate::state::State`].
pub const MAX_STATE: usize = MAX_MESSAGE - 16 - MAX_TAG * (MAX_VALIDATORS - 1);

/// How far behind an issuer's highest used serial a grant may still be used (DC-41).
pub const GRANT_WINDOW: u32 = u64::BITS;
/// Identifiers with an alarm on the chain at one time; the oldest gives way.
pub const MAX_ALARMS: usize = 14;
/// Heights before the same identifier can be recorded again.
pub const ALARM_INTERVAL_HEIGHTS: u32 = 32;
/// Heights before the same validator can refresh its pairwise keys again (DC-24).
pub const REFRESH_INTERVAL_HEIGHTS: u32 = 32;
/// Pairwise keys take a step in sessions of a boot whose number is a multiple of this (DC-23): a write of flash each.
pub const RATCHET_BOOTS: u32 = 8;
/// Boots after which a validator refreshes its pairwise keys by itself (DC-24).
pub const REFRESH_BOOTS: u32 = 64 * RATCHET_BOOTS;
/// Times that a refresh is offered to a peer in one session: it may be behind, and get there.
pub const MAX_OFFERS: u8 = 8;
/// Heartbeats between two times that the key store is made durable; twice as many after each, up to 2^[`MAX_KEEP_BACKOFF`] times that. A
/// peer that lies can ask for as many of them as it likes, and each wears the flash.
pub const KEEP_HEARTBEATS: u64 = 8;
/// See there.
pub const MAX_KEEP_BACKOFF: u32 = 13;
/// Levels of the tree of decisions: 2^32 heights.
pub const MAX_FRONTIER: usize = 32;

/// Verified grants a validator holds that were not used yet; the oldest gives way.
pub const MAX_GRANTS: usize = 8;
/// Orders that a validator holds while their signatures come in; the oldest gives way, unsigned ones first.
pub const MAX_ORDERS: usize = 4;
/// Signatures of orders that it holds until they are checked, and passed on.
pub const MAX_ENDORSEMENTS: usize = 6;
/// Verified endpoint records a validator holds that were not decided yet; the oldest gives way.
pub const MAX_RECORDS: usize = 16;
/// Transactions of its own a node waits to see decided.
pub const MAX_PENDING: usize = 8;

/// Decisions that a node can repeat to one that was away; who was away for longer takes over the state as a whole.
pub const MAX_HISTORY: usize = 64;
/// Bytes of them in memory, each behind its length; blocks are longer than others, and many of them push out older decisions.
pub const HISTORY_BYTES: usize = 3584;
/// Bytes of a decision that uses a grant, or of any other that is no block.
pub const MAX_ORDER: usize = 50;
/// Decisions that fit the history whatever they are.
pub const MIN_HISTORY: usize = HISTORY_BYTES / (1 + MAX_TX);
/// Decisions that no block holds yet, at which records and grants wait until the gateway has closed one: what the
/// history no longer holds could never become part of the Event Chain (DC-52).
pub const MAX_BACKLOG: u32 = 40;
/// The same for alarms, which are few; what is left above is for blocks and for changes of who votes.
pub const MAX_BACKLOG_ALARMS: u32 = 48;
/// Most that one decision raises the agreed time, milliseconds: 30 days (DC-61).
pub const MAX_TIME_STEP_MS: u64 = 30 * 86_400_000;
/// Least that a decision whose only purpose it is raises it, milliseconds (DC-61).
pub const MIN_TIME_RISE_MS: u64 = 60_000;
/// How far a time may be from what a node's clocks say, milliseconds (DC-60, DC-62).
pub const TIME_TOLERANCE_MS: u64 = 30_000;
/// Decisions at a time that is late before a node asks for a later one: of what waits for a block, few are times (DC-62).
pub const LATE_DECISIONS: u8 = 4;
/// Latest reading of a clock, milliseconds of Unix time; what is beyond is taken for this. Far from where adding overflows.
pub const MAX_CLOCK_MS: u64 = 1 << 60;

/// Decisions repeated on one request.
pub const HISTORY_BATCH: u32 = 4;

/// Failures in round 0 that count: after j of them a validator is ignored there for 2^j heights (F2).
pub const MAX_FAILURES: u32 = 8;
/// Heights without a further failure after which one is forgiven: no fewer than the longest time of being ignored, or
/// who fails again and again would be forgiven between.
pub const FORGIVE_HEIGHTS: u32 = 1 << MAX_FAILURES;

/// Different values a node keeps for one height.
pub const MAX_VALUES: usize = 13;
/// Rounds of one height.
pub const MAX_ROUNDS: usize = 32;
/// Frames of one sender kept until what they speak of is known.
pub const MAX_HELD: usize = 4;
/// Sessions of a peer that a node remembers to have ended.
pub const MAX_RETIRED: usize = 4;
/// Bytes of the frames and proposals that are kept for a sender, each with its time behind its length.
pub const HELD_BYTES: usize = 432;
/// Messages that wait to be sent.
pub const MAX_OUTBOX: usize = 64;

const _: () = assert!(MAX_VALUES <= 15, "READY sets are 16-bit masks, and one bit is nil");
const _: () = assert!(MAX_BACKLOG < MAX_BACKLOG_ALARMS);
const _: () = assert!(TIME_TOLERANCE_MS < MIN_TIME_RISE_MS && MIN_TIME_RISE_MS < MAX_TIME_STEP_MS);
// above that each validator may be readmitted once, and suspended or resumed once; a gateway that returns more often than
// there is room for loses decisions that no block holds, and its chain ends (DC-52)
const _: () = assert!(MAX_BACKLOG_ALARMS as usize + 2 * MAX_VALIDATORS <= MAX_HISTORY);
// what no block holds yet begins with the last block
const _: () = assert!((MAX_HISTORY - 1) * (1 + MAX_ORDER) + 1 + MAX_TX <= HISTORY_BYTES);
const _: () = assert!(MAX_SHORT_MESSAGE < MAX_MESSAGE && MAX_TX <= MAX_GRANT);
const _: () = assert!(MAX_VALIDATORS <= REFRESH_BOOTS as usize, "each validator has a boot of its own for it");
const _: () = assert!(MAX_ROUNDS <= u8::MAX as usize);
