//! Events as core/v1 Events: what happened to tenants and to the controller, read-only.
//!
//! Events that say the same of the same object are one Event with a count, as Kubernetes' own
//! recorder makes them. How far back they go is the store's business.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};
use vault_api::object::API_VERSION;
use vault_plan::identity::ControllerId;

use super::App;
use super::caller::Caller;
use super::error::ApiError;
use super::list;
use super::namespaces::DEFAULT;
use super::options::ListOptions;
use super::resources::EVENTS;
use super::watching::{self, Topic};
use crate::clock::{Clock, rfc3339};
use crate::platform::Platform;
use crate::select::Selection;
use crate::store::{ApiStore, EventSeries, Kind};

/// Who says all this.
const COMPONENT: &str = "vault-controller";
/// The kind of the object that events without a tenant are about.
const CONTROLLER_KIND: &str = "Controller";

/// The events that were kept, those that happened last at the end; or those that happen.
pub(super) async fn list<P: Platform, S: ApiStore, C: Clock>(
    State(app): State<Arc<App<P, S, C>>>,
    Extension(caller): Extension<Caller>,
    Query(options): Query<ListOptions>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if options.is_watch()? {
        return watching::answer(&app, &caller, Topic::Events, &headers, &options).await;
    }
    let selection = options.selection(&EVENTS)?;
    let version = app.store.resource_version().await?;
    let mut series = app.store.events(tenant(&selection)).await?;
    keep_seen(&app, &caller, &mut series).await?;
    let events = series.iter().map(|series| to_json(&app.controller, series));
    list::whole(&EVENTS, &headers, &options, version, events, app.clock.now())
}

/// The same of one namespace; all events lie in one.
pub(super) async fn list_in_namespace<P: Platform, S: ApiStore, C: Clock>(
    state: State<Arc<App<P, S, C>>>,
    caller: Extension<Caller>,
    Path(namespace): Path<String>,
    query: Query<ListOptions>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if namespace == DEFAULT {
        return list(state, caller, query, headers).await;
    }
    let State(app) = state;
    if query.is_watch()? {
        return watching::silence(&app, &caller, Topic::Events, &headers, &query).await;
    }
    let version = app.store.resource_version().await?;
    let none = std::iter::empty();
    list::whole(&EVENTS, &headers, &query, version, none, app.clock.now())
}

/// One event, by the name that it has in lists.
pub(super) async fn read<P: Platform, S: ApiStore, C: Clock>(
    State(app): State<Arc<App<P, S, C>>>,
    Extension(caller): Extension<Caller>,
    Path((namespace, name)): Path<(String, String)>,
    Query(options): Query<ListOptions>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut series = app.store.events(None).await?;
    keep_seen(&app, &caller, &mut series).await?;
    let mut events = series.iter().map(|series| to_json(&app.controller, series));
    let found = events.find(|event| namespace == DEFAULT && event["metadata"]["name"] == *name);
    let event = found.ok_or(ApiError::NoSuchItem(EVENTS.plural, name))?;
    list::single(&EVENTS, &headers, &options, event, app.clock.now())
}

/// Leaves only the events of tenants that exist for this caller.
async fn keep_seen<P, S: ApiStore, C>(
    app: &App<P, S, C>,
    caller: &Caller,
    series: &mut Vec<EventSeries>,
) -> Result<(), ApiError> {
    if caller.limit().is_none() {
        return Ok(());
    }
    let tenants = app.store.objects(Kind::Tenant).await?;
    let seen: HashSet<&str> = tenants
        .iter()
        .filter(|tenant| caller.sees(tenant))
        .map(|tenant| tenant.name.as_str())
        .collect();
    series.retain(|series| seen.contains(series.event.tenant.as_str()));
    Ok(())
}

/// The one tenant that can be selected events of, so that the store reads no others.
fn tenant(selection: &Selection) -> Option<&str> {
    let fields = &selection.fields;
    fields.required("involvedObject.kind").filter(|kind| *kind == Kind::Tenant.word())?;
    fields.required("involvedObject.name").filter(|name| !name.is_empty())
}

/// A series as a core/v1 Event. Its name is derived from what it says, so it stays the same while
/// the count grows.
pub(super) fn to_json(controller: &ControllerId, series: &EventSeries) -> Value {
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
            "namespace": DEFAULT,
            "uid": own_uid.to_string(),
            "resourceVersion": series.version.to_string(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::fields::FieldSelector;

    #[test]
    fn the_store_reads_one_tenant_if_only_that_can_match() {
        for (text, expected) in [
            ("involvedObject.kind=Tenant,involvedObject.name=acme", Some("acme")),
            ("involvedObject.name=acme", None),
            ("involvedObject.kind=Tenant", None),
            ("involvedObject.kind=Tenant,involvedObject.name!=acme", None),
            ("involvedObject.kind=TenantClass,involvedObject.name=acme", None),
        ] {
            let fields = FieldSelector::read(text, EVENTS.fields).unwrap();
            assert_eq!(tenant(&Selection { fields, ..Selection::default() }), expected, "{text}");
        }
    }
}
