use vault_api::tenant::MachineState;

use super::*;
use crate::LastUsed;
use crate::desired::DesiredTenant;
use crate::observed::ObservedOrganization;
use crate::testing::{self, NOW, machine, volume, wanted};
use crate::tombstone::{Cause, Tombstone};

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
    // Of several that are fresh, the newest; of those alike, the first that is listed.
    let made = |id: &str, age_ms: i64| copy(id, "ord", age_ms);
    for (copies, expected) in [
        ([made("a", 500), made("b", 400)], "b"),
        ([made("a", 400), made("b", 500)], "a"),
        ([made("a", 400), made("b", 400)], "a"),
    ] {
        assert_eq!(next(Some(&done), &copies), format!("remove: {expected} has its data"));
    }
    fresh.attached_machine = Some("somebody".to_owned());
    assert!(next(Some(&done), &[stale.clone(), fresh]).starts_with("stuck: "));
    let undated = ObservedVolume { created_at: None, ..stale };
    assert!(next(Some(&done), &[undated]).starts_with("stuck: "));
}

/// The volumes whose snapshots are to be read, of a tenant whose machine is in `fra` with volume `held`;
/// `free` lies there too.
fn needed(
    share: impl FnOnce(&mut DesiredTenant, &mut Observed),
    state: PlatformState,
) -> Vec<String> {
    let mut tenant = testing::tenant();
    let mut moved = wanted(MachineState::Started);
    moved.relocate = true;
    tenant.machines = Ok(vec![moved]);
    let resting = ObservedMachine { region: "fra".to_owned(), ..machine(state, 1_000) };
    let volumes = vec![volume("held", "fra", Some("machine")), volume("free", "fra", None)];
    let machines = vec![resting];
    let lists = ObservedOrganization { machines, volumes, ..ObservedOrganization::default() };
    let mut observed = testing::observed(lists);
    share(&mut tenant, &mut observed);
    let needed = needs_snapshots(&testing::desired(tenant), &observed).into_iter();
    needed.map(|needed| needed.volume).collect()
}

#[test]
fn the_snapshots_of_a_volume_are_read_while_its_machine_rests_to_be_moved() {
    use PlatformState::{Started, Stopped, Suspended};
    assert_eq!(needed(|_, _| {}, Stopped), ["held"]);
    assert_eq!(needed(|_, _| {}, Started), [""; 0]);
    assert_eq!(needed(|_, _| {}, Suspended), [""; 0], "it has not written what it holds");
    assert_eq!(needed(|tenant, _| tenant.deleting = true, Stopped), [""; 0]);
    assert_eq!(needed(|tenant, _| tenant.paused = true, Stopped), [""; 0]);
    let machine = |tenant: &mut DesiredTenant| tenant.machines.as_mut().unwrap().remove(0);
    let stays = |tenant: &mut DesiredTenant, _: &mut Observed| {
        let machine = DesiredMachine { region: "fra".into(), ..machine(tenant) };
        tenant.machines = Ok(vec![machine]);
    };
    assert_eq!(needed(stays, Stopped), [""; 0], "it is where it should be");
    let may_not = |tenant: &mut DesiredTenant, _: &mut Observed| {
        let machine = DesiredMachine { relocate: false, ..machine(tenant) };
        tenant.machines = Ok(vec![machine]);
    };
    assert_eq!(needed(may_not, Stopped), [""; 0]);
}

#[test]
fn the_snapshots_of_a_volume_are_read_while_its_tombstone_waits_for_one() {
    use PlatformState::{Started, Stopped};
    let tombstone = |id: &str| Tombstone {
        kind: TombstoneKind::Volume,
        id: id.to_owned(),
        tenant: "acme".to_owned(),
        uid: testing::tenant().uid,
        organization: "local".to_owned(),
        app: "acme".to_owned(),
        name: "v_data".to_owned(),
        region: "fra".to_owned(),
        size_gb: 1,
        machine: "acme-box-0".to_owned(),
        template: "data".to_owned(),
        policy: DeletionPolicy::Snapshot,
        cause: Cause::Unwanted,
        snapshot: None,
        made_at: NOW,
        due_at: NOW,
        sightings: 0,
        seen_at: None,
        state: TombstoneState::Standing,
        ended_at: None,
        outcome: None,
    };
    let with = |tombstone: Tombstone, paused: bool, state: PlatformState| {
        let share = |tenant: &mut DesiredTenant, observed: &mut Observed| {
            tenant.machines = Ok(Vec::new());
            tenant.paused = paused;
            observed.tombstones = vec![tombstone];
        };
        needed(share, state)
    };
    assert_eq!(with(tombstone("held"), false, Stopped), ["held"]);
    assert_eq!(with(tombstone("held"), false, Started), [""; 0]);
    assert_eq!(with(tombstone("free"), false, Started), ["free"]);
    let made = Tombstone { snapshot: Some("vs_1".to_owned()), ..tombstone("free") };
    assert_eq!(with(made, false, Started), [""; 0]);
    assert_eq!(with(tombstone("free"), true, Started), [""; 0], "its tenant is paused");
    let table: [fn(&mut Tombstone); 3] = [
        |one| one.policy = DeletionPolicy::Delete,
        |one| one.state = TombstoneState::Acting,
        |one| one.kind = TombstoneKind::Tenant,
    ];
    for change in table {
        let mut other = tombstone("free");
        change(&mut other);
        assert_eq!(with(other.clone(), false, Started), [""; 0], "{other:?}");
    }
}
