//! `vaultctl delete`

use std::path::PathBuf;
use std::time::Duration;

use clap::ArgAction;
use vault_api::status::VolumeStatus;
use vault_api::tenant::DeletionPolicy;

use crate::cli::Globals;
use crate::client::{CHUNK_SIZE, Client, Deletion, Selection};
use crate::commands::{DryRun, failed, not_found, select};
use crate::error::{Exit, Failure, Tally, describe};
use crate::input;
use crate::object::{Object, Reference, Resource};
use crate::output::Output;
use crate::poll::{Deadline, Pauses, parse_limit};
use crate::reference::{self, Targets};

/// Delete tenants or tenant classes
///
/// A tenant's machines are removed. What becomes of its volumes, its manifest says with
/// deletionPolicy: they are kept, or go after a grace period, in which `vaultctl undelete` brings
/// all of it back. A tenant whose manifest still lies in the controller's folder cannot be deleted:
/// remove the file first.
///
/// On a terminal you are asked first; elsewhere pass --yes. Where --all or a selector means more
/// than three tenants and more than a fifth of them, pass --allow-mass-delete too.
///
/// EXAMPLES:
///   vaultctl delete tenant acme
///   vaultctl delete tenant/acme tenant/umbra --yes --timeout=10m
///   vaultctl delete -f manifests/ --yes --ignore-not-found
///   vaultctl delete tenant acme --dry-run=server
///   vaultctl delete tenants -l tier=trial --yes
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// TYPE NAME…, TYPE/NAME…, or TYPE with --all or --selector
    #[arg(required_unless_present = "files", conflicts_with = "files", value_name = "WHAT")]
    what: Vec<String>,

    /// Delete what these manifests name: files, folders, or - for standard input
    #[arg(short = 'f', long = "filename", id = "files", value_name = "FILE", num_args = 1..)]
    files: Vec<PathBuf>,

    /// Delete every object of the type
    #[arg(long, conflicts_with = "files")]
    all: bool,

    /// Delete the objects with these labels: key=value, key!=value, key, !key, 'key in (a,b)'; all
    /// of them must hold
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with_all = ["all", "files"])]
    selector: Option<String>,

    /// Let --all or a selector delete more than three tenants and more than a fifth of them
    #[arg(long)]
    allow_mass_delete: bool,

    /// Say what would be deleted
    #[arg(
        long,
        value_name = "MODE",
        default_value = "none",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "client"
    )]
    dry_run: DryRun,

    /// Do not ask
    #[arg(short = 'y', long)]
    yes: bool,

    /// Wait until the objects are gone
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    wait: bool,

    /// How long to wait
    #[arg(long, value_name = "SPAN", default_value = "5m", value_parser = parse_limit)]
    timeout: Duration,

    /// It is no error if an object is not there
    #[arg(long)]
    ignore_not_found: bool,
}

/// Looks, asks, deletes, waits.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let mut tally = Tally::default();
    let named = named(&args, output, &mut tally)?;
    let client = globals.client()?;
    let references = references(&args, named, &client).await?;
    if references.is_empty() && tally.failures() == 0 {
        output.note("There is no such object; nothing was deleted.");
    }
    let mut present = Vec::new();
    for reference in references {
        match client.find(&reference).await? {
            Some(object) => present.push((reference, object)),
            None if args.ignore_not_found => {}
            None => {
                output.note(&describe(&not_found(&client, &reference).await.into()));
                tally.failed(Exit::NotFound);
            }
        }
    }
    if present.is_empty() {
        return Ok(tally.exit());
    }
    if args.dry_run == DryRun::None && !args.yes {
        confirm(&present, output)?;
    }
    let deadline = Deadline::after(args.timeout);
    // A class that is in use cannot go, and a tenant that is going still uses its class.
    let is_tenant = |(reference, _): &(Reference, Object)| reference.resource == Resource::Tenant;
    let (tenants, classes): (Vec<_>, Vec<_>) = present.into_iter().partition(is_tenant);
    for group in [tenants, classes] {
        remove(&client, &args, group, deadline, output, &mut tally).await?;
    }
    Ok(tally.exit())
}

/// Deletes all of them, then waits for each.
async fn remove(
    client: &Client,
    args: &Args,
    present: Vec<(Reference, Object)>,
    deadline: Deadline,
    output: &mut Output,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let mut going = Vec::new();
    for (reference, object) in present {
        match delete(client, args, &reference).await {
            Ok(true) => going.push((reference, object)),
            Ok(false) => {
                deleted(&reference, &object, args.dry_run, output)?;
                tally.done();
            }
            Err(error) => failed(&reference, &error, output, tally),
        }
    }
    for (reference, object) in going {
        if !args.wait {
            output.line(&format!("{reference} deleting"))?;
            tally.done();
            continue;
        }
        match until_gone(client, &reference, deadline, output).await {
            Ok(()) => {
                deleted(&reference, &object, args.dry_run, output)?;
                tally.done();
            }
            Err(error) => failed(&reference, &error, output, tally),
        }
    }
    Ok(())
}

/// What the command line names.
enum Named {
    /// By its words, of which a type alone is for the controller to list.
    Chosen(Targets),
    /// By manifests.
    Read(Vec<Reference>),
}

fn named(args: &Args, output: &mut Output, tally: &mut Tally) -> anyhow::Result<Named> {
    if args.files.is_empty() {
        return Ok(Named::Chosen(reference::parse(&args.what)?.writable()?));
    }
    let input = input::read(&args.files)?;
    input.report(output, tally);
    let references = input.documents.iter().map(|document| document.reference.clone());
    Ok(Named::Read(references.collect()))
}

