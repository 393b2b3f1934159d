//! Both ends of the cloud link: the uplink that the vehicle gateway runs, and the fleet service.
//!
//! - [`uplink`]: store and forward in the car. A block leaves the car only on the archive's signed receipt.
//! - [`service`]: verified ingest, archive, grants and the trust answer, over HTTP.
//! - [`audit`]: verification of a whole store from the genesis.
//!
//! The service learns a car's genesis from the maker, never from the car, and believes nothing that the car's
//! validators have not sealed. Transport is plain HTTP: a reverse proxy ends TLS and knows vehicles by their
//! client certificates. What is secret or personal is for the proxy to guard; what is true is not left to it.

pub mod audit;
pub mod checkpoint;
pub mod durable;
pub mod hex;
pub mod keys;
pub mod service;
pub mod uplink;
pub mod wire;
