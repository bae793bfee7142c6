//! What must hold, whatever goes wrong: each oracle looks at one thing and says what it saw.
//!
//! ```text
//!   a call is sent ────▶ JournalOracle   an intent covers it
//!                  └──▶ DeletionOracle  what it deletes has a tombstone that has matured
//!   it takes effect ───▶ ForeignOracle   what it touches is the caller's own
//!                   └──▶ BudgetOracle    no more is down by our doing than may be
//!   a stage is over ───▶ end             what is there is what was wanted, once, and stays
//! ```

mod budget;
mod deletion;
pub mod end;
mod foreign;
mod journal;
pub mod storage;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;
use vault_emulator::world::{Machine, Volume, World};
use vault_plan::metadata;

pub use budget::{BudgetOracle, WantedMachine, Wishes};
pub use deletion::DeletionOracle;
pub use foreign::ForeignOracle;
pub use journal::JournalOracle;
pub use tokens::{TokenOracle, calls_in_time, kept_tokens, unlike_tokens};

use crate::controller::Controller;
use crate::platform::Call;
use crate::store::Database;
use crate::verb::Verb;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The oracle that saw it.
    pub oracle: &'static str,
    /// When, in milliseconds since the run began.
    pub at_ms: i64,
    /// What, as a sentence.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at_ms as f64 / 1000.0;
        write!(formatter, "{} at {seconds:.3} s: {}", self.oracle, self.message)
    }
}

/// What a controller has made and destroyed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Apps.
    pub apps: u64,
    /// Volumes.
    pub volumes: u64,
    /// Machines.
    pub machines: u64,
    /// Machines that it destroyed.
    pub destroyed: u64,
    /// Machines of its that somebody else destroyed.
    pub taken: u64,
}

/// What nobody can hold against a controller, because faults did it or took away what it needed.
#[derive(Debug, Default)]
pub struct Pardons {
    /// Its disk was lost, and all that stood on it.
    pub disk_lost: bool,
    /// An older disk was put back: it says that people want what they wanted then.
    pub disk_restored: bool,
    /// People asked anew for a tenant that was gone, so that what lists still showed of it would go:
    /// its machines may have been made again.
    pub asked_anew: bool,
    /// Somebody changed a secret. Digests are opaque: without the disk that had the one before, this
    /// cannot be seen.
    pub secrets_changed: bool,
    /// Volumes that the platform made twice of one request, by app, name and region. Their names are
    /// not unique, and a controller deletes no volume that it does not understand.
    pub doubled: BTreeMap<(String, String, String), usize>,
    /// Apps in which somebody made a volume of their own: such an app is not deleted, and so not made
    /// again.
    pub occupied: BTreeSet<String>,
}

/// All oracles that look while a run is under way.
#[derive(Default)]
pub struct Oracles {
    /// Whose things are.
    pub foreign: ForeignOracle,
    /// What is down.
    pub budget: BudgetOracle,
    /// What does not count.
    pub pardons: Pardons,
    /// What was deleted for good.
    pub deletion: DeletionOracle,
    journal: JournalOracle,
    tokens: TokenOracle,
    /// By the controllers' places.
    effects: BTreeMap<usize, Effects>,
    violations: Vec<Violation>,
}

impl Oracles {
    /// What was seen that must not be, in order.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Adds what an oracle saw.
    pub fn note(&mut self, at_ms: i64, oracle: &'static str, message: String) {
        self.violations.push(Violation { oracle, at_ms, message });
    }

    /// What a controller has made and destroyed so far.
    #[must_use]
    pub fn effects(&self, controller: usize) -> Effects {
        self.effects.get(&controller).copied().unwrap_or_default()
    }

    /// Somebody else destroyed a machine of a controller's.
    pub fn taken(&mut self, controller: usize, machine: &Machine) {
        self.of(controller).taken += 1;
        self.budget.taken(controller, machine);
    }

    fn of(&mut self, controller: usize) -> &mut Effects {
        self.effects.entry(controller).or_default()
    }

    /// The platform has changed.
    pub(crate) fn look(&mut self, world: &World, now_ms: i64) {
        if let Some(message) = self.budget.look(world) {
            self.note(now_ms, "budget", message);
        }
    }

    /// A call that may change something leaves a controller.
    pub(crate) fn sent(&mut self, now_ms: i64, call: &Call, controller: &Controller) {
        let disk = &controller.disk;
        if let Some(message) = self.journal.sent(call.verb, &call.app, &call.subject, disk) {
            self.note(now_ms, "journal", message);
        }
        if let Some(message) = self.deletion.sent(now_ms, call, controller) {
            self.note(now_ms, "deletion", message);
        }
    }

