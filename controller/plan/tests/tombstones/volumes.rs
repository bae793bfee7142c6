//! What a matured tombstone needs before a volume is deleted on its word: a table of all that may be
//! otherwise, each of which alone keeps it; and at what pace volumes go.

use super::*;

fn deletes(plan: &Plan) -> usize {
    let is_delete = |action: &Action| matches!(action, Action::DeleteVolume(_));
    plan.actions.iter().filter(|planned| is_delete(&planned.action)).count()
}

#[test]
fn a_matured_tombstone_ends_in_one_deletion() {
    let case = Case::new();
    let plan = case.plan();
    assert_eq!((plan.actions.len(), deletes(&plan)), (1, 1), "{:?}", plan.actions);
    assert_eq!(plan.actions[0].target(), format!("volume {} (vol_1)", volume().name));
    assert_eq!(plan.tombstones.written[0].sightings, SIGHTINGS);
}

#[test]
fn each_of_these_alone_keeps_the_volume() {
    type Change = fn(&mut Case);
    let table: [(&str, Change); 22] = [
        ("its grace is not over", |case| case.tombstones[0].due_at = NOW.plus_ms(1)),
        ("it was not seen often enough", |case| case.tombstones[0].sightings = SIGHTINGS - 2),
        ("it was not seen for long", |case| {
            case.tombstones[0].seen_at = Some(NOW.plus_ms(-DELETION_GRACE_MS));
        }),
        ("its clock was ahead", |case| {
            case.tombstones[0].seen_at = Some(NOW.plus_ms(DELETION_GRACE_MS));
        }),
        ("it has ended", |case| case.tombstones[0].state = TombstoneState::Ended),
        ("there is none", |case| case.tombstones.clear()),
        ("its policy asks for a snapshot first", |case| {
            case.tombstones[0].policy = DeletionPolicy::Snapshot;
        }),
        ("it is held", |case| {
            case.lists.volumes[0].attached_machine = Some("anybody".to_owned());
        }),
        ("it has another name", |case| case.lists.volumes[0].name = "data".to_owned()),
        ("it is in another app", |case| case.lists.volumes[0].app = "elsewhere".to_owned()),
        ("it is another one", |case| case.lists.volumes[0].id = "vol_2".to_owned()),
        ("it is being made", |case| case.lists.volumes[0].state = "restoring".to_owned()),
        ("its name is not derived from its slot", |case| {
            case.tombstones[0].machine = "acme-box-0".to_owned();
        }),
        ("its name is not derived from its tenant", |case| {
            case.tombstones[0].tenant = "umbra".to_owned();
            case.tombstones[0].machine = "umbra-box-1".to_owned();
        }),
        ("a region is missing", |case| {
            case.lists.gaps.regions.insert("iad".to_owned());
        }),
        ("the lists are unclear", |case| case.lists.gaps.unclear = Some("rows".to_owned())),
        ("the app counts more volumes", |case| {
            case.lists.gaps.volumes.insert(app(), VolumeGap::Counted(2));
        }),
        ("its machine is there again", |case| case.lists.machines.push(machine("acme-box-1", "x"))),
        ("a machine carries its tenant's mark", |case| {
            case.lists.machines.push(machine("acme-box-7", "acme"));
        }),
        ("its tenant wants it again", |case| case.tenant = Some((spec(2, "Delete"), false))),
        ("its tenant says Retain now", |case| case.tenant = Some((spec(1, "Retain"), false))),
        ("a call about its tenant is not settled", |case| {
            let until = NOW.plus_ms(1);
            let hold = Hold { until, message: String::new(), kind: HoldKind::Unsettled };
            case.holds.insert("acme".to_owned(), hold);
        }),
    ];
    for (why, change) in table {
        let mut case = Case::new();
        change(&mut case);
        let plan = case.plan();
        assert_eq!(deletes(&plan), 0, "{why}: {:?}", plan.actions);
    }
}

