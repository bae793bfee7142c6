//! `POST /graphql`: the part of the platform's GraphQL that clients of the REST API need beside it.
//!
//! Each root field below answers with all members that it knows, and the answer is cut to what was
//! selected. What is not known is an error that names it, never a guess.

mod document;
mod tokens;

use std::collections::BTreeMap;

use axum::extract::State;
use axum::{Json, Router, routing::post};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use self::document::Selection;
use super::Api;
use super::extract::Body;
use crate::api::error::ApiError;
use crate::tokens::Caller;
use crate::world::belonging::Kind;
use crate::world::belonging::address::{AddressType, NewAssignment};
use crate::world::region::{NEAREST, REGIONS};
use crate::world::{Belonging, SecretValue, Thing};

/// A request.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Request {
    query: String,
    variables: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SetSecrets {
    app_id: String,
    secrets: Vec<NamedSecret>,
    replace_all: Option<bool>,
}

#[derive(Deserialize)]
struct NamedSecret {
    key: String,
    value: SecretValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UnsetSecrets {
    app_id: String,
    keys: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AllocateAddress {
    app_id: String,
    #[serde(rename = "type")]
    kind: AddressType,
    region: Option<String>,
    network: Option<String>,
    service_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReleaseAddress {
    app_id: Option<String>,
    ip_address_id: Option<String>,
    ip: Option<String>,
}

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/graphql", post(answer))
}

/// What a request asks for, as faults name it; nothing if it cannot be read.
pub(super) fn operations(body: &[u8]) -> Vec<String> {
    let request: Request = serde_json::from_slice(body).unwrap_or_default();
    let fields = document::parse(&request.query, &request.variables.unwrap_or_default());
    let fields = fields.unwrap_or_default().into_iter();
    fields.map(|field| format!("graphql.{}", field.name)).collect()
}

/// Errors come with status 200, as GraphQL has it.
async fn answer(
    State(api): State<Api>,
    caller: Caller,
    Body(request): Body<Request>,
) -> Json<Value> {
    let variables = request.variables.unwrap_or_default();
    let answered = document::parse(&request.query, &variables).and_then(|selections| {
        let mut data = Map::new();
        for selection in selections {
            let value = root_field(&api, &caller, &selection)?;
            data.insert(selection.name.clone(), document::select(&selection, &value)?);
        }
        Ok(data)
    });
    Json(match answered {
        Ok(data) => json!({ "data": data }),
        Err(message) => json!({ "data": null, "errors": [{ "message": message }] }),
    })
}

fn root_field(api: &Api, caller: &Caller, field: &Selection) -> Result<Value, String> {
    match field.name.as_str() {
        "app" => app(api, caller, field, &argument::<String>(field, "name")?),
        "organization" => organization(api, caller, field, &argument::<String>(field, "slug")?),
        "platform" => Ok(platform()),
        "setSecrets" => set_secrets(api, caller, argument(field, "input")?),
        "unsetSecrets" => {
            let UnsetSecrets { app_id, keys } = argument(field, "input")?;
            let changes = keys.into_iter().map(|key| (key, None)).collect();
            change_secrets(api, caller, &app_id, changes, false)
        }
        "allocateIpAddress" => allocate(api, caller, argument(field, "input")?),
        "releaseIpAddress" => release(api, caller, argument(field, "input")?),
        "createLimitedAccessToken" => tokens::create(api, caller, argument(field, "input")?),
        "deleteLimitedAccessToken" => tokens::delete(api, caller, argument(field, "input")?),
        other => Err(format!("Field '{other}' doesn't exist on type 'Queries' of this emulator")),
    }
}

/// An argument of a field. What does not parse is not quoted: it may be a secret.
fn argument<T: DeserializeOwned>(field: &Selection, name: &str) -> Result<T, String> {
    let missing = || format!("Field '{}' is missing required arguments: {name}", field.name);
    let value = field.arguments.get(name).cloned().ok_or_else(missing)?;
    serde_json::from_value(value)
        .map_err(|_| format!("Argument '{name}' on Field '{}' has an invalid value", field.name))
}

fn app(api: &Api, caller: &Caller, field: &Selection, name: &str) -> Result<Value, String> {
    let found = api.read_app(caller, name, |world, app| {
        let addresses: Vec<Value> = world.belongings(name, Kind::Address).map(address).collect();
        let status = if world.machine_count(name) == 0 { "pending" } else { "deployed" };
        let body = json!({
            "id": app.name,
            "name": app.name,
            "status": status,
            "organization": organization_body(&app.org),
            "ipAddresses": { "nodes": addresses },
        });
        // A page that cannot be given is said where it was asked for, beside the world's refusals.
        Ok(tokens::list(world, field, &app.org, Some(name)).map(|tokens| with_tokens(body, tokens)))
    });
    found.map_err(|error| said(&error, "Could not find App"))?
}

fn organization(
    api: &Api,
    caller: &Caller,
    field: &Selection,
    slug: &str,
) -> Result<Value, String> {
    if !caller.may_use_all_of(slug) {
        return Err("Could not find Organization".to_owned());
    }
    let listed = api.engine.read(|world| Ok(tokens::list(world, field, slug, None)));
    let listed = listed.map_err(|error| error.to_string())??;
    Ok(with_tokens(organization_body(slug), listed))
}

/// Adds the page of tokens that was asked for, if one was.
fn with_tokens(mut body: Value, tokens: Option<Value>) -> Value {
    if let (Some(members), Some(tokens)) = (body.as_object_mut(), tokens) {
        members.insert(tokens::LIST.to_owned(), tokens);
    }
    body
}

fn organization_body(slug: &str) -> Value {
    json!({ "id": slug, "slug": slug, "name": slug, "type": "SHARED", "viewerRole": "admin" })
}

fn platform() -> Value {
    let regions = REGIONS.iter().map(|region| {
        json!({
            "name": region.name, "code": region.code, "latitude": region.latitude,
            "longitude": region.longitude, "gatewayAvailable": true, "requiresPaidPlan": false,
        })
    });
    json!({ "requestRegion": NEAREST, "regions": regions.collect::<Vec<_>>() })
}

fn set_secrets(api: &Api, caller: &Caller, input: SetSecrets) -> Result<Value, String> {
    let changes = input.secrets.into_iter().map(|secret| (secret.key, Some(secret.value)));
    let replaces = input.replace_all.unwrap_or_default();
    change_secrets(api, caller, &input.app_id, changes.collect(), replaces)
}

/// With `replaces`, secrets that are not among the changes go, in the same version. A change of
/// secrets releases nothing by itself, so there is no release to tell of.
fn change_secrets(
    api: &Api,
    caller: &Caller,
    app: &str,
    mut changes: BTreeMap<String, Option<SecretValue>>,
    replaces: bool,
) -> Result<Value, String> {
    let changed = api.change_app(caller, app, |world, now| {
        for secret in world.secrets(app).filter(|_| replaces) {
            changes.entry(secret.name.clone()).or_insert(None);
        }
        world.change_secrets(now, app, changes)
    });
    changed.map_err(|error| said(&error, "Could not find App"))?;
    Ok(json!({ "release": null }))
}

fn allocate(api: &Api, caller: &Caller, input: AllocateAddress) -> Result<Value, String> {
    let AllocateAddress { app_id, kind, region, network, service_name } = input;
    let new = NewAssignment { kind, region, service_name, network };
    let assigned =
        api.change_app(caller, &app_id, |world, now| world.assign_address(now, &app_id, new));
    let assigned = assigned.map_err(|error| said(&error, "Could not find App"))?;
    Ok(json!({ "ipAddress": assigned.first().map(address) }))
}

fn release(api: &Api, caller: &Caller, input: ReleaseAddress) -> Result<Value, String> {
    let named = "appId and ip (or ipAddressId) are required";
    let app = input.app_id.ok_or_else(|| named.to_owned())?;
    let ip = input.ip.or(input.ip_address_id).ok_or_else(|| named.to_owned())?;
    let released = api.change_app(caller, &app, |world, _| world.release_address(&app, &ip));
    released.map_err(|error| said(&error, "Could not find App"))?;
    Ok(json!({ "app": { "name": app } }))
}

fn address(row: &Belonging) -> Value {
    let Thing::Address(address) = &row.thing else { return Value::Null };
    json!({
        "id": row.name, "address": row.name, "type": address.kind, "region": address.region,
        "createdAt": row.created_at,
    })
}

/// What GraphQL says instead of 404, and otherwise our own words.
fn said(error: &ApiError, not_found: &str) -> String {
    use crate::engine::EngineError::Refused;
    use crate::world::Refusal;
    match error {
        ApiError::Engine(Refused(Refusal::AppNotFound | Refusal::Unauthorized)) => {
            not_found.to_owned()
        }
        other => other.to_string(),
    }
}
