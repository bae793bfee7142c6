//! `vaultctl patch`

use std::path::PathBuf;

use serde_json::Value;

use crate::cli::Globals;
use crate::client::{Client, PatchForm, WriteOptions};
use crate::commands::select::each_named;
use crate::commands::{DryRun, failed, not_found};
use crate::error::{Exit, Failure, Tally};
use crate::input;
use crate::object::{Object, Reference};
use crate::output::format::{DataFormat, ObjectForm};
use crate::output::{Output, Shape};
use crate::reference;

/// Change parts of tenants or tenant classes
///
/// A merge patch holds the members that change: null removes one, a list is replaced as a whole. A
/// JSON patch is a list of operations. Both may be written as JSON or as YAML. Fields that the
/// controller does not know are refused.
///
/// EXAMPLES:
///   vaultctl patch tenant acme -p '{"spec":{"class":"big-box"}}'
///   vaultctl patch tenant/acme --type=json -p '[{"op":"remove","path":"/metadata/labels/tier"}]'
///   vaultctl patch tenant acme --patch-file change.yaml --dry-run=server
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// TYPE NAME… or TYPE/NAME…
    #[arg(required = true, value_name = "WHAT")]
    what: Vec<String>,

    /// The patch
    #[arg(short, long, value_name = "PATCH", required_unless_present = "patch_file")]
    patch: Option<String>,

    /// A file with the patch, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "patch")]
    patch_file: Option<PathBuf>,

    /// The form of the patch
    #[arg(long = "type", value_name = "FORM", default_value = "merge")]
    form: PatchForm,

    /// Say what would be done: only the controller knows, so without a mode this means server
    #[arg(
        long,
        value_name = "MODE",
        default_value = "none",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "server"
    )]
    dry_run: DryRun,

    /// Become the owner of what someone else owns
    #[arg(long)]
    take_ownership: bool,

    /// Print the objects, not what was done
    #[arg(short, long, value_name = "FORM")]
    output: Option<ObjectForm>,
}

/// Sends the patch to each object.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    if args.dry_run == DryRun::Client {
        let failure = Failure::new(Exit::BadInput, "only the controller knows what a patch does");
        return Err(failure.hint("pass --dry-run=server").into());
    }
    let patch = patch(&args)?;
    let references = each_named(reference::parse(&args.what)?.writable()?)?;
    let client = globals.client()?;
    let mut tally = Tally::default();
    let mut objects = Vec::new();
    for reference in &references {
        match one(&client, &args, &patch, reference).await {
            Ok((object, changed)) => {
                tally.done();
                if args.output.is_none() {
                    let note = if changed { "" } else { " (no change)" };
                    let suffix = args.dry_run.suffix();
                    output.line(&format!("{reference} patched{note}{suffix}"))?;
                }
                objects.push(object);
            }
            Err(error) => failed(reference, &error, output, &mut tally),
        }
    }
    if let Some(form) = args.output {
        let shape = if references.len() == 1 { Shape::One } else { Shape::Many };
        output.objects(&DataFormat::from(form), &objects, shape)?;
    }
    Ok(tally.exit())
}

async fn one(
    client: &Client,
    args: &Args,
    patch: &Value,
    reference: &Reference,
) -> anyhow::Result<(Object, bool)> {
    let Some(before) = client.find(reference).await? else {
        return Err(not_found(client, reference).await.into());
    };
    let options = WriteOptions {
        dry_run: args.dry_run == DryRun::Server,
        take_ownership: args.take_ownership,
    };
    let after = client.patch(reference, args.form, patch, options).await?;
    // A dry run keeps the version, so what was written decides.
    let written = |object: &Object| {
        ["/spec", "/metadata/labels", "/metadata/annotations", "/metadata/finalizers"]
            .map(|pointer| object.0.pointer(pointer).cloned())
    };
    let changed = written(&before) != written(&after);
    Ok((after, changed))
}

fn patch(args: &Args) -> anyhow::Result<Value> {
    let bad = |message: String| Failure::new(Exit::BadInput, message);
    let text = match (&args.patch, &args.patch_file) {
        (Some(text), _) => text.clone(),
        (None, Some(path)) => input::text(path)
            .map_err(|error| bad(format!("cannot read {}: {error}", path.display())))?,
        (None, None) => String::new(),
    };
    // JSON is YAML as well.
    let patch: Value = serde_saphyr::from_str(&text)
        .map_err(|error| bad(format!("the patch is neither JSON nor YAML: {error}")))?;
    match args.form {
        PatchForm::Merge if !patch.is_object() => {
            Err(bad("a merge patch is an object such as {\"spec\":{…}}".to_owned())
                .hint("for a list of operations pass --type=json")
                .into())
        }
        PatchForm::Json if !patch.is_array() => {
            Err(bad("a JSON patch is a list of operations".to_owned())
                .hint("for members to merge pass --type=merge")
                .into())
        }
        _ => Ok(patch),
    }
}
