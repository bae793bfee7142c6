//! Turns that are under way: begun by a pass, and not always ended with it.
//!
//! ```text
//!   pass ─▶ begin turns ─▶ wait until all have ended, or none has for a while ─▶ next pass
//!                                                          │                       ▲
//!                            those that hang go on ────────┴── what came of them ──┘
//! ```
//!
//! A call that hangs costs the other tenants its one place, and not the next pass. Its turn is never
//! given up: what was sent has an answer that is worth keeping. Until it ends nothing else is done for
//! its tenant, whose journal is its own for so long.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{Id, JoinError, JoinSet};
use tracing::Instrument;
use vault_plan::action::PlannedAction;

use super::{Executor, StoreError, TENANTS_IN_FLIGHT_MAX, Turn, Work, order};
use crate::clock::Clock;
use crate::events::Event;
use crate::identity::TenantSecrets;
use crate::metrics::WorkQueue;
use crate::platform::Platform;
use crate::store::Store;

/// The turns that are under way. Dropping it gives them up where they are, as a crash would.
#[derive(Debug)]
pub struct Turns {
    places: Arc<Semaphore>,
    running: JoinSet<Result<Turn, StoreError>>,
    /// Whose they are.
    tenants: HashMap<Id, String>,
    /// What came of those that ended after their passes.
    late: Outcome,
}

/// The seams that turns need, and who is told of them.
pub struct Seams<'a, P, S, C> {
    /// What is acted upon.
    pub platform: &'a Arc<P>,
    /// The journal.
    pub store: &'a S,
    /// What the time is.
    pub clock: &'a C,
    /// Derives tenants' secrets.
    pub secrets: &'a Arc<TenantSecrets>,
    /// Events go through it as they happen.
    pub tell: &'a Arc<dyn Fn(Event) + Send + Sync>,
    /// What is counted.
    pub queue: &'a Arc<WorkQueue>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(TENANTS_IN_FLIGHT_MAX)),
            running: JoinSet::new(),
            tenants: HashMap::new(),
            late: Outcome::default(),
        }
    }
}

impl Turns {
    /// The tenants whose turns are under way.
    #[must_use]
    pub fn tenants(&self) -> BTreeSet<String> {
        self.tenants.values().cloned().collect()
    }

    /// Places of which those of turns that are under way are taken.
    #[cfg(test)]
    pub(super) fn places(&self) -> Arc<Semaphore> {
        Arc::clone(&self.places)
    }

    /// Waits until one of them ends; for ever if none is under way. What came of it is kept for
    /// [`Self::take_ended`]. Cancel-safe.
    pub async fn one_ended(&mut self) {
        match self.running.join_next_with_id().await {
            Some(ended) => drop(self.take(ended)),
            None => std::future::pending().await,
        }
    }

    /// What came of turns that have ended since their passes; waits for none.
    ///
    /// # Errors
    /// If one of them could not write the journal.
    pub fn take_ended(&mut self) -> Result<Vec<Turn>, StoreError> {
        while let Some(ended) = self.running.try_join_next_with_id() {
            self.take(ended);
        }
        std::mem::take(&mut self.late).finish()
    }

    /// Waits until all of them have ended.
    pub async fn finish(&mut self) {
        while let Some(ended) = self.running.join_next_with_id().await {
            self.take(ended);
        }
    }

    /// Carries out all actions of a plan and says what came of each turn that has ended, in the order
    /// of the tenants. None of its tenants may have a turn under way.
    ///
    /// If for `patience` no turn ends, those that are under way are left to themselves, and what was
    /// not begun is left to the next plan; without patience all are waited for.
    ///
    /// # Errors
    /// If the journal cannot be written: then nothing more may be sent.
    pub async fn carry_out<P: Platform, S: Store, C: Clock>(
        &mut self,
        seams: Seams<'_, P, S, C>,
        work: Work,
        patience: Option<Duration>,
    ) -> Result<Vec<Turn>, StoreError> {
        let now = seams.clock.now();
        let turns = order::in_order(by_tenant(work.plan.actions), &work.standing);
        let waiting = turns.into_iter().map(|actions| (actions, seams.queue.add(now)));
        let mut waiting: VecDeque<_> = waiting.collect();
        let mut begun: HashSet<Id> = HashSet::new();
        let mut quiet = pin!(quiet_for(seams.clock, patience));
        // All are waited for, also when the journal refused one: a call that was sent has an answer
        // worth keeping, and whoever cannot journal sends nothing more by itself.
        while !waiting.is_empty() || !begun.is_empty() {
            let places = Arc::clone(&self.places);
            // Taken here, and not in the task, so that places are given in this order. The semaphore
            // is never closed, so this only ever waits. All arms are cancel-safe.
            tokio::select! {
                biased;
                Ok(place) = places.acquire_owned(), if !waiting.is_empty() => {
                    let Some((actions, mut item)) = waiting.pop_front() else { continue };
                    let executor = seams.executor();
                    let tenant = actions[0].tenant.to_string();
                    let span = tracing::info_span!("turn", tenant);
                    let turn = async move {
                        item.begin(executor.clock.now());
                        let turn = executor.turn(actions).await;
                        let failed = turn.as_ref().map_or(true, Turn::has_failed);
                        item.end(failed, executor.clock.now());
                        drop(place);
                        turn
                    };
                    let id = self.running.spawn(turn.instrument(span)).id();
                    self.tenants.insert(id, tenant);
                    begun.insert(id);
                }
                Some(ended) = self.running.join_next_with_id() => {
                    begun.remove(&self.take(ended));
                    quiet.set(quiet_for(seams.clock, patience));
                }
                () = &mut quiet => break,
            }
        }
        self.take_ended()
    }

    /// Takes in a turn that has ended.
    fn take(&mut self, ended: Result<(Id, Result<Turn, StoreError>), JoinError>) -> Id {
        let (id, turn) = match ended {
            Ok(ended) => ended,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        self.tenants.remove(&id);
        match turn {
            Ok(turn) => self.late.turns.push(turn),
            Err(error) => self.late.refusal = Some(error),
        }
        id
    }
}

impl<P, S: Store, C: Clock> Seams<'_, P, S, C> {
    fn executor(&self) -> Executor<P, S, C> {
        Executor {
            platform: Arc::clone(self.platform),
            store: self.store.clone(),
            clock: self.clock.clone(),
            secrets: Arc::clone(self.secrets),
            tell: Arc::clone(self.tell),
        }
    }
}

/// Ends when that time has passed; never without one.
async fn quiet_for<C: Clock>(clock: &C, patience: Option<Duration>) {
    match patience {
        Some(patience) => clock.sleep(patience).await,
        None => std::future::pending().await,
    }
}

/// What came of turns.
#[derive(Debug, Default)]
struct Outcome {
    turns: Vec<Turn>,
    refusal: Option<StoreError>,
}

impl Outcome {
    fn finish(mut self) -> Result<Vec<Turn>, StoreError> {
        if let Some(error) = self.refusal {
            return Err(error);
        }
        self.turns.sort_by(|one, other| one.tenant.cmp(&other.tenant));
        Ok(self.turns)
    }
}

fn by_tenant(actions: Vec<PlannedAction>) -> Vec<Vec<PlannedAction>> {
    let mut groups: Vec<Vec<PlannedAction>> = Vec::new();
    for action in actions {
        match groups.last_mut() {
            Some(group) if group[0].tenant == action.tenant => group.push(action),
            _ => groups.push(vec![action]),
        }
    }
    groups
}
