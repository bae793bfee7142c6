//! What runs in the machine beside the agent: the tenant's root filesystem, booted.
//!
//! ```text
//!                     ┌──────────── back to the previous one ◀── it was on trial ──┐
//!   none ── install ──▶ booting ──▶ running ── 2 s: proven, the previous one goes   │
//!                        ▲             └─ ends, or has not booted ─────────────────┤
//!                        └──────────────────── after a while ◀── it has worked ────┘
//! ```
//!
//! One task owns all of it: what the volume holds ([`crate::roots`]), and the workload that runs.
//! Commands start in the workload; where there is none, beside the agent.

use std::ffi::CString;
use std::future::pending;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use data_encoding::HEXLOWER;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::limits::{BOOT_BACKOFF_MAX, BOOT_PATIENCE, BOOT_PROVEN_AFTER, REPLACED_GRACE};
use crate::process::spawner::Spawner;
use crate::roots::{Roots, RootsError, Staging, State};
use crate::telemetry::Chain;

mod built_in;
mod decision;
pub(crate) mod init;
pub(crate) mod keeper;
mod mounts;
mod persist;
mod running;

use self::decision::{Failures, Next};
use self::running::{Boot, Running};

/// Why nothing is done any more.
const ENDING: &str = "the agent is ending";

/// Where commands are to run.
#[derive(Clone, Debug)]
enum Place {
    /// There is no root filesystem: beside the agent.
    Machine,
    /// It is being booted.
    Booting,
    /// In there.
    Workload(Spawner),
    /// Nowhere, for now, and why.
    Down(Arc<str>),
}

enum Order {
    Install { staging: Staging, sha256: [u8; 32], answer: Answer },
    Stop { grace: Duration, done: oneshot::Sender<()> },
}

/// Told once the root filesystem has worked, or why it is not used.
type Answer = oneshot::Sender<Result<(), String>>;

/// The machine's root filesystems, shared with whoever unpacks a new one.
pub(crate) type SharedRoots = Arc<Mutex<Roots>>;

/// Talks to the task.
pub(crate) struct Workload {
    orders: mpsc::Sender<Order>,
    place: watch::Receiver<Place>,
    machine: Spawner,
    /// Or why there can be none.
    roots: Result<SharedRoots, String>,
    /// Ends with this, and what it runs with it.
    _task: JoinSet<()>,
}

/// What the task needs.
pub(crate) struct Means {
    pub(crate) spawner: Spawner,
    /// For the workload's init process: `NAME=value`.
    pub(crate) environment: Vec<CString>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Workload {
    /// Boots what the volume holds, and goes on from there.
    pub(crate) fn start(roots: Result<Roots, RootsError>, means: Means) -> Self {
        let (orders, queue) = mpsc::channel(1);
        let machine = means.spawner.clone();
        let mut task = JoinSet::new();
        let (place, roots) = match roots {
            Ok(roots) => {
                let is_empty = roots.state().current().is_none();
                let (told, place) =
                    watch::channel(if is_empty { Place::Machine } else { Place::Booting });
                let roots = Arc::new(Mutex::new(roots));
                let keeping = Keeping {
                    roots: Arc::clone(&roots),
                    told,
                    means,
                    failures: Failures::default(),
                    answer: None,
                };
                task.spawn(keeping.run(queue));
                (place, Ok(roots))
            }
            Err(error) => {
                let message = Chain(&error).to_string();
                let place = match &error {
                    RootsError::NoVolume { .. } => Place::Machine,
                    // There may be one, and then commands run nowhere else.
                    RootsError::System { .. } | RootsError::Malformed { .. } => {
                        Place::Down(message.as_str().into())
                    }
                };
                tracing::warn!(
                    error = message,
                    "this machine can have no root filesystem of its own"
                );
                (watch::channel(place).1, Err(message))
            }
        };
        Self { orders, place, machine, roots, _task: task }
    }

    /// What starts commands now. A boot is waited for.
    ///
    /// # Errors
    /// Why nothing can be started, for people.
    pub(crate) async fn spawner(&self) -> Result<Spawner, String> {
        let mut place = self.place.clone();
        let settled = place.wait_for(|place| !matches!(place, Place::Booting));
        let Ok(settled) = timeout(BOOT_PATIENCE, settled).await else {
            return Err("it is still being booted".to_owned());
        };
        match settled.as_deref() {
            Ok(Place::Machine) => Ok(self.machine.clone()),
            Ok(Place::Workload(spawner)) => Ok(spawner.clone()),
            Ok(Place::Down(why)) => Err(why.to_string()),
            Ok(Place::Booting) | Err(_) => Err(ENDING.to_owned()),
        }
    }

    /// The root filesystems, to unpack another one.
    ///
    /// # Errors
    /// Why this machine has none, for people.
    pub(crate) fn roots(&self) -> Result<&SharedRoots, &str> {
        self.roots.as_ref().map_err(String::as_str)
    }

    /// SHA-256 of the archive of the root filesystem that is in use, if there is one.
    pub(crate) fn root(&self) -> Option<[u8; 32]> {
        let roots = locked(self.roots.as_ref().ok()?);
        let sha256 = &roots.state().current()?.sha256;
        HEXLOWER.decode(sha256.as_bytes()).ok()?.try_into().ok()
    }

    /// Ends what runs, boots the unpacked tree in its place, and waits until that has worked. If it does
    /// not, the previous one is booted again.
    ///
    /// # Errors
    /// Why it is not used, for people.
    pub(crate) async fn install(&self, staging: Staging, sha256: [u8; 32]) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        let order = Order::Install { staging, sha256, answer };
        self.orders.send(order).await.map_err(|_| ENDING)?;
        answered.await.map_err(|_| ENDING)?
    }

