//! `vaultctl dev` as a program.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::binaries::binaries;
use crate::client::Client;
use crate::eventually::{DEADLINE, eventually};
use crate::program::{self, Output};

/// `vaultctl dev` with these arguments on a free port, with all state in `data_dir`.
///
/// # Errors
/// If the programs cannot be built.
pub fn command(manifests: &Path, data_dir: &Path, more: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(&binaries()?.vaultctl);
    command
        .arg("dev")
        .arg(manifests)
        .arg("--data-dir")
        .arg(data_dir)
        .args(["--listen", "127.0.0.1:0"])
        .args(more)
        .env("NO_COLOR", "1");
    Ok(command)
}

/// Runs `vaultctl dev … --once` to its end.
///
/// # Errors
/// If it does not end.
pub async fn once(manifests: &Path, data_dir: &Path, more: &[&str]) -> anyhow::Result<Output> {
    program::run(command(manifests, data_dir, more)?.arg("--once")).await
}

/// A `vaultctl dev` that keeps running.
#[derive(Debug)]
pub struct Dev {
    child: Child,
    data_dir: PathBuf,
    log: PathBuf,
}

impl Dev {
    /// Starts it; what it prints goes to `dev.log` beside the data folder.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(manifests: &Path, data_dir: &Path, more: &[&str]) -> anyhow::Result<Self> {
        let log = data_dir.with_file_name("dev.log");
        let file = std::fs::File::create(&log)?;
        let child = command(manifests, data_dir, more)?
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { child, data_dir: data_dir.to_owned(), log })
    }

    /// Waits until it printed `text`.
    ///
    /// # Errors
    /// If it does not, or ends before.
    pub async fn says(&mut self, text: &str) -> anyhow::Result<()> {
        eventually(&format!("dev says {text:?}"), async || {
            let printed = self.printed();
            match self.child.try_wait() {
                _ if printed.contains(text) => Ok(()),
                Ok(None) => Err(printed),
                ended => Err(format!("it ended: {ended:?}\n{printed}")),
            }
        })
        .await
    }

    /// Everything that it printed.
    #[must_use]
    pub fn printed(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// A client of its resource API.
    ///
    /// # Errors
    /// If it has not written its context file yet.
    pub fn client(&self) -> anyhow::Result<Client> {
        Client::from_context(&self.data_dir.join("config.yaml"))
    }

    /// Ends it as Ctrl-C does, and answers its exit code.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn stop(mut self) -> anyhow::Result<Option<i32>> {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        kill_process(pid.context("it has ended already")?, Signal::INT)?;
        let status = tokio::time::timeout(DEADLINE, self.child.wait()).await;
        Ok(status.context("it does not end at Ctrl-C")??.code())
    }
}
