//! The `trace` subresource: what was done for a tenant, from the journal.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use serde::Deserialize;
use vault_api::trace::{INTENTS_MAX, INTENTS_USUAL, TenantTrace, TracedCall, TracedIntent};

use super::App;
use super::caller::Caller;
use super::error::ApiError;
use crate::clock::{Clock, rfc3339_millis};
use crate::platform::Platform;
use crate::record::CallRecord;
use crate::store::{ApiStore, IntentTrace, Kind};

/// How much.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Options {
    /// The newest so many; from 1 to [`INTENTS_MAX`].
    limit: Option<u32>,
}

/// The last intents of a tenant. One that is gone has them for as long as the journal does, for
/// those who may see all tenants: nobody can say any more whose it was.
pub(super) async fn read<P: Platform, S: ApiStore, C: Clock>(
    State(app): State<Arc<App<P, S, C>>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Query(options): Query<Options>,
) -> Result<Json<TenantTrace>, ApiError> {
    let limit = options.limit.unwrap_or(INTENTS_USUAL);
    if !(1..=INTENTS_MAX).contains(&limit) {
        let message = format!("limit is {limit}; it is from 1 to {INTENTS_MAX}");
        return Err(ApiError::BadRequest(message));
    }
    let traces = app.store.trace(&name, limit).await?;
    let is_hidden = traces.is_empty() || caller.limit().is_some();
    if is_hidden && app.store.object(Kind::Tenant, &name).await?.is_none() {
        return Err(ApiError::NotFound(Kind::Tenant, name));
    }
    Ok(Json(TenantTrace::new(name, traces.into_iter().map(render).collect())))
}

fn render(trace: IntentTrace) -> TracedIntent {
    let IntentTrace { intent, called_at, answered_at, closed_at, calls } = trace;
    TracedIntent {
        id: intent.id.to_string(),
        action: intent.kind.word().to_owned(),
        target: intent.external_name,
        target_id: intent.external_id,
        app: intent.app,
        spec_hash: intent.spec_hash,
        state: intent.state.word().to_owned(),
        planned_at: rfc3339_millis(intent.planned_at),
        // Journals of older versions know only the one instant.
        sent_at: called_at.or(intent.sent_at).map(rfc3339_millis),
        answered_at: answered_at.map(rfc3339_millis),
        closed_at: closed_at.map(rfc3339_millis),
        outcome: intent.outcome,
        calls: calls.into_iter().map(render_call).collect(),
    }
}

fn render_call(call: CallRecord) -> TracedCall {
    TracedCall {
        method: call.method,
        path: call.path,
        attempt: call.attempt,
        status: call.status,
        failure: call.failure,
        fly_request_id: call.fly_request_id,
        sent_at: rfc3339_millis(call.sent_at),
        took_ms: call.took_ms,
    }
}
