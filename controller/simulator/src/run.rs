//! One run: a story is told, things go wrong, then nothing does any more, and what is there is
//! compared with what should be.
//!
//! ```text
//!   for each stage:  people want it ─▶ faults on for a while ─▶ faults off ─▶ passes until nothing is
//!                    left to do (at most PASSES_MAX) ─▶ compare ─▶ passes that must write nothing
//! ```

mod compare;

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::{Either, join, select};
use serde_json::json;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use vault_controller::metrics::Metrics;
use vault_emulator::faults::Fault;
use vault_emulator::world::{Addresses, DigestKey, NewApp, NewMachine, NewVolume, Settings, World};
use vault_plan::time::UnixMillis;

use crate::actor::Actor;
use crate::controller::Controller;
use crate::coverage::Coverage;
use crate::faults::{Faults, Plan};
use crate::mutants::{Bent, Mutation};
use crate::nature::{self, Nature};
use crate::oracle::end::{StageEnd, inventory};
use crate::oracle::{Oracles, Violation, calls_in_time, kept_tokens};
use crate::pause::Pause;
use crate::trace::{Counts, Trace};
use crate::universe::{BEGIN_MS, Shared};
use crate::verb::Verb;
use crate::workload::{Manifest, ORGANIZATIONS, Workload};

/// How many passes after the last fault may be needed until nothing is left to do.
const PASSES_MAX: u64 = 600;
/// How many passes in a row must find nothing to do before that is believed.
const QUIET_PASSES: u64 = 2;
/// How many passes after that must write nothing.
const STILL_PASSES: u64 = 3;
/// After how long, in milliseconds, everything that is only looked at now and then is looked at again:
/// what the controller calls `LOOK_VALID_MS`, and a pass more.
const LOOK_MS: i64 = 620_000;
/// From `starting` to `started`, but where nobody looks at what happens meanwhile.
pub const BOOT: Duration = Duration::from_millis(900);

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The seed of its chance.
    pub seed: u64,
    /// What people want.
    pub workload: Workload,
    /// What becomes of calls, and when controllers die.
    pub plan: Plan,
    /// What else happens; nothing if absent.
    pub nature: Option<Nature>,
    /// How long faults are on in each stage, in milliseconds; for scripts 0, because they end by
    /// themselves.
    pub window_ms: i64,
    /// The platform's own faults, as its documents say them.
    pub quirks: Vec<Fault>,
    /// A second controller, with another identity, and what people want of it.
    pub second: Option<Manifest>,
    /// The boundary at which the first controller stands still, and for how many milliseconds: from
    /// then on another one of its identity works, with a copy of its disk.
    pub pause: Option<(u64, i64)>,
    /// Whether one stage follows the other before that is finished.
    pub storm: bool,
    /// Whether a few more passes, which must write nothing, follow the end of each stage.
    pub still: bool,
    /// How long machines take from `starting` to `started`.
    pub boot: Duration,
    /// Whether lines are kept.
    pub readable: bool,
    /// How the first controller is broken; not at all if absent.
    pub mutation: Option<Mutation>,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What was seen that must not be; none if all was well.
    pub violations: Vec<Violation>,
    /// How each stage ended, as far as the run came.
    pub stages: Vec<StageEnd>,
    /// What was counted.
    pub counts: Counts,
    /// Which places of the code were seen.
    pub coverage: Coverage,
    /// A number that runs have in common which made the same calls with the same fates.
    pub signature: u64,
    /// Where calls that may change something began, as numbers of boundaries.
    pub writes: Vec<(u64, Verb)>,
    /// The trace, if it was kept.
    pub lines: Vec<String>,
}

impl Setting {
    /// A story without faults.
    #[must_use]
    pub fn calm(workload: Workload) -> Self {
        Self {
            seed: 0,
            workload,
            plan: Plan::None,
            nature: None,
            window_ms: 0,
            quirks: Vec::new(),
            second: None,
            pause: None,
            storm: false,
            still: true,
            boot: BOOT,
            readable: false,
            mutation: None,
        }
    }

    /// Runs it. `reference` says how the same story ends without faults.
    ///
    /// # Panics
    /// If the controller does.
    #[must_use]
    pub fn run(&self, reference: Option<&[StageEnd]>, metrics: &Arc<Metrics>) -> Outcome {
        let trace = if self.readable { Trace::readable() } else { Trace::counting() };
        let faults = Faults::new(self.plan.clone());
        let chance = Rng::with_seed(self.seed);
        let shared =
            Shared::new(world(self.seed, self.boot), faults, chance, trace, Oracles::default());
        let time = shared.clone();
        let runtime = Builder::new_current_thread().on_thread_park(move || time.turn()).build();
        let runtime = runtime.expect("a runtime without input, output and time needs nothing");
        let stages = runtime.block_on(self.tell(&shared, reference, metrics));
        drop(runtime);
        let mut universe = shared.lock();
        let trace = std::mem::take(&mut universe.trace);
        Outcome {
            violations: universe.oracles.violations().to_vec(),
            stages,
            counts: trace.counts,
            coverage: trace.coverage.clone(),
            signature: trace.signature(),
            writes: trace.writes.clone(),
            lines: trace.into_lines(),
        }
    }

