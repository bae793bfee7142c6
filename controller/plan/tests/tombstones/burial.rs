//! Which volumes get tombstones when their machines go, and what a deletion says meanwhile.

use super::*;

fn buried(case: &Case) -> Vec<(String, Cause)> {
    case.plan().tombstones.written.into_iter().map(|one| (one.id, one.cause)).collect()
}

fn paused(spec: TenantSpec) -> TenantSpec {
    TenantSpec { reconcile: Some(vault_api::tenant::ReconcileMode::Paused), ..spec }
}

#[test]
fn tombstones_are_made_before_the_machine_goes() {
    for (policy, buried) in [("Retain", 0), ("Snapshot", 1), ("Delete", 1)] {
        let mut case = Case::new();
        case.tombstones.clear();
        case.tenant = Some((spec(2, policy), true));
        case.lists.volumes[0].attached_machine = Some("machine".to_owned());
        case.lists.machines.push(machine("acme-box-1", "acme"));
        let plan = case.plan();
        assert_eq!(plan.tombstones.written.len(), buried, "{policy}");
        let destroys =
            plan.actions.iter().any(|planned| matches!(planned.action, Action::DeleteMachine(_)));
        assert_eq!(destroys, policy != "Snapshot", "{policy}: {:?}", plan.actions);
    }
}

#[test]
fn the_volume_of_a_machine_that_is_no_longer_wanted_gets_a_tombstone() {
    let unwanted = ("vol_1".to_owned(), Cause::Unwanted);
    let mut case = held();
    case.tenant = Some((spec(1, "Delete"), false));
    assert_eq!(buried(&case), std::slice::from_ref(&unwanted), "its machine is still there");
    case.tenant = Some((paused(spec(1, "Delete")), false));
    assert_eq!(buried(&case), []);
    case.tenant = Some((spec(1, "Retain"), false));
    assert_eq!(buried(&case), []);

    // Whoever took the machine away.
    let mut free = Case::new();
    free.tombstones.clear();
    free.tenant = Some((spec(1, "Delete"), false));
    assert_eq!(buried(&free), std::slice::from_ref(&unwanted));
    let ended = Tombstone { state: TombstoneState::Ended, ended_at: Some(NOW), ..due() };
    let of_another_kind = Tombstone { kind: TombstoneKind::Tenant, ..ended.clone() };
    for before in [ended, of_another_kind] {
        free.tombstones = vec![before];
        assert_eq!(
            buried(&free),
            std::slice::from_ref(&unwanted),
            "that is over, or about something else"
        );
    }
    free.tombstones.clear();
    type Change = fn(&mut Case);
    let table: [(&str, Change); 8] = [
        ("it is kept", |case| case.tenant = Some((spec(1, "Retain"), false))),
        ("its tenant is paused", |case| case.tenant = Some((paused(spec(1, "Delete")), false))),
        ("its machine is wanted", |case| case.tenant = Some((spec(2, "Delete"), false))),
        ("lists are not whole", |case| case.lists.gaps.unclear = Some("rows".to_owned())),
        ("somebody holds it", |case| {
            case.lists.volumes[0].attached_machine = Some("anybody".to_owned());
        }),
        ("it is not of this tenant", |case| case.lists.volumes[0].name = "data".to_owned()),
        ("somebody holds one of its name", |case| {
            let attached_machine = Some("anybody".to_owned());
            let id = "vol_2".to_owned();
            case.lists.volumes.push(ObservedVolume { id, attached_machine, ..volume() });
        }),
        ("one of its name is as old, and which has the data is not known", |case| {
            case.lists.volumes.push(ObservedVolume { id: "vol_2".to_owned(), ..volume() });
        }),
    ];
    for (why, change) in table {
        let mut case = Case { lists: free.lists.clone(), tenant: free.tenant.clone(), ..held() };
        change(&mut case);
        assert_eq!(buried(&case), [], "{why}");
    }
    free.lists.volumes.push(ObservedVolume {
        id: "vol_2".to_owned(),
        created_at: Some(NOW),
        ..volume()
    });
    assert_eq!(buried(&free), [("vol_2".to_owned(), Cause::Unwanted)], "the newest has the data");
}

#[test]
fn the_free_volume_of_a_machine_that_is_still_there_is_kept() {
    let mut case = Case::new();
    case.tombstones.clear();
    case.lists.machines.push(machine("acme-box-1", "acme"));
    case.tenant = Some((spec(1, "Delete"), false));
    assert_eq!(buried(&case), [], "wanted or not");
}

