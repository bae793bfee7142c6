//! What a tenant's buckets need before its machines are made, and what has to be so before a bucket is
//! deleted: a table of all that may be otherwise, each of which alone keeps the bucket.

use std::collections::BTreeMap;

use serde_json::json;
use vault_api::tenant::{DeletionPolicy, SecretEntry, TenantSpec};
use vault_plan::action::ActionKind;
use vault_plan::action::{Action, Plan};
use vault_plan::bucket::{
    KnownKey, KnownKeys, KnownPolicy, ListedKey, ObservedStorage, StorageLook, policy_document,
};
use vault_plan::desired::{Desired, DesiredSecret, DesiredSecrets, SecretPlace, TenantInput};
use vault_plan::identity::ControllerId;
use vault_plan::observed::{Hold, HoldKind, Observed, ObservedOrganization};
use vault_plan::orphans::{OrphanKind, orphans};
use vault_plan::policy::{DELETION_GRACE_MS, Policy};
use vault_plan::report::NoteReason;
use vault_plan::time::UnixMillis;
use vault_plan::token::platform_name;
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

fn bucket() -> String {
    controller().tenant_uid("acme").bucket_name("acme", "state")
}

/// A tombstone that matures with this pass.
fn due() -> Tombstone {
    let uid = controller().tenant_uid("acme");
    Tombstone {
        kind: TombstoneKind::Bucket,
        id: bucket(),
        tenant: "acme".to_owned(),
        uid,
        organization: ORG.to_owned(),
        app: uid.app_name("acme"),
        name: bucket(),
        region: String::new(),
        size_gb: 0,
        machine: String::new(),
        template: "state".to_owned(),
        policy: DeletionPolicy::Delete,
        cause: Cause::Deleted,
        snapshot: None,
        made_at: NOW.plus_ms(-DELETION_GRACE_MS),
        due_at: NOW,
        sightings: SIGHTINGS - 1,
        seen_at: Some(NOW.plus_ms(-STEP_MS)),
        state: TombstoneState::Standing,
        ended_at: None,
        outcome: None,
    }
}

struct Case {
    tombstone: Tombstone,
    storage: ObservedStorage,
    holds: BTreeMap<String, Hold>,
    /// The tenant, if there is one again, and whether it is being deleted.
    tenant: Option<(TenantSpec, bool)>,
}

impl Case {
    fn new() -> Self {
        let storage = ObservedStorage {
            look: StorageLook::Done,
            buckets: [bucket()].into(),
            ..ObservedStorage::default()
        };
        Self { tombstone: due(), storage, holds: BTreeMap::new(), tenant: None }
    }

    fn desired(&self) -> Desired {
        let tenants = self.tenant.iter().map(|(spec, deleting)| TenantInput {
            name: "acme",
            spec,
            deleting: *deleting,
        });
        Desired::resolve(controller(), ORG, &BTreeMap::new(), &NoSecrets, tenants)
    }

    fn observed(&self) -> Observed {
        let lists = ObservedOrganization::default();
        Observed {
            organizations: BTreeMap::from([(ORG.to_owned(), lists)]),
            storage: self.storage.clone(),
            holds: self.holds.clone(),
            tombstones: vec![self.tombstone.clone()],
            ..Observed::default()
        }
    }

    fn plan(&self) -> Plan {
        vault_plan::plan(&self.desired(), &self.observed(), &Policy::default(), NOW)
    }

    fn deletes(&self) -> bool {
        let actions = self.plan().actions;
        let is_deletion =
            |action: &Action| matches!(action, Action::EmptyBucket(_) | Action::DeleteBucket(_));
        let found = actions.iter().filter(|planned| is_deletion(&planned.action)).count();
        assert!(found == 0 || found == 2, "emptied, and then deleted: {actions:?}");
        found == 2
    }
}

fn spec(buckets: &serde_json::Value) -> TenantSpec {
    serde_json::from_value(json!({ "storage": { "buckets": buckets } })).unwrap()
}

fn hold() -> Hold {
    let until = NOW.plus_ms(1);
    Hold { until, message: "waits".to_owned(), kind: HoldKind::BackOff }
}

