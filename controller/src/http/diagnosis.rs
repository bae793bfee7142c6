//! The `diagnosis` subresource: why machines of a tenant do not come up. It reads the platform when
//! it is asked, so it is bounded: in machines, in time, and in how many are made at once.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use vault_api::diagnosis::Diagnosis;

use super::App;
use super::error::ApiError;
use crate::clock::Clock;
use crate::diagnosis::diagnose;
use crate::platform::Platform;
use crate::reconcile::Objects;
use crate::store::{ApiStore, Kind};

/// How many diagnoses are made at once: each reads a few machines side by side, and passes must not
/// queue behind curiosity.
pub const DIAGNOSES_MAX: usize = 4;

/// Which machines.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Options {
    /// All that exist, not only those that are not as wanted.
    all: bool,
}

/// Reads the exits and the logs of a tenant's machines.
pub(super) async fn read<P: Platform, S: ApiStore, C: Clock>(
    State(app): State<Arc<App<P, S, C>>>,
    Path(name): Path<String>,
    Query(options): Query<Options>,
) -> Result<Json<Diagnosis>, ApiError> {
    let (_, status) = Objects::of_tenant(&app.store, &name)
        .await?
        .ok_or_else(|| ApiError::NotFound(Kind::Tenant, name.clone()))?;
    let reconciler = app.reconciler()?;
    let _permit = app.diagnoses.try_acquire().map_err(|_| ApiError::NotYet {
        name: name.clone(),
        message: format!("{DIAGNOSES_MAX} diagnoses are being made already; try again"),
        retry_after_seconds: 1,
    })?;
    let machines = match status {
        Some(status) => diagnose(reconciler.platform(), &app.clock, &status, options.all).await,
        None => Vec::new(),
    };
    Ok(Json(Diagnosis::new(&name, machines)))
}
