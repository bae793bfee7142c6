//! `GET /metrics`: what is counted while the controller runs, and gauges of what is at this moment.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE as CONTENT_TYPE_HEADER;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use super::App;
use super::error::ApiError;
use crate::clock::Clock;
use crate::fleet::word;
use crate::metrics::CONTENT_TYPE;
use crate::platform::Platform;
use crate::status::is_ready;
use crate::store::{ApiStore, Kind, StoreError, StoreFigures};
use crate::view::View;

/// A gauge by one label or several.
type Gauges<L> = Family<L, Gauge>;

macro_rules! labels {
    ($name:ident { $($label:ident),* }) => {
        #[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
        struct $name { $($label: String),* }
    };
}

labels!(ByState { state });
labels!(ByRegion { region });
labels!(ByCondition { r#type, status, reason });
labels!(ByTenant { tenant });
labels!(ByVersion { version });
labels!(Resource { customresource_kind, name, ready, reason });
labels!(ByQueue { name });

/// How many tenants are decoded at a time.
const TENANTS_PER_PAGE: usize = 200;

/// Everything in the OpenMetrics text form.
pub(super) async fn read<P: Platform, S: ApiStore, C: Clock>(
    State(app): State<Arc<App<P, S, C>>>,
) -> Result<Response, ApiError> {
    let view = app.view.borrow().clone();
    let mut registry = Registry::default();
    register_view(&mut registry, &view);
    register_figures(&mut registry, &app.store.figures().await?);
    register_process(&mut registry, &app);
    let omitted = match view.tenants <= app.metrics_tenants_max {
        true => {
            register_tenants(&mut registry, &app.store).await?;
            0
        }
        false => view.tenants,
    };
    let help = "Tenants without series of their own, because there are more than --metrics-tenants";
    registry.register("vault_tenant_series_omitted", help, constant(omitted));
    let text = app
        .metrics
        .encode(&registry)
        .map_err(|_| ApiError::Unavailable("the metrics could not be written".to_owned()))?;
    Ok(([(CONTENT_TYPE_HEADER, CONTENT_TYPE)], text).into_response())
}

/// What the last pass saw.
fn register_view(registry: &mut Registry, view: &View) {
    let fleet = &view.fleet;
    registry.register("vault_tenants", "Tenants", constant(view.tenants));
    registry.register("vault_tenants_ready", "Tenants that are Ready", constant(view.ready.len()));
    let conditions = Gauges::<ByCondition>::default();
    for one in fleet.conditions() {
        let labels = ByCondition {
            r#type: one.r#type,
            status: word(one.status).to_owned(),
            reason: one.reason,
        };
        set(&conditions, &labels, one.count);
    }
    registry.register("vault_tenant_conditions", "Tenants by condition", conditions);
    let states = Gauges::<ByState>::default();
    for (state, count) in &fleet.machines.by_state {
        set(&states, &ByState { state: state.clone() }, *count);
    }
    registry.register("vault_machines", "Machines of ours by state", states);
    let regions = Gauges::<ByRegion>::default();
    for (region, count) in &fleet.machines.by_region {
        set(&regions, &ByRegion { region: region.clone() }, *count);
    }
    registry.register("vault_machines_by_region", "Machines of ours by region", regions);
    registry.register("vault_volumes", "Volumes of tenants", constant(fleet.volumes.total));
    let size = constant(fleet.volumes.size_gb);
    registry.register("vault_volumes_size_gigabytes", "Their sizes together", size);
    let orphans = constant(view.strays.len());
    registry.register("vault_orphans", "Machines with our mark and no tenant", orphans);
    let regions: usize = fleet.error_regions.values().map(std::collections::BTreeSet::len).sum();
    let help = "Regions that the platform's lists left out in the last pass";
    registry.register("vault_sweep_error_regions", help, constant(regions));
    let Some(pass) = view.recent.front() else { return };
    let help = "When the last pass came to its end, in seconds since the Unix epoch";
    registry.register("vault_last_pass_timestamp_seconds", help, constant(pass.ended_at.0 / 1_000));
    if pass.floor_calls > 0 {
        let calls = pass.calls.reads + pass.calls.secret_reads + pass.calls.writes;
        let help = "Calls of the last pass over the fewest that it could have made: one per page \
                    of the platform's lists, and one per action";
        let ratio = ConstGauge::new(ratio(calls, pass.floor_calls));
        registry.register("vault_api_calls_over_floor_ratio", help, ratio);
    }
}

fn register_figures(registry: &mut Registry, figures: &StoreFigures) {
    let intents = Gauges::<ByState>::default();
    for (state, count) in &figures.intents {
        set(&intents, &ByState { state: state.word().to_owned() }, *count);
    }
    registry.register("vault_intents", "Intents in the journal by state", intents);
    let facts = constant(figures.usage_facts);
    registry.register("vault_usage_facts", "Machines with usage facts, deleted ones too", facts);
    let help = "Size of the database without its write-ahead log";
    registry.register("vault_database_size_bytes", help, constant(figures.bytes));
}

fn register_process<P, S, C: Clock>(registry: &mut Registry, app: &App<P, S, C>) {
    let version = Gauges::<ByVersion>::default();
    set(&version, &ByVersion { version: env!("CARGO_PKG_VERSION").to_owned() }, 1);
    registry.register("vault_build_info", "The controller's version", version);
    let help = "When the controller was started, in seconds since the Unix epoch";
    registry.register("process_start_time_seconds", help, constant(app.started_at.0 / 1_000));
    let (sum, longest) = app.metrics.queue().unfinished(app.clock.now());
    let queue = ByQueue { name: "turns".to_owned() };
    let unfinished = Family::<ByQueue, Gauge<f64, std::sync::atomic::AtomicU64>>::default();
    unfinished.get_or_create(&queue).set(sum);
    let help = "How long the turns that are under way have taken so far, together";
    registry.register("workqueue_unfinished_work_seconds", help, unfinished);
    let running = Family::<ByQueue, Gauge<f64, std::sync::atomic::AtomicU64>>::default();
    running.get_or_create(&queue).set(longest);
    let help = "How long the longest of the turns that are under way has taken so far";
    registry.register("workqueue_longest_running_processor_seconds", help, running);
}

/// A series per tenant: only for as many as the operator allows.
async fn register_tenants<S: ApiStore>(
    registry: &mut Registry,
    store: &S,
) -> Result<(), StoreError> {
    let (ready, info) = (Gauges::<ByTenant>::default(), Gauges::<Resource>::default());
    let mut rows = store.tenant_rows("", TENANTS_PER_PAGE).await?;
    while let Some(last) = rows.last().map(|row| row.name.clone()) {
        for row in rows {
            let status = row.status()?;
            let is_ready = status.as_ref().is_some_and(|status| is_ready(status, row.generation));
            set(&ready, &ByTenant { tenant: row.name.clone() }, usize::from(is_ready));
            let condition = status.as_ref().and_then(|status| status.conditions.first());
            let resource = Resource {
                customresource_kind: Kind::Tenant.word().to_owned(),
                name: row.name,
                ready: condition.map_or("Unknown", |condition| word(condition.status)).to_owned(),
                reason: condition.map(|condition| condition.reason.clone()).unwrap_or_default(),
            };
            set(&info, &resource, 1);
        }
        rows = store.tenant_rows(&last, TENANTS_PER_PAGE).await?;
    }
    let help = "1 if the tenant is Ready at its newest generation";
    registry.register("vault_tenant_ready", help, ready);
    registry.register("vault_resource_info", "What a tenant is like", info);
    Ok(())
}

fn constant(value: impl TryInto<i64>) -> ConstGauge<i64> {
    ConstGauge::new(value.try_into().unwrap_or(i64::MAX))
}

fn set<L>(gauges: &Gauges<L>, labels: &L, value: impl TryInto<i64>)
where
    L: Clone + std::hash::Hash + Eq,
{
    gauges.get_or_create(labels).set(value.try_into().unwrap_or(i64::MAX));
}

#[expect(clippy::cast_precision_loss, reason = "calls of one pass are far below 2^53")]
fn ratio(calls: u64, floor: u64) -> f64 {
    calls as f64 / floor as f64
}