#[test]
fn whatever_else_is_so_keeps_a_bucket() {
    assert!(Case::new().deletes(), "everything is as it has to be");
    type Change = fn(&mut Case);
    let table: [(&str, Change); 14] = [
        ("the grace is not over", |case| case.tombstone.due_at = NOW.plus_ms(1)),
        ("too few sightings", |case| case.tombstone.sightings = SIGHTINGS - 2),
        ("too soon after the last", |case| case.tombstone.seen_at = Some(NOW.plus_ms(-1))),
        ("the chain is broken", |case| {
            case.tombstone.seen_at = Some(NOW.plus_ms(-DELETION_GRACE_MS));
        }),
        ("nobody looked", |case| case.storage.look = StorageLook::Spared),
        ("the lists failed", |case| case.storage.look = StorageLook::Failed("x".to_owned())),
        ("there is no key", |case| case.storage.look = StorageLook::NoKey),
        ("it is not listed", |case| case.storage.buckets.clear()),
        ("a key opens it", |case| {
            let document = format!("\"arn:aws:s3:::{}\"", bucket());
            let key_id = "tid_1".to_owned();
            let policy = KnownPolicy { key_id, document, changed: false };
            case.storage.policies.insert(case.tombstone.uid, policy);
        }),
        ("its tenant is held", |case| drop(case.holds.insert("acme".to_owned(), hold()))),
        ("its storage is held", |case| {
            case.storage.holds.insert("acme".to_owned(), hold());
        }),
        ("its name is not derived", |case| {
            case.tombstone.template = "other".to_owned();
        }),
        ("somebody wants it again", |case| {
            case.tenant = Some((spec(&json!([{ "name": "state" }])), false));
        }),
        ("its tenant cannot be resolved", |case| {
            let spec = serde_json::from_value(json!({ "class": "nowhere" })).unwrap();
            case.tenant = Some((spec, false));
        }),
    ];
    for (why, change) in table {
        let mut case = Case::new();
        change(&mut case);
        assert!(!case.deletes(), "{why}");
    }
    let mut going = Case::new();
    going.tenant = Some((spec(&json!([{ "name": "state" }])), true));
    assert!(going.deletes(), "its tenant goes too");
    let mut unnamed = Case::new();
    unnamed.tenant = Some((spec(&json!([])), false));
    assert!(unnamed.deletes(), "its manifest does not name it");
}

#[test]
fn people_read_what_each_call_about_storage_is_about() {
    let targets = |tenant: &Tenant| -> Vec<String> {
        tenant.plan().actions.iter().map(|planned| planned.target()).collect()
    };
    let uid = controller().tenant_uid("acme");
    let mut tenant = Tenant::new(spec(&json!([{ "name": "state" }])));
    tenant.storage().policies.clear();
    assert_eq!(targets(&tenant), [format!("policy vault-{uid}")]);
    tenant.storage().buckets.clear();
    tenant.storage().known.clear();
    tenant.storage().listed.clear();
    let key = |n| format!("access key {}", platform_name(uid, n));
    assert_eq!(targets(&tenant), [format!("bucket {}", bucket()), key(1)]);
    let mut going = Tenant::new(spec(&json!([{ "name": "state" }])));
    going.deleting = true;
    assert_eq!(targets(&going), [format!("policy vault-{uid}"), key(1)]);
    let plan = Case::new().plan();
    let [emptied, deleted] = plan.actions.as_slice() else { panic!("{:?}", plan.actions) };
    assert_eq!(
        (emptied.target(), deleted.target()),
        (format!("bucket {}", bucket()), format!("bucket {}", bucket()))
    );
}

#[test]
fn a_bucket_that_is_wanted_again_loses_its_tombstone_and_one_that_is_gone_ends_it() {
    let mut case = Case::new();
    case.tenant = Some((spec(&json!([{ "name": "state" }])), false));
    let cleared = case.plan().tombstones.cleared;
    assert!(cleared[0].why.contains("wants bucket"), "{cleared:?}");
    let mut case = Case::new();
    case.storage.buckets.clear();
    case.tombstone.state = TombstoneState::Acting;
    let written = case.plan().tombstones.written;
    assert_eq!(written[0].state, TombstoneState::Ended);
    assert_eq!(written[0].outcome.as_deref(), Some("it was deleted"));
    case.tombstone.state = TombstoneState::Standing;
    let written = case.plan().tombstones.written;
    assert_eq!(written[0].outcome.as_deref(), Some("somebody else deleted it"));
    let mut case = Case::new();
    case.tombstone.state = TombstoneState::Acting;
    assert!(case.deletes(), "it is there still, and its tenant is not held: once more");
    case.storage.unclear.insert(bucket(), "it was there a moment ago".to_owned());
    assert!(!case.deletes() && case.plan().tombstones.written.is_empty());
}

