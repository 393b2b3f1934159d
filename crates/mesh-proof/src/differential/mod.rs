//! The agreement beside an engine that is not ours: Tendermint as Malachite builds it (`arc-malachitebft-core-driver`).
//!
//! A [`Shadow`] sees what one of our nodes hears and does, tells an oracle in the same place the same, and compares after every
//! input what the two have said: votes, proposals, rounds, decisions. Where they differ, one of the intended differences
//! ([`Deviation`]) must explain it, by what was heard; from a vote on that stays different the two are no longer compared.
//!
//! What is told the oracle in its own words, and so no difference:
//! - round 0 has no proposer of its own: all proposals of round 0 are told as one validator's;
//! - a PRECOMMIT for a value is also its sender's PREVOTE (C2), if none was heard;
//! - a certificate of READYs (C3) is a proof that there was a polka;
//! - a proposal claims the newest round of which this node holds a certificate for the value; sometimes any round or none;
//! - time runs out for the oracle where it runs out for our node, if it waits for that.

mod context;
mod heard;
mod oracle;
pub mod script;
mod shadow;
pub mod shadows;

pub use shadow::{Deviation, Shadow, Tally};
