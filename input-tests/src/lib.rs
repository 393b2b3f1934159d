//! Whatever crosses a boundary: made from chance, read, and read when it is damaged.
//!
//! A [`Format`] is something that comes in from a wire, a flash, a file or the cloud. From chance ([`dice`]) one is made, as whoever writes it
//! would; and any bytes are read as if they were one. Reading never panics, and checks itself what has to hold: what is canonical has one
//! encoding (DC-4), what is read and written again is read as the same.
//!
//! Two tests share this: the *pinned cases* (`tests/pinned.rs`), thousands of each format under one digest, and the *targets* of the fuzzer
//! ([`targets`], `scripts/fuzz`), which also feed what has a memory: reassembly, recovery of a journal, the pump.

pub mod dice;
pub mod formats;
pub mod targets;
pub mod values;

pub use dice::Dice;

/// What was read from bytes, written again or otherwise told completely; or why nothing was.
pub type Reading = Result<Vec<u8>, String>;

/// Something that comes in.
#[derive(Clone, Copy)]
pub struct Format {
    /// What it is.
    pub name: &'static str,
    /// One as whoever writes it would make it.
    pub make: fn(&mut Dice<'_>) -> Vec<u8>,
    /// What any bytes say.
    ///
    /// # Panics
    /// If something does not hold that must.
    pub read: fn(&[u8]) -> Reading,
}

impl Format {
    /// What a fuzzer tries: bytes of its own, and one made from them.
    ///
    /// # Panics
    /// If something does not hold that must.
    pub fn check(&self, bytes: &[u8]) {
        let _ = (self.read)(bytes);
        let made = (self.make)(&mut Dice::of_bytes(bytes));
        assert!((self.read)(&made).is_ok(), "{}: what was made is not read: {made:02x?}", self.name);
    }
}
