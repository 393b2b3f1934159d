//! Chance from a seed: the same seed rolls the same, on every machine and for ever.

/// xorshift64* (Vigna, arXiv 1402.6246): all that a schedule needs, and no dependency that might change its sequence.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice of their own for each `use_of` of a seed, so that one more roll here changes nothing there.
    #[must_use]
    pub const fn new(seed: u64, use_of: u64) -> Self {
        // splitmix64 (Steele et al. 2014) parts neighbouring seeds; the state must not be 0
        let mut z = seed.wrapping_add(use_of.wrapping_mul(0xD1B5_4A32_D192_ED03)).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self((z ^ (z >> 31)) | 1)
    }

    /// A number from 0 to `sides` - 1; 0 for no sides.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) % sides.max(1)
    }

    /// Whether something happens that does so in `percent` of 100 cases.
    pub fn percent(&mut self, percent: u8) -> bool {
        percent > 0 && self.roll(100) < u64::from(percent)
    }

    /// One of several.
    ///
    /// # Panics
    /// There is none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len() as u64) as usize]
    }

    /// One of several by weight.
    ///
    /// # Panics
    /// There is none with a weight.
    pub fn weighted<T: Copy>(&mut self, of: &[(u32, T)]) -> T {
        let mut at = self.roll(of.iter().map(|(weight, _)| u64::from(*weight)).sum());
        for (weight, what) in of {
            match at.checked_sub(u64::from(*weight)) {
                None => return *what,
                Some(left) => at = left,
            }
        }
        unreachable!("the roll is below the sum of the weights")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden: a changed sequence would give every recorded seed another meaning.
    #[test]
    fn a_seed_means_the_same_for_ever() {
        let mut dice = Dice::new(1, 0);
        let rolls: Vec<_> = (0..6).map(|_| dice.roll(1000)).collect();
        assert_eq!(rolls, GOLDEN);
        let mut other = Dice::new(1, 1);
        assert_ne!(rolls, (0..6).map(|_| other.roll(1000)).collect::<Vec<_>>());
    }

    const GOLDEN: [u64; 6] = [53, 801, 758, 274, 326, 690];

    #[test]
    fn weights_are_kept() {
        let mut dice = Dice::new(7, 0);
        let often = (0..10_000).filter(|_| dice.weighted(&[(3, true), (0, true), (1, false)])).count();
        assert!((7_300..7_700).contains(&often), "{often}");
    }
}
