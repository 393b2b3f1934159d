//! What happened to one ECU, recorded: replayed anywhere it must make the ECU do the same, byte by byte.
//!
//! A trace is a sequence of records: 8 bytes of time in µs, 1 of kind, 2 of length (little-endian), and that many bytes of what the
//! kind says. It begins with a genesis, keys and a boot.

use can_bus::port::{BusEvent, ErrorState};
use can_bus::slcan::{Decoder, Line};
use device_chain::codec;
use device_chain::genesis::Genesis;
use device_chain::keys::{Device, SoftKeys};
use device_chain::mac::Key;
use device_chain::types::{Hash, Micros, Signature, ValidatorIndex};
use device_chain::validator::Boot;

use crate::{Ecu, Input};

/// Bytes before what a record says.
pub const HEAD: usize = 8 + 1 + 2;
/// Longest record.
pub const MAX_RECORD: usize = 64 * 1024;

/// What a record says.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is no heap to put a genesis on")]
pub enum Step {
    /// The genesis of the car.
    Genesis(Genesis),
    /// The pairwise key with a validator.
    Key(ValidatorIndex, [u8; 32]),
    /// The ECU with this place in the genesis boots, without history.
    Boot(ValidatorIndex, u64),
    /// It takes an input.
    Input(Input),
    /// It is polled until it has nothing more to say.
    Poll,
    /// Here begins what a count of instructions has a name for.
    Mark(u8),
}

/// Time, kind and length of a record.
#[must_use]
pub fn head(bytes: &[u8; HEAD]) -> (Micros, u8, usize) {
    let [a, b, c, d, e, f, g, h, kind, low, high] = *bytes;
    (Micros(u64::from_le_bytes([a, b, c, d, e, f, g, h])), kind, usize::from(u16::from_le_bytes([low, high])))
}

const GENESIS: u8 = 0;
const KEY: u8 = 1;
const BOOT: u8 = 2;
const POLL: u8 = 3;
const MARK: u8 = 4;
const TICK: u8 = 5;
const RECEIVED: u8 = 6;
const TRANSMITTED: u8 = 7;
const DROPPED: u8 = 8;
const OVERRUN: u8 = 9;
const STATE: u8 = 10;
const PERSISTED: u8 = 11;
const SIGNED: u8 = 12;
const GRANT_CHECKED: u8 = 13;
const GRANT: u8 = 14;
const SUBMIT: u8 = 15;
const ENDORSEMENT_CHECKED: u8 = 16;
const ENDORSEMENT: u8 = 17;
const MEASURED: u8 = 18;
const CLOCK: u8 = 19;

/// Hands a record to `write` in two parts; `buffer` is for what has to be encoded. False if it is too long for a record.
pub fn write(now: Micros, step: &Step, buffer: &mut [u8], write: &mut dyn FnMut(&[u8])) -> bool {
    let mut put = |parts: &[&[u8]]| {
        let mut end = 0;
        for part in parts {
            buffer.get_mut(end..end + part.len())?.copy_from_slice(part);
            end += part.len();
        }
        Some(end)
    };
    let (kind, length) = match step {
        Step::Genesis(genesis) => (GENESIS, codec::encode(genesis, buffer).map(<[u8]>::len)),
        Step::Key(peer, key) => (KEY, put(&[&[*peer], key])),
        Step::Boot(place, nonce) => (BOOT, put(&[&[*place], &nonce.to_le_bytes()])),
        Step::Poll => (POLL, Some(0)),
        Step::Mark(mark) => (MARK, put(&[&[*mark]])),
        Step::Input(input) => match input {
            Input::Tick => (TICK, Some(0)),
            Input::Bus(BusEvent::Received { frame, .. }) => (RECEIVED, put(&[&Line::Frame(*frame).text()])),
            Input::Bus(BusEvent::Transmitted { token }) => (TRANSMITTED, put(&[&token.to_le_bytes()])),
            Input::Bus(BusEvent::Dropped { token }) => (DROPPED, put(&[&token.to_le_bytes()])),
            Input::Bus(BusEvent::Overrun { frames }) => (OVERRUN, put(&[&frames.to_le_bytes()])),
            Input::Bus(BusEvent::State(state)) => (STATE, put(&[&[*state as u8]])),
            Input::Persisted(token) => (PERSISTED, put(&[&token.to_le_bytes()])),
            Input::Signed(digest, signature) => (SIGNED, put(&[&digest.0, &signature.to_bytes()])),
            Input::GrantChecked(digest, genuine) => (GRANT_CHECKED, put(&[&digest.0, &[u8::from(*genuine)]])),
            Input::EndorsementChecked(signature, genuine) => {
                (ENDORSEMENT_CHECKED, put(&[&signature.to_bytes(), &[u8::from(*genuine)]]))
            }
            Input::Endorsement(endorsement) => (ENDORSEMENT, codec::encode(endorsement, buffer).map(<[u8]>::len)),
            Input::Measured(firmware) => (MEASURED, put(&[&firmware.0])),
            // a trace is of an ECU whose keys stay: no trace holds a secret that is worth anything
            Input::Agreed(_) | Input::Refresh(_) | Input::Kept => return false,
            Input::Grant(signed) => (GRANT, codec::encode(signed, buffer).map(<[u8]>::len)),
            Input::Submit(tx) => (SUBMIT, codec::encode(tx, buffer).map(<[u8]>::len)),
            Input::Clock(ms) => (CLOCK, put(&[&ms.to_le_bytes()])),
        },
    };
    let Some((said, length)) = length.and_then(|end| Some((buffer.get(..end)?, u16::try_from(end).ok()?))) else {
        return false;
    };
    write(&now.0.to_le_bytes());
    write(&[kind]);
    write(&length.to_le_bytes());
    write(said);
    true
}

