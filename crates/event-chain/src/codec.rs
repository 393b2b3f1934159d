//! Canonical bytes on the heap, and lists that cannot outgrow their limit while being decoded.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Canonical encoding ([`device_chain::codec`]).
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    device_chain::codec::feed(value, |part| bytes.extend_from_slice(part));
    bytes
}

/// A list of at most `MAX` elements, also while it is decoded: a short message cannot claim a long list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> List<T, MAX> {
    /// Without elements.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends.
    ///
    /// # Errors
    /// The element, when the list is full.
    pub fn push(&mut self, element: T) -> Result<(), T> {
        if self.0.len() == MAX {
            return Err(element);
        }
        self.0.push(element);
        Ok(())
    }

    /// Keeps the first `count` elements and gives the others.
    #[must_use]
    pub fn split_off(&mut self, count: usize) -> Self {
        Self(self.0.split_off(count.min(self.0.len())))
    }
}

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const MAX: usize> Deref for List<T, MAX> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Elements<T, MAX> {
            type Value = List<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX} elements")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
                let mut list = List::new();
                while let Some(element) = elements.next_element()? {
                    list.push(element).map_err(|_| A::Error::custom("too many elements"))?;
                }
                Ok(list)
            }
        }
        deserializer.deserialize_seq(Elements(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_takes_its_limit_and_no_more() {
        let bytes = |count: u8| {
            let mut bytes = alloc::vec![count];
            bytes.resize(usize::from(count) + 1, 7);
            bytes
        };
        type Four = List<u8, 4>;
        assert_eq!(device_chain::codec::decode::<Four>(&bytes(4)).map(|list| list.len()), Some(4));
        assert_eq!(device_chain::codec::decode::<Four>(&bytes(5)), None);
        let mut list = Four::new();
        assert!((0..4).all(|i| list.push(i).is_ok()));
        assert_eq!(list.push(9), Err(9));
        assert_eq!((&*list.split_off(1), &*list), (&[1, 2, 3][..], &[0][..]));
    }
}
