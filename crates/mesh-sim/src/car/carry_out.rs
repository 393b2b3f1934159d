//! What an ECU wants done, and what a liar makes of it.

use std::collections::VecDeque;

use can_bus::Frame;
use can_bus::port::{BusCommand, BusEvent};
use device_chain::codec;
use device_chain::grant::SignedGrant;
use device_chain::hash::Domain;
use device_chain::pairing::Ephemeral;
use device_chain::record::RecordKind;
use device_chain::types::Micros;
use ecu_node::{Effect, Input};

use super::{Car, note};
use crate::ecu::LIARS_TOKENS;
use crate::event::What;

/// Time of a signature or of checking one, µs: Ed25519 on a Cortex-M4 at 168 MHz.
pub const SIGN_US: u64 = 12_000;
/// Time to make what a key store has durable, µs.
const KEEP_US: u64 = 30_000;
/// Grants whose signatures are known to be right or wrong: those that may still be under way.
const GENUINE: usize = 64;

impl Car {
    /// Carries out what the pump of an ECU wants done.
    pub(super) fn carry_out(&mut self, at: u8) {
        let (now_ns, now_us) = (self.now_ns, self.now_us());
        let local_us = self.ecus[usize::from(at)].clock.local_us(now_ns);
        note(&mut self.recorder, at, Micros(local_us), None);
        loop {
            let ecu = &mut self.ecus[usize::from(at)];
            let Some(running) = &mut ecu.running else { return };
            if running.waits(now_ns) {
                return ecu.reckon();
            }
            if let Some(command) = running.sealed.take() {
                self.command(at, command);
                continue;
            }
            let Some(effect) = running.ecu.poll() else { break };
            match effect {
                // it goes out when its tags are made
                Effect::Bus(command) => running.sealed = Some(command),
                Effect::Persist { token, kind, bytes } => {
                    if let (RecordKind::Fact, Some(fact)) = (kind, codec::decode(bytes)) {
                        running.facts.push((token, fact));
                    }
                    running.journal.push(token, kind, bytes);
                }
                Effect::Decided(decision) => {
                    ecu.decisions.push(decision.clone());
                    self.push(What::Decided { ecu: at, decision: Box::new(decision) });
                }
                Effect::Sign(digest) => {
                    let signer = self.keyring.signer(ecu.place);
                    let sign = || signer.sign(Domain::Block, &digest);
                    let signature = *self.signatures.entry((ecu.place, digest)).or_insert_with(sign);
                    running.answers.push((now_ns + SIGN_US * 1000, Input::Signed(digest, signature)));
                }
                Effect::CheckGrant(signed) => {
                    let (digest, genesis) = (signed.grant.digest(), &self.genesis);
                    let known = self.genuine.iter().find(|(of, _)| *of == signed).map(|(_, genuine)| *genuine);
                    let genuine = known.unwrap_or_else(|| {
                        let genuine = signed.is_genuine(genesis);
                        remember(&mut self.genuine, signed, genuine);
                        genuine
                    });
                    running.answers.push((now_ns + SIGN_US * 1000, Input::GrantChecked(digest, genuine)));
                }
                Effect::CheckEndorsement(endorsement, key) => {
                    let genuine = endorsement.is_genuine(&self.genesis.mesh(), &key);
                    let answer = Input::EndorsementChecked(endorsement.signature, genuine);
                    running.answers.push((now_ns + SIGN_US * 1000, answer));
                }
                Effect::Agree(agreement) => {
                    let peer = &self.genesis.validators[usize::from(agreement.peer())].key;
                    let agreed = agreement.run(&self.plan.validator_key(ecu.place), peer);
                    running.answers.push((now_ns + SIGN_US * 1000, Input::Agreed(agreed)));
                }
                Effect::Draw => {
                    let random = core::array::from_fn(|_| self.dice.roll(256) as u8);
                    running.answers.push((now_ns + SIGN_US * 1000, Input::Refresh(Ephemeral::from_random(random))));
                }
                Effect::Keep => {
                    running.keeping = running.keys.write();
                    running.answers.push((now_ns + KEEP_US * 1000, Input::Kept));
                }
                Effect::Sealed(number, seal) => {
                    ecu.seals.push((number, seal));
                    self.push(What::Sealed { ecu: at, number, seal });
                }
                Effect::Report(report) => {
                    ecu.reports.push(report.clone());
                    self.push(What::Report { ecu: at, report });
                }
            }
        }
        let Some(running) = &mut self.ecus[usize::from(at)].running else { return };
        match running.journal.next_job(now_us, &running.ecu) {
            Ok(Some((done_us, token))) => {
                running.begun = token;
                running.answers.push((done_us * 1000, Input::Persisted(token)));
            }
            Ok(None) => {}
            Err(_) => return self.lose_power(at, true),
        }
        if running.journal.abstains() && !std::mem::replace(&mut running.is_known_to_abstain, true) {
            self.push(What::Abstains { ecu: at });
        }
        self.ecus[usize::from(at)].reckon();
    }

