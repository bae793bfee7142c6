//! `/v1/tokens/current`, `/v1/tokens/oidc` and `/v1/platform/regions`

use axum::Json;
use serde_json::{Value, json};

use crate::api::error::ApiError;
use crate::tokens::Caller;
use crate::world::region::{NEAREST, REGIONS};

/// One entry per organization that the caller's token opens.
pub(super) async fn current_tokens(caller: Caller) -> Json<Value> {
    let tokens = caller.orgs.iter().map(|org| {
        json!({
            "token_id": format!("{}-{org}", caller.token_id),
            "org_slug": org,
            "organization": org,
            "apps": [],
            "user": "",
            "restricted_to_machine": "",
            "source_machine_id": "",
        })
    });
    Json(json!({ "tokens": tokens.collect::<Vec<_>>() }))
}

/// Whoever holds a token of ours is no machine: those ask on their own sockets.
pub(super) async fn machine_tokens(_: Caller) -> ApiError {
    ApiError::MachineOnly
}

/// In the capitals of the live service, which its own client expects.
pub(super) async fn regions(_: Caller) -> Json<Value> {
    let regions = REGIONS.iter().map(|region| {
        json!({
            "code": region.code,
            "name": region.name,
            "latitude": region.latitude,
            "longitude": region.longitude,
            "gateway_available": true,
            "requires_paid_plan": false,
            "deprecated": false,
            "geo_region": region.area,
            "mpg_available": false,
        })
    });
    Json(json!({ "Regions": regions.collect::<Vec<_>>(), "Nearest": NEAREST }))
}
