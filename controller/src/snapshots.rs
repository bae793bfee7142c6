//! The snapshots of volumes that are being moved: no list shows them, so each is a call.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use vault_plan::SnapshotsNeeded;
use vault_plan::observed::ObservedSnapshot;
use vault_plan::time::UnixMillis;

use crate::chain::chain;
use crate::in_turn::in_turn;
use crate::platform::Platform;

/// How many volumes' snapshots are looked at in one pass, side by side. More machines than this at
/// rest in order to be moved would need a disruption budget for a fleet of hundreds. Who is asked about
/// changes from pass to pass: a snapshot that failed is asked about for as long as its volume stands.
const LOOKS_MAX: usize = 64;

/// Looks at the snapshots of these volumes. What could not be read is missing from the answer: the
/// planner then waits.
pub(crate) async fn look<P: Platform>(
    platform: &P,
    needed: Vec<SnapshotsNeeded>,
    now: UnixMillis,
) -> BTreeMap<String, Vec<ObservedSnapshot>> {
    let (turn, _) = in_turn(needed, LOOKS_MAX, now);
    let looks = turn.into_iter().map(|needed| async move {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakePlatform, NOW};

    #[tokio::test]
    async fn volumes_that_are_always_asked_about_keep_no_other_waiting() {
        let platform = FakePlatform::default();
        let needed = |number: usize| SnapshotsNeeded {
            app: "acme-app".to_owned(),
            volume: format!("vol_{number:03}"),
        };
        let last = needed(LOOKS_MAX).volume;
        let mut shown = 0;
        for pass in 0..20 {
            let all: Vec<SnapshotsNeeded> = (0..=LOOKS_MAX).map(needed).collect();
            let seen = look(&platform, all, NOW.plus_ms(pass * 10_000)).await;
            assert_eq!(seen.len(), LOOKS_MAX);
            shown += usize::from(seen.contains_key(&last));
        }
        assert!(shown > 10, "{shown} of 20 passes");
    }
}
