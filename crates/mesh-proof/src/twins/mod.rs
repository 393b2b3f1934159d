//! Twins (Bano et al., OPODIS 2021): each liar runs as two correct copies with the same keys, and schedules decide who hears
//! whom. Two correct copies that disagree are a liar who says one thing here and another there, and every lie that agreement
//! must survive is made of such ones.
//!
//! Here a schedule splits the copies anew for every *hop*, the time in which what was said is heard once: on this bus a vote is lost
//! for some, and a tag of a liar may be right for some. Four hops are a round: proposal, PREVOTE, READY, PRECOMMIT.

pub mod course;
pub mod schedule;

pub use course::{Course, Failure, run};
pub use schedule::{ROUNDS, Schedule, Setup};
