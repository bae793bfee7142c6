//! The work queue of a pass: tenants whose turn it is to be acted for, `workqueue_*`.
//!
//! ```text
//!   added ──▶ waits (depth, queue_duration) ──▶ begun ──▶ works (work_duration) ──▶ dropped
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use vault_plan::time::UnixMillis;

/// Seconds: a turn is a few calls, each up to half a minute.
const TURN_BUCKETS: [f64; 10] = [0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByName {
    name: &'static str,
}

/// The one queue.
const TURNS: ByName = ByName { name: "turns" };

type MakeHistogram = fn() -> Histogram;

/// Counts what waits and what is being worked on.
#[derive(Debug)]
pub struct WorkQueue {
    depth: Family<ByName, Gauge>,
    adds: Family<ByName, Counter>,
    retries: Family<ByName, Counter>,
    waited: Family<ByName, Histogram, MakeHistogram>,
    worked: Family<ByName, Histogram, MakeHistogram>,
    begun: Mutex<Begun>,
}

/// When each item that is being worked on was begun, by a number of its own.
#[derive(Debug, Default)]
struct Begun {
    next: u64,
    at: HashMap<u64, UnixMillis>,
}

impl WorkQueue {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let time: MakeHistogram = || Histogram::new(TURN_BUCKETS);
        let queue = Self {
            depth: Family::default(),
            adds: Family::default(),
            retries: Family::default(),
            waited: Family::new_with_constructor(time),
            worked: Family::new_with_constructor(time),
            begun: Mutex::default(),
        };
        let work = "Tenants that wait to be acted for";
        registry.register("workqueue_depth", work, queue.depth.clone());
        let adds = "Turns of tenants that were planned";
        registry.register("workqueue_adds", adds, queue.adds.clone());
        let retries = "Turns of tenants that failed, so that another attempt follows";
        registry.register("workqueue_retries", retries, queue.retries.clone());
        let waited = "How long a turn waits for a place";
        registry.register("workqueue_queue_duration_seconds", waited, queue.waited.clone());
        let worked = "How long a turn takes once it has a place";
        registry.register("workqueue_work_duration_seconds", worked, queue.worked.clone());
        // So that they stand at zero before anything was done.
        drop(queue.depth.get_or_create(&TURNS));
        drop(queue.adds.get_or_create(&TURNS));
        drop(queue.retries.get_or_create(&TURNS));
        queue
    }

    /// A turn was planned.
    #[must_use]
    pub fn add(self: &Arc<Self>, now: UnixMillis) -> Item {
        self.adds.get_or_create(&TURNS).inc();
        self.depth.get_or_create(&TURNS).inc();
        Item { queue: Arc::clone(self), added: now, begun: None }
    }

    /// How long what is being worked on has taken so far: all together, and the longest, in
    /// seconds.
    #[must_use]
    pub fn unfinished(&self, now: UnixMillis) -> (f64, f64) {
        let begun = self.begun();
        let ages = begun.at.values().map(|at| seconds(*at, now));
        ages.fold((0.0, 0.0), |(sum, longest), age| (sum + age, age.max(longest)))
    }

    fn begun(&self) -> MutexGuard<'_, Begun> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A turn in the queue. One that is dropped before its end (its task was aborted) counts no more.
#[derive(Debug)]
pub struct Item {
    queue: Arc<WorkQueue>,
    added: UnixMillis,
    begun: Option<u64>,
}

impl Item {
    /// The turn has its place.
    pub fn begin(&mut self, now: UnixMillis) {
        self.queue.depth.get_or_create(&TURNS).dec();
        self.queue.waited.get_or_create(&TURNS).observe(seconds(self.added, now));
        let mut begun = self.queue.begun();
        let number = begun.next;
        begun.next += 1;
        begun.at.insert(number, now);
        self.begun = Some(number);
    }

    /// The turn, which was begun, came to its end.
    pub fn end(self, failed: bool, now: UnixMillis) {
        let at = self.begun.and_then(|number| self.queue.begun().at.get(&number).copied());
        if let Some(at) = at {
            self.queue.worked.get_or_create(&TURNS).observe(seconds(at, now));
        }
        if failed {
            self.queue.retries.get_or_create(&TURNS).inc();
        }
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        match self.begun {
            Some(number) => drop(self.queue.begun().at.remove(&number)),
            None => drop(self.queue.depth.get_or_create(&TURNS).dec()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "durations far below 2^53 ms")]
fn seconds(from: UnixMillis, to: UnixMillis) -> f64 {
    to.since_ms(from) as f64 / 1_000.0
}
