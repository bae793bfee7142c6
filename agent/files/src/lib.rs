//! Files and folders between a disk and a QUIC stream: the same code at both ends, and neither trusts
//! the other.
//!
//! ```text
//!   send:     folder ─▶ read, a thread ─▶ entries, raw bytes ─▶ stream
//!   receive:  stream ─▶ entries, raw bytes ─▶ a thread ─▶ temporary file ─▶ its name
//!                                                         └ beneath the destination, whatever came
//! ```
//!
//! What an entry is called in the destination is said by whoever asked for the copy, never by the
//! sender; the names within a folder are single components, and are opened beneath the folder's own
//! descriptor without following a link. So a sender can write nothing that was not asked for
//! (CVE-2019-6111 of scp), and nothing that is changed on the disk meanwhile leads out.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quinn::{RecvStream, SendStream};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use vault_protocol::code::StreamCode;
use vault_protocol::message::{CopyDone, CopyOptions};

mod error;
mod folder;
pub mod limits;
mod part;
mod receive;
mod send;
mod wire;

use self::limits::DELIVERY_PATIENCE;

pub use error::{CopyError, Problem};
pub use receive::Target;

/// How far a copy has come; may be read while it runs.
#[derive(Debug, Default)]
pub struct Meter {
    /// Files that were begun.
    files: AtomicU64,
    /// Bytes of files that went through, or need not.
    bytes: AtomicU64,
    /// Bytes of all files that were begun.
    expected: AtomicU64,
}

impl Meter {
    /// How many files were begun.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    /// How many bytes of files went through, or were there already.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How many bytes all files have that were begun.
    #[must_use]
    pub fn expected(&self) -> u64 {
        self.expected.load(Ordering::Relaxed)
    }

    pub(crate) fn begin(&self, size: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        // A sender may claim any size; the sum of claims is for people.
        let add = |sum: u64| Some(sum.saturating_add(size));
        let _before = self.expected.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A copy that has ended well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// What the receiver has on its disk now.
    pub done: CopyDone,
    /// How many things were passed over: neither files nor folders, or links that lead nowhere.
    pub skipped: u64,
    /// The path of the first of them, fit for a terminal.
    pub first_skipped: Option<String>,
}

/// The two directions of a copy's stream, and what came after the last message that was read.
#[derive(Debug)]
pub struct Streams {
    /// To the other side.
    pub sender: SendStream,
    /// From it.
    pub receiver: RecvStream,
    /// What came already.
    pub first: Vec<u8>,
}

/// What a copy does with files, for a thread that may wait for disks.
pub type Work = Box<dyn FnOnce() + Send>;

/// A thread of the runtime: for whoever has no reason for another.
///
/// # Errors
/// None; others may have some.
pub fn here(work: Work) -> io::Result<()> {
    // It ends by itself, when the stream does.
    drop(spawn_blocking(work));
    Ok(())
}

/// Sends a file or a folder, and waits until the receiver has it on its disk. The path is absolute, and
/// links in it are followed.
/// `start` runs the work on a thread that sees the files: [`here`], unless they are elsewhere.
///
/// # Errors
/// [`CopyError`]; the other side was told.
pub async fn send(
    path: PathBuf,
    options: CopyOptions,
    streams: Streams,
    meter: Arc<Meter>,
    start: impl FnOnce(Work) -> io::Result<()>,
) -> Result<Copied, CopyError> {
    run(streams, start, move |mut input, output| {
        let sent = send::Sending::new(&mut input, &output, options, &meter).run(&path);
        (sent, output)
    })
    .await
}

/// Receives a file or a folder. `start` is as for [`send`].
///
/// # Errors
/// [`CopyError`]; the other side was told. What was whole by then stays.
pub async fn receive(
    target: Target,
    options: CopyOptions,
    streams: Streams,
    meter: Arc<Meter>,
    start: impl FnOnce(Work) -> io::Result<()>,
) -> Result<Copied, CopyError> {
    run(streams, start, move |mut input, output| {
        let received = receive::Receiving::new(&mut input, &output, options, &meter).run(&target);
        (received, output)
    })
    .await
}

/// Runs `work` on a thread of its own beside the stream. Cancel-safe in that dropping it ends the
/// thread's input and output, and so the thread.
async fn run(
    streams: Streams,
    start: impl FnOnce(Work) -> io::Result<()>,
    work: impl FnOnce(wire::Input, wire::Output) -> (Result<Copied, CopyError>, wire::Output)
    + Send
    + 'static,
) -> Result<Copied, CopyError> {
    let Streams { mut sender, mut receiver, first } = streams;
    let (output, to_send) = wire::output();
    let (input, received) = wire::input(first);
    let (told, worked) = oneshot::channel();
    let started = start(Box::new(move || {
        let (result, output) = work(input, output);
        if let Some(words) = result.as_ref().err().and_then(CopyError::told) {
            // Whoever has left needs not be told.
            drop(output.say(words));
        }
        // Whoever waits may have given up.
        drop(told.send(result));
    }));
    started.map_err(|error| CopyError::Cut(Some(error.into())))?;
    // A reset overtakes bytes: the entry that it is about may not have come.
    let unnamed = |error: CopyError| match error.is_short_there() {
        true => CopyError::ShortThere("a file".to_owned()),
        false => error,
    };
    let work = async { worked.await.unwrap_or(Err(CopyError::Cut(None))).map_err(unnamed) };
    let pump_in = wire::pump_in(received, &mut receiver);
    let (result, (), ()) = tokio::join!(work, wire::pump_out(to_send, &mut sender), pump_in);
    let code = match &result {
        Ok(_) => StreamCode::BrokenPipe,
        Err(error) => error.code(),
    };
    match &result {
        Err(error) if error.is_midway() => drop(sender.reset(code.number().into())),
        _ => drop(sender.finish()),
    }
    // What may still come is of no use.
    drop(receiver.stop(code.number().into()));
    // A last word is on its way, which the end of the connection would overtake.
    drop(timeout(DELIVERY_PATIENCE, sender.stopped()).await);
    result
}
