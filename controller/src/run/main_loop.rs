//! The loop that runs passes: one body, whatever woke it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::{Mutex, Notify, OnceCell, watch};
use tokio_util::sync::CancellationToken;
use vault_plan::identity::ControllerId;
use vault_plan::time::UnixMillis;

use super::pace::pause_after;
use super::{ControllerConfig, ControllerError};
use crate::agents::Agents;
use crate::chain::chain;
use crate::clock::{Clock, SystemClock};
use crate::context;
use crate::events::Event;
use crate::folder::{Folder, FolderReport};
use crate::identity::TenantSecrets;
use crate::memory;
use crate::metrics::{Metrics, PassResult};
use crate::platform::{FlyPlatform, Platform};
use crate::reconcile::{Pass, PassError, ReconcileConfig, Reconciler};
use crate::store::{SqliteStore, StoreError};
use crate::view::View;

/// How soon to look again when a pass did not come to its end.
const TROUBLE_INTERVAL: Duration = Duration::from_secs(2);

/// One pass of so many looks at the platform whole while nothing moves: every two minutes at the
/// default interval. That is how late a change may be found that no list of changes shows, such as one
/// of an app or of a volume; and the other passes cost next to nothing.
const SWEEP_EVERY: u32 = 12;

/// One of so many whole looks in a row plans, although nothing differs: every eight minutes at the
/// default interval, so that secrets, which no list shows, are looked at that often.
const PLAN_EVERY: u32 = 4;

/// A pass waits for its turns until none has ended for so long, and then goes on without those that
/// hang. Creating a machine takes some seconds; a call that waits for longer is one place less, and
/// the next pass serves whoever else has something to be done.
const TURN_PATIENCE: Duration = Duration::from_secs(5);

/// What clients need to know, once the first read of the folder was accepted.
pub(super) struct Clients {
    pub(super) url: String,
    pub(super) authority: Option<String>,
    pub(super) token: SecretString,
}

pub(super) struct MainLoop {
    pub(super) platform: Arc<FlyPlatform>,
    pub(super) store: SqliteStore,
    pub(super) clock: SystemClock,
    pub(super) folder: Option<Folder>,
    pub(super) reconciler: Arc<OnceCell<Reconciler<FlyPlatform, SqliteStore, SystemClock>>>,
    /// Shared with the API; see `App::writing`.
    pub(super) writing: Arc<Mutex<()>>,
    pub(super) controller: ControllerId,
    pub(super) secrets: Arc<TenantSecrets>,
    pub(super) agents: Arc<Agents>,
    pub(super) oidc_issuer: String,
    pub(super) metrics: Arc<Metrics>,
    pub(super) wake: Arc<Notify>,
    pub(super) publish: watch::Sender<View>,
    pub(super) tell: Arc<dyn Fn(Event) + Send + Sync>,
    pub(super) stop: CancellationToken,
    pub(super) clients: Clients,
    pub(super) config: ControllerConfig,
}

impl MainLoop {
    pub(super) async fn run(mut self) -> Result<(), ControllerError> {
        let _watcher = self.folder.as_ref().and_then(|folder| watch_folder(folder, &self.wake));
        let mut clients_written = false;
        while !self.stop.is_cancelled() {
            let began = self.clock.now();
            let trouble = self.sync_folder().await;
            if !clients_written && trouble.is_none() {
                let Clients { url, authority, token } = &self.clients;
                let data_dir = &self.config.data_dir;
                context::write_clients(data_dir, url, authority.as_deref(), token)
                    .map_err(ControllerError::Clients)?;
                clients_written = true;
            }
            let outcome = match self.reconciler().await? {
                Ok(reconciler) => match reconciler.pass(&self.missing()).await {
                    Ok(pass) => Ok(pass),
                    // Without its thread the store will never answer again.
                    Err(error @ PassError::Store(StoreError::Closed)) => return Err(error.into()),
                    Err(error) => {
                        Err(format!("the pass did not come to its end: {}", chain(&error)))
                    }
                },
                Err(unreachable) => Err(format!("the platform cannot be reached: {unreachable}")),
            };
            self.count(&outcome, began);
            let pause = match outcome {
                Ok(pass) => {
                    let pause = pause_after(&pass, self.config.interval, self.clock.now());
                    self.publish(began, trouble, pass);
                    pause
                }
                Err(obstacle) => {
                    self.publish_troubles(trouble.into_iter().chain([obstacle]).collect());
                    self.config.interval.min(TROUBLE_INTERVAL)
                }
            };
            memory::pass_ended();
            self.wait(pause).await;
        }
        if let Some(reconciler) = self.reconciler.get() {
            reconciler.finish().await;
        }
        Ok(())
    }

