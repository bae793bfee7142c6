//! What a bucket's matured tombstone needs before anything is deleted on its word: a table of all
//! that may be otherwise, each of which alone keeps the bucket.

use std::collections::BTreeMap;

use serde_json::json;
use vault_api::tenant::{DeletionPolicy, SecretEntry, TenantSpec};
use vault_plan::action::{Action, Plan};
use vault_plan::bucket::{KnownPolicy, ObservedStorage, StorageLook};
use vault_plan::desired::{Desired, DesiredSecret, DesiredSecrets, SecretPlace, TenantInput};
use vault_plan::identity::ControllerId;
use vault_plan::observed::{Hold, HoldKind, Observed, ObservedOrganization};
use vault_plan::orphans::{OrphanKind, orphans};
use vault_plan::policy::{DELETION_GRACE_MS, Policy};
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
    case.tenant = Some((spec(&json!([])), false));
    assert_eq!(kinds(&case), [Some("acme".to_owned())], "its tenant does not name it");
    case.tenant = Some((spec(&json!([{ "name": "state" }])), false));
    assert_eq!(kinds(&case), []);
}
