//! The forms in which objects are answered, and how one of them is chosen.
//!
//! ```text
//!   Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json
//!              │ the first one that we speak
//!              ▼
//!   Object (as it is)  |  Table (cells, with more or less of the object)  |  Partial (metadata)
//! ```

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use serde_json::{Value, json};
use vault_plan::time::UnixMillis;

use super::error::ApiError;
use super::resources::Resource;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Objects as they are.
    Object,
    /// Rows of cells.
    Table(Include),
    /// Objects without spec and status.
    Partial,
}

/// How much of each object stands beside its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Include {
    /// Nothing.
    None,
    /// Its metadata.
    Metadata,
    /// All of it.
    Object,
}

/// One media range of an Accept header.
pub(super) struct Range<'a> {
    /// Such as `application/json`.
    pub(super) media: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Range<'a> {
    /// A parameter; empty if absent.
    pub(super) fn parameter(&self, name: &str) -> &'a str {
        let found = self.parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| *value).unwrap_or_default()
    }

    /// Whether JSON may be answered.
    pub(super) fn takes_json(&self) -> bool {
        matches!(self.media, "application/json" | "application/*" | "*/*")
    }
}

/// The media ranges that a client takes, in its order; everything if it does not say.
pub(super) fn accepted(headers: &HeaderMap) -> Vec<Range<'_>> {
    let texts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<Range<'_>> = texts
        .flat_map(|text| text.split(','))
        .filter(|part| !part.trim().is_empty())
        .map(|part| {
            let mut parts = part.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let parameters = parts
                .filter_map(|pair| pair.split_once('='))
                .map(|(key, value)| (key.trim(), value.trim()))
                .collect();
            Range { media, parameters }
        })
        .collect();
    match ranges.is_empty() {
        true => vec![Range { media: "*/*", parameters: Vec::new() }],
        false => ranges,
    }
}

impl Form {
    /// All forms, in the order of [`Form::index`].
    pub(super) const COUNT: usize = 5;

    /// Chooses the first form that the client takes and we speak. `include` is the query's
    /// `includeObject`.
    pub(super) fn choose(headers: &HeaderMap, include: &str) -> Result<Self, ApiError> {
        let include = match include {
            "" | "Metadata" => Include::Metadata,
            "None" => Include::None,
            "Object" => Include::Object,
            other => {
                return Err(ApiError::BadRequest(format!(
                    "includeObject is {other:?}; it can be None, Metadata or Object"
                )));
            }
        };
        let chosen =
            accepted(headers).iter().filter(|range| range.takes_json()).find_map(|range| {
                let is_meta = range.parameter("g") == "meta.k8s.io" && range.parameter("v") == "v1";
                match range.parameter("as") {
                    "" => Some(Self::Object),
                    "Table" if is_meta => Some(Self::Table(include)),
                    "PartialObjectMetadata" | "PartialObjectMetadataList" if is_meta => {
                        Some(Self::Partial)
                    }
                    _ => None,
                }
            });
        chosen.ok_or(ApiError::NotAcceptable)
    }

    /// A number below [`Form::COUNT`], for tables.
    pub(super) fn index(self) -> usize {
        match self {
            Self::Object => 0,
            Self::Table(Include::None) => 1,
            Self::Table(Include::Metadata) => 2,
            Self::Table(Include::Object) => 3,
            Self::Partial => 4,
        }
    }

    /// One object as an item of a list: a row, if the list is a table.
    pub(super) fn item(self, resource: &Resource, object: Value, now: UnixMillis) -> Value {
        match self {
            Self::Object => object,
            Self::Partial => partial(object),
            Self::Table(include) => {
                let cells = (resource.row)(&object, now);
                match include {
                    Include::None => json!({ "cells": cells }),
                    Include::Metadata => json!({ "cells": cells, "object": partial(object) }),
                    Include::Object => json!({ "cells": cells, "object": object }),
                }
            }
        }
    }

    /// One object alone.
    pub(super) fn single(self, resource: &Resource, object: Value, now: UnixMillis) -> Value {
        if !matches!(self, Self::Table(_)) {
            return self.item(resource, object, now);
        }
        let version = object.pointer("/metadata/resourceVersion").cloned();
        let mut table = self.empty(resource);
        table["metadata"] = json!({ "resourceVersion": version.unwrap_or_else(|| json!("")) });
        table["rows"] = json!([self.item(resource, object, now)]);
        table
    }

    /// A list with nothing in it, and without metadata.
    pub(super) fn empty(self, resource: &Resource) -> Value {
        match self {
            Self::Object => json!({
                "apiVersion": resource.api_version(),
                "kind": format!("{}List", resource.kind),
            }),
            Self::Partial => json!({
                "apiVersion": "meta.k8s.io/v1",
                "kind": "PartialObjectMetadataList",
            }),
            Self::Table(_) => json!({
                "apiVersion": "meta.k8s.io/v1",
                "kind": "Table",
                "columnDefinitions": columns(resource),
            }),
        }
    }

    /// The name of a list's items.
    pub(super) fn items(self) -> &'static str {
        match self {
            Self::Table(_) => "rows",
            Self::Object | Self::Partial => "items",
        }
    }
}

fn partial(mut object: Value) -> Value {
    let metadata = object.get_mut("metadata").map(Value::take).unwrap_or_default();
    json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata,
    })
}

fn columns(resource: &Resource) -> Vec<Value> {
    let told = resource.columns.iter().map(|column| {
        json!({
            "name": column.name,
            "type": column.form,
            "format": column.format,
            "description": column.description,
            "priority": column.priority,
        })
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(accept: &str, include: &str) -> Result<Form, ApiError> {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(ACCEPT, accept.parse().unwrap());
        }
        Form::choose(&headers, include)
    }

    #[test]
    fn the_first_form_that_we_speak_is_taken() {
        let table = Form::Table(Include::Metadata);
        for (accept, form) in [
            ("", Some(Form::Object)),
            ("*/*", Some(Form::Object)),
            ("application/json", Some(Form::Object)),
            ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Some(table)),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,\
                 application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
                Some(table),
            ),
            ("application/json; g=meta.k8s.io; v=v1; as=Table", Some(table)),
            ("application/json;as=Table;v=v1beta1;g=meta.k8s.io", None),
            (
                "application/json;as=Table;v=v1beta1;g=meta.k8s.io, application/json",
                Some(Form::Object),
            ),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,\
                 application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
                Some(Form::Partial),
            ),
            ("application/vnd.kubernetes.protobuf,application/json", Some(Form::Object)),
            ("application/vnd.kubernetes.protobuf", None),
            ("text/html", None),
        ] {
            assert_eq!(choose(accept, "").ok(), form, "{accept}");
        }
        let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
        assert_eq!(choose(accept, "None").unwrap(), Form::Table(Include::None));
        assert_eq!(choose(accept, "Object").unwrap(), Form::Table(Include::Object));
        assert!(choose(accept, "Some").is_err());
    }
}
