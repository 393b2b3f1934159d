//! The ECU: one pump for process, simulator and firmware.
