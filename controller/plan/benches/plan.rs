//! The price of a pass with nothing to do: ten thousand tenants, one machine and one volume each.
//!
//! ```text
//!   specs and classes ─▶ Desired::resolve ─┐
//!                                          ├─▶ plan ─▶ no action
//!   decoded rows ──────────────────────────┘
//! ```
//!
//! Before criterion measures wall time, the CPU time of single runs is printed: on a busy machine it
//! is the steadier number.

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use vault_api::tenant::{SecretEntry, TenantClassSpec, TenantSpec};
use vault_plan::action::{Action, Plan};
use vault_plan::desired::{Desired, DesiredSecret, DesiredSecrets, SecretPlace, TenantInput};
use vault_plan::identity::ControllerId;
use vault_plan::observed::{
    Observed, ObservedMachine, ObservedOrganization, ObservedVolume, PlatformState,
};
use vault_plan::policy::Policy;
use vault_plan::time::UnixMillis;

/// The controller's own allocator, so that what is measured is what runs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TENANTS: usize = 10_000;
const RUNS: usize = 21;
const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// Every tenant wants one secret. Deriving its hash is the controller's work and not measured.
struct OneSecret;

impl DesiredSecrets for OneSecret {
    fn of(&self, place: SecretPlace<'_>) -> Vec<DesiredSecret> {
        let hash = "00112233445566778899aabbccddeeff".to_owned();
        let variable = "VAULT_TENANT_SECRET".into();
        vec![DesiredSecret {
            name: place.name(&variable),
            variable,
            hash,
            from: None,
            storage: None,
        }]
    }

    fn of_manifest(&self, _: &str, _: &str, secret: &SecretEntry) -> Result<String, String> {
        Err(format!("there is no value for {} here", secret.name))
    }
}

struct Fleet {
    classes: BTreeMap<String, TenantClassSpec>,
    tenants: Vec<(String, TenantSpec)>,
    observed: Observed,
}

impl Fleet {
    /// A fleet that is as wanted. `own` is what each tenant says besides the name of its class.
    fn new(own: &Value) -> Self {
        let class = json!({
            "machines": [{
                "name": "box",
                "region": "ord",
                "config": {
                    "image": "registry.fly.io/vault-tenants/agent@sha256:0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9",
                    "guest": {"cpu_kind": "shared", "cpus": 2, "memory_mb": 2048},
                    "env": {"TENANT": "{{tenant}}", "INDEX": "{{index}}", "PLAN": "pro"},
                    "mounts": [{"volume": "data", "path": "/data"}],
                    "restart": {"policy": "always"},
                },
            }],
            "volumes": [{"name": "data", "sizeGb": 10}],
        });
        let spec = |own: &Value| {
            let mut spec = json!({"class": "dev-box"});
            for (key, value) in own.as_object().into_iter().flatten() {
                spec[key] = value.clone();
            }
            serde_json::from_value(spec).expect("the spec is one")
        };
        let mut fleet = Self {
            classes: BTreeMap::from([(
                "dev-box".to_owned(),
                serde_json::from_value(class).expect("the class is one"),
            )]),
            tenants: (0..TENANTS)
                .map(|number| (format!("tenant-{number:05}"), spec(own)))
                .collect(),
            observed: Observed::default(),
        };
        fleet.observed.organizations.insert("acme-org".to_owned(), ObservedOrganization::default());
        let lists = fleet.converged();
        fleet.observed.organizations.insert("acme-org".to_owned(), lists);
        assert_eq!(fleet.plan().actions.len(), 0, "the fleet is as wanted");
        fleet
    }

    /// The lists after the plan for an empty world was carried out.
    fn converged(&self) -> ObservedOrganization {
        let mut lists = ObservedOrganization::default();
        for planned in self.plan().actions {
            match planned.action {
                Action::CreateApp => lists.apps.push(planned.app),
                Action::SetSecret(_) | Action::RemoveSecret(_) => {}
                Action::CreateVolume(create) => lists.volumes.push(ObservedVolume {
                    id: format!("vol_{:016}", lists.volumes.len()),
                    name: create.name,
                    app: planned.app,
                    region: create.region.to_string(),
                    size_gb: create.size_gb,
                    state: "created".to_owned(),
                    created_at: None,
                    attached_machine: Some(format!("{:014x}", lists.machines.len())),
                }),
                Action::CreateMachine(create) => {
                    let config = create.config.complete("01JZ0000000000000000000000", None);
                    let members =
                        |name: &str| config[name].as_object().cloned().unwrap_or_default();
                    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    lists.machines.push(ObservedMachine {
                        id: format!("{:014x}", lists.machines.len()),
                        name: create.name,
                        app: planned.app,
                        state: PlatformState::Started,
                        region: create.region.to_string(),
                        version: Some("01JZ0000000000000000000000".to_owned()),
                        private_ip: Some("fdaa:0:1:a7b:1::2".to_owned()),
                        image: Some(text(&config["image"])),
                        guest: members("guest"),
                        metadata: members("metadata")
                            .iter()
                            .map(|(key, value)| (key.clone(), text(value)))
                            .collect(),
                        updated_at: Some(NOW),
                    });
                }
                other => panic!("an empty world needs no {other:?}"),
            }
        }
        // The platform lists by age and not by name.
        lists.machines.sort_by(|one, other| one.app[7..].cmp(&other.app[7..]).reverse());
        lists.volumes.sort_by(|one, other| one.name.cmp(&other.name));
        lists
    }

    fn plan(&self) -> Plan {
        let inputs =
            self.tenants.iter().map(|(name, spec)| TenantInput { name, spec, deleting: false });
        let controller = ControllerId::from_bytes([7; 16]);
        let desired = Desired::resolve(controller, "acme-org", &self.classes, &OneSecret, inputs);
        vault_plan::plan(&desired, &self.observed, &Policy::default(), NOW)
    }
}

fn cpu_ms() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

fn print_cpu_time(name: &str, fleet: &Fleet) {
    let mut runs: Vec<f64> = (0..RUNS)
        .map(|_| {
            let before = cpu_ms();
            black_box(fleet.plan());
            cpu_ms() - before
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    let (least, median, most) = (runs[0], runs[RUNS / 2], runs[RUNS - 1]);
    #[expect(clippy::print_stdout, reason = "a benchmark prints")]
    {
        println!("{name}: CPU {median:.1} ms (median of {RUNS}; {least:.1} to {most:.1})");
    }
}

fn ten_thousand_tenants(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan/10000");
    group.sample_size(10);
    let own = json!({"machines": [{"name": "box", "config": {"guest": {"memory_mb": 4096}}}]});
    for (name, own) in [("class", json!({})), ("override", own)] {
        let fleet = Fleet::new(&own);
        print_cpu_time(name, &fleet);
        group.bench_function(name, |bencher| bencher.iter(|| fleet.plan()));
    }
    group.finish();
}

criterion_group!(benches, ten_thousand_tenants);
criterion_main!(benches);
