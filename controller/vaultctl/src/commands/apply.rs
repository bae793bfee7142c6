//! `vaultctl apply`

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::cli::Globals;
use crate::client::{Client, ClientError, WriteOptions};
use crate::commands::DryRun;
use crate::error::{Exit, Tally, describe, exit_of};
use crate::input::{self, Input, InputDocument, Var};
use crate::object::Object;
use crate::output::format::{DataFormat, ObjectForm};
use crate::output::{Output, Shape};

mod merge;
mod prune;

pub(crate) use merge::{is_same, merged};

/// How often a write is tried that someone else's write overtakes. The controller itself writes
/// status now and then; five in a row are no coincidence.
const WRITE_ATTEMPTS: usize = 5;

/// Create or change tenants and tenant classes as manifests say
///
/// All files are read first. What is wrong with them is told as FILE:LINE:COLUMN and ends with exit
/// code 2; the documents that are right are applied all the same, classes before tenants.
///
/// Labels and annotations that the manifest does not name are left alone. A tenant that someone
/// else owns (a file in the controller's folder, say) is not changed unless --take-ownership is
/// given.
///
/// --set records in each tenant (label vaultctl.dev/applied-set) which set it was applied with.
/// --prune then deletes the tenants that were applied with that set before and are in the manifests
/// no more; it deletes nothing else, and nothing at all if any document fails.
///
/// EXAMPLES:
///   vaultctl apply -f acme.yaml
///   vaultctl apply -f manifests/ --dry-run=server
///   generate-tenants | vaultctl apply -f - -o name
///   vaultctl apply -f manifests/ --set production --prune --yes
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// A manifest, a folder of manifests (*.yaml, *.yml), or - for standard input; may be repeated
    #[arg(short = 'f', long = "filename", id = "files", value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<PathBuf>,

    /// Set a var of every tenant in the input, over what its manifest says; may be repeated
    #[arg(long = "var", id = "vars", value_name = "NAME=VALUE", value_parser = input::var)]
    vars: Vec<Var>,

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

    /// Become the owner of what someone else owns
    #[arg(long)]
    take_ownership: bool,

    /// The set that the tenants are applied with
    #[arg(long, value_name = "NAME", value_parser = prune::parse_set)]
    set: Option<String>,

    /// Delete the tenants of the set that are in the manifests no more
    #[arg(long, requires = "set")]
    prune: bool,

    /// Prune even if more than half of the set goes
    #[arg(long, requires = "prune")]
    allow_mass_delete: bool,

    /// Do not ask before pruning
    #[arg(short = 'y', long, requires = "prune")]
    yes: bool,

    /// Print the objects, not what was done
    #[arg(short, long, value_name = "FORM")]
    output: Option<ObjectForm>,
}

/// Reads everything, then applies what is right.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let mut tally = Tally::default();
    let mut input = input::read(&args.files)?;
    input.set_vars(&args.vars)?;
    input.report(output, &mut tally);
    if input.documents.is_empty() {
        return Ok(tally.exit());
    }
    let client = globals.client()?;
    // Classes sort before tenants; within a kind the order of the files stays.
    input.documents.sort_by_key(|document| document.reference.resource);
    let shape = match input.documents.len() {
        1 => Shape::One,
        _ => Shape::Many,
    };
    if let Some(set) = &args.set {
        prune::mark(&mut input.documents, set);
    }
    let superfluous = superfluous(&client, &args, &input, output, &tally).await?;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let applied = apply_all(&client, &args, &input, &mut counts, output, &mut tally).await?;
    if let Some(form) = args.output {
        output.objects(&DataFormat::from(form), &applied, shape)?;
    }
    if let (false, Some(set)) = (superfluous.is_empty(), &args.set) {
        if tally.failures() > 0 {
            output.note("Nothing is pruned, because not everything was applied.");
        } else {
            let mode = (args.dry_run, args.output.is_some());
            let pruned = prune::prune(&client, set, &superfluous, mode, output, &mut tally).await?;
            counts.insert("pruned", pruned);
        }
    }
    if shape == Shape::Many {
        output.note(&summary(&counts, tally.failures()));
    }
    Ok(tally.exit())
}

/// What is to be pruned, agreed to by whoever sits there; before anything is written.
async fn superfluous(
    client: &Client,
    args: &Args,
    input: &Input,
    output: &mut Output,
    tally: &Tally,
) -> anyhow::Result<Vec<Object>> {
    let Some(set) = args.set.as_ref().filter(|_| args.prune) else {
        return Ok(Vec::new());
    };
    if tally.failures() > 0 {
        output.note("Nothing is pruned, because not all documents can be used.");
        return Ok(Vec::new());
    }
    let documents = &input.documents;
    let tenants = prune::superfluous(client, set, documents, args.allow_mass_delete).await?;
    prune::confirm(&tenants, args.yes || args.dry_run != DryRun::None, output)?;
    Ok(tenants)
}

