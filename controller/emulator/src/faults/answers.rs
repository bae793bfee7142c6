//! Answers that do not say what is: rows that are missing, or shown as they are not.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::action::{Call, Subject};

/// Members of answers that hold what callers wrote: nothing is added there.
const VERBATIM: &[&str] = &["config", "incomplete_config", "metadata", "env"];
/// How deep an answer is gone into; the deepest of the platform is an event's request.
const DEPTH_MAX: usize = 16;

/// What a list is a list of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    App,
    Machine,
    Volume,
}

/// What the rows of an answer are, if it has any.
pub(super) fn rows_of(call: &Call) -> Option<Row> {
    Some(match call.action?.name {
        "list-apps" => Row::App,
        "list-machines" | "list-org-machines" | "read-machine" => Row::Machine,
        "list-volumes" | "list-org-volumes" => Row::Volume,
        _ => return None,
    })
}

/// Whom a row is about.
pub(super) fn subject(call: &Call, kind: Row, row: &Value) -> Subject {
    let text = |name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
    let app = text("app_name").or_else(|| call.app.clone());
    let region = text("region");
    match kind {
        Row::App => Subject { app: text("name"), ..Subject::default() },
        Row::Machine => Subject {
            app,
            region,
            machine_id: text("id"),
            machine_name: text("name"),
            ..Subject::default()
        },
        Row::Volume => {
            Subject { app, region, machine_id: text("attached_machine_id"), ..Subject::default() }
        }
    }
}

/// The rows of an answer, whatever they stand in.
pub(super) fn rows<'a>(call: &Call, body: &'a mut Value) -> Vec<&'a mut Value> {
    if call.is_one_of(&["read-machine"]) {
        return vec![body];
    }
    list(call, body).map_or_else(Vec::new, |rows| rows.iter_mut().collect())
}

/// The list of an answer.
fn list<'a>(call: &Call, body: &'a mut Value) -> Option<&'a mut Vec<Value>> {
    let member = match call.action?.name {
        "list-apps" => "apps",
        "list-org-machines" => "machines",
        "list-org-volumes" => "volumes",
        "list-machines" | "list-volumes" => return body.as_array_mut(),
        _ => return None,
    };
    body.get_mut(member)?.as_array_mut()
}

/// Takes rows out of a list, and corrects what counts them.
pub(super) fn take_out(call: &Call, body: &mut Value, goes: impl Fn(&Value) -> bool) {
    let Some(rows) = list(call, body) else { return };
    rows.retain(|row| !goes(row));
    let left = rows.len();
    let Some(members) = body.as_object_mut() else { return };
    if let Some(total) = members.get_mut("total_apps") {
        *total = json!(left);
    }
    if left == 0 {
        // A list that was empty for everybody had no next page either.
        for name in ["next_cursor", "last_machine_id", "last_volume_id", "last_updated_at"] {
            members.remove(name);
        }
    }
}

/// Names the regions that a list leaves out.
pub(super) fn name_missing(body: &mut Value, regions: &BTreeSet<String>) {
    let Some(members) = body.as_object_mut() else { return };
    let named = members.entry("error_regions").or_insert_with(|| json!([]));
    let mut all: BTreeSet<String> = serde_json::from_value(named.take()).unwrap_or_default();
    all.extend(regions.iter().cloned());
    *named = json!(all);
}

/// Shows a machine in a state that it is not in; what is destroyed does not flicker.
pub(super) fn show_state(row: &mut Value, state: &str) {
    if let Some(shown) = row.get_mut("state").filter(|shown| *shown != "destroyed") {
        *shown = json!(state);
    }
}

/// Shows a machine as the platform does while its host does not answer.
pub(super) fn show_unreachable(kind: Row, row: &mut Value) {
    let Some(members) = row.as_object_mut() else { return };
    if kind == Row::Machine && members.contains_key("config") {
        let config = members.insert("config".to_owned(), Value::Null).unwrap_or_default();
        if members.contains_key("incomplete_config") {
            // What can be put together of it has no metadata.
            let known = ["image", "guest"].into_iter();
            let known = known.filter_map(|name| Some((name.to_owned(), config.get(name)?.clone())));
            let known: Map<String, Value> = known.collect();
            members.insert("incomplete_config".to_owned(), Value::Object(known));
        }
    }
    if let Some(status) = members.get_mut("host_status") {
        *status = json!("unreachable");
    }
}

/// Adds what nobody documented: members of unknown names, the known ones again in capitals, and
/// `null` where a list is empty.
pub(super) fn drift(value: &mut Value) {
    drift_to(value, DEPTH_MAX);
}

fn drift_to(value: &mut Value, depth: usize) {
    match value {
        Value::Array(rows) if depth > 0 => {
            rows.iter_mut().for_each(|row| drift_to(row, depth - 1));
        }
        Value::Object(members) if depth > 0 => {
            let inner = members.iter_mut();
            for (_, member) in inner.filter(|(name, _)| !VERBATIM.contains(&name.as_str())) {
                match member {
                    Value::Array(rows) if rows.is_empty() => *member = Value::Null,
                    member => drift_to(member, depth - 1),
                }
            }
            let twins: Vec<(String, Value)> = members
                .iter()
                .filter(|(_, member)| !member.is_object() && !member.is_array())
                .map(|(name, member)| (in_capitals(name), member.clone()))
                .collect();
            for (name, member) in twins {
                members.entry(name).or_insert(member);
            }
            members.insert("undocumented".to_owned(), json!({ "since": [2026, null] }));
        }
        _ => {}
    }
}

/// `instance_id` as `InstanceId`.
fn in_capitals(name: &str) -> String {
    let words = name.split('_').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    });
    words.collect()
}
