//! Orders that change who belongs to the car (DC-46), as files: made, signed by one after the other wherever the keys are, and put into the
//! folder `orders` of any validator, which needs no connection to anybody outside.

pub mod cli;
mod file;
pub mod inbox;
mod view;

pub use file::OrderFile;
pub use view::RegistryView;
