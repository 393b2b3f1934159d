//! Whole-car scenarios and attacks over real vcan.
