//! The image: everything in static memory, every input reachable.

use core::hint::black_box;

use can_bus::Frame;
use can_bus::port::BusEvent;
use device_chain::genesis::{Genesis, SignedGenesis};
use device_chain::keys::{Device, SoftKeys};
use device_chain::limits::MAX_MESSAGE;
use device_chain::mac::{Key, Suite};
use device_chain::types::{Micros, PublicKey};
use device_chain::validator::{Boot, Validator};
use ecu_node::store::{self, Store, Upkeep};
use ecu_node::{Ecu, Effect, Input};
use journal::{Counter, Flash, Geometry};
use panic_halt as _;
use static_cell::StaticCell;

/// A flash and a counter that only the optimiser believes in.
struct Memory;

impl Flash for Memory {
    type Error = ();

    fn geometry(&self) -> Geometry {
        Geometry { erase_size: 2048, write_size: 8, capacity: 128 * 1024 }
    }

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), ()> {
        bytes.fill(black_box(offset as u8));
        Ok(())
    }

    fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), ()> {
        black_box((offset, bytes));
        Ok(())
    }

    fn erase(&mut self, offset: u32, length: u32) -> Result<(), ()> {
        black_box((offset, length));
        Ok(())
    }

    fn sync(&mut self) -> Result<(), ()> {
        Ok(())
    }
}

impl Counter for Memory {
    type Error = ();

    fn value(&self) -> u64 {
        black_box(0)
    }

    fn raise(&mut self, to: u64) -> Result<(), ()> {
        black_box(to);
        Ok(())
    }
}

static GENESIS: [u8; 4096] = [0; 4096];
static ECU: StaticCell<Ecu<SoftKeys>> = StaticCell::new();
static STORE: StaticCell<Store<Memory, Memory>> = StaticCell::new();
static BUFFER: StaticCell<[u8; MAX_MESSAGE]> = StaticCell::new();

fn start() -> Option<(&'static mut Ecu<SoftKeys>, &'static mut Store<Memory, Memory>)> {
    let genesis: Genesis = SignedGenesis::open(black_box(&GENESIS), &PublicKey(black_box([1; 32]))).ok()?;
    let opened = store::open(&mut || Ok((Memory, Memory)), &genesis).ok()?;
    let mut keys = SoftKeys::new(black_box(Suite::Cmac));
    keys.load(Device::Validator(1), Key::new(black_box([2; 32])));
    let boot = Boot { nonce: black_box(7) };
    let validator = Validator::new(genesis, 0, keys, &opened.recovered, boot, Micros(0)).ok()?;
    Some((ECU.init(Ecu::new(validator)), STORE.init(opened.store)))
}

#[cortex_m_rt::entry]
fn main() -> ! {
    let buffer = BUFFER.init([0; MAX_MESSAGE]);
    if let Some((ecu, store)) = start() {
        for tick in 0.. {
            let now = Micros(tick);
            let id = can_bus::frame::id_from_raw(black_box(0x090));
            if let Some(Ok(frame)) = id.map(|id| Frame::fd(id, black_box(&[0; 64]))) {
                ecu.handle(now, Input::Bus(BusEvent::Received { segment: 0, at_us: tick, frame }));
            }
            ecu.handle(now, Input::Tick);
            while let Some(effect) = ecu.poll(buffer) {
                if let Effect::Persist { token, kind, bytes } = effect {
                    if store.append([(kind, bytes)]).is_ok() {
                        ecu.handle(now, Input::Persisted(token));
                    }
                } else {
                    black_box(&effect);
                }
            }
            let kept = match store.upkeep(ecu.is_quiet(now)) {
                Some(Upkeep::Prepare) => store.prepare(),
                Some(Upkeep::Rewrite) => store.rewrite(|keep| ecu.validator().live_records(buffer, keep)),
                None => Ok(()),
            };
            black_box(kept.is_ok());
        }
    }
    loop {}
}
