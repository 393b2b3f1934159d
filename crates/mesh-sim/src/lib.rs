//! A deterministic car: the ECUs that ship, on a simulated bus with arbitration and frame times, in virtual time.

pub mod bus;
pub mod car;
pub mod flash;
pub mod genesis;
pub mod wire;
pub mod writer;