    /// Ends what runs: asks it to, and kills it after `grace`. Nothing is booted afterwards.
    pub(crate) async fn stop(&self, grace: Duration) {
        let (done, is_done) = oneshot::channel();
        if self.orders.send(Order::Stop { grace, done }).await.is_ok() {
            // Without the task there is nothing to be stopped.
            drop(is_done.await);
        }
    }
}

/// What is known of the root filesystems, whoever held the lock before.
pub(crate) fn locked(roots: &SharedRoots) -> MutexGuard<'_, Roots> {
    roots.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The task.
struct Keeping {
    roots: SharedRoots,
    told: watch::Sender<Place>,
    means: Means,
    failures: Failures,
    /// To whoever waits for the root filesystem that is on trial.
    answer: Option<Answer>,
}

/// Why the task does something else now.
enum Turn {
    /// It has ended, or has not booted: how long it ran, and why.
    Ended { ran: Option<Duration>, why: String },
    /// Something is to be done.
    Order(Order),
    /// The agent is gone.
    Gone,
}

impl Keeping {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut wait = None;
        loop {
            let turn = match wait.take() {
                None => self.boot_and_watch(&mut orders).await,
                // Both arms are cancel-safe.
                Some(after) => tokio::select! {
                    () = sleep(after) => continue,
                    order = orders.recv() => order.map_or(Turn::Gone, Turn::Order),
                },
            };
            match turn {
                Turn::Ended { ran, why } => wait = self.ended(ran, &why),
                Turn::Order(Order::Install { staging, sha256, answer }) => {
                    self.install(&staging, &sha256, answer);
                }
                Turn::Order(Order::Stop { done, .. }) => {
                    // Whoever asked may be gone.
                    let _gone = done.send(());
                    return;
                }
                Turn::Gone => return,
            }
        }
    }

    /// Boots what is in use, if there is something, and follows it until something else is to be done.
    /// Nothing runs when this returns.
    async fn boot_and_watch(&mut self, orders: &mut mpsc::Receiver<Order>) -> Turn {
        let (tree, persist) = match self.about_to_boot() {
            Ok(Some(found)) => found,
            Ok(None) => {
                self.told.send_replace(Place::Machine);
                return orders.recv().await.map_or(Turn::Gone, Turn::Order);
            }
            Err(error) => return Turn::Ended { ran: None, why: Chain(&error).to_string() },
        };
        self.told.send_replace(Place::Booting);
        let Means { spawner, environment, clock } = &self.means;
        let (environment, clock) = (environment.clone(), Arc::clone(clock));
        let boot = Boot { tree: &tree, persist: &persist, environment, spawner };
        let mut running = match boot.run().await {
            Ok(running) => running,
            Err(error) => return Turn::Ended { ran: None, why: Chain(&error).to_string() },
        };
        let started = clock.now();
        self.told.send_replace(Place::Workload(running.spawner.clone()));
        match self.watch(&mut running, orders).await {
            Ok(why) => Turn::Ended { ran: Some(clock.now().saturating_sub(started)), why },
            Err(None) => Turn::Gone,
            Err(Some(order)) => {
                self.told.send_replace(Place::Booting);
                let grace = match &order {
                    Order::Install { .. } => REPLACED_GRACE,
                    Order::Stop { grace, .. } => *grace,
                };
                running.stop(grace).await;
                Turn::Order(order)
            }
        }
    }

    /// Until it ends, which is said, or something else is to be done.
    async fn watch(
        &mut self,
        running: &mut Running,
        orders: &mut mpsc::Receiver<Order>,
    ) -> Result<String, Option<Order>> {
        let mut is_on_trial = locked(&self.roots).state().is_on_trial();
        loop {
            let proven = async {
                match is_on_trial {
                    true => sleep(BOOT_PROVEN_AFTER).await,
                    false => pending().await,
                }
            };
            // All arms are cancel-safe; the trial begins anew only once it is over.
            tokio::select! {
                why = running.ended() => return Ok(why),
                order = orders.recv() => return Err(order),
                () = proven => {
                    is_on_trial = false;
                    self.prove();
                }
            }
        }
    }

    /// Where the tree is that is to be booted, and what is to be kept; nothing, if there is none. A boot
    /// on trial is counted first, and one that was on trial for too often is given up.
    fn about_to_boot(&self) -> Result<Option<(PathBuf, PathBuf)>, RootsError> {
        let mut roots = locked(&self.roots);
        if roots.state().has_failed() {
            tracing::error!(
                "the new root filesystem has never worked; the previous one is restored"
            );
            roots.change(State::rolled_back)?;
        }
        roots.change(State::booting)?;
        let found = roots.state().current();
        Ok(found.map(|root| (roots.tree(root), roots.persist().to_owned())))
    }

    /// The root filesystem on trial works.
    fn prove(&mut self) {
        let changed = locked(&self.roots).change(State::proven);
        let outcome = changed.map_err(|error| Chain(&error).to_string());
        match &outcome {
            Ok(()) => tracing::info!("the new root filesystem works"),
            Err(error) => tracing::error!(error, "it cannot be written down that it works"),
        }
        self.tell(outcome);
        self.remove_leftovers();
    }

    /// It runs no more: decides what follows, and how long to wait before that.
    fn ended(&mut self, ran: Option<Duration>, why: &str) -> Option<Duration> {
        let is_on_trial = locked(&self.roots).state().is_on_trial();
        match self.failures.ended(ran, is_on_trial) {
            Next::RollBack => {
                tracing::error!(
                    why,
                    "the new root filesystem does not work; the previous one is restored"
                );
                let changed = locked(&self.roots).change(State::rolled_back);
                self.tell(Err(why.to_owned()));
                if let Err(error) = changed {
                    let why = Chain(&error).to_string();
                    self.told.send_replace(Place::Down(why.as_str().into()));
                    return Some(BOOT_BACKOFF_MAX);
                }
                self.remove_leftovers();
                None
            }
            Next::BootAgain(after) => {
                tracing::warn!(
                    why,
                    ?after,
                    "the workload has ended, and is booted again after a while"
                );
                let down = format!("{why}; it is booted again in {} s", after.as_secs());
                self.told.send_replace(Place::Down(down.as_str().into()));
                Some(after)
            }
        }
    }

    /// The unpacked tree is the next one to be booted.
    fn install(&mut self, staging: &Staging, sha256: &[u8], answer: Answer) {
        match locked(&self.roots).install(staging, sha256) {
            Ok(()) => {
                self.failures = Failures::default();
                self.answer = Some(answer);
            }
            Err(error) => {
                locked(&self.roots).discard(staging);
                // Whoever asked may be gone.
                let _gone = answer.send(Err(Chain(&error).to_string()));
            }
        }
    }

    /// Answers whoever waits for the root filesystem on trial.
    fn tell(&mut self, outcome: Result<(), String>) {
        if let Some(answer) = self.answer.take() {
            // Whoever asked may be gone.
            let _gone = answer.send(outcome);
        }
    }

    fn remove_leftovers(&self) {
        let leftovers = locked(&self.roots).leftovers();
        // It ends by itself; nobody waits for it.
        drop(spawn_blocking(move || leftovers.remove()));
    }
}
