//! All about one object, for people: fields, tables and events in the manner of kubectl.
//!
//! ```text
//!   Name:     acme
//!   Labels:   tier=pro
//!   Machines:
//!     NAME         STATE     READY   …
//!     acme-box-0   started   yes     …
//! ```

mod diagnosis;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;
use vault_api::object::Condition;
use vault_api::status::{AgentStatus, MachineStatus, TenantStatus, VolumeStatus};
use vault_api::storage::BucketStatus;
use vault_api::tokens::TokenStatus;

use super::events::last_seen;
use super::table::{clean, render};
use super::tables::since;
use crate::client::Diagnosis;
use crate::object::{Object, Resource, condition_text};

/// What stands where there is nothing.
const NONE: &str = "<none>";
/// What stands where this program could not find out.
const UNKNOWN: &str = "<unknown>";
/// Where values begin: `Annotations:` is the longest name, and three spaces follow it.
const VALUES_AT: usize = 15;

const CONDITION: &[&str] = &["TYPE", "STATUS", "REASON", "AGE", "MESSAGE"];
const MACHINE: &[&str] = &["NAME", "STATE", "READY", "ID", "REGION", "ADDRESS", "VERSION", "AGENT"];
const BUCKET: &[&str] = &["NAME", "BUCKET", "ACCESS", "DELETION POLICY", "READY"];
const TOKEN: &[&str] = &["NAME", "N", "EXPIRES", "NEXT ROTATION"];
const VOLUME: &[&str] = &["NAME", "TEMPLATE", "MACHINE", "SIZE", "STATE", "ID"];
const MACHINE_TEMPLATE: &[&str] = &["NAME", "REGION", "COUNT", "STATE", "IMAGE"];
const VOLUME_TEMPLATE: &[&str] = &["NAME", "SIZE", "REGION", "DELETION POLICY"];
const EVENT: &[&str] = &["TYPE", "REASON", "AGE", "MESSAGE"];

/// What is known about a tenant's machines beyond its status.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Every machine is as wanted, so there was nothing to ask.
    None,
    /// The platform's answer.
    Known(Diagnosis),
    /// It could not be asked, and why.
    Unknown(String),
}

/// The text about one object. `events` may hold those of other objects too; `None` means that they
/// could not be read. Ages are told at `now`.
pub(crate) fn describe(
    resource: Resource,
    object: &Object,
    trouble: &Trouble,
    events: Option<&[Object]>,
    now: Timestamp,
) -> String {
    let mut text = String::new();
    match resource {
        Resource::Tenant => tenant(&mut text, object, now),
        Resource::TenantClass => class(&mut text, object, now),
        Resource::Event => {
            event(&mut text, object, now);
            return text;
        }
    }
    diagnosis::tell(&mut text, trouble, now);
    let Some(events) = events else {
        text.push_str(&empty("Events", UNKNOWN));
        return text;
    };
    let own = events.iter().filter(|event| {
        event.text("/involvedObject/kind") == Some(resource.kind())
            && event.text("/involvedObject/name") == Some(object.name())
    });
    let rows = own.map(|event| {
        let field = |pointer| event.text(pointer).unwrap_or_default().to_owned();
        vec![field("/type"), field("/reason"), last_seen(event, now), field("/message")]
    });
    section(&mut text, "Events", EVENT, rows.collect());
    text
}

fn tenant(text: &mut String, object: &Object, now: Timestamp) {
    let status = object.tenant_status();
    let is_readable = status.is_some() || object.0.get("status").is_none_or(Value::is_null);
    let TenantStatus {
        observed_generation,
        conditions,
        source,
        org,
        app,
        machines,
        volumes,
        tokens,
        buckets,
        ..
    } = status.unwrap_or_default();
    let of_spec = |pointer: &str| object.text(pointer).map(str::to_owned);
    let mut fields = common(object, Some(observed_generation), now);
    fields.push(("Source", vec![source.unwrap_or_default()]));
    fields.push(("Class", vec![of_spec("/spec/class").unwrap_or_default()]));
    fields.push(("Org", vec![org.or_else(|| of_spec("/spec/org")).unwrap_or_default()]));
    fields.push(("App", vec![app.or_else(|| of_spec("/spec/app")).unwrap_or_default()]));
    if let Some(mode) = of_spec("/spec/reconcile") {
        fields.push(("Reconcile", vec![mode]));
    }
    lines(text, &fields);
    if !is_readable {
        for name in ["Conditions", "Machines", "Volumes"] {
            text.push_str(&empty(name, UNKNOWN));
        }
        return;
    }
    let conditions = conditions.iter().map(|condition| condition_row(condition, now));
    section(text, "Conditions", CONDITION, conditions.collect());
    section(text, "Machines", MACHINE, machines.iter().map(machine_row).collect());
    section(text, "Volumes", VOLUME, volumes.iter().map(volume_row).collect());
    if !buckets.is_empty() {
        section(text, "Buckets", BUCKET, buckets.iter().map(bucket_row).collect());
    }
    if !tokens.is_empty() {
        section(text, "Tokens", TOKEN, tokens.iter().map(token_row).collect());
    }
}

fn event(text: &mut String, object: &Object, now: Timestamp) {
    let field = |pointer: &str| vec![object.text(pointer).unwrap_or_default().to_owned()];
    let kind = object.text("/involvedObject/kind").unwrap_or_default().to_lowercase();
    let about = object.text("/involvedObject/name").unwrap_or_default();
    lines(
        text,
        &[
            ("Name", vec![object.name().to_owned()]),
            ("Object", vec![format!("{kind}/{about}")]),
            ("Type", field("/type")),
            ("Reason", field("/reason")),
            ("Seen", vec![format!("{} ago", last_seen(object, now))]),
            ("Source", field("/source/component")),
            ("Message", field("/message")),
        ],
    );
}

