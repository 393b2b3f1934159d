//! The wire, bit by bit.
//!
//! Everything here follows ISO 11898-1:2015: classic and FD frames, base and extended format, and what controllers do when
//! something goes wrong. A level is a `bool`: true is recessive, the bit 1. A second implementation of frames as bits,
//! from the text of the standard alone, is `tests/canbits.py`.
//!
//! | module | job |
//! |---|---|
//! | [`bits`] | the bits that a transmitter sends |
//! | [`length`] | how long that takes, without making the bits |
//! | [`decode`] | a receiver: bits in, a frame or an error out |
//! | [`stuff`], [`crc`] | runs of equal bits and the stuff count; the three checksums |
//! | [`controller`] | one node: sends, receives, signals errors |
//! | [`confinement`] | its error counters |
//! | [`line`] | all of them on one wire |
//! | [`disturbance`] | bits that somebody sees wrong |
//!
//! Left out: propagation delay and resynchronisation within a frame, hence also the second bit that CRC delimiter and
//! acknowledge slot of an FD frame may have at a receiver; protocol exceptions; restricted operation; edge filtering.

pub mod bits;
pub mod confinement;
pub mod controller;
pub mod crc;
pub mod decode;
pub mod disturbance;
pub mod length;
pub mod line;
pub mod stuff;

/// The level that a dominant level of any node overrides; also that of an idle bus.
pub const RECESSIVE: bool = true;
/// The level that overrides.
pub const DOMINANT: bool = false;

/// Bits of the end of a frame, all recessive.
pub const EOF_BITS: usize = 7;
/// Recessive bits that keep frames apart.
pub const INTERMISSION_BITS: usize = 3;
/// Data bytes up to which an FD frame has CRC-17; a longer one has CRC-21.
pub const CRC17_MAX_BYTES: usize = 16;
