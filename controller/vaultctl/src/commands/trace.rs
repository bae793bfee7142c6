//! `vaultctl trace`

use std::str::FromStr;

use vault_api::names::nearest;
use vault_api::trace::{INTENTS_MAX, INTENTS_USUAL, TracedCall, TracedIntent};

use crate::cli::Globals;
use crate::commands::not_found;
use crate::error::Exit;
use crate::object::{Reference, Resource};
use crate::output::table::render;
use crate::output::{Output, json, yaml};

const COLUMNS: &[&str] = &["AT", "ACTION", "TARGET", "CALL", "ANSWER", "OUTCOME"];
const WIDE: &[&str] =
    &["AT", "ACTION", "TARGET", "CALL", "ANSWER", "OUTCOME", "TOOK", "REQUEST", "ID", "INTENT"];
const FORMS: [&str; 4] = ["table", "wide", "json", "yaml"];

/// Show what the controller did for a tenant, call by call
///
/// One line per call to Fly.io, the newest last: what was intended, what was called, what was
/// answered, and what came of it. The journal keeps the newest 10,000 intents of all tenants. Calls
/// are named by method and path; their bodies, and so secrets, are not kept.
///
/// OUTCOME is `verified` once the effect was seen in Fly's lists, `acked` while only Fly's answer
/// says so, `sent` while there is no answer (it is settled by looking, never by repeating), and
/// `aborted` with the reason.
///
/// EXAMPLES:
///   vaultctl trace acme
///   vaultctl trace acme --limit 20 -o wide
///   vaultctl trace acme -o json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The tenant
    #[arg(value_name = "TENANT")]
    tenant: String,

    /// Show the newest so many intents
    #[arg(long, value_name = "COUNT", default_value_t = INTENTS_USUAL, value_parser = clap::value_parser!(u32).range(1..=i64::from(INTENTS_MAX)))]
    limit: u32,

    /// The form of the output: table, wide (with request ids for Fly's support), json or yaml
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    output: Form,
}

/// How the trace is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Table,
    Wide,
    Json,
    Yaml,
}

impl FromStr for Form {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "table" => Ok(Self::Table),
            "wide" => Ok(Self::Wide),
            "json" => Ok(Self::Json),
            "yaml" => Ok(Self::Yaml),
            other => Err(match nearest(other, FORMS) {
                Some(near) => format!("there is no such form; did you mean {near}?"),
                None => format!("there is no such form; there are {}", FORMS.join(", ")),
            }),
        }
    }
}

/// Reads and prints.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let client = globals.client()?;
    let trace = match client.trace(&args.tenant, args.limit).await {
        Ok(trace) => trace,
        Err(error) if error.code() == Some(404) => {
            let reference = Reference { resource: Resource::Tenant, name: args.tenant };
            return Err(not_found(&client, &reference).await.into());
        }
        Err(error) => return Err(error.into()),
    };
    match args.output {
        Form::Json => output.text(&json(&trace)?)?,
        Form::Yaml => output.text(&yaml(&trace)?)?,
        _ if trace.intents.is_empty() => {
            output.note(&format!("Nothing was done for tenant {} yet.", trace.tenant));
        }
        Form::Table => output.text(&table(&trace.intents, false))?,
        Form::Wide => output.text(&table(&trace.intents, true))?,
    }
    Ok(Exit::Success)
}

/// A line per call; an intent without one has a line too.
fn table(intents: &[TracedIntent], wide: bool) -> String {
    let rows: Vec<Vec<String>> = intents.iter().flat_map(|intent| lines(intent, wide)).collect();
    render(if wide { WIDE } else { COLUMNS }, &rows)
}

/// What came of the intent stands behind its last call; before it there were only attempts.
fn lines(intent: &TracedIntent, wide: bool) -> Vec<Vec<String>> {
    let calls: Vec<Option<&TracedCall>> = match intent.calls.as_slice() {
        [] => vec![None],
        calls => calls.iter().map(Some).collect(),
    };
    let last = calls.len() - 1;
    let line = |(place, call): (usize, Option<&TracedCall>)| {
        let outcome = if place == last { outcome(intent) } else { "…".to_owned() };
        let at = call.map(|call| &call.sent_at).or(intent.sent_at.as_ref());
        let mut line = vec![
            at.unwrap_or(&intent.planned_at).clone(),
            intent.action.clone(),
            intent.target.clone(),
            call.map(called).unwrap_or_default(),
            call.map_or_else(|| unanswered(intent), answered),
            outcome,
        ];
        if wide {
            line.push(call.map(|call| format!("{} ms", call.took_ms)).unwrap_or_default());
            let request = call.and_then(|call| call.fly_request_id.clone());
            line.push(request.unwrap_or_default());
            line.push(intent.target_id.clone().unwrap_or_default());
            line.push(intent.id.clone());
        }
        line
    };
    calls.into_iter().enumerate().map(line).collect()
}

