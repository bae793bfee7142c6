//! A part of the agent that runs in a process of its own: this program, executed once more under
//! another name.
//!
//! ```text
//!   agent ── posix_spawn, argv[0] says which ──▶ helper
//!     ╞═══ descriptors 3, 4 … ═══════════════════╡
//!     ◀═══ reports: frames of CBOR ══════════════╛
//! ```
//!
//! It leads a process group of its own, which is killed when the agent lets go of its [`Process`].

use std::ffi::{CStr, CString};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use minicbor::{Decode, Encode};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::spawn::{PosixSpawnFileActions, posix_spawn};
use nix::sys::stat::Mode;
use rustix::io::FdFlags;
use rustix::process::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use vault_protocol::frame::{Decoder, Frame};

use super::spawner::{attributes, id};
use crate::limits::REPORT_BYTES_MAX;

/// The number of a helper's first descriptor; the others follow.
pub(crate) const FIRST_DESCRIPTOR: i32 = 3;

/// Above all that a helper gets.
const OUT_OF_THE_WAY: i32 = 16;

/// A helper that is to be started.
pub(crate) struct Helper {
    /// The name by which the program knows what it is to be.
    pub(crate) name: &'static CStr,
    /// What follows the name. Everybody can read it.
    pub(crate) arguments: Vec<CString>,
    /// `NAME=value`.
    pub(crate) environment: Vec<CString>,
    /// They get the numbers from [`FIRST_DESCRIPTOR`] on.
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Helper {
    /// Starts it. What it prints goes where the agent's own log goes.
    ///
    /// # Errors
    /// The machine has no room for one more process.
    pub(crate) fn spawn(&self, program: &CStr) -> io::Result<Pid> {
        let arguments: Vec<&CStr> =
            [self.name].into_iter().chain(self.arguments.iter().map(CString::as_c_str)).collect();
        // So that none of them is overwritten by one before it.
        let moved = self
            .descriptors
            .iter()
            .map(|descriptor| rustix::io::fcntl_dupfd_cloexec(descriptor, OUT_OF_THE_WAY));
        let moved = moved.collect::<Result<Vec<OwnedFd>, _>>()?;
        let mut actions = PosixSpawnFileActions::init()?;
        actions.add_open(0, c"/dev/null", OFlag::O_RDONLY, Mode::empty())?;
        actions.add_dup2(2, 1)?;
        for (number, descriptor) in (FIRST_DESCRIPTOR..).zip(&moved) {
            actions.add_dup2(descriptor.as_raw_fd(), number)?;
        }
        let spawned =
            posix_spawn(program, &actions, &attributes()?, &arguments, &self.environment)?;
        Ok(id(spawned))
    }
}

/// In the helper: takes a descriptor that it was given. It is closed when another program is executed.
///
/// # Errors
/// There is none of that number: somebody else has started this program under that name.
pub(crate) fn take_descriptor(number: i32) -> io::Result<OwnedFd> {
    std::fs::symlink_metadata(format!("/proc/self/fd/{number}"))?;
    #[allow(unsafe_code, reason = "descriptors have no safe interface by number")]
    // SAFETY: the descriptor is open, because somebody started us with it, and a helper takes each one
    // once, before it opens anything that it could be mistaken for.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&descriptor, FdFlags::CLOEXEC)?;
    Ok(descriptor)
}

/// In the helper: the environment that it was started with, as `NAME=value`, to hand it on.
pub(crate) fn environment() -> Vec<CString> {
    let lines = std::env::vars_os().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        CString::new(name.into_vec())
    });
    // What comes from an environment holds no NUL byte.
    lines.filter_map(Result::ok).collect()
}

/// Why a helper got no further, as it says it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Failed {
    /// What was being done.
    #[n(0)]
    pub(crate) doing: String,
    /// The number of the system's error.
    #[n(1)]
    error: i32,
}

impl Failed {
    /// The system's error.
    pub(crate) fn error(&self) -> io::Error {
        io::Error::from_raw_os_error(self.error)
    }
}

/// For `map_err`: what was being done.
pub(crate) fn doing<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> Failed {
    move |error| {
        let error = error.into().raw_os_error().unwrap_or(Errno::EIO as i32);
        Failed { doing: what.to_owned(), error }
    }
}

/// In the helper: says something.
///
/// # Errors
/// Nobody listens, or it is too long.
pub(crate) fn say<T: Encode<()>>(to: &mut impl Write, report: &T) -> io::Result<()> {
    let payload = minicbor::to_vec(report).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    let frame = Frame { tag: 0, payload };
    frame.encode(REPORT_BYTES_MAX, &mut bytes).map_err(io::Error::other)?;
    to.write_all(&bytes)
}

/// Reads the only report that is said there, to the end; `None` if there is none.
///
/// # Errors
/// What is said there is no report.
pub(crate) fn heard<T: for<'b> Decode<'b, ()>>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut bytes = Vec::new();
    from.take(REPORT_BYTES_MAX as u64).read_to_end(&mut bytes)?;
    let mut decoder = Decoder::new(REPORT_BYTES_MAX);
    decoder.push(&bytes);
    decoder.next_frame().map_err(io::Error::other)?.as_ref().map(decoded).transpose()
}

fn decoded<T: for<'b> Decode<'b, ()>>(frame: &Frame) -> io::Result<T> {
    minicbor::decode(&frame.payload).map_err(io::Error::other)
}

/// What a helper says, as it comes.
pub(crate) struct Reports<R> {
    reader: R,
    decoder: Decoder,
}

impl<R: AsyncRead + Unpin> Reports<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, decoder: Decoder::new(REPORT_BYTES_MAX) }
    }

    /// The next one; `None` once the helper has ended. Cancel-safe: what has come is kept.
    ///
    /// # Errors
    /// What came is no report.
    pub(crate) async fn next<T: for<'b> Decode<'b, ()>>(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(io::Error::other)? {
                return decoded(&frame).map(Some);
            }
            let mut bytes = [0; 1024];
            match self.reader.read(&mut bytes).await? {
                0 => return Ok(None),
                read => self.decoder.push(&bytes[..read]),
            }
        }
    }
}
