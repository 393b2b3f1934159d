//! Short byte strings in a row: as many as fit, in the order in which they came.

/// Most bytes of one string.
pub const MAX_STRING: usize = u8::MAX as usize;

/// A queue of byte strings of up to [`MAX_STRING`] bytes in `N` bytes of memory, one more for each.
#[derive(Clone, Debug)]
pub struct Packed<const N: usize> {
    bytes: [u8; N],
    /// The strings lie from `start` up to `end`. What was in front is made room of only when it is needed.
    start: usize,
    end: usize,
    count: usize,
}

impl<const N: usize> Default for Packed<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> PartialEq for Packed<N> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<const N: usize> Eq for Packed<N> {}

impl<const N: usize> Packed<N> {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; N], start: 0, end: 0, count: 0 }
    }

    /// How many strings there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether strings of `lengths` bytes still fit, all together.
    #[must_use]
    pub fn has_room(&self, lengths: usize, strings: usize) -> bool {
        self.end - self.start + lengths + strings <= N
    }

    /// Adds one at the end, of two parts. False, and nothing done, if it does not fit.
    pub fn push(&mut self, parts: [&[u8]; 2]) -> bool {
        let length = parts[0].len() + parts[1].len();
        let Ok(marked) = u8::try_from(length) else { return false };
        if !self.has_room(length, 1) {
            return false;
        }
        if self.end + 1 + length > N {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        for part in [&[marked], parts[0], parts[1]] {
            self.bytes.iter_mut().skip(self.end).zip(part).for_each(|(to, byte)| *to = *byte);
            self.end += part.len();
        }
        self.count += 1;
        true
    }

    /// Adds one at the end; the oldest give way, so that there are no more than `most`.
    pub fn push_newest(&mut self, parts: [&[u8]; 2], most: usize) -> bool {
        let length = parts[0].len() + parts[1].len();
        while self.count > 0 && (self.count >= most || !self.has_room(length, 1)) {
            self.drop_oldest();
        }
        self.push(parts)
    }

    /// The oldest.
    #[must_use]
    pub fn oldest(&self) -> Option<&[u8]> {
        self.iter().next()
    }

    /// The newest.
    #[must_use]
    pub fn newest(&self) -> Option<&[u8]> {
        self.iter().last()
    }

    /// The newest, to be changed in place.
    pub fn newest_mut(&mut self) -> Option<&mut [u8]> {
        let length = self.newest()?.len();
        self.bytes.get_mut(self.end - length..self.end)
    }

    /// Puts another in the place of the `at`-th. False, and nothing done, if it does not fit or there is no such one.
    pub fn replace(&mut self, at: usize, string: &[u8]) -> bool {
        let (before, Some(old)) =
            (self.iter().take(at).map(|known| 1 + known.len()).sum::<usize>(), self.iter().nth(at))
        else {
            return false;
        };
        let (old, Ok(marked)) = (old.len(), u8::try_from(string.len())) else { return false };
        let used = self.end - self.start;
        if used - old + string.len() > N {
            return false;
        }
        self.bytes.copy_within(self.start..self.end, 0);
        self.bytes.copy_within(before + 1 + old..used, before + 1 + string.len());
        (self.start, self.end) = (0, used - old + string.len());
        let place = self.bytes.iter_mut().skip(before);
        place.zip([&marked].into_iter().chain(string)).for_each(|(to, byte)| *to = *byte);
        true
    }

    /// Drops the oldest.
    pub fn drop_oldest(&mut self) {
        if let Some(length) = self.oldest().map(<[u8]>::len) {
            self.start += 1 + length;
            self.count -= 1;
        }
    }

    /// Drops all.
    pub fn clear(&mut self) {
        (self.start, self.end, self.count) = (0, 0, 0);
    }

    /// All, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let mut rest = self.bytes.get(self.start..self.end).unwrap_or_default();
        core::iter::from_fn(move || {
            let (length, behind) = rest.split_first()?;
            let (string, behind) = behind.split_at_checked(usize::from(*length))?;
            rest = behind;
            Some(string)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_queue_of_what_fits(steps in proptest::collection::vec((0..4u8, 0..40usize), 0..200)) {
            let (mut packed, mut model) = (Packed::<100>::new(), VecDeque::<Vec<u8>>::new());
            for (at, (step, length)) in steps.into_iter().enumerate() {
                let string: Vec<u8> = (at..at + length).map(|byte| byte as u8).collect();
                let used = |model: &VecDeque<Vec<u8>>| model.iter().map(|string| 1 + string.len()).sum::<usize>();
                let parts = [&string[..length / 2], &string[length / 2..]];
                match step {
                    0 => {
                        let fits = used(&model) + 1 + length <= 100;
                        prop_assert_eq!(packed.push(parts), fits);
                        if fits {
                            model.push_back(string);
                        }
                    }
                    1 => {
                        while model.len() >= 5 || used(&model) + 1 + length > 100 {
                            model.pop_front();
                        }
                        prop_assert!(packed.push_newest(parts, 5));
                        model.push_back(string);
                    }
                    2 => {
                        let at = length % 6;
                        let known = model.get(at).map(Vec::len);
                        let fits = known.is_some_and(|known| used(&model) - known + length <= 100);
                        prop_assert_eq!(packed.replace(at, &string), fits);
                        if fits {
                            model[at] = string;
                        }
                    }
                    _ => {
                        packed.drop_oldest();
                        model.pop_front();
                    }
                }
                prop_assert!(packed.iter().eq(model.iter().map(Vec::as_slice)));
                prop_assert_eq!((packed.len(), packed.is_empty()), (model.len(), model.is_empty()));
                prop_assert_eq!(packed.oldest(), model.front().map(Vec::as_slice));
                prop_assert_eq!(packed.newest(), model.back().map(Vec::as_slice));
            }
        }
    }

    #[test]
    fn what_is_too_long_is_not_taken() {
        let mut packed = Packed::<1000>::new();
        assert!(packed.push([&[1; 200], &[2; 55]]) && !packed.push([&[1; 200], &[2; 56]]));
        assert_eq!(packed.iter().map(<[u8]>::len).collect::<Vec<_>>(), [255]);
    }

    #[test]
    fn the_newest_is_changed_in_its_place() {
        let mut packed = Packed::<20>::new();
        assert_eq!(packed.newest_mut(), None);
        assert!(packed.push([b"old", b""]) && packed.push([b"new", b"est"]));
        packed.newest_mut().expect("there is one").copy_from_slice(b"latest");
        assert!(packed.iter().eq([&b"old"[..], b"latest"]));
    }

    #[test]
    fn strings_are_equal_wherever_they_lie() {
        let (mut one, mut other) = (Packed::<20>::new(), Packed::<20>::new());
        assert!(one.push([b"gone", b""]) && one.push([b"kept", b""]) && other.push([b"kept", b""]));
        assert_ne!(one, other);
        one.drop_oldest();
        assert_eq!(one, other);
        one.clear();
        assert_eq!(one, Packed::new());
    }

    #[test]
    fn for_what_never_fits_all_give_way_in_vain() {
        let mut packed = Packed::<20>::new();
        assert!(packed.push([b"old", b""]));
        assert!(!packed.push_newest([&[0; 20], b""], 5) && packed.is_empty());
    }
}