#[test]
fn a_hold_that_is_over_keeps_no_bucket() {
    let mut case = Case::new();
    let over = || Hold { until: NOW, ..hold() };
    case.holds.insert("acme".to_owned(), over());
    case.storage.holds.insert("acme".to_owned(), over());
    assert!(case.deletes());
}

#[test]
fn no_more_buckets_go_in_an_hour_than_the_share() {
    let mut case = Case::new();
    let names: Vec<String> = (0..5).map(|n| format!("b{n}")).collect();
    let uid = controller().tenant_uid("acme");
    let mut observed = case.observed();
    case.storage.buckets = names.iter().map(|name| uid.bucket_name("acme", name)).collect();
    observed.storage = case.storage.clone();
    observed.tombstones = names
        .iter()
        .map(|name| Tombstone {
            id: uid.bucket_name("acme", name),
            template: name.clone(),
            ..due()
        })
        .collect();
    let plan = vault_plan::plan(&case.desired(), &observed, &Policy::default(), NOW);
    let deleted = |action: &Action| matches!(action, Action::DeleteBucket(_));
    let deleted = plan.actions.iter().filter(|planned| deleted(&planned.action)).count();
    assert_eq!(deleted, 3);
}

#[test]
fn what_went_within_the_hour_counts_as_what_is_there() {
    let mut case = Case::new();
    let uid = controller().tenant_uid("acme");
    let name = |n: usize| format!("b{n}");
    case.storage.buckets = (0..39).map(|n| uid.bucket_name("acme", &name(n))).collect();
    let mut observed = case.observed();
    let mut tombstones: Vec<Tombstone> = (0..9)
        .map(|n| Tombstone { id: uid.bucket_name("acme", &name(n)), template: name(n), ..due() })
        .collect();
    tombstones.push(Tombstone {
        id: "gone".to_owned(),
        state: TombstoneState::Ended,
        ended_at: Some(NOW.plus_ms(-1)),
        ..due()
    });
    observed.tombstones = tombstones;
    let plan = vault_plan::plan(&case.desired(), &observed, &Policy::default(), NOW);
    let deleted = |action: &Action| matches!(action, Action::DeleteBucket(_));
    let deleted = plan.actions.iter().filter(|planned| deleted(&planned.action)).count();
    assert_eq!(deleted, 3, "of forty a tenth, of which one went");
}

#[test]
fn each_sighting_is_written_and_nothing_else() {
    let mut case = Case::new();
    case.tombstone.sightings = SIGHTINGS - 3;
    let written = case.plan().tombstones.written;
    assert_eq!((written[0].sightings, written[0].seen_at), (SIGHTINGS - 2, Some(NOW)));
    case.tombstone.seen_at = Some(NOW.plus_ms(-1));
    assert_eq!(case.plan().tombstones.written, [], "it is too soon to count");
}

#[test]
fn audit_shows_buckets_that_names_prove_to_be_ours() {
    let mut case = Case::new();
    case.tombstone.state = TombstoneState::Ended;
    let kinds = |case: &Case| -> Vec<Option<String>> {
        let found = orphans(&case.desired(), &case.observed());
        let bucket = |what: OrphanKind| match what {
            OrphanKind::Bucket { wanted_by, .. } => Some(wanted_by),
            _ => None,
        };
        found.into_iter().filter_map(|orphan| bucket(orphan.what)).collect()
    };
    case.storage.buckets.insert("somebody-elses-bucket".to_owned());
    assert_eq!(kinds(&case), [None], "its tenant is gone");
    let open = |change: fn(&mut Tombstone)| {
        let mut case = Case { storage: case.storage.clone(), ..Case::new() };
        change(&mut case.tombstone);
        kinds(&case)
    };
    assert_eq!(open(|_| {}), [], "it has a tombstone");
    assert_eq!(open(|one| one.kind = TombstoneKind::Tenant), [None], "of its tenant only");
    assert_eq!(open(|one| one.id = bucket_called("logs")), [None], "of another bucket");
    case.tenant = Some((spec(&json!([])), false));
    assert_eq!(kinds(&case), [Some("acme".to_owned())], "its tenant does not name it");
    case.tenant = Some((spec(&json!([{ "name": "state" }])), false));
    assert_eq!(kinds(&case), []);
}

