//! Events as core/v1 Events: what happened to tenants and to the controller, read-only.
//!
//! Events that say the same of the same object are one Event with a count, as Kubernetes' own
//! recorder makes them. How far back they go is the store's business.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use vault_api::object::API_VERSION;
use vault_plan::identity::ControllerId;

use super::App;
use super::error::ApiError;
use crate::clock::{Clock, rfc3339};
use crate::platform::Platform;
use crate::store::{EventSeries, Kind, Store};

/// Who says all this.
const COMPONENT: &str = "vault-controller";
/// Cluster-scoped objects have their events in this namespace, as in Kubernetes.
const NAMESPACE: &str = "default";
/// The kind of the object that events without a tenant are about.
const CONTROLLER_KIND: &str = "Controller";

/// The fields that can be selected by, and where they stand in an Event.
const FIELDS: [(&str, &str); 6] = [
    ("involvedObject.kind", "/involvedObject/kind"),
    ("involvedObject.name", "/involvedObject/name"),
    // Our objects have none; `kubectl describe` says so in its selector.
    ("involvedObject.namespace", "/involvedObject/namespace"),
    ("involvedObject.uid", "/involvedObject/uid"),
    ("reason", "/reason"),
    ("type", "/type"),
];

/// Options of a list. Unknown ones are ignored, as Kubernetes does.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ListOptions {
    field_selector: String,
    watch: String,
}

/// The events that were kept, those that happened last at the end.
pub(super) async fn list<P: Platform, S: Store, C: Clock>(
    State(app): State<Arc<App<P, S, C>>>,
    Query(options): Query<ListOptions>,
) -> Result<Json<Value>, ApiError> {
    // A list in answer to it would look like a watch that broke off.
    if matches!(options.watch.as_str(), "1" | "true") {
        return Err(ApiError::BadRequest("events cannot be watched yet: list them".to_owned()));
    }
    let selector = FieldSelector::read(&options.field_selector).map_err(ApiError::BadRequest)?;
    let version = app.store.resource_version().await?;
    let series = app.store.events(selector.tenant()).await?;
    let events = series.iter().map(|series| to_json(&app.controller, series));
    let items: Vec<Value> = events.filter(|event| selector.matches(event)).collect();
    Ok(Json(json!({
        "apiVersion": "v1",
        "kind": "EventList",
        "metadata": { "resourceVersion": version.to_string() },
        "items": items,
    })))
}

/// A series as a core/v1 Event. Its name is derived from what it says, so it stays the same while
/// the count grows. It has no resourceVersion, because nothing can be asked of it.
fn to_json(controller: &ControllerId, series: &EventSeries) -> Value {
    let event = &series.event;
    let (kind, name, uid) = match event.tenant.as_str() {
        "" => (CONTROLLER_KIND, COMPONENT, controller.to_string()),
        tenant => (Kind::Tenant.word(), tenant, controller.tenant_uid(tenant).to_string()),
    };
    let level = if event.warning { "Warning" } else { "Normal" };
    let said = format!("{}\n{level}\n{}\n{}", event.tenant, event.reason, event.message);
    let own_uid = controller.object_uid("Event", &said);
    let (first, last) = (rfc3339(series.first_at), rfc3339(event.at));
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": format!("{name}.{}", own_uid.simple()),
            "namespace": NAMESPACE,
            "uid": own_uid.to_string(),
            "creationTimestamp": first,
        },
        "involvedObject": { "apiVersion": API_VERSION, "kind": kind, "name": name, "uid": uid },
        "type": level,
        "reason": event.reason,
        "message": event.message,
        "count": series.count,
        "firstTimestamp": first,
        "lastTimestamp": last,
        "eventTime": null,
        "source": { "component": COMPONENT },
        "reportingComponent": COMPONENT,
        "reportingInstance": controller.to_string(),
    })
}

/// What an Event's fields must be; all requirements hold together.
#[derive(Debug, PartialEq, Eq)]
struct FieldSelector(Vec<Requirement>);

#[derive(Debug, PartialEq, Eq)]
struct Requirement {
    pointer: &'static str,
    value: String,
    equal: bool,
}

