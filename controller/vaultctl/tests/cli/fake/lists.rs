//! Lists as Kubernetes defines them: selectors, limit and continue; and discovery.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path as UrlPath, RawQuery, State};
use axum::response::IntoResponse as _;
use serde_json::{Value, json};
use vault_api::selector::LabelSelector;

use super::{Answer, Shared, status, watches};

/// The fields that can be selected by.
const FIELDS: [&str; 5] =
    ["metadata.name", "involvedObject.kind", "involvedObject.name", "type", "reason"];

/// What the query of a list or a watch says.
#[derive(Debug, Default)]
pub(super) struct Query {
    labels: Option<LabelSelector>,
    fields: Vec<(String, String)>,
    options: BTreeMap<String, String>,
}

impl Query {
    fn read(raw: &str) -> Result<Self, String> {
        let url = format!("http://x/?{raw}");
        let options: BTreeMap<String, String> =
            reqwest::Url::parse(&url).unwrap().query_pairs().into_owned().collect();
        let labels =
            options.get("labelSelector").map(|text| text.parse::<LabelSelector>()).transpose();
        let mut fields = Vec::new();
        let selector = options.get("fieldSelector").map(String::as_str).unwrap_or_default();
        for part in selector.split(',').filter(|part| !part.is_empty()) {
            let (field, value) = part.split_once('=').unwrap_or((part, ""));
            if !FIELDS.contains(&field) {
                return Err(format!("field label not supported: {field}"));
            }
            fields.push((field.to_owned(), value.to_owned()));
        }
        let labels = labels.map_err(|error| error.to_string())?;
        Ok(Self { labels, fields, options })
    }

    /// Whether an object is selected.
    pub(super) fn selects(&self, object: &Value) -> bool {
        let labels = object["metadata"]["labels"].as_object();
        let has = |(field, wanted): &(String, String)| {
            let found = object.pointer(&format!("/{}", field.replace('.', "/")));
            found.and_then(Value::as_str).unwrap_or_default() == wanted
        };
        self.labels.as_ref().is_none_or(|wanted| wanted.matches(labels))
            && self.fields.iter().all(has)
    }

    /// The version after which a watch begins.
    pub(super) fn version(&self) -> u64 {
        self.options.get("resourceVersion").and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    fn number(&self, option: &str) -> usize {
        self.options.get(option).and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

/// Tenants or classes.
pub(super) async fn objects(
    State(world): State<Shared>,
    UrlPath(resource): UrlPath<String>,
    RawQuery(raw): RawQuery,
) -> Answer {
    answer(&world, &resource, &raw.unwrap_or_default()).await
}

/// Events.
pub(super) async fn events(State(world): State<Shared>, RawQuery(raw): RawQuery) -> Answer {
    answer(&world, "events", &raw.unwrap_or_default()).await
}

async fn answer(shared: &Shared, resource: &str, raw: &str) -> Answer {
    let query = Query::read(raw).map_err(|message| status(400, "BadRequest", &message, &[]))?;
    let is_watch = query.options.get("watch").is_some_and(|watch| watch == "true");
    let mut world = shared.lock().unwrap();
    if resource == "events" && world.events.is_none() {
        return Err(status(404, "NotFound", "the server could not find the resource", &[]));
    }
    let verb = if is_watch { "watch" } else { "list" };
    world.reads.push(format!("{verb} {resource}?{raw}"));
    world.asked.notify_all();
    if is_watch {
        drop(world);
        return Ok(watches::answer(shared, resource, query));
    }
    let begins_after = query.options.get("continue").cloned().unwrap_or_default();
    if world.pages_expire && !begins_after.is_empty() {
        return Err(status(410, "Expired", "the continue token is too old", &[]));
    }
    let keys: Vec<_> = world
        .objects
        .iter()
        .filter(|((of, _), object)| of == resource && query.selects(object))
        .map(|(key, _)| key.clone())
        .collect();
    for key in keys {
        world.look(&key);
    }
    let stored = world.objects.iter().filter(|((of, _), _)| of == resource);
    let mut items: Vec<Value> = stored.map(|(_, object)| object.clone()).collect();
    if resource == "events" {
        items = world.events.clone().unwrap_or_default();
    }
    items.retain(|item| query.selects(item));
    let mut metadata = json!({ "resourceVersion": world.version.to_string() });
    // A page begins after the name that the last one ended with.
    let name = |item: &Value| item["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    items.retain(|item| begins_after.is_empty() || name(item) > begins_after);
    let limit = query.number("limit");
    if limit > 0 && items.len() > limit && resource != "events" {
        items.truncate(limit);
        metadata["continue"] = json!(items.last().map(name));
    }
    Ok(Json(json!({ "apiVersion": "vaultctl.dev/v1", "kind": "TenantList", "metadata": metadata,
        "items": items }))
    .into_response())
}

/// `/apis/vaultctl.dev/v1`
pub(super) fn resources() -> Value {
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "vaultctl.dev/v1",
        "resources": [
            { "name": "tenants", "singularName": "tenant", "namespaced": false, "kind": "Tenant",
              "verbs": ["get", "list", "watch"], "shortNames": ["tn"], "categories": ["all"] },
            { "name": "tenants/status", "singularName": "", "namespaced": false, "kind": "Tenant",
              "verbs": ["get"] },
            { "name": "tenantclasses", "singularName": "tenantclass", "namespaced": false,
              "kind": "TenantClass", "verbs": ["get", "list"] },
        ] })
}

/// `/api/v1`
pub(super) fn core_resources() -> Value {
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": [
        { "name": "events", "singularName": "event", "namespaced": true, "kind": "Event",
          "verbs": ["list", "watch"], "shortNames": ["ev"] },
    ] })
}
