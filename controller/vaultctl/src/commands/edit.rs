//! `vaultctl edit`
//!
//! ```text
//!   object ──▶ file (0600) ──▶ editor ──▶ what changed, as a merge patch ──▶ controller
//!                 ▲                             │ no YAML, or refused          │
//!                 └──── the reason as comments ─┴──────────────────────────────┘
//! ```

mod draft;

use serde_json::{Map, Value};

use self::draft::{Draft, without_comments};
use crate::cli::Globals;
use crate::client::{Client, ClientError, PatchForm, WriteOptions};
use crate::commands::select::each_named;
use crate::commands::{failed, not_found};
use crate::error::{Exit, Failure, Tally};
use crate::object::{Object, Reference};
use crate::output::format::DataForm;
use crate::output::{Output, json, yaml};
use crate::reference;

/// Change tenants and tenant classes in an editor
///
/// The editor is KUBE_EDITOR, VAULTCTL_EDITOR, VISUAL or EDITOR, the first that is set, else vi. What
/// is refused is opened again with the reason above it. Only what you change is sent, so changes
/// that others make meanwhile to other fields stay. The status is not shown: it is the controller's.
///
/// EXAMPLES:
///   vaultctl edit tenant acme
///   vaultctl edit tenant/acme tenantclass/dev-box
///   EDITOR='code --wait' vaultctl edit tenant acme -o json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// TYPE NAME… or TYPE/NAME…
    #[arg(required = true, value_name = "WHAT")]
    what: Vec<String>,

    /// The form of the file
    #[arg(short, long, value_name = "FORM", default_value = "yaml")]
    output: DataForm,

    /// Become the owner of what someone else owns
    #[arg(long)]
    take_ownership: bool,
}

/// The names of the variables that name an editor, in order.
const EDITORS: [&str; 4] = ["KUBE_EDITOR", "VAULTCTL_EDITOR", "VISUAL", "EDITOR"];

/// Edits one object after the other.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let references = each_named(reference::parse(&args.what)?.writable()?)?;
    let client = globals.client()?;
    let set = |name: &&str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let editor = EDITORS.iter().find_map(set).unwrap_or_else(|| "vi".to_owned());
    let mut tally = Tally::default();
    for reference in &references {
        match edit(&client, &args, &editor, reference, output).await {
            Ok(()) => tally.done(),
            Err(error) => failed(reference, &error, output, &mut tally),
        }
    }
    Ok(tally.exit())
}

async fn edit(
    client: &Client,
    args: &Args,
    editor: &str,
    reference: &Reference,
    output: &mut Output,
) -> anyhow::Result<()> {
    let Some(live) = client.find(reference).await? else {
        return Err(not_found(client, reference).await.into());
    };
    let original = editable(&live);
    let (mut text, suffix) = match args.output {
        DataForm::Json => (json(&original)?, ".json"),
        DataForm::Yaml => (yaml(&original)?, ".yaml"),
    };
    let mut reasons: Vec<String> = Vec::new();
    loop {
        let draft = Draft::write(suffix, &reasons, &text)?;
        let edited = match draft.open(editor).and_then(|()| draft.read()) {
            Ok(edited) => without_comments(&edited),
            Err(error) => {
                // An editor that fails may have saved before, and what was refused stands in no
                // other place than this file.
                if draft.is_worth_keeping(!reasons.is_empty()) {
                    keep(draft, output);
                }
                return Err(error);
            }
        };
        if edited.trim().is_empty() {
            output.note("Edit cancelled, saved file was empty.");
            return Ok(());
        }
        if edited == text {
            if reasons.is_empty() {
                output.note("Edit cancelled, no changes made.");
                return Ok(());
            }
            keep(draft, output);
            let why = reasons.join("; ");
            let message = format!("edit cancelled, no valid changes were saved: {why}");
            return Err(Failure::new(Exit::BadInput, message).into());
        }
        match send(client, args, reference, &original, &edited).await {
            Ok(true) => {
                output.line(&format!("{reference} edited"))?;
                return Ok(());
            }
            Ok(false) => {
                output.note("Edit cancelled, no changes made.");
                return Ok(());
            }
            Err(Refused::Again(why)) => {
                (reasons, text) = (why, edited);
            }
            Err(Refused::Failed(error)) => {
                keep(draft, output);
                return Err(error);
            }
        }
    }
}

/// Why what was edited has not been written.
enum Refused {
    /// It is wrong, and can be mended.
    Again(Vec<String>),
    /// It has nothing to do with what was edited.
    Failed(anyhow::Error),
}

/// Sends what changed; `false` if nothing did.
async fn send(
    client: &Client,
    args: &Args,
    reference: &Reference,
    original: &Value,
    edited: &str,
) -> Result<bool, Refused> {
    let again = |why: String| Refused::Again(vec![why]);
    let edited: Value = serde_saphyr::from_str(edited)
        .map_err(|error| again(format!("it cannot be read: {error}")))?;
    for pointer in ["/apiVersion", "/kind", "/metadata/name"] {
        if edited.pointer(pointer) != original.pointer(pointer) {
            return Err(again("apiVersion, kind and name cannot be changed".to_owned()));
        }
    }
    let patch = difference(original, &edited);
    if patch.as_object().is_some_and(Map::is_empty) {
        return Ok(false);
    }
    let options = WriteOptions { dry_run: false, take_ownership: args.take_ownership };
    match client.patch(reference, PatchForm::Merge, &patch, options).await {
        Ok(_) => Ok(true),
        Err(ClientError::Refused(status)) if matches!(status.code, 400 | 422) => {
            let causes = status.details.map(|details| details.causes).unwrap_or_default();
            let causes: Vec<String> =
                causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
            Err(Refused::Again(if causes.is_empty() { vec![status.message] } else { causes }))
        }
        Err(error) => Err(Refused::Failed(error.into())),
    }
}

fn keep(draft: Draft, output: &mut Output) {
    match draft.keep() {
        Ok(path) => output.note(&format!("Your changes are kept in {}", path.display())),
        Err(error) => output.note(&format!("Your changes could not be kept: {error}")),
    }
}

/// What people may change of an object.
fn editable(live: &Object) -> Value {
    let mut value = live.0.clone();
    if let Some(members) = value.as_object_mut() {
        members.remove("status");
        if let Some(metadata) = members.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    }
    value
}

/// The merge patch that makes `after` of `before`.
fn difference(before: &Value, after: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return after.clone();
    };
    let mut patch = Map::new();
    for (key, value) in after {
        match before.get(key) {
            Some(same) if same == value => {}
            Some(old) if old.is_object() && value.is_object() => {
                patch.insert(key.clone(), difference(old, value));
            }
            _ => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_changed_is_sent() {
        let before = json!({ "a": 1, "b": { "c": [1], "d": 2 }, "e": 3 });
        let after = json!({ "a": 1, "b": { "c": [1, 2], "d": 2, "f": {} } });
        assert_eq!(
            difference(&before, &after),
            json!({ "b": { "c": [1, 2], "f": {} }, "e": null })
        );
        assert_eq!(difference(&before, &before), json!({}));
        assert_eq!(difference(&json!({ "a": {} }), &json!({ "a": 1 })), json!({ "a": 1 }));
    }
}
