//! Durable records over a flash port.
