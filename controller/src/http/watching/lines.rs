//! The lines of a watch: one JSON document each.

use axum::body::Bytes;
use serde_json::{Value, json};
use vault_api::object::Status;
use vault_plan::time::UnixMillis;

use crate::http::forms::Form;
use crate::http::resources::Resource;

/// What is told of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventType {
    /// It is there, and was not.
    Added,
    /// It has changed.
    Modified,
    /// It is not there any more.
    Deleted,
}

impl EventType {
    /// How many there are.
    pub(super) const COUNT: usize = 3;

    /// A number below [`EventType::COUNT`], for tables.
    pub(super) fn index(self) -> usize {
        match self {
            Self::Added => 0,
            Self::Modified => 1,
            Self::Deleted => 2,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// Tells of an object.
pub(super) fn object(
    resource: &Resource,
    told: EventType,
    form: Form,
    object: Value,
    now: UnixMillis,
) -> Bytes {
    line(told.word(), &form.single(resource, object, now))
}

/// Tells that everything up to a version was told.
pub(super) fn bookmark(resource: &Resource, form: Form, version: i64) -> Bytes {
    line("BOOKMARK", &marker(resource, form, version))
}

/// The same, after all that exists was told.
pub(super) fn initial_end(resource: &Resource, form: Form, version: i64) -> Bytes {
    let mut marker = marker(resource, form, version);
    let annotations = json!({ "k8s.io/initial-events-end": "true" });
    match form {
        Form::Object | Form::Partial => marker["metadata"]["annotations"] = annotations,
        // A table has no annotations; the object in its only row has.
        Form::Table(_) => {
            let cells: Vec<Value> = resource.columns.iter().map(|_| json!("")).collect();
            let metadata = json!({
                "resourceVersion": version.to_string(), "creationTimestamp": null,
                "annotations": annotations,
            });
            let object = json!({
                "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
                "metadata": metadata,
            });
            marker["rows"] = json!([{ "cells": cells, "object": object }]);
        }
    }
    line("BOOKMARK", &marker)
}

/// Tells why the watch ends.
pub(super) fn error(status: &Status) -> Bytes {
    line("ERROR", &json!(status))
}

fn marker(resource: &Resource, form: Form, version: i64) -> Value {
    let version = version.to_string();
    let (api_version, kind) = match form {
        Form::Object => (resource.api_version(), resource.kind),
        Form::Partial => ("meta.k8s.io/v1".to_owned(), "PartialObjectMetadata"),
        Form::Table(_) => {
            let mut table = form.empty(resource);
            table["metadata"] = json!({ "resourceVersion": version });
            table["rows"] = json!([]);
            return table;
        }
    };
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": { "resourceVersion": version, "creationTimestamp": null },
    })
}

fn line(told: &str, object: &Value) -> Bytes {
    format!("{{\"type\":\"{told}\",\"object\":{object}}}\n").into()
}
