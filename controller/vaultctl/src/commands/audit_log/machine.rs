//! What the agent of a machine wrote down, fetched and followed from record to record.
//!
//! ```text
//!   the agent ──▶ line ──▶ Chain: does it follow? ──▶ since, limit ──▶ table, JSON, YAML
//!                               └─ no: what follows is shown, and it ends with an error
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use vault_client::AuditLog;
use vault_client::protocol::audit::{Chain, ChainError, Event, Head, Record};

use crate::cli::Globals;
use crate::clock;
use crate::error::{Exit, Failure};
use crate::output::format::DataForm;
use crate::output::table::render;
use crate::output::{Output, json, yaml};
use crate::poll::Deadline;
use crate::reach::{FAREWELL, MachineName, Reached, Way};

const COLUMNS: &[&str] = &["RECORD", "AT", "EVENT", "FROM", "WHAT", "RESULT"];

/// What is wanted of a machine's records.
pub(super) struct Wanted<'run> {
    pub(super) machine: &'run MachineName,
    pub(super) since: Option<&'run str>,
    pub(super) limit: usize,
    pub(super) earlier: Option<Head>,
    pub(super) connect_timeout: Duration,
    pub(super) form: Option<DataForm>,
}

/// The records to show, and what was found on the way.
struct Found {
    records: VecDeque<(Record, Value)>,
    head: Option<Head>,
    /// The oldest that is kept.
    first: Option<u64>,
    /// The first line that does not follow.
    broken: Option<ChainError>,
}

/// Fetches, follows and prints.
pub(super) async fn show(
    wanted: Wanted<'_>,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let machine = wanted.machine;
    let since = wanted.since.map(|text| since(text, clock::now())).transpose()?;
    let way = Way::new(machine, globals)?;
    let progress = output.progress(&format!("connecting to {machine}"));
    let deadline = Deadline::after(wanted.connect_timeout);
    let Reached { connection, note } = way.connection(deadline, &progress).await?;
    progress.say(format!("reading the audit log of {machine}"));
    let log = connection.audit_log(None).await?;
    let found = follow(log, wanted.earlier, since, wanted.limit).await?;
    drop(progress);
    if let Some(note) = note {
        output.note(&note);
    }
    // The last word is a courtesy.
    drop(tokio::time::timeout(FAREWELL, connection.leave()).await);
    print(&found, wanted.form, output)?;
    end(found, wanted.earlier, machine, output)
}

async fn follow(
    mut log: AuditLog,
    earlier: Option<Head>,
    since: Option<Timestamp>,
    limit: usize,
) -> anyhow::Result<Found> {
    let mut chain = Chain::knowing(earlier);
    let mut found = Found { records: VecDeque::new(), head: None, first: None, broken: None };
    while let Some(line) = log.next_line().await? {
        let record = match chain.follow(&line) {
            Ok(record) => record,
            Err(error) => {
                found.broken = Some(error);
                break;
            }
        };
        found.head = chain.head();
        found.first.get_or_insert(record.sequence);
        let at = record.at.parse::<Timestamp>().ok();
        if since.is_some_and(|since| at.is_some_and(|at| at < since)) {
            continue;
        }
        found.records.push_back((record, serde_json::from_slice(&line)?));
        if found.records.len() > limit {
            found.records.pop_front();
        }
    }
    Ok(found)
}

fn print(found: &Found, form: Option<DataForm>, output: &mut Output) -> anyhow::Result<()> {
    let values: Vec<&Value> = found.records.iter().map(|(_, value)| value).collect();
    match form {
        Some(DataForm::Json) => output.text(&json(&values)?)?,
        Some(DataForm::Yaml) => output.text(&yaml(&values)?)?,
        None if values.is_empty() => output.note("No records found."),
        None => {
            let rows: Vec<Vec<String>> =
                found.records.iter().map(|(record, value)| row(record, value)).collect();
            output.text(&render(COLUMNS, &rows))?;
        }
    }
    Ok(())
}

