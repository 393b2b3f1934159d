//! The fleet service: a pure core ([`trust`], [`events`], and the verification of `event-chain`), the [`archive`] in
//! SQLite, and the HTTP [`api`].

pub mod api;
pub mod archive;
pub mod events;
pub mod grants;
pub mod ingest;
pub mod trust;
