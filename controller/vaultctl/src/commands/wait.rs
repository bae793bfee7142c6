//! `vaultctl wait`

use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;

use crate::cli::Globals;
use crate::client::{Client, Selection};
use crate::commands::not_found;
use crate::commands::select::references;
use crate::error::{Exit, Failure, describe, exit_of};
use crate::follow::{Change, Follow};
use crate::object::{Object, Reference, condition_text};
use crate::output::jsonpath::{self, Template};
use crate::output::{Output, Progress};
use crate::poll::{Deadline, parse_limit};
use crate::reference;

/// Wait until tenants are as wanted
///
/// Each object is waited for in turn, all of them within the same time. A condition counts only if
/// it was said about the current spec, so waiting right after `apply` is safe. An object that is not
/// as wanted in time, or not there, is named, and does not keep the others from being looked at.
///
/// EXAMPLES:
///   vaultctl wait tenant/acme
///   vaultctl wait --for=condition=Ready --all tenants --timeout=10m
///   vaultctl wait --for=condition=Degraded=False tenant acme umbra
///   vaultctl wait --for=delete tenant/acme
///   vaultctl wait --for=jsonpath='{.status.machines[0].state}'=started tenant/acme
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// TYPE/NAME…, TYPE NAME…, or TYPE with --all or --selector
    #[arg(required = true, value_name = "WHAT")]
    what: Vec<String>,

    /// What to wait for: condition=TYPE, condition=TYPE=VALUE, create, delete, jsonpath={PATH} or
    /// jsonpath={PATH}=VALUE
    #[arg(long = "for", value_name = "WHAT", default_value = "condition=Ready")]
    goal: Goal,

    /// Every object of the type
    #[arg(long)]
    all: bool,

    /// Every object of the type with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "all")]
    selector: Option<String>,

    /// How long to wait; 0 looks once
    #[arg(long, value_name = "SPAN", default_value = "5m", value_parser = parse_limit)]
    timeout: Duration,
}

/// How long the first look may take though there is less time to wait: with a limit of 0 there is
/// still one look, and a controller that is there at all has connected by then.
const FIRST_LOOK: Duration = Duration::from_secs(10);

/// What to wait for.
#[derive(Clone, Debug)]
enum Goal {
    Condition { kind: String, status: String },
    Create,
    Delete,
    JsonPath { text: String, template: Template, value: Option<String> },
}

/// What one look at an object says.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Met,
    NotYet(String),
    Missing,
}

/// Waits for each object in turn.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let targets = reference::parse(&args.what)?;
    let client = globals.client()?;
    let deadline = Deadline::after(args.timeout);
    let references = references(&client, targets, args.all, args.selector.as_deref()).await?;
    if references.is_empty() && !matches!(args.goal, Goal::Delete) {
        return Err(Failure::new(Exit::NotFound, "there is no such object to wait for").into());
    }
    let mut exit = Exit::Success;
    for reference in &references {
        let progress = output.progress(&format!("{reference}: waiting for {}", args.goal.noun()));
        let ended = until(&client, reference, &args.goal, deadline, &progress).await;
        drop(progress);
        match ended {
            Ok(()) => output.line(&format!("{reference} {}", args.goal.done()))?,
            // The others may be as wanted all the same; who waits for many wants to know which.
            Err(error) if references.len() > 1 && !is_about_all(&error) => {
                output.note(&describe(&error));
                exit = if exit == Exit::Success { exit_of(&error) } else { exit };
            }
            Err(error) => return Err(error),
        }
    }
    Ok(exit)
}

/// Whether an error is about the controller, and not about one object.
fn is_about_all(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failure>().is_none()
}