/// What is to be said about the whole, and the exit code.
fn end(
    found: Found,
    earlier: Option<Head>,
    machine: &MachineName,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    if let Some(broken) = found.broken {
        let error = anyhow::Error::from(broken);
        let message = format!("the audit log of {machine} was changed, or is damaged: {error:#}");
        let hint = "what stands before it is whole; do not trust what the machine says behind it";
        return Err(Failure::new(Exit::Conflict, message).hint(hint).into());
    }
    let (Some(head), Some(first)) = (found.head, found.first) else {
        return Ok(Exit::Success);
    };
    match earlier {
        Some(earlier) if earlier.sequence > head.sequence => {
            let message = format!(
                "the audit log of {machine} ends with record {}, and there was a record {}",
                head.sequence, earlier.sequence
            );
            let hint = "records were taken out, or the volume is another one";
            return Err(Failure::new(Exit::Conflict, message).hint(hint).into());
        }
        Some(earlier) if earlier.sequence < first => output.note(&format!(
            "record {} is no longer kept: nothing says whether it is behind that one that these follow",
            earlier.sequence
        )),
        _ => {}
    }
    let (last, count) = (head.sequence, head.sequence - first + 1);
    output.note(&format!(
        "{count} records, {first} to {last}, follow each other. To see later that none of them was \
         changed: --earlier {head}"
    ));
    Ok(Exit::Success)
}

/// An instant, or a span before now.
fn since(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let instant = text.parse::<Timestamp>().ok();
    let span = || text.parse::<SignedDuration>().ok().filter(|span| !span.is_negative());
    let span = || span().and_then(|span| now.checked_sub(span).ok());
    instant.or_else(span).ok_or_else(|| {
        let message = format!("--since {text}: neither a span nor an instant");
        Failure::new(Exit::BadInput, message).hint("write 90m, or 2026-01-01T00:00:00Z")
    })
}

fn row(record: &Record, value: &Value) -> Vec<String> {
    let field = |name: &str| match &value[name] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let (what, result) = match &record.event {
        Event::CommandStarted { program, arguments, user, process, .. } => {
            let user = user.as_ref().map(|user| format!(" as {user}")).unwrap_or_default();
            let arguments = match arguments {
                0 => String::new(),
                1 => " with 1 argument".to_owned(),
                more => format!(" with {more} arguments"),
            };
            (format!("{program}{arguments}{user}"), format!("process {process}"))
        }
        Event::CommandEnded { program, process, code, signal, milliseconds, .. } => {
            let how = match (code, signal) {
                (_, Some(signal)) => format!("signal {signal}"),
                (Some(code), None) => format!("code {code}"),
                (None, None) => "unknown".to_owned(),
            };
            (format!("{program}, process {process}"), format!("{how}, {milliseconds} ms"))
        }
        Event::ForwardEnded { destination, bytes_in, bytes_out, milliseconds, aborted, .. } => {
            let aborted = if *aborted { ", aborted" } else { "" };
            let result = format!("{bytes_in} B in, {bytes_out} B out, {milliseconds} ms{aborted}");
            (destination.clone(), result)
        }
        Event::FilesCopied { direction, path, files, bytes, milliseconds, reason, .. } => {
            let reason = reason.as_ref().map(|reason| format!(", {reason}")).unwrap_or_default();
            let result = format!("{files} files, {bytes} B, {milliseconds} ms{reason}");
            (format!("{direction} {path}"), result)
        }
        Event::RecordsLost { records } => (format!("{records} records"), String::new()),
        _ => {
            let what = [field("destination"), field("version"), field("sha256")].concat();
            (what, field("reason"))
        }
    };
    vec![
        record.sequence.to_string(),
        record.at.clone(),
        field("event"),
        field("source"),
        what,
        result,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_span_or_an_instant() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().expect("an instant");
        let hour_ago: Timestamp = "2026-01-01T23:00:00Z".parse().expect("an instant");
        assert_eq!(since("1h", now).expect("a span"), hour_ago);
        assert_eq!(since("2026-01-01T23:00:00Z", now).expect("an instant"), hour_ago);
        for bad in ["", "yesterday", "-1h"] {
            let error = since(bad, now).expect_err(bad);
            assert_eq!(crate::error::exit_of(&error.into()), Exit::BadInput, "{bad}");
        }
    }
}
