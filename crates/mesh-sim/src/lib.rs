//! A deterministic car: the ECUs that ship, on a bit-exact simulated CAN FD bus, in virtual time.

pub mod bus;
pub mod car;
pub mod flash;
pub mod genesis;
pub mod segments;
pub mod wire;
pub mod writer;