#[test]
fn a_tenant_that_no_longer_wants_it_lets_it_go() {
    for deleting in [false, true] {
        let mut case = Case::new();
        case.tenant = Some((spec(1, "Delete"), deleting));
        assert_eq!(deletes(&case.plan()), 1, "deleting: {deleting}");
    }
    // One that cannot be resolved, or is paused, says nothing.
    let mut case = Case::new();
    let mut paused = spec(1, "Delete");
    paused.reconcile = Some(vault_api::tenant::ReconcileMode::Paused);
    case.tenant = Some((paused, false));
    assert_eq!(deletes(&case.plan()), 0);
    let mut unknown = spec(1, "Delete");
    unknown.class = Some("nowhere".to_owned());
    case.tenant = Some((unknown, false));
    assert_eq!(deletes(&case.plan()), 0);
}

#[test]
fn what_may_still_be_deleted_is_not_told_to_be_taken_back() {
    for tombstone in [due(), of_tenant("acme")] {
        let mut case = Case::new();
        case.tenant = Some((spec(2, "Delete"), false));
        case.tombstones = vec![Tombstone { state: TombstoneState::Acting, ..tombstone }];
        case.holds.insert("acme".to_owned(), hold(HoldKind::Unsettled));
        let changes = case.plan().tombstones;
        assert_eq!((changes.cleared.len(), changes.written.len()), (0, 0), "it is left as it is");
        case.holds.clear();
        assert_eq!(case.plan().tombstones.cleared.len(), 1, "the call did nothing");
    }
    // One that went is not taken back either, though its tenant wants it again.
    let mut case = Case::new();
    case.tenant = Some((spec(2, "Delete"), false));
    case.tombstones[0].state = TombstoneState::Acting;
    case.lists.volumes.clear();
    let changes = case.plan().tombstones;
    assert_eq!((changes.cleared.len(), changes.written.len()), (0, 1));
    assert_eq!(changes.written[0].outcome.as_deref(), Some("it was deleted"));
}

#[test]
fn a_call_that_can_act_no_more_keeps_nothing() {
    let mut case = Case::new();
    case.holds.insert("acme".to_owned(), Hold { until: NOW, ..hold(HoldKind::Unsettled) });
    assert_eq!(deletes(&case.plan()), 1);
}

#[test]
fn what_somebody_may_have_written_meanwhile_is_not_in_a_snapshot_of_before() {
    let snapshot = |state: PlatformState, holder: Option<&str>| {
        let mut case = Case::new();
        case.tombstones[0].snapshot = Some("vs_1".to_owned());
        let other = ObservedMachine { id: "other".to_owned(), ..machine("umbra-box-0", "umbra") };
        case.lists.machines.push(ObservedMachine { state, ..other });
        case.lists.volumes[0].attached_machine = holder.map(str::to_owned);
        let written = case.plan().tombstones.written;
        written[0].snapshot.clone()
    };
    use PlatformState::{Started, Stopped};
    let known = Some("vs_1".to_owned());
    assert_eq!(snapshot(Started, None), known);
    assert_eq!(snapshot(Stopped, Some("other")), known);
    assert_eq!(snapshot(Started, Some("nobody")), known);
    assert_eq!(snapshot(Started, Some("other")), None, "it runs, and writes");
}

#[test]
fn a_volume_is_wanted_again_only_in_the_app_in_which_it_is() {
    let cleared = |app: Option<&str>, count: u32| {
        let mut case = Case::new();
        let mut spec = spec(count, "Delete");
        spec.app = app.and_then(|app| serde_json::from_value(json!(app)).ok());
        case.tenant = Some((spec, false));
        case.plan().tombstones.cleared.into_iter().map(|cleared| cleared.why).next()
    };
    assert!(cleared(None, 2).unwrap().contains("wants volume vol_1 again"));
    assert_eq!(cleared(Some("elsewhere"), 2), None, "there it gets another one");
    assert_eq!(cleared(None, 1), None);
    // A machine that is wanted again, and no longer mounts it, has not gone for good.
    let unmounted = |app: Option<&str>| {
        let mut case = Case::new();
        let mut spec = spec(2, "Delete");
        spec.machines[0].config.remove("mounts");
        spec.app = app.and_then(|app| serde_json::from_value(json!(app)).ok());
        case.tenant = Some((spec, false));
        case.plan().tombstones.cleared.into_iter().map(|cleared| cleared.why).next()
    };
    assert!(unmounted(None).unwrap().contains("wants machine acme-box-1 again"));
    assert_eq!(unmounted(Some("elsewhere")), None);
}

