//! What can be formatted or serialised can end in a log or a file. Nothing that holds a key can, so that what holds one of these cannot derive it either.

use core::fmt::{Debug, Display};
use core::marker::PhantomData;

use device_chain::keys::SoftKeys;
use device_chain::mac::{Key, MacKey};
use device_chain::sign::SigningKey;
use device_chain::types::PublicKey;
use device_chain::validator::Validator;
use serde::Serialize;

/// Tells whether a type has a trait: an inherent constant is found before that of the trait, where its bounds hold.
struct Probe<T>(PhantomData<T>);

trait Without {
    const DEBUG: bool = false;
    const DISPLAY: bool = false;
    const SERIALIZE: bool = false;
}

impl<T> Without for Probe<T> {}

impl<T: Debug> Probe<T> {
    const DEBUG: bool = true;
}

impl<T: Display> Probe<T> {
    const DISPLAY: bool = true;
}

impl<T: Serialize> Probe<T> {
    const SERIALIZE: bool = true;
}

/// Debug, Display, Serialize.
macro_rules! told {
    ($type:ty) => {
        [Probe::<$type>::DEBUG, Probe::<$type>::DISPLAY, Probe::<$type>::SERIALIZE]
    };
}

#[test]
fn nothing_that_holds_a_key_can_be_printed_or_serialised() {
    assert_eq!(told!(Key), [false; 3]);
    assert_eq!(told!(MacKey), [false; 3]);
    assert_eq!(told!(SigningKey), [false; 3]);
    assert_eq!(told!(SoftKeys), [false; 3]);
    assert_eq!(told!(Validator<SoftKeys>), [false; 3]);
    // the probe sees what is there
    assert_eq!(told!(u8), [true; 3]);
    assert_eq!(told!(PublicKey), [true, false, true]);
}
