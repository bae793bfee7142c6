//! The platform as a value: plain data and transitions.
//!
//! ```text
//!  calls ───────────▶ ┌───────┐ ──▶ effects: launch, stop, kill, forget
//!  advance(now) ────▶ │ World │
//!  process_exited ──▶ └───────┘ ──▶ changes: what to journal before answering
//! ```
//!
//! Nothing here reads a clock, draws randomness, blocks or does I/O: `now` is an argument, and
//! identifiers follow from the seed. The same calls at the same times make the same world.

pub mod address;
pub mod app;
pub mod belonging;
pub mod config;
pub mod create;
pub mod error;
pub mod ids;
pub mod image;
pub mod launch;
pub mod lease;
pub mod lifecycle;
pub mod limited_token;
pub mod machine;
pub mod metadata;
pub mod query;
pub mod quirks;
pub mod record;
pub mod region;
pub mod restart;
pub mod running;
pub mod secret;
pub mod snapshot;
pub mod storage;
pub mod table;
pub mod units;
pub mod version;
pub mod volume;
pub mod wait;

#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

pub use self::address::Addresses;
pub use self::app::{App, NewApp};
pub use self::belonging::{Belonging, Thing};
pub use self::create::{NewMachine, Update};
pub use self::error::Refusal;
pub use self::launch::{Identity, LaunchSpec, Program};
pub use self::lease::{Lease, Order};
pub use self::limited_token::{LimitedToken, NewLimitedToken};
pub use self::machine::{Machine, State};
pub use self::record::Record;
pub use self::secret::{DigestKey, Secret, SecretValue};
pub use self::snapshot::{CopyFrom, Snapshot};
pub use self::version::Version;
pub use self::volume::{NewVolume, Volume, VolumeSettings};

use self::ids::Identifiers;
use self::lease::Verdicts;
use self::storage::Storage;
use self::table::Table;
use crate::faults::Faults;

/// How this world differs from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Seeds all identifiers of a new world; a restored one keeps its own.
    pub seed: u64,
    /// The organizations that exist, by slug.
    pub orgs: BTreeSet<String>,
    /// From `starting` to `started`.
    pub boot_delay: Duration,
    /// Machines are processes; otherwise their states move by the clock alone.
    pub processes: bool,
    /// Which addresses machines get.
    pub addresses: Addresses,
    /// Keys the digests of secrets.
    pub digest_key: DigestKey,
}

/// What the world asks to be done outside, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Start a machine's process.
    Launch(Box<LaunchSpec>),
    /// Send the signal, and kill after the timeout.
    Stop {
        /// The machine.
        machine_id: String,
        /// Its run.
        run: u64,
        /// A Linux signal number.
        signal: i32,
        /// How long the process may take.
        timeout: Duration,
    },
    /// Kill a machine's process.
    Kill {
        /// The machine.
        machine_id: String,
        /// Its run.
        run: u64,
    },
    /// Send a signal to a machine's main process, and nothing more.
    Signal {
        /// The machine.
        machine_id: String,
        /// Its run.
        run: u64,
        /// A Linux signal number.
        signal: i32,
    },
    /// Stop all of a machine's processes where they are, or let them go on.
    Freeze {
        /// The machine.
        machine_id: String,
        /// Its run.
        run: u64,
        /// Whether they are to stand still.
        frozen: bool,
    },
    /// Fill a volume with a copy.
    FillVolume {
        /// The volume.
        volume_id: String,
        /// Where the files come from.
        from: CopyFrom,
    },
    /// Copy a volume's files.
    TakeSnapshot {
        /// The volume.
        volume_id: String,
        /// The copy.
        snapshot_id: String,
    },
    /// Remove a snapshot's files.
    RemoveSnapshot {
        /// The snapshot.
        snapshot_id: String,
    },
    /// Remove what a destroyed machine left on disk.
    Forget {
        /// The machine.
        machine_id: String,
    },
    /// Remove a destroyed volume's files.
    RemoveVolume {
        /// The volume.
        volume_id: String,
    },
}

/// All apps with what belongs to them.
#[derive(Clone, Debug)]
pub struct World {
    settings: Settings,
    orgs: BTreeSet<String>,
    ids: Identifiers,
    apps: Table<App>,
    secrets: Table<Secret>,
    machines: Table<Machine>,
    versions: Table<Version>,
    volumes: Table<Volume>,
    snapshots: Table<Snapshot>,
    belongings: Table<Belonging>,
    limited_tokens: Table<LimitedToken>,
    storage: Storage,
    verdicts: Verdicts,
    effects: Vec<Effect>,
    /// What goes wrong on purpose; not journaled.
    faults: Faults,
}

impl World {
    /// A world with organizations and nothing else.
    pub fn new(settings: Settings) -> Self {
        Self {
            orgs: settings.orgs.clone(),
            ids: Identifiers::new(settings.seed),
            settings,
            apps: Table::default(),
            secrets: Table::default(),
            machines: Table::default(),
            versions: Table::default(),
            volumes: Table::default(),
            snapshots: Table::default(),
            belongings: Table::default(),
            limited_tokens: Table::default(),
            storage: Storage::default(),
            verdicts: Verdicts::default(),
            effects: Vec::new(),
            faults: Faults::default(),
        }
    }

    /// When the clock next has something to do.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let deadlines = [
            self.apps.next_deadline(),
            self.machines.next_deadline(),
            self.volumes.next_deadline(),
            self.snapshots.next_deadline(),
            self.belongings.next_deadline(),
            self.limited_tokens.next_deadline(),
        ];
        let rows = deadlines.into_iter().flatten().map(|(at, _)| *at);
        rows.chain(self.faults.next_deadline()).min()
    }

    /// Does what is due: the one way in which time passes here.
    pub fn advance(&mut self, now: Timestamp) {
        let due = |deadline: Option<&(Timestamp, String)>| {
            deadline.filter(|(at, _)| *at <= now).map(|(_, id)| id.clone())
        };
        loop {
            self.run_errands(now);
            if let Some(id) = due(self.volumes.next_deadline()) {
                self.volume_due(now, &id);
            } else if let Some(id) = due(self.snapshots.next_deadline()) {
                self.snapshot_due(now, &id);
            } else if let Some(key) = due(self.belongings.next_deadline()) {
                self.belonging_due(&key);
            } else if let Some(id) = due(self.limited_tokens.next_deadline()) {
                self.limited_token_due(&id);
            } else if let Some(id) = due(self.machines.next_deadline()) {
                self.machine_due(now, &id);
            } else if let Some(id) = due(self.apps.next_deadline()) {
                self.app_due(&id);
            } else {
                return;
            }
        }
    }

    /// What has to be done outside since the last call.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Changes a machine and stamps the change.
    fn change_machine(
        &mut self,
        now: Timestamp,
        id: &str,
        change: impl FnOnce(&mut Machine, &mut Identifiers),
    ) {
        let ids = &mut self.ids;
        self.machines.change(id, |machine| {
            change(machine, ids);
            machine.updated_at = ids.stamp(now);
        });
    }
}
