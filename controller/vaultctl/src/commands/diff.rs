//! `vaultctl diff`

mod live;
mod plan;
mod text;

use std::path::PathBuf;

use crate::cli::Globals;
use crate::client::{Client, ClientError, WriteOptions};
use crate::commands::apply::{is_same, lacks_class, merged, report};
use crate::error::{Exit, Tally};
use crate::input::{self, Input, InputDocument, Var};
use crate::object::Object;
use crate::output::Output;
use crate::output::format::DataForm;
use live::Live;

/// Show what applying manifests would change
///
/// Each object as it is stored is compared with what the controller would store. With --plan it is
/// shown instead what the controller would do about it at Fly.io, for each tenant that the manifests
/// name or whose class they change; without manifests, what it is about to do for all tenants.
///
/// Exits with 0 if nothing would change, with 1 if something would, and with more than 1 after an
/// error.
///
/// EXAMPLES:
///   vaultctl diff -f manifests/
///   vaultctl diff -f manifests/ --plan
///   vaultctl diff --plan -o json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// A manifest, a folder of manifests (*.yaml, *.yml), or - for standard input; may be repeated
    #[arg(
        short = 'f',
        long = "filename",
        id = "files",
        value_name = "FILE",
        num_args = 1..,
        required_unless_present = "plan"
    )]
    files: Vec<PathBuf>,

    /// Set a var of every tenant in the input, over what its manifest says; may be repeated
    #[arg(long = "var", id = "vars", value_name = "NAME=VALUE", value_parser = input::var, requires = "files")]
    vars: Vec<Var>,

    /// Show the actions at Fly.io, not the objects
    #[arg(long)]
    plan: bool,

    /// Print the plans for programs
    #[arg(short, long, value_name = "FORM", requires = "plan")]
    output: Option<DataForm>,
}

/// Compares everything that is right, then says how it went.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let mut tally = Tally::default();
    let mut input = Input::default();
    if !args.files.is_empty() {
        input = input::read(&args.files)?;
        input.set_vars(&args.vars)?;
        input.report(output, &mut tally);
        if input.documents.is_empty() {
            return Ok(tally.exit());
        }
    }
    let client = globals.client()?;
    input.documents.sort_by_key(|document| document.reference.resource);
    let differs = if args.plan {
        plan::run(&client, &input, args.files.is_empty(), args.output, output).await?
    } else {
        objects(&client, &input, output, &mut tally).await?
    };
    Ok(match tally.exit() {
        Exit::Success if differs => Exit::Different,
        exit => exit,
    })
}

async fn objects(
    client: &Client,
    input: &Input,
    output: &mut Output,
    tally: &mut Tally,
) -> anyhow::Result<bool> {
    let new_classes = input.classes();
    let mut live = Live::read(client, &input.documents).await?;
    let mut differs = false;
    for document in &input.documents {
        match sides(client, &mut live, document, &new_classes).await {
            Ok((live, wanted)) => {
                tally.done();
                let name = document.reference.to_string();
                let diff = text::unified(&name, live.as_ref(), &wanted)?;
                differs |= !diff.is_empty();
                output.text(&text::coloured(&diff))?;
            }
            Err(error) => {
                let is_unreachable = matches!(error, ClientError::Unreachable { .. });
                report(document, &error.into(), output, tally);
                if is_unreachable {
                    // The others would only say the same.
                    break;
                }
            }
        }
    }
    Ok(differs)
}

/// The object as it is stored, and as it would be.
async fn sides(
    client: &Client,
    stored: &mut Live<'_>,
    document: &InputDocument,
    new_classes: &[String],
) -> Result<(Option<Object>, Object), ClientError> {
    let options = WriteOptions {
        dry_run: true,
        // A dry run is never refused for its owner; apply will say it.
        take_ownership: false,
    };
    let reference = &document.reference;
    let Some(live) = stored.take(reference).await? else {
        if lacks_class(client, document, new_classes).await? {
            return Ok((None, document.object.clone()));
        }
        let created = client.create(reference.resource, &document.object, options).await?;
        return Ok((None, created));
    };
    let wanted = merged(&live, &document.object);
    if is_same(&live, &wanted) {
        return Ok((Some(live.clone()), live));
    }
    // No version: whether someone writes meanwhile is no matter to a comparison.
    let mut unversioned = wanted;
    if let Some(metadata) = unversioned.0.get_mut("metadata").and_then(|one| one.as_object_mut()) {
        metadata.remove("resourceVersion");
    }
    let wanted = client.replace(reference, &unversioned, options).await?;
    Ok((Some(live), wanted))
}
