//! An ECU on a chip: one loop that does everything, a thing at a time.
//!
//! What must be durable is written when it is asked for, and the loop waits for it. Signatures are made and checked, and the
//! journal is looked after, when nothing else is to be done ([`Solo::work`]). A chip whose loop can be interrupted by a more
//! urgent one does the signatures there ([`Solo::keep`], [`Solo::next_work`]).

use can_bus::port::BusCommand;
use device_chain::block::Seal;
use device_chain::genesis::AuthorityEntry;
use device_chain::grant::SignedGrant;
use device_chain::hash::Domain;
use device_chain::keys::KeyStore;
use device_chain::limits::MAX_GRANTS;
use device_chain::order::Endorsement;
use device_chain::record::RecordKind;
use device_chain::registry::Devices;
use device_chain::sign::SigningKey;
use device_chain::types::{Hash, MeshId, Micros, PublicKey};
use device_chain::validator::{Decision, Report};
use heapless::Deque;
use journal::{Counter, Flash};

use crate::store::{Store, Upkeep};
use crate::{Ecu, Effect, Input};

/// Signatures that wait to be made or checked; no more than half of them are of grants.
const MAX_WORK: usize = 2 * MAX_GRANTS;

/// What is left for whoever runs the loop.
#[derive(Debug)]
pub enum Outcome {
    /// Tell the bus.
    Bus(BusCommand),
    /// A quorum decided, and it is durable here: act on it.
    Decided(Decision),
    /// At the gateway: a seal of a block, not checked yet.
    Sealed(u32, Seal),
    /// Worth a line in a log.
    Report(Report),
}

/// A signature to make or to check. It takes long and needs nothing of the ECU.
pub enum Work {
    /// Of a block header's hash.
    Sign(Hash),
    /// Of a grant, with the authority that it names.
    CheckGrant(SignedGrant, Option<AuthorityEntry>),
    /// Of an order for the car, by this key.
    CheckEndorsement(MeshId, Endorsement, PublicKey),
}

impl Work {
    /// Does it with the identity of this ECU; the answer is for [`Solo::handle`].
    #[must_use]
    pub fn run(&self, identity: &SigningKey) -> Input {
        match self {
            Self::Sign(digest) => Input::Signed(*digest, identity.sign(Domain::Block, digest)),
            Self::CheckGrant(signed, issuer) => {
                let genuine = issuer.is_some_and(|issuer| signed.is_signed_by(&issuer));
                Input::GrantChecked(signed.grant.digest(), genuine)
            }
            Self::CheckEndorsement(mesh, endorsement, key) => {
                Input::EndorsementChecked(endorsement.signature, endorsement.is_genuine(mesh, key))
            }
        }
    }
}

/// The journal, written at once. What does not go into one bank may go into the other (P6).
struct Writer<F, C> {
    store: Store<F, C>,
    /// Token up to which nothing is durable yet, for an append has failed: a rewrite must take it.
    owed: Option<u64>,
    /// Nothing can be made durable any more: the ECU is silent about all that would have to be (P6).
    abstains: bool,
}

impl<F: Flash, C: Counter<Error = F::Error>> Writer<F, C> {
    /// The token up to which everything is durable now, if that is news.
    fn append(&mut self, token: u64, kind: RecordKind, bytes: &[u8]) -> Option<u64> {
        if self.abstains {
            return None;
        }
        if self.owed.is_none() && self.store.append([(kind, bytes)]).is_ok() {
            return Some(token);
        }
        self.owed = Some(token);
        None
    }

    /// Looks after the journal. All effects must have been polled, for a rewrite stands for everything that was handed out.
    fn keep<K: KeyStore>(&mut self, ecu: &mut Ecu<K>, now: Micros) -> Option<u64> {
        let upkeep = if self.owed.is_some() { Some(Upkeep::Rewrite) } else { self.store.upkeep(ecu.is_quiet(now)) };
        if self.abstains {
            return None;
        }
        match upkeep? {
            // a page that cannot be erased is told by the store itself: it goes on in its bank until that is full
            Upkeep::Prepare => drop(self.store.prepare()),
            Upkeep::Rewrite => {
                let rewritten = self.store.rewrite(|keep| ecu.live_records(keep));
                // without a debt the bank that is there goes on
                self.abstains = rewritten.is_err() && self.owed.is_some();
            }
        }
        self.owed.take().filter(|_| !self.abstains)
    }
}

