//! A root filesystem for a machine, from a file here: sent, unpacked and booted there.
//!
//! ```text
//!   FILE ──▶ its SHA-256 ──▶ connection ──▶ sent while it is unpacked ──▶ booted
//!                              ▲  └─ lost: another connection goes on where this one ended
//!                              └──────┘ until --connect-timeout has passed without one
//! ```

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{BinaryBytes, HumanCount};
use vault_client::protocol::message::ProvisionFailedReason;
use vault_client::{Archive, Connection, ProvisionError, Provisioned};

use crate::error::{Exit, Failure};
use crate::output::{Output, Progress};
use crate::poll::Deadline;
use crate::reach::{MachineName, Reached, Way};

/// When a machine gets the root filesystem that its profile names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// It has none.
    ThereIsNone,
    /// Not on this way.
    Never,
    /// Now, in place of the one that it may have.
    Always,
}

impl When {
    /// What `--reprovision` says.
    pub(crate) fn of(reprovision: bool) -> Self {
        if reprovision { Self::Always } else { Self::ThereIsNone }
    }
}

/// Gives a machine what its profile names, if it is time to; the connection to go on with.
///
/// # Errors
/// The profile names nothing, or the machine does not take it.
pub(crate) async fn as_profiled(
    way: &Way,
    connection: Connection,
    when: When,
    connect_timeout: Duration,
    output: &mut Output,
) -> anyhow::Result<Connection> {
    let rootfs = way.profile().and_then(|profile| profile.rootfs());
    let path = match (rootfs, when) {
        (None, When::ThereIsNone) | (_, When::Never) => return Ok(connection),
        (Some(_), When::ThereIsNone) if connection.root().is_some() => return Ok(connection),
        (Some(path), _) => path,
        (None, When::Always) => {
            let name = way.name();
            let message = format!("{name} has no profile that names a root filesystem");
            let hint = format!(
                "vaultctl provision {name} FILE --replace, or `vaultctl profile add {name} --rootfs FILE` first"
            );
            return Err(Failure::new(Exit::BadInput, message).hint(hint).into());
        }
    };
    let provisioning =
        Provisioning { way, path: &path, replace: when == When::Always, connect_timeout };
    provisioning.run(connection, output).await
}

/// One archive for one machine.
pub(crate) struct Provisioning<'run> {
    pub(crate) way: &'run Way,
    pub(crate) path: &'run Path,
    /// In place of what the machine has.
    pub(crate) replace: bool,
    pub(crate) connect_timeout: Duration,
}

impl Provisioning<'_> {
    /// Sends it, says how that went, and gives the connection to go on with.
    ///
    /// # Errors
    /// The file cannot be read, the machine is not reached again, or does not take it.
    pub(crate) async fn run(
        &self,
        mut connection: Connection,
        output: &mut Output,
    ) -> anyhow::Result<Connection> {
        let (name, file) = (self.way.name(), self.path.display());
        let progress = output.progress(&format!("reading {file}"));
        let archive = Archive::open(self.path).await;
        let archive = archive.with_context(|| format!("cannot read {file}"))?;
        let provisioned = loop {
            let told = |far| progress.say(words(&archive, far));
            match connection.provision(&archive, self.replace, told).await {
                Ok(provisioned) => break provisioned,
                Err(error) if error.is_interrupted() => {
                    progress.say(format!("{name}: the connection was lost; connecting again"));
                    connection = self.reconnect(&progress).await?;
                }
                Err(error) => return Err(failure(name, error)),
            }
        };
        drop(progress);
        let Provisioned { unchanged, entries, unpacked } = provisioned;
        output.note(&match unchanged {
            true => format!("{name} runs {file} already"),
            false => format!(
                "{name} runs {file}: {} entries, {} unpacked",
                HumanCount(entries),
                BinaryBytes(unpacked)
            ),
        });
        Ok(connection)
    }

    async fn reconnect(&self, progress: &Progress) -> anyhow::Result<Connection> {
        let deadline = Deadline::after(self.connect_timeout);
        let Reached { connection, .. } = self.way.connection(deadline, progress).await?;
        Ok(connection)
    }
}

fn words(archive: &Archive, far: vault_client::provision::Progress) -> String {
    let (sent, bytes) = (BinaryBytes(far.sent), BinaryBytes(archive.bytes()));
    let (unpacked, entries) = (BinaryBytes(far.unpacked), HumanCount(far.entries));
    match far.sent < archive.bytes() {
        true => format!("{sent} of {bytes} sent; {entries} entries, {unpacked} unpacked"),
        false => {
            format!("{bytes} sent; {entries} entries, {unpacked} unpacked; waiting until it runs")
        }
    }
}

fn failure(name: &MachineName, error: ProvisionError) -> anyhow::Error {
    let ProvisionError::Refused { reason, message } = &error else { return error.into() };
    let (exit, hint) = match reason {
        ProvisionFailedReason::InUse => {
            (Exit::Conflict, Some("--replace replaces it; /root and /home stay as they are"))
        }
        ProvisionFailedReason::Busy | ProvisionFailedReason::TakenOver => (Exit::Conflict, None),
        ProvisionFailedReason::Archive => {
            (Exit::BadInput, Some("`vaultctl build rootfs` makes archives that machines take"))
        }
        ProvisionFailedReason::Boot => {
            (Exit::BadInput, Some("what the machine ran before, it runs again; its log says more"))
        }
        _ => (Exit::Platform, None),
    };
    let failure =
        Failure::new(exit, format!("{name} does not take the root filesystem: {message}"));
    match hint {
        Some(hint) => failure.hint(hint).into(),
        None => failure.into(),
    }
}
