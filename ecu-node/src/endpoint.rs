//! An endpoint: a small ECU without a vote, whose records the validators verify and decide (DC-42), and which proves to them that it is
//! there (DC-70).
//!
//! Same shape as [`Ecu`](crate::Ecu): [`Endpoint::handle`] every input, [`Endpoint::poll`] until `None`, sleep until
//! [`Endpoint::deadline`]. A record is repeated byte for byte until f + 1 validators have said that it is decided: one of
//! them is correct. What waits is forgotten at a reboot; what a sensor says next counts.

use can_bus::frame::{Frame, id_from_raw};
use can_bus::port::{BusCommand, BusEvent};
use can_bus::segment::{self, CHUNK, Prefix};
use device_chain::genesis::Genesis;
use device_chain::hash::{Domain, hash};
use device_chain::keys::{Device, KeyHandle, KeyStore};
use device_chain::limits::{MAX_RECORD_DATA, MAX_VALIDATORS};
use device_chain::types::{Hash, Micros, ValidatorIndex};
use device_chain::validator::{Source, called, firmware_word, present_subject, record_sequence};
use device_chain::wire::{self, Class, ENDPOINT_SENDER, FIRMWARE, HEADER, Header, Kind, MAX_FRAME, Parts};
use heapless::{Deque, Vec};

use device_chain::plan::Plan;

/// Records that may wait behind the one under way.
pub const MAX_QUEUED: usize = 8;
/// Bytes of a record on the wire: header, data, a tag for each validator.
const MAX_RECORD: usize = HEADER + MAX_RECORD_DATA + 8 * MAX_VALIDATORS;
const MAX_FRAMES: usize = MAX_RECORD.div_ceil(CHUNK);
/// A record is repeated after one heartbeat of the mesh, then at intervals that double up to 2^5 of them.
const MAX_BACKOFF: u32 = 5;
/// PRESENT waits a heartbeat for further CALLs, then its turn: so many endpoints say it in a heartbeat.
const TURNS: u64 = 100;
/// Heartbeats from one PRESENT to the next, at least; then they double up to 2^5 times that. Anybody can call.
const PRESENT_HEARTBEATS: u64 = 4;

/// What a record says.
pub type Data = Vec<u8, MAX_RECORD_DATA>;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The deadline has come.
    Tick,
    /// On the mesh segment.
    Bus(BusEvent),
    /// Something to record.
    Submit(Data),
}

/// Something to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Tell the bus.
    Bus(BusCommand),
    /// A record is decided.
    Recorded {
        /// Boot number and count, as on the chain.
        sequence: u64,
        /// From submission to the last acknowledgement needed, microseconds.
        latency_us: u64,
    },
    /// There is no room for one more record: it is given back.
    Full(Data),
}

/// Messages counted by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Times that a record was sent.
    pub sent: u32,
    /// Times that it said that it is there.
    pub present: u32,
    /// Genuine acknowledgements of the record under way.
    pub acknowledged: u32,
    /// Genuine acknowledgements of another record: late, or recorded.
    pub stale: u32,
    /// Acknowledgements whose tag is wrong.
    pub bad_tag: u32,
    /// On a control identifier, addressed to this endpoint, but no acknowledgement.
    pub malformed: u32,
    /// Frames that the bus refused.
    pub dropped: u32,
}

/// Why an endpoint cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnEndpoint;

/// The record under way.
struct UnderWay {
    sequence: u64,
    submitted: Micros,
    message: Vec<u8, MAX_RECORD>,
    acknowledged: [bool; MAX_VALIDATORS],
    due: Micros,
    backoff: u32,
}

/// Who called, and when that is answered.
#[derive(Default)]
struct Calls {
    /// Nonce of each validator's latest CALL.
    nonces: [Option<u64>; MAX_VALIDATORS],
    due: Option<Micros>,
    /// It is the turn of PRESENT, as soon as the controller is free.
    is_due: bool,
    answered: Option<Micros>,
    backoff: u32,
}

/// An endpoint.
pub struct Endpoint<K> {
    keys: K,
    plan: Plan,
    /// What every header of this endpoint has in common.
    header: Header,
    id: can_bus::Id,
    validators: ValidatorIndex,
    tag_len: usize,
    one_correct: usize,
    heartbeat_us: u64,
    firmware: [u8; FIRMWARE],
    calls: Calls,
    count: u32,
    queue: Deque<(Micros, Data), MAX_QUEUED>,
    under_way: Option<UnderWay>,
    transfer: u8,
    token: u32,
    /// Frames of the record that wait for the bus, one of them at the controller.
    frames: Deque<Frame, MAX_FRAMES>,
    busy: Option<u32>,
    effects: Deque<Effect, 4>,
    counters: Counters,
}

