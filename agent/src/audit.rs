//! What is written down on the volume about those who come in.
//!
//! ```text
//!   connection, exec, forward ── record ──▶ a bounded queue ──▶ one thread ──▶ files: write, fdatasync
//!                                   └─ full: counted, and told by the next record
//!   AuditLogRequest ──▶ the same thread, behind all earlier records ──▶ files, open for reading
//! ```
//!
//! Nobody waits for the disk but whoever reads. What is in the queue when the agent is killed is lost;
//! that is some milliseconds. A disk that is full stops no command, because somebody has to be able to
//! make room; it is said in the log, and in the records as soon as there can be any.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use vault_protocol::audit::Event;

use crate::clock::Clock;
use crate::limits::{AUDIT_BATCH_MAX, AUDIT_FLUSH_PATIENCE, AUDIT_QUEUE_MAX, AUDIT_TEXT_BYTES_MAX};

mod files;
mod trickle;

use self::files::Files;
pub(crate) use self::files::Kept;
use self::trickle::Trickle;

/// Takes records.
pub(crate) struct Audit {
    clock: Arc<dyn Clock>,
    /// To the thread, or why there is none.
    keeper: Result<SyncSender<Order>, String>,
    /// Records that were not kept and are not told yet.
    lost: Arc<AtomicU64>,
    refused: Trickle,
}

enum Order {
    Keep(Timestamp, Event),
    Read { from: Option<u64>, answer: oneshot::Sender<io::Result<Vec<Kept>>> },
}

impl Audit {
    /// Goes on where the last agent of this machine ended. Without a volume nothing is kept.
    pub(crate) fn start(data_dir: &Path, clock: Arc<dyn Clock>) -> Self {
        let lost = Arc::new(AtomicU64::new(0));
        let keeper = keep(data_dir, &*clock, Arc::clone(&lost)).map_err(|error| {
            let folder = data_dir.display();
            tracing::warn!(%error, %folder, "no volume: the audit log is kept nowhere");
            format!("no audit log is kept: {folder}: {error}")
        });
        Self { clock, keeper, lost, refused: Trickle::default() }
    }

    /// Writes it down, soon.
    pub(crate) fn record(&self, event: Event) {
        let Ok(keeper) = &self.keeper else { return };
        let strangers = matches!(event, Event::ProofRefused { .. });
        let is_taken = (!strangers || self.refused.take(self.clock.now()))
            && match keeper.try_send(Order::Keep(self.clock.wall(), event)) {
                Ok(()) => true,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
            };
        if !is_taken {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The files that have records from this number on, with all that was recorded before this call.
    ///
    /// # Errors
    /// Nothing is kept, or it cannot be read.
    pub(crate) async fn read(&self, from: Option<u64>) -> Result<Vec<Kept>, String> {
        let keeper = self.keeper.clone()?;
        let (answer, answered) = oneshot::channel();
        // The queue may be full, and the disk slow.
        let asking = move || keeper.send(Order::Read { from, answer }).is_ok();
        match (spawn_blocking(asking).await, answered.await) {
            (Ok(true), Ok(kept)) => kept.map_err(|error| error.to_string()),
            _ => Err("the audit log's thread has ended".to_owned()),
        }
    }

    /// Waits until what was recorded is on the disk, as long as that is bearable.
    pub(crate) async fn flush(&self) {
        if self.keeper.is_ok() {
            // A disk that does not answer keeps no agent from ending.
            drop(timeout(AUDIT_FLUSH_PATIENCE, self.read(None)).await);
        }
    }
}

/// A peer, as it is written down.
pub(crate) fn who(address: SocketAddr) -> String {
    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}

/// A text of a client's, as it is written down.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(AUDIT_TEXT_BYTES_MAX / 4) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whole milliseconds.
pub(crate) fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn keep(data_dir: &Path, clock: &dyn Clock, lost: Arc<AtomicU64>) -> io::Result<SyncSender<Order>> {
    let (mut files, torn_bytes) = Files::open(data_dir)?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    files.append([(clock.wall(), Event::AgentStarted { version, torn_bytes })])?;
    let (sender, orders) = sync_channel(AUDIT_QUEUE_MAX);
    thread::Builder::new()
        .name("vault-audit".to_owned())
        .spawn(move || serve(&mut files, &orders, &lost))?;
    Ok(sender)
}

/// Until nobody can record any more.
fn serve(files: &mut Files, orders: &Receiver<Order>, lost: &AtomicU64) {
    while let Ok(first) = orders.recv() {
        let mut records = Vec::new();
        let mut questions = Vec::new();
        let more = std::iter::from_fn(|| orders.try_recv().ok());
        for order in std::iter::once(first).chain(more).take(AUDIT_BATCH_MAX) {
            match order {
                Order::Keep(at, event) => records.push((at, event)),
                Order::Read { from, answer } => questions.push((from, answer)),
            }
        }
        write(files, records, lost);
        for (from, answer) in questions {
            // Whoever asked may have left.
            drop(answer.send(files.since(from)));
        }
    }
}

fn write(files: &mut Files, mut records: Vec<(Timestamp, Event)>, lost: &AtomicU64) {
    // What is lost is told together with the next record, which knows the time.
    let Some(&(at, _)) = records.first() else { return };
    let untold = lost.swap(0, Ordering::Relaxed);
    let kept = records.len() as u64;
    if untold > 0 {
        records.insert(0, (at, Event::RecordsLost { records: untold }));
    }
    if let Err(error) = files.append(records) {
        let lost = lost.fetch_add(untold + kept, Ordering::Relaxed) + untold + kept;
        tracing::error!(%error, lost, "the audit log cannot be written");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn what_was_lost_is_told_by_the_next_record() {
        let data = TempDir::new().expect("a folder");
        let (mut files, _) = Files::open(data.path()).expect("opens");
        let lost = AtomicU64::new(3);
        write(&mut files, Vec::new(), &lost);
        assert_eq!(lost.load(Ordering::Relaxed), 3, "nothing could tell it");
        write(&mut files, vec![(Timestamp::UNIX_EPOCH, Event::AgentEnding)], &lost);
        assert_eq!(lost.load(Ordering::Relaxed), 0);
        let file = data.path().join("audit/00000000000000000001.jsonl");
        let text = fs::read_to_string(file).expect("readable");
        let told: Vec<bool> = text.lines().map(|line| line.contains("RecordsLost")).collect();
        assert_eq!(told, [true, false], "{text}");
    }

    #[test]
    fn what_is_written_down_is_bounded() {
        assert_eq!(shortened("/bin/true"), "/bin/true");
        let long = shortened(&"ä".repeat(1 << 20));
        assert!(long.len() <= AUDIT_TEXT_BYTES_MAX && long.ends_with("ä…"), "{}", long.len());
    }
}
