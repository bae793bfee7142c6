//! Finds out what this host allows, by doing it: a machine is set up whole and ends at once.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::{ProcessRunnerConfig, folder, machine};
use crate::sandbox::isolation::Isolation;
use crate::sandbox::message::{Channel, Description, Ended, Order, send};

/// How long a machine may take to be set up before the host counts as not able to.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much of the probe's console goes into the log, in bytes: a few lines.
const REASON_BYTES_MAX: u64 = 2048;

/// The first of the candidates that works here; an error if none does.
pub(super) fn first_possible(
    config: &ProcessRunnerConfig,
    candidates: &[Isolation],
) -> io::Result<Isolation> {
    let mut last = io::Error::other("no isolation was tried");
    for isolation in candidates {
        match attempt(config, *isolation) {
            Ok(()) => return Ok(*isolation),
            Err(error) => {
                tracing::info!(?isolation, %error, "this host does not allow it");
                last = error;
            }
        }
    }
    Err(last)
}

fn attempt(config: &ProcessRunnerConfig, isolation: Isolation) -> io::Result<()> {
    // Two emulators never share a data folder, so the name needs no number.
    let machine_id = "probe";
    let directory = folder::prepare(&config.data_dir, machine_id)?;
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_read_timeout(Some(PATIENCE))?;
    let mut supervisor = machine::supervisor(config, machine_id, theirs)?;
    let description = Description {
        machine_id: machine_id.to_owned(),
        isolation,
        directory,
        launcher_args: config.launcher_args.clone(),
        argv: Vec::new(),
        env: BTreeMap::new(),
        shown: None,
        fly: None,
        volume: None,
        masked: config.masked.clone(),
        private_ip: None,
        hostname: machine_id.to_owned(),
        probe: true,
    };
    let described = send(&ours, &Order::Describe(Box::new(description)));
    let report = described.and_then(|()| Channel::new(ours).receive::<Ended>());
    // Whatever came of it, nothing of the probe stays: its end of the socket is closed by now.
    if report.is_err() {
        drop(supervisor.child.kill());
    }
    supervisor.child.wait()?;
    let mut reason = Vec::new();
    supervisor.console.take(REASON_BYTES_MAX).read_to_end(&mut reason)?;
    folder::remove(&config.data_dir, machine_id)?;
    match report?.unwrap_or_default().as_slice() {
        [ended] if *ended == Ended::with_code(0) => Ok(()),
        _ => Err(io::Error::other(String::from_utf8_lossy(&reason).trim().to_owned())),
    }
}
