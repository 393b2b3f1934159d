//! The journal on a thread of its own: what is durable is told, and frames are taken meanwhile.
//!
//! The thread has one job at a time: everything that was queued while it wrote makes the next one.

use std::io;
use std::thread::{self, JoinHandle};

use device_chain::keys::KeyStore;
use device_chain::limits::MAX_MESSAGE;
use device_chain::record::RecordKind;
use device_chain::types::Micros;
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
    due: Due,
}

/// What the store needs besides appends.
#[derive(Clone, Copy)]
struct Due {
    now: Option<Upkeep>,
    in_a_quiet_moment: Option<Upkeep>,
}

enum Job {
    Append(Records),
    /// Erases a page of the bank that is written next.
    Prepare,
    /// `queued`, which `live` holds, too, is appended if the rewrite fails; `None`: an append has failed before.
    Rewrite {
        live: Records,
        queued: Option<Records>,
    },
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
    due: Due,
    /// An append has failed: a rewrite must take what was in it.
    owes: bool,
}

impl Writer {
    pub fn start(mut store: Store<FileFlash, FileCounter>) -> io::Result<Self> {
        let due = Due::of(&store);
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
        Ok(Self { jobs, answers, thread, queue, token: 0, under_way: None, durable: 0, due, owes: false })
    }

    /// Takes a record. The validator bounds how many wait: it acts only while it can make durable what it does.
    pub fn push(&mut self, token: u64, kind: RecordKind, bytes: &[u8]) {
        self.token = token;
        self.queue.push((kind, bytes.to_vec()));
    }

    /// Gives the thread its next job if it has none: what waits, or, in a quiet moment, upkeep. All effects of `ecu` must have been
    /// polled, for a rewrite stands for everything it has handed out.
    pub fn next_job<K: KeyStore>(&mut self, now: Micros, ecu: &Ecu<K>) {
        if self.under_way.is_some() {
            return;
        }
        let quiet = self.queue.is_empty() && !self.owes && ecu.is_quiet(now);
        let job = match if quiet { self.due.in_a_quiet_moment } else { self.due.now } {
            Some(Upkeep::Rewrite) => {
                let queued = std::mem::take(&mut self.queue);
                Job::Rewrite { live: live_records(ecu), queued: (!self.owes).then_some(queued) }
            }
            Some(Upkeep::Prepare) => Job::Prepare,
            None if self.queue.is_empty() => return,
            None => Job::Append(std::mem::take(&mut self.queue)),
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
        self.due = done.due;
        self.owes = !done.durable;
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

impl Due {
    fn of(store: &Store<FileFlash, FileCounter>) -> Self {
        Self { now: store.upkeep(false), in_a_quiet_moment: store.upkeep(true) }
    }
}

/// What does not go into one bank may go into the other (P6).
fn write(store: &mut Store<FileFlash, FileCounter>, job: &Job) -> Written {
    match job {
        Job::Append(records) => {
            if let Err(error) = append(store, records) {
                warn!("journal: {error}; it is rewritten");
                let due = Some(Upkeep::Rewrite);
                return Ok(Done { durable: false, due: Due { now: due, in_a_quiet_moment: due } });
            }
        }
        Job::Prepare => {
            if let Err(error) = store.prepare() {
                warn!("journal: {error}; it goes on in its bank until that is full");
            }
        }
        Job::Rewrite { live, queued } => {
            let rewritten = store.rewrite(|keep| live.iter().for_each(|(kind, bytes)| keep(*kind, bytes)));
            match (rewritten, queued) {
                (Ok(()), _) => {}
                (Err(error), None) => return Err(error),
                (Err(error), Some(queued)) => {
                    warn!("journal: {error}; it goes on in its bank until that is full");
                    append(store, queued)?;
                }
            }
        }
    }
    Ok(Done { durable: true, due: Due::of(store) })
}

fn append(store: &mut Store<FileFlash, FileCounter>, records: &Records) -> Result<(), Error<io::Error>> {
    store.append(records.iter().map(|(kind, bytes)| (*kind, bytes.as_slice())))
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
    use device_chain::validator::Validator;
    use journal::Geometry;

    use super::*;
    use crate::linux::car::Car;
    use crate::linux::node::{Node, NodePaths};
    use crate::linux::provision::provision;
    use crate::store;

    /// Two banks of three records that are as long as records can be.
    const SMALL: Geometry = Geometry { erase_size: 4096, write_size: 8, capacity: 2 * 16 * 1024 };

    /// Long after the last decision.
    const LATER: Micros = Micros(1 << 40);

    fn small_store(folder: &Path, ecu: &Ecu<SoftKeys>) -> Store<FileFlash, FileCounter> {
        let (flash, counter) = (folder.join("small"), folder.join("small.counter"));
        let (genesis, me) = (ecu.validator().registry(), ecu.validator().index());
        store::format::<_, FileCounter>(&mut FileFlash::create(&flash, SMALL).unwrap(), genesis).unwrap();
        let mut validator = Box::new(Validator::new(SoftKeys::new(genesis.suite())));
        validator.install(genesis.clone(), me).unwrap();
        FileCounter::create(&counter).unwrap();
        let mut reopen = || Ok((FileFlash::open(&flash, SMALL)?, FileCounter::open(&counter)?));
        store::open(&mut reopen, &mut validator, &mut [0; MAX_MESSAGE]).unwrap().store
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
        writer.next_job(LATER, &node.ecu);
        assert_eq!(writer.written().await.unwrap(), 1);
        for token in 2..=5 {
            writer.push(token, RecordKind::Fact, &[0; 4000]);
        }
        writer.next_job(LATER, &node.ecu);
        assert_eq!(writer.written().await.unwrap(), 1, "there is no room for four more");
        writer.next_job(LATER, &node.ecu);
        assert_eq!(writer.written().await.unwrap(), 5, "a rewrite stands for everything that was handed out");
        writer.close().await;
    }

    /// As on a chip: a rewrite finds its bank erased.
    #[tokio::test]
    async fn banks_are_erased_beforehand_in_quiet_moments_only() {
        let folder = tempfile::tempdir().unwrap();
        let config = Car::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../car.toml"))).unwrap();
        provision(&config, folder.path(), None, &[]).unwrap();
        // its turn begins with height 0
        let node = Node::open(&NodePaths::provisioned(folder.path(), "gateway")).unwrap();
        assert!(node.ecu.is_quiet(Micros(0)) && !node.ecu.is_quiet(LATER));
        let mut store = small_store(folder.path(), &node.ecu);
        let rewrite = Job::Rewrite { live: Records::new(), queued: None };
        // the bank that it leaves is to be erased
        let due = write(&mut store, &rewrite).unwrap().due;
        assert_eq!((due.now, due.in_a_quiet_moment), (None, Some(Upkeep::Prepare)));

        let mut writer = Writer::start(store).unwrap();
        writer.next_job(LATER, &node.ecu);
        assert!(writer.under_way.is_none(), "somebody may want something");
        let mut pages = 0;
        while writer.due.in_a_quiet_moment == Some(Upkeep::Prepare) {
            writer.next_job(Micros(0), &node.ecu);
            writer.written().await.unwrap();
            pages += 1;
        }
        assert!(pages > 0 && pages <= SMALL.bank_size() / SMALL.erase_size, "{pages} pages");
        writer.close().await;
    }
}