    /// What an ECU tells its controller, edited if it is a liar's.
    pub(super) fn command(&mut self, at: u8, command: BusCommand) {
        let ecu = &mut self.ecus[usize::from(at)];
        let Some(running) = &mut ecu.running else { return };
        let (honest, frames) = match (command, &mut ecu.liar) {
            (BusCommand::Transmit { token, frame }, Some(liar)) => {
                let mut seat = running.seat(ecu.place, &self.genesis, &self.wiretap, &mut self.dice);
                (token, liar.edit(&mut seat, frame))
            }
            (BusCommand::Transmit { token, frame }, None) => (token, vec![frame]),
            (BusCommand::Abort { .. }, _) => {
                if let Some(answer) = self.segments.command(self.now_ns, ecu.station, command) {
                    running.answers.push((self.now_ns, Input::Bus(answer)));
                }
                return;
            }
        };
        if frames.is_empty() {
            running.answers.push((self.now_ns, Input::Bus(BusEvent::Transmitted { token: honest })));
        }
        let mut frames = frames.into_iter();
        if let Some(frame) = frames.next() {
            ecu.at_controller.push((honest, frame));
            let answer = self.segments.command(self.now_ns, ecu.station, BusCommand::Transmit { token: honest, frame });
            running.answers.extend(answer.map(|answer| (self.now_ns, Input::Bus(answer))));
        }
        self.add_frames(at, frames);
    }

    /// What a liar says of its own accord, if it is time.
    pub(super) fn liar_acts(&mut self, at: u8) {
        let (ecu, now_ns) = (&mut self.ecus[usize::from(at)], self.now_ns);
        let (Some(running), Some(liar)) = (&ecu.running, &mut ecu.liar) else { return };
        if liar.due_ns().is_some_and(|due_ns| due_ns <= now_ns) {
            let frames = liar.act(now_ns, &mut running.seat(ecu.place, &self.genesis, &self.wiretap, &mut self.dice));
            self.add_frames(at, frames);
            self.ecus[usize::from(at)].reckon();
        }
    }

    /// Sends frames of which the honest ECU in the seat knows nothing. One that the controller has no room for is lost.
    fn add_frames(&mut self, at: u8, frames: impl IntoIterator<Item = Frame>) {
        let ecu = &mut self.ecus[usize::from(at)];
        for frame in frames {
            let token = ecu.liars_token;
            ecu.liars_token = LIARS_TOKENS | ecu.liars_token.wrapping_add(1);
            let taken =
                self.segments.command(self.now_ns, ecu.station, BusCommand::Transmit { token, frame }).is_none();
            ecu.at_controller.extend(taken.then_some((token, frame)));
        }
    }
}

/// Remembers whether a grant's signature is right.
pub(super) fn remember(genuine: &mut VecDeque<(SignedGrant, bool)>, signed: SignedGrant, is: bool) {
    genuine.push_front((signed, is));
    genuine.truncate(GENUINE);
}
