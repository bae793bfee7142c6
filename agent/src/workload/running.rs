//! One boot of a root filesystem, from the agent's side.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::keeper::{self, Report};
use crate::limits::{BOOT_PATIENCE, KILLED_WORKLOAD_PATIENCE, LAST_WORD_PATIENCE};
use crate::process::Process;
use crate::process::helper::{Helper, Reports};
use crate::process::spawner::Spawner;

/// Why a root filesystem does not boot.
#[derive(Debug, Error)]
pub(super) enum BootError {
    /// The helper did not start, or said what makes no sense.
    #[error("the helper that boots it failed")]
    Helper(#[source] io::Error),
    /// A step failed.
    #[error("{doing} failed")]
    Step {
        doing: String,
        #[source]
        error: io::Error,
    },
    /// It took too long.
    #[error("it took longer than {} seconds", BOOT_PATIENCE.as_secs())]
    TooSlow,
    /// It ended before anything could be started in it.
    #[error("{0}")]
    Ended(String),
    /// Nothing can be started in it.
    #[error("its namespaces cannot be entered")]
    Enter(#[source] io::Error),
}

/// What to boot, and with what.
pub(super) struct Boot<'agent> {
    pub(super) tree: &'agent Path,
    pub(super) persist: &'agent Path,
    pub(super) environment: Vec<CString>,
    /// Starts helpers.
    pub(super) spawner: &'agent Spawner,
}

/// A booted workload. Dropping it kills everything in it.
pub(super) struct Running {
    reports: Reports<OwnedReadHalf>,
    /// Its end is the workload's.
    orders: OwnedWriteHalf,
    keeper: Process,
    stop_signal: i32,
    /// Starts commands in there.
    pub(super) spawner: Spawner,
}

impl Boot<'_> {
    /// Boots it.
    pub(super) async fn run(self) -> Result<Running, BootError> {
        let (ours, theirs) = StdUnixStream::pair().map_err(BootError::Helper)?;
        ours.set_nonblocking(true).map_err(BootError::Helper)?;
        let socket = UnixStream::from_std(ours).map_err(BootError::Helper)?;
        let (reader, orders) = socket.into_split();
        let path = |path: &Path| CString::new(path.as_os_str().as_bytes());
        let arguments = [path(self.tree), path(self.persist)].into_iter().collect::<Result<_, _>>();
        let helper = Helper {
            name: keeper::NAME,
            arguments: arguments.map_err(|error| BootError::Helper(error.into()))?,
            environment: self.environment,
            descriptors: vec![theirs.into()],
        };
        let keeper = self.spawner.help(helper).await.map_err(BootError::Helper)?;
        let mut reports = Reports::new(reader);
        let report = timeout(BOOT_PATIENCE, reports.next()).await;
        let (init, built_in, stop_signal) = match report.map_err(|_| BootError::TooSlow)? {
            Ok(Some(Report::Booted { init, built_in, stop_signal })) => {
                (init, built_in, stop_signal)
            }
            Ok(Some(Report::Failed(failed))) => {
                return Err(BootError::Step { error: failed.error(), doing: failed.doing });
            }
            Ok(Some(Report::Ended { .. }) | None) => {
                return Err(BootError::Helper(io::ErrorKind::UnexpectedEof.into()));
            }
            Err(error) => return Err(BootError::Helper(error)),
        };
        tracing::info!(init, built_in, "the workload runs");
        match self.spawner.beside(watch(init)?).await {
            Ok(spawner) => Ok(Running { reports, orders, keeper, stop_signal, spawner }),
            Err(error) => Err(match timeout(LAST_WORD_PATIENCE, ended(&mut reports)).await {
                Ok(how) => BootError::Ended(how),
                Err(_) => BootError::Enter(error),
            }),
        }
    }
}

/// The number stays that of init for as long as its keeper lives.
fn watch(init: i32) -> Result<OwnedFd, BootError> {
    let pid = Pid::from_raw(init)
        .ok_or_else(|| BootError::Helper(io::Error::other("the number of no process")))?;
    pidfd_open(pid, PidfdFlags::empty()).map_err(|error| BootError::Enter(error.into()))
}

async fn ended(reports: &mut Reports<OwnedReadHalf>) -> String {
    match reports.next().await {
        Ok(Some(Report::Ended { code: Some(code), .. })) => {
            format!("its init process ended with exit code {code}")
        }
        Ok(Some(Report::Ended { signal: Some(signal), .. })) => {
            format!("its init process was ended by signal {signal}")
        }
        Ok(_) => "the helper that keeps it has ended".to_owned(),
        Err(error) => format!("the helper that keeps it makes no sense: {error}"),
    }
}

impl Running {
    /// How it ended, once it has, for people. Cancel-safe.
    pub(super) async fn ended(&mut self) -> String {
        ended(&mut self.reports).await
    }

    /// Asks it to end, and ends it after `grace`. It is gone when this returns, as far as that can be
    /// brought about.
    pub(super) async fn stop(mut self, grace: Duration) {
        let number = u8::try_from(self.stop_signal).unwrap_or_default();
        if self.orders.write_all(&[number]).await.is_ok()
            && timeout(grace, self.ended()).await.is_err()
        {
            tracing::info!("the workload did not end in time, and is killed");
        }
        // The end of the socket. The keeper ends once everything in the workload has.
        drop(self.orders);
        drop(self.reports);
        if timeout(KILLED_WORKLOAD_PATIENCE, self.keeper.ended()).await.is_err() {
            tracing::warn!("the workload's processes are still there");
        }
    }
}