    /// A controller has been told yes.
    pub(crate) fn answered(&mut self, call: (usize, Verb, [&str; 2]), controller: &Controller) {
        let (place, verb, named) = call;
        self.journal.answered(place, verb, named, &controller.disk);
    }

    /// A pass of a controller has come to its end.
    pub(crate) fn pass_ended(
        &mut self,
        now_ms: i64,
        place: usize,
        controller: &Controller,
        under_way: &BTreeSet<String>,
    ) {
        if let Some(message) = self.journal.pass_ended(place, &controller.disk, under_way) {
            self.note(now_ms, "journal", message);
        }
    }

    /// A process of a controller has ended.
    pub(crate) fn process_ended(&mut self, place: usize) {
        drop(self.journal.take(place));
    }

    pub(crate) fn made_app(&mut self, call: &Call) {
        self.foreign.own(&call.app, call.controller);
        self.of(call.controller).apps += 1;
    }

    pub(crate) fn made_volume(&mut self, call: &Call, volume: &Volume) {
        self.foreign.own(&volume.id, call.controller);
        if call.is_repeated {
            let key = (volume.app.clone(), volume.name.clone(), volume.region.clone());
            *self.pardons.doubled.entry(key).or_default() += 1;
        } else {
            self.of(call.controller).volumes += 1;
        }
    }

    pub(crate) fn made_machine(&mut self, now_ms: i64, call: &Call, machine: &Machine) {
        self.foreign.own(&machine.id, call.controller);
        self.of(call.controller).machines += 1;
        let mounted = machine.config.get("mounts").and_then(|mounts| mounts.get(0)?.get("volume"));
        if let Some(volume) = mounted.and_then(Value::as_str) {
            self.touches(now_ms, call, volume);
        }
    }

    pub(crate) fn made_token(&mut self, now_ms: i64, call: &Call, id: &str) {
        self.made_credential(now_ms, call, format!("deploy token {}", call.subject), id);
    }

    fn made_credential(&mut self, now_ms: i64, call: &Call, name: String, id: &str) {
        self.foreign.own(id, call.controller);
        let forgets = self.pardons.disk_lost || self.pardons.disk_restored;
        let (controller, is_repeated) = (call.controller, call.is_repeated);
        if let Some(message) = self.tokens.minted(controller, &name, is_repeated, forgets) {
            self.note(now_ms, "tokens", message);
        }
    }

    pub(crate) fn made_access_key(&mut self, now_ms: i64, call: &Call, id: &str) {
        self.made_credential(now_ms, call, format!("access key {}", call.subject), id);
    }

    pub(crate) fn made_bucket(&mut self, call: &Call) {
        self.foreign.own(&call.subject, call.controller);
    }

    pub(crate) fn deleted_volume(&mut self, call: &Call) {
        self.deletion.deleted(&call.subject);
    }

    /// An app goes while this many machines and volumes are in it, and takes them along.
    pub(crate) fn deleted_app(&mut self, now_ms: i64, call: &Call, held: (u64, u64)) {
        if held != (0, 0) {
            let (machines, volumes) = held;
            let app = &call.app;
            let message = format!("app {app} goes with {machines} machines and {volumes} volumes");
            self.note(now_ms, "deletion", message);
        }
    }

    /// A call destroys the machine of this name.
    pub(crate) fn destroyed(&mut self, now_ms: i64, call: &Call, name: &str) {
        self.of(call.controller).destroyed += 1;
        self.budget.destroys(now_ms, call.controller, &call.app, name);
    }

    /// A call touches what its path names: a machine, a volume, or else an app.
    pub(crate) fn touches_subject(&mut self, now_ms: i64, call: &Call) {
        let is_id = call.verb.names_machine()
            || matches!(
                call.verb,
                Verb::ExtendVolume | Verb::CreateSnapshot | Verb::RevokeToken | Verb::DeleteVolume
            )
            || call.verb.is_storage();
        let touched = if is_id { &call.subject } else { &call.app };
        self.touches(now_ms, call, touched);
    }

    fn touches(&mut self, now_ms: i64, call: &Call, touched: &str) {
        if let Some(message) = self.foreign.touches(call.controller, call.verb, touched) {
            self.note(now_ms, "foreign", message);
        }
    }

    /// A call takes a machine down that was as `before`.
    pub(crate) fn takes_down(
        &mut self,
        call: &Call,
        before: &Machine,
        disk: &Database,
        now_ms: i64,
    ) {
        let tenant = before.metadata().find(|(key, _)| *key == metadata::TENANT);
        let is_ending = tenant.is_some_and(|(_, tenant)| disk.is_ending(tenant));
        self.budget.takes_down(now_ms, call.controller, before, is_ending);
    }
}