    /// Takes the folder in if it changed; what is in the way, if anything is.
    async fn sync_folder(&mut self) -> Option<String> {
        let folder = self.folder.as_mut()?;
        let _writing = self.writing.lock().await;
        let before = folder.report().clone();
        let now = self.clock.now();
        match folder.sync(&self.store, &self.controller, now).await {
            Ok(None) => None,
            Ok(Some(report)) => {
                let report = report.clone();
                tell_folder(&*self.tell, now, &before, &report, folder.prunes());
                self.publish.send_modify(|view| view.folder = Some(report));
                None
            }
            Err(error) => Some(chain(&error)),
        }
    }

    fn missing(&self) -> BTreeSet<(crate::store::Kind, String)> {
        self.folder.as_ref().map(|folder| folder.report().missing.clone()).unwrap_or_default()
    }

    /// The reconciler; made when the organization is known, which may take the platform.
    async fn reconciler(
        &self,
    ) -> Result<Result<&Reconciler<FlyPlatform, SqliteStore, SystemClock>, String>, ControllerError>
    {
        let organization = match (self.reconciler.get(), &self.config.organization) {
            (Some(reconciler), _) => return Ok(Ok(reconciler)),
            (None, Some(organization)) => organization.clone(),
            (None, None) => match self.organizations().await {
                Ok(mut seen) if seen.len() == 1 => seen.remove(0),
                Ok(seen) if seen.is_empty() => return Err(ControllerError::NoOrganization),
                Ok(seen) => return Err(ControllerError::SeveralOrganizations(seen)),
                Err(unreachable) => return Ok(Err(unreachable)),
            },
        };
        let config = ReconcileConfig {
            controller: self.controller,
            organization,
            policy: self.config.policy,
            settle_after: self.config.settle_after,
            secrets: Arc::clone(&self.secrets),
            agents: Arc::clone(&self.agents),
            oidc_issuer: self.oidc_issuer.clone(),
            usage_retention: self.config.usage_retention,
            metrics: Arc::clone(&self.metrics),
            sweep_every: SWEEP_EVERY,
            plan_every: PLAN_EVERY,
            turn_patience: Some(TURN_PATIENCE),
        };
        let make = || async {
            let (platform, store) = (Arc::clone(&self.platform), self.store.clone());
            Reconciler::new(platform, store, self.clock, config, Arc::clone(&self.tell))
        };
        Ok(Ok(self.reconciler.get_or_init(make).await))
    }

    fn count(&self, outcome: &Result<Pass, String>, began: UnixMillis) {
        let result = match outcome {
            Ok(pass) => pass.result(),
            Err(_) => PassResult::Error,
        };
        let took_ms = u64::try_from(self.clock.now().since_ms(began)).unwrap_or(0);
        self.metrics.pass(result, Duration::from_millis(took_ms));
    }

    fn publish(&self, began: UnixMillis, trouble: Option<String>, pass: Pass) {
        let now = self.clock.now();
        let mut troubles: Vec<String> = trouble.into_iter().collect();
        troubles.extend(pass.unread.iter().map(|unread| chain(unread)));
        self.tell_troubles(&troubles);
        self.publish.send_modify(|view| {
            view.take_in(pass, began, now);
            view.troubles = troubles;
        });
    }

