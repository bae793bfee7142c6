//! What the platform's three lists say, sorted by tenant: made once per resync, shared by all
//! reconciles of it.

use std::collections::{BTreeMap, HashMap};
use std::time::{SystemTime, UNIX_EPOCH};

use kube::runtime::reflector::Store;
use vault_api::tenant::TenantClassSpec;
use vault_cloud::machines::MachinesClient;
use vault_cloud::machines::wire::{MachineRow, VolumeRow};
use vault_plan::metadata;
use vault_plan::observed::{
    Observed, ObservedMachine, ObservedOrganization, ObservedSecrets, ObservedVolume,
    PlatformState, SecretState,
};
use vault_plan::time::UnixMillis;

use crate::tenant::Class;

/// The secret that every tenant of ours has.
pub const TENANT_SECRET: &str = "VAULT_TENANT_SECRET";

/// One look at the platform.
#[derive(Default)]
pub struct View {
    /// Whether there is anything to compare with.
    pub sees: bool,
    /// When the look was.
    pub now: UnixMillis,
    /// The classes by name.
    pub classes: BTreeMap<String, TenantClassSpec>,
    /// What each tenant has.
    pub shares: HashMap<String, Share>,
}

/// What one tenant has.
#[derive(Default)]
pub struct Share {
    /// In the planner's words.
    pub observed: Observed,
    /// The hash of its secrets that its machines carry. Our controller derives it once more in each
    /// pass; here it is believed, which is less work.
    pub secret_hash: String,
}

impl View {
    /// Reads the three lists.
    pub async fn look(
        platform: &MachinesClient,
        org: &str,
        classes: &Store<Class>,
    ) -> anyhow::Result<Self> {
        let (apps, machines, volumes) = tokio::try_join!(
            platform.list_apps(org),
            platform.list_org_machines(org),
            platform.list_org_volumes(org)
        )?;
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let mut view = Self { sees: true, now: UnixMillis(now), ..Self::default() };
        for class in classes.state() {
            let name = class.metadata.name.clone().unwrap_or_default();
            view.classes.insert(name, class.spec.clone());
        }
        let mut owners = HashMap::with_capacity(machines.machines.len());
        view.shares.reserve(machines.machines.len());
        for row in machines.machines {
            let machine = machine(row);
            let mark = |name: &str| machine.metadata.get(name).cloned().unwrap_or_default();
            let tenant = mark(metadata::TENANT);
            let share = view.shares.entry(tenant.clone()).or_default();
            share.secret_hash = mark(metadata::SECRET_HASH);
            let states =
                [(TENANT_SECRET.to_owned(), SecretState::Set { hash: share.secret_hash.clone() })];
            let secrets = ObservedSecrets { version: None, states: states.into() };
            share.observed.secrets.insert(machine.app.clone(), secrets);
            owners.insert(machine.app.clone(), tenant);
            share.organization(org).machines.push(machine);
        }
        for row in volumes.volumes {
            let volume = volume(row);
            if let Some(share) = owners.get(&volume.app).and_then(|name| view.shares.get_mut(name))
            {
                share.organization(org).volumes.push(volume);
            }
        }
        for app in apps.apps {
            if let Some(share) = owners.get(&app.name).and_then(|name| view.shares.get_mut(name)) {
                share.organization(org).apps.push(app.name);
            }
        }
        Ok(view)
    }

    /// The same for reconciles that compare nothing.
    pub fn blind(mut self) -> Self {
        self.sees = false;
        self
    }
}

impl Share {
    fn organization(&mut self, org: &str) -> &mut ObservedOrganization {
        self.observed.organizations.entry(org.to_owned()).or_default()
    }
}

// The controller's own translation, `platform/fly.rs`, which is not public.

fn machine(row: MachineRow) -> ObservedMachine {
    let config = row.config.unwrap_or_default();
    ObservedMachine {
        id: row.id,
        name: row.name,
        app: row.app_name,
        state: PlatformState::read(&row.state),
        region: row.region,
        version: row.version,
        private_ip: row.private_ip,
        image: config.image,
        guest: config.guest,
        metadata: config.metadata,
        updated_at: row.updated_at.map(|at| UnixMillis(at.as_millisecond())),
    }
}

fn volume(row: VolumeRow) -> ObservedVolume {
    let VolumeRow { app_name, volume, .. } = row;
    ObservedVolume {
        id: volume.id,
        name: volume.name,
        app: app_name,
        region: volume.region,
        size_gb: u32::try_from(volume.size_gb).unwrap_or(u32::MAX),
        state: volume.state,
        attached_machine: volume.attached_machine_id,
        created_at: volume.created_at.map(|at| UnixMillis(at.as_millisecond())),
    }
}
