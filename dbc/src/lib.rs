//! Load, decode and encode DBC databases, and check identifiers against them.
//!
//! A DBC file (Vector's "CAN database", the field's common format) says which messages a bus carries and which signals
//! lie in them. `can-dbc` parses the text; everything after that is this crate's own: a small checked model, an exact
//! bit extractor that respects multiplexing, and its inverse.
//!
//! ```
//! let text = "VERSION \"\"\n\nNS_ :\n\nBS_:\n\nBU_: ECM\n\n\
//!             BO_ 209 Speed: 2 ECM\n SG_ VehicleSpeed : 7|16@0+ (0.01,0) [0|300] \"km/h\" ECM\n";
//! let database = dbc::Database::parse("speed.dbc", text)?;
//! let message = database.message(0xD1).expect("it is the only message");
//! let data = message.encode(&[("VehicleSpeed", 50.0)]).expect("50 km/h is in range");
//! assert_eq!(data, [0x13, 0x88]);
//! let speed = message.decode(&data).next().expect("it is the only signal");
//! assert_eq!(speed.value.expect("the frame is long enough").physical, 50.0);
//! # Ok::<(), dbc::Diagnostic>(())
//! ```
//!
//! | module | job |
//! |---|---|
//! | [`model`] | messages, signals, value tables, multiplexing |
//! | [`decode`] | data bytes to signal values |
//! | [`encode`] | signal values to data bytes, with range checks |
//! | [`mod@collisions`] | which planned identifiers the car or diagnostics already use |
//! | [`diagnostic`] | what is wrong with a file, where, and what to do |
//!
//! Not supported: environment variables, signal groups, J1939 parameter groups (identifiers are compared whole), and
//! signals wider than 64 bits, which are left out with a warning.

mod bits;
mod build;
mod check;
pub mod collisions;
pub mod decode;
pub mod diagnostic;
pub mod encode;
mod lists;
mod load;
pub mod model;
mod source;

pub use collisions::{Collision, PlannedIdentifier, collisions};
pub use decode::{Absent, Decoded, Raw, Value};
pub use diagnostic::Diagnostic;
pub use encode::EncodeError;
pub use load::MAX_FILE_BYTES;
pub use model::{ByteOrder, Database, Message, Selector, Signal, ValueKind};
