//! The vehicle gateway: a validator of the mesh that builds the Event Chain, listens to the car and runs the uplink.

pub mod chain;
pub mod grants;
pub mod signals;