impl<K: KeyStore> Endpoint<K> {
    /// The endpoint at `index` of the genesis. `boot` is higher than at every boot before, and durable: a sequence that is
    /// used twice is lost. `firmware` is the digest of what it runs.
    ///
    /// # Errors
    /// [`NotAnEndpoint`] if the genesis has no such endpoint.
    pub fn new(genesis: &Genesis, index: u8, keys: K, boot: u32, firmware: &Hash) -> Result<Self, NotAnEndpoint> {
        let entry = genesis.endpoints.get(usize::from(index)).ok_or(NotAnEndpoint)?;
        let mut header = Header::new(Kind::Record, boot).round(index);
        header.mesh = genesis.mesh().short();
        header.suite = genesis.suite.code();
        header.sender = ENDPOINT_SENDER;
        Ok(Self {
            keys,
            plan: Plan::new(genesis),
            header,
            id: id_from_raw(entry.identifier).ok_or(NotAnEndpoint)?,
            validators: genesis.validators.len() as ValidatorIndex,
            tag_len: genesis.tag_len(),
            one_correct: genesis.quorum().one_correct(),
            heartbeat_us: u64::from(genesis.policy.heartbeat_us),
            firmware: firmware_word(boot, firmware),
            calls: Calls::default(),
            count: 0,
            queue: Deque::new(),
            under_way: None,
            transfer: 0,
            token: 0,
            frames: Deque::new(),
            busy: None,
            effects: Deque::new(),
            counters: Counters::default(),
        })
    }

