//! What people want at one time, as documents for the controller and as wishes for the oracles.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vault_api::storage::BucketAccess;
use vault_api::tenant::{DeletionPolicy, MachineState};

use super::ORGANIZATIONS;
use crate::oracle::{WantedMachine, Wishes};

/// Everything that is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// By name.
    pub tenants: BTreeMap<String, Tenant>,
    /// Classes by name, and what they set in the environment of their tenants' machines.
    pub classes: BTreeMap<String, u8>,
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Where its machines are.
    pub app: AppChoice,
    /// The place of its organization in [`ORGANIZATIONS`].
    pub organization: usize,
    /// Its class.
    pub class: Option<String>,
    /// The variable of the controller's environment that it has a secret from.
    pub secret: Option<&'static str>,
    /// Whether it is left alone.
    pub paused: bool,
    /// Its buckets.
    pub buckets: Vec<Bucket>,
    /// Its machines.
    pub groups: Vec<Group>,
    /// Its deploy tokens.
    pub tokens: Vec<Token>,
}

/// A deploy token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its name.
    pub name: &'static str,
    /// How long each one is good, in minutes.
    pub ttl_min: u32,
    /// How long before its end the next one is minted, in minutes.
    pub rotate_before_min: u32,
}

impl Token {
    /// One that outlives its story.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self { name, ttl_min: 24 * 60, rotate_before_min: 6 * 60 }
    }

    /// How long the one before stays good once the next one exists, in milliseconds: half of
    /// `rotateBefore`, as manifests promise, and less where the next but one would come before.
    #[must_use]
    pub fn overlap_ms(&self) -> i64 {
        let minutes = (self.rotate_before_min / 2).min(self.ttl_min - self.rotate_before_min);
        i64::from(minutes) * 60_000
    }
}

/// A bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: &'static str,
    /// What machines may do with it.
    pub access: BucketAccess,
    /// What becomes of it when nobody wants it any more.
    pub deletion: DeletionPolicy,
}

/// Which app a tenant is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppChoice {
    /// One whose name is derived.
    Derived,
    /// One of this name.
    Named(&'static str),
    /// One of this name, with others.
    Shared(&'static str),
}

/// Machines that differ in their index alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: &'static str,
    /// How many.
    pub count: u32,
    /// What they do.
    pub state: MachineState,
    /// What they run.
    pub image: String,
    /// Where.
    pub region: &'static str,
    /// The size of each one's volume, in gigabytes, if they have some.
    pub volume_gb: Option<u32>,
    /// What becomes of its volumes when nobody wants them any more.
    pub deletion: DeletionPolicy,
    /// A value in their environment.
    pub mode: u8,
}

impl Group {
    /// One running machine.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            count: 1,
            state: MachineState::Started,
            image: "image:1".to_owned(),
            region: "ord",
            volume_gb: None,
            deletion: DeletionPolicy::Retain,
            mode: 0,
        }
    }
}

impl Tenant {
    /// A tenant with these machines.
    #[must_use]
    pub fn new(groups: Vec<Group>) -> Self {
        Self {
            app: AppChoice::Derived,
            organization: 0,
            class: None,
            secret: None,
            paused: false,
            buckets: Vec::new(),
            groups,
            tokens: Vec::new(),
        }
    }

    fn document(&self, name: &str) -> Value {
        let machines: Vec<Value> = self.groups.iter().map(machine).collect();
        let mut volumes: Vec<Value> = Vec::new();
        for group in &self.groups {
            if let Some(size) = group.volume_gb {
                volumes.push(json!({
                    "name": format!("{}-data", group.name),
                    "sizeGb": size,
                    "deletionPolicy": group.deletion.word(),
                }));
            }
        }
        let mut spec = json!({
            "relocate": "Snapshot",
            "org": ORGANIZATIONS[self.organization],
            "reconcile": if self.paused { "Paused" } else { "Active" },
            "machines": machines,
        });
        if !volumes.is_empty() {
            spec["volumes"] = volumes.into();
        }
        if let Some(class) = &self.class {
            spec["class"] = class.as_str().into();
        }
        match self.app {
            AppChoice::Derived => {}
            AppChoice::Named(app) => spec["app"] = app.into(),
            AppChoice::Shared(app) => spec["app"] = json!({ "name": app, "shared": true }),
        }
        if let Some(variable) = self.secret {
            spec["secrets"] = json!([{ "name": "DATABASE_URL", "from": { "env": variable } }]);
        }
        if !self.tokens.is_empty() {
            let deploy = |token: &Token| {
                let Token { name, ttl_min, rotate_before_min } = token;
                let (ttl, before) = (format!("{ttl_min}m"), format!("{rotate_before_min}m"));
                json!({ "name": name, "ttl": ttl, "rotateBefore": before })
            };
            let deploy: Vec<Value> = self.tokens.iter().map(deploy).collect();
            spec["tokens"] = json!({ "deploy": deploy });
        }
        if !self.buckets.is_empty() {
            let bucket = |bucket: &Bucket| {
                json!({
                    "name": bucket.name,
                    "access": bucket.access.word(),
                    "deletionPolicy": bucket.deletion.word(),
                })
            };
            let buckets: Vec<Value> = self.buckets.iter().map(bucket).collect();
            spec["storage"] = json!({ "buckets": buckets });
        }
        document("Tenant", name, &spec)
    }
}

