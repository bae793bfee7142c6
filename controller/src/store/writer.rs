//! The one writer: a thread that owns the writing connection and commits in groups.
//!
//! Each request runs in a savepoint of its own, so that one that fails undoes nothing of the
//! others; all that wait at the same time share one commit, and so one `fsync`. Nobody gets an
//! answer before the commit that holds it.

use std::thread::JoinHandle;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot, watch};

use super::StoreError;

/// How many requests may wait for the writer. Each waiting request is a task that holds its own
/// data already, so the cap only has to be above the number of tasks that run at once.
const QUEUE_LENGTH_MAX: usize = 256;
/// How many requests share one commit at most: as many as tenants are served at once, so that nobody
/// waits for two commits.
const GROUP_MAX: usize = 128;

/// A request: runs inside the transaction, and is told afterwards whether that was committed.
trait Job: Send {
    fn run(&mut self, connection: &Connection) -> bool;
    /// Whether it has changed what is watched.
    fn is_news(&self) -> bool;
    fn finish(self: Box<Self>, committed: Result<(), StoreError>);
}

/// The way to the writer thread; the thread ends when all of these are gone.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Box<dyn Job>>,
    commits: watch::Receiver<u64>,
}

impl Writer {
    /// Gives the connection to a new thread.
    pub(super) fn start(connection: Connection) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (queue, requests) = mpsc::channel(QUEUE_LENGTH_MAX);
        let (told, commits) = watch::channel(0);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || serve(connection, requests, &told))?;
        Ok((Self { queue, commits }, thread))
    }

    /// Grows after each commit that changed what is watched.
    pub(super) fn commits(&self) -> watch::Receiver<u64> {
        self.commits.clone()
    }

    /// Runs `verb` on the writer thread and waits until its effect is on the disk.
    pub(super) async fn write<T, F>(&self, verb: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.ask(verb, false).await
    }

    /// The same for a verb that changes objects or events; those who watch them are told.
    pub(super) async fn change<T, F>(&self, verb: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.ask(verb, true).await
    }

    async fn ask<T, F>(&self, verb: F, watched: bool) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Box<dyn Job> =
            Box::new(Request { verb: Some(verb), watched, result: None, answer });
        self.queue.send(job).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }
}

struct Request<T, F> {
    verb: Option<F>,
    watched: bool,
    result: Option<Result<T, StoreError>>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Request<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        let result = self.verb.take().map(|verb| verb(connection));
        let worked = matches!(result, Some(Ok(_)));
        self.result = result;
        worked
    }

    fn is_news(&self) -> bool {
        self.watched && matches!(self.result, Some(Ok(_)))
    }

    fn finish(self: Box<Self>, committed: Result<(), StoreError>) {
        let result = match (self.result, committed) {
            (Some(Ok(value)), Ok(())) => Ok(value),
            (Some(Ok(_)) | None, Err(error)) => Err(error),
            (Some(Err(error)), _) => Err(error),
            (None, Ok(())) => Err(StoreError::Closed),
        };
        // Whoever asked may have been cancelled; then nobody is left to be told.
        drop(self.answer.send(result));
    }
}

fn serve(
    mut connection: Connection,
    mut requests: mpsc::Receiver<Box<dyn Job>>,
    told: &watch::Sender<u64>,
) {
    while let Some(first) = requests.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP_MAX
            && let Ok(next) = requests.try_recv()
        {
            group.push(next);
        }
        let committed = commit(&mut connection, &mut group);
        if committed.is_ok() && group.iter().any(|job| job.is_news()) {
            told.send_modify(|commits| *commits += 1);
        }
        for job in group {
            // An error of SQLite cannot be copied; each request of the group gets its text.
            let outcome = committed.as_ref().copied().map_err(|error| {
                StoreError::Sqlite(rusqlite::Error::ToSqlConversionFailure(
                    error.to_string().into(),
                ))
            });
            job.finish(outcome);
        }
    }
}

fn commit(connection: &mut Connection, group: &mut [Box<dyn Job>]) -> Result<(), rusqlite::Error> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for job in group {
        let savepoint = transaction.savepoint()?;
        let worked = job.run(&savepoint);
        if savepoint.is_autocommit() {
            // A full disk, among others, makes SQLite undo the whole transaction by itself. Going on
            // would commit each further request alone, before anyone knows.
            return Err(undone());
        }
        if worked {
            savepoint.commit()?;
        }
    }
    transaction.commit()
}

fn undone() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT);
    let message = "the transaction was undone because of another request of the same group";
    rusqlite::Error::SqliteFailure(code, Some(message.to_owned()))
}