    async fn tell(
        &self,
        shared: &Shared,
        reference: Option<&[StageEnd]>,
        metrics: &Arc<Metrics>,
    ) -> Vec<StageEnd> {
        let grace_ms = self.workload.grace_ms;
        let controller = |number| Controller { grace_ms, ..Controller::new(number) };
        let other = if self.pause.is_some() { 1 } else { 2 };
        shared.lock().controllers = vec![controller(1), controller(other)];
        let first = Actor::new(shared.clone(), 0, Arc::clone(metrics));
        let first = first.bent(Bent::new(self.mutation));
        let second = Actor::new(shared.clone(), 1, Arc::clone(metrics));
        let others = async {
            if let Some(manifest) = &self.second {
                let wishes = manifest.wishes();
                shared.lock().oracles.budget.wish(1, wishes, 0);
                second.want(manifest);
                second.live().await;
            }
            if let Some((boundary, lasts_ms)) = self.pause {
                self.take_over(shared, &second, Pause::new(boundary, lasts_ms)).await;
            }
        };
        let nature = async {
            if let Some(nature) = self.nature {
                nature::happen(shared, nature).await;
            }
        };
        let ends = Mutex::new(Vec::new());
        let story = async {
            for (number, manifest) in self.workload.stages.iter().enumerate() {
                let end = self.stage(shared, &first, number, manifest).await;
                let before = ends.lock().unwrap_or_else(PoisonError::into_inner).first().cloned();
                let expected = reference.and_then(|stages| stages.get(number));
                if !self.storm || number + 1 == self.workload.stages.len() {
                    self.compare(shared, number, manifest, &end, expected, before.as_ref());
                    if self.still && shared.lock().oracles.violations().is_empty() {
                        self.stay_still(shared, &first, manifest).await;
                    }
                }
                ends.lock().unwrap_or_else(PoisonError::into_inner).push(end);
                if !shared.lock().oracles.violations().is_empty() {
                    return;
                }
            }
        };
        let world = async {
            join(join(first.live(), others), nature).await;
            std::future::pending::<()>().await;
        };
        match select(pin!(story), pin!(world)).await {
            Either::Left(((), _)) | Either::Right(((), _)) => {}
        }
        ends.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the first controller stands still, and works in its place with a copy of its disk.
    async fn take_over(
        &self,
        shared: &Shared,
        second: &Actor,
        (pause, begun): (Pause, oneshot::Receiver<()>),
    ) {
        {
            let mut universe = shared.lock();
            universe.pause = pause;
            universe.oracles.foreign.twins = true;
        }
        shared.wait(begun).await;
        {
            let mut universe = shared.lock();
            universe.controllers[1].disk = universe.controllers[0].disk.clone();
        }
        if let Some(manifest) = self.workload.stages.last() {
            second.want(manifest);
        }
        second.live().await;
    }

    /// One stage, until nothing is left to do.
    async fn stage(
        &self,
        shared: &Shared,
        actor: &Actor,
        number: usize,
        manifest: &Manifest,
    ) -> StageEnd {
        if let Some(begins_ms) = self.workload.begins_ms.get(number) {
            lull(shared, *begins_ms).await;
        }
        {
            let mut universe = shared.lock();
            let (now_ms, now) = (universe.now_ms(), universe.timestamp());
            universe.trace.line(now_ms, || format!("stage {number} of {}", self.workload.name));
            universe.oracles.budget.wish(0, manifest.wishes(), now_ms);
            universe.faults.resume();
            universe.world.set_faults(now, self.quirks.clone());
        }
        actor.want(manifest);
        let window_ms = match self.storm {
            false => self.window_ms,
            true => shared.lock().draw_ms(0..self.window_ms.max(1)),
        };
        let is_last = number + 1 == self.workload.stages.len();
        if window_ms > 0 {
            shared.sleep(Duration::from_millis(window_ms.unsigned_abs())).await;
        }
        if !self.storm || is_last {
            {
                let mut universe = shared.lock();
                let (now_ms, now) = (universe.now_ms(), universe.timestamp());
                if window_ms > 0 {
                    universe.faults.heal();
                    universe.trace.line(now_ms, || "from now on nothing goes wrong".to_owned());
                }
                universe.world.set_faults(now, Vec::new());
                for controller in &mut universe.controllers {
                    controller.clock_wrong_by_ms = 0;
                }
            }
            actor.look_anew();
            self.converge(shared, actor).await;
        }
        let universe = shared.lock();
        let mut inventory = inventory(&universe.world, &universe.oracles.foreign, 0);
        inventory.pardon(&universe.oracles.pardons);
        StageEnd { inventory, effects: universe.oracles.effects(0) }
    }

    /// Passes until nothing is left to do.
    async fn converge(&self, shared: &Shared, actor: &Actor) {
        let began = actor.state().passes;
        // A look at secrets finds what somebody did to them, or what the controller itself set after a
        // disk that was put back was copied; one at tokens finds what a lost answer left, and one at
        // access keys what a lost disk forgot. They are made only now and then.
        let meddled = self.nature.is_some_and(|nature| nature.people);
        let (restored, lost) = {
            let pardons = &shared.lock().oracles.pardons;
            (pardons.disk_restored, pardons.disk_lost)
        };
        let has_credentials = self.workload.has_tokens() || lost && self.workload.has_buckets();
        let look = if meddled || restored || has_credentials { 2 } else { 1 };
        for round in 0..look {
            if round > 0 {
                let now_ms = shared.lock().now_ms();
                lull(shared, now_ms + LOOK_MS).await;
                actor.look_anew();
            }
            loop {
                actor.passed().await;
                let state = actor.state();
                if !shared.lock().oracles.violations().is_empty() {
                    return;
                }
                if state.quiet >= QUIET_PASSES {
                    // Who sees a machine as wanted cannot know that its host will take the update back.
                    let Some(left) = left_by_faults(shared) else { break };
                    shared.sleep(left).await;
                    actor.look_anew();
                    continue;
                }
                if state.passes - began > PASSES_MAX {
                    let mut universe = shared.lock();
                    let now_ms = universe.now_ms();
                    let waiting = universe.controllers[0].disk.not_ready().join("; ");
                    let message = format!(
                        "{PASSES_MAX} passes after the last fault there is still something to do; \
                         not Ready: {waiting}"
                    );
                    universe.oracles.note(now_ms, "convergence", message);
                    return;
                }
            }
        }
    }

    /// A few more passes, which must write nothing but what becomes due meanwhile.
    async fn stay_still(&self, shared: &Shared, actor: &Actor, manifest: &Manifest) {
        let look = || {
            let known = &shared.lock().controllers[0];
            (known.calls.writes, kept_tokens(known))
        };
        let (before, kept_before) = look();
        let until = actor.state().passes + STILL_PASSES;
        while actor.state().passes < until {
            actor.passed().await;
        }
        let (after, kept) = look();
        let mut universe = shared.lock();
        let now_ms = universe.now_ms();
        let now = UnixMillis(BEGIN_MS + now_ms);
        let more =
            (after - before).saturating_sub(calls_in_time(manifest, &kept_before, &kept, now));
        if more > 0 {
            let message =
                format!("{more} calls that change something though nothing is left to do");
            universe.oracles.note(now_ms, "stability", message);
        }
    }
}

/// For how long there is still something to come of faults that are over, such as an update that its host
/// takes back; `None` if there is nothing.
fn left_by_faults(shared: &Shared) -> Option<Duration> {
    let universe = shared.lock();
    let last_ms = universe.world.faults().last_deadline()?.as_millisecond() - BEGIN_MS;
    // A millisecond more, after which it has happened.
    let left_ms = (last_ms - universe.now_ms()).max(0) + 1;
    Some(Duration::from_millis(left_ms.unsigned_abs()))
}

/// Lets time pass until then, in which nothing goes wrong.
async fn lull(shared: &Shared, until_ms: i64) {
    let left_ms = {
        let mut universe = shared.lock();
        universe.faults.heal();
        universe.lull = true;
        until_ms - universe.now_ms()
    };
    shared.sleep(Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))).await;
    shared.lock().lull = false;
}

