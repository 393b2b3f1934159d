//! CAN and CAN FD frames, identifier plan, segmentation and the bus port with its adapters.
