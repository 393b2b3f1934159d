//! Key stores.

use device_chain::hash::Domain;
use device_chain::keys::{Device, KeyHandle, KeyStore};
use device_chain::mac::{FULL_TAG, Key, Suite, TAG_INPUT, Tag, TagInput};
use device_chain::types::ValidatorIndex;

use super::Results;

/// The only key that the store holds: pairwise, with [`TEST_PEER`].
pub const TEST_KEY: [u8; 32] = counting();
/// Whom it is shared with.
pub const TEST_PEER: ValidatorIndex = 1;
const STRANGER: ValidatorIndex = 2;
const MESSAGE: TagInput = counting();
const NONCES: [u64; 2] = [0x0102_0304_0506_0708, 9];

const PAIR: KeyHandle = KeyHandle::Pair(Device::Validator(TEST_PEER));
const SESSION: KeyHandle = KeyHandle::Session(TEST_PEER);
const CANDIDATE: KeyHandle = KeyHandle::Candidate(TEST_PEER);

/// 0, 1, 2, ...
const fn counting<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut at = 0;
    while at < N {
        bytes[at] = at as u8;
        at += 1;
    }
    bytes
}

/// The tag of [`MESSAGE`] under [`TEST_KEY`], by OpenSSL.
const fn known_answer(suite: Suite) -> Tag {
    match suite {
        Suite::Cmac => 0x5247_121d_b0e5_0733_fb83_bab0_8fbb_a8ea_u128.to_be_bytes(),
        Suite::Blake2s => 0xb233_98f9_1059_9f3c_09b6_549f_a81b_cb46_u128.to_be_bytes(),
    }
}

/// The same under the key derived from it (DC-21).
fn session_answer(suite: Suite, nonces: [u64; 2]) -> Tag {
    Key::new(TEST_KEY).derive(suite, Domain::SessionKey, nonces).for_tags(suite).tag(&MESSAGE)
}

/// A key store that holds [`TEST_KEY`] for [`TEST_PEER`] and nothing else. That a key cannot be got out of it is nothing that a test could
/// show: [`KeyStore`] has no way to ask.
pub fn keys(store: &mut impl KeyStore, suite: Suite, results: &mut Results) {
    let answer = known_answer(suite);
    results.add("keys: a tag is the known answer (M2)", store.tag(PAIR, &MESSAGE) == Some(answer));
    let truncated = (4..=FULL_TAG).all(|length| store.verify(PAIR, &MESSAGE, &answer[..length]));
    results.add("keys: its own tags are verified, truncated as a mesh may have them", truncated);
    let short = (0..4).any(|length| store.verify(PAIR, &MESSAGE, &answer[..length]));
    let mut long = [0; FULL_TAG + 1];
    long[..FULL_TAG].copy_from_slice(&answer);
    results.add("keys: shorter and longer ones are refused", !short && !store.verify(PAIR, &MESSAGE, &long));
    let forged = (0..8 * FULL_TAG).any(|bit| {
        let mut tag = answer;
        tag[bit / 8] ^= 1 << (bit % 8);
        store.verify(PAIR, &MESSAGE, &tag)
    });
    results.add("keys: a tag with one wrong bit is refused", !forged);
    let replaced = (0..TAG_INPUT).any(|at| {
        let mut message = MESSAGE;
        message[at] ^= 0x40;
        store.verify(PAIR, &message, &answer[..8])
    });
    results.add("keys: a tag of another message is refused", !replaced);

    let strangers = [SESSION, CANDIDATE, KeyHandle::Pair(Device::Validator(STRANGER)), KeyHandle::Session(STRANGER)];
    let known =
        strangers.iter().any(|key| store.tag(*key, &MESSAGE).is_some() || store.verify(*key, &MESSAGE, &answer));
    results.add("keys: without a key there is no tag", !known);
    store.derive(STRANGER, NONCES);
    results.add("keys: nor one derived from it", store.tag(KeyHandle::Candidate(STRANGER), &MESSAGE).is_none());

    store.derive(TEST_PEER, NONCES);
    let derived = session_answer(suite, NONCES);
    results.add("keys: the candidate comes from both nonces (DC-21)", store.tag(CANDIDATE, &MESSAGE) == Some(derived));
    results.add("keys: a candidate is no session yet", store.tag(SESSION, &MESSAGE).is_none());
    store.promote(TEST_PEER);
    let promoted = store.tag(SESSION, &MESSAGE) == Some(derived) && store.verify(SESSION, &MESSAGE, &derived[..8]);
    results.add("keys: it is the session once it is promoted", promoted);
    results.add("keys: and no candidate any more", store.tag(CANDIDATE, &MESSAGE).is_none());
    store.promote(TEST_PEER);
    results.add("keys: without a candidate the session stays", store.tag(SESSION, &MESSAGE) == Some(derived));

    let swapped = [NONCES[1], NONCES[0]];
    store.derive(TEST_PEER, swapped);
    let next = session_answer(suite, swapped);
    results.add("keys: the order of the nonces counts", store.tag(CANDIDATE, &MESSAGE) == Some(next));
    results.add("keys: the session lasts until the next one", store.tag(SESSION, &MESSAGE) == Some(derived));
    store.promote(TEST_PEER);
    let replaced = store.tag(SESSION, &MESSAGE) == Some(next) && !store.verify(SESSION, &MESSAGE, &derived[..8]);
    results.add("keys: the next session replaces it", replaced);
    results.add("keys: the pairwise key stays", store.tag(PAIR, &MESSAGE) == Some(answer));
}
