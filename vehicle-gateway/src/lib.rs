//! The vehicle gateway: a validator of the mesh that builds the Event Chain, listens to the car and runs the uplink.
//!
//! | module | job |
//! |---|---|
//! | [`chain`] | the Event Chain in the making, pure, and its log |
//! | [`grants`] | what becomes of grants from the cloud |
//! | [`signals`] | which signals of the car are recorded |
//! | [`car_bus`] | listening to the car's own segment |
//! | [`gateway`] | the process: a node, the above, the uplink |
//! | [`status`] | what a running gateway shows |
//! | [`doctor`] | whether a car's configuration fits the car |
//! | [`play`] | a recorded drive, played onto a virtual bus |

pub mod car_bus;
pub mod chain;
pub mod doctor;
pub mod gateway;
pub mod grants;
pub mod play;
pub mod signals;
pub mod status;
