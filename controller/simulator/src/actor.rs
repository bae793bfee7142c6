//! A controller at work: process after process, each with the controller's own passes, and the
//! people who tell it what they want.
//!
//! ```text
//!   start ─▶ passes, at the controller's own pace ─┐
//!        └─▶ people: write until the disk has it ──┴─▶ killed ─▶ (a moment) ─▶ start …
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, join, select};
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use vault_api::check::{Document, check};
use vault_controller::accept::{Decision, Refusal, Writer, decide, finalizers};
use vault_controller::agents::Agents;
use vault_controller::clock::Clock;
use vault_controller::metrics::Metrics;
use vault_controller::policy::Policy;
use vault_controller::reconcile::{Pass, ReconcileConfig, Reconciler};
use vault_controller::run::pace::pause_after;
use vault_controller::source::Source;
use vault_controller::store::{Kind, Store, StoreError, StoredObject};
use vault_plan::identity::ControllerId;

use crate::clock::SimClock;
use crate::controller::Progress;
use crate::mutants::{Bent, MutantClock, MutantPlatform, MutantStore};
use crate::oracle::Wishes;
use crate::platform::SimPlatform;
use crate::process::ProcessId;
use crate::store::SimStore;
use crate::universe::Shared;
use crate::workload::{Manifest, ORGANIZATIONS};

/// How long a controller waits for calls whose answers were lost: its own default.
pub const SETTLE_AFTER: Duration = Duration::from_secs(10);
/// How often a pass runs if nothing happens: the controller's own default.
const INTERVAL: Duration = Duration::from_secs(10);
/// One pass of so many looks whole: few, so that whole ones and others alternate in every story.
const SWEEP_EVERY: u32 = 3;
/// Every other whole look plans although nothing differs, so that both kinds are in every story.
const PLAN_EVERY: u32 = 2;
/// Shorter than a slow call, and than the wait for an answer that was lost: passes often go on without
/// turns that hang.
const TURN_PATIENCE: Duration = Duration::from_millis(300);
/// How long a killed controller takes to be there again.
const RESTART_MS: std::ops::Range<i64> = 100..3_000;
/// Nothing else than a tombstone waits for so long, in milliseconds, and a story whose graces are
/// long does not wait for their end.
const HELD_MS_MAX: i64 = 3_600_000;
/// How often a pass runs while a stage is waited for that begins much later, if nothing happens: the
/// passes in between would be the same again and again.
const LULL_INTERVAL: Duration = Duration::from_secs(600);
/// How soon people write again what could not be written.
const AGAIN: Duration = Duration::from_millis(700);

/// A controller's place, what people want of it, and how they and the run hear of each other.
#[derive(Clone)]
pub struct Actor {
    shared: Shared,
    controller: usize,
    people: Arc<Mutex<People>>,
    /// People have written something: the next pass begins.
    edited: Arc<Notify>,
    /// The disk does not have, or no longer, what people want.
    untold: Arc<Notify>,
    /// A pass came to its end, or a process to its.
    passed: Arc<Notify>,
    metrics: Arc<Metrics>,
    bent: Bent,
}

/// What people want, and what they have written before.
#[derive(Default)]
struct People {
    wanted: Arc<Wanted>,
    /// Tenants as they were last wanted.
    documents: BTreeMap<String, Arc<Document>>,
    /// Tenants that are gone, and of which machines are left: their end was forgotten.
    left: BTreeSet<String>,
}

/// What people want, read once: it is written, and compared with what passes found, again and again.
#[derive(Default)]
struct Wanted {
    classes: Vec<(String, Arc<Document>)>,
    tenants: Vec<(String, Arc<Document>)>,
    wishes: Wishes,
}

impl Wanted {
    fn of(manifest: &Manifest) -> Self {
        let read = |(name, document): (&str, Value)| match check(&document) {
            Ok(document) => (name.to_owned(), Arc::new(document)),
            Err(problems) => unreachable!("a story's documents are sound: {problems:?}"),
        };
        Self {
            classes: manifest.classes().map(read).collect(),
            tenants: manifest.tenants().map(read).collect(),
            wishes: manifest.wishes(),
        }
    }
}

