//! No volume, no bucket and no app of ours goes without a tombstone on the disk that has matured.

use std::collections::BTreeSet;

use vault_plan::time::UnixMillis;
use vault_plan::tombstone::{Tombstone, TombstoneKind, TombstoneState};

use crate::controller::Controller;
use crate::platform::Call;
use crate::universe::BEGIN_MS;
use crate::verb::Verb;

/// How far two readings of a controller's clock can be apart in what they say of the platform's, in
/// milliseconds: it is wrong by a little, one way or the other.
const CLOCKS_MS: i64 = 3_000;

/// Watches what is deleted for good.
#[derive(Debug, Default)]
pub struct DeletionOracle {
    gone: BTreeSet<String>,
}

impl DeletionOracle {
    /// Whether a volume was deleted for good by a call of a controller.
    #[must_use]
    pub fn is_gone(&self, volume: &str) -> bool {
        self.gone.contains(volume)
    }

    /// A call deleted this volume.
    pub fn deleted(&mut self, volume: &str) {
        self.gone.insert(volume.to_owned());
    }

    /// What is wrong with a call that leaves a controller with this disk.
    #[must_use]
    pub(crate) fn sent(&self, now_ms: i64, call: &Call, from: &Controller) -> Option<String> {
        let (app, subject, disk) = (call.app.as_str(), call.subject.as_str(), &from.disk);
        let (what, tombstone) = match call.verb {
            Verb::DeleteVolume => (
                format!("volume {subject}"),
                disk.tombstone(TombstoneKind::Volume, subject).cloned(),
            ),
            Verb::EmptyBucket | Verb::DeleteBucket => (
                format!("bucket {subject}"),
                disk.tombstone(TombstoneKind::Bucket, subject).cloned(),
            ),
            Verb::DeleteApp => {
                let mut all = disk.tombstones().into_iter();
                let of_app = |one: &Tombstone| one.kind == TombstoneKind::Tenant && one.app == app;
                (format!("app {app}"), all.find(of_app))
            }
            _ => return None,
        };
        let Some(tombstone) = tombstone else {
            return Some(format!("{what} is being deleted, and has no tombstone"));
        };
        if tombstone.state != TombstoneState::Acting {
            let word = tombstone.state.word();
            return Some(format!("{what} is being deleted, and its tombstone is {word}"));
        }
        let stood_ms = UnixMillis(BEGIN_MS + now_ms).since_ms(tombstone.made_at);
        (stood_ms < from.grace_ms - CLOCKS_MS)
            .then(|| format!("{what} is being deleted {stood_ms} ms after its tombstone was made"))
    }
}
