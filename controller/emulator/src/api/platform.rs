//! `/v1/tokens/current`, `/v1/tokens/oidc`, `/v1/platform/regions` and `/v1/platform/placements`

use axum::Json;
use serde_json::{Value, json};

use super::apps::organization;
use super::extract::Body;
use super::requests::Placements;
use crate::api::error::ApiError;
use crate::engine::EngineError;
use crate::tokens::Caller;
use crate::world::region::{self, NEAREST, REGIONS};

/// Machines that a region has room for: as many as an organization may have.
const PLACEMENTS_MAX: u32 = 50_000;

/// One entry per organization that the caller's token opens.
pub(super) async fn current_tokens(caller: Caller) -> Json<Value> {
    let tokens = caller.orgs.iter().map(|org| {
        json!({
            "token_id": format!("{}-{org}", caller.token_id),
            "org_slug": org,
            "organization": org,
            "apps": caller.app.as_slice(),
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

/// Where machines would go: a dry run over regions that all have room, the nearest of those asked
/// for first. In the capitals of the live service, as above.
pub(super) async fn placements(
    caller: Caller,
    Body(body): Body<Placements>,
) -> Result<Json<Value>, ApiError> {
    organization(&caller, body.org_slug)?;
    let asked = body.region.filter(|text| !text.trim().is_empty());
    let asked = asked.unwrap_or_else(|| format!("{NEAREST},any"));
    let regions = region::candidates(&asked).map_err(EngineError::from)?;
    let wanted = body.count.unwrap_or_default();
    if wanted > PLACEMENTS_MAX {
        return Err(ApiError::Malformed(format!("count: at most {PLACEMENTS_MAX}")));
    }
    let row = |region: &str, count: u32| json!({ "Region": region, "Count": count, "Concurrency": PLACEMENTS_MAX });
    let rows: Vec<_> = match (wanted, regions.as_slice()) {
        // What each region has room for.
        (0, regions) => regions.iter().map(|region| row(region, PLACEMENTS_MAX)).collect(),
        (count, [first, ..]) => vec![row(first, count)],
        (_, []) => Vec::new(),
    };
    Ok(Json(json!({ "Regions": rows })))
}