/// A tenant with one machine, and these buckets.
fn with_machine(buckets: &serde_json::Value) -> TenantSpec {
    let machine = json!({ "name": "box", "region": "ord", "config": { "image": "box:1" } });
    serde_json::from_value(json!({ "machines": [machine], "storage": { "buckets": buckets } }))
        .unwrap()
}

/// A tenant that wants bucket `state` and has it, with its key and its policy, and an app.
struct Tenant {
    spec: TenantSpec,
    deleting: bool,
    observed: Observed,
}

impl Tenant {
    fn new(spec: TenantSpec) -> Self {
        let uid = controller().tenant_uid("acme");
        let case = Case { tenant: Some((spec.clone(), false)), ..Case::new() };
        let mut observed = Observed { tombstones: Vec::new(), ..case.observed() };
        observed.organizations.get_mut(ORG).unwrap().apps.push(uid.app_name("acme"));
        let key = KnownKey { n: 1, id: Some("tid_1".to_owned()) };
        observed.storage.known.insert(uid, KnownKeys { last_n: 1, keys: vec![key] });
        observed.storage.listed.insert(uid, vec![listed("tid_1", 1)]);
        let document = policy_document(&case.desired().tenants[0].buckets);
        let policy = KnownPolicy { key_id: "tid_1".to_owned(), document, changed: false };
        observed.storage.policies.insert(uid, policy);
        Self { spec, deleting: false, observed }
    }

    fn storage(&mut self) -> &mut ObservedStorage {
        &mut self.observed.storage
    }

    /// Its buckets were these when it was last looked at.
    fn remembers(&mut self, spec: &TenantSpec) {
        let case = Case { tenant: Some((spec.clone(), false)), ..Case::new() };
        let buckets = case.desired().tenants[0].buckets.clone();
        self.storage().remembered.insert("acme".to_owned(), buckets);
    }

    fn plan(&self) -> Plan {
        let case = Case { tenant: Some((self.spec.clone(), self.deleting)), ..Case::new() };
        vault_plan::plan(&case.desired(), &self.observed, &Policy::default(), NOW)
    }

    fn kinds(&self) -> Vec<ActionKind> {
        self.plan().actions.iter().map(|planned| planned.action.kind()).collect()
    }

    /// What the plan says of it for this reason.
    fn notes(&self, reason: NoteReason) -> Vec<String> {
        let notes = &self.plan().report.tenants[0].notes;
        notes.iter().filter(|note| note.reason == reason).map(|note| note.message.clone()).collect()
    }

    /// The tombstones that the plan makes.
    fn buried(&self) -> Vec<(String, TombstoneKind, Cause)> {
        let written = self.plan().tombstones.written;
        written.into_iter().map(|one| (one.id, one.kind, one.cause)).collect()
    }
}

fn listed(id: &str, n: u64) -> ListedKey {
    let name = platform_name(controller().tenant_uid("acme"), n);
    ListedKey { id: id.to_owned(), name, n: Some(n) }
}

fn bucket_called(name: &str) -> String {
    controller().tenant_uid("acme").bucket_name("acme", name)
}

#[test]
fn no_machine_is_made_before_the_buckets_and_the_key_that_it_is_to_find() {
    use ActionKind::{CreateAccessKey, CreateBucket, CreateMachine, PutBucketPolicy};
    let spec = with_machine(&json!([{ "name": "state" }]));
    let mut tenant = Tenant::new(spec);
    assert_eq!(tenant.kinds(), [CreateMachine], "it has all that it needs");
    tenant.storage().policies.clear();
    assert_eq!(tenant.kinds(), [PutBucketPolicy, CreateMachine]);
    tenant.storage().known.clear();
    tenant.storage().listed.clear();
    assert_eq!(tenant.kinds(), [CreateAccessKey]);
    tenant.storage().buckets.clear();
    assert_eq!(tenant.kinds(), [CreateBucket, CreateAccessKey]);
    tenant.storage().look = StorageLook::Failed("no answer".to_owned());
    assert_eq!(tenant.kinds(), []);
}