impl FieldSelector {
    /// Reads Kubernetes' grammar: `field=value`, `field==value` and `field!=value`, with commas
    /// between; a backslash before a comma, an equals sign or a backslash makes it part of a value.
    fn read(text: &str) -> Result<Self, String> {
        let parts = split(text)?;
        let requirements = parts.iter().filter(|part| !part.is_empty()).map(|part| {
            let (field, value, equal) = operands(part).ok_or_else(|| {
                format!("{part:?} is not a requirement such as field=value or field!=value")
            })?;
            let known = FIELDS.iter().find(|(name, _)| *name == field);
            let (_, pointer) = known.ok_or_else(|| {
                let names = FIELDS.map(|(name, _)| name).join(", ");
                format!("field label not supported: {field}; events are selected by {names}")
            })?;
            Ok(Requirement { pointer, value: unescaped(value)?, equal })
        });
        requirements.collect::<Result<_, String>>().map(Self)
    }

    fn matches(&self, event: &Value) -> bool {
        self.0.iter().all(|wanted| {
            let found = event.pointer(wanted.pointer).and_then(Value::as_str).unwrap_or_default();
            (found == wanted.value) == wanted.equal
        })
    }

    /// The one tenant that it can select events of, so that the store reads no others.
    fn tenant(&self) -> Option<&str> {
        let wanted = |pointer: &str| {
            let found = self.0.iter().find(|one| one.equal && one.pointer == pointer);
            found.map(|one| one.value.as_str())
        };
        wanted("/involvedObject/kind").filter(|kind| *kind == Kind::Tenant.word())?;
        wanted("/involvedObject/name").filter(|name| !name.is_empty())
    }
}

/// The parts between commas that no backslash stands before, still with their backslashes.
fn split(text: &str) -> Result<Vec<&str>, String> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (position, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..position]);
                start = position + 1;
            }
            _ => {}
        }
    }
    if escaped {
        return Err(format!("nothing stands after the last backslash of {text:?}"));
    }
    parts.push(&text[start..]);
    Ok(parts)
}

/// Field, value still with its backslashes, and whether they must be equal. Fields hold neither
/// equals signs nor exclamation marks.
fn operands(part: &str) -> Option<(&str, &str, bool)> {
    let (field, value) = part.split_once('=')?;
    match field.strip_suffix('!') {
        Some(field) => Some((field, value, false)),
        None => Some((field, value.strip_prefix('=').unwrap_or(value), true)),
    }
}

fn unescaped(text: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some(special @ ('\\' | ',' | '=')) => plain.push(special),
                _ => {
                    return Err(format!(
                        "in {text:?} a backslash stands before something else than a comma, an equals sign or a backslash"
                    ));
                }
            },
            '=' => return Err(format!("in {text:?} an equals sign needs a backslash before it")),
            other => plain.push(other),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> FieldSelector {
        FieldSelector::read(text).unwrap()
    }

    #[test]
    fn selectors_select_as_kubernetes_does() {
        let event = json!({
            "involvedObject": { "kind": "Tenant", "name": "acme" }, "reason": "a,b=c\\d",
        });
        for (text, selected) in [
            ("", true),
            ("involvedObject.name=acme", true),
            ("involvedObject.name==acme,involvedObject.kind=Tenant", true),
            ("involvedObject.name!=acme", false),
            ("involvedObject.name!=umbra", true),
            ("involvedObject.name=acme,involvedObject.kind=TenantClass", false),
            ("involvedObject.namespace=,involvedObject.name=acme", true),
            ("involvedObject.name=", false),
            (r"reason=a\,b\=c\\d", true),
        ] {
            assert_eq!(read(text).matches(&event), selected, "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in
            ["reason", "message=x", "=x", r"reason=\", r"reason=\x", "reason=a=b", "a!b=c", "=="]
        {
            assert!(FieldSelector::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_store_reads_one_tenant_if_only_that_can_match() {
        for (text, tenant) in [
            ("involvedObject.kind=Tenant,involvedObject.name=acme", Some("acme")),
            ("involvedObject.name=acme", None),
            ("involvedObject.kind=Tenant", None),
            ("involvedObject.kind=Tenant,involvedObject.name!=acme", None),
            ("involvedObject.kind=TenantClass,involvedObject.name=acme", None),
        ] {
            assert_eq!(read(text).tenant(), tenant, "{text}");
        }
    }
}
