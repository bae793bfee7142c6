//! `vaultctl create` and `vaultctl replace`, which insist on what `apply` finds out by itself.

use std::path::PathBuf;

use crate::cli::Globals;
use crate::client::{Client, WriteOptions};
use crate::commands::DryRun;
use crate::commands::apply::report;
use crate::error::{Exit, Tally};
use crate::input::{self, InputDocument};
use crate::object::Object;
use crate::output::format::{DataFormat, ObjectForm};
use crate::output::{Output, Shape};

/// Create tenants and tenant classes that are not there yet
///
/// An object that is there already is a conflict; `apply` creates or changes.
///
/// EXAMPLES:
///   vaultctl create -f acme.yaml
///   vaultctl create -f manifests/ --dry-run=server
///   generate-tenants | vaultctl create -f - -o name
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(flatten)]
    common: FileArgs,
}

/// Replace tenants and tenant classes that are there
///
/// Spec, labels and annotations become what the manifest says, and nothing else: what it does not
/// name goes. If the manifest has a resourceVersion, the object must still be of that version.
///
/// EXAMPLES:
///   vaultctl replace -f acme.yaml
///   vaultctl get tenant acme -o yaml | sed 's/dev-box/big-box/' | vaultctl replace -f -
///   vaultctl replace -f acme.yaml --take-ownership
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ReplaceArgs {
    #[command(flatten)]
    common: FileArgs,

    /// Become the owner of what someone else owns
    #[arg(long)]
    take_ownership: bool,
}

/// What both take.
#[derive(Debug, clap::Args)]
struct FileArgs {
    /// A manifest, a folder of manifests (*.yaml, *.yml), or - for standard input; may be repeated
    #[arg(
        short = 'f', long = "filename", id = "files", value_name = "FILE", required = true,
        num_args = 1..
    )]
    files: Vec<PathBuf>,

    /// Say what would be done
    #[arg(
        long,
        value_name = "MODE",
        default_value = "none",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "client"
    )]
    dry_run: DryRun,

    /// Print the objects, not what was done
    #[arg(short, long, value_name = "FORM")]
    output: Option<ObjectForm>,
}

/// Creates.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    write(args.common, None, globals, output).await
}

/// Replaces.
pub(crate) async fn run_replace(
    args: ReplaceArgs,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    write(args.common, Some(args.take_ownership), globals, output).await
}

/// Creates every document, or, with `replace` (whether to take ownership), replaces it.
async fn write(
    args: FileArgs,
    replace: Option<bool>,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let mut tally = Tally::default();
    let mut input = input::read(&args.files)?;
    input.report(output, &mut tally);
    if input.documents.is_empty() {
        return Ok(tally.exit());
    }
    let client = globals.client()?;
    // Classes sort before tenants; within a kind the order of the files stays.
    input.documents.sort_by_key(|document| document.reference.resource);
    let shape = if input.documents.len() == 1 { Shape::One } else { Shape::Many };
    let word = if replace.is_some() { "replaced" } else { "created" };
    let mut written = Vec::new();
    for document in &input.documents {
        match one(&client, document, args.dry_run, replace).await {
            Ok(object) => {
                tally.done();
                if args.output.is_none() {
                    let suffix = args.dry_run.suffix();
                    output.line(&format!("{} {word}{suffix}", document.reference))?;
                }
                written.push(object);
            }
            Err(error) => report(document, &error, output, &mut tally),
        }
    }
    if let Some(form) = args.output {
        output.objects(&DataFormat::from(form), &written, shape)?;
    }
    Ok(tally.exit())
}

async fn one(
    client: &Client,
    document: &InputDocument,
    dry_run: DryRun,
    replace: Option<bool>,
) -> anyhow::Result<Object> {
    if dry_run == DryRun::Client {
        return Ok(document.object.clone());
    }
    let options =
        WriteOptions { dry_run: dry_run == DryRun::Server, take_ownership: replace == Some(true) };
    let reference = &document.reference;
    Ok(match replace {
        Some(_) => client.replace(reference, &document.object, options).await?,
        None => client.create(reference.resource, &document.object, options).await?,
    })
}
