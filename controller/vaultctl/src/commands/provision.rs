//! `vaultctl provision`

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;

use crate::cli::Globals;
use crate::error::Exit;
use crate::output::Output;
use crate::poll::{Deadline, parse_limit};
use crate::provisioning::Provisioning;
use crate::reach::{FAREWELL, MachineName, Reached, Way};

/// Give a tenant's machine its root filesystem
///
/// FILE is an archive such as `vaultctl build rootfs` makes (tar, also with gzip or zstd). The machine
/// unpacks it onto its volume while it comes, and boots it: /sbin/init, if it has one. From then on
/// commands and shells run in there, and see neither the volume nor the agent.
///
/// A machine that has a root filesystem keeps it, unless --replace is given. Then what runs in it is
/// asked to end, the new one is booted, and only when that has worked for two seconds the old one is
/// removed; if it does not, the old one is booted again. /root and /home outlive every root filesystem:
/// the first one's are kept.
///
/// Should the connection be lost, it goes on where it was, and so does the same command, given again
/// within two minutes.
///
/// EXAMPLES:
///   vaultctl build rootfs ./debian -o debian.tar.zst && vaultctl provision acme debian.tar.zst
///   vaultctl provision globex/web-1 newer.tar.zst --replace
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The tenant, if it has one machine; else TENANT/GROUP-INDEX
    #[arg(value_name = "TENANT[/GROUP-INDEX]")]
    machine: MachineName,

    /// The archive of the root filesystem
    file: PathBuf,

    /// Replace the root filesystem that the machine has
    #[arg(long)]
    replace: bool,

    /// How long to try to reach the machine, each time; 0 tries once
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = parse_limit)]
    connect_timeout: Duration,
}

/// Sends it and waits until the machine runs it.
///
/// # Errors
/// The machine cannot be reached, or does not take it.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let Args { machine, file, replace, connect_timeout } = args;
    let way = Way::new(&machine, globals)?;
    let progress = output.progress(&format!("connecting to {machine}"));
    let Reached { connection, note } =
        way.connection(Deadline::after(connect_timeout), &progress).await?;
    drop(progress);
    if let Some(note) = note {
        output.note(&note);
    }
    let provisioning = Provisioning { way: &way, path: &file, replace, connect_timeout };
    let connection = provisioning.run(connection, output).await?;
    // The last word is a courtesy.
    drop(timeout(FAREWELL, connection.leave()).await);
    Ok(Exit::Success)
}