#[test]
fn a_machine_that_no_longer_mounts_its_volume_buries_nothing() {
    let mut case = Case::new();
    case.tombstones.clear();
    let mut unmounted = spec(2, "Delete");
    unmounted.machines[0].config.remove("mounts");
    case.tenant = Some((unmounted, false));
    assert_eq!(case.plan().tombstones.written, []);
    // A copy that a move left behind has the name of one that is held.
    let mut case = Case::new();
    case.tombstones.clear();
    let held = ObservedVolume {
        id: "vol_2".to_owned(),
        attached_machine: Some("machine".to_owned()),
        created_at: Some(NOW),
        ..volume()
    };
    case.lists.volumes.push(held);
    case.lists.machines.push(machine("acme-box-1", "acme"));
    case.tenant = Some((spec(2, "Delete"), true));
    let written: BTreeSet<String> =
        case.plan().tombstones.written.into_iter().map(|written| written.id).collect();
    assert_eq!(written, BTreeSet::from(["vol_2".to_owned()]));
}

#[test]
fn what_is_left_as_it_is_keeps_its_volume_too() {
    let buried = |policy: Option<&str>| {
        let mut case = held();
        let mut spec = spec(1, "Delete");
        spec.drift_policy = policy.and_then(|word| serde_json::from_value(json!(word)).ok());
        case.tenant = Some((spec, false));
        let plan = case.plan_with(|observed| {
            observed.reached.insert("acme".to_owned());
        });
        plan.tombstones.written.len()
    };
    assert_eq!(buried(Some("Report")), 0);
    assert_eq!(buried(None), 1);
}

#[test]
fn a_machine_goes_only_with_a_snapshot_of_its_volume_where_the_policy_asks_for_one() {
    let mut case = held();
    case.tenant = Some((spec(0, "Snapshot"), false));
    case.tombstones = vec![Tombstone { policy: DeletionPolicy::Snapshot, ..due() }];
    let snapshot = |id: &str, status: &str, age_ms: i64| ObservedSnapshot {
        id: id.to_owned(),
        status: status.to_owned(),
        created_at: Some(NOW.plus_ms(-age_ms)),
    };
    let outcome = |case: &Case, snapshots: Vec<ObservedSnapshot>| {
        let plan = case.plan_with(|observed| {
            observed.snapshots.insert("vol_1".to_owned(), snapshots);
        });
        let action = plan.actions.first().map(|planned| planned.action.kind());
        let notes = &plan.report.tenants[0].notes;
        (action, notes.first().map(|note| note.reason), plan.tombstones.written)
    };
    let (action, note, _) = outcome(&case, Vec::new());
    assert_eq!((action, note), (Some(ActionKind::SnapshotVolume), None));
    // One that was begun before the machine rested lacks what it wrote last.
    let (action, ..) = outcome(&case, vec![snapshot("old", "created", 1)]);
    assert_eq!(action, Some(ActionKind::SnapshotVolume));
    let (action, note, _) = outcome(&case, vec![snapshot("vs_1", "creating", 0)]);
    assert_eq!((action, note), (None, Some(NoteReason::Waiting)));
    let (action, note, _) = outcome(&case, vec![snapshot("vs_1", "failed", 0)]);
    assert_eq!((action, note), (None, Some(NoteReason::Stuck)));
    let both = vec![snapshot("vs_1", "failed", 0), snapshot("vs_2", "creating", 0)];
    let (action, note, _) = outcome(&case, both);
    assert_eq!((action, note), (None, Some(NoteReason::Waiting)), "another one is on its way");

    let done = || vec![snapshot("vs_1", "failed", 0), snapshot("vs_2", "created", 0)];
    let (action, note, written) = outcome(&case, done());
    assert_eq!((action, note), (Some(ActionKind::DeleteMachine), Some(NoteReason::Waiting)));
    assert_eq!(written.len(), 1, "{written:?}");
    assert_eq!((written[0].snapshot.as_deref(), written[0].sightings), (Some("vs_2"), 0));
    case.tombstones = written;
    let (action, note, written) = outcome(&case, done());
    assert_eq!((action, note), (Some(ActionKind::DeleteMachine), None));
    assert_eq!(written, [], "it is known already");
}

