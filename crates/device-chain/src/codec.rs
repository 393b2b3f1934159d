//! Canonical bytes: postcard, and nothing accepted but the one encoding that we would write (DC-4).
//!
//! postcard takes over-long varints and ignores what follows; whatever is hashed or signed is therefore encoded
//! again and compared, with nothing left over.

use postcard::ser_flavors::Flavor;
use serde::{Serialize, de::DeserializeOwned};

/// Hands the canonical encoding to `sink`, piece by piece.
///
/// # Panics
/// Never for the types of this crate: their encoding cannot fail.
pub fn feed<T: Serialize>(value: &T, sink: impl FnMut(&[u8])) {
    struct Feed<S>(S);
    impl<S: FnMut(&[u8])> Flavor for Feed<S> {
        type Output = ();
        fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
            (self.0)(data);
            Ok(())
        }
        fn try_push(&mut self, data: u8) -> postcard::Result<()> {
            (self.0)(&[data]);
            Ok(())
        }
        fn finalize(self) -> postcard::Result<()> {
            Ok(())
        }
    }
    let encoded = postcard::serialize_with_flavor::<T, Feed<_>, ()>(value, Feed(sink));
    debug_assert!(encoded.is_ok(), "an infallible flavor and a serialisable type");
}

/// Encodes into `buffer`; `None` if it does not fit.
pub fn encode<'b, T: Serialize>(value: &T, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    postcard::to_slice(value, buffer).ok().map(|written| &*written)
}

/// Encodes into a bounded vector; `None` if it does not fit.
pub fn encode_vec<T: Serialize, const N: usize>(value: &T) -> Option<heapless::Vec<u8, N>> {
    let mut bytes = heapless::Vec::new();
    let mut fits = true;
    feed(value, |part| fits &= bytes.extend_from_slice(part).is_ok());
    fits.then_some(bytes)
}

/// Decodes the one canonical encoding; `None` for anything else.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes::<T>(bytes).ok()?;
    (rest.is_empty() && is_encoding_of(&value, bytes)).then_some(value)
}

/// Decodes what this node encoded itself, or has found canonical before.
pub fn decode_own<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}

/// Takes a value in its canonical encoding from the front.
pub fn take<T: Serialize + DeserializeOwned>(bytes: &mut &[u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes::<T>(bytes).ok()?;
    let encoding = bytes.get(..bytes.len() - rest.len())?;
    if !is_encoding_of(&value, encoding) {
        return None;
    }
    *bytes = rest;
    Some(value)
}

/// Takes a list in its canonical encoding from the front, into its place: as a value it would be too large for a chip's stack.
pub fn take_list<T, const N: usize>(bytes: &mut &[u8], list: &mut heapless::Vec<T, N>) -> Option<()>
where
    T: Serialize + DeserializeOwned,
{
    list.clear();
    let length: u32 = take(bytes)?;
    (0..length).try_for_each(|_| list.push(take(bytes)?).ok())
}

fn is_encoding_of<T: Serialize>(value: &T, bytes: &[u8]) -> bool {
    let (mut at, mut same) = (0, true);
    feed(value, |part| {
        same &= bytes.get(at..at + part.len()) == Some(part);
        at += part.len();
    });
    same && at == bytes.len()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[test]
    fn only_the_canonical_encoding_is_taken() {
        for (bytes, expected) in [
            (&[5u8][..], Some(5u32)),
            (&[0x85, 0x00], None), // over-long varint
            (&[5, 0], None),       // something behind
            (&[], None),
            (&[0x80], None),
        ] {
            assert_eq!(decode::<u32>(bytes), expected, "{bytes:?}");
        }
    }
    #[test]
    fn what_does_not_fit_is_not_encoded() {
        let (value, bytes) = ((1u8, [2u8; 3]), [1, 2, 2, 2]);
        assert_eq!(encode(&value, &mut [0; 4]), Some(&bytes[..]));
        assert_eq!(encode(&value, &mut [0; 3]), None);
        assert_eq!(encode_vec::<_, 4>(&value).as_deref(), Some(&bytes[..]));
        assert_eq!(encode_vec::<_, 3>(&value), None);
        assert_eq!(decode_own(&bytes), Some(value));
    }

    /// Reads two bytes and writes one, or reads any number and writes an even one.
    #[test]
    fn what_would_be_written_differently_is_not_taken() {
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(from = "(u8, u8)", into = "u8")]
        struct Shorter(u8);
        impl From<(u8, u8)> for Shorter {
            fn from((first, _): (u8, u8)) -> Self {
                Self(first)
            }
        }
        impl From<Shorter> for u8 {
            fn from(value: Shorter) -> Self {
                value.0
            }
        }
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(from = "u8", into = "u8")]
        struct Even(u8);
        impl From<u8> for Even {
            fn from(number: u8) -> Self {
                Self(number & !1)
            }
        }
        impl From<Even> for u8 {
            fn from(value: Even) -> Self {
                value.0
            }
        }
        assert_eq!(decode::<Shorter>(&[4, 4]), None);
        assert_eq!((decode::<Even>(&[5]), decode::<Even>(&[4])), (None, Some(Even(4))));
        for (mut bytes, taken, left) in [(&[4u8, 7][..], Some(Even(4)), &[7u8][..]), (&[5, 7], None, &[5, 7])] {
            assert_eq!((take::<Even>(&mut bytes), bytes), (taken, left));
        }
    }
}
