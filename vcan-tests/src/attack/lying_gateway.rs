//! The lying gateway: a validator with all its keys, which says that a grant was approved.
//!
//! It joins the mesh as the honest node does, by running it; then it lies with the keys of that session.

use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use can_bus::port::BusCommand;
use device_chain::codec;
use device_chain::genesis::Genesis;
use device_chain::grant::SignedGrant;
use device_chain::hash::{Domain, hash};
use device_chain::keys::{Device, KeyHandle, KeyStore, SoftKeys};
use device_chain::mac::{Tag, TagInput};
use device_chain::record::{MAX_RECORD, Record, RecordKind};
use device_chain::state::State;
use device_chain::tx::{Transaction, decision_hash};
use device_chain::types::{Hash, Height, Micros, ValidatorIndex};
use device_chain::validator::{Boot, Mode};
use device_chain::wire::{DECIDED_VALUE, Header, Kind, tag_input};
use ecu_node::keyfile::DeviceKeys;
use ecu_node::linux::bus::Bus;
use ecu_node::{Ecu, Effect, Input};
use tokio::time::{sleep_until, timeout};

use super::forger::{forge, forged_grant};
use super::{Sent, frames};
use crate::bus::Tap;

/// How long joining may take.
const JOIN_TIMEOUT: Duration = Duration::from_secs(20);
/// Counters between the honest messages and the lies: some of the former may still be under way.
const COUNTER_GAP: u32 = 1000;

/// The keys, for the honest node and for the liar.
#[derive(Clone)]
struct SharedKeys(Arc<Mutex<SoftKeys>>);

impl SharedKeys {
    fn lock(&self) -> MutexGuard<'_, SoftKeys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyStore for SharedKeys {
    fn tag(&self, key: KeyHandle, message: &TagInput) -> Option<Tag> {
        self.lock().tag(key, message)
    }

    fn verify(&self, key: KeyHandle, message: &TagInput, tag: &[u8]) -> bool {
        self.lock().verify(key, message, tag)
    }

    fn derive(&mut self, peer: ValidatorIndex, nonces: [u64; 2]) {
        self.lock().derive(peer, nonces);
    }

    fn promote(&mut self, peer: ValidatorIndex) {
        self.lock().promote(peer);
    }

    fn forget(&mut self, device: Device) {
        self.lock().forget(device);
    }
}

/// The honest node, with nothing that it remembers but the number of its last boot.
fn start(genesis: &Genesis, me: ValidatorIndex, keys: SharedKeys, boot: u32) -> Result<Box<Ecu<SharedKeys>>> {
    let mut ecu = Box::new(Ecu::new(keys));
    let validator = ecu.validator_mut();
    validator.install(genesis, me).map_err(|_| anyhow!("not a validator of this car"))?;
    let mut record = [0; MAX_RECORD];
    let record = codec::encode(&Record::Boot(boot), &mut record).context("a short record")?;
    validator.replay(RecordKind::Fact, record).map_err(|_| anyhow!("a sound record"))?;
    validator.start(Boot { nonce: u64::from_le_bytes(super::random()?) }, Micros(0));
    Ok(ecu)
}

/// A gateway in the hands of an attacker.
pub struct LyingGateway {
    tap: Tap,
    genesis: Genesis,
    me: ValidatorIndex,
    ecu: Box<Ecu<SharedKeys>>,
    keys: SharedKeys,
    epoch: Instant,
    counter: u32,
    lies: u32,
}

impl LyingGateway {
    /// Joins the mesh with the gateway's keys in the place of the gateway, whose last boot was `boot`, and catches up
    /// to `height`.
    ///
    /// # Errors
    /// The mesh does not let it.
    pub async fn join(tap: Tap, genesis: &Genesis, keys: DeviceKeys, boot: u32, height: Height) -> Result<Self> {
        let Device::Validator(me) = keys.device else { bail!("these are the keys of an endpoint") };
        let keys = SharedKeys(Arc::new(Mutex::new(keys.keys)));
        let ecu = start(genesis, me, keys.clone(), boot)?;
        let genesis = genesis.clone();
        let mut liar = Self { tap, genesis, me, ecu, keys, epoch: Instant::now(), counter: 0, lies: 0 };
        let joined = timeout(
            JOIN_TIMEOUT,
            liar.run_until(|ecu| {
                let validator = ecu.validator();
                validator.mode() == Mode::Trusted && validator.state().height() >= height
            }),
        );
        joined.await.context("the mesh does not let the lying gateway join")??;
        liar.counter += COUNTER_GAP;
        Ok(liar)
    }

    /// Follows the mesh for a while as an honest node does.
    ///
    /// # Errors
    /// The bus is gone.
    pub async fn stay_honest_for(&mut self, duration: Duration) -> Result<()> {
        timeout(duration, self.run_until(|_| false)).await.unwrap_or(Ok(()))
    }

    /// Messages with genuine tags that are not true.
    #[must_use]
    pub const fn lies(&self) -> u32 {
        self.lies
    }

    /// Lies to everybody, in every way that its keys allow, about a grant that no authority has signed.
    ///
    /// # Errors
    /// The bus is gone.
    pub async fn approve_forged_grant(&mut self) -> Result<()> {
        let head = self.state().height();
        let (grant, order) = forged_grant(&self.genesis, head)?;
        // everybody is to check the forged signature before being asked to use the grant
        self.tell_all(Header::new(Kind::Grant, head), &hash(Domain::Body, &[&grant]), &grant).await?;
        self.claim_quorum(&order).await
    }

