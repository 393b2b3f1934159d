//! The fleet service: a pure core ([`trust`], [`history`], and the verification of `event-chain`), the [`archive`] in
//! SQLite, and the HTTP [`api`].

pub mod api;
pub mod archive;
pub mod grants;
pub mod history;
pub mod ingest;
pub mod trust;