async fn apply_all(
    client: &Client,
    args: &Args,
    input: &Input,
    counts: &mut BTreeMap<&str, usize>,
    output: &mut Output,
    tally: &mut Tally,
) -> anyhow::Result<Vec<Object>> {
    let new_classes = input.classes();
    let mut applied = Vec::new();
    for document in &input.documents {
        match apply(client, document, args, &new_classes).await {
            Ok((verb, object)) => {
                tally.done();
                *counts.entry(verb.word()).or_default() += 1;
                if args.output.is_none() {
                    let suffix = args.dry_run.suffix();
                    output.line(&format!("{} {}{suffix}", document.reference, verb.word()))?;
                }
                applied.push(object);
            }
            Err(error) => {
                let is_unreachable =
                    matches!(error.downcast_ref(), Some(ClientError::Unreachable { .. }));
                report(document, &error, output, tally);
                if is_unreachable {
                    // The others would only say the same.
                    break;
                }
            }
        }
    }
    Ok(applied)
}

/// Says why a document was not accepted, in its file's terms where the controller names fields.
pub(crate) fn report(
    document: &InputDocument,
    error: &anyhow::Error,
    output: &mut Output,
    tally: &mut Tally,
) {
    let causes = match error.downcast_ref::<ClientError>() {
        Some(ClientError::Refused(status)) => {
            status.details.as_ref().map(|details| details.causes.as_slice())
        }
        _ => None,
    };
    match causes {
        Some(causes) if !causes.is_empty() => {
            for cause in causes {
                output.note(&document.located(&cause.field, &cause.message));
            }
        }
        _ => {
            let text = describe(error);
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            output.note(&format!("error: {}: {text}", document.reference));
        }
    }
    tally.failed(exit_of(error));
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Created,
    Configured,
    Unchanged,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Looks, merges, writes; looks again if someone else wrote meanwhile.
async fn apply(
    client: &Client,
    document: &InputDocument,
    args: &Args,
    new_classes: &[String],
) -> anyhow::Result<(Verb, Object)> {
    let options = WriteOptions {
        dry_run: args.dry_run == DryRun::Server,
        take_ownership: args.take_ownership,
    };
    let mut live = client.find(&document.reference).await?;
    if let Some(live) = &live {
        prune::check_set(live, document, args.take_ownership)?;
    }
    for _ in 1..WRITE_ATTEMPTS {
        match attempt(client, document, live.as_ref(), args.dry_run, options, new_classes).await {
            Err(error) if matches!(error.code(), Some(409)) => {
                let newer = client.find(&document.reference).await?;
                if version(newer.as_ref()) == version(live.as_ref()) {
                    // Nobody overtook us: the controller refuses for another reason, and says it.
                    return Err(error.into());
                }
                live = newer;
            }
            other => return Ok(other?),
        }
    }
    Ok(attempt(client, document, live.as_ref(), args.dry_run, options, new_classes).await?)
}

async fn attempt(
    client: &Client,
    document: &InputDocument,
    live: Option<&Object>,
    dry_run: DryRun,
    options: WriteOptions,
    new_classes: &[String],
) -> Result<(Verb, Object), ClientError> {
    let Some(live) = live else {
        let object = &document.object;
        // A class that is created in the same dry run is not there for the controller to see.
        let unseen = options.dry_run && lacks_class(client, document, new_classes).await?;
        if dry_run == DryRun::Client || unseen {
            return Ok((Verb::Created, object.clone()));
        }
        let created = client.create(document.reference.resource, object, options).await?;
        return Ok((Verb::Created, created));
    };
    let wanted = merged(live, &document.object);
    if is_same(live, &wanted) && !live.is_being_deleted() && !must_take(live, options) {
        return Ok((Verb::Unchanged, live.clone()));
    }
    if dry_run == DryRun::Client {
        return Ok((Verb::Configured, wanted));
    }
    let replaced = client.replace(&document.reference, &wanted, options).await?;
    Ok((Verb::Configured, replaced))
}

/// Whether a tenant's class is among the input but not known to the controller yet.
pub(crate) async fn lacks_class(
    client: &Client,
    document: &InputDocument,
    new_classes: &[String],
) -> Result<bool, ClientError> {
    let Some(class) = document.class().filter(|class| new_classes.contains(&class.name)) else {
        return Ok(false);
    };
    Ok(client.find(&class).await?.is_none())
}

/// Whether ownership is asked for that is not ours yet, as far as the object says.
fn must_take(live: &Object, options: WriteOptions) -> bool {
    options.take_ownership && live.text("/status/source") != Some("API")
}

fn version(object: Option<&Object>) -> Option<&str> {
    object?.text("/metadata/resourceVersion")
}

fn summary(counts: &BTreeMap<&str, usize>, failures: usize) -> String {
    let mut parts: Vec<String> =
        counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    if failures > 0 {
        parts.push(format!("{failures} failed"));
    }
    parts.join(", ")
}
