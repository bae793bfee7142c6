//! Small things to decide about, for the tests of this package.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use vault_api::tenant::MachineState;

use crate::config::{ConfigTemplate, HASH_VERSION};
use crate::desired::{Desired, DesiredMachine, DesiredSecret, DesiredTenant, DesiredVolume};
use crate::identity::ControllerId;
use crate::metadata::{self, OwnMarks};
use crate::observed::{
    Observed, ObservedMachine, ObservedOrganization, ObservedVolume, PlatformState,
};
use crate::time::UnixMillis;

/// The mark of the controller that decides.
pub(crate) const CONTROLLER: &str = "controller";
/// When it decides.
pub(crate) const NOW: UnixMillis = UnixMillis(10_000_000);

/// The hash of the tenant's only secret.
pub(crate) const SECRET_HASH: &str = "00112233445566778899aabbccddeeff";

/// The secrets of tenant `acme`.
pub(crate) fn secrets() -> Vec<DesiredSecret> {
    let (name, variable) = ("SECRET".into(), "SECRET".into());
    vec![DesiredSecret { name, variable, hash: SECRET_HASH.to_owned(), from: None, storage: None }]
}

/// Tenant `acme`, with no machines of its own.
pub(crate) fn tenant() -> DesiredTenant {
    DesiredTenant {
        name: "acme".into(),
        uid: ControllerId::from_bytes([7; 16]).tenant_uid("acme"),
        organization: "local".into(),
        app: "acme".to_owned(),
        app_is_named: false,
        app_is_shared: false,
        deleting: false,
        paused: false,
        reports_drift: false,
        secrets: secrets(),
        tokens: Arc::default(),
        buckets: Vec::new(),
        slots: Arc::default(),
        machines: Ok(Vec::new()),
    }
}

/// A controller that wants nothing but `tenant`.
pub(crate) fn desired(tenant: DesiredTenant) -> Desired {
    Desired {
        controller: ControllerId::from_bytes([7; 16]),
        controller_mark: CONTROLLER.to_owned(),
        tenants: vec![tenant],
        contested: BTreeMap::new(),
    }
}

/// Organization `local` with these lists, and nothing else.
pub(crate) fn observed(lists: ObservedOrganization) -> Observed {
    let organizations = BTreeMap::from([("local".to_owned(), lists)]);
    Observed { organizations, ..Observed::default() }
}

/// The marks of tenant `acme`.
pub(crate) fn own_marks() -> OwnMarks<'static> {
    OwnMarks { controller: CONTROLLER, tenant: "acme", secret_hash: SECRET_HASH }
}

/// `acme-box-0` in `ord` with a volume.
pub(crate) fn wanted(state: MachineState) -> DesiredMachine {
    let config = json!({"image": "box:1", "guest": {"cpus": 2}, "metadata": {"team": "core"}});
    let Value::Object(config) = config else { panic!("a config is an object") };
    let config = ConfigTemplate::compile(config, BTreeMap::new());
    DesiredMachine {
        name: "acme-box-0".to_owned(),
        index: 0,
        region: "ord".into(),
        state,
        relocate: false,
        spec_hash: config.hash("acme", 0),
        config: Arc::new(config),
        volume: Some(DesiredVolume {
            template: "data".into(),
            name: "v_data".to_owned(),
            size_gb: 1,
        }),
    }
}

/// The machine as [`wanted`], as it was left `age_ms` ago.
pub(crate) fn machine(state: PlatformState, age_ms: i64) -> ObservedMachine {
    let hash = wanted(MachineState::Started).spec_hash.to_string();
    let marks = [
        (metadata::CONTROLLER, CONTROLLER),
        (metadata::TENANT, "acme"),
        (metadata::SPEC_HASH, hash.as_str()),
        (metadata::HASH_VERSION, HASH_VERSION),
        (metadata::SECRET_HASH, SECRET_HASH),
        ("team", "core"),
    ];
    ObservedMachine {
        id: "machine".to_owned(),
        name: "acme-box-0".to_owned(),
        app: "acme".to_owned(),
        state,
        region: "ord".to_owned(),
        version: Some("version".to_owned()),
        private_ip: None,
        image: Some("box:1".to_owned()),
        guest: Map::from_iter([
            ("cpus".to_owned(), json!(2)),
            ("memory_mb".to_owned(), json!(512)),
        ]),
        metadata: BTreeMap::from(marks.map(|(key, value)| (key.to_owned(), value.to_owned()))),
        updated_at: Some(NOW.plus_ms(-age_ms)),
    }
}

/// The volume of [`wanted`].
pub(crate) fn volume(id: &str, region: &str, attached: Option<&str>) -> ObservedVolume {
    ObservedVolume {
        id: id.to_owned(),
        name: "v_data".to_owned(),
        app: "acme".to_owned(),
        region: region.to_owned(),
        size_gb: 1,
        state: "created".to_owned(),
        attached_machine: attached.map(str::to_owned),
        created_at: None,
    }
}