/// What a record of this kind says; `None` if it is none.
#[must_use]
pub fn read(kind: u8, bytes: &[u8]) -> Option<Step> {
    let number = || bytes.try_into().ok().map(u32::from_le_bytes);
    let event = match kind {
        GENESIS => return codec::decode(bytes).map(Step::Genesis),
        KEY => return bytes.split_first().and_then(|(peer, key)| Some(Step::Key(*peer, key.try_into().ok()?))),
        BOOT => {
            let (place, nonce) = bytes.split_first()?;
            return Some(Step::Boot(*place, u64::from_le_bytes(nonce.try_into().ok()?)));
        }
        POLL => return Some(Step::Poll),
        MARK => return bytes.first().map(|mark| Step::Mark(*mark)),
        TICK => return Some(Step::Input(Input::Tick)),
        PERSISTED => return Some(Step::Input(Input::Persisted(u64::from_le_bytes(bytes.try_into().ok()?)))),
        SIGNED => {
            let (digest, signature) = bytes.split_first_chunk::<32>()?;
            let signature = Signature::from_bytes(signature.try_into().ok()?);
            return Some(Step::Input(Input::Signed(Hash(*digest), signature)));
        }
        GRANT_CHECKED => {
            let (digest, genuine) = bytes.split_first_chunk::<32>()?;
            return Some(Step::Input(Input::GrantChecked(Hash(*digest), *genuine == [1])));
        }
        ENDORSEMENT_CHECKED => {
            let (signature, genuine) = bytes.split_first_chunk::<64>()?;
            return Some(Step::Input(Input::EndorsementChecked(Signature::from_bytes(signature), *genuine == [1])));
        }
        ENDORSEMENT => return Some(Step::Input(Input::Endorsement(codec::decode(bytes)?))),
        MEASURED => return Some(Step::Input(Input::Measured(Hash(bytes.try_into().ok()?)))),
        GRANT => return Some(Step::Input(Input::Grant(codec::decode(bytes)?))),
        CLOCK => return Some(Step::Input(Input::Clock(u64::from_le_bytes(bytes.try_into().ok()?)))),
        SUBMIT => return Some(Step::Input(Input::Submit(codec::decode(bytes)?))),
        RECEIVED => {
            let mut decoder = Decoder::new();
            let Line::Frame(frame) = bytes.iter().find_map(|byte| decoder.push(*byte))? else { return None };
            BusEvent::Received { segment: 0, at_us: 0, frame }
        }
        TRANSMITTED => BusEvent::Transmitted { token: number()? },
        DROPPED => BusEvent::Dropped { token: number()? },
        OVERRUN => BusEvent::Overrun { frames: number()? },
        STATE => BusEvent::State(match bytes.first()? {
            0 => ErrorState::Active,
            1 => ErrorState::Warning,
            2 => ErrorState::Passive,
            _ => ErrorState::BusOff,
        }),
        _ => return None,
    };
    Some(Step::Input(Input::Bus(event)))
}

/// Who a trace is about, as far as it was read.
#[derive(Default)]
pub struct Player {
    genesis: Option<Genesis>,
    keys: Option<SoftKeys>,
}

impl Player {
    /// Takes a step before the first input; the ECU when it boots. `None` also if the trace says too little before that.
    pub fn prepare(&mut self, now: Micros, step: Step) -> Option<Ecu<SoftKeys>> {
        match step {
            Step::Genesis(genesis) => {
                self.keys = Some(SoftKeys::new(genesis.suite));
                self.genesis = Some(genesis);
                None
            }
            Step::Key(peer, key) => {
                self.keys.as_mut()?.load(Device::Validator(peer), Key::new(key));
                None
            }
            Step::Boot(place, nonce) => {
                let (genesis, keys) = (self.genesis.take()?, self.keys.take()?);
                let mut ecu = Ecu::new(keys);
                ecu.validator_mut().install(genesis, place).ok()?;
                ecu.validator_mut().start(Boot { nonce }, now);
                Some(ecu)
            }
            _ => None,
        }
    }
}
