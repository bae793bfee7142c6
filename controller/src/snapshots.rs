//! The snapshots of volumes that are being moved: no list shows them, so each is a call.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use vault_plan::SnapshotsNeeded;
use vault_plan::observed::ObservedSnapshot;

use crate::chain::chain;
use crate::platform::Platform;

/// How many volumes' snapshots are looked at in one pass, side by side. More machines than this at
/// rest in order to be moved would need a disruption budget for a fleet of hundreds; those beyond
/// wait for their turn.
const LOOKS_MAX: usize = 64;

/// Looks at the snapshots of these volumes. What could not be read is missing from the answer: the
/// planner then waits.
pub(crate) async fn look<P: Platform>(
    platform: &P,
    needed: Vec<SnapshotsNeeded>,
) -> BTreeMap<String, Vec<ObservedSnapshot>> {
    let looks = needed.into_iter().take(LOOKS_MAX).map(|needed| async move {
        match platform.snapshots(&needed.app, &needed.volume).await {
            Ok(snapshots) => Some((needed.volume, snapshots)),
            Err(error) => {
                tracing::warn!(
                    volume = needed.volume,
                    error = chain(&error),
                    "the snapshots of a volume could not be read"
                );
                None
            }
        }
    });
    join_all(looks).await.into_iter().flatten().collect()
}