    /// The same about a grant that was good once.
    ///
    /// # Errors
    /// The bus is gone.
    pub async fn approve(&mut self, signed: &SignedGrant) -> Result<()> {
        let order = Transaction::UseGrant(signed.grant.usage()).encode().context("a transaction too long")?;
        self.claim_quorum(&order).await
    }

    /// Proposes the order, votes for it, says that it was decided, and forges the votes of a quorum.
    async fn claim_quorum(&mut self, order: &[u8]) -> Result<()> {
        let (state, mesh, me) = (self.state().clone(), self.genesis.mesh(), self.me);
        let (height, parent) = (state.height() + 1, *state.head());
        let value = decision_hash(&mesh, height, &parent, order);
        let hint = Some((me, &value));

        self.tell_all(Header::new(Kind::Propose, height).hint(hint), &value, order).await?;
        for kind in [Kind::Prevote, Kind::Precommit] {
            self.tell_all(Header::new(kind, height).hint(hint), &value, &[]).await?;
        }
        let mut sent = Sent::default();
        for other in self.others() {
            let header = Header::new(Kind::Precommit, height).hint(hint);
            forge(&mut self.tap, &self.genesis, other, header, &[], &mut sent).await?;
        }
        for other in self.others() {
            let mut header = Header::new(Kind::Value, height).round(other);
            header.hint_proposer = DECIDED_VALUE;
            self.tell(header, &[other], &hash(Domain::Body, &[order]), order).await?;
        }
        let mut decided = state;
        let tx = Transaction::decode(order).context("a transaction")?;
        // where the chain itself forbids the order, there is no state to claim
        if decided.apply(order, &tx, &mut self.ecu.validator().registry().clone()).is_ok() {
            let header = Header::new(Kind::Decided, height).hint(Some((0, decided.head())));
            self.tell_all(header, &decided.digest(), &[]).await?;
        }
        Ok(())
    }

    /// The state that it knows.
    fn state(&self) -> &State {
        self.ecu.validator().state()
    }

    fn others(&self) -> Vec<ValidatorIndex> {
        (0..self.genesis.validators.len() as ValidatorIndex).filter(|other| *other != self.me).collect()
    }

    async fn tell_all(&mut self, header: Header, subject: &Hash, body: &[u8]) -> Result<()> {
        self.tell(header, &self.others(), subject, body).await
    }

    /// Sends a message with a genuine tag for each of `receivers`.
    async fn tell(&mut self, header: Header, receivers: &[ValidatorIndex], subject: &Hash, body: &[u8]) -> Result<()> {
        self.counter += 1;
        self.lies += 1;
        let (mesh, suite) = (self.genesis.mesh().short(), self.genesis.suite.code());
        let header = Header { mesh, suite, sender: self.me, counter: self.counter, ..header };
        let input = tag_input(&header.to_bytes(), subject);
        let mut message = [&header.to_bytes()[..], body].concat();
        for receiver in receivers {
            let tag = self.keys.tag(KeyHandle::Session(*receiver), &input).unwrap_or_default();
            message.extend_from_slice(&tag[..self.genesis.tag_len()]);
        }
        for frame in frames(&self.genesis, &header, &message)? {
            self.tap.send(frame).await?;
        }
        Ok(())
    }

    /// Runs the honest node.
    async fn run_until(&mut self, done: impl Fn(&Ecu<SharedKeys>) -> bool) -> Result<()> {
        self.handle(Input::Tick);
        while !done(&self.ecu) {
            let deadline = self.ecu.deadline().map(|at| self.epoch + Duration::from_micros(at.0));
            let due = async {
                match deadline {
                    Some(at) => sleep_until(at.into()).await,
                    None => pending().await,
                }
            };
            let input = tokio::select! {
                event = self.tap.bus().event() => Input::Bus(event?),
                () = due => Input::Tick,
            };
            self.handle(input);
        }
        Ok(())
    }

    /// Nothing is written down: it has no intention to keep its word.
    fn handle(&mut self, input: Input) {
        let now = Micros(self.epoch.elapsed().as_micros() as u64);
        let mut answers = vec![input];
        while let Some(answer) = answers.pop() {
            self.ecu.handle(now, answer);
            while let Some(effect) = self.ecu.poll() {
                match effect {
                    Effect::Bus(command) => {
                        self.note_counter(&command);
                        self.tap.bus().command(command);
                    }
                    Effect::Persist { token, .. } => answers.push(Input::Persisted(token)),
                    Effect::CheckGrant(signed) => answers.push(Input::GrantChecked(signed.grant.digest(), true)),
                    Effect::CheckEndorsement(endorsement, _) => {
                        answers.push(Input::EndorsementChecked(endorsement.signature, true));
                    }
                    Effect::Decided(_) | Effect::Sign(_) | Effect::Sealed(..) | Effect::Report(_) => {}
                    Effect::Agree(_) | Effect::Draw | Effect::Keep => {} // its keys stay
                }
            }
        }
    }

    fn note_counter(&mut self, command: &BusCommand) {
        if let BusCommand::Transmit { frame, .. } = command
            && let Some(header) = Header::parse(frame.data()).filter(|header| header.kind != Kind::Hello)
        {
            self.counter = self.counter.max(header.counter);
        }
    }
}
