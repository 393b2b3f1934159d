//! A deterministic car: the ECUs that ship, on bit-exact simulated CAN FD segments, in virtual time; the faults and
//! attackers that they must live with; and an oracle that watches from outside. `docs/simulator.md`.

pub mod attackers;
pub mod bus;
pub mod car;
pub mod clock;
pub mod dice;
pub mod ecu;
pub mod endpoint;
pub mod event;
pub mod faults;
pub mod flash;
pub mod genesis;
pub mod keys;
pub mod load;
pub mod oracle;
pub mod router;
pub mod run;
pub mod schedule;
pub mod segments;
pub mod signer;
pub mod wear;
pub mod wire;
pub mod wiretap;
pub mod workload;
pub mod writer;