impl Manifest {
    /// These tenants, and no classes.
    #[must_use]
    pub fn of(tenants: &[(&str, Tenant)]) -> Self {
        let tenants = tenants.iter().map(|(name, tenant)| ((*name).to_owned(), tenant.clone()));
        Self { tenants: tenants.collect(), classes: BTreeMap::new() }
    }

    /// With a class.
    #[must_use]
    pub fn with_class(mut self, name: &str, mode: u8) -> Self {
        self.classes.insert(name.to_owned(), mode);
        self
    }

    /// The classes' documents, by name.
    pub fn classes(&self) -> impl Iterator<Item = (&str, Value)> {
        self.classes.iter().map(|(name, mode)| {
            let config =
                json!({ "image": "image:1", "env": { "CLASS": format!("{name} {mode}") } });
            let machine = json!({ "name": "box", "region": "ord", "config": config });
            (name.as_str(), document("TenantClass", name, &json!({ "machines": [machine] })))
        })
    }

    /// The tenants' documents, by name.
    pub fn tenants(&self) -> impl Iterator<Item = (&str, Value)> {
        self.tenants.iter().map(|(name, tenant)| (name.as_str(), tenant.document(name)))
    }

    /// The same for the oracles.
    #[must_use]
    pub fn wishes(&self) -> Wishes {
        let mut wishes = Wishes::default();
        for (tenant, wanted) in &self.tenants {
            wishes.tenants.insert(tenant.clone());
            let has_class =
                wanted.class.as_ref().is_none_or(|class| self.classes.contains_key(class));
            if wanted.paused || !has_class {
                wishes.left_alone.insert(tenant.clone());
            }
            let buckets = wanted.buckets.iter();
            let buckets = buckets.map(|bucket| (bucket.name.to_owned(), bucket.access));
            wishes.buckets.insert(tenant.clone(), buckets.collect());
            let app = match wanted.app {
                AppChoice::Derived => None,
                AppChoice::Named(app) => Some((app.to_owned(), false)),
                AppChoice::Shared(app) => Some((app.to_owned(), true)),
            };
            wishes.apps.extend(app.map(|app| (tenant.clone(), app)));
            for group in &wanted.groups {
                for index in 0..group.count {
                    let machine = WantedMachine {
                        state: group.state,
                        region: group.region.to_owned(),
                        image: group.image.clone(),
                        has_volume: group.volume_gb.is_some(),
                    };
                    wishes.machines.insert(format!("{tenant}-{}-{index}", group.name), machine);
                }
            }
        }
        wishes
    }
}

fn machine(group: &Group) -> Value {
    let mut config = json!({
        "image": group.image,
        "guest": { "cpu_kind": "shared", "cpus": 1, "memory_mb": 256 },
        "env": { "MODE": group.mode.to_string(), "WHO": "{{tenant}} {{index}}" },
    });
    if group.volume_gb.is_some() {
        let volume = format!("{}-data", group.name);
        config["mounts"] = json!([{ "volume": volume, "path": "/data" }]);
    }
    let state = match group.state {
        MachineState::Started => "Started",
        MachineState::Stopped => "Stopped",
        MachineState::Suspended => "Suspended",
    };
    json!({
        "name": group.name,
        "region": group.region,
        "count": group.count,
        "state": state,
        "config": config,
    })
}

fn document(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "vaultctl.dev/v1",
        "kind": kind,
        "metadata": { "name": name },
        "spec": spec,
    })
}
