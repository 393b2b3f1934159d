//! Hexadecimal text.

use std::fmt::Write;

/// Lower-case hexadecimal.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}

/// Bytes of hexadecimal text in either case; `None` if it is none.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    text.as_bytes().chunks(2).map(|pair| Some((digit(&pair[0])? * 16 + digit(&pair[1])?) as u8)).collect()
}

/// Exactly 32 bytes of hexadecimal text: a key or a hash.
#[must_use]
pub fn decode32(text: &str) -> Option<[u8; 32]> {
    decode(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes() {
        assert_eq!(encode(&[0, 0xab, 0xff]), "00abff");
        for (text, bytes) in
            [("00aBFf", Some(vec![0, 0xab, 0xff])), ("", Some(vec![])), ("0", None), ("0g", None), ("é", None)]
        {
            assert_eq!(decode(text), bytes, "{text:?}");
        }
    }
}
