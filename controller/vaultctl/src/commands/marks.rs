//! `vaultctl label` and `vaultctl annotate`, which differ in a word.

mod change;

use serde_json::{Value, json};

use self::change::{Change, Outcome};
use crate::cli::Globals;
use crate::client::{Client, PatchForm, WriteOptions};
use crate::commands::select::references;
use crate::commands::{DryRun, failed, not_found};
use crate::error::{Exit, Failure, Tally};
use crate::object::{Object, Reference};
use crate::output::format::{DataFormat, ObjectForm};
use crate::output::table::clean;
use crate::output::{Output, Shape};
use crate::reference;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// `metadata.labels`
    Label,
    /// `metadata.annotations`
    Annotation,
}

impl Mark {
    fn member(self) -> &'static str {
        match self {
            Self::Label => "labels",
            Self::Annotation => "annotations",
        }
    }

    fn singular(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Annotation => "annotation",
        }
    }

    /// What was done, in kubectl's words.
    fn done(self, outcome: Outcome) -> &'static str {
        match (self, outcome) {
            (Self::Label, Outcome::Set) => "labeled",
            (Self::Label, Outcome::Removed) => "unlabeled",
            (Self::Label, Outcome::Unchanged) => "not labeled",
            (Self::Annotation, Outcome::Unchanged) => "not annotated",
            (Self::Annotation, _) => "annotated",
        }
    }
}

/// What both take.
#[derive(Debug, clap::Args)]
pub(crate) struct MarkArgs {
    /// TYPE NAME…, TYPE/NAME… or TYPE with --all or --selector, and then KEY=VALUE… to set and KEY-…
    /// to remove
    #[arg(required = true, value_name = "WHAT")]
    words: Vec<String>,

    /// Replace values that are there
    #[arg(long)]
    overwrite: bool,

    /// Print what there is then
    #[arg(long)]
    list: bool,

    /// Every object of the type
    #[arg(long)]
    all: bool,

    /// Every object of the type with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "all")]
    selector: Option<String>,

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

/// Reads each object, and writes what changes.
///
/// # Errors
/// Nothing is named, or what to set is no key and value.
pub(crate) async fn run(
    mark: Mark,
    args: MarkArgs,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let (what, changes) = change::split(&args.words);
    let change = Change::parse(mark, changes)?;
    if change.is_empty() && !args.list {
        let message = format!("no {} is named to set or to remove", mark.singular());
        let failure = Failure::new(Exit::BadInput, message);
        return Err(failure.hint("say KEY=VALUE, KEY- or --list").into());
    }
    let targets = reference::parse(what)?.writable()?;
    let client = globals.client()?;
    let references = references(&client, targets, args.all, args.selector.as_deref()).await?;
    if references.is_empty() {
        return Err(Failure::new(Exit::NotFound, "there is no such object").into());
    }
    let mut tally = Tally::default();
    let mut objects = Vec::new();
    for reference in &references {
        match one(&client, mark, &change, &args, reference, output).await {
            Ok(object) => {
                tally.done();
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
    mark: Mark,
    change: &Change,
    args: &MarkArgs,
    reference: &Reference,
    output: &mut Output,
) -> anyhow::Result<Object> {
    let Some(live) = client.find(reference).await? else {
        return Err(not_found(client, reference).await.into());
    };
    let before = live.texts(&format!("/metadata/{}", mark.member()));
    let (outcome, members) = change.against(mark, &before, args.overwrite)?;
    for key in change.absent(&before) {
        output.note(&format!("{reference}: {} {key:?} not found", mark.singular()));
    }
    let mut object = live.clone();
    if outcome != Outcome::Unchanged {
        let patch = json!({ "metadata": { mark.member(): members } });
        if args.dry_run == DryRun::Client {
            set(&mut object, mark, &members);
        } else {
            let options =
                WriteOptions { dry_run: args.dry_run == DryRun::Server, ..Default::default() };
            object = client.patch(reference, PatchForm::Merge, &patch, options).await?;
        }
    }
    if args.output.is_none() && !change.is_empty() {
        let suffix = args.dry_run.suffix();
        output.line(&format!("{reference} {}{suffix}", mark.done(outcome)))?;
    }
    if args.list && args.output.is_none() {
        for (key, value) in object.texts(&format!("/metadata/{}", mark.member())) {
            output.line(&clean(&format!("{key}={value}")))?;
        }
    }
    Ok(object)
}

/// What the controller would do with the patch.
fn set(object: &mut Object, mark: Mark, members: &serde_json::Map<String, Value>) {
    let kept = &mut object.0["metadata"][mark.member()];
    if kept.is_null() {
        *kept = json!({});
    }
    if let Some(kept) = kept.as_object_mut() {
        for (key, value) in members {
            if value.is_null() {
                kept.remove(key);
            } else {
                kept.insert(key.clone(), value.clone());
            }
        }
    }
}
