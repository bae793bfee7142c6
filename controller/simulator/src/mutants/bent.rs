//! How a controller is bent, and what its broken parts remember from one process to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vault_controller::identity::MasterKey;
use vault_controller::policy::Policy;
use vault_controller::reconcile::ReconcileConfig;
use vault_plan::identity::ControllerId;

use super::Mutation;

/// The identity that a controller takes which has lost the one that stood in its database.
const ANOTHER_IDENTITY: u8 = 77;

/// A controller's mutation, if it has one. Clones share what they remember.
#[derive(Clone, Debug, Default)]
pub struct Bent {
    mutation: Option<Mutation>,
    memory: Arc<Mutex<Memory>>,
}

/// What the lying seams remember. It outlives processes.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Machines and volumes of which nothing is shown any more, by id.
    pub(super) hidden: BTreeSet<String>,
    /// Regions that the last list of machines left out.
    pub(super) regions: BTreeSet<String>,
    /// Machines and volumes that the last lists could not show, by id.
    pub(super) holes: BTreeSet<String>,
    /// Machines and volumes that some list showed, by id.
    pub(super) shown: BTreeSet<String>,
    /// What the last lists showed, by organization.
    pub(super) listed: BTreeMap<String, Listed>,
    /// Ids that came back in an answer: all that a state file would hold.
    pub(super) in_state: BTreeSet<String>,
    /// Apps in which a call failed in passing, and nothing is tried any more.
    pub(super) given_up: BTreeSet<String>,
    /// How often the secrets were asked for.
    pub(super) looks_at_secrets: u64,
    /// How often machines were listed.
    pub(super) looks_at_machines: u64,
}

impl Memory {
    /// Takes what a list shows now: what it showed before and cannot read now is in a hole.
    pub(super) fn see_holes(&mut self, shown: BTreeSet<String>, unreadable: usize) {
        if unreadable > 0 {
            self.holes.extend(self.shown.difference(&shown).cloned());
        } else {
            self.holes.retain(|id| !shown.contains(id));
        }
        self.shown.extend(shown);
    }
}

/// What one organization's last lists showed.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) apps: BTreeSet<String>,
    pub(super) machines: BTreeSet<String>,
    pub(super) volumes: Vec<vault_plan::observed::ObservedVolume>,
}

impl Bent {
    /// A controller with this mutation; with `None` it is as it should be.
    #[must_use]
    pub fn new(mutation: Option<Mutation>) -> Self {
        Self { mutation, memory: Arc::default() }
    }

    /// Whether this is its mutation.
    #[must_use]
    pub fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// Bends what a process is started with.
    #[must_use]
    pub fn config(&self, config: ReconcileConfig) -> ReconcileConfig {
        let policy = config.policy;
        match self.mutation {
            Some(Mutation::IgnoresTheBudget) => {
                let policy = Policy { disruption_percent: 100, ..policy };
                ReconcileConfig { policy, ..config }
            }
            Some(Mutation::IgnoresTheGrace) => {
                let policy = Policy { deletion_grace_ms: 0, ..policy };
                ReconcileConfig { policy, ..config }
            }
            Some(Mutation::WaitsForNoCall) => {
                ReconcileConfig { settle_after: std::time::Duration::ZERO, ..config }
            }
            _ => config,
        }
    }

    /// Who the controller takes itself for, given who it is and whether its disk was ever lost.
    #[must_use]
    pub fn identity(&self, own: ControllerId, disk_lost: bool) -> ControllerId {
        match disk_lost && self.is(Mutation::KeepsItsIdentityInTheDatabase) {
            true => MasterKey::from_bytes([ANOTHER_IDENTITY; 32]).controller_id(),
            false => own,
        }
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
