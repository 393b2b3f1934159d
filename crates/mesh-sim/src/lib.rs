//! A deterministic car: production ECUs on a simulated bus.

pub mod bus;
