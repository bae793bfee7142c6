//! Files into the machine and out of it, as root finds them where commands run.
//!
//! ```text
//!   stream ── CopyRequest ──▶ a turn, a path ─┬─ Upload ───▶ receive ─┐
//!                                             └─ Download ─▶ send ────┴─▶ written down
//! ```

use std::ffi::OsStr;
use std::future::Future;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use quinn::SendStream;
use thiserror::Error;
use tokio::time::sleep;
use vault_files::{Copied, CopyError, Meter, Streams, Target};
use vault_protocol::audit::Event;
use vault_protocol::code::StreamCode;
use vault_protocol::message::{CopyFailed, CopyRequest, Direction};

use super::{Context, deliver};
use crate::audit::{milliseconds, shortened};
use crate::framed::Receiver;
use crate::telemetry::Chain;

/// Why files are not copied, or not all of them.
#[derive(Debug, Error)]
enum FilesError {
    #[error("the path leads to another user's home: write it in full")]
    OtherHome,
    #[error("too many copies are running")]
    TooMany,
    #[error("the agent is ending")]
    ShuttingDown,
    #[error("the machine's root filesystem is not booted: {0}")]
    NotBooted(String),
    #[error(transparent)]
    Copy(#[from] CopyError),
}

/// Serves one copy, for the stream that asked for it.
pub(crate) async fn run(
    context: Context,
    request: CopyRequest,
    sender: SendStream,
    receiver: Receiver,
) {
    let started = context.shared.clock.now();
    let meter = Arc::new(Meter::default());
    let (direction, path) = (request.direction, request.path.clone());
    let ended = serve(&context, request, sender, receiver, &meter).await;
    let reason = ended.as_ref().err().map(|error| Chain(error).to_string());
    let path = String::from_utf8_lossy(&path).escape_debug().to_string();
    let direction = match direction {
        Direction::Upload => "upload",
        Direction::Download => "download",
    };
    let done = ended.map(|copied| copied.done).unwrap_or_default();
    let (bytes, milliseconds) = (meter.bytes(), milliseconds(context.shared.clock.now() - started));
    tracing::info!(
        target: "audit",
        direction, path, files = done.files, bytes, milliseconds,
        source = %context.source, reason, "files copied"
    );
    context.shared.audit.record(Event::FilesCopied {
        source: context.who(),
        direction: direction.to_owned(),
        path: shortened(&path),
        files: done.files,
        bytes,
        milliseconds,
        reason: reason.map(|reason| shortened(&reason)),
    });
}

async fn serve(
    context: &Context,
    request: CopyRequest,
    mut sender: SendStream,
    mut receiver: Receiver,
    meter: &Arc<Meter>,
) -> Result<Copied, FilesError> {
    let shared = &context.shared;
    let turn = Arc::clone(&shared.copies).try_acquire_owned().map_err(|_| FilesError::TooMany);
    let path = located(&request.path, &shared.environment.home());
    let spawner = shared.workload.spawner().await.map_err(FilesError::NotBooted);
    let (turn, path, spawner) = match (turn, path, spawner, shared.draining.is_cancelled()) {
        (Ok(turn), Ok(path), Ok(spawner), false) => (turn, path, spawner),
        (turn, path, spawner, _) => {
            let error = turn.err().or_else(|| path.err()).or_else(|| spawner.err());
            let error = error.unwrap_or(FilesError::ShuttingDown);
            let failed = CopyFailed { path: request.path, message: error.to_string() };
            deliver(&mut sender, failed.into()).await;
            // Bytes that were sent in the hope of a place for them.
            drop(receiver.stream().stop(StreamCode::Failed.number().into()));
            return Err(error);
        }
    };
    let (receiver, first) = receiver.into_rest();
    let streams = Streams { sender, receiver, first };
    let (options, meter) = (request.options, Arc::clone(meter));
    let start = |work| spawner.visit(work);
    let copied = match request.direction {
        Direction::Upload => {
            let target = Target { path, name: request.name.map(Vec::from) };
            until_cut(context, vault_files::receive(target, options, streams, meter, start)).await
        }
        Direction::Download => {
            until_cut(context, vault_files::send(path, options, streams, meter, start)).await
        }
    };
    drop(turn);
    copied
}

/// An ending agent gives a copy as long as it gives commands.
async fn until_cut(
    context: &Context,
    copy: impl Future<Output = Result<Copied, CopyError>>,
) -> Result<Copied, FilesError> {
    let shared = &context.shared;
    let cut = async {
        shared.draining.cancelled().await;
        sleep(shared.grace()).await;
    };
    // Both arms are cancel-safe: a copy that is dropped ends its thread, and resets its stream.
    tokio::select! {
        copied = copy => Ok(copied?),
        () = cut => Err(FilesError::ShuttingDown),
    }
}

/// A path of a request: absolute, or beneath the home folder.
fn located(path: &[u8], home: &[u8]) -> Result<PathBuf, FilesError> {
    let path = match path {
        b"~" => b"",
        path => match path.strip_prefix(b"~/") {
            Some(beneath) => beneath,
            None if path.starts_with(b"~") => return Err(FilesError::OtherHome),
            None => path,
        },
    };
    let home = PathBuf::from(OsStr::from_bytes(home));
    Ok(match path {
        b"" => home,
        path => home.join(OsStr::from_bytes(path)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_begin_at_the_home_folder() {
        for (path, expected) in [
            ("", "/root"),
            ("~", "/root"),
            ("~/a", "/root/a"),
            ("a/b/", "/root/a/b/"),
            ("/etc/~x", "/etc/~x"),
            ("./~x", "/root/./~x"),
        ] {
            let found = located(path.as_bytes(), b"/root").expect("a path");
            assert_eq!(found.as_os_str(), OsStr::new(expected), "{path}");
        }
        assert!(matches!(located(b"~dev/a", b"/root"), Err(FilesError::OtherHome)));
    }
}