#[test]
fn a_deleted_tenant_says_how_many_volumes_are_kept() {
    let kept = |case: &Case| -> Option<String> {
        let plan = case.plan();
        let mut notes = plan.report.tenants[0].notes.iter();
        let note = notes.find(|note| note.reason == NoteReason::Kept);
        note.map(|note| note.message.clone())
    };
    let message = |count: u32| Some(format!("app {} and its volumes ({count}) are kept", app()));
    let mut case = Case::new();
    case.tombstones.clear();
    for (id, name) in [("vol_2", "data"), ("vol_3", "logs")] {
        let (id, name) = (id.to_owned(), name.to_owned());
        case.lists.volumes.push(ObservedVolume { id, name, ..volume() });
    }
    case.tenant = Some((spec(2, "Delete"), true));
    assert_eq!(buried(&case), [("vol_1".to_owned(), Cause::Deleted)]);
    assert_eq!(kept(&case), message(2), "they are not its own by their names");
    case.tenant = Some((spec(2, "Retain"), true));
    assert_eq!((buried(&case), kept(&case)), (Vec::new(), message(3)));
    case.tenant = Some((paused(spec(2, "Delete")), true));
    assert_eq!((buried(&case), kept(&case)), (Vec::new(), message(3)));
    // Of two that nobody holds, the older was left behind by a move, and is kept.
    case.tenant = Some((spec(2, "Delete"), true));
    let older = Some(NOW.plus_ms(-10 * DELETION_GRACE_MS));
    case.lists.volumes[1] =
        ObservedVolume { id: "vol_2".to_owned(), created_at: older, ..volume() };
    assert_eq!(buried(&case), [("vol_1".to_owned(), Cause::Deleted)]);
    assert_eq!(kept(&case), message(2));
}

#[test]
fn a_deletion_says_what_is_kept_and_what_it_waits_for() {
    let report = |change: &dyn Fn(&mut Case)| {
        let mut case = Case::new();
        case.tombstones.clear();
        case.lists.volumes.clear();
        case.tenant = Some((spec(2, "Delete"), true));
        change(&mut case);
        let report = case.plan().report.tenants.remove(0);
        let notes = report.notes.into_iter().map(|note| (note.reason, note.message));
        (report.gone, notes.collect::<Vec<_>>())
    };
    assert_eq!(report(&|_| {}), (true, Vec::new()));
    let named = |shared: bool| {
        move |case: &mut Case| {
            let mut spec = spec(2, "Delete");
            let app =
                if shared { json!({ "name": "many", "shared": true }) } else { json!("many") };
            spec.app = serde_json::from_value(app).ok();
            case.lists.apps = vec!["many".to_owned()];
            case.tenant = Some((spec, true));
        }
    };
    let kept = "app many is kept: the manifest names it".to_owned();
    for shared in [false, true] {
        assert_eq!(report(&named(shared)), (true, vec![(NoteReason::Kept, kept.clone())]));
    }
    let gap = |policy: &'static str| {
        move |case: &mut Case| {
            case.tenant = Some((spec(2, policy), true));
            case.lists.gaps.volumes.insert(app(), VolumeGap::Counted(2));
        }
    };
    let (gone, notes) = report(&gap("Delete"));
    assert_eq!((gone, notes[0].0), (false, NoteReason::Unobserved), "it is to get a tombstone");
    assert!(report(&gap("Retain")).0, "whatever there is, is kept");
    let stopping = |since_ms: i64| {
        move |case: &mut Case| {
            let updated_at = Some(NOW.plus_ms(-since_ms));
            let state = PlatformState::Stopping;
            let machine = ObservedMachine { state, updated_at, ..machine("acme-box-1", "acme") };
            case.lists.machines.push(machine);
        }
    };
    assert_eq!(report(&stopping(1_000)).1[0].0, NoteReason::Waiting);
    assert_eq!(report(&stopping(300_000)).1[0].0, NoteReason::Stuck);
}

#[test]
fn a_deletion_tells_how_far_it_has_come() {
    let stage = |case: &Case| case.plan().report.tenants[0].deletion;
    let mut case = held();
    case.tenant = Some((spec(2, "Delete"), true));
    assert_eq!(stage(&case), Some(DeletionStage::RemovingMachines));
    case.lists.machines[0].state = PlatformState::Started;
    assert_eq!(stage(&case), Some(DeletionStage::StoppingMachines));
    case.lists.machines[0].state = PlatformState::Stopped;
    case.tenant = Some((spec(2, "Snapshot"), true));
    assert_eq!(stage(&case), Some(DeletionStage::Snapshotting));
    case.lists.machines.clear();
    assert_eq!(stage(&case), Some(DeletionStage::Tombstoned));
    case.tenant = Some((spec(2, "Delete"), false));
    assert_eq!(stage(&case), None);
}
