//! The columns of each resource's table, and the cells of one object: what `kubectl get` shows.
//!
//! The same columns as those of `vaultctl get`; a priority of 1 is for `-o wide`.

use serde_json::{Value, json};
use vault_api::status::condition;
use vault_plan::time::UnixMillis;

use crate::clock::read_rfc3339;

/// One column.
pub(super) struct Column {
    /// As it stands in the header, but for its case.
    pub(super) name: &'static str,
    /// `string` or `integer`.
    pub(super) form: &'static str,
    /// `name` for the column that names the object, else empty.
    pub(super) format: &'static str,
    /// Shown always (0), or with `-o wide` alone (1).
    pub(super) priority: u8,
    /// What it tells, as `kubectl explain` would.
    pub(super) description: &'static str,
}

/// The cells of one object in its API form; ages are told at the given instant.
pub(super) type Row = fn(&Value, UnixMillis) -> Vec<Value>;

/// What kubectl shows where there is nothing.
const NOTHING: &str = "<none>";
/// What kubectl shows for an age that is not known.
const UNKNOWN: &str = "<unknown>";

const fn text(name: &'static str, description: &'static str) -> Column {
    Column { name, form: "string", format: "", priority: 0, description }
}

const fn wide(name: &'static str, description: &'static str) -> Column {
    Column { priority: 1, ..text(name, description) }
}

const fn number(name: &'static str, priority: u8, description: &'static str) -> Column {
    Column { form: "integer", priority, ..text(name, description) }
}

const fn name() -> Column {
    Column { format: "name", ..text("Name", "The object's name.") }
}

const AGE: Column = text("Age", "How long ago the object was made.");

pub(super) const TENANT: &[Column] = &[
    name(),
    text("Ready", "Whether every machine is in its wanted state at the wanted spec."),
    text("Status", "Where the tenant stands, in one word; of a deletion, its stage."),
    text("Machines", "How many machines are ready, of how many."),
    text("App", "The Fly app."),
    AGE,
    wide("Org", "The Fly organization."),
    wide("Class", "The tenant class."),
    wide("Source", "Who owns the spec."),
    number("Volumes", 1, "How many volumes there are."),
    wide("Message", "Where the tenant stands, in one sentence."),
];

pub(super) const CLASS: &[Column] = &[
    name(),
    number("Machines", 0, "How many machine groups it gives."),
    number("Volumes", 0, "How many volume templates it gives."),
    AGE,
    wide("Org", "The Fly organization."),
];

pub(super) const EVENT: &[Column] = &[
    text("Last Seen", "How long ago it happened last."),
    text("Type", "Normal or Warning."),
    text("Reason", "What happened, in one word."),
    text("Object", "What it happened to."),
    wide("Subobject", "The part of the object."),
    wide("Source", "Who tells it."),
    text("Message", "What happened, in one sentence."),
    wide("First Seen", "How long ago it happened first."),
    number("Count", 1, "How often it happened."),
    Column { priority: 1, ..name() },
];

pub(super) const NAMESPACE: &[Column] = &[name(), text("Status", "Whether it can be used."), AGE];

pub(super) fn tenant(object: &Value, now: UnixMillis) -> Vec<Value> {
    let ready = ready(object);
    // What was said about an older spec says nothing about this one.
    let current = ready.filter(|ready| {
        let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
        let observed = ready["observedGeneration"].as_i64();
        generation.is_none_or(|generation| observed.is_some_and(|seen| seen >= generation))
    });
    let being_deleted = object.pointer("/metadata/deletionTimestamp").is_some();
    let word = match current {
        _ if being_deleted => {
            object.pointer("/status/deletion/stage").and_then(Value::as_str).unwrap_or("Deleting")
        }
        Some(ready) => or(ready["reason"].as_str(), UNKNOWN),
        None => "Pending",
    };
    let machines = members(object, "/status/machines");
    let up = machines.iter().filter(|machine| machine["ready"] == true).count();
    vec![
        cell(object, &["/metadata/name"]),
        json!(current.and_then(|ready| ready["status"].as_str()).unwrap_or("Unknown")),
        json!(word),
        json!(format!("{up}/{}", machines.len())),
        cell(object, &["/status/app", "/spec/app", "/spec/app/name"]),
        age(object.pointer("/metadata/creationTimestamp"), now),
        cell(object, &["/status/org", "/spec/org"]),
        cell(object, &["/spec/class"]),
        cell(object, &["/status/source"]),
        json!(members(object, "/status/volumes").len()),
        json!(or(ready.and_then(|ready| ready["message"].as_str()), NOTHING)),
    ]
}

