//! The car's own segment, which the gateway only listens to: nothing here can send.

use std::sync::Arc;
use std::time::{Duration, Instant};

use can_bus::port::BusEvent;
use device_chain::types::Micros;
use ecu_node::linux::bus::{Bus, Buses};
use event_chain::record::RecordKind;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::signals::Recorder;

/// Number of the car's segment; the mesh's is 0.
const SEGMENT: u8 = 1;
/// When to try again if the segment is gone.
const RETRY: Duration = Duration::from_secs(1);

/// Listens for as long as somebody takes the records. A segment that is not there is waited for: no ECU of the mesh
/// depends on it.
pub async fn listen<B: Buses>(
    buses: Arc<B>,
    interface: String,
    epoch: Instant,
    mut recorder: Recorder,
    records: mpsc::Sender<RecordKind>,
) {
    let filters = recorder.filters();
    let mut told = false;
    while !records.is_closed() {
        match buses.open(&interface, SEGMENT, epoch, &filters) {
            Ok(mut bus) => {
                info!(interface, "listening to the car");
                told = false;
                let error = take(&mut bus, &mut recorder, &records).await;
                warn!("the car is not heard: {error}");
            }
            Err(error) if !std::mem::replace(&mut told, true) => warn!("the car is not heard: {error}"),
            Err(_) => {}
        }
        sleep(RETRY).await;
    }
}

/// Takes frames until the bus fails.
async fn take(bus: &mut impl Bus, recorder: &mut Recorder, records: &mpsc::Sender<RecordKind>) -> std::io::Error {
    loop {
        match bus.event().await {
            Ok(BusEvent::Received { at_us, frame, .. }) => {
                for record in recorder.observe(Micros(at_us), &frame) {
                    if records.send(record).await.is_err() {
                        return std::io::ErrorKind::BrokenPipe.into();
                    }
                }
            }
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}
