//! A frame as it is on the wire, bit by bit.
//!
//! Everything here follows ISO 11898-1:2015: classic and FD frames, base and extended format. A level is a `bool`: true is
//! recessive, the bit 1. A second implementation, written from the standard alone, is `tests/canbits.py`.
//!
//! | module | job |
//! |---|---|
//! | [`bits`] | the bits that a transmitter sends |
//! | [`decode`] | a receiver: bits in, a frame or an error out |
//! | [`length`] | how long that takes, without making the bits |
//! | [`stuff`] | runs of equal bits, and the stuff count |
//! | [`crc`] | the three checksums |

pub mod bits;
pub mod crc;
pub mod decode;
pub mod length;
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
