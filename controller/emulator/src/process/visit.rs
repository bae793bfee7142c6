//! Going into a running machine: one more process of the launcher, which joins the machine's
//! namespaces and runs a program there.

use std::io::{self, PipeReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::ProcessRunnerConfig;
use crate::sandbox;
use crate::sandbox::message::{Channel, Visit, Visited, send};

/// What is kept of each output, in bytes; the rest is read and dropped, so that the program does not
/// wait for us.
const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// How much one read takes.
const READ_BYTES: usize = 64 << 10;

/// What came of a visit.
pub(super) struct Outcome {
    pub(super) visited: Visited,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Starts the visit and waits for its end.
pub(super) fn run(
    config: &ProcessRunnerConfig,
    machine_id: &str,
    visit: &Visit,
) -> io::Result<Outcome> {
    let (ours, theirs) = UnixStream::pair()?;
    let (stdout, out_writer) = io::pipe()?;
    let (stderr, err_writer) = io::pipe()?;
    let mut child = Command::new(&config.launcher)
        .args(&config.launcher_args)
        .args([sandbox::ENTER, machine_id])
        .env_clear()
        .current_dir("/")
        .process_group(0)
        .stdin(OwnedFd::from(theirs))
        .stdout(out_writer)
        .stderr(err_writer)
        .spawn()?;
    let told = send(&ours, visit).and_then(|()| {
        let mut reports = Channel::new(ours);
        watch(&mut reports, [stdout, stderr])
    });
    end(&mut child, told.is_err())?;
    let (visited, [stdout, stderr]) = told?;
    let visited = visited.ok_or_else(|| {
        let words = String::from_utf8_lossy(&stderr);
        io::Error::other(format!("going into the machine failed: {}", words.trim()))
    })?;
    Ok(Outcome { visited, stdout, stderr })
}

/// Its end of the socket is closed by now, so it ends by itself unless it is stuck.
fn end(child: &mut Child, is_stuck: bool) -> io::Result<()> {
    if is_stuck {
        child.kill()?;
    }
    child.wait().map(|_| ())
}

type Outputs = [Vec<u8>; 2];

/// Reads both outputs until the report has come; what the program's own children write later is not
/// waited for.
fn watch(
    reports: &mut Channel,
    mut pipes: [PipeReader; 2],
) -> io::Result<(Option<Visited>, Outputs)> {
    let mut outputs = Outputs::default();
    let mut open = [true; 2];
    let mut buffer = vec![0; READ_BYTES];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut report: Option<Option<Visited>> = None;
    loop {
        let mut waited = vec![];
        for (pipe, _) in pipes.iter().zip(open).filter(|(_, open)| *open) {
            waited.push(PollFd::new(pipe, PollFlags::IN));
        }
        if report.is_none() {
            waited.push(PollFd::new(reports, PollFlags::IN));
        }
        // After the report: only what is there already.
        let ready = match poll(&mut waited, report.is_some().then_some(&at_once)) {
            Ok(ready) => ready,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        if let (0, Some(report)) = (ready, &report) {
            return Ok((report.clone(), outputs));
        }
        let mut flags =
            waited.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<_>>().into_iter();
        for (at, pipe) in pipes.iter_mut().enumerate() {
            if open[at] && flags.next().unwrap_or_default() {
                let count = pipe.read(&mut buffer)?;
                let room = OUTPUT_BYTES_MAX - outputs[at].len();
                outputs[at].extend_from_slice(&buffer[..count.min(room)]);
                open[at] = count > 0;
            }
        }
        if report.is_none() && flags.next().unwrap_or_default() {
            match reports.receive::<Visited>()? {
                Some(reported) => report = reported.into_iter().next().map(Some),
                None => report = Some(None),
            }
        }
    }
}
