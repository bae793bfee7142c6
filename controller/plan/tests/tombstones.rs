//! What a matured tombstone needs before anything is deleted on its word: a table of all that may
//! be otherwise, each of which alone keeps the volume.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, json};
use vault_api::status::DeletionStage;
use vault_api::tenant::{DeletionPolicy, SecretEntry, TenantSpec};
use vault_plan::action::{Action, ActionKind, Plan};
use vault_plan::desired::{Desired, DesiredSecret, DesiredSecrets, SecretPlace, TenantInput};
use vault_plan::identity::ControllerId;
use vault_plan::metadata;
use vault_plan::observed::{
    Hold, HoldKind, Observed, ObservedMachine, ObservedOrganization, ObservedSnapshot,
    ObservedVolume, PlatformState, VolumeGap,
};
use vault_plan::orphans::{OrphanKind, orphans};
use vault_plan::policy::{DELETION_GRACE_MS, Policy};
use vault_plan::report::NoteReason;
use vault_plan::time::UnixMillis;
use vault_plan::tombstone::{Cause, SIGHTINGS, Tombstone, TombstoneKind, TombstoneState};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const ORG: &str = "local";
const STEP_MS: i64 = DELETION_GRACE_MS / SIGHTINGS as i64;

struct NoSecrets;

impl DesiredSecrets for NoSecrets {
    fn of(&self, _: SecretPlace<'_>) -> Vec<DesiredSecret> {
        Vec::new()
    }

    fn of_manifest(&self, _: &str, _: &str, secret: &SecretEntry) -> Result<String, String> {
        Err(format!("there is no value for {}", secret.name))
    }
}

fn controller() -> ControllerId {
    ControllerId::from_bytes([7; 16])
}

fn app() -> String {
    controller().tenant_uid("acme").app_name("acme")
}

/// The manifest of the tenant, if there is one again.
fn spec(count: u32, policy: &str) -> TenantSpec {
    let config = json!({
        "image": "nginx:1",
        "mounts": [{ "volume": "data", "path": "/data" }],
    });
    let machine = json!({ "name": "box", "region": "ord", "count": count, "config": config });
    let volume = json!({ "name": "data", "sizeGb": 1, "deletionPolicy": policy });
    serde_json::from_value(json!({ "machines": [machine], "volumes": [volume] })).unwrap()
}

/// The volume of `acme-box-1`, as [`spec`] derives it.
fn volume() -> ObservedVolume {
    ObservedVolume {
        id: "vol_1".to_owned(),
        name: controller().tenant_uid("acme").volume_name("box", 1, "data"),
        app: app(),
        region: "ord".to_owned(),
        size_gb: 1,
        state: "created".to_owned(),
        attached_machine: None,
        created_at: Some(NOW.plus_ms(-9 * DELETION_GRACE_MS)),
    }
}

/// A tombstone that matures with this pass.
fn due() -> Tombstone {
    let made_at = NOW.plus_ms(-DELETION_GRACE_MS);
    Tombstone {
        kind: TombstoneKind::Volume,
        id: "vol_1".to_owned(),
        tenant: "acme".to_owned(),
        uid: controller().tenant_uid("acme"),
        organization: ORG.to_owned(),
        app: app(),
        name: volume().name,
        region: "ord".to_owned(),
        size_gb: 1,
        machine: "acme-box-1".to_owned(),
        template: "data".to_owned(),
        policy: DeletionPolicy::Delete,
        cause: Cause::Deleted,
        snapshot: None,
        made_at,
        due_at: NOW,
        sightings: SIGHTINGS - 1,
        seen_at: Some(NOW.plus_ms(-STEP_MS)),
        state: TombstoneState::Standing,
        ended_at: None,
        outcome: None,
    }
}

