//! The columns of each resource.

use jiff::Timestamp;
use vault_api::object::ConditionStatus;
use vault_api::status::{TenantStatus, condition};

use super::events;
use super::table::Columns;
use crate::object::{Object, Resource, condition_text};

const TENANT: &[&str] = &["NAME", "READY", "STATUS", "MACHINES", "APP", "AGE"];
const TENANT_WIDE: &[&str] = &["ORG", "CLASS", "SOURCE", "VOLUMES", "MESSAGE"];
const CLASS: &[&str] = &["NAME", "MACHINES", "VOLUMES", "AGE"];
const CLASS_WIDE: &[&str] = &["ORG"];

/// How a table of objects is drawn.
#[derive(Clone, Debug, Default)]
pub(crate) struct TableOptions {
    /// More columns.
    pub(crate) wide: bool,
    /// No line with the names of the columns.
    pub(crate) no_headers: bool,
    /// `tenant/acme` in place of `acme`: for more than one resource.
    pub(crate) with_kind: bool,
    /// The labels as a last column.
    pub(crate) show_labels: bool,
    /// The values of these labels as columns.
    pub(crate) label_columns: Vec<String>,
}

/// The table of objects of one resource; ages are told at `now`.
pub(crate) fn table(
    resource: Resource,
    objects: &[Object],
    options: &TableOptions,
    now: Timestamp,
) -> String {
    let header = header(resource, options);
    let rows: Vec<_> = objects.iter().map(|object| row(resource, object, options, now)).collect();
    let header = (!options.no_headers).then_some(header.as_slice());
    Columns::default().render(header, &rows)
}

/// The names of a resource's columns.
pub(crate) fn header(resource: Resource, options: &TableOptions) -> Vec<String> {
    let (narrow, wide) = match resource {
        Resource::Tenant => (TENANT, TENANT_WIDE),
        Resource::TenantClass => (CLASS, CLASS_WIDE),
        Resource::Event => (events::COLUMNS, events::WIDE),
    };
    let wide = if options.wide { wide } else { &[] };
    let mut header: Vec<String> = narrow.iter().chain(wide).map(|name| (*name).into()).collect();
    for key in &options.label_columns {
        let name = key.rsplit('/').next().unwrap_or(key);
        header.push(name.to_uppercase());
    }
    if options.show_labels {
        header.push("LABELS".to_owned());
    }
    header
}

/// The cells of one object, as many as its resource's header has.
pub(crate) fn row(
    resource: Resource,
    object: &Object,
    options: &TableOptions,
    now: Timestamp,
) -> Vec<String> {
    let (mut row, narrow, wide) = match resource {
        Resource::Tenant => (tenant_row(object, now), TENANT, TENANT_WIDE),
        Resource::TenantClass => (class_row(object, now), CLASS, CLASS_WIDE),
        Resource::Event => (events::row(object, now), events::COLUMNS, events::WIDE),
    };
    row.truncate(narrow.len() + if options.wide { wide.len() } else { 0 });
    if options.with_kind {
        // Events are not told by their names.
        if resource != Resource::Event {
            row[0] = object.reference();
        }
    }
    let labels = object.labels();
    for key in &options.label_columns {
        row.push(labels.get(key.as_str()).copied().unwrap_or_default().to_owned());
    }
    if options.show_labels {
        let all: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        row.push(if all.is_empty() { "<none>".to_owned() } else { all.join(",") });
    }
    row
}

/// Whether a tenant is Ready as it is wanted now, and the word for where it stands.
pub(crate) fn standing(object: &Object) -> (ConditionStatus, String) {
    let ready = object.condition(condition::READY);
    // What was said about an older spec says nothing about this one.
    let current = ready.as_ref().filter(|ready| object.is_current(ready));
    let ready_status = current.map_or(ConditionStatus::Unknown, |ready| ready.status);
    let word = match current {
        _ if object.is_being_deleted() => {
            let stage = object.tenant_status().and_then(|status| status.deletion);
            stage.map_or("Deleting", |deletion| deletion.stage.word()).to_owned()
        }
        Some(ready) => ready.reason.clone(),
        None => "Pending".to_owned(),
    };
    (ready_status, word)
}

/// The age of an instant as text; empty if there is none.
pub(crate) fn since(instant: Option<&str>, now: Timestamp) -> String {
    instant
        .and_then(|text| text.parse::<Timestamp>().ok())
        .map(|instant| vault_api::age::age(now.as_second() - instant.as_second()))
        .unwrap_or_default()
}

/// The age of an object.
pub(crate) fn created(object: &Object, now: Timestamp) -> String {
    since(object.text("/metadata/creationTimestamp"), now)
}

/// How many machines are ready, of how many: `1/2`.
pub(crate) fn ready_machines(status: &TenantStatus) -> String {
    let ready = status.machines.iter().filter(|machine| machine.ready).count();
    format!("{ready}/{}", status.machines.len())
}

