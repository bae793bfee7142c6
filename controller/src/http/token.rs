//! The `token` subresource: gives out a deploy token of a tenant, the only way to its value.
//!
//! The answer holds a credential: it is not to be kept on the way, and never logged. Each request
//! leaves a record in the audit log, whatever became of it.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, HeaderName};
use axum::{Extension, Json};
use secrecy::ExposeSecret;
use vault_api::names::did_you_mean;
use vault_api::object::Status;
use vault_api::status::{TenantStatus, condition};
use vault_api::tokens::{FetchedToken, TokenRequest};
use vault_plan::desired::DesiredTenant;
use vault_plan::time::UnixMillis;

use super::App;
use super::audit::Trail;
use super::error::ApiError;
use crate::clock::{Clock, rfc3339};
use crate::identity::SealedFor;
use crate::platform::Platform;
use crate::store::{CredentialKind, CredentialState, Kind, Store, StoredCredential};

/// How soon it is worth to ask again, in seconds: passes that have something to do follow each other
/// within one.
const RETRY_AFTER_SECONDS: u32 = 1;

type NotKept = [(HeaderName, &'static str); 1];

/// Gives out the newest token of a name.
pub(super) async fn fetch<P: Platform, S: Store, C: Clock>(
    State(app): State<Arc<App<P, S, C>>>,
    Path(name): Path<String>,
    Extension(trail): Extension<Trail>,
    body: Bytes,
) -> Result<(NotKept, Json<FetchedToken>), ApiError> {
    let wanted: TokenRequest = serde_json::from_slice(&body).map_err(|error| {
        ApiError::BadRequest(format!("the body is not {{\"name\": TOKEN}}: {error}"))
    })?;
    let (tenant, status) = app.desired_tenant(&name).await?;
    let config = app.reconciler()?.config();
    let stored = app.store.credentials_of(CredentialKind::DeployToken, tenant.uid).await?;
    let now = app.clock.now();
    let Some((row, expires_at)) = newest(&stored, &tenant, &wanted.name, now) else {
        return Err(none(&tenant, status.as_ref(), &wanted.name));
    };
    let key = row.of.key;
    // It may have been revoked since the rows were read.
    let Some(sealed) = app.store.sealed_credential(key).await? else {
        return Err(none(&tenant, status.as_ref(), &wanted.name));
    };
    let of =
        SealedFor { tenant: key.tenant_uid, kind: key.kind.word(), name: &row.of.name, n: key.n };
    let value = config.secrets.sealer().open(of, &sealed).map_err(|error| {
        let message = format!("deploy token {} of tenant {name}: {error}", wanted.name);
        tracing::error!(tenant = name, error = %error, "a stored deploy token does not open");
        ApiError::Unavailable(message)
    })?;
    trail.note(&format!("gave out deploy token {} ({})", wanted.name, key.n));
    let fetched = FetchedToken {
        token: value.expose_secret().to_owned(),
        name: wanted.name,
        expires_at: rfc3339(expires_at),
    };
    Ok(([(CACHE_CONTROL, "no-store")], Json(fetched)))
}

/// The newest token of that name that opens the tenant's app, and when it ends.
fn newest<'a>(
    stored: &'a [StoredCredential],
    tenant: &DesiredTenant,
    name: &str,
    now: UnixMillis,
) -> Option<(&'a StoredCredential, UnixMillis)> {
    let is_wanted = tenant.tokens.iter().any(|token| *token.name == *name) && !tenant.deleting;
    let of_name = stored.iter().filter(|row| {
        let of = &row.of;
        is_wanted && of.key.tenant_uid == tenant.uid && of.name == name && of.app == tenant.app
    });
    let live = of_name.filter_map(|row| match &row.state {
        CredentialState::Live { expires_at: Some(end), .. } if now < *end => Some((row, *end)),
        CredentialState::Live { .. } | CredentialState::Minting => None,
    });
    live.max_by_key(|(row, _)| row.of.key.n)
}

/// Why there is no token of that name: never, not as things are, or not yet.
fn none(tenant: &DesiredTenant, status: Option<&TenantStatus>, wanted: &str) -> ApiError {
    let name = tenant.name.to_string();
    let refused = |code, reason, message: String| {
        let message = format!("tenant {name}: {message}");
        ApiError::Refused(Box::new(
            Status::failure(code, reason, message).about(Kind::Tenant.plural(), &name),
        ))
    };
    if tenant.deleting {
        return refused(409, "Conflict", "it is being deleted, and its tokens with it".to_owned());
    }
    if let Err(problems) = &tenant.machines {
        let why = problems.first().map(|problem| problem.message.as_str()).unwrap_or_default();
        return refused(409, "Conflict", format!("its manifest cannot be carried out: {why}"));
    }
    let known: Vec<&str> = tenant.tokens.iter().map(|token| &*token.name).collect();
    if !known.contains(&wanted) {
        let hint = did_you_mean(wanted, known.iter().copied());
        let message = match known.as_slice() {
            [] => format!("it has no deploy token {wanted:?}: its manifest asks for none"),
            known => format!("it has no deploy token {wanted:?}, but {}{hint}", known.join(", ")),
        };
        return refused(404, "NotFound", message);
    }
    if tenant.paused {
        let message = format!("deploy token {wanted} is not there, and reconcile is Paused");
        return refused(409, "Conflict", message);
    }
    let ready = status
        .and_then(|status| status.conditions.iter().find(|known| known.r#type == condition::READY));
    let why = ready.map_or("it has not been looked at yet", |ready| &ready.message);
    let message = format!("deploy token {wanted} of tenant {name} is not there yet: {why}");
    ApiError::NotYet { name, message, retry_after_seconds: RETRY_AFTER_SECONDS }
}