fn machine(name: &str, tenant: &str) -> ObservedMachine {
    let marks =
        [(metadata::CONTROLLER, controller().to_string()), (metadata::TENANT, tenant.to_owned())];
    ObservedMachine {
        id: "machine".to_owned(),
        name: name.to_owned(),
        app: app(),
        state: PlatformState::Stopped,
        region: "ord".to_owned(),
        version: None,
        private_ip: None,
        image: Some("nginx:1".to_owned()),
        guest: Map::new(),
        metadata: marks.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        updated_at: Some(NOW),
    }
}

/// All that a plan is made from.
struct Case {
    tenant: Option<(TenantSpec, bool)>,
    lists: ObservedOrganization,
    tombstones: Vec<Tombstone>,
    holds: BTreeMap<String, Hold>,
}

impl Case {
    fn new() -> Self {
        let mut lists = ObservedOrganization::default();
        lists.apps.push(app());
        lists.volumes.push(volume());
        Self { tenant: None, lists, tombstones: vec![due()], holds: BTreeMap::new() }
    }

    fn desired(&self) -> Desired {
        let inputs = self.tenant.iter().map(|(spec, deleting)| TenantInput {
            name: "acme",
            spec,
            deleting: *deleting,
        });
        Desired::resolve(controller(), ORG, &BTreeMap::new(), &NoSecrets, inputs)
    }

    fn observed(&self) -> Observed {
        Observed {
            organizations: BTreeMap::from([(ORG.to_owned(), self.lists.clone())]),
            tombstones: self.tombstones.clone(),
            holds: self.holds.clone(),
            ..Observed::default()
        }
    }

    fn plan(&self) -> Plan {
        self.plan_with(|_| {})
    }

    fn plan_with(&self, change: impl FnOnce(&mut Observed)) -> Plan {
        let mut observed = self.observed();
        change(&mut observed);
        vault_plan::plan(&self.desired(), &observed, &Policy::default(), NOW)
    }
}

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

fn hold(kind: HoldKind) -> Hold {
    Hold { until: NOW.plus_ms(1), message: String::new(), kind }
}

