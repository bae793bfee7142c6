//! What the controller counts of itself, in the names that dashboards know.
//!
//! ```text
//!   platform client ── Attempt ──▶ rest_client_*                ┐
//!   main loop ──────── pass ─────▶ controller_runtime_* , vault_* ├─▶ GET /metrics (OpenMetrics text)
//!   execute ────────── turn ─────▶ workqueue_*                  │
//!   View, store ───── at scrape ─▶ vault_* gauges               ┘   http/metrics.rs
//! ```
//!
//! Only what is true of this controller is here: a name that would always be zero is left out. No
//! histogram has a label whose values people choose.

mod queue;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use vault_cloud::counts::{Attempt, CallObserver};

pub use queue::{Item, WorkQueue};

/// The content type of the text that [`Metrics::encode`] makes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds, from an answer of an emulator to a call that hangs until its timeout.
const CALL_BUCKETS: [f64; 11] = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Seconds, from a quiet pass over a few tenants to one that acts for thousands.
const PASS_BUCKETS: [f64; 11] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0];

/// How a pass ended, as `controller_runtime_reconcile_total` words it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassResult {
    /// It came to its end, and the next one comes with the timer.
    Success,
    /// It came to its end, and something is on its way: another follows soon.
    RequeueAfter,
    /// It did not come to its end, or an organization could not be read.
    Error,
}

impl PassResult {
    fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::RequeueAfter => "requeue_after",
            Self::Error => "error",
        }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByResult {
    controller: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByController {
    controller: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByCode {
    code: String,
    method: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByOperation {
    verb: String,
    operation: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByVerb {
    verb: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByName {
    name: &'static str,
}

/// The controller that passes are counted for: there is one kind of pass.
const TENANTS: ByController = ByController { controller: "tenant" };

type MakeHistogram = fn() -> Histogram;

/// All that is counted while the controller runs.
pub struct Metrics {
    registry: Registry,
    passes: Family<ByResult, Counter>,
    pass_errors: Family<ByController, Counter>,
    pass_time: Family<ByController, Histogram, MakeHistogram>,
    requests: Family<ByCode, Counter>,
    request_time: Family<ByOperation, Histogram, MakeHistogram>,
    limiter_time: Family<ByVerb, Histogram, MakeHistogram>,
    retries: Family<ByCode, Counter>,
    queue: Arc<WorkQueue>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let call_time: MakeHistogram = || Histogram::new(CALL_BUCKETS);
        let pass_time: MakeHistogram = || Histogram::new(PASS_BUCKETS);
        let metrics = Self {
            passes: Family::default(),
            pass_errors: Family::default(),
            pass_time: Family::new_with_constructor(pass_time),
            requests: Family::default(),
            request_time: Family::new_with_constructor(call_time),
            limiter_time: Family::new_with_constructor(call_time),
            retries: Family::default(),
            queue: Arc::new(WorkQueue::registered(&mut registry)),
            registry: Registry::default(),
        };
        metrics.register(&mut registry);
        Self { registry, ..metrics }
    }
}

impl Metrics {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "controller_runtime_reconcile",
            "Passes over all tenants, by result",
            self.passes.clone(),
        );
        registry.register(
            "controller_runtime_reconcile_errors",
            "Passes that could not read or write something",
            self.pass_errors.clone(),
        );
        registry.register(
            "controller_runtime_reconcile_time_seconds",
            "How long a pass over all tenants takes",
            self.pass_time.clone(),
        );
        registry.register(
            "rest_client_requests",
            "Calls to the platform, by HTTP status (<error> if there was none) and method",
            self.requests.clone(),
        );
        registry.register(
            "rest_client_request_duration_seconds",
            "How long calls to the platform take, without waiting for their turn",
            self.request_time.clone(),
        );
        registry.register(
            "rest_client_rate_limiter_duration_seconds",
            "How long calls wait for their turn under the platform's rate limits",
            self.limiter_time.clone(),
        );
        registry.register(
            "rest_client_request_retries",
            "Calls to the platform that were made again, by the status that came of it",
            self.retries.clone(),
        );
        // The database's lock is the election: who cannot take it does not start.
        let master = Family::<ByName, Gauge>::default();
        master.get_or_create(&ByName { name: "vault-controller" }).set(1);
        registry.register(
            "leader_election_master_status",
            "1 while this controller holds the lock of its database",
            master,
        );
        // So that rates can be taken from the first pass on.
        for result in [PassResult::Success, PassResult::RequeueAfter, PassResult::Error] {
            let labels = ByResult { controller: TENANTS.controller, result: result.word() };
            drop(self.passes.get_or_create(&labels));
        }
        drop(self.pass_errors.get_or_create(&TENANTS));
    }

    /// Counts a pass.
    pub fn pass(&self, result: PassResult, took: Duration) {
        let labels = ByResult { controller: TENANTS.controller, result: result.word() };
        self.passes.get_or_create(&labels).inc();
        if result == PassResult::Error {
            self.pass_errors.get_or_create(&TENANTS).inc();
        }
        self.pass_time.get_or_create(&TENANTS).observe(took.as_secs_f64());
    }

    /// The turns of tenants: what waits and what is being worked on.
    #[must_use]
    pub fn queue(&self) -> &Arc<WorkQueue> {
        &self.queue
    }

    /// Everything as OpenMetrics text, with what `scraped` holds besides.
    ///
    /// # Errors
    /// None that happens: writing to memory does not fail.
    pub fn encode(&self, scraped: &Registry) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, scraped)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

impl CallObserver for Metrics {
    fn call(&self, attempt: &Attempt<'_>) {
        let method = attempt.operation.method().to_string();
        let code = attempt
            .status
            .map_or_else(|| "<error>".to_owned(), |status| status.as_u16().to_string());
        let by_code = ByCode { code, method: method.clone() };
        self.requests.get_or_create(&by_code).inc();
        if attempt.repeated {
            self.retries.get_or_create(&by_code).inc();
        }
        let by_verb = ByVerb { verb: method.clone() };
        self.limiter_time.get_or_create(&by_verb).observe(attempt.waited.as_secs_f64());
        let by_operation = ByOperation { verb: method, operation: attempt.operation.name() };
        self.request_time.get_or_create(&by_operation).observe(attempt.took.as_secs_f64());
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}
