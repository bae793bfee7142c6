//! Everything that a run consists of, in one place: time, what is still to happen, the platform, the
//! controllers' disks, and what was seen.
//!
//! ```text
//!   every task waits ─▶ the thread would park ─▶ turn(): the next event happens ─▶ somebody is woken
//!                                                   │
//!                            the platform's own clock moves on to the same instant first
//! ```
//!
//! One thread, one clock, one source of chance: the same plan makes the same run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use tokio::sync::oneshot;
use vault_emulator::world::{Effect, World};

use crate::boundary::Boundary;
use crate::controller::Controller;
use crate::faults::Faults;
use crate::lists::Lists;
use crate::oracle::Oracles;
use crate::pause::Pause;
use crate::process::{ProcessId, Processes};
use crate::trace::Trace;

/// When a run begins: 2026-01-01T00:00:00Z, in milliseconds since 1970.
pub const BEGIN_MS: i64 = 1_767_225_600_000;

/// How long the platform takes for a snapshot, or to fill a volume from one.
const COPY_MS: i64 = 700;

type Action = Box<dyn FnOnce(&mut Universe) + Send>;

/// Something that will happen.
struct Event {
    at_ms: i64,
    number: u64,
    action: Action,
}

/// A run's whole state.
pub struct Universe {
    now_ms: i64,
    events: BinaryHeap<Reverse<Event>>,
    numbers: u64,
    /// Somebody was woken since the last look.
    woken: bool,
    /// The platform.
    pub world: World,
    /// The only source of chance.
    pub chance: Rng,
    /// What goes wrong.
    pub faults: Faults,
    /// What earlier lists showed.
    pub lists: Lists,
    /// The controllers: their identities and disks.
    pub controllers: Vec<Controller>,
    /// Their processes, dead ones too.
    pub processes: Processes,
    /// Who stands still.
    pub pause: Pause,
    /// The next stage is waited for: controllers look rarely.
    pub lull: bool,
    /// What must hold.
    pub oracles: Oracles,
    /// What happened.
    pub trace: Trace,
}

/// The way to the universe. Locked for moments, and never across a wait.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Universe>>);

impl Universe {
    /// The time, in milliseconds since the run began.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// The platform's time.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        Timestamp::from_millisecond(BEGIN_MS + self.now_ms).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Has something happen in `delay_ms` milliseconds, after all that was to happen by then.
    pub fn after(&mut self, delay_ms: i64, action: impl FnOnce(&mut Self) + Send + 'static) {
        self.numbers += 1;
        let at_ms = self.now_ms + delay_ms.max(0);
        let event = Event { at_ms, number: self.numbers, action: Box::new(action) };
        self.events.push(Reverse(event));
    }

    /// Answers somebody who waits.
    pub fn answer<T>(&mut self, waiting: oneshot::Sender<T>, value: T) {
        // Whoever died waits no more.
        self.woken |= waiting.send(value).is_ok();
    }

    /// A number of milliseconds of `range`.
    pub fn draw_ms(&mut self, range: std::ops::Range<i64>) -> i64 {
        self.chance.i64(range)
    }

    /// A process comes to a boundary; whether it dies there.
    pub fn boundary(&mut self, process: ProcessId, boundary: Boundary) -> bool {
        if self.processes.is_dead(process) {
            return true;
        }
        let number = self.processes.cross();
        let dies = self.faults.kills(number, &mut self.chance);
        self.trace.coverage.note(boundary, dies);
        if let Some(told) = self.pause.crossed(number, process, self.now_ms) {
            self.trace.line(self.now_ms, || format!("{process} stands still {boundary}"));
            self.trace.mark(boundary.place as u8);
            self.answer(told, ());
        }
        if dies {
            self.trace.mark(boundary.place as u8);
            self.kill(process, &boundary.to_string());
        }
        dies
    }