fn called(call: &TracedCall) -> String {
    let again = match call.attempt {
        0 | 1 => String::new(),
        attempt => format!(" (attempt {attempt})"),
    };
    format!("{} {}{again}", call.method, call.path)
}

/// The status, and the kind of failure where the status does not say it.
fn answered(call: &TracedCall) -> String {
    match (call.status, call.failure.as_deref()) {
        (Some(status), None | Some("refused" | "status")) => status.to_string(),
        (Some(status), Some(failure)) => format!("{status} {failure}"),
        (None, Some(failure)) => format!("none: {failure}"),
        (None, None) => "none".to_owned(),
    }
}

/// An intent of which no call is known.
fn unanswered(intent: &TracedIntent) -> String {
    match intent.state.as_str() {
        "planned" => "not sent yet".to_owned(),
        "sent" => "none yet".to_owned(),
        _ => String::new(),
    }
}

fn outcome(intent: &TracedIntent) -> String {
    match &intent.outcome {
        Some(outcome) => format!("{}: {outcome}", intent.state),
        None => intent.state.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(state: &str, outcome: Option<&str>, calls: Vec<TracedCall>) -> TracedIntent {
        TracedIntent {
            id: "01K4Z8".to_owned(),
            action: "CreateMachine".to_owned(),
            target: "acme-box-0".to_owned(),
            target_id: Some("7811d2b4c90e38".to_owned()),
            app: "acme-abc".to_owned(),
            spec_hash: None,
            state: state.to_owned(),
            planned_at: "2026-01-01T00:00:00Z".to_owned(),
            sent_at: Some("2026-01-01T00:00:01Z".to_owned()),
            answered_at: None,
            closed_at: None,
            outcome: outcome.map(str::to_owned),
            calls,
        }
    }

    fn call(attempt: u32, status: Option<u16>, failure: Option<&str>) -> TracedCall {
        TracedCall {
            method: "POST".to_owned(),
            path: "/v1/apps/{app}/machines".to_owned(),
            attempt,
            status,
            failure: failure.map(str::to_owned),
            fly_request_id: Some("01K4Z8-ams".to_owned()),
            sent_at: format!("2026-01-01T00:00:0{attempt}Z"),
            took_ms: 40,
        }
    }

    #[test]
    fn each_call_is_a_line_and_the_outcome_stands_behind_the_last() {
        let repeated = intent(
            "verified",
            None,
            vec![call(1, Some(429), Some("refused")), call(2, Some(200), None)],
        );
        let lost = intent("sent", Some("no answer"), vec![call(1, None, Some("timeout"))]);
        let killed = intent("sent", None, Vec::new());
        let text = table(&[repeated, lost, killed], false);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        let head = ["CreateMachine", "acme-box-0"];
        assert_eq!(lines[1][1..3], head);
        assert_eq!(lines[1][3..], ["POST /v1/apps/{app}/machines", "429", "…"]);
        assert_eq!(lines[2][3..], ["POST /v1/apps/{app}/machines (attempt 2)", "200", "verified"]);
        assert_eq!(lines[3][4..], ["none: timeout", "sent: no answer"]);
        assert_eq!(lines[4], ["2026-01-01T00:00:01Z", head[0], head[1], "-", "none yet", "sent"]);
    }

    #[test]
    fn the_wide_form_has_what_support_asks_for() {
        let text = table(&[intent("acked", None, vec![call(1, Some(200), None)])], true);
        for part in ["40 ms", "01K4Z8-ams", "7811d2b4c90e38", "INTENT"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn an_unknown_form_names_the_nearest() {
        assert_eq!(
            "wied".parse::<Form>().unwrap_err(),
            "there is no such form; did you mean wide?"
        );
    }
}