#[test]
fn what_may_still_be_deleted_is_not_told_to_be_taken_back() {
    let of_tenant = |app: String| Tombstone {
        kind: TombstoneKind::Tenant,
        id: "acme".to_owned(),
        name: app.clone(),
        app,
        machine: String::new(),
        ..due()
    };
    for tombstone in [due(), of_tenant(app())] {
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
fn an_app_that_is_gone_ends_the_tombstone_of_its_tenant_after_the_grace() {
    let outcome = |change: fn(&mut Case)| {
        let mut case = Case::new();
        case.lists.apps.clear();
        case.lists.volumes.clear();
        case.tombstones = vec![Tombstone {
            kind: TombstoneKind::Tenant,
            id: "acme".to_owned(),
            name: app(),
            ..due()
        }];
        change(&mut case);
        let written = case.plan().tombstones.written;
        written.into_iter().find(|one| one.kind == TombstoneKind::Tenant)?.outcome
    };
    assert_eq!(outcome(|_| {}).as_deref(), Some("its app is gone"));
    let young = |case: &mut Case| {
        case.tombstones[0].made_at = NOW.plus_ms(1 - DELETION_GRACE_MS);
    };
    assert_eq!(outcome(young), None, "somebody may want it back");
    let with_volume = |case: &mut Case| {
        case.tombstones.push(due());
        case.lists.volumes.push(volume());
    };
    assert_eq!(outcome(with_volume), None, "a volume of it is left");
    assert_eq!(outcome(|case| case.tenant = Some((spec(1, "Retain"), true))), None, "it is going");
    let cleared = |deleting: bool| {
        let mut case = Case::new();
        let of_tenant = Tombstone { kind: TombstoneKind::Tenant, id: "acme".to_owned(), ..due() };
        case.tombstones = vec![of_tenant];
        case.tenant = Some((spec(1, "Retain"), deleting));
        case.plan().tombstones.cleared.len()
    };
    assert_eq!((cleared(false), cleared(true)), (1, 0));
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

#[test]
fn an_app_goes_only_when_nothing_is_in_it_and_its_name_is_derived() {
    let tenant = |app: String| Tombstone {
        kind: TombstoneKind::Tenant,
        id: "acme".to_owned(),
        name: app.clone(),
        app,
        machine: String::new(),
        template: String::new(),
        ..due()
    };
    let deletes_app = |case: &Case| {
        let plan = case.plan();
        plan.actions.iter().any(|planned| planned.action == Action::DeleteApp)
    };
    let empty = || {
        let mut case = Case::new();
        case.tombstones = vec![tenant(app())];
        case.lists.volumes.clear();
        case
    };
    assert!(deletes_app(&empty()));
    let mut named = empty();
    named.tombstones = vec![tenant("vault-tenants".to_owned())];
    named.lists.apps = vec!["vault-tenants".to_owned()];
    assert!(!deletes_app(&named));
    let mut with_volume = empty();
    with_volume.lists.volumes.push(ObservedVolume { name: "anything".to_owned(), ..volume() });
    assert!(!deletes_app(&with_volume));
    let mut with_machine = empty();
    with_machine.lists.machines.push(machine("foreign", "x"));
    assert!(!deletes_app(&with_machine));
    let mut with_tombstone = empty();
    with_tombstone.tombstones.push(due());
    assert!(!deletes_app(&with_tombstone));
    let mut counted = empty();
    counted.lists.gaps.volumes.insert(app(), VolumeGap::Counted(1));
    assert!(!deletes_app(&counted));
    let mut again = empty();
    again.tenant = Some((spec(0, "Delete"), false));
    assert!(!deletes_app(&again));
    assert_eq!(again.plan().tombstones.cleared.len(), 1);
}

#[test]
fn the_object_of_a_tenant_whose_app_is_not_ours_is_kept_for_thirty_days() {
    let outcome = |age_ms: i64| {
        let mut case = Case::new();
        let app = "vault-tenants".to_owned();
        case.lists.volumes.clear();
        case.tombstones = vec![Tombstone {
            kind: TombstoneKind::Tenant,
            id: "acme".to_owned(),
            name: app.clone(),
            app,
            made_at: NOW.plus_ms(-age_ms),
            ..due()
        }];
        let written = case.plan().tombstones.written;
        written.first().and_then(|one| one.outcome.clone())
    };
    let thirty_days_ms = 30 * 24 * 3_600_000;
    assert_eq!(outcome(thirty_days_ms - 1), None);
    assert!(outcome(thirty_days_ms).is_some());
    let mut with_volume = Case::new();
    with_volume.tombstones.push(Tombstone {
        kind: TombstoneKind::Tenant,
        id: "acme".to_owned(),
        app: String::new(),
        made_at: NOW.plus_ms(-thirty_days_ms),
        ..due()
    });
    let written = with_volume.plan().tombstones.written;
    assert!(written.iter().all(|one| one.kind == TombstoneKind::Volume), "{written:?}");
}

/// The tombstone of a deleted tenant whose app is empty, and matures with this pass.
fn of_tenant(name: &str) -> Tombstone {
    let uid = controller().tenant_uid(name);
    let app = uid.app_name(name);
    Tombstone {
        kind: TombstoneKind::Tenant,
        id: name.to_owned(),
        tenant: name.to_owned(),
        uid,
        name: app.clone(),
        app,
        machine: String::new(),
        template: String::new(),
        ..due()
    }
}

fn deleted_apps(plan: &Plan) -> usize {
    plan.actions.iter().filter(|planned| planned.action == Action::DeleteApp).count()
}

#[test]
fn twenty_apps_go_in_one_pass_and_none_that_somebody_names() {
    let mut case = Case::new();
    case.lists.volumes.clear();
    case.tombstones = (0..25).map(|number| of_tenant(&format!("t{number}"))).collect();
    case.lists.apps = case.tombstones.iter().map(|tombstone| tombstone.app.clone()).collect();
    assert_eq!(deleted_apps(&case.plan()), 20);
    case.tombstones.truncate(1);
    assert_eq!(deleted_apps(&case.plan()), 1);
    let mut spec = spec(0, "Delete");
    spec.app = serde_json::from_value(json!(case.tombstones[0].app)).ok();
    case.tenant = Some((spec.clone(), false));
    assert_eq!(deleted_apps(&case.plan()), 0, "tenant acme names it");
    spec.app = serde_json::from_value(json!("elsewhere")).ok();
    case.tenant = Some((spec, false));
    assert_eq!(deleted_apps(&case.plan()), 1);
}

#[test]
fn what_holds_an_app_breaks_the_chain_of_its_sightings_and_each_link_is_written() {
    let written = |change: fn(&mut Case)| {
        let mut case = Case::new();
        case.lists.volumes.clear();
        case.tombstones = vec![Tombstone { sightings: SIGHTINGS - 3, ..of_tenant("acme") }];
        change(&mut case);
        case.plan().tombstones.written.first().map(|one| (one.sightings, one.seen_at))
    };
    assert_eq!(written(|_| {}), Some((SIGHTINGS - 2, Some(NOW))));
    assert_eq!(written(|case| case.tombstones[0].seen_at = Some(NOW.plus_ms(-1))), None);
    assert_eq!(written(|case| case.lists.volumes.push(volume())), Some((0, None)));
    let machine = |case: &mut Case| case.lists.machines.push(machine("foreign", "x"));
    assert_eq!(written(machine), Some((0, None)));
    let marked = |case: &mut Case| {
        let app = "elsewhere".to_owned();
        case.lists.machines.push(ObservedMachine { app, ..self::machine("acme-box-0", "acme") });
    };
    assert_eq!(written(marked), Some((0, None)), "a machine of it is in another app");
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

/// Without tombstones, `acme-box-1` at rest with its volume, and one more volume that nobody holds and
/// that is not its tenant's.
fn held() -> Case {
    let mut case = Case::new();
    case.tombstones.clear();
    case.lists.volumes[0].attached_machine = Some("machine".to_owned());
    case.lists.machines.push(machine("acme-box-1", "acme"));
    case
}

fn buried(case: &Case) -> Vec<(String, Cause)> {
    case.plan().tombstones.written.into_iter().map(|one| (one.id, one.cause)).collect()
}

fn paused(spec: TenantSpec) -> TenantSpec {
    TenantSpec { reconcile: Some(vault_api::tenant::ReconcileMode::Paused), ..spec }
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
    let of_tenant = Tombstone { kind: TombstoneKind::Tenant, ..ended.clone() };
    for before in [ended, of_tenant] {
        free.tombstones = vec![before];
        assert_eq!(
            buried(&free),
            std::slice::from_ref(&unwanted),
            "that is over, or about something else"
        );
    }
    free.tombstones.clear();
    type Change = fn(&mut Case);
    let table: [(&str, Change); 7] = [
        ("it is kept", |case| case.tenant = Some((spec(1, "Retain"), false))),
        ("its tenant is paused", |case| case.tenant = Some((paused(spec(1, "Delete")), false))),
        ("its machine is wanted", |case| case.tenant = Some((spec(2, "Delete"), false))),
        ("lists are not whole", |case| case.lists.gaps.unclear = Some("rows".to_owned())),
        ("somebody holds it", |case| {
            case.lists.volumes[0].attached_machine = Some("anybody".to_owned());
        }),
        ("it is not of this tenant", |case| case.lists.volumes[0].name = "data".to_owned()),
        ("one of its name is newer", |case| {
            let (id, created_at) = ("vol_2".to_owned(), Some(NOW));
            let attached_machine = Some("anybody".to_owned());
            let newer = ObservedVolume { id, created_at, attached_machine, ..volume() };
            case.lists.volumes.push(newer);
        }),
    ];
    for (why, change) in table {
        let mut case = Case { lists: free.lists.clone(), tenant: free.tenant.clone(), ..held() };
        change(&mut case);
        assert_eq!(buried(&case), [], "{why}");
    }
}

#[test]
fn the_free_volume_of_a_machine_that_no_longer_mounts_it_is_kept() {
    let mut case = Case::new();
    case.tombstones.clear();
    let mut unmounted = spec(2, "Delete");
    unmounted.machines[0].config.remove("mounts");
    case.tenant = Some((unmounted, false));
    assert_eq!(buried(&case), [], "the machine has not gone for good");
    // Nor while the machine is there that had it, wanted or not.
    let mut case = Case::new();
    case.tombstones.clear();
    case.lists.machines.push(machine("acme-box-1", "acme"));
    case.tenant = Some((spec(1, "Delete"), false));
    assert_eq!(buried(&case), []);
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
fn a_machine_goes_only_with_a_snapshot_of_its_volume_where_the_policy_asks_for_one() {
    let mut case = held();
    case.tenant = Some((spec(0, "Snapshot"), false));
    let tombstone =
        Tombstone { policy: DeletionPolicy::Snapshot, sightings: 0, seen_at: None, ..due() };
    case.tombstones = vec![tombstone];
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
    assert_eq!(written[0].snapshot.as_deref(), Some("vs_2"));
    case.tombstones = written;
    let (action, note, written) = outcome(&case, done());
    assert_eq!((action, note), (Some(ActionKind::DeleteMachine), None));
    assert_eq!(written, [], "it is known already");
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
fn orphans_are_what_names_and_marks_prove_to_be_ours() {
    let mut case = Case::new();
    let kinds = |case: &Case| -> Vec<&'static str> {
        let found = orphans(&case.desired(), &case.observed());
        found
            .iter()
            .map(|orphan| match orphan.what {
                OrphanKind::Machine(_) => "machine",
                OrphanKind::App(..) => "app",
                OrphanKind::Volume(_) => "volume",
                OrphanKind::Unused(_) => "unused",
                OrphanKind::Duplicate(_) => "duplicate",
                OrphanKind::Tombstone(_) => "tombstone",
                OrphanKind::Bucket { .. } => "bucket",
            })
            .collect()
    };
    assert_eq!(kinds(&case), ["app", "tombstone"]);
    case.tombstones.clear();
    assert_eq!(kinds(&case), ["app", "volume"]);
    case.lists.machines.push(machine("acme-box-1", "acme"));
    assert_eq!(kinds(&case), ["machine", "app", "volume"]);
    case.tenant = Some((spec(1, "Retain"), false));
    assert_eq!(kinds(&case), ["unused"]);
    case.tenant = Some((spec(2, "Retain"), false));
    assert_eq!(kinds(&case), [] as [&str; 0]);
    let newer = ObservedVolume { id: "vol_2".to_owned(), created_at: Some(NOW), ..volume() };
    case.lists.volumes.push(newer);
    assert_eq!(kinds(&case), ["duplicate"]);
    // Neither mark nor derived name: somebody else's.
    let mut foreign = Case::new();
    foreign.tombstones.clear();
    foreign.lists.apps = vec!["acme-aaaaaaaa".to_owned()];
    foreign.lists.volumes[0].app = "acme-aaaaaaaa".to_owned();
    assert_eq!(kinds(&foreign), [] as [&str; 0]);
}

#[test]
fn an_app_of_nobody_tells_what_it_holds_and_a_volume_in_it_is_nobodys_either() {
    let mut case = Case::new();
    case.tombstones.clear();
    case.lists.apps.push("elsewhere".to_owned());
    let elsewhere = || "elsewhere".to_owned();
    for name in ["theirs", "theirs-again"] {
        case.lists.machines.push(ObservedMachine { app: elsewhere(), ..machine(name, "x") });
    }
    case.lists.machines.push(machine("theirs-too", "x"));
    let found = |case: &Case| -> Vec<(Option<String>, OrphanKind)> {
        let found = orphans(&case.desired(), &case.observed()).into_iter();
        let strangers = |kind: &OrphanKind| matches!(kind, OrphanKind::Machine(_));
        found
            .filter(|orphan| !strangers(&orphan.what))
            .map(|orphan| (orphan.tenant, orphan.what))
            .collect()
    };
    let acme = || Some("acme".to_owned());
    let expected = [(acme(), OrphanKind::App(1, 1)), (acme(), OrphanKind::Volume(volume()))];
    assert_eq!(found(&case), expected);
    // The tombstone of one tenant says nothing of another's app, and that of a volume of no other.
    case.tombstones = vec![of_tenant("umbra")];
    assert_eq!(found(&case)[..2], expected);
    case.tombstones = vec![of_tenant("acme")];
    assert!(!found(&case).contains(&expected[0]));
    let other = Tombstone { id: "vol_2".to_owned(), ..due() };
    case.tombstones = vec![other.clone()];
    assert!(found(&case).contains(&expected[1]));
    case.tombstones = vec![other, due()];
    assert!(!found(&case).contains(&expected[1]));
}

#[test]
fn a_volume_is_unused_if_it_is_free_and_its_tenant_does_not_want_it() {
    let unused = |count, attached: Option<&str>| {
        let mut case = Case::new();
        case.tombstones.clear();
        case.lists.volumes[0].attached_machine = attached.map(str::to_owned);
        case.tenant = Some((spec(count, "Retain"), false));
        let found = orphans(&case.desired(), &case.observed());
        found.iter().any(|orphan| matches!(orphan.what, OrphanKind::Unused(_)))
    };
    assert!(unused(1, None));
    assert!(!unused(1, Some("anybody")), "somebody holds it");
    assert!(!unused(2, None), "it is wanted");
    assert!(!unused(2, Some("machine")));
}

#[test]
fn a_volume_of_a_shared_app_is_a_tenants_if_its_name_says_so_wanted_or_not() {
    let mut case = Case::new();
    case.tombstones.clear();
    let shared = |count| {
        let mut spec = spec(count, "Retain");
        spec.app = serde_json::from_value(json!({ "name": "many", "shared": true })).ok();
        spec
    };
    case.lists.apps = vec!["many".to_owned()];
    case.lists.volumes[0].app = "many".to_owned();
    let kinds = |case: &Case| orphans(&case.desired(), &case.observed()).len();
    case.tenant = Some((shared(2), false));
    assert_eq!(kinds(&case), 0, "it is wanted");
    case.tenant = Some((shared(1), false));
    assert_eq!(kinds(&case), 1, "its slot says whose it is");
    case.lists.volumes[0].name = controller().tenant_uid("other").volume_name("box", 1, "data");
    assert_eq!(kinds(&case), 0, "nothing says whose it is");
}

#[test]
fn of_several_volumes_of_one_name_the_one_that_is_held_or_newest_is_no_duplicate() {
    let duplicates = |change: fn(&mut Vec<ObservedVolume>)| -> Vec<String> {
        let mut case = Case::new();
        case.tombstones.clear();
        case.tenant = Some((spec(2, "Retain"), false));
        let second = ObservedVolume { id: "vol_2".to_owned(), ..volume() };
        case.lists.volumes.push(second);
        change(&mut case.lists.volumes);
        let found = orphans(&case.desired(), &case.observed()).into_iter();
        let of = |what| match what {
            OrphanKind::Duplicate(volume) => Some(volume.id),
            _ => None,
        };
        found.filter_map(|orphan| of(orphan.what)).collect()
    };
    assert_eq!(duplicates(|_| {}), ["vol_2"], "of two alike always the same one");
    assert_eq!(duplicates(|volumes| volumes[1].created_at = Some(NOW)), ["vol_1"], "it is older");
    assert_eq!(duplicates(|volumes| volumes[1].name = "data".to_owned()), [""; 0]);
    let held = |volumes: &mut Vec<ObservedVolume>| {
        volumes[1].attached_machine = Some("machine".to_owned());
    };
    assert_eq!(duplicates(held), ["vol_1"]);
}
