//! `GET /status`: the whole fleet in one document.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use vault_api::fleet::{
    DatabaseSummary, FleetStatus, FolderSummary, PassSummary, StrayMachine, TenantCounts,
    UsageSummary,
};
use vault_plan::report::Stray;

use super::App;
use super::error::ApiError;
use crate::clock::{Clock, rfc3339};
use crate::folder::FolderReport;
use crate::platform::Platform;
use crate::store::ApiStore;
use crate::view::PassLine;

/// What the controller says of itself and of the fleet.
pub(super) async fn read<P: Platform, S: ApiStore, C: Clock>(
    State(app): State<Arc<App<P, S, C>>>,
) -> Result<Json<FleetStatus>, ApiError> {
    let figures = app.store.figures().await?;
    let view = app.view.borrow().clone();
    let uptime_ms = app.clock.now().since_ms(app.started_at);
    let last = view.recent.front().map(summary).unwrap_or_default();
    Ok(Json(FleetStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        controller: app.controller.to_string(),
        started_at: rfc3339(app.started_at),
        uptime_seconds: u64::try_from(uptime_ms / 1_000).unwrap_or(0),
        tenants: TenantCounts { total: view.tenants, ready: view.ready.len() },
        conditions: view.fleet.conditions(),
        not_ready: view.fleet.not_ready.clone(),
        machines: view.fleet.machines.clone(),
        volumes: view.fleet.volumes,
        intents: figures
            .intents
            .iter()
            .map(|(state, count)| (state.word().to_owned(), *count))
            .collect(),
        passes: view.passes,
        last_pass: last,
        recent_passes: view.recent.iter().map(summary).collect(),
        error_regions: view.fleet.error_regions.clone(),
        troubles: view.troubles,
        folder: view.folder.map(folder),
        strays: view.strays.into_iter().map(stray).collect(),
        usage: UsageSummary {
            facts: figures.usage_facts,
            retention_seconds: app.usage_retention.as_secs(),
        },
        database: DatabaseSummary { bytes: figures.bytes },
    }))
}

fn summary(pass: &PassLine) -> PassSummary {
    PassSummary {
        at: Some(rfc3339(pass.ended_at)),
        milliseconds: pass.took_ms,
        reads: pass.calls.reads,
        secret_reads: pass.calls.secret_reads,
        edit_looks: pass.edit_looks,
        writes: pass.calls.writes,
        actions: pass.actions,
        failures: pass.failures,
    }
}

fn folder(report: FolderReport) -> FolderSummary {
    let missing = report.missing.iter();
    let missing = missing.map(|(kind, name)| format!("{}/{name}", kind.word().to_lowercase()));
    FolderSummary { missing: missing.collect(), problems: report.problems }
}

fn stray(stray: Stray) -> StrayMachine {
    StrayMachine {
        machine: stray.id,
        name: stray.name,
        app: stray.app,
        org: stray.organization,
        tenant: stray.tenant,
    }
}