fn tenant_row(object: &Object, now: Timestamp) -> Vec<String> {
    let (ready_status, word) = standing(object);
    let status = object.tenant_status().unwrap_or_default();
    let up = ready_machines(&status);
    // What the controller has not looked at yet is told as it was written.
    let known_or_written = |known: Option<String>, pointers: &[&str]| {
        let mut written = pointers.iter().filter_map(|pointer| object.text(pointer));
        known.or_else(|| written.next().map(str::to_owned)).unwrap_or_default()
    };
    let message = object.condition(condition::READY).map(|ready| ready.message);
    let TenantStatus { source, org, app, volumes, .. } = status;
    vec![
        object.name().to_owned(),
        condition_text(ready_status).to_owned(),
        word,
        up,
        known_or_written(app, &["/spec/app", "/spec/app/name"]),
        created(object, now),
        known_or_written(org, &["/spec/org"]),
        object.text("/spec/class").unwrap_or_default().to_owned(),
        source.unwrap_or_default(),
        volumes.len().to_string(),
        message.unwrap_or_default(),
    ]
}

fn class_row(object: &Object, now: Timestamp) -> Vec<String> {
    let count = |pointer: &str| {
        let members = object.0.pointer(pointer).and_then(serde_json::Value::as_array);
        members.map_or(0, Vec::len).to_string()
    };
    vec![
        object.name().to_owned(),
        count("/spec/machines"),
        count("/spec/volumes"),
        created(object, now),
        object.text("/spec/org").unwrap_or_default().to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn tenants() -> Vec<Object> {
        let ready = |status: &str, generation: i64| {
            json!({ "type": "Ready", "status": status, "observedGeneration": generation,
                "lastTransitionTime": "2026-03-01T11:00:00Z", "reason": "AllReady",
                "message": "1 of 1 machine is as wanted." })
        };
        let status = json!({
            "observedGeneration": 1, "conditions": [ready("True", 1)], "source": "folder acme.yaml",
            "org": "local", "app": "acme-7k2m9qxa",
            "machines": [{ "name": "acme-box-0", "region": "ord", "ready": true }],
            "volumes": [{ "template": "data", "name": "v_abc", "machine": "acme-box-0", "sizeGb": 1 }],
        });
        vec![
            Object(json!({
                "apiVersion": "vaultctl.dev/v1", "kind": "Tenant",
                "metadata": { "name": "acme", "generation": 1, "creationTimestamp": "2026-03-01T11:55:30Z" },
                "spec": { "class": "dev-box" }, "status": status,
            })),
            Object(json!({
                "apiVersion": "vaultctl.dev/v1", "kind": "Tenant",
                "metadata": { "name": "changed", "generation": 2, "creationTimestamp": "2026-03-01T09:00:00Z" },
                "spec": { "app": "changed-app" }, "status": { "conditions": [ready("True", 1)] },
            })),
            Object(json!({
                "apiVersion": "vaultctl.dev/v1", "kind": "Tenant",
                "metadata": { "name": "going", "deletionTimestamp": "2026-03-01T11:59:59Z" },
                "spec": { "app": { "name": "shared-app", "shared": true } },
            })),
        ]
    }

    #[test]
    fn tenants_are_told_in_a_line_each() {
        let narrow = table(Resource::Tenant, &tenants(), &TableOptions::default(), now());
        insta::assert_snapshot!(narrow, @r"
        NAME      READY     STATUS     MACHINES   APP             AGE
        acme      True      AllReady   1/1        acme-7k2m9qxa   4m30s
        changed   Unknown   Pending    0/0        changed-app     3h
        going     Unknown   Deleting   0/0        shared-app      -
        ");
    }

    #[test]
    fn wide_tables_say_more_and_headers_can_go() {
        let options = TableOptions {
            wide: true,
            no_headers: true,
            with_kind: true,
            ..TableOptions::default()
        };
        let wide = table(Resource::Tenant, &tenants()[..1], &options, now());
        insta::assert_snapshot!(wide, @"tenant/acme   True   AllReady   1/1   acme-7k2m9qxa   4m30s   local   dev-box   folder acme.yaml   1   1 of 1 machine is as wanted.");
    }

    #[test]
    fn labels_are_columns_of_their_own_or_one_together() {
        let mut tenants = tenants();
        tenants.truncate(2);
        tenants[0].0["metadata"]["labels"] = json!({ "tier": "pro", "example.com/env": "dev" });
        let options = TableOptions {
            show_labels: true,
            label_columns: vec!["example.com/env".to_owned()],
            ..TableOptions::default()
        };
        let text = table(Resource::Tenant, &tenants, &options, now());
        insta::assert_snapshot!(text, @r"
        NAME      READY     STATUS     MACHINES   APP             AGE     ENV   LABELS
        acme      True      AllReady   1/1        acme-7k2m9qxa   4m30s   dev   example.com/env=dev,tier=pro
        changed   Unknown   Pending    0/0        changed-app     3h      -     <none>
        ");
    }

    #[test]
    fn classes_count_their_templates() {
        let class = Object(json!({
            "kind": "TenantClass", "metadata": { "name": "dev-box" },
            "spec": { "machines": [{ "name": "box" }], "volumes": [] },
        }));
        let text = table(Resource::TenantClass, &[class], &TableOptions::default(), now());
        insta::assert_snapshot!(text, @r"
        NAME      MACHINES   VOLUMES   AGE
        dev-box   1          0         -
        ");
    }
}