fn class(text: &mut String, object: &Object, now: Timestamp) {
    let mut fields = common(object, None, now);
    fields.push(("Org", vec![object.text("/spec/org").unwrap_or_default().to_owned()]));
    lines(text, &fields);
    let templates = |pointer: &str, columns: &[&str]| {
        let members = object.0.pointer(pointer).and_then(Value::as_array);
        let rows = members.into_iter().flatten();
        let row = |one| columns.iter().map(|column| scalar(one, column)).collect::<Vec<_>>();
        rows.map(row).collect::<Vec<_>>()
    };
    let machines =
        templates("/spec/machines", &["/name", "/region", "/count", "/state", "/config/image"]);
    section(text, "Machines", MACHINE_TEMPLATE, machines);
    let mut volumes =
        templates("/spec/volumes", &["/name", "/sizeGb", "/region", "/deletionPolicy"]);
    for volume in &mut volumes {
        if !volume[1].is_empty() {
            volume[1].push_str(" GB");
        }
    }
    section(text, "Volumes", VOLUME_TEMPLATE, volumes);
}

type Field = (&'static str, Vec<String>);

/// What every object has. `observed` is the generation that a status is about.
fn common(object: &Object, observed: Option<i64>, now: Timestamp) -> Vec<Field> {
    let instant = |pointer: &str| match object.text(pointer) {
        Some(instant) => format!("{instant} ({} ago)", since(Some(instant), now)),
        None => String::new(),
    };
    let generation = scalar(&object.0, "/metadata/generation");
    let generation = match observed {
        Some(observed) if observed.to_string() != generation && !generation.is_empty() => {
            format!("{generation} (what is said below is about {observed})")
        }
        _ => generation,
    };
    let mut fields = vec![
        ("Name", vec![object.name().to_owned()]),
        ("Labels", pairs(&object.labels())),
        ("Annotations", pairs(&object.texts("/metadata/annotations"))),
        ("Created", vec![instant("/metadata/creationTimestamp")]),
        ("Generation", vec![generation]),
    ];
    if object.is_being_deleted() {
        fields.push(("Deleting", vec![instant("/metadata/deletionTimestamp")]));
    }
    fields
}

fn pairs(members: &BTreeMap<&str, &str>) -> Vec<String> {
    members.iter().map(|(key, value)| format!("{key}={value}")).collect()
}

/// A string or number at a pointer as text; empty if there is none.
fn scalar(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn condition_row(condition: &Condition, now: Timestamp) -> Vec<String> {
    vec![
        condition.r#type.clone(),
        condition_text(condition.status).to_owned(),
        condition.reason.clone(),
        since(Some(&condition.last_transition_time), now),
        condition.message.clone(),
    ]
}

fn machine_row(machine: &MachineStatus) -> Vec<String> {
    vec![
        machine.name.clone(),
        machine.state.clone().unwrap_or_default(),
        if machine.ready { "yes" } else { "no" }.to_owned(),
        machine.id.clone().unwrap_or_default(),
        machine.region.clone(),
        machine.private_ip.clone().unwrap_or_default(),
        machine.version.clone().unwrap_or_default(),
        machine.agent.as_ref().map(agent).unwrap_or_default(),
    ]
}

/// An agent's version and readiness: `0.1.0, not ready: it is draining`.
fn agent(status: &AgentStatus) -> String {
    let mut text = String::new();
    if let Some(version) = &status.version {
        text.push_str(version);
        text.push_str(", ");
    }
    text.push_str(if status.ready { "ready" } else { "not ready" });
    if let Some(message) = &status.message {
        text.push_str(": ");
        text.push_str(message);
    }
    text
}

fn bucket_row(bucket: &BucketStatus) -> Vec<String> {
    vec![
        bucket.name.clone(),
        bucket.bucket.clone(),
        bucket.access.word().to_owned(),
        bucket.deletion_policy.word().to_owned(),
        bucket.ready.to_string(),
    ]
}

fn token_row(token: &TokenStatus) -> Vec<String> {
    let shown = |text: &Option<String>| text.clone().unwrap_or_default();
    let n = token.n.map(|n| n.to_string()).unwrap_or_default();
    vec![token.name.clone(), n, shown(&token.expires_at), shown(&token.next_rotation)]
}

fn volume_row(volume: &VolumeStatus) -> Vec<String> {
    vec![
        volume.name.clone(),
        volume.template.clone(),
        volume.machine.clone(),
        format!("{} GB", volume.size_gb),
        volume.state.clone().unwrap_or_default(),
        volume.id.clone().unwrap_or_default(),
    ]
}

/// Names and values beneath each other; a field with several values takes a line for each.
fn lines(text: &mut String, fields: &[Field]) {
    for (name, values) in fields {
        let name = format!("{name}:");
        let mut values: Vec<&str> = values.iter().map(String::as_str).collect();
        values.retain(|value| !value.is_empty());
        if values.is_empty() {
            values.push(NONE);
        }
        for (index, value) in values.into_iter().enumerate() {
            let name = if index == 0 { name.as_str() } else { "" };
            // Writing into a string cannot fail.
            writeln!(text, "{name:VALUES_AT$}{}", clean(value)).ok();
        }
    }
}

/// A table beneath its name.
fn section(text: &mut String, name: &str, columns: &[&str], rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        text.push_str(&empty(name, NONE));
        return;
    }
    writeln!(text, "{name}:").ok();
    for line in render(columns, &rows).lines() {
        writeln!(text, "  {line}").ok();
    }
}

fn empty(name: &str, word: &str) -> String {
    format!("{:VALUES_AT$}{word}\n", format!("{name}:"))
}

#[cfg(test)]
mod tests;