    /// Ends a process: it does nothing more. What it sent is still on its way.
    pub fn kill(&mut self, process: ProcessId, when: &str) {
        self.trace.counts.kills += 1;
        self.trace.fault();
        self.trace.line(self.now_ms, || format!("{process} is killed {when}"));
        if let Some(told) = self.processes.kill(process) {
            self.answer(told, ());
        }
    }

    /// Looks at what has changed on the platform, and has done what it asks for outside.
    pub fn platform_changed(&mut self) {
        for effect in self.world.take_effects() {
            match effect {
                Effect::TakeSnapshot { snapshot_id, .. } => self.after(COPY_MS, move |universe| {
                    universe.world.snapshot_taken(&snapshot_id, 1);
                }),
                Effect::FillVolume { volume_id, .. } => self.after(COPY_MS, move |universe| {
                    let now = universe.timestamp();
                    universe.world.volume_filled(now, &volume_id);
                }),
                // There are no processes and no files here.
                Effect::Launch(_)
                | Effect::Stop { .. }
                | Effect::Kill { .. }
                | Effect::Signal { .. }
                | Effect::Freeze { .. }
                | Effect::RemoveSnapshot { .. }
                | Effect::Forget { .. }
                | Effect::RemoveVolume { .. } => {}
            }
        }
        self.oracles.look(&self.world, self.now_ms);
    }

    /// Lets the next thing happen.
    fn step(&mut self) {
        let Some(Reverse(next)) = self.events.peek() else {
            unreachable!("a run waits for its own end at least")
        };
        let at_ms = next.at_ms;
        // The platform's own transitions, each at its own time.
        while let Some(due) = self.world.next_deadline() {
            let due_ms = (due.as_nanosecond() + 999_999).div_euclid(1_000_000);
            let due_ms = i64::try_from(due_ms).unwrap_or(i64::MAX) - BEGIN_MS;
            if due_ms > at_ms {
                break;
            }
            self.now_ms = self.now_ms.max(due_ms);
            self.world.advance(self.timestamp());
            self.platform_changed();
        }
        self.now_ms = at_ms;
        if let Some(Reverse(event)) = self.events.pop() {
            (event.action)(self);
        }
    }
}

impl Shared {
    /// A universe in which nothing has happened yet.
    #[must_use]
    pub fn new(world: World, faults: Faults, chance: Rng, trace: Trace, oracles: Oracles) -> Self {
        Self(Arc::new(Mutex::new(Universe {
            now_ms: 0,
            events: BinaryHeap::new(),
            numbers: 0,
            woken: false,
            world,
            chance,
            faults,
            lists: Lists::default(),
            controllers: Vec::new(),
            processes: Processes::default(),
            pause: Pause::default(),
            lull: false,
            oracles,
            trace,
        })))
    }

    /// The universe, for a moment.
    pub fn lock(&self) -> MutexGuard<'_, Universe> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets things happen until somebody is woken: called when every task waits.
    pub fn turn(&self) {
        let mut universe = self.lock();
        universe.woken = false;
        while !universe.woken {
            universe.step();
        }
    }

    /// Waits for `duration` of virtual time.
    pub async fn sleep(&self, duration: Duration) {
        let (wake, woken) = oneshot::channel();
        {
            let delay_ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
            self.lock().after(delay_ms, move |universe| universe.answer(wake, ()));
        }
        self.wait(woken).await;
    }

    /// Waits for as long as a process stands still.
    pub async fn stand_still(&self, process: ProcessId) {
        let left_ms = {
            let universe = self.lock();
            universe.pause.left_ms(process, universe.now_ms)
        };
        if let Some(left_ms) = left_ms {
            self.sleep(Duration::from_millis(left_ms.unsigned_abs())).await;
        }
    }

    /// Waits for an answer; for ever if there will be none.
    pub async fn wait<T>(&self, answer: oneshot::Receiver<T>) -> T {
        match answer.await {
            Ok(answer) => answer,
            Err(_) => pending().await,
        }
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        (self.at_ms, self.number) == (other.at_ms, other.number)
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_ms, self.number).cmp(&(other.at_ms, other.number))
    }
}