/// Each object once, and tenants first, because a class that is in use cannot go.
async fn references(args: &Args, named: Named, client: &Client) -> anyhow::Result<Vec<Reference>> {
    let (mut references, is_chosen) = match named {
        Named::Read(references) => (references, false),
        Named::Chosen(targets) => {
            let is_chosen = matches!(targets, Targets::Every(_));
            let selector = args.selector.as_deref();
            (select::references(client, targets, args.all, selector).await?, is_chosen)
        }
    };
    references.sort_by_key(|reference| reference.resource != Resource::Tenant);
    let mut seen = std::collections::HashSet::new();
    references.retain(|reference| seen.insert(reference.clone()));
    if is_chosen && !args.allow_mass_delete && args.dry_run == DryRun::None {
        let is_tenant = |reference: &&Reference| reference.resource == Resource::Tenant;
        refuse_mass(client, references.iter().filter(is_tenant).count()).await?;
    }
    Ok(references)
}

/// So many tenants may be chosen together whatever their share is.
const MASS_MIN: usize = 3;

/// The share of all tenants that may be chosen together, in percent: as the controller's own limit
/// for its folder.
const MASS_PERCENT: usize = 20;

/// A selector that means more than was thought is told from one that was meant.
async fn refuse_mass(client: &Client, count: usize) -> anyhow::Result<()> {
    if count <= MASS_MIN {
        return Ok(());
    }
    let all = client.select(Resource::Tenant, &Selection::labelled(None), CHUNK_SIZE).await?;
    let all = all.items.len();
    if count <= all * MASS_PERCENT / 100 {
        return Ok(());
    }
    let message = format!("{count} of {all} tenants would be deleted");
    let failure = Failure::new(Exit::BadInput, message);
    Err(failure.hint("pass --allow-mass-delete if that is meant; nothing was done").into())
}

fn confirm(present: &[(Reference, Object)], output: &mut Output) -> anyhow::Result<()> {
    if !output.can_ask() {
        let failure = Failure::new(Exit::BadInput, "there is no terminal to ask on");
        return Err(failure.hint("pass --yes to delete without being asked").into());
    }
    for (reference, object) in present {
        let machines = object.tenant_status().map_or(0, |status| status.machines.len());
        output.note(&match reference.resource {
            Resource::Tenant => {
                let volumes = volumes(object);
                let stays =
                    |volume: &&VolumeStatus| volume.deletion_policy == DeletionPolicy::Retain;
                let stay = volumes.iter().filter(stays).count();
                let go = volumes.len() - stay;
                let later = match go {
                    0 => String::new(),
                    go => format!(", {go} volume(s) go after their grace period"),
                };
                format!("{reference}: {machines} machine(s) go, {stay} volume(s) stay{later}")
            }
            Resource::TenantClass | Resource::Event => format!("{reference}"),
        });
    }
    let answer = output.ask("Delete? [y/N]")?;
    if matches!(answer.to_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure::new(Exit::BadInput, "nothing was deleted").into())
}

/// Asks for the deletion; `true` if it goes on for a while.
async fn delete(client: &Client, args: &Args, reference: &Reference) -> anyhow::Result<bool> {
    if args.dry_run == DryRun::Client {
        return Ok(false);
    }
    match client.delete(reference, None, args.dry_run == DryRun::Server).await {
        Ok(Deletion::Pending) => Ok(args.dry_run == DryRun::None),
        Ok(Deletion::Gone) => Ok(false),
        // Someone else was faster, and that is what we wanted.
        Err(error) if error.code() == Some(404) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn until_gone(
    client: &Client,
    reference: &Reference,
    deadline: Deadline,
    output: &Output,
) -> anyhow::Result<()> {
    let progress = output.progress(&format!("{reference}: its machines are being removed"));
    let mut pauses = Pauses::new();
    loop {
        let state = match client.find(reference).await? {
            // Not being deleted means that someone has created it anew.
            Some(object) if object.is_being_deleted() => waiting_for(&object),
            _ => return Ok(()),
        };
        progress.say(format!("{reference}: {state}"));
        if !pauses.pause(deadline).await {
            return Err(Failure::new(
                Exit::Timeout,
                format!("timed out waiting for its deletion: {state}; it goes on by itself"),
            )
            .into());
        }
    }
}

fn waiting_for(object: &Object) -> String {
    let status = object.tenant_status().unwrap_or_default();
    if let Some(deletion) = status.deletion {
        return deletion.message;
    }
    let machines = status.machines.len();
    match machines {
        0 => "it is still there".to_owned(),
        1 => "1 machine is still there".to_owned(),
        many => format!("{many} machines are still there"),
    }
}

fn deleted(
    reference: &Reference,
    object: &Object,
    dry_run: DryRun,
    output: &mut Output,
) -> anyhow::Result<()> {
    output.line(&format!("{reference} deleted{}", dry_run.suffix()))?;
    for volume in volumes(object) {
        let VolumeStatus { name, template, size_gb, machine, .. } = &volume;
        let what = format!("volume {name} ({template}, {size_gb} GB, of {machine})");
        output.note(&match volume.deletion_policy {
            DeletionPolicy::Retain => format!("{reference} keeps {what}"),
            DeletionPolicy::Snapshot | DeletionPolicy::Delete => format!(
                "{reference}: {what} goes after its grace period; `vaultctl undelete {}` takes it \
                 back",
                reference.name
            ),
        });
    }
    Ok(())
}

/// The volumes that exist.
fn volumes(object: &Object) -> Vec<VolumeStatus> {
    let status = object.tenant_status().unwrap_or_default();
    status.volumes.into_iter().filter(|volume| volume.id.is_some()).collect()
}
