//! Proofs by exploration: the production's agreement ([`device_chain::agreement::Instance`]) in generated schedules that try
//! to break it. Bookkeeping over verified votes, as there: no keys, no flash, no wire.

pub mod differential;
pub mod node;
pub mod twins;