    /// Messages by what became of them.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Records that are not decided yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len() + usize::from(self.under_way.is_some())
    }

    /// Whether one more record can wait.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.queue.is_full()
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Micros> {
        self.under_way.as_ref().map(|record| record.due).into_iter().chain(self.calls.due).min()
    }

    /// Takes an input. Never blocks, never fails on what the bus brings.
    pub fn handle(&mut self, now: Micros, input: Input) {
        match input {
            Input::Tick => {}
            Input::Submit(data) => {
                if let Err((_, data)) = self.queue.push_back((now, data)) {
                    self.tell(Effect::Full(data));
                }
            }
            Input::Bus(BusEvent::Received { frame, .. }) => self.on_frame(now, &frame),
            Input::Bus(BusEvent::Transmitted { token }) => self.on_done(token),
            Input::Bus(BusEvent::Dropped { token }) => {
                self.counters.dropped += 1;
                self.on_done(token);
            }
            Input::Bus(BusEvent::Overrun { .. } | BusEvent::State(_)) => {} // the record is repeated anyway
        }
        self.answer(now);
        self.begin_next(now);
        self.repeat(now);
    }

    /// The next effect; `None` when there is nothing to do before the next input.
    pub fn poll(&mut self) -> Option<Effect> {
        if let Some(effect) = self.effects.pop_front() {
            return Some(effect);
        }
        if self.busy.is_some() {
            return None;
        }
        let frame = self.present().or_else(|| self.frames.pop_front())?;
        self.token = self.token.wrapping_add(1);
        self.busy = Some(self.token);
        Some(Effect::Bus(BusCommand::Transmit { token: self.token, frame }))
    }

    /// One input causes at most two effects besides frames, and they are polled before the next one.
    fn tell(&mut self, effect: Effect) {
        let _ = self.effects.push_back(effect);
    }

    fn on_done(&mut self, token: u32) {
        if self.busy == Some(token) {
            self.busy = None;
        }
    }

    fn begin_next(&mut self, now: Micros) {
        if self.under_way.is_some() {
            return;
        }
        let Some((submitted, data)) = self.queue.pop_front() else { return };
        // 2^32 records in one boot: what is left is not recorded before the next one
        let Some(count) = self.count.checked_add(1) else { return };
        self.count = count;
        let Some(message) = self.seal(count, &data) else { return };
        self.under_way = Some(UnderWay {
            sequence: record_sequence(self.header.height, count),
            submitted,
            message,
            acknowledged: [false; MAX_VALIDATORS],
            due: now,
            backoff: 0,
        });
    }

    /// Header, data, and a tag for each validator. `None` only without the keys.
    fn seal(&self, count: u32, data: &[u8]) -> Option<Vec<u8, MAX_RECORD>> {
        let head = Header { counter: count, ..self.header }.to_bytes();
        let input = wire::tag_input(&head, &hash(Domain::Body, &[data]));
        let mut message = Vec::new();
        message.extend_from_slice(&head).ok()?;
        message.extend_from_slice(data).ok()?;
        for validator in 0..self.validators {
            let tag = self.keys.tag(KeyHandle::Pair(Device::Validator(validator)), &input)?;
            message.extend_from_slice(&tag[..self.tag_len]).ok()?;
        }
        Some(message)
    }

    /// Sends the record under way, if it is time to and its last frames have left.
    fn repeat(&mut self, now: Micros) {
        let Some(record) = self.under_way.as_mut().filter(|record| record.due <= now) else { return };
        record.due = now.plus(self.heartbeat_us << record.backoff);
        record.backoff = (record.backoff + 1).min(MAX_BACKOFF);
        if !self.frames.is_empty() || self.busy.is_some() {
            return;
        }
        let Some(prefix) = Prefix::parse(&record.message) else { return };
        self.transfer = self.transfer.wrapping_add(1);
        let Ok(payloads) = segment::segments(prefix, self.transfer, &record.message) else { return };
        for frame in payloads.filter_map(|payload| Frame::fd(self.id, &payload).ok()) {
            let _ = self.frames.push_back(frame); // they are empty, and hold the longest record
        }
        self.counters.sent += 1;
    }

    fn on_frame(&mut self, now: Micros, frame: &Frame) {
        let Some(Source { device: Device::Validator(sender), class: Class::Control }) =
            self.plan.source(frame.raw_id())
        else {
            return;
        };
        let ours = |header: &Header| {
            (header.mesh, header.version, header.suite) == (self.header.mesh, self.header.version, self.header.suite)
                && (header.kind, header.sender, header.round) == (Kind::Ack, sender, self.header.round)
        };
        let header = Header::parse(frame.data());
        if header.is_some_and(|header| header.is_presence() && ours(&header.round(self.header.round))) {
            return self.on_call(now, sender, frame);
        }
        if !header.is_some_and(|header| ours(&header)) {
            return; // between the validators, or to another endpoint
        }
        let parts = Parts::split(frame.data(), usize::from(self.validators), self.tag_len);
        let Some((parts, body)) = parts.and_then(|parts| Some((parts, <[u8; 8]>::try_from(parts.body).ok()?))) else {
            self.counters.malformed += 1;
            return;
        };
        let input = wire::tag_input(parts.head, &hash(Domain::Body, &[&body]));
        if self.keys.verify(KeyHandle::Pair(Device::Validator(sender)), &input, parts.tags) {
            self.on_acknowledged(now, sender, u64::from_le_bytes(body));
        } else {
            self.counters.bad_tag += 1;
        }
    }

    /// A CALL has no tag: it is answered, but not often, and what is said of a nonce that is not the caller's helps nobody.
    fn on_call(&mut self, now: Micros, sender: ValidatorIndex, frame: &Frame) {
        let Some(parts) = Parts::split(frame.data(), usize::from(self.validators), self.tag_len) else {
            self.counters.malformed += 1;
            return;
        };
        let Some(nonce) = called(&parts, self.header.round) else { return };
        if let Some(known) = self.calls.nonces.get_mut(usize::from(sender)) {
            *known = Some(nonce);
        }
        let turn = self.heartbeat_us + u64::from(self.header.round) * self.heartbeat_us / TURNS;
        let pause = (PRESENT_HEARTBEATS * self.heartbeat_us) << self.calls.backoff;
        let free = self.calls.answered.map_or(now, |answered| answered.plus(pause));
        self.calls.due.get_or_insert(now.plus(turn).max(free));
    }

    fn answer(&mut self, now: Micros) {
        if self.calls.due.take_if(|due| *due <= now).is_none() {
            return;
        }
        let forgiven = (2 * PRESENT_HEARTBEATS * self.heartbeat_us) << MAX_BACKOFF;
        let calls = &mut self.calls;
        let often = calls.answered.is_some_and(|answered| now.since(answered) < forgiven);
        calls.backoff = if often { (calls.backoff + 1).min(MAX_BACKOFF) } else { 0 };
        (calls.answered, calls.is_due) = (Some(now), true);
    }

    /// PRESENT, if it is its turn: one frame, with a tag for each who has called.
    fn present(&mut self) -> Option<Frame> {
        if !core::mem::take(&mut self.calls.is_due) {
            return None;
        }
        let head = self.header.present(self.firmware).to_bytes();
        let tag_len = wire::present_tag_len(usize::from(self.validators), self.tag_len);
        let mut message: Vec<u8, MAX_FRAME> = Vec::new();
        message.extend_from_slice(&head).ok()?;
        for (validator, nonce) in (0..self.validators).zip(self.calls.nonces) {
            let tag = nonce.and_then(|nonce| {
                let input = wire::tag_input(&head, &present_subject(nonce));
                self.keys.tag(KeyHandle::Pair(Device::Validator(validator)), &input)
            });
            message.extend_from_slice(&tag.unwrap_or_default()[..tag_len]).ok()?;
        }
        self.counters.present += 1;
        Frame::fd_padded(self.id, &message).ok()
    }

    fn on_acknowledged(&mut self, now: Micros, sender: ValidatorIndex, sequence: u64) {
        let Some(record) = self.under_way.as_mut().filter(|record| record.sequence == sequence) else {
            self.counters.stale += 1;
            return;
        };
        self.counters.acknowledged += 1;
        record.acknowledged[usize::from(sender)] = true;
        if record.acknowledged.iter().filter(|yes| **yes).count() >= self.one_correct {
            let latency_us = now.since(record.submitted);
            self.under_way = None;
            self.frames.clear();
            self.tell(Effect::Recorded { sequence, latency_us });
        }
    }
}

#[cfg(test)]
mod tests;
