//! Discovery: which groups and resources there are, in the old form and in the aggregated one.
//!
//! kubectl asks `/api` and `/apis` once, for everything in one document if the server has that, and
//! keeps the answer for hours.

use axum::Json;
use axum::extract::Path;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_TYPE, VARY};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use vault_api::object::GROUP;

use super::error::ApiError;
use super::forms::accepted;
use super::resources::{Resource, VERSION};

/// The group of the aggregated form.
const AGGREGATED: &str = "apidiscovery.k8s.io";

/// `/api`: the core group.
pub(super) async fn core(headers: HeaderMap) -> Response {
    let legacy = json!({
        "kind": "APIVersions", "versions": [VERSION], "serverAddressByClientCIDRs": [],
    });
    answer(&headers, "", legacy)
}

/// `/apis`: all other groups.
pub(super) async fn groups(headers: HeaderMap) -> Response {
    let legacy = json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [group_json()] });
    answer(&headers, GROUP, legacy)
}

/// `/apis/GROUP`: one group.
pub(super) async fn group(Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    if name != GROUP {
        return Err(ApiError::NoSuchPath);
    }
    let mut group = group_json();
    group["kind"] = json!("APIGroup");
    group["apiVersion"] = json!("v1");
    Ok(Json(group))
}

/// `/api/v1`: the resources of the core group.
pub(super) async fn core_resources() -> Json<Value> {
    Json(resources("", VERSION))
}

/// `/apis/vaultctl.dev/v1`: our resources.
pub(super) async fn our_resources() -> Json<Value> {
    Json(resources(GROUP, vault_api::object::API_VERSION))
}

fn group_json() -> Value {
    let version = json!({ "groupVersion": format!("{GROUP}/{VERSION}"), "version": VERSION });
    json!({ "name": GROUP, "versions": [version], "preferredVersion": version })
}

/// The aggregated form if the client prefers it, in the newest version that it knows.
fn answer(headers: &HeaderMap, group: &str, legacy: Value) -> Response {
    let chosen = accepted(headers).into_iter().find_map(|range| {
        let is_list = range.parameter("as") == "APIGroupDiscoveryList";
        match (range.parameter("g"), range.parameter("v")) {
            (AGGREGATED, version @ ("v2" | "v2beta1")) if is_list => Some(Some(version.to_owned())),
            ("", _) if range.takes_json() => Some(None),
            _ => None,
        }
    });
    let (form, body) = match chosen.flatten() {
        Some(version) => (
            format!("application/json;g={AGGREGATED};v={version};as=APIGroupDiscoveryList"),
            aggregated(group, &version),
        ),
        None => ("application/json".to_owned(), legacy),
    };
    ([(CONTENT_TYPE, form), (VARY, "Accept".to_owned())], body.to_string()).into_response()
}

fn aggregated(group: &str, version: &str) -> Value {
    let resources: Vec<Value> = Resource::of_group(group).map(aggregated_resource).collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("{AGGREGATED}/{version}"),
        "metadata": {},
        "items": [{
            "metadata": { "name": group, "creationTimestamp": null },
            "versions": [{
                "version": VERSION, "freshness": "Current", "resources": resources,
            }],
        }],
    })
}

fn aggregated_resource(resource: &'static Resource) -> Value {
    let scope = if resource.namespaced { "Namespaced" } else { "Cluster" };
    let kind = |kind: &str| json!({ "group": resource.group, "version": VERSION, "kind": kind });
    let subresources: Vec<Value> = resource
        .subresources
        .iter()
        .map(|below| {
            json!({
                "subresource": below.name,
                "responseKind": kind(below.kind),
                "verbs": below.verbs,
            })
        })
        .collect();
    let mut told = json!({
        "resource": resource.plural,
        "responseKind": kind(resource.kind),
        "scope": scope,
        "singularResource": resource.singular,
        "verbs": resource.verbs,
        "shortNames": resource.short_names,
    });
    if !resource.categories.is_empty() {
        told["categories"] = json!(resource.categories);
    }
    if !subresources.is_empty() {
        told["subresources"] = json!(subresources);
    }
    told
}

fn resources(group: &'static str, group_version: &str) -> Value {
    let mut list = Vec::new();
    for resource in Resource::of_group(group) {
        let mut told = json!({
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": resource.verbs,
            "shortNames": resource.short_names,
        });
        if !resource.categories.is_empty() {
            told["categories"] = json!(resource.categories);
        }
        list.push(told);
        list.extend(resource.subresources.iter().map(|below| {
            json!({
                "name": format!("{}/{}", resource.plural, below.name),
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": below.kind,
                "verbs": below.verbs,
            })
        }));
    }
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version,
        "resources": list,
    })
}