#[test]
fn a_bucket_is_ready_once_it_is_there_and_the_key_opens_it_as_wanted() {
    let ready = |change: fn(&mut ObservedStorage)| {
        let mut tenant = Tenant::new(with_machine(&json!([{ "name": "state" }])));
        change(tenant.storage());
        let report = tenant.plan().report.tenants.remove(0);
        let puts = tenant.kinds().contains(&ActionKind::PutBucketPolicy);
        (report.storage.unwrap().buckets[0].ready, puts)
    };
    fn policy(storage: &mut ObservedStorage) -> &mut KnownPolicy {
        storage.policies.values_mut().next().unwrap()
    }
    assert_eq!(ready(|_| {}), (true, false));
    assert_eq!(ready(|storage| policy(storage).changed = true), (false, true));
    let another = |storage: &mut ObservedStorage| policy(storage).key_id = "tid_0".to_owned();
    assert_eq!(ready(another), (false, true), "it is attached to a key that is not used any more");
    let document = |storage: &mut ObservedStorage| policy(storage).document = "{}".to_owned();
    assert_eq!(ready(document), (false, true));
    assert_eq!(ready(|storage| storage.policies.clear()), (false, true));
    assert_eq!(ready(|storage| storage.buckets.clear()), (false, false), "it is being made");
}

#[test]
fn storage_that_is_held_keeps_machines_waiting_only_for_what_they_need() {
    use ActionKind::{CreateMachine, PutBucketPolicy, RevokeAccessKey};
    let spec = with_machine(&json!([{ "name": "state" }]));
    let mut tenant = Tenant::new(spec);
    let held = |until| {
        let hold = Hold { until, message: "refused".to_owned(), kind: HoldKind::BackOff };
        BTreeMap::from([("acme".to_owned(), hold)])
    };
    tenant.storage().holds = held(NOW.plus_ms(1));
    assert_eq!(tenant.kinds(), [CreateMachine], "nothing is to be done about its storage");
    assert_eq!(tenant.notes(NoteReason::BackOff), [""; 0]);
    // A key of which we have no value, and which may go, is no reason to wait.
    let uid = controller().tenant_uid("acme");
    let doubted = KnownKey { n: 2, id: None };
    tenant.storage().known.get_mut(&uid).unwrap().keys.push(doubted);
    tenant.storage().listed.get_mut(&uid).unwrap().push(listed("tid_2", 2));
    assert_eq!(tenant.kinds(), [CreateMachine]);
    assert_eq!(tenant.notes(NoteReason::BackOff), ["refused"]);
    // A policy is: the machine would find a key that opens nothing.
    tenant.storage().policies.clear();
    assert_eq!(tenant.kinds(), []);
    assert_eq!(tenant.notes(NoteReason::BackOff), ["refused"]);
    tenant.storage().holds = held(NOW);
    assert_eq!(tenant.kinds(), [PutBucketPolicy, RevokeAccessKey, CreateMachine]);
}

