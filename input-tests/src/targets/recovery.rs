//! What a start makes of a flash or a file that holds whatever it likes.

use std::fs;
use std::path::Path;

use device_chain::codec;
use device_chain::types::Micros;
use device_chain::validator::Boot;
use ecu_node::Effect;
use ecu_node::store::{Diagnosis, Opened};
use journal::part::Part;
use journal::{
    Counter, FileCounter, FileFlash, Flash, Geometry, Identity, Journal, MAX_RECORD, MemCounter, MemFlash, OpenError,
    Recovery,
};
use mesh_sim::flash::{SharedCounter, SharedFlash};
use vehicle_gateway::chain::{Chain, Found, Log, LogError, Now, Policy};

use super::bench::{ME, Mesh, NONCE};
use crate::formats;
use crate::{Dice, values};

/// What was found, and every record.
type Contents<E> = Result<(Recovery, Vec<(u64, u8, Vec<u8>)>), OpenError<E>>;

fn contents<F: Flash, C: Counter<Error = F::Error>>(flash: F, counter: C, identity: Identity) -> Contents<F::Error> {
    let (mut journal, recovery) = Journal::open(flash, counter, identity)?;
    let mut all = Vec::new();
    let read = journal.for_each(&mut [0; MAX_RECORD], |sequence, kind, payload| {
        all.push((sequence, kind, payload.to_vec()));
    });
    assert!(read.is_ok(), "what was found stays");
    Ok((recovery, all))
}

/// A journal with arbitrary content, in either medium: both find the same in it.
///
/// # Panics
/// If not.
pub fn journal(bytes: &[u8]) {
    let mut dice = Dice::of_bytes(bytes);
    let (write_size, erase_size) = dice.pick(&[(8, 256), (1, 64), (32, 512), (64, 128)]);
    let geometry = Geometry { erase_size, write_size, capacity: erase_size * 2 * (1 + dice.below(2) as u32) };
    if !geometry.is_valid() {
        return;
    }
    let (image, count) = image(geometry, formats::IDENTITY, &mut dice, |dice| dice.up_to(70));
    let (mut flash, mut counter) = (MemFlash::from_image(geometry, image.clone()), MemCounter::default());
    let _ = counter.raise(count);
    let in_memory = contents(&mut flash, &mut counter, formats::IDENTITY);

    let folder = tempfile::tempdir().expect("a folder");
    let (flash_path, counter_path) = (folder.path().join("journal"), folder.path().join("counter"));
    fs::write(&flash_path, &image).expect("a file");
    let mut counter = FileCounter::create(&counter_path).expect("a counter");
    counter.raise(count).expect("raised");
    let flash = FileFlash::open(&flash_path, geometry).expect("as long as it must be");
    let in_file = contents(flash, counter, formats::IDENTITY);
    match (in_memory, in_file) {
        (Ok(one), Ok(other)) => assert_eq!(one, other),
        (Err(one), Err(other)) => assert_eq!(format!("{one:?}"), format!("{other:?}")),
        (one, other) => panic!("{one:?} in memory, {other:?} in a file"),
    }
}