impl Actor {
    /// The controller with that place in the universe. `metrics` count for nobody.
    #[must_use]
    pub fn new(shared: Shared, controller: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            shared,
            controller,
            people: Arc::default(),
            edited: Arc::default(),
            untold: Arc::default(),
            passed: Arc::default(),
            metrics,
            bent: Bent::default(),
        }
    }

    /// The same, broken so.
    #[must_use]
    pub fn bent(self, bent: Bent) -> Self {
        Self { bent, ..self }
    }

    /// From now on people want this.
    pub fn want(&self, manifest: &Manifest) {
        let wanted = Arc::new(Wanted::of(manifest));
        let mut people = self.people();
        people.documents.extend(wanted.tenants.iter().cloned());
        people.wanted = wanted;
        drop(people);
        self.progress(|progress| *progress = Progress { told: false, quiet: 0, ..*progress });
        self.untold.notify_one();
    }

    /// What earlier passes found does not count any more, and the next pass begins at once.
    pub fn look_anew(&self) {
        self.progress(|progress| progress.quiet = 0);
        self.edited.notify_one();
    }

    /// Ends when the next pass does.
    pub async fn passed(&self) {
        self.passed.notified().await;
    }

    /// How far it has come.
    #[must_use]
    pub fn state(&self) -> Progress {
        self.shared.lock().controllers[self.controller].progress
    }

    /// Lives for ever, one process after the other.
    pub async fn live(&self) {
        loop {
            let (process, killed) = self.shared.lock().processes.start(self.controller);
            self.progress(|progress| *progress = Progress { told: false, quiet: 0, ..*progress });
            let life = join(self.pass_for_ever(process), self.write_for_ever(process));
            match select(pin!(self.shared.wait(killed)), pin!(life)).await {
                Either::Left(((), _)) | Either::Right((_, _)) => {}
            }
            self.shared.lock().oracles.process_ended(self.controller);
            let pause_ms = self.shared.lock().draw_ms(RESTART_MS);
            self.passed.notify_one();
            self.shared.sleep(Duration::from_millis(pause_ms.unsigned_abs())).await;
            while let Some(left) = self.rest() {
                self.shared.sleep(left).await;
            }
        }
    }

    /// For how long nobody starts a process yet.
    fn rest(&self) -> Option<Duration> {
        let universe = self.shared.lock();
        let left_ms = universe.controllers[self.controller].rests_until_ms - universe.now_ms();
        (left_ms > 0).then(|| Duration::from_millis(left_ms.unsigned_abs()))
    }

    async fn pass_for_ever(&self, process: ProcessId) {
        let reconciler = self.reconciler(process);
        let clock = SimClock::new(self.shared.clone(), self.controller);
        let nothing = BTreeSet::new();
        loop {
            let spoiled = || self.shared.lock().faults.spoiled();
            let before = spoiled();
            let outcome = reconciler.pass(&nothing).await;
            let is_believed = spoiled() == before;
            let pause = match &outcome {
                Ok(pass) => {
                    self.note(pass, is_believed);
                    let interval = if self.shared.lock().lull { LULL_INTERVAL } else { INTERVAL };
                    pause_after(pass, interval, clock.now())
                }
                Err(error) => {
                    let mut universe = self.shared.lock();
                    let now_ms = universe.now_ms();
                    let message = format!("a pass did not come to its end: {error:?}");
                    universe.oracles.note(now_ms, "pass", message);
                    INTERVAL
                }
            };
            self.passed.notify_one();
            let sleep = pin!(self.shared.sleep(pause));
            let (edited, late) = (pin!(self.edited.notified()), pin!(reconciler.late_turn()));
            let news = select(edited, late);
            match select(sleep, news).await {
                Either::Left(_) | Either::Right(_) => {}
            }
        }
    }

    /// Who the controller takes itself for.
    fn identity(&self) -> ControllerId {
        let universe = self.shared.lock();
        let own = universe.controllers[self.controller].id;
        self.bent.identity(own, universe.oracles.pardons.disk_lost)
    }

    fn reconciler(
        &self,
        process: ProcessId,
    ) -> Reconciler<MutantPlatform, MutantStore, MutantClock> {
        let (shared, controller) = (self.shared.clone(), self.controller);
        let id = self.identity();
        let (secrets, grace_ms) = {
            let universe = shared.lock();
            let known = &universe.controllers[controller];
            (Arc::clone(&known.secrets), known.grace_ms)
        };
        // Nobody runs agents here, and so nobody is asked.
        let (agents, _): (_, mpsc::Receiver<_>) = Agents::new();
        let config = ReconcileConfig {
            controller: id,
            organization: ORGANIZATIONS[0].to_owned(),
            policy: Policy { deletion_grace_ms: grace_ms, ..Policy::default() },
            settle_after: SETTLE_AFTER,
            secrets,
            agents,
            oidc_issuer: "https://oidc.example".to_owned(),
            usage_retention: Duration::from_secs(90 * 86_400),
            metrics: Arc::clone(&self.metrics),
            sweep_every: SWEEP_EVERY,
            plan_every: PLAN_EVERY,
            turn_patience: Some(TURN_PATIENCE),
        };
        let told = shared.clone();
        let tell = move |event: vault_controller::events::Event| {
            let mut universe = told.lock();
            let now_ms = universe.now_ms();
            universe.trace.line(now_ms, || {
                let (tenant, reason, message) = (event.tenant, event.reason, event.message);
                format!("controller {controller} tells: {tenant}: {reason}: {message}")
            });
        };
        let bent = || self.bent.clone();
        let platform = SimPlatform::new(shared.clone(), controller, process);
        let store = SimStore::new(shared.clone(), controller, process);
        let clock = SimClock::new(shared.clone(), controller);
        Reconciler::new(
            Arc::new(MutantPlatform::new(platform, shared, controller, bent())),
            MutantStore::new(store, bent()),
            MutantClock::new(clock, bent()),
            self.bent.config(config),
            Arc::new(tell),
        )
    }

    /// What a pass found; it is not believed that nothing is left to do if it was shown less than
    /// there is.
    fn note(&self, pass: &Pass, is_believed: bool) {
        let now = SimClock::new(self.shared.clone(), self.controller).now();
        let rests = is_believed
            && pass.actions == 0
            && pass.failures == 0
            && pass.unread.is_empty()
            && pass.strays.is_empty()
            && !pass.waiting
            && pass.unsettled == 0
            && pass.under_way.is_empty()
            && pass.held_until.is_none_or(|until| until.since_ms(now) >= HELD_MS_MAX);
        let (left, all_ready): (BTreeSet<String>, bool) = {
            let people = self.people();
            let wishes = &people.wanted.wishes;
            let mut tenants = wishes.tenants.difference(&wishes.left_alone);
            let all_ready = pass.tenants == wishes.tenants.len()
                && tenants.all(|tenant| pass.ready.contains(tenant));
            let gone = pass.strays.iter().map(|stray| stray.tenant.clone());
            let gone = gone.filter(|tenant| !wishes.tenants.contains(tenant));
            (gone.collect(), all_ready)
        };
        if !left.is_empty() {
            self.people().left.extend(left);
            self.progress(|progress| progress.told = false);
            self.untold.notify_one();
        }
        let mut universe = self.shared.lock();
        let universe = &mut *universe;
        let (now_ms, place) = (universe.now_ms(), self.controller);
        let controller = &universe.controllers[place];
        universe.oracles.pass_ended(now_ms, place, controller, &pass.under_way);
        universe.trace.counts.passes += 1;
        let progress = &mut universe.controllers[self.controller].progress;
        if !pass.planned {
            // It only says that what the last plan found still holds, which may be wrong about what no
            // list shows.
            return;
        }
        progress.passes += 1;
        progress.quiet = if rests && all_ready && progress.told { progress.quiet + 1 } else { 0 };
    }

    /// People write what they want until the disk has it, and again when that is not so any more.
    async fn write_for_ever(&self, process: ProcessId) {
        let store = SimStore::new(self.shared.clone(), self.controller, process);
        loop {
            if self.state().told {
                self.untold.notified().await;
                continue;
            }
            let told = self.write(&store).await;
            self.progress(|progress| progress.told = told);
            self.edited.notify_one();
            self.shared.sleep(AGAIN).await;
        }
    }

    /// Writes what differs; whether all of it could be written.
    async fn write(&self, store: &SimStore) -> bool {
        let (wanted, left, documents) = {
            let people = self.people();
            (Arc::clone(&people.wanted), people.left.clone(), people.documents.clone())
        };
        let id = self.identity();
        let mut all = true;
        for (name, document) in &wanted.classes {
            all &= self.put(store, &id, Kind::TenantClass, name, document).await;
        }
        for (name, document) in &wanted.tenants {
            all &= self.put(store, &id, Kind::Tenant, name, document).await;
        }
        let Ok(stored) = store.status_rows("", usize::MAX).await else { return false };
        let mut unwanted = Vec::new();
        for row in stored.iter().filter(|row| !wanted.wishes.tenants.contains(&row.name)) {
            let Ok(object) = store.object(Kind::Tenant, &row.name).await else { return false };
            unwanted.extend(object);
        }
        for name in &left {
            // The end of what is left has to be asked for again, by its name.
            if !stored.iter().any(|row| row.name == *name)
                && let Some(document) = documents.get(name)
            {
                all = false;
                self.shared.lock().oracles.pardons.asked_anew = true;
                self.put(store, &id, Kind::Tenant, name, document).await;
            }
            self.people().left.remove(name);
        }
        for object in unwanted {
            all &= self.delete(store, object).await;
        }
        // What was asked for meanwhile is not written yet.
        let people = self.people();
        all && Arc::ptr_eq(&people.wanted, &wanted) && people.left.is_empty()
    }

    async fn put(
        &self,
        store: &SimStore,
        id: &ControllerId,
        kind: Kind,
        name: &str,
        document: &Document,
    ) -> bool {
        let Ok(stored) = store.object(kind, name).await else { return false };
        let writer = Writer { source: &Source::Api, take_ownership: false, rehearsal: false };
        let now = SimClock::new(self.shared.clone(), self.controller).now();
        let version = stored.as_ref().map(|stored| stored.resource_version);
        let goes = stored.as_ref().is_some_and(|stored| stored.deleted_at.is_some());
        match decide(document, stored.as_ref(), writer, id, now) {
            // It is made anew once it is gone.
            _ if goes => false,
            Ok(Decision::Keep(_)) => true,
            Ok(Decision::Create(object) | Decision::Change(object)) => {
                written(store.put_object(object, version).await.map(drop))
            }
            Err(Refusal::Deleting { .. } | Refusal::Owned { .. } | Refusal::Finalizers { .. }) => {
                false
            }
        }
    }

    /// Asks for the end of a tenant; whether it has come.
    async fn delete(&self, store: &SimStore, object: StoredObject) -> bool {
        let version = Some(object.resource_version);
        let now = SimClock::new(self.shared.clone(), self.controller).now();
        if object.deleted_at.is_none() {
            drop(store.put_object(finalizers::deleted(&object, now), version).await);
        } else if object.spec.get("reconcile").and_then(Value::as_str) == Some("Paused") {
            // What is left alone is left alone in its end too. Only its end is let go on: resumed before
            // that, it would be made as it was last wanted, as far as there is time.
            let mut resumed = object;
            resumed.spec.insert("reconcile".to_owned(), "Active".into());
            resumed.generation += 1;
            drop(store.put_object(resumed, version).await);
        }
        false
    }

    fn progress(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.shared.lock().controllers[self.controller].progress);
    }

    fn people(&self) -> MutexGuard<'_, People> {
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a write came through; somebody else's before it means that it is to be tried again.
fn written(outcome: Result<(), StoreError>) -> bool {
    outcome.is_ok()
}
