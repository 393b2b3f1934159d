//! Chance, from a seed or from the bytes of a fuzzer.
//!
//! What is made of it is pinned by digests, so it is our own: no version of a library may change it.

/// Where numbers come from.
pub struct Dice<'a>(From<'a>);

enum From<'a> {
    Seed(u64),
    /// Then zeros.
    Bytes(&'a [u8]),
}

impl<'a> Dice<'a> {
    /// The same numbers on every machine (SplitMix64).
    #[must_use]
    pub const fn of_seed(seed: u64) -> Self {
        Self(From::Seed(seed))
    }

    /// The numbers that a fuzzer wants.
    #[must_use]
    pub const fn of_bytes(bytes: &'a [u8]) -> Self {
        Self(From::Bytes(bytes))
    }

    /// Whether the bytes are used up. Those of a seed never are.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        matches!(self.0, From::Bytes([]))
    }

    fn take(&mut self, count: usize) -> u64 {
        match &mut self.0 {
            From::Seed(state) => {
                *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let mut z = *state;
                z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
                (z ^ z >> 31) >> (64 - 8 * count)
            }
            From::Bytes(bytes) => {
                let (now, later) = bytes.split_at(count.min(bytes.len()));
                *bytes = later;
                now.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
            }
        }
    }

    /// Any byte.
    pub fn byte(&mut self) -> u8 {
        self.take(1) as u8
    }

    /// A number below `limit`, which is above zero.
    pub fn below(&mut self, limit: usize) -> usize {
        let count = if limit <= 1 << 8 { 1 } else { 3 };
        self.take(count) as usize % limit
    }

    /// Yes or no.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Yes once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Any number, those at the borders of encodings more often than others.
    pub fn long(&mut self) -> u64 {
        match self.below(4) {
            0 => self.take(1),
            1 => 1u64.checked_shl(self.below(65) as u32).unwrap_or(0).wrapping_sub(self.take(1) & 1),
            2 => self.take(4),
            _ => self.take(8),
        }
    }

    /// The same of 32 bits.
    pub fn int(&mut self) -> u32 {
        self.long() as u32
    }

    /// Any bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&self.take(part.len()).to_le_bytes()[..part.len()]);
        }
    }

    /// Up to `most` bytes.
    pub fn up_to(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most + 1);
        self.exactly(length)
    }

    /// So many bytes.
    pub fn exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes);
        bytes
    }

    /// What a careless or hostile hand makes of bytes: up to three changes.
    pub fn damage(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len() + 1);
            match (self.below(6), bytes.get_mut(at)) {
                (0, Some(byte)) => *byte ^= 1 << self.below(8),
                (1, Some(byte)) => *byte = self.byte(),
                (2, Some(_)) => bytes.truncate(at),
                (3, Some(_)) => drop(bytes.remove(at)),
                (4, Some(byte)) => *byte = self.pick(&[0, 1, 0x7F, 0x80, 0xFF]),
                _ => bytes.insert(at, self.byte()),
            }
        }
        bytes
    }
}
