//! Tombstones: which volumes and tenants get them, what they need before anything is deleted on their
//! word, and what is left without one.

mod apps;
mod burial;
mod orphans;
mod volumes;

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

fn hold(kind: HoldKind) -> Hold {
    Hold { until: NOW.plus_ms(1), message: String::new(), kind }
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

/// No tombstones; `acme-box-1` is at rest and holds its volume.
fn held() -> Case {
    let mut case = Case::new();
    case.tombstones.clear();
    case.lists.volumes[0].attached_machine = Some("machine".to_owned());
    case.lists.machines.push(machine("acme-box-1", "acme"));
    case
}
