//! What runs inside the re-executed launcher: the stages between the emulator and a workload.
//!
//! ```text
//!   emulator ──socket──▶ supervise ──socket──▶ init = PID 1 of the machine ──exec──▶ run ──▶ workload
//!   (a thread per        host namespaces,      own mounts, hostname and          new session, then
//!    machine)            private_ip on lo      root; reaps; forwards signals     becomes the program
//! ```
//!
//! Each stage is the same binary with a stage name as its argument, so that every namespace call
//! happens in a process with one thread and no runtime. The description of the machine travels on
//! the socket and never in the arguments, because its environment holds secrets. The same socket is
//! the life line: when the emulator dies, however it dies, `supervise` reads the end of the stream
//! and ends the machine.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

pub(crate) mod isolation;
pub(crate) mod message;

mod supervise;

mod init;

mod enter;

mod freeze;

mod host_mounts;

pub(crate) mod processes;

mod root;

mod fresh_mounts;

mod masks;

mod shown;

mod identity;

mod workload;

pub(crate) mod loopback;

pub(crate) use self::masks::outermost;

/// The stage that the emulator starts; it starts the others.
pub(crate) const SUPERVISE: &str = "supervise";
/// The stage that is PID 1 of the machine.
const INIT: &str = "init";
/// The stage that becomes the workload.
const RUN: &str = "run";
/// The stage that goes into a running machine, for one command.
pub(crate) const ENTER: &str = "enter";

/// The exit code of a machine that could not be started, as a shell reports a missing program.
pub(crate) const NOT_STARTED: u8 = 127;

/// Runs one stage; `args` are those after the hidden `machine-init` subcommand.
///
/// To be called first thing in `main`, while the process has one thread. What goes wrong is said on
/// standard error, which is the machine's console; the exit code is then 127.
pub fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let stage = args.next().unwrap_or_default();
    let result = match stage.to_str() {
        Some(SUPERVISE) => supervise::run(),
        Some(INIT) => init::run(),
        Some(RUN) => workload::run(args),
        Some(ENTER) => enter::run(),
        _ => Err(io::Error::other("this subcommand is started by the emulator only")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("{error}"));
            ExitCode::from(NOT_STARTED)
        }
    }
}

/// Writes one line to the machine's console.
fn say(line: std::fmt::Arguments<'_>) {
    // A console that nobody reads any more must not stop a machine from being taken down.
    drop(writeln!(io::stderr(), "machine-init: {line}"));
}

/// Adds what was being done to an error, because an errno alone helps nobody.
fn doing<T, E: Into<io::Error>>(
    what: impl std::fmt::Display,
    result: Result<T, E>,
) -> io::Result<T> {
    result.map_err(|error| {
        let error = error.into();
        io::Error::new(error.kind(), format!("cannot {what}: {error}"))
    })
}