/// Watches until the goal is met. A controller that cannot be reached at first is an error; one that
/// goes away while we wait may come back.
async fn until(
    client: &Client,
    reference: &Reference,
    goal: &Goal,
    deadline: Deadline,
    progress: &Progress,
) -> anyhow::Result<()> {
    let mut follow = Follow::new(client, reference.resource, Selection::named(&reference.name));
    let is_it = |object: &Object| object.name() == reference.name;
    let first = deadline.left().max(FIRST_LOOK);
    let Ok(found) = tokio::time::timeout(first, follow.next()).await else {
        let message = format!("timed out: the controller has said nothing of {reference}");
        return Err(Failure::new(Exit::Timeout, message).into());
    };
    let mut change = Some(found?);
    let mut state = "nothing is known of it".to_owned();
    loop {
        let verdict = match change.take() {
            Some(Change::Listed(objects)) => {
                Some(goal.verdict(objects.iter().find(|one| is_it(one))))
            }
            Some(Change::Added(object) | Change::Modified(object)) if is_it(&object) => {
                Some(goal.verdict(Some(&object)))
            }
            Some(Change::Deleted(object)) if is_it(&object) => Some(goal.verdict(None)),
            Some(Change::Broken { error, .. }) => Some(Verdict::NotYet(error.to_string())),
            _ => None,
        };
        match verdict {
            Some(Verdict::Met) => return Ok(()),
            Some(Verdict::Missing) => return Err(not_found(client, reference).await.into()),
            Some(Verdict::NotYet(newer)) => state = newer,
            None => {}
        }
        progress.say(format!("{reference}: {state}"));
        match tokio::time::timeout(deadline.left(), follow.next()).await {
            Ok(next) => change = Some(next?),
            Err(_) => {
                let noun = goal.noun();
                return Err(Failure::new(
                    Exit::Timeout,
                    format!("timed out waiting for {noun} on {reference}: {state}"),
                )
                .into());
            }
        }
    }
}

impl Goal {
    fn verdict(&self, object: Option<&Object>) -> Verdict {
        match (self, object) {
            (Self::Create, Some(_)) | (Self::Delete, None) => Verdict::Met,
            (Self::Create, None) => Verdict::NotYet("it does not exist yet".to_owned()),
            (Self::Delete, Some(object)) if object.is_being_deleted() => {
                Verdict::NotYet("it is being deleted".to_owned())
            }
            (Self::Delete, Some(_)) => Verdict::NotYet("it is still there".to_owned()),
            (Self::Condition { .. } | Self::JsonPath { .. }, None) => Verdict::Missing,
            (Self::Condition { kind, status }, Some(object)) => condition(object, kind, status),
            (Self::JsonPath { template, value, .. }, Some(object)) => {
                path(&object.0, template, value.as_deref())
            }
        }
    }

    fn noun(&self) -> String {
        match self {
            Self::Condition { kind, status } if status == "True" => format!("condition {kind}"),
            Self::Condition { kind, status } => format!("condition {kind}={status}"),
            Self::Create => "creation".to_owned(),
            Self::Delete => "deletion".to_owned(),
            Self::JsonPath { text, .. } => text.clone(),
        }
    }

    fn done(&self) -> &'static str {
        match self {
            Self::Condition { .. } | Self::JsonPath { .. } => "condition met",
            Self::Create => "created",
            Self::Delete => "deleted",
        }
    }
}

fn condition(object: &Object, kind: &str, wanted: &str) -> Verdict {
    match object.condition(kind) {
        None => Verdict::NotYet(format!("it has no condition {kind} yet")),
        Some(found) if !object.is_current(&found) => {
            Verdict::NotYet("the controller has not looked at its newest spec yet".to_owned())
        }
        Some(found) if condition_text(found.status).eq_ignore_ascii_case(wanted) => Verdict::Met,
        Some(found) => Verdict::NotYet(format!(
            "{} is {} ({}): {}",
            found.r#type,
            condition_text(found.status),
            found.reason,
            found.message
        )),
    }
}

fn path(document: &Value, template: &Template, wanted: Option<&str>) -> Verdict {
    match wanted {
        _ if !template.finds(document) => Verdict::NotYet("there is no such value".to_owned()),
        None => Verdict::Met,
        Some(wanted) => {
            let found = template.render(document);
            if found == wanted {
                return Verdict::Met;
            }
            Verdict::NotYet(format!("the value is {found:?}"))
        }
    }
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "create" => Ok(Self::Create),
            None if text == "delete" => Ok(Self::Delete),
            Some(("condition", rest)) => {
                let (kind, status) = rest.split_once('=').unwrap_or((rest, "True"));
                if kind.is_empty() || status.is_empty() {
                    return Err("say condition=TYPE or condition=TYPE=VALUE".to_owned());
                }
                Ok(Self::Condition { kind: kind.to_owned(), status: status.to_owned() })
            }
            Some(("jsonpath", rest)) => jsonpath_goal(text, rest),
            _ => Err("say condition=TYPE, create, delete or jsonpath={PATH}=VALUE".to_owned()),
        }
    }
}

