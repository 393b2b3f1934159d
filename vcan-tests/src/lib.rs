//! Whole-car scenarios and attacks over real vcan, and the demo made of them.
//!
//! | module | job |
//! |---|---|
//! | [`car`], [`cloud`] | a car: its processes, its stores, its cloud |
//! | [`bus`], [`sim`] | places on a virtual bus: vcan, or the simulated bus in real time |
//! | [`attack`] | attackers, one file each |
//! | [`scenario`] | what a car must do, as functions that tests and demo share |
//! | [`tamper`] | what may be wrong with an archive |
//! | [`process`], [`relay`], [`recorder`], [`wait`], [`workspace`] | tools |
//! | [`demo`], [`summary`] | what is shown to a person |

pub mod attack;
pub mod bus;
pub mod car;
pub mod cloud;
pub mod demo;
pub mod process;
pub mod recorder;
pub mod relay;
pub mod scenario;
pub mod sim;
pub mod summary;
pub mod tamper;
pub mod wait;
pub mod workspace;
