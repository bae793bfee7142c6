use vault_api::tenant::MachineState;

use super::*;
use crate::LastUsed;
use crate::testing::{NOW, machine, volume, wanted};

fn snapshot(id: &str, status: &str, age_ms: i64) -> ObservedSnapshot {
    let created_at = Some(NOW.plus_ms(-age_ms));
    ObservedSnapshot { id: id.to_owned(), status: status.to_owned(), created_at }
}

fn copy(id: &str, region: &str, age_ms: i64) -> ObservedVolume {
    ObservedVolume { created_at: Some(NOW.plus_ms(-age_ms)), ..volume(id, region, None) }
}

/// The machine rests in `fra` since 1,000 ms, and is wanted in `ord`.
fn next(snapshots: Option<&[ObservedSnapshot]>, volumes: &[ObservedVolume]) -> String {
    let wanted = wanted(MachineState::Started);
    let resting = machine(PlatformState::Stopped, 1_000);
    let held = volume("old", "fra", Some("machine"));
    let places: Vec<usize> = (0..volumes.len()).collect();
    let lists = AppLists {
        machines: &[],
        volumes,
        machines_in_app: &[],
        volumes_in_app: &places,
        last_used: &LastUsed::new(),
    };
    match step(&wanted, &resting, &held, snapshots, lists) {
        Step::Snapshot => "snapshot".to_owned(),
        Step::Volume(id) => format!("volume from {id}"),
        Step::Remove(place) => format!("remove: {} has its data", volumes[place].id),
        Step::Wait(why) => format!("wait: {why}"),
        Step::Stuck(why) => format!("stuck: {why}"),
    }
}

#[test]
fn each_step_follows_from_what_is_there() {
    assert_eq!(next(None, &[]), "wait: the snapshots of volume old are to be looked at");
    assert_eq!(next(Some(&[]), &[]), "snapshot");
    // One of the time when the machine still ran misses what was written after it.
    let old = snapshot("vs_old", "created", 1_001);
    assert_eq!(next(Some(std::slice::from_ref(&old)), &[]), "snapshot");
    let pending = [old.clone(), snapshot("vs_1", "pending", 900)];
    assert_eq!(next(Some(&pending), &[]), "wait: snapshot vs_1 of volume old is pending");
    let failed = [old.clone(), snapshot("vs_1", "failed", 900)];
    assert_eq!(next(Some(&failed), &[]), "stuck: snapshot vs_1 of volume old failed");
    let done = [old, snapshot("vs_2", "created", 800), snapshot("vs_1", "created", 900)];
    assert_eq!(next(Some(&done), &[]), "volume from vs_1");
    // A volume from an earlier stay in that region has old data.
    let stale = copy("stale", "ord", 5_000);
    assert_eq!(next(Some(&done), std::slice::from_ref(&stale)), "volume from vs_1");
    let mut fresh = copy("fresh", "ord", 500);
    fresh.state = "restoring".to_owned();
    let wait = "wait: volume fresh in its new region is restoring";
    assert_eq!(next(Some(&done), &[stale.clone(), fresh.clone()]), wait);
    fresh.state = "created".to_owned();
    assert_eq!(next(Some(&done), &[stale.clone(), fresh.clone()]), "remove: fresh has its data");
    fresh.state = "failed".to_owned();
    let stuck = "stuck: volume fresh in its new region is failed, and cannot be mounted";
    assert_eq!(next(Some(&done), &[stale.clone(), fresh.clone()]), stuck);
    fresh.state = "hydrating".to_owned();
    assert_eq!(next(Some(&done), &[stale.clone(), fresh.clone()]), "remove: fresh has its data");
    fresh.attached_machine = Some("somebody".to_owned());
    assert!(next(Some(&done), &[stale.clone(), fresh]).starts_with("stuck: "));
    let undated = ObservedVolume { created_at: None, ..stale };
    assert!(next(Some(&done), &[undated]).starts_with("stuck: "));
}