/// The value stands after the closing brace, because a path may hold an equals sign itself. As with
/// kubectl, a path needs neither braces nor the first dot.
fn jsonpath_goal(text: &str, rest: &str) -> Result<Goal, String> {
    let form = || "say jsonpath={PATH} or jsonpath={PATH}=VALUE".to_owned();
    let (path, value) = match rest.rfind('}').map(|brace| rest.split_at(brace + 1)) {
        Some((path, "")) => (path, None),
        Some((path, value)) => (path, Some(value.strip_prefix('=').ok_or_else(form)?)),
        None => match rest.split_once('=') {
            Some((path, value)) => (path, Some(value)),
            None => (rest, None),
        },
    };
    if path.is_empty() {
        return Err(form());
    }
    if value == Some("") {
        return Err("no value stands after the equals sign; without it, any value will do".into());
    }
    let template = if path.contains('{') { path.parse() } else { jsonpath::field(path) };
    let template: Template = template.map_err(|error| error.to_string())?;
    if !template.has_path() {
        return Err(format!("{path:?} names no field; {}", form()));
    }
    Ok(Goal::JsonPath { text: text.to_owned(), template, value: value.map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tenant(generation: i64, observed: i64, ready: &str) -> Object {
        Object(json!({
            "kind": "Tenant",
            "metadata": { "name": "acme", "generation": generation },
            "status": {
                "phase": "Up",
                "conditions": [{ "type": "Ready", "status": ready, "observedGeneration": observed,
                    "lastTransitionTime": "2026-03-01T11:00:00Z", "reason": "Waiting",
                    "message": "a machine starts" }],
            },
        }))
    }

    fn met(goal: &str, object: Option<&Object>) -> bool {
        goal.parse::<Goal>().unwrap().verdict(object) == Verdict::Met
    }

    #[test]
    fn goals_are_met_by_the_current_spec_only() {
        let ready = tenant(2, 2, "True");
        let stale = tenant(2, 1, "True");
        let down = tenant(1, 1, "False");
        let table = [
            ("condition=Ready", &ready, true),
            ("condition=ready=true", &ready, true),
            ("condition=Ready", &stale, false),
            ("condition=Ready", &down, false),
            ("condition=Ready=False", &down, true),
            ("condition=Degraded", &ready, false),
            ("create", &down, true),
            ("delete", &down, false),
            ("jsonpath={.status.phase}", &ready, true),
            ("jsonpath={.status.phase}=Up", &ready, true),
            ("jsonpath={.status.phase}=Down", &ready, false),
            ("jsonpath={.status.absent}", &ready, false),
            ("jsonpath=.status.phase=Up", &ready, true),
            ("jsonpath=status.phase=Up", &ready, true),
            ("jsonpath={.status.conditions[?(@.type=='Ready')].status}=True", &ready, true),
        ];
        for (goal, object, is_met) in table {
            assert_eq!(met(goal, Some(object)), is_met, "{goal}");
        }
        assert!(met("delete", None));
        assert!(!met("create", None));
        let goal: Goal = "condition=Ready".parse().unwrap();
        assert_eq!(goal.verdict(None), Verdict::Missing);
    }

    #[test]
    fn what_is_no_goal_is_refused() {
        for text in [
            "",
            "ready",
            "condition=",
            "condition=Ready=",
            "jsonpath={.a",
            "phase=Up",
            "jsonpath=",
            "jsonpath={.a}=",
            "jsonpath=.a=",
            "jsonpath={.a}b=c",
            "jsonpath={'text'}=text",
        ] {
            assert!(text.parse::<Goal>().is_err(), "{text}");
        }
    }
}
