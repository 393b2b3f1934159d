//! The vehicle gateway: a validator that builds the Event Chain and runs the uplink.
