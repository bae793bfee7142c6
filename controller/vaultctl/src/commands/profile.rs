//! `vaultctl profile`

use std::path::PathBuf;

use clap::Subcommand;

use crate::cli::Globals;
use crate::client::Client;
use crate::error::{Exit, Failure};
use crate::output::{Output, table};
use crate::profile::{Origin, Pin, Profile, Profiles};
use crate::reach::{self, MachineName};

/// Keep machines that can be reached without a controller
///
/// A profile is all that it takes to reach one machine: its address, what it has to prove that it
/// is, and a token that proves us to it. `connect`, `exec` and `forward` look for a profile of the
/// name that they are given, and ask the controller only if there is none, or if the profile leads
/// nowhere any more; then they refresh it.
///
/// Profiles are the tables [vault.NAME] of ~/.config/vaultctl/config.toml, or of the file that
/// VAULTCTL_PROFILES names. They may be written by hand, and the file has to be its owner's alone:
/// whoever has a profile's access_token can use that machine.
///
/// EXAMPLES:
///   vaultctl profile add acme
///   vaultctl profile add globex/web-1 --pin image
///   vaultctl profile list
///   vaultctl profile remove acme
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Add(AddArgs),
    /// Print the profiles, without their tokens
    List,
    Remove(RemoveArgs),
}

/// Write a profile of a machine as the controller knows it now
///
/// A profile of the same name is replaced, but for what it forwards and its root filesystem.
///
/// EXAMPLES:
///   vaultctl profile add acme
///   vaultctl profile add globex/web-1 --pin image
///   vaultctl profile add acme --rootfs debian.tar.zst
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct AddArgs {
    /// The tenant, if it has one machine; else TENANT/GROUP-INDEX. It is the profile's name, too
    #[arg(value_name = "TENANT[/GROUP-INDEX]")]
    machine: MachineName,

    /// What the machine is to be known by
    #[arg(long, value_enum, default_value_t = Pin::Version)]
    pin: Pin,

    /// The archive of the root filesystem that the machine gets if it has none when it is used
    #[arg(long, value_name = "FILE")]
    rootfs: Option<PathBuf>,
}

/// Remove a profile
///
/// EXAMPLES:
///   vaultctl profile remove acme
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
struct RemoveArgs {
    /// The profile
    #[arg(value_name = "NAME")]
    name: String,
}

/// Shows or changes.
///
/// # Errors
/// The file cannot be read or written, the controller does not know the machine, or there is no such
/// profile.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    match args.command {
        Command::Add(args) => add(args, globals, output).await,
        Command::List => list(output),
        Command::Remove(args) => remove(&args, output),
    }
}

async fn add(args: AddArgs, globals: &Globals, output: &mut Output) -> anyhow::Result<Exit> {
    let AddArgs { machine, pin, rootfs } = args;
    // Wherever it is used from later.
    let rootfs = rootfs.map(std::path::absolute).transpose()?;
    // Before anything is asked for, because it holds a credential.
    let mut profiles = Profiles::load()?;
    let context = globals.context()?;
    let controller = Client::new(&context)?;
    let status = reach::place(&controller, &machine).await?;
    let name = machine.to_string();
    let origin = Origin { context: context.name, tenant: name.clone() };
    let profile = Profile::new(&status, pin, origin).ok_or_else(|| match pin {
        Pin::Image if status.evidence.image_digests.is_empty() => Failure::new(
            Exit::BadInput,
            format!("the image of {machine} is not known by its digest"),
        )
        .hint("name it by its digest in the manifest (IMAGE@sha256:…), or leave --pin image out"),
        _ => Failure::new(Exit::Platform, "the controller's answer is not understood")
            .hint("is the controller newer than this vaultctl?"),
    })?;
    let (profile, verb) = match profiles.get(&name) {
        None => (Profile { rootfs, ..profile }, "added"),
        Some(known) => {
            let rootfs = rootfs.or_else(|| known.rootfs.clone());
            (Profile { forward: known.forward.clone(), rootfs, ..profile }, "replaced")
        }
    };
    profiles.put(&name, profile)?;
    output.line(&format!("profile {name} {verb} in {}", profiles.path().display()))?;
    Ok(Exit::Success)
}

fn list(output: &mut Output) -> anyhow::Result<Exit> {
    let profiles = Profiles::load()?;
    let mut rows = Vec::new();
    for (name, profile) in profiles.iter() {
        let Profile { address, org, app, machine_id, versions, digests, .. } = profile;
        let known_by = [versions.as_slice(), digests].concat().join(",");
        let cells = [name, &address.to_string(), org, app, machine_id, &known_by];
        rows.push(cells.map(str::to_owned).to_vec());
    }
    if rows.is_empty() {
        output.note(&format!("no profiles in {}", profiles.path().display()));
        return Ok(Exit::Success);
    }
    let head = ["NAME", "ADDRESS", "ORG", "APP", "MACHINE", "KNOWN BY"];
    output.text(&table::render(&head, &rows))?;
    Ok(Exit::Success)
}

fn remove(args: &RemoveArgs, output: &mut Output) -> anyhow::Result<Exit> {
    let mut profiles = Profiles::load()?;
    if !profiles.remove(&args.name)? {
        let message = format!("no profile {:?} in {}", args.name, profiles.path().display());
        return Err(Failure::new(Exit::NotFound, message).into());
    }
    output.line(&format!("profile {} removed", args.name))?;
    Ok(Exit::Success)
}