/// An image: noise, or a journal that was written well, with damage or without; and the counter beside it.
fn image(
    geometry: Geometry,
    identity: Identity,
    dice: &mut Dice<'_>,
    mut payload: impl FnMut(&mut Dice<'_>) -> Vec<u8>,
) -> (Vec<u8>, u64) {
    let capacity = geometry.capacity as usize;
    let (mut flash, mut counter) = (MemFlash::new(geometry), MemCounter::default());
    if dice.once_in(8) {
        let mut noise = dice.up_to(capacity);
        noise.resize(capacity, 0xFF);
        return (noise, dice.byte().into());
    }
    if Journal::<_, MemCounter>::format(&mut flash, identity).is_ok()
        && let Ok((mut journal, _)) = Journal::open(&mut flash, &mut counter, identity)
    {
        while !dice.once_in(12) && !dice.is_empty() {
            let (kind, payload) = (dice.pick(&[1, 1, 1, 2, 0, 9]), payload(dice));
            let _ = if dice.once_in(8) {
                journal.rewrite(|new| new.append(kind, &payload))
            } else {
                journal.append(kind, &payload).map(|_| ())
            };
        }
    }
    let mut image = flash.image().to_vec();
    for _ in 0..dice.below(4) {
        let at = dice.below(capacity);
        image[at] ^= 1 << dice.below(8);
    }
    (image, counter.value() + dice.below(2) as u64)
}

/// The journal of an ECU with facts and states that contradict each other: it comes up, remembering or knowing that it does not, and the next
/// time it is intact.
///
/// # Panics
/// If not.
pub fn node(bytes: &[u8]) {
    const GEOMETRY: Geometry = Geometry { erase_size: 2048, write_size: 8, capacity: 32 * 1024 };
    let mut dice = Dice::of_bytes(bytes);
    let mesh = Mesh::pick(&mut dice);
    let mut registry = device_chain::registry::Registry::from(&mesh.genesis);
    let mut state = device_chain::state::State::new(&mesh.genesis);
    let (image, count) = image(GEOMETRY, mesh.genesis.mesh().0.0, &mut dice, |dice| {
        let mut buffer = vec![0; MAX_RECORD];
        let encoded = match dice.below(4) {
            0 => codec::encode(&values::state(&mesh.genesis, dice), &mut buffer),
            // a decision that may follow
            1 => {
                let tx = values::likely(&state, &mesh.genesis, dice);
                let bytes = tx.encode().unwrap_or_default();
                let applied = state.apply(&bytes, &tx, &mut registry).is_ok();
                let name = device_chain::record::Named::Content(bytes);
                let height = state.height() + u32::from(!applied);
                codec::encode(&device_chain::record::Record::Decided(height, name), &mut buffer)
            }
            2 => {
                let kind = dice.below(values::FACTS);
                codec::encode(&values::fact(kind, dice), &mut buffer)
            }
            _ => return dice.up_to(40),
        };
        encoded.map(<[u8]>::to_vec).unwrap_or_default()
    });
    let flash = SharedFlash::new(Part::instant(GEOMETRY));
    flash.restore(Some(image));
    let mut counter = SharedCounter::default();
    let _ = counter.raise(count);
    let mut reopen = || Ok((flash.clone(), counter.clone()));

    let mut ecu = mesh.ecu();
    let Opened { mut store, diagnosis } = ecu.recover(&mut reopen).expect("nothing that a node could not heal");
    assert!(ecu.validator().is_amnesiac() || !diagnosis.is_amnesia(), "{diagnosis:?}");
    ecu.validator_mut().start(Boot { nonce: NONCE }, Micros(0));
    ecu.handle(Micros(0), ecu_node::Input::Tick);
    while let Some(effect) = ecu.poll() {
        if let Effect::Persist { kind, bytes, .. } = effect {
            store.append([(kind, bytes)]).expect("room for what a start makes durable");
        }
    }
    drop(store);
    let (before, amnesiac) = (ecu.validator().state().clone(), ecu.validator().is_amnesiac());
    let mut again = mesh.ecu();
    let Opened { diagnosis, .. } = again.recover(&mut reopen).expect("it was there");
    assert_eq!(diagnosis, Diagnosis::Intact);
    assert_eq!((again.validator().state(), again.validator().is_amnesiac()), (&before, amnesiac));
    assert_eq!(again.validator().index(), ME);
}

/// The log of a gateway's chain with arbitrary entries, or with none at all: it is opened, and the next time it is intact.
///
/// # Panics
/// If not.
pub fn chain_log(bytes: &[u8]) {
    let mut dice = Dice::of_bytes(bytes);
    let plain = dice.once_in(4);
    let mut log = if plain { dice.up_to(400) } else { formats::chain_log(&mut dice) };
    if bytes.first().is_some_and(|first| first & 8 != 0) {
        log = Dice::of_seed(bytes.len() as u64).damage(log);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("chain.log");
    fs::write(&path, &log).expect("a file");
    match open(&path) {
        Ok(_) => assert_eq!(open(&path).expect("it was there"), Found::Intact),
        Err(LogError::Foreign(_)) => {}
        Err(LogError::Io(path, error)) => panic!("{}: {error}", path.display()),
    }
}

fn open(path: &Path) -> Result<Found, LogError> {
    let mut chain = Chain::new(formats::car().clone(), Policy::default(), Micros(0));
    let found = Log::open(path, &mut chain)?.1;
    chain.handle(Now { at: Micros(1), unix_ms: 1, estimate_ms: None }, vehicle_gateway::chain::Input::Tick);
    while chain.poll().is_some() {}
    Ok(found)
}