/// An ECU with its journal.
pub struct Solo<'e, K, F, C> {
    ecu: &'e mut Ecu<K>,
    writer: Writer<F, C>,
    work: Deque<Work, MAX_WORK>,
}

impl<'e, K: KeyStore, F: Flash, C: Counter<Error = F::Error>> Solo<'e, K, F, C> {
    /// An ECU whose validator has started, with what belongs to it.
    #[must_use]
    pub const fn new(ecu: &'e mut Ecu<K>, store: Store<F, C>) -> Self {
        let writer = Writer { store, owed: None, abstains: false };
        Self { ecu, writer, work: Deque::new() }
    }

    /// The ECU.
    #[must_use]
    pub const fn ecu(&self) -> &Ecu<K> {
        self.ecu
    }

    /// Whether nothing can be made durable any more: the flash has failed, and the ECU is silent about all that would have
    /// to be (P6).
    #[must_use]
    pub const fn abstains(&self) -> bool {
        self.writer.abstains
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Micros, input: Input) {
        self.ecu.handle(now, input);
    }

    /// The next thing to do outside; call it until `None` after every input.
    pub fn poll(&mut self, now: Micros) -> Option<Outcome> {
        let mut outcome = None;
        while let Some(answer) = self.carry_out(&mut outcome) {
            self.ecu.handle(now, answer);
        }
        outcome
    }

    /// Carries out effects until one has an answer, which needs the stack for itself, or an outcome.
    #[inline(never)]
    fn carry_out(&mut self, outcome: &mut Option<Outcome>) -> Option<Input> {
        while let Some(effect) = self.ecu.poll() {
            *outcome = Some(match effect {
                Effect::Persist { token, kind, bytes } => match self.writer.append(token, kind, bytes) {
                    Some(token) => return Some(Input::Persisted(token)),
                    None => continue,
                },
                Effect::Sign(digest) => {
                    drop(self.work.push_back(Work::Sign(digest))); // grants leave room for it
                    continue;
                }
                Effect::CheckGrant(signed) => {
                    let digest = signed.grant.digest();
                    let issuer = self.ecu.validator().registry().authority(signed.grant.issuer).copied();
                    if self.work.len() >= MAX_GRANTS || self.work.push_back(Work::CheckGrant(signed, issuer)).is_err() {
                        // somebody floods: refused, so that it may be sent again
                        return Some(Input::GrantChecked(digest, false));
                    }
                    continue;
                }
                Effect::CheckEndorsement(endorsement, key) => {
                    let work = Work::CheckEndorsement(*self.ecu.validator().mesh(), endorsement, key);
                    if self.work.push_back(work).is_err() {
                        return Some(Input::EndorsementChecked(endorsement.signature, false));
                    }
                    continue;
                }
                // only a key store that keeps its keys asks for these, and none on a chip does yet (DC-25)
                Effect::Agree(_) | Effect::Draw | Effect::Keep => continue,
                Effect::Bus(command) => Outcome::Bus(command),
                Effect::Decided(decision) => Outcome::Decided(decision),
                Effect::Sealed(number, seal) => Outcome::Sealed(number, seal),
                Effect::Report(report) => Outcome::Report(report),
            });
            break;
        }
        None
    }

    /// One piece of what can wait, when [`Self::poll`] has returned `None`: a signature takes some 15 ms on a Cortex-M4 at 168 MHz,
    /// a page of flash as long as it takes. Poll again if it is true; nothing is left to do if not.
    pub fn work(&mut self, now: Micros, identity: &SigningKey) -> bool {
        if self.keep(now) {
            return true;
        }
        let Some(work) = self.next_work() else { return false };
        self.ecu.handle(now, work.run(identity));
        true
    }

    /// Looks after the journal, when [`Self::poll`] has returned `None`. Poll again if it is true.
    pub fn keep(&mut self, now: Micros) -> bool {
        let Some(token) = self.writer.keep(self.ecu, now) else { return false };
        self.ecu.handle(now, Input::Persisted(token));
        true
    }

    /// The next signature, for whoever has the time.
    pub fn next_work(&mut self) -> Option<Work> {
        self.work.pop_front()
    }
}
