//! What people and the gateway ask of the car.

use super::car::fleet;
use super::net::{GATEWAY, PHASE_US};
use super::*;
use crate::block::{BlockHeader, Finality};
use crate::grant::{Action, Grant};
use crate::limits::MAX_BACKLOG;

impl Net {
    pub fn grant(&self, serial: u64) -> SignedGrant {
        let grant = Grant {
            mesh: self.genesis.mesh(),
            issuer: 0,
            serial,
            action: Action::Unlock,
            holder: Hash([9; 32]),
            not_before: 0,
            not_after: 1_000_000,
        };
        SignedGrant::sign(grant, &fleet())
    }

    /// Brings a grant in at the gateway, until all know it.
    pub fn admit(&mut self, grant: &SignedGrant) {
        self.tell(GATEWAY, Input::Grant(grant.clone()));
        self.run(3 * PHASE_US);
    }

    /// An approval as a person asks for it: a grant comes in, `by` uses it.
    pub fn unlock(&mut self, serial: u64, by: u8) -> Transaction {
        let grant = self.grant(serial);
        self.admit(&grant);
        let tx = Transaction::UseGrant(grant.grant.usage());
        self.tell(by, Input::Submit(tx.clone()));
        tx
    }

    /// The block that an honest gateway would build now.
    pub fn block(&self) -> BlockHeader {
        let state = self.ecu(GATEWAY).validator.state();
        BlockHeader {
            number: state.event().number + 1,
            previous: state.event().hash,
            tree_size: state.height(),
            tree_root: state.tree().root(),
            attested_root: Hash([5; 32]),
            attested_count: 3,
            finality: Finality::Final,
            members: state.members(),
            time_ms: self.ecu(GATEWAY).validator.time_to_give(),
        }
    }

    /// What an honest gateway does: it closes a block before the backlog stops the others (DC-52).
    pub fn close_block_in_time(&mut self) {
        let state = self.ecu(GATEWAY).validator.state();
        if state.height() - state.event().tree_size > MAX_BACKLOG / 2 {
            let header = self.block();
            self.tell(GATEWAY, Input::Submit(Transaction::EventBlock(header)));
        }
    }
}
