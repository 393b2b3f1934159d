//! The journal on a thread of its own: what is durable is told, and frames are taken meanwhile.
//!
//! The thread has one job at a time: everything that was queued while it wrote makes the next one.

use std::io;
use std::thread::{self, JoinHandle};

use device_chain::keys::KeyStore;
use device_chain::limits::MAX_MESSAGE;
use device_chain::record::RecordKind;
use journal::{Error, FileCounter, FileFlash};
use tokio::sync::mpsc;
use tracing::warn;

use crate::Ecu;
use crate::store::{Store, Upkeep};

type Records = Vec<(RecordKind, Vec<u8>)>;
type Written = Result<Done, Error<io::Error>>;

/// How a job ended.
struct Done {
    durable: bool,
    needs_rewrite: bool,
}

enum Job {
    Append(Records),
    Rewrite(Records),
}

/// The loop's end of the thread.
pub struct Writer {
    jobs: mpsc::Sender<Job>,
    answers: mpsc::Receiver<Written>,
    thread: JoinHandle<()>,
    queue: Records,
    /// Last token handed to [`Self::push`].
    token: u64,
    /// Token up to which the job under way makes durable.
    under_way: Option<u64>,
    /// Token up to which everything is durable.
    durable: u64,
    needs_rewrite: bool,
}

impl Writer {
    pub fn start(mut store: Store<FileFlash, FileCounter>) -> io::Result<Self> {
        let (jobs, mut job_receiver) = mpsc::channel(1);
        let (answer_sender, answers) = mpsc::channel(1);
        let thread = thread::Builder::new().name("journal".into()).spawn(move || {
            while let Some(job) = job_receiver.blocking_recv() {
                if answer_sender.blocking_send(write(&mut store, &job)).is_err() {
                    return;
                }
            }
        })?;
        let queue = Vec::new();
        Ok(Self { jobs, answers, thread, queue, token: 0, under_way: None, durable: 0, needs_rewrite: false })
    }

    /// Takes a record. The validator bounds how many wait: it acts only while it can make durable what it does.
    pub fn push(&mut self, token: u64, kind: RecordKind, bytes: &[u8]) {
        self.token = token;
        self.queue.push((kind, bytes.to_vec()));
    }

    /// Gives the thread its next job if it has none. All effects of `ecu` must have been polled, for a rewrite stands for
    /// everything it has handed out.
    pub fn next_job<K: KeyStore>(&mut self, ecu: &Ecu<K>) {
        if self.under_way.is_some() {
            return;
        }
        let job = if self.needs_rewrite {
            self.queue.clear();
            Job::Rewrite(live_records(ecu))
        } else if self.queue.is_empty() {
            return;
        } else {
            Job::Append(std::mem::take(&mut self.queue))
        };
        // there is room, for nothing is under way; a dead thread shows in `written`
        let _ = self.jobs.try_send(job);
        self.under_way = Some(self.token);
    }

    /// Waits for the job under way, for ever if there is none; the token up to which everything is durable. Cancel-safe.
    pub async fn written(&mut self) -> Result<u64, Error<io::Error>> {
        let Some(token) = self.under_way else { return std::future::pending().await };
        let dead = || Err(Error::Io(io::Error::other("the journal's thread has died")));
        let done = self.answers.recv().await.unwrap_or_else(dead)?;
        self.needs_rewrite = done.needs_rewrite;
        self.under_way = None;
        if done.durable {
            self.durable = token;
        }
        Ok(self.durable)
    }

    /// Ends the thread, the job under way done and the files unlocked.
    pub async fn close(self) {
        drop((self.jobs, self.answers));
        let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
    }
}

fn write(store: &mut Store<FileFlash, FileCounter>, job: &Job) -> Written {
    match job {
        Job::Append(records) => {
            let records = records.iter().map(|(kind, bytes)| (*kind, bytes.as_slice()));
            if let Err(error) = store.append(records) {
                // what does not go into one bank may go into the other (P6)
                warn!("journal: {error}; it is rewritten");
                return Ok(Done { durable: false, needs_rewrite: true });
            }
        }
        Job::Rewrite(records) => {
            store.rewrite(|keep| records.iter().for_each(|(kind, bytes)| keep(*kind, bytes)))?;
        }
    }
    Ok(Done { durable: true, needs_rewrite: store.upkeep(false) == Some(Upkeep::Rewrite) })
}

fn live_records<K: KeyStore>(ecu: &Ecu<K>) -> Records {
    let mut records = Records::new();
    let mut buffer = Box::new([0; MAX_MESSAGE]);
    ecu.validator().live_records(&mut buffer, &mut |kind, bytes| records.push((kind, bytes.to_vec())));
    records
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use device_chain::keys::SoftKeys;
    use journal::Geometry;

    use super::*;
    use crate::linux::car::Car;
    use crate::linux::node::{Node, NodePaths};
    use crate::linux::provision::provision;
    use crate::store;

    /// Two banks of three records that are as long as records can be.
    const SMALL: Geometry = Geometry { erase_size: 4096, write_size: 8, capacity: 2 * 16 * 1024 };

    fn small_store(folder: &Path, ecu: &Ecu<SoftKeys>) -> Store<FileFlash, FileCounter> {
        let (flash, counter) = (folder.join("small"), folder.join("small.counter"));
        let genesis = ecu.validator().genesis();
        store::format::<_, FileCounter>(&mut FileFlash::create(&flash, SMALL).unwrap(), genesis).unwrap();
        FileCounter::create(&counter).unwrap();
        let mut reopen = || Ok((FileFlash::open(&flash, SMALL)?, FileCounter::open(&counter)?));
        store::open(&mut reopen, genesis).unwrap().store
    }

    /// P6.
    #[tokio::test]
    async fn what_does_not_go_into_one_bank_is_acknowledged_once_it_is_in_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let config = Car::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../car.toml"))).unwrap();
        provision(&config, folder.path(), None, &[]).unwrap();
        let node = Node::open(&NodePaths::provisioned(folder.path(), "body")).unwrap();
        let mut writer = Writer::start(small_store(folder.path(), &node.ecu)).unwrap();

        writer.push(1, RecordKind::Fact, &[0; 4000]);
        writer.next_job(&node.ecu);
        assert_eq!(writer.written().await.unwrap(), 1);
        for token in 2..=5 {
            writer.push(token, RecordKind::Fact, &[0; 4000]);
        }
        writer.next_job(&node.ecu);
        assert_eq!(writer.written().await.unwrap(), 1, "there is no room for four more");
        writer.next_job(&node.ecu);
        assert_eq!(writer.written().await.unwrap(), 5, "a rewrite stands for everything that was handed out");
        writer.close().await;
    }
}