/// A platform with a stranger's app in it, whose machine is called as ours would be; machines take
/// `boot_delay` from `starting` to `started`.
///
/// # Panics
/// Never: a fresh world takes what is asked of it here.
#[must_use]
pub fn world(seed: u64, boot_delay: Duration) -> World {
    let settings = Settings {
        seed,
        orgs: ORGANIZATIONS.map(str::to_owned).into(),
        boot_delay,
        processes: false,
        addresses: Addresses::PrivateNetwork,
        digest_key: DigestKey::new([7; 32]),
    };
    let mut world = World::new(settings);
    let begin = jiff::Timestamp::from_millisecond(BEGIN_MS);
    let begin = begin.unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let app = NewApp {
        name: Some("strangers".to_owned()),
        org: ORGANIZATIONS[0].to_owned(),
        ..NewApp::default()
    };
    let config = json!({
        "image": "theirs:1",
        "metadata": { "vault_controller": "another", "vault_tenant": "acme" },
    });
    let machine = NewMachine {
        name: Some("acme-box-0".to_owned()),
        region: Some("ord".to_owned()),
        config: config.as_object().cloned().unwrap_or_default(),
        ..NewMachine::default()
    };
    let volume = NewVolume {
        name: "theirs".to_owned(),
        region: Some("ord".to_owned()),
        ..NewVolume::default()
    };
    world.create_app(begin, app).expect("a fresh world takes an app");
    world.create_machine(begin, "strangers", machine).expect("and a machine");
    world.create_volume(begin, "strangers", volume).expect("and a volume");
    world
}
