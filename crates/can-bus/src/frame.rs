//! One CAN frame: classic data, classic remote, or CAN FD.
//!
//! `embedded-can` has the identifiers but no FD frame, hence this type. Lengths and flags follow ISO 11898-1:2015.

use core::fmt;

use embedded_can::{ExtendedId, Id, StandardId};

/// Most data bytes in a classic frame.
pub const MAX_CLASSIC: usize = 8;
/// Most data bytes in a CAN FD frame.
pub const MAX_FD: usize = 64;
/// Bit 31 of a raw identifier: it has 29 bits (`CAN_EFF_FLAG` of Linux's `can.h`).
pub const EXTENDED_FLAG: u32 = 1 << 31;

/// Data bytes of each DLC in a CAN FD frame (ISO 11898-1:2015, table 5).
const FD_LENGTHS: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64];

/// What a frame is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A classic CAN data frame, 0 to 8 bytes.
    Classic,
    /// A classic CAN remote frame: it asks for data and carries only the length asked for.
    Remote,
    /// A CAN FD data frame, 0 to 64 bytes.
    Fd {
        /// Bit rate switch: the data phase runs at the data bit rate.
        brs: bool,
        /// Error state indicator: the sender is error passive.
        esi: bool,
    },
}

/// One CAN frame. It is valid by construction, and two frames are equal when the wire could not tell them apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Frame {
    id: Id,
    kind: Kind,
    /// Length on the wire; a remote frame has one, too, but no data.
    len: u8,
    /// Zero beyond the data.
    bytes: [u8; MAX_FD],
}

/// A number of bytes that the kind of frame cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthError {
    /// The number of bytes asked for.
    pub len: usize,
    /// The kind of frame it was asked of.
    pub kind: Kind,
}

impl fmt::Display for LengthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, allowed) = match self.kind {
            Kind::Classic => ("classic", "0 to 8"),
            Kind::Remote => ("remote", "0 to 8"),
            Kind::Fd { .. } => ("CAN FD", "0 to 8, 12, 16, 20, 24, 32, 48 or 64"),
        };
        write!(f, "a {name} frame holds {allowed} bytes, not {}", self.len)
    }
}

impl core::error::Error for LengthError {}

impl Frame {
    /// A classic data frame.
    ///
    /// # Errors
    /// More than 8 bytes.
    pub fn classic(id: impl Into<Id>, data: &[u8]) -> Result<Self, LengthError> {
        Self::checked(id.into(), Kind::Classic, data.len(), data)
    }

    /// A classic remote frame that asks for `len` bytes.
    ///
    /// # Errors
    /// More than 8 bytes.
    pub fn remote(id: impl Into<Id>, len: usize) -> Result<Self, LengthError> {
        Self::checked(id.into(), Kind::Remote, len, &[])
    }

    /// A CAN FD frame with bit rate switch, as the mesh sends them.
    ///
    /// # Errors
    /// A length that no DLC stands for; see [`Self::fd_padded`].
    pub fn fd(id: impl Into<Id>, data: &[u8]) -> Result<Self, LengthError> {
        Self::fd_with_flags(id, data, true, false)
    }

    /// A CAN FD frame with the given bit rate switch and error state indicator.
    ///
    /// # Errors
    /// A length that no DLC stands for.
    pub fn fd_with_flags(id: impl Into<Id>, data: &[u8], brs: bool, esi: bool) -> Result<Self, LengthError> {
        Self::checked(id.into(), Kind::Fd { brs, esi }, data.len(), data)
    }

    /// A CAN FD frame with bit rate switch whose data is filled up with zeros to the next length that a DLC stands for.
    ///
    /// # Errors
    /// More than 64 bytes.
    pub fn fd_padded(id: impl Into<Id>, data: &[u8]) -> Result<Self, LengthError> {
        let kind = Kind::Fd { brs: true, esi: false };
        let len = padded_len(data.len()).ok_or(LengthError { len: data.len(), kind })?;
        Self::checked(id.into(), kind, len, data)
    }

