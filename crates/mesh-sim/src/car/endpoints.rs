//! The endpoints of a car: what becomes of what they want done.

use can_bus::port::{BusCommand, BusEvent};
use device_chain::types::Micros;
use ecu_node::endpoint::{Data, Effect, Input};

use super::Car;
use crate::ecu::LIARS_TOKENS;
use crate::endpoint::SimEndpoint;
use crate::event::{Station, What};

impl Car {
    /// Puts the next endpoint of the genesis on the bus, off; its index.
    pub fn add_endpoint(&mut self) -> u8 {
        let at = self.endpoints.len() as u8;
        let station = self.segments.attach(usize::from(at) % self.segments.count());
        self.segments.silence(station);
        self.stations.push(Station::Endpoint(at));
        self.endpoints.push(SimEndpoint::new(at, station, &self.keyring));
        at
    }

    /// Powers an endpoint.
    ///
    /// # Panics
    /// There is no such endpoint.
    pub fn boot_endpoint(&mut self, at: u8) {
        let endpoint = &mut self.endpoints[usize::from(at)];
        endpoint.boot(&self.genesis);
        self.segments.start(endpoint.station);
    }

    /// Takes the power from an endpoint: what waits to be recorded is lost.
    pub fn crash_endpoint(&mut self, at: u8) {
        let endpoint = &mut self.endpoints[usize::from(at)];
        if endpoint.running.take().is_some() {
            endpoint.at_controller.clear();
            self.segments.silence(endpoint.station);
        }
    }

    /// An endpoint, if it is powered and has room, has something to record.
    pub fn sense(&mut self, at: u8, data: Data) {
        let endpoint = self.endpoints.get(usize::from(at)).and_then(SimEndpoint::pump);
        if endpoint.is_some_and(ecu_node::endpoint::Endpoint::has_room) {
            self.push(What::Sensed { endpoint: at, bytes: data.len() });
            self.handle_endpoint(at, Input::Submit(data));
        }
    }

    /// What is due at an endpoint.
    pub(super) fn run_endpoint(&mut self, at: u8) {
        if self.endpoints[usize::from(at)].due_ns().is_some_and(|due_ns| due_ns <= self.now_ns) {
            self.handle_endpoint(at, Input::Tick);
        }
    }

    pub(super) fn tell_endpoint(&mut self, at: u8, event: BusEvent) {
        if let BusEvent::Transmitted { token } | BusEvent::Dropped { token } = event {
            self.endpoints[usize::from(at)].at_controller.retain(|(known, _)| *known != token);
            if token >= LIARS_TOKENS {
                return;
            }
        }
        self.handle_endpoint(at, Input::Bus(event));
    }

    fn handle_endpoint(&mut self, at: u8, input: Input) {
        let now = Micros(self.now_us());
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let endpoint = &mut self.endpoints[usize::from(at)];
            let Some(running) = &mut endpoint.running else { return };
            running.handle(now, input);
            while let Some(effect) = self.endpoints[usize::from(at)].running.as_mut().and_then(|pump| pump.poll()) {
                match effect {
                    Effect::Bus(command) => inputs.extend(self.command_endpoint(at, command).map(Input::Bus)),
                    Effect::Recorded { sequence, .. } => self.push(What::Recorded { endpoint: at, sequence }),
                    Effect::Full(_) => {}
                }
            }
        }
    }

    /// What an endpoint tells its controller, edited if it is a liar's; what comes of it at once.
    fn command_endpoint(&mut self, at: u8, command: BusCommand) -> Option<BusEvent> {
        let endpoint = &mut self.endpoints[usize::from(at)];
        let BusCommand::Transmit { token, frame } = command else { return None };
        let frames = match &mut endpoint.liar {
            Some(liar) => liar.edit(&self.genesis, &endpoint.keys, &frame),
            None => vec![frame],
        };
        if frames.is_empty() {
            return Some(BusEvent::Transmitted { token });
        }
        let mut answer = None;
        for (number, frame) in frames.into_iter().enumerate() {
            let token = if number == 0 { token } else { endpoint.liars_token };
            endpoint.liars_token = LIARS_TOKENS | endpoint.liars_token.wrapping_add(u32::from(number > 0));
            endpoint.at_controller.push((token, frame));
            let told = self.segments.command(self.now_ns, endpoint.station, BusCommand::Transmit { token, frame });
            answer = if number == 0 { told } else { answer };
        }
        answer
    }
}