    fn publish_troubles(&self, troubles: Vec<String>) {
        self.tell_troubles(&troubles);
        self.publish.send_modify(|view| view.troubles = troubles);
    }

    /// Says once what is in the way, and once that nothing is any more.
    fn tell_troubles(&self, troubles: &[String]) {
        let now = self.clock.now();
        let told = self.publish.borrow().troubles.clone();
        match (told.is_empty(), troubles.first()) {
            (true, Some(trouble)) => {
                (self.tell)(Event::warning(now, "", "Waiting", format!("{trouble}; waiting")));
            }
            (false, None) => {
                (self.tell)(Event::normal(now, "", "Recovered", "nothing is in the way any more"));
            }
            (true, None) | (false, Some(_)) => {}
        }
    }

    /// The organizations that the token sees. Given up when the controller ends: it only looks.
    async fn organizations(&self) -> Result<Vec<String>, String> {
        // Both arms are cancel-safe.
        tokio::select! {
            seen = self.platform.organizations() => seen.map_err(|error| chain(&error)),
            () = self.stop.cancelled() => Err("the controller ends".to_owned()),
        }
    }

    async fn wait(&self, pause: Duration) {
        let late_turn = async {
            match self.reconciler.get() {
                Some(reconciler) => reconciler.late_turn().await,
                None => std::future::pending().await,
            }
        };
        // All arms are cancel-safe: a wake-up that comes while another arm wins is kept by Notify.
        tokio::select! {
            () = self.clock.sleep(pause) => {}
            () = late_turn => {}
            () = self.wake.notified() => {}
            () = self.stop.cancelled() => {}
        }
    }
}

/// Wakes the loop when a file of the folder changes. Without a watcher the timer still finds it.
fn watch_folder(folder: &Folder, wake: &Arc<Notify>) -> Option<notify::RecommendedWatcher> {
    use notify::Watcher;
    use notify::event::{AccessKind, AccessMode, EventKind};

    const WRITTEN: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));
    let wake = Arc::clone(wake);
    let changed = move |event: notify::Result<notify::Event>| {
        // Our own reading is told as well; it must not wake us to read again.
        let only_read = |event: notify::Event| event.kind.is_access() && event.kind != WRITTEN;
        if !event.is_ok_and(only_read) {
            wake.notify_one();
        }
    };
    let watched = notify::recommended_watcher(changed).and_then(|mut watcher| {
        watcher.watch(folder.path(), notify::RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watched
        .inspect_err(
            |error| tracing::warn!(%error, "the folder is not watched; the timer finds changes"),
        )
        .ok()
}

/// Tells what is new in a report; what was told before is not told again.
fn tell_folder(
    tell: &(dyn Fn(Event) + Send + Sync),
    now: vault_plan::time::UnixMillis,
    before: &FolderReport,
    report: &FolderReport,
    prunes: bool,
) {
    let consequence = match prunes {
        true => "it is deleted if it stays away",
        false => "nothing is deleted (delete it by name, or run with --prune)",
    };
    for change in &report.changes {
        let tenant = change.split_once(' ').and_then(|(object, _)| object.strip_prefix("tenant/"));
        tell(Event::normal(now, tenant.unwrap_or(""), "Manifest", change.clone()));
    }
    for problem in report.problems.iter().filter(|problem| !before.problems.contains(problem)) {
        tell(Event::warning(now, "", "BadManifest", problem.clone()));
    }
    for (kind, name) in report.missing.difference(&before.missing) {
        let kind = kind.word().to_lowercase();
        let message = format!("{kind}/{name} no longer stands in the folder: {consequence}");
        tell(Event::warning(now, name, "SourceMissing", message));
    }
}