    fn checked(id: Id, kind: Kind, len: usize, data: &[u8]) -> Result<Self, LengthError> {
        let error = LengthError { len, kind };
        let allowed = match kind {
            Kind::Classic | Kind::Remote => len <= MAX_CLASSIC,
            Kind::Fd { .. } => len_to_dlc(len).is_some(),
        };
        if !allowed {
            return Err(error);
        }
        let mut bytes = [0; MAX_FD];
        bytes.get_mut(..data.len()).ok_or(error)?.copy_from_slice(data);
        Ok(Self { id, kind, len: len as u8, bytes })
    }

    /// The identifier.
    pub const fn id(&self) -> Id {
        self.id
    }

    /// The identifier as a [raw](raw_id) number.
    pub fn raw_id(&self) -> u32 {
        raw_id(self.id)
    }

    /// The bits that decide arbitration, as they follow each other on the wire: the lower number wins.
    ///
    /// These are the identifier with RTR (or RRS), SRR and IDE. An 11-bit identifier beats a 29-bit one with the same
    /// first eleven bits, and a data frame beats a remote frame with the same identifier.
    pub fn arbitration(&self) -> u32 {
        const SRR_IDE: u32 = 0b11 << 19;
        let remote = u32::from(self.kind == Kind::Remote);
        match self.id {
            Id::Standard(id) => u32::from(id.as_raw()) << 21 | remote << 20,
            Id::Extended(id) => {
                let (base, rest) = (id.as_raw() >> 18, id.as_raw() & 0x3_FFFF);
                base << 21 | SRR_IDE | rest << 1 | remote
            }
        }
    }

    /// What the frame is on the wire.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it is a CAN FD frame.
    pub const fn is_fd(&self) -> bool {
        matches!(self.kind, Kind::Fd { .. })
    }

    /// The number of data bytes; for a remote frame, the number asked for.
    #[allow(clippy::len_without_is_empty, reason = "a frame is not a container")]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// The data; none in a remote frame.
    pub fn data(&self) -> &[u8] {
        match self.kind {
            Kind::Remote => &[],
            _ => &self.bytes[..self.len()],
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X} {:?} {:02X?}", self.raw_id(), self.kind, self.data())
    }
}

/// The data bytes of a CAN FD frame with this DLC; `None` above 15.
pub fn dlc_to_len(dlc: u8) -> Option<usize> {
    FD_LENGTHS.get(usize::from(dlc)).map(|&len| usize::from(len))
}

/// The DLC of a CAN FD frame with exactly `len` data bytes; `None` if there is none.
pub fn len_to_dlc(len: usize) -> Option<u8> {
    FD_LENGTHS.iter().position(|&l| usize::from(l) == len).map(|dlc| dlc as u8)
}

/// The shortest CAN FD data length that holds `len` bytes; `None` above 64.
pub fn padded_len(len: usize) -> Option<usize> {
    FD_LENGTHS.iter().map(|&l| usize::from(l)).find(|&l| l >= len)
}

/// An identifier as one number, as Linux (`can.h`) and the genesis write it: [`EXTENDED_FLAG`] marks 29 bits.
pub fn raw_id(id: Id) -> u32 {
    match id {
        Id::Standard(id) => u32::from(id.as_raw()),
        Id::Extended(id) => id.as_raw() | EXTENDED_FLAG,
    }
}

/// The identifier that a [raw](raw_id) number stands for; `None` if it has more than 11 or 29 bits, or other flags.
pub fn id_from_raw(raw: u32) -> Option<Id> {
    if raw & EXTENDED_FLAG != 0 {
        ExtendedId::new(raw & !EXTENDED_FLAG).map(Id::Extended)
    } else {
        StandardId::new(u16::try_from(raw).ok()?).map(Id::Standard)
    }
}

#[cfg(test)]
mod tests {
    use std::{format, string::ToString};

    use proptest::prelude::*;

    use super::*;

    fn id(raw: u32) -> Id {
        id_from_raw(raw).unwrap()
    }

