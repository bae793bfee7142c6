//! The `connect` subresource: how to reach one machine of a tenant, and the credential for it.
//!
//! The answer holds a credential: it is not to be kept on the way, and never logged.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, HeaderName};
use vault_api::connect::{ConnectRequest, KIND};
use vault_api::object::API_VERSION;
use vault_api::problem::{FieldPath, Problem};

use super::App;
use super::error::ApiError;
use crate::clock::Clock;
use crate::connect::{Obstacle, answer, choose, place};
use crate::platform::Platform;
use crate::store::{ApiStore, Kind};

/// How soon it is worth to ask again, in seconds: while something is on its way, passes look twice
/// a second.
const RETRY_AFTER_SECONDS: u32 = 1;

/// Answers a request to connect with everything that a client needs.
pub(super) async fn create<P: Platform, S: ApiStore, C: Clock>(
    State(app): State<Arc<App<P, S, C>>>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, [(HeaderName, &'static str); 1], Json<ConnectRequest>), ApiError> {
    let mut request = read(&body)?;
    let (tenant, status) = app.desired_tenant(&name).await?;
    let config = app.reconciler()?.config();
    let place = choose(&tenant, request.spec.machine.as_deref())
        .and_then(|wanted| place(&tenant, wanted, status.as_ref(), &config.oidc_issuer))
        .map_err(|obstacle| refused(name, obstacle))?;
    let keys = config.agents.keys(&place.identity.issuer, app.clock.now());
    let secret = config.secrets.tenant_secret(tenant.uid);
    request.status = Some(answer(place, keys, &secret));
    Ok((StatusCode::CREATED, [(CACHE_CONTROL, "no-store")], Json(request)))
}

fn read(body: &Bytes) -> Result<ConnectRequest, ApiError> {
    let request: ConnectRequest = serde_json::from_slice(body)
        .map_err(|error| ApiError::BadRequest(format!("the body is no {KIND}: {error}")))?;
    if (request.api_version.as_str(), request.kind.as_str()) != (API_VERSION, KIND) {
        return Err(ApiError::BadRequest(format!("the body is no {API_VERSION} {KIND}")));
    }
    Ok(request)
}

fn refused(name: String, obstacle: Obstacle) -> ApiError {
    let message = obstacle.to_string();
    match obstacle {
        Obstacle::Several(_) | Obstacle::NoSuchMachine { .. } => {
            let path = FieldPath::default().field("spec").field("machine");
            ApiError::Invalid(Kind::Tenant, name, vec![Problem::invalid(path, message)])
        }
        Obstacle::Never(_) => {
            ApiError::Conflict(Kind::Tenant, name.clone(), format!("tenant {name}: {message}"))
        }
        Obstacle::NotYet(_) => {
            ApiError::NotYet { name, message, retry_after_seconds: RETRY_AFTER_SECONDS }
        }
    }
}