pub(super) fn class(object: &Value, now: UnixMillis) -> Vec<Value> {
    vec![
        cell(object, &["/metadata/name"]),
        json!(members(object, "/spec/machines").len()),
        json!(members(object, "/spec/volumes").len()),
        age(object.pointer("/metadata/creationTimestamp"), now),
        cell(object, &["/spec/org"]),
    ]
}

pub(super) fn event(object: &Value, now: UnixMillis) -> Vec<Value> {
    let about = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let kind = about("/involvedObject/kind").to_lowercase();
    vec![
        age(object.get("lastTimestamp"), now),
        cell(object, &["/type"]),
        cell(object, &["/reason"]),
        json!(format!("{kind}/{}", about("/involvedObject/name"))),
        json!(""),
        cell(object, &["/source/component"]),
        cell(object, &["/message"]),
        age(object.get("firstTimestamp"), now),
        object.get("count").cloned().unwrap_or_else(|| json!(1)),
        cell(object, &["/metadata/name"]),
    ]
}

pub(super) fn namespace(object: &Value, now: UnixMillis) -> Vec<Value> {
    vec![
        cell(object, &["/metadata/name"]),
        cell(object, &["/status/phase"]),
        age(object.pointer("/metadata/creationTimestamp"), now),
    ]
}

fn ready(object: &Value) -> Option<&Value> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|one| one["type"] == condition::READY)
}

fn members<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The first of some places that holds a text.
fn cell(object: &Value, pointers: &[&str]) -> Value {
    let mut texts = pointers.iter().filter_map(|pointer| object.pointer(pointer)?.as_str());
    json!(or(texts.next(), NOTHING))
}

fn or<'a>(text: Option<&'a str>, otherwise: &'a str) -> &'a str {
    text.filter(|text| !text.is_empty()).unwrap_or(otherwise)
}

fn age(instant: Option<&Value>, now: UnixMillis) -> Value {
    let instant = instant.and_then(Value::as_str).and_then(read_rfc3339);
    json!(instant.map_or_else(
        || UNKNOWN.to_owned(),
        // Both in whole seconds, as they are written.
        |instant| vault_api::age::age(now.0.div_euclid(1000) - instant.0.div_euclid(1000)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "2026-03-01T12:00:00Z";

    fn now() -> UnixMillis {
        read_rfc3339(NOON).unwrap()
    }

    #[test]
    fn a_tenant_is_told_in_a_row() {
        let ready = |generation| {
            json!({ "type": "Ready", "status": "True", "observedGeneration": generation,
                "reason": "Ready", "message": "1 of 1 machine is as wanted" })
        };
        let mut acme = json!({
            "metadata": { "name": "acme", "generation": 1,
                "creationTimestamp": "2026-03-01T11:55:30Z" },
            "spec": { "class": "dev-box" },
            "status": {
                "conditions": [ready(1)], "source": "folder acme.yaml", "org": "local",
                "app": "acme-7k2m9qxa", "machines": [{ "ready": true }, { "ready": false }],
                "volumes": [{}],
            },
        });
        assert_eq!(
            json!(tenant(&acme, now())),
            json!([
                "acme",
                "True",
                "Ready",
                "1/2",
                "acme-7k2m9qxa",
                "4m30s",
                "local",
                "dev-box",
                "folder acme.yaml",
                1,
                "1 of 1 machine is as wanted"
            ])
        );
        acme["metadata"]["generation"] = json!(2);
        assert_eq!(json!(tenant(&acme, now())[1..3]), json!(["Unknown", "Pending"]));
        acme["metadata"]["deletionTimestamp"] = json!(NOON);
        assert_eq!(json!(tenant(&acme, now())[2]), json!("Deleting"));
        let bare = json!({ "metadata": { "name": "bare" }, "spec": { "app": { "name": "x" } } });
        assert_eq!(
            json!(tenant(&bare, now())),
            json!([
                "bare",
                "Unknown",
                "Pending",
                "0/0",
                "x",
                "<unknown>",
                "<none>",
                "<none>",
                "<none>",
                0,
                "<none>"
            ])
        );
    }

    #[test]
    fn each_row_has_as_many_cells_as_there_are_columns() {
        for resource in crate::http::resources::ALL {
            let cells = (resource.row)(&json!({}), now());
            assert_eq!(cells.len(), resource.columns.len(), "{}", resource.plural);
            for (cell, column) in cells.iter().zip(resource.columns) {
                assert_eq!(cell.is_i64() || cell.is_u64(), column.form == "integer");
            }
        }
    }
}