    #[test]
    fn lengths_and_dlcs() {
        let table: [(usize, Option<u8>, usize); 9] = [
            (0, Some(0), 0),
            (8, Some(8), 8),
            (9, None, 12),
            (12, Some(9), 12),
            (21, None, 24),
            (32, Some(13), 32),
            (33, None, 48),
            (49, None, 64),
            (64, Some(15), 64),
        ];
        for (len, dlc, padded) in table {
            assert_eq!(len_to_dlc(len), dlc, "{len} bytes");
            assert_eq!(padded_len(len), Some(padded), "{len} bytes");
            assert_eq!(dlc.and_then(dlc_to_len), dlc.map(|_| len));
        }
        assert_eq!((padded_len(65), dlc_to_len(16)), (None, None));
    }

    #[test]
    fn a_frame_has_only_lengths_of_its_kind() {
        let bytes = [7; 65];
        for len in 0..=65 {
            let data = &bytes[..len];
            assert_eq!(Frame::classic(id(1), data).is_ok(), len <= 8, "classic, {len} bytes");
            assert_eq!(Frame::remote(id(1), len).is_ok(), len <= 8, "remote, {len} bytes");
            assert_eq!(Frame::fd(id(1), data).is_ok(), len_to_dlc(len).is_some(), "FD, {len} bytes");
            assert_eq!(Frame::fd_padded(id(1), data).is_ok(), len <= 64, "FD padded, {len} bytes");
        }
        let error = Frame::fd(id(1), &bytes[..9]).unwrap_err().to_string();
        assert_eq!(error, "a CAN FD frame holds 0 to 8, 12, 16, 20, 24, 32, 48 or 64 bytes, not 9");
    }

    #[test]
    fn raw_identifiers() {
        let valid = [0, 0x7FF, EXTENDED_FLAG, EXTENDED_FLAG | 0x7FF, EXTENDED_FLAG | 0x1FFF_FFFF];
        for raw in valid {
            assert_eq!(raw_id(id(raw)), raw);
        }
        for raw in [0x800, 0x1_0000, 0x1FFF_FFFF, 1 << 29, 1 << 30, EXTENDED_FLAG | 1 << 29] {
            assert_eq!(id_from_raw(raw), None, "{raw:#X}");
        }
    }

    #[test]
    fn a_remote_frame_has_a_length_but_no_data() {
        let frame = Frame::remote(id(0x123), 4).unwrap();
        assert_eq!((frame.len(), frame.data()), (4, &[][..]));
        assert_eq!(format!("{frame:?}"), "00000123 Remote []");
    }

    #[test]
    fn who_wins_arbitration() {
        let order = [
            Frame::fd(id(0x000), &[]),
            Frame::fd(id(0x122), &[]),
            Frame::classic(id(0x123), &[]),
            Frame::remote(id(0x123), 0),
            Frame::fd(id(EXTENDED_FLAG | 0x123 << 18), &[]),
            Frame::remote(id(EXTENDED_FLAG | 0x123 << 18), 0),
            Frame::fd(id(EXTENDED_FLAG | 0x123 << 18 | 1), &[]),
            Frame::fd(id(0x124), &[]),
            Frame::fd(id(EXTENDED_FLAG | 0x1FFF_FFFF), &[]),
        ]
        .map(|frame| frame.unwrap().arbitration());
        assert!(order.is_sorted_by(|a, b| a < b), "{order:X?}");
    }

    proptest! {
        #[test]
        fn padding_keeps_the_data_and_adds_zeros(data in prop::collection::vec(any::<u8>(), 0..=64)) {
            let frame = Frame::fd_padded(id(0x42), &data).unwrap();
            prop_assert_eq!(&frame.data()[..data.len()], &data[..]);
            prop_assert!(frame.data()[data.len()..].iter().all(|&b| b == 0));
            prop_assert_eq!(Frame::fd(id(0x42), frame.data()).unwrap(), frame);
        }

        #[test]
        fn any_raw_number_is_an_identifier_or_refused(raw: u32) {
            prop_assert!(id_from_raw(raw).is_none_or(|id| raw_id(id) == raw));
        }
    }
}