#[test]
fn a_bucket_that_the_manifest_no_longer_names_gets_a_tombstone_by_its_policy() {
    let both = json!([{ "name": "state" }, { "name": "logs", "deletionPolicy": "Delete" }]);
    let one = spec(&json!([{ "name": "state" }]));
    let mut tenant = Tenant::new(one.clone());
    tenant.remembers(&spec(&both));
    let logs = (bucket_called("logs"), TombstoneKind::Bucket, Cause::Unwanted);
    assert_eq!(tenant.buried(), std::slice::from_ref(&logs));
    let written = tenant.plan().tombstones.written.remove(0);
    assert_eq!((written.template.as_str(), written.tenant.as_str()), ("logs", "acme"));
    assert_eq!(written.due_at, NOW.plus_ms(DELETION_GRACE_MS));
    assert_eq!((written.made_at, written.sightings), (NOW, 0));

    // Another kind of the same name, one that has ended, and one of another bucket change nothing.
    let other = |change: fn(&mut Tombstone)| {
        let mut other = Tombstone { id: bucket_called("logs"), seen_at: Some(NOW), ..due() };
        change(&mut other);
        vec![other]
    };
    for others in [
        other(|one| one.kind = TombstoneKind::Tenant),
        other(|one| one.state = TombstoneState::Ended),
        other(|one| one.id = bucket_called("more")),
    ] {
        tenant.observed.tombstones = others;
        assert!(tenant.buried().contains(&logs), "{:?}", tenant.observed.tombstones);
    }
    tenant.observed.tombstones = other(|_| {});
    let written = tenant.plan().tombstones.written;
    assert!(written.iter().all(|one| one.made_at != NOW), "it has one: {written:?}");

    tenant.observed.tombstones.clear();
    tenant.spec = spec(&both);
    assert_eq!(tenant.buried(), [], "it is wanted");
    tenant.spec = TenantSpec { reconcile: Some(vault_api::tenant::ReconcileMode::Paused), ..one };
    assert_eq!(tenant.buried(), [], "its tenant is paused");
    let mut kept = Tenant::new(spec(&json!([])));
    kept.remembers(&spec(&json!([{ "name": "state" }])));
    assert_eq!(kept.buried(), [], "its policy is Retain");
}

#[test]
fn the_buckets_of_a_deleted_tenant_get_tombstones_or_are_said_to_be_kept() {
    let doomed = spec(&json!([{ "name": "state", "deletionPolicy": "Delete" }]));
    let mut tenant = Tenant::new(doomed.clone());
    tenant.deleting = true;
    let state = (bucket(), TombstoneKind::Bucket, Cause::Deleted);
    assert_eq!(tenant.buried(), std::slice::from_ref(&state));
    assert_eq!(tenant.notes(NoteReason::Kept), [""; 0]);
    tenant.storage().buckets.clear();
    assert_eq!(tenant.buried(), [], "there is none");
    assert_eq!(tenant.notes(NoteReason::Kept), [""; 0]);
    // A list that leaves it out does not make it forgotten.
    tenant.remembers(&doomed);
    assert_eq!(tenant.buried(), [state]);
    tenant.spec.reconcile = Some(vault_api::tenant::ReconcileMode::Paused);
    assert_eq!(tenant.buried(), [], "its tenant is paused");
    assert_eq!(tenant.notes(NoteReason::Kept), ["its buckets (1) are kept"]);

    let mut kept = Tenant::new(spec(&json!([{ "name": "state" }, { "name": "logs" }])));
    kept.storage().buckets.insert(bucket_called("logs"));
    kept.deleting = true;
    assert_eq!(kept.buried(), []);
    assert_eq!(kept.notes(NoteReason::Kept), ["its buckets (2) are kept"]);
}

#[test]
fn a_tenant_is_not_gone_while_its_key_is_left() {
    use ActionKind::{RemoveBucketPolicy, RevokeAccessKey};
    let mut tenant = Tenant::new(spec(&json!([{ "name": "state" }])));
    tenant.deleting = true;
    assert_eq!(tenant.kinds(), [RemoveBucketPolicy, RevokeAccessKey]);
    assert!(!tenant.plan().report.tenants[0].gone);
    tenant.storage().known.clear();
    tenant.storage().listed.clear();
    tenant.storage().policies.clear();
    assert_eq!(tenant.kinds(), []);
    assert!(tenant.plan().report.tenants[0].gone);
}

#[test]
fn a_tombstone_that_this_plan_makes_is_not_taken_for_another_one() {
    let mut tenant = Tenant::new(spec(&json!([])));
    tenant.storage().policies.clear();
    tenant.storage().known.clear();
    tenant.storage().listed.clear();
    tenant.storage().buckets.insert(bucket_called("logs"));
    tenant.remembers(&spec(&json!([{ "name": "logs", "deletionPolicy": "Delete" }])));
    tenant.observed.tombstones = vec![due()];
    let deleted: Vec<Action> =
        tenant.plan().actions.into_iter().map(|planned| planned.action).collect();
    let [Action::EmptyBucket(emptied), Action::DeleteBucket(deleted)] = deleted.as_slice() else {
        panic!("one bucket goes: {deleted:?}")
    };
    assert_eq!((&emptied.bucket, &deleted.bucket), (&bucket(), &bucket()));
}
