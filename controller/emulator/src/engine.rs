//! The world at work: one lock around it, its journal, and the queue of what it asks for.
//!
//! A call locks, changes the world, appends the changes to the journal, unlocks, and only then is
//! answered. Effects are carried out by one thread in the order in which the world asked for them.
//! The lock is never held across an await or while a runner works.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::journal::Journal;
use crate::runner::Exit;
use crate::world::wait::{Progress, Wish};
use crate::world::{Effect, Record, Refusal, World};

/// Why a call has no answer from the world.
#[derive(Clone, Debug, Error)]
pub enum EngineError {
    /// The world refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The journal failed earlier: the world in memory is ahead of the disk and answers no more.
    #[error("the emulator's journal cannot be written: {0}")]
    Broken(String),
    /// The emulator is ending.
    #[error("the emulator is shutting down")]
    Closing,
}

/// How a wait ended.
#[derive(Clone, Debug)]
pub(crate) enum Waited {
    /// A goal was reached.
    Reached(Progress),
    /// The time is up; the state in words.
    TimedOut(&'static str),
}

/// The world and what belongs to it.
pub(crate) struct Engine {
    inner: Mutex<Inner>,
    effects_ready: Condvar,
    timer: Notify,
    /// One entry per machine that someone waits for.
    waiters: Mutex<HashMap<String, Arc<Notify>>>,
    clock: Arc<dyn Clock>,
    closing: CancellationToken,
}

struct Inner {
    world: World,
    /// `None` once the emulator has ended: the folder is then free for the next one.
    journal: Option<Journal>,
    /// Bounded by the world: a machine has at most a handful of effects outstanding.
    effects: VecDeque<Effect>,
    broken: Option<String>,
}

impl Engine {
    pub(crate) fn new(world: World, journal: Journal, clock: Arc<dyn Clock>) -> Arc<Self> {
        let inner = Inner { world, journal: Some(journal), effects: VecDeque::new(), broken: None };
        Arc::new(Self {
            inner: Mutex::new(inner),
            effects_ready: Condvar::new(),
            timer: Notify::new(),
            waiters: Mutex::new(HashMap::new()),
            clock,
            closing: CancellationToken::new(),
        })
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Cancelled when the emulator ends.
    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// Looks at the world.
    pub(crate) fn read<R>(
        &self,
        look: impl FnOnce(&World) -> Result<R, Refusal>,
    ) -> Result<R, EngineError> {
        let inner = self.lock();
        self.check(&inner)?;
        Ok(look(&inner.world)?)
    }

    /// Changes the world; when it returns, the change is journaled.
    pub(crate) fn change<R>(
        &self,
        change: impl FnOnce(&mut World, Timestamp) -> Result<R, Refusal>,
    ) -> Result<R, EngineError> {
        let (answer, changes) = {
            let mut inner = self.lock();
            self.check(&inner)?;
            let answer = change(&mut inner.world, self.clock.now());
            let changes = inner.world.take_changes();
            inner.keep(&changes)?;
            let effects = inner.world.take_effects();
            if !effects.is_empty() {
                // Also for those that change nothing here, as a signal.
                self.effects_ready.notify_all();
            }
            inner.effects.extend(effects);
            (answer, changes)
        };
        if !changes.is_empty() {
            self.timer.notify_one();
            self.wake_waiters(&changes);
        }
        Ok(answer?)
    }

    /// Lets time pass, in which the emulator may end.
    pub(crate) async fn pause(&self, time: Duration) {
        let until = self.clock.now() + time;
        while self.clock.now() < until && !self.closing.is_cancelled() {
            // Both arms are cancel-safe.
            tokio::select! {
                () = self.clock.sleep_until(until) => {}
                () = self.closing.cancelled() => {}
            }
        }
    }

    /// Wakes the timer: something that is not journaled may have a deadline now.
    pub(crate) fn look_at_the_clock(&self) {
        self.timer.notify_one();
    }

    /// Does what the clock asks for, until the emulator ends.
    pub(crate) async fn run_timer(self: Arc<Self>) {
        while !self.closing.is_cancelled() {
            let moved = self.change(|world, now| {
                world.advance(now);
                Ok(world.next_deadline())
            });
            let woken = self.timer.notified();
            // Each arm is cancel-safe: a permit that is left over only means one more round.
            match moved {
                Ok(Some(at)) => tokio::select! {
                    () = woken => {}
                    () = self.clock.sleep_until(at) => {}
                    () = self.closing.cancelled() => {}
                },
                Ok(None) => tokio::select! {
                    () = woken => {}
                    () = self.closing.cancelled() => {}
                },
                Err(error) => {
                    tracing::error!(%error, "the clock of the machines stands still");
                    self.closing.cancelled().await;
                }
            }
        }
    }

    /// Blocks until the machine gets where `wish` says, `deadline` passes, or it cannot get there.
    pub(crate) async fn wait(
        &self,
        app: &str,
        id: &str,
        wish: &Wish,
        deadline: Timestamp,
    ) -> Result<Waited, EngineError> {
        let waiter = Waiter::new(self, id);
        loop {
            let changed = waiter.notify.notified();
            tokio::pin!(changed);
            // Registered before looking, so that no change falls between looking and waiting.
            changed.as_mut().enable();
            let state = match self.read(|world| world.progress(app, id, wish))? {
                reached @ Progress::Reached { .. } => return Ok(Waited::Reached(reached)),
                Progress::Waiting(state) => state,
            };
            if self.clock.now() >= deadline {
                return Ok(Waited::TimedOut(state));
            }
            // Each arm is cancel-safe: the loop looks at everything again.
            tokio::select! {
                () = changed => {}
                () = self.clock.sleep_until(deadline) => {}
                () = self.closing.cancelled() => return Err(EngineError::Closing),
            }
        }
    }

    /// Blocks until `look` finds something; it looks again after each change of the machine.
    pub(crate) async fn until<R>(
        &self,
        id: &str,
        mut look: impl FnMut(&World) -> Option<R>,
    ) -> Result<R, EngineError> {
        let waiter = Waiter::new(self, id);
        loop {
            let changed = waiter.notify.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(found) = self.read(|world| Ok(look(world)))? {
                return Ok(found);
            }
            // Both arms are cancel-safe: the loop looks at everything again.
            tokio::select! {
                () = changed => {}
                () = self.closing.cancelled() => return Err(EngineError::Closing),
            }
        }
    }

    /// The next effect; blocks until there is one. `None` when the emulator ends.
    pub(crate) fn next_effect(&self) -> Option<Effect> {
        let mut inner = self.lock();
        loop {
            if self.closing.is_cancelled() {
                return None;
            }
            if let Some(effect) = inner.effects.pop_front() {
                return Some(effect);
            }
            inner = self.effects_ready.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes the end of a machine's process.
    pub(crate) fn process_exited(&self, machine_id: &str, run: u64, exit: Exit) {
        let taken = self.change(|world, now| {
            world.process_exited(now, machine_id, run, exit);
            Ok(())
        });
        match taken {
            Ok(()) | Err(EngineError::Closing) => {}
            Err(error) => tracing::error!(machine_id, run, %error, "an exit is lost"),
        }
    }

    /// Freezes the world as it is and ends everything that waits.
    pub(crate) fn close(&self) {
        let _inner = self.lock();
        self.closing.cancel();
        self.effects_ready.notify_all();
    }

    /// Lets go of the journal and with it of the folder.
    pub(crate) fn release(&self) {
        self.lock().journal = None;
    }

    /// After `close` nothing changes any more: the ends of machines that are killed with the
    /// emulator are not their own ends.
    fn check(&self, inner: &Inner) -> Result<(), EngineError> {
        if self.closing.is_cancelled() {
            return Err(EngineError::Closing);
        }
        inner.broken.as_ref().map_or(Ok(()), |reason| Err(EngineError::Broken(reason.clone())))
    }

    fn wake_waiters(&self, changes: &[Record]) {
        let waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        if waiters.is_empty() {
            return;
        }
        for change in changes {
            let id = match change {
                Record::Machine(machine) => &machine.id,
                Record::MachineGone(id) => id,
                _ => continue,
            };
            if let Some(notify) = waiters.get(id) {
                notify.notify_waiters();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| {
            let mut inner = poisoned.into_inner();
            // A change that panicked may be half done, and must not be served or journaled.
            inner.broken.get_or_insert_with(|| "a change panicked".to_owned());
            inner
        })
    }
}

impl Inner {
    fn keep(&mut self, changes: &[Record]) -> Result<(), EngineError> {
        if changes.is_empty() {
            return Ok(());
        }
        let journal = self.journal.as_mut().ok_or(EngineError::Closing)?;
        let mut kept = journal.append(changes);
        if kept.is_ok() && journal.wants_rewriting() {
            kept = journal.rewrite(self.world.snapshot());
        }
        kept.map_err(|error| {
            let reason = format!("{:#}", anyhow::Error::from(error));
            tracing::error!(%reason, "the journal failed; nothing is answered any more");
            self.broken = Some(reason.clone());
            EngineError::Broken(reason)
        })
    }
}

/// One wait's place in the table of waiters.
struct Waiter<'a> {
    engine: &'a Engine,
    id: String,
    notify: Arc<Notify>,
}

impl<'a> Waiter<'a> {
    fn new(engine: &'a Engine, id: &str) -> Self {
        let mut waiters = engine.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        let notify = Arc::clone(waiters.entry(id.to_owned()).or_default());
        Self { engine, id: id.to_owned(), notify }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut waiters = self.engine.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        // The table's own reference and ours: nobody else waits for this machine.
        if waiters.get(&self.id).is_some_and(|notify| Arc::strong_count(notify) <= 2) {
            waiters.remove(&self.id);
        }
    }
}
