//! Whole validators on one bus, in virtual time: what an engineer would try with seven boards on a bench.

mod aging;
mod approvals;
mod asks;
mod attacks;
mod backlog;
mod blocks;
mod bounds;
pub(crate) mod car;
mod catch_up;
mod clocks;
mod explore;
mod fairness;
mod ignition;
mod liar;
mod life;
mod members;
mod net;
mod orders;
mod presence;
mod recovery;
mod soak;
mod traces;

use std::vec::Vec as StdVec;

use super::*;
use net::{Net, Packet};
