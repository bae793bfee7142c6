//! The shapes that the API answers with.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::world::config::Config;
use crate::world::image::ImageRef;
use crate::world::machine::Event;
use crate::world::{App, Machine, Snapshot, State, Volume, World};

/// `GET /v1/apps/{app}`
pub(super) fn app(world: &World, app: &App) -> Value {
    let machine_count = world.machine_count(&app.name);
    let network = if app.network.is_empty() { "default" } else { &app.network };
    let status = if machine_count == 0 { "pending" } else { "deployed" };
    json!({
        "id": app.id,
        "name": app.name,
        "internal_numeric_id": app.number,
        "status": status,
        "network": network,
        "network_cidr": app.network_cidr(),
        "machine_count": machine_count,
        "volume_count": world.volume_count(&app.name),
        "organization": {
            "name": app.org, "slug": app.org, "internal_numeric_id": app.org_number(),
        },
    })
}

/// A machine in full.
#[derive(Serialize)]
pub(super) struct MachineBody<'a> {
    id: &'a str,
    name: &'a str,
    state: State,
    region: &'a str,
    instance_id: &'a str,
    private_ip: String,
    image_ref: ImageBody<'a>,
    created_at: Timestamp,
    updated_at: Timestamp,
    cordoned: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<Value>,
    #[serde(flatten)]
    details: Option<Details<'a>>,
}

/// What a summary leaves out.
#[derive(Serialize)]
struct Details<'a> {
    config: &'a Config,
    incomplete_config: Option<Value>,
    events: &'a [Event],
    checks: [Value; 0],
    host_status: &'static str,
}

#[derive(Serialize)]
struct ImageBody<'a> {
    #[serde(flatten)]
    image: &'a ImageRef,
    labels: Option<Value>,
}

impl<'a> MachineBody<'a> {
    pub(super) fn full(machine: &'a Machine) -> Self {
        let details = Details {
            config: &machine.config,
            incomplete_config: None,
            events: &machine.events,
            checks: [],
            host_status: "ok",
        };
        Self { details: Some(details), ..Self::summary(machine) }
    }

    /// With the nonce of the lease that a creation came with.
    pub(super) fn with_nonce(self, nonce: Option<&'a str>) -> Self {
        Self { nonce, ..self }
    }

    /// With the lease, if it is asked for and there is one; never with its nonce.
    pub(super) fn with_lease(self, machine: &Machine, asked: bool) -> Self {
        let lease = machine.lease.as_ref().filter(|_| asked).map(|lease| {
            json!({
                "description": lease.description,
                "expires_at": lease.expires_at.as_second(),
                "owner": lease.owner,
            })
        });
        Self { lease, ..self }
    }

    pub(super) fn summary(machine: &'a Machine) -> Self {
        Self {
            id: &machine.id,
            name: &machine.name,
            state: machine.state,
            region: &machine.region,
            instance_id: &machine.version,
            private_ip: machine.private_ip.to_string(),
            image_ref: ImageBody { image: &machine.image, labels: None },
            created_at: machine.created_at,
            updated_at: machine.updated_at,
            cordoned: machine.cordoned,
            nonce: None,
            lease: None,
            details: None,
        }
    }
}

/// A machine in an organization-wide list.
#[derive(Serialize)]
pub(super) struct OrgMachine<'a> {
    id: &'a str,
    app_name: &'a str,
    name: &'a str,
    state: State,
    region: &'a str,
    version: &'a str,
    private_ip: String,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Overview<'a>>,
}

/// The part of a config that those lists show.
#[derive(Serialize)]
struct Overview<'a> {
    image: Option<&'a Value>,
    guest: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Value>,
}

impl<'a> OrgMachine<'a> {
    pub(super) fn new(machine: &'a Machine, summary: bool) -> Self {
        let member = |name: &str| machine.config.get(name);
        let overview = Overview {
            image: member("image"),
            guest: member("guest"),
            metadata: member("metadata").filter(|metadata| !metadata.is_null()),
        };
        Self {
            id: &machine.id,
            app_name: &machine.app,
            name: &machine.name,
            state: machine.state,
            region: &machine.region,
            version: &machine.version,
            private_ip: machine.private_ip.to_string(),
            created_at: machine.created_at,
            updated_at: machine.updated_at,
            config: (!summary).then_some(overview),
        }
    }
}

/// `GET …/volumes/{id}/snapshots`
pub(super) fn snapshot(snapshot: &Snapshot) -> Value {
    json!({
        "id": snapshot.id,
        "status": snapshot.status(),
        "size": snapshot.size.unwrap_or_default(),
        "volume_size": u64::from(snapshot.volume_size_gb) << 30,
        "digest": snapshot.digest(),
        "retention_days": snapshot.retention_days,
        "created_at": snapshot.created_at,
    })
}

/// A volume; organization-wide lists add the app and the time of the last change.
#[derive(Serialize)]
pub(super) struct VolumeBody<'a> {
    id: &'a str,
    name: &'a str,
    state: &'static str,
    size_gb: u32,
    region: &'a str,
    zone: &'a str,
    encrypted: bool,
    /// Null when free: clients take an empty text as attached.
    attached_machine_id: Option<&'a str>,
    attached_alloc_id: Option<&'a str>,
    created_at: Timestamp,
    fstype: &'a str,
    snapshot_retention: u32,
    auto_backup_enabled: bool,
    host_status: &'static str,
    host_dedication_key: &'static str,
    #[serde(flatten)]
    blocks: Option<Blocks>,
    #[serde(flatten)]
    place: Option<Place<'a>>,
}

/// Usage of the file system. A volume here is a folder of the host, so there is none to tell.
#[derive(Serialize, Default)]
struct Blocks {
    blocks: u64,
    block_size: u64,
    blocks_free: u64,
    blocks_avail: u64,
    bytes_used: u64,
    bytes_total: u64,
}

#[derive(Serialize)]
struct Place<'a> {
    app_name: &'a str,
    updated_at: Timestamp,
}

impl<'a> VolumeBody<'a> {
    pub(super) fn of_app(volume: &'a Volume, summary: bool) -> Self {
        let attached = volume.attached_machine_id.as_deref();
        Self {
            id: &volume.id,
            name: &volume.name,
            state: volume.state.name(),
            size_gb: volume.size_gb,
            region: &volume.region,
            zone: &volume.zone,
            encrypted: volume.encrypted,
            attached_machine_id: attached,
            attached_alloc_id: attached,
            created_at: volume.created_at,
            fstype: &volume.fstype,
            snapshot_retention: volume.snapshot_retention,
            auto_backup_enabled: volume.auto_backup_enabled,
            host_status: "ok",
            host_dedication_key: "",
            blocks: (!summary).then(Blocks::default),
            place: None,
        }
    }

    pub(super) fn of_org(volume: &'a Volume, summary: bool) -> Self {
        let place = Place { app_name: &volume.app, updated_at: volume.updated_at };
        Self { place: Some(place), ..Self::of_app(volume, summary) }
    }
}