#[test]
fn a_snapshot_for_a_tombstone_is_begun_once_clocks_agree_that_the_volume_was_free() {
    const SKEW_MS: i64 = 60_000;
    let next = |free_for_ms: i64, snapshot_age_ms: Option<i64>| {
        let mut case = Case::new();
        let free_since = NOW.plus_ms(-free_for_ms);
        case.tombstones[0].policy = DeletionPolicy::Snapshot;
        case.tombstones[0].due_at = free_since.plus_ms(DELETION_GRACE_MS);
        let snapshots = snapshot_age_ms.map(|age_ms| ObservedSnapshot {
            id: "vs_1".to_owned(),
            status: "created".to_owned(),
            created_at: Some(NOW.plus_ms(-age_ms)),
        });
        let plan = case.plan_with(|observed| {
            observed.snapshots.insert("vol_1".to_owned(), snapshots.into_iter().collect());
        });
        let snapshot = plan.tombstones.written.first().and_then(|one| one.snapshot.clone());
        (plan.actions.first().map(|planned| planned.action.kind()), snapshot)
    };
    let (begun, known) = (Some(ActionKind::SnapshotVolume), Some("vs_1".to_owned()));
    assert_eq!(next(2 * SKEW_MS - 1, None), (None, None));
    assert_eq!(next(2 * SKEW_MS, None), (begun, None));
    assert_eq!(next(DELETION_GRACE_MS, None), (begun, None));
    // One that was begun too early, by some clock, may lack what was written last.
    let day = DELETION_GRACE_MS;
    assert_eq!(next(day, Some(day - SKEW_MS + 1)), (begun, None));
    assert_eq!(next(day, Some(day - SKEW_MS)), (Some(ActionKind::DeleteVolume), known));
}

#[test]
fn the_next_look_is_when_the_next_sighting_counts() {
    let mut case = Case::new();
    case.tombstones[0].sightings = SIGHTINGS - 3;
    assert_eq!(case.plan().tombstones.look_again_at, Some(NOW.plus_ms(STEP_MS)));
    case.tombstones[0].seen_at = Some(NOW.plus_ms(-1));
    assert_eq!(case.plan().tombstones.look_again_at, Some(NOW.plus_ms(STEP_MS - 1)));
    case.tombstones.clear();
    assert_eq!(case.plan().tombstones.look_again_at, None);
}

#[test]
fn what_a_plan_wrote_of_a_tombstone_is_not_written_once_it_is_cleared() {
    let mut case = held();
    case.tenant = Some((spec(0, "Retain"), false));
    let (policy, sightings, seen_at) = (DeletionPolicy::Snapshot, 0, None);
    let uid = controller().tenant_uid("umbra");
    let other = Tombstone {
        id: "vol_2".to_owned(),
        tenant: "umbra".to_owned(),
        uid,
        name: uid.volume_name("box", 1, "data"),
        machine: "umbra-box-1".to_owned(),
        ..due()
    };
    let name = other.name.clone();
    case.lists.volumes.push(ObservedVolume { id: "vol_2".to_owned(), name, ..volume() });
    case.tombstones = vec![other, Tombstone { policy, sightings, seen_at, ..due() }];
    let plan = case.plan_with(|observed| {
        let (id, status) = ("vs_1".to_owned(), "created".to_owned());
        let done = ObservedSnapshot { id, status, created_at: Some(NOW) };
        observed.snapshots.insert("vol_1".to_owned(), vec![done]);
    });
    let cleared: Vec<&str> =
        plan.tombstones.cleared.iter().map(|cleared| cleared.tombstone.id.as_str()).collect();
    assert_eq!(cleared, ["vol_1"], "its policy is Retain now");
    let written: Vec<&str> = plan.tombstones.written.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(written, ["vol_2"]);
}

