//! A controller as an identity with a disk: what outlives its processes.

use std::sync::Arc;

use vault_controller::identity::{MasterKey, SecretSources, TenantSecrets};
use vault_controller::platform::Calls;
use vault_controller::policy::Policy;
use vault_plan::identity::ControllerId;

use crate::store::Database;

/// How many older disks are kept: what a person restores is rarely older than a few.
const BACKUPS_MAX: usize = 4;
/// What manifests can name as secrets, and their values.
const SECRETS: [(&str, &str); 2] =
    [("VAULTCTL_SECRET_FIRST", "first value"), ("VAULTCTL_SECRET_SECOND", "second value")];

/// How far a controller's passes have come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Passes that came to their end.
    pub passes: u64,
    /// How many of the last ones, in a row, had nothing to do and nothing to wait for.
    pub quiet: u64,
    /// What people want has reached the disk.
    pub told: bool,
}

/// One controller.
pub struct Controller {
    /// Who it is.
    pub id: ControllerId,
    /// Derives what its tenants keep secret.
    pub secrets: Arc<TenantSecrets>,
    /// Its disk, as far as it is durable.
    pub disk: Database,
    /// The disk as it was at earlier times, the oldest first.
    pub backups: Vec<Database>,
    /// Nobody starts a process before: whoever puts an older disk back waits.
    pub rests_until_ms: i64,
    /// The calls that it made.
    pub calls: Calls,
    /// How far its passes have come.
    pub progress: Progress,
    /// How long its tombstones stand before what they name may go, in milliseconds.
    pub grace_ms: i64,
    /// How far its clock is from the platform's, in milliseconds.
    pub clock_wrong_by_ms: i64,
}

impl Controller {
    /// A controller whose identity follows from a number, with an empty disk.
    #[must_use]
    pub fn new(number: u8) -> Self {
        let key = MasterKey::from_bytes([number; 32]);
        let pairs = SECRETS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let sources = SecretSources::new(None, pairs);
        Self {
            id: key.controller_id(),
            secrets: Arc::new(key.tenant_secrets().with_sources(sources)),
            disk: Database::new(0),
            backups: Vec::new(),
            rests_until_ms: 0,
            calls: Calls::default(),
            progress: Progress::default(),
            grace_ms: Policy::default().deletion_grace_ms,
            clock_wrong_by_ms: 0,
        }
    }

    /// Keeps the disk as it is now.
    pub fn back_up(&mut self) {
        if self.backups.len() == BACKUPS_MAX {
            self.backups.remove(0);
        }
        self.backups.push(self.disk.clone());
    }

    /// Puts a kept disk back; whether there was one.
    pub fn restore(&mut self, pick: usize) -> bool {
        let Some(at) = pick.checked_rem(self.backups.len()) else { return false };
        self.disk = self.backups[at].clone();
        true
    }

    /// Loses the disk.
    pub fn lose_disk(&mut self, now_ms: i64) {
        self.disk = Database::new(now_ms);
    }
}
