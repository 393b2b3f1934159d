//! The ECU as a Linux process: files for flash and keys, SocketCAN for the bus, tokio for the waiting.
//!
//! A program that embeds a node (the vehicle gateway) does what `ecu-node run` does:
//!
//! 1. [`node::Node::open`] with the paths that `ecu-node provision` made;
//! 2. [`runtime::run`] with a [`bus::Bus`], a channel for commands and one for events;
//! 3. [`node::Node::status`] before that, to watch the node, and [`status::Status::write`] to let others watch it.

pub mod actuator;
pub mod adapter;
pub mod bus;
pub mod car;
pub mod door_sensor;
pub mod emulator;
pub mod failure;
pub mod files;
pub mod keyfile;
pub mod node;
pub mod orders;
mod pairs;
pub mod phase;
pub mod process;
pub mod provision;
pub mod runtime;
pub mod sealed;
pub mod serial;
pub mod status;
mod writer;