#[test]
fn no_more_than_a_share_goes_within_an_hour() {
    let mut case = Case::new();
    case.lists.volumes.clear();
    case.tombstones.clear();
    let uid = controller().tenant_uid("acme");
    for index in 0..60 {
        let (id, name) = (format!("vol_{index}"), uid.volume_name("box", index, "data"));
        case.lists.volumes.push(ObservedVolume { id: id.clone(), name: name.clone(), ..volume() });
        case.tombstones.push(Tombstone { id, name, machine: format!("acme-box-{index}"), ..due() });
    }
    assert_eq!(deletes(&case.plan()), 6, "a tenth");
    // What was tried and is still there comes after what was not tried yet, and counts.
    case.tombstones[0].state = TombstoneState::Acting;
    let ids = |plan: Plan| -> Vec<String> {
        let id = |action: Action| match action {
            Action::DeleteVolume(volume) => Some(volume.id),
            _ => None,
        };
        plan.actions.into_iter().filter_map(|planned| id(planned.action)).collect()
    };
    assert_eq!(ids(case.plan()), ["vol_1", "vol_2", "vol_3", "vol_4", "vol_5"]);
    case.tombstones[0].state = TombstoneState::Standing;
    let hour_ms = 3_600_000;
    for (gone, ago_ms, left) in
        [(1, 1_000, 5), (5, 1_000, 1), (6, 1_000, 0), (6, hour_ms - 1, 0), (6, hour_ms, 5)]
    {
        let mut later = Case { lists: case.lists.clone(), ..Case::new() };
        later.tombstones = case.tombstones.clone();
        for tombstone in later.tombstones.iter_mut().take(gone) {
            tombstone.state = TombstoneState::Ended;
            tombstone.ended_at = Some(NOW.plus_ms(-ago_ms));
        }
        later.lists.volumes.drain(..gone);
        assert_eq!(deletes(&later.plan()), left, "{gone} are gone");
    }
}

#[test]
fn deletions_that_fail_for_good_keep_no_other_volume() {
    let mut case = Case::new();
    case.lists.volumes.clear();
    case.tombstones.clear();
    let tenants = ["a", "b", "c", "d", "e"];
    for tenant in tenants {
        let uid = controller().tenant_uid(tenant);
        let (id, name) = (format!("vol_{tenant}"), uid.volume_name("box", 1, "data"));
        case.lists.volumes.push(ObservedVolume { id: id.clone(), name: name.clone(), ..volume() });
        let (tenant, machine) = (tenant.to_owned(), format!("{tenant}-box-1"));
        case.tombstones.push(Tombstone { id, name, tenant, uid, machine, ..due() });
    }
    let gone = |case: &Case| -> Vec<String> {
        case.plan().actions.iter().map(|planned| planned.tenant.to_string()).collect()
    };
    assert_eq!(gone(&case), ["a", "b", "c"], "three in an hour");
    for tombstone in case.tombstones.iter_mut().take(3) {
        tombstone.state = TombstoneState::Acting;
    }
    let hold_all = |case: &mut Case, kind: HoldKind| {
        case.holds = ["a", "b", "c"].map(|tenant| (tenant.to_owned(), hold(kind))).into();
    };
    let of_storage = case.plan_with(|observed| {
        let held = |tenant: &str| (tenant.to_owned(), hold(HoldKind::Refused));
        observed.storage.holds = ["a", "b", "c"].map(held).into();
    });
    assert_eq!(deletes(&of_storage), 0, "that buckets were refused says nothing of volumes");
    hold_all(&mut case, HoldKind::Unsettled);
    assert_eq!(gone(&case), [""; 0], "they may be going");
    hold_all(&mut case, HoldKind::Refused);
    assert_eq!(gone(&case), ["d", "e"], "nothing of them went");
    for hold in case.holds.values_mut() {
        hold.until = NOW;
    }
    assert_eq!(gone(&case), [""; 0], "they may be tried again, and be going");
    hold_all(&mut case, HoldKind::Refused);
    // What is no longer shown went, whatever its tenant waits for.
    let without = case.lists.volumes.split_off(2);
    case.lists.volumes.clear();
    case.lists.volumes.extend(without);
    assert_eq!(gone(&case), ["d"], "two of three");
}
