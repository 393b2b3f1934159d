//! A deterministic car: production ECUs on a simulated bus.
