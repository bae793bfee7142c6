//! `/v1/apps/{app}/ip_assignments`

use axum::extract::State;
use axum::routing::{delete, get};
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::extract::{AppPath, Body, Path};
use super::requests::AssignAddress;
use crate::api::error::ApiError;
use crate::rate_limit::Action;
use crate::tokens::Caller;
use crate::world::belonging::Kind;
use crate::world::belonging::address::{AddressType, NewAssignment};
use crate::world::{Belonging, Thing};

/// `…/ip_assignments/{ip}`
#[derive(Deserialize)]
struct AddressPath {
    app: String,
    ip: String,
}

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/apps/{app}/ip_assignments", get(list).post(assign))
        .route("/v1/apps/{app}/ip_assignments/{ip}", delete(release))
}

async fn list(
    State(api): State<Api>,
    caller: Caller,
    Path(AppPath { app }): Path<AppPath>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::ReadBelongings, &app)?;
    api.read_app(&caller, &app, |world, _| {
        let ips: Vec<Value> = world.belongings(&app, Kind::Address).map(body).collect();
        Ok(Json(json!({ "ips": ips })))
    })
}

async fn assign(
    State(api): State<Api>,
    caller: Caller,
    Path(AppPath { app }): Path<AppPath>,
    Body(request): Body<AssignAddress>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::WriteBelongings, &app)?;
    let kind = request.kind.unwrap_or_default();
    let unknown = || {
        let known = "v4, v6, shared_v4, private_v6, egress_v4, egress_v6, egress_pair";
        ApiError::Malformed(format!("type: {kind:?} is none of {known}"))
    };
    let kind = AddressType::deserialize(Value::String(kind.clone())).map_err(|_| unknown())?;
    let new = NewAssignment {
        kind,
        region: request.region,
        service_name: request.service_name,
        network: request.network,
    };
    let assigned =
        api.change_app(&caller, &app, |world, now| world.assign_address(now, &app, new))?;
    let mut answer = assigned.first().map(body).unwrap_or_default();
    if let ([v4, v6], Value::Object(members)) = (assigned.as_slice(), &mut answer) {
        members.insert("ip".to_owned(), Value::Null);
        members.insert("ip_pair".to_owned(), json!({ "v4": v4.name, "v6": v6.name }));
    }
    Ok(Json(answer))
}

async fn release(
    State(api): State<Api>,
    caller: Caller,
    Path(AddressPath { app, ip }): Path<AddressPath>,
) -> Result<StatusCode, ApiError> {
    api.admit(Action::WriteBelongings, &app)?;
    api.change_app(&caller, &app, |world, _| world.release_address(&app, &ip))?;
    Ok(StatusCode::NO_CONTENT)
}

fn body(belonging: &Belonging) -> Value {
    let Thing::Address(address) = &belonging.thing else { return Value::Null };
    let egress = matches!(address.kind, AddressType::EgressV4 | AddressType::EgressV6);
    let network = address.network.as_ref();
    let network = network.map(|(name, org)| json!({ "name": name, "org_slug": org }));
    json!({
        "ip": belonging.name,
        "region": address.region,
        "service_name": address.service_name,
        "shared": address.kind == AddressType::SharedV4,
        "egress": egress,
        "created_at": belonging.created_at,
        "network": network,
    })
}
