//! A test-only model of the platform, and of a controller that keeps nothing but its objects.
//!
//! ```text
//!   look (perhaps late, perhaps with a region missing) ─▶ plan ─▶ carry out (perhaps failing) ─▶ time passes
//! ```
//!
//! The model refuses what the platform refuses, and panics at what a planner must never ask for.

pub(crate) mod secrets;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use vault_plan::action::{Action, Plan, PlannedAction, VolumeSource};
use vault_plan::metadata::{Marks, VOLUME_GB};
use vault_plan::observed::{
    ObservedMachine, ObservedOrganization, ObservedSnapshot, ObservedVolume, PlatformState,
};
use vault_plan::time::UnixMillis;

use secrets::Secrets;

/// How long one step takes, in milliseconds.
pub(crate) const STEP_MS: i64 = 10_000;

/// Where a machine goes when its passing state ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Rest,
    Started,
    Stopped,
    Suspended,
    Gone,
}

#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) row: ObservedMachine,
    pub(crate) config: Map<String, Value>,
    /// The secret that it read when it last started.
    pub(crate) secret: Option<String>,
    /// How much of its volume it sees.
    pub(crate) sees_gb: Option<u32>,
    next: Next,
}

/// One organization of the platform.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) now: UnixMillis,
    pub(crate) apps: BTreeSet<String>,
    pub(crate) machines: BTreeMap<String, Machine>,
    pub(crate) volumes: BTreeMap<String, ObservedVolume>,
    pub(crate) secrets: Secrets,
    /// Machines that ran and do not, by our doing: app, name and tenant. One that is made anew
    /// stays here until its successor runs.
    pub(crate) down: BTreeSet<(String, String, String)>,
    /// Snapshots by the volumes' ids.
    pub(crate) snapshots: BTreeMap<String, Vec<ObservedSnapshot>>,
    /// What was last written to a volume, by its id, and what a snapshot holds, by its own.
    data: BTreeMap<String, u64>,
    /// What was last written to a volume of this app and name.
    latest: BTreeMap<(String, String), u64>,
    /// Apps and names of volumes of which nobody can tell any more which one has the data: the
    /// memory was lost while a younger one than it was there.
    unknowable: BTreeSet<(String, String)>,
    /// The ids of volumes, and the names of apps, that were deleted for good.
    pub(crate) deleted_volumes: Vec<String>,
    pub(crate) deleted_apps: Vec<String>,
    serial: u64,
}

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Works,
    FailsBefore,
    AnswerLost,
}

impl World {
    /// The whole truth, as lists show it.
    pub(crate) fn lists(&self) -> ObservedOrganization {
        ObservedOrganization {
            apps: self.apps.iter().cloned().collect(),
            machines: self.machines.values().map(|machine| machine.row.clone()).collect(),
            volumes: self.volumes.values().cloned().collect(),
            ..ObservedOrganization::default()
        }
    }

    /// Puts a machine there that nobody of us made.
    pub(crate) fn place(&mut self, app: &str, name: &str, marks: &[(&str, &str)]) {
        self.apps.insert(app.to_owned());
        let marks: Map<String, Value> =
            marks.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
        let config = serde_json::json!({"image": "foreign", "metadata": marks});
        let Value::Object(config) = config else { unreachable!() };
        let id = self.new_machine(app, name, "ord", config, false);
        self.set(&id, PlatformState::Started, Next::Rest);
    }

    /// Time passes: what was on its way arrives, and claims of machines that are gone end.
    pub(crate) fn step(&mut self) {
        self.now = self.now.plus_ms(STEP_MS);
        for volume in self.volumes.values_mut() {
            let holder = volume.attached_machine.as_ref();
            if holder.is_some_and(|id| !self.machines.contains_key(id)) {
                volume.attached_machine = None;
            }
        }
        for id in self.machines.keys().cloned().collect::<Vec<_>>() {
            match self.machines[&id].next {
                Next::Rest => {}
                Next::Started => self.set(&id, PlatformState::Started, Next::Rest),
                Next::Stopped => self.set(&id, PlatformState::Stopped, Next::Rest),
                Next::Suspended => self.set(&id, PlatformState::Suspended, Next::Rest),
                Next::Gone => drop(self.machines.remove(&id)),
            }
        }
        for snapshot in self.snapshots.values_mut().flatten() {
            "created".clone_into(&mut snapshot.status);
        }
        for volume in self.volumes.values_mut() {
            "created".clone_into(&mut volume.state);
        }
    }

    /// What is down of a tenant is no longer down by our doing.
    pub(crate) fn excuse(&mut self, tenant: &str) {
        self.down.retain(|(_, _, of)| of != tenant);
    }

    /// What is gone and was to be made anew: nobody remembers it any more, or wants it, but for
    /// those that are still `wanted`.
    pub(crate) fn forget_what_is_gone(&mut self, wanted: &BTreeSet<String>) {
        let rows = || self.machines.values().map(|machine| &machine.row);
        let there: BTreeSet<(String, String)> =
            rows().map(|row| (row.app.clone(), row.name.clone())).collect();
        self.down.retain(|(app, name, _)| {
            wanted.contains(name) || there.contains(&(app.clone(), name.clone()))
        });
    }

    /// What was remembered of who ran last is lost: the youngest volume of a name has to be taken,
    /// whether it has the data or not.
    pub(crate) fn forget_who_ran_last(&mut self) {
        let mut youngest: BTreeMap<(String, String), &ObservedVolume> = BTreeMap::new();
        for volume in self.volumes.values() {
            let slot = (volume.app.clone(), volume.name.clone());
            let known = youngest.entry(slot).or_insert(volume);
            if known.created_at < volume.created_at {
                *known = volume;
            }
        }
        let or_none = |known: Option<&u64>| known.copied().unwrap_or(0);
        let stale = youngest.into_iter().filter(|(slot, volume)| {
            or_none(self.data.get(&volume.id)) != or_none(self.latest.get(slot))
        });
        self.unknowable.extend(stale.map(|(slot, _)| slot));
    }

    /// A running machine's program ends.
    pub(crate) fn crash(&mut self, which: usize) {
        let running = self.machines.values().filter(|machine| {
            machine.row.state == PlatformState::Started
                && machine.row.image.as_deref() != Some("foreign")
        });
        let ids: Vec<String> = running.map(|machine| machine.row.id.clone()).collect();
        if let Some(id) = ids.get(which % ids.len().max(1)) {
            self.set(id, PlatformState::Stopped, Next::Rest);
        }
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.machines.values().all(|machine| machine.next == Next::Rest)
            && self.volumes.values().all(|volume| {
                let holder = volume.attached_machine.as_ref();
                holder.is_none_or(|id| self.machines.contains_key(id))
            })
    }

    /// Carries a plan out; the tenants that something was sent for, and those whose turn failed.
    pub(crate) fn carry_out(
        &mut self,
        plan: Plan,
        mut fate: impl FnMut() -> Fate,
        mut on_disruption: impl FnMut(&Self, &PlannedAction),
    ) -> (BTreeSet<String>, BTreeSet<String>) {
        let (mut sent, mut failed) = (BTreeSet::new(), BTreeSet::new());
        let mut made = BTreeMap::new();
        for planned in plan.actions {
            let tenant = planned.tenant.to_string();
            if failed.contains(&tenant) {
                continue;
            }
            let fate = fate();
            if fate == Fate::FailsBefore {
                failed.insert(tenant);
                continue;
            }
            sent.insert(tenant.clone());
            let down_before = self.down.len();
            let done = self.act(&planned, &mut made);
            if self.down.len() > down_before {
                on_disruption(self, &planned);
            }
            if fate == Fate::AnswerLost || done.is_err() {
                failed.insert(tenant);
            } else {
                let name = match &planned.action {
                    Action::SetSecret(set) => &set.name,
                    Action::RemoveSecret(remove) => &remove.name,
                    _ => continue,
                };
                self.secrets.answered(&secrets::key(&planned.app, name));
            }
        }
        (sent, failed)
    }

    fn act(
        &mut self,
        planned: &PlannedAction,
        made: &mut BTreeMap<String, String>,
    ) -> Result<(), &'static str> {
        let app = &planned.app;
        match &planned.action {
            Action::CreateApp => {
                self.apps.insert(app.clone());
            }
            Action::SetSecret(set) => {
                self.app_is_there(app)?;
                self.secrets.set(&secrets::key(app, &set.name), &set.hash);
            }
            Action::RemoveSecret(remove) => self.secrets.remove(&secrets::key(app, &remove.name)),
            Action::CreateVolume(create) => {
                self.app_is_there(app)?;
                let id = format!("vol_{}", self.new_serial());
                made.insert(create.name.clone(), id.clone());
                let volume = ObservedVolume {
                    id: id.clone(),
                    name: create.name.clone(),
                    app: app.clone(),
                    region: create.region.to_string(),
                    size_gb: create.size_gb,
                    state: "creating".to_owned(),
                    attached_machine: None,
                    created_at: Some(self.now),
                };
                if let Some(snapshot) = &create.snapshot {
                    let done = |known: &ObservedSnapshot| {
                        known.id == *snapshot && known.status == "created"
                    };
                    assert!(self.snapshots.values().flatten().any(done), "a finished snapshot");
                    self.data.insert(id.clone(), self.data[snapshot]);
                }
                self.volumes.insert(id, volume);
            }
            Action::ExtendVolume(extend) => {
                self.target(&extend.machine.id, app)?;
                let restart = self.new_serial().is_multiple_of(2);
                let volume = self.volumes.get_mut(&extend.id).unwrap();
                assert_eq!(volume.name, extend.name);
                if volume.size_gb >= extend.size_gb {
                    return Err("it is large enough");
                }
                volume.size_gb = extend.size_gb;
                let machine = self.machines.get_mut(&extend.machine.id).unwrap();
                if !restart {
                    machine.sees_gb = Some(extend.size_gb);
                }
                if let Some(mark) = extend.mark(restart) {
                    machine.row.metadata.insert(VOLUME_GB.to_owned(), mark.to_string());
                }
            }
            Action::SnapshotVolume(snapshot) => {
                let id = format!("vs_{}", self.new_serial());
                let (status, created_at) = ("pending".to_owned(), Some(self.now));
                self.data.insert(id.clone(), self.data.get(&snapshot.id).copied().unwrap_or(0));
                let snapshots = self.snapshots.entry(snapshot.id.clone()).or_default();
                snapshots.push(ObservedSnapshot { id, status, created_at });
            }
            Action::CreateMachine(create) => {
                self.app_is_there(app)?;
                let mut named = self.machines.values();
                if named.any(|machine| machine.row.app == *app && machine.row.name == create.name) {
                    // The platform names the machine that is there, which is as good as an answer.
                    return Ok(());
                }
                let volume = match &create.config.volume {
                    Some(VolumeSource::Existing(id)) => Some(id.clone()),
                    Some(VolumeSource::Planned(name)) => Some(made[name].clone()),
                    None => None,
                };
                self.claim(volume.as_deref(), app, &create.region)?;
                let config = create.config.clone().complete("intent", volume.as_deref());
                let skip = create.skip_launch;
                let id = self.new_machine(app, &create.name, &create.region, config, skip);
                if let Some(volume) = volume.and_then(|volume| self.volumes.get_mut(&volume)) {
                    volume.attached_machine = Some(id);
                }
            }
            Action::UpdateMachine(update) => {
                let id = &update.machine.id;
                let state = self.target(id, app)?;
                if update.current_version != self.machines[id].row.version {
                    return Err("the version is another");
                }
                let volume = match &update.config.volume {
                    None => None,
                    Some(VolumeSource::Existing(volume)) => Some(volume.as_str()),
                    Some(planned) => panic!("an update cannot mount a new volume: {planned:?}"),
                };
                let config = update.config.clone().complete("intent", volume);
                let mount = config.get("mounts").and_then(|mounts| mounts[0]["volume"].as_str());
                let attached = self
                    .volumes
                    .values()
                    .find(|volume| volume.attached_machine.as_ref() == Some(id));
                assert_eq!(mount, attached.map(|volume| volume.id.as_str()), "mounts never change");
                if state == PlatformState::Started {
                    self.take_down(id);
                }
                let version = format!("version-{}", self.new_serial());
                let machine = self.machines.get_mut(id).unwrap();
                machine.row.version = Some(version);
                machine.rewrite(config);
                let runs = state == PlatformState::Started && !update.skip_launch;
                let next = if runs { Next::Started } else { Next::Stopped };
                self.set(id, PlatformState::Replacing, next);
            }
            Action::StartMachine(machine) => {
                self.target(&machine.id, app)?;
                self.set(&machine.id, PlatformState::Starting, Next::Started);
            }
            Action::StopMachine(machine) => {
                let state = self.target(&machine.id, app)?;
                // What a person asks for by name, or by `state: Stopped`, is not a disruption.
                let reason = &planned.reason;
                let ours = ["no longer asks", "made anew", "to be moved"];
                if state == PlatformState::Started && ours.iter().any(|why| reason.contains(why)) {
                    self.take_down(&machine.id);
                }
                self.set(&machine.id, PlatformState::Stopping, Next::Stopped);
            }
            Action::SuspendMachine(machine) => {
                let state = self.target(&machine.id, app)?;
                if state != PlatformState::Started {
                    return Err("only what runs is suspended");
                }
                self.set(&machine.id, PlatformState::Suspending, Next::Suspended);
            }
            Action::DeleteMachine(machine) => {
                let state = self.target(&machine.id, app)?;
                if state == PlatformState::Started {
                    return Err("it is running");
                }
                if planned.reason.contains("no longer asks") {
                    self.down.remove(&self.key(&machine.id));
                }
                self.set(&machine.id, PlatformState::Destroying, Next::Gone);
            }
            Action::MintToken(_) | Action::RevokeToken(_) => {
                panic!("no manifest of this model asks for tokens")
            }
            Action::CreateBucket(_)
            | Action::CreateAccessKey(_)
            | Action::RevokeAccessKey(_)
            | Action::PutBucketPolicy(_)
            | Action::RemoveBucketPolicy(_)
            | Action::EmptyBucket(_)
            | Action::DeleteBucket(_) => {
                panic!("no manifest of this model asks for buckets")
            }
            Action::DeleteVolume(delete) => {
                let Some(volume) = self.volumes.get(&delete.id) else { return Ok(()) };
                assert_eq!((&volume.name, &volume.app), (&delete.name, app));
                if volume.attached_machine.is_some() {
                    return Err("it is attached");
                }
                self.volumes.remove(&delete.id);
                // What a move left behind is what there is now.
                let others = self.volumes.values();
                let others = others.filter(|one| one.app == *app && one.name == delete.name);
                let slot = (app.clone(), delete.name.clone());
                // Of several the one that was in use last is to be taken; what it holds was written
                // last of them all.
                let left = others.map(|one| self.data.get(&one.id).copied().unwrap_or(0)).max();
                match left {
                    Some(data) => drop(self.latest.insert(slot, data)),
                    None => drop(self.latest.remove(&slot)),
                }
                self.deleted_volumes.push(delete.id.clone());
            }
            Action::DeleteApp => {
                // Whoever carries this out asks for everything in the app first.
                let in_app = |place: &str| place == app;
                if self.machines.values().any(|machine| in_app(&machine.row.app))
                    || self.volumes.values().any(|volume| in_app(&volume.app))
                {
                    return Err("it holds something");
                }
                self.apps.remove(app);
                self.secrets.app_is_gone(app);
                self.deleted_apps.push(app.clone());
            }
        }
        Ok(())
    }

    /// The state of a machine that is to be changed: never one of others.
    fn target(&self, id: &str, app: &str) -> Result<PlatformState, &'static str> {
        let machine = self.machines.get(id).ok_or("it is gone")?;
        assert_eq!(machine.row.app, app, "the action names the machine's app");
        assert_ne!(machine.row.image.as_deref(), Some("foreign"), "machines of others stay");
        assert!(Marks::read(&machine.row.metadata).controller.is_some());
        match machine.next {
            Next::Rest => Ok(machine.row.state.clone()),
            _ => Err("it is on its way"),
        }
    }

    fn app_is_there(&self, app: &str) -> Result<(), &'static str> {
        self.apps.contains(app).then_some(()).ok_or("there is no such app")
    }

    fn claim(&self, volume: Option<&str>, app: &str, region: &str) -> Result<(), &'static str> {
        let Some(volume) = volume.map(|id| &self.volumes[id]) else { return Ok(()) };
        assert_eq!((volume.app.as_str(), volume.region.as_str()), (app, region));
        let is_free = volume.attached_machine.is_none();
        is_free.then_some(()).ok_or("the volume is claimed by another machine")
    }

    fn new_machine(
        &mut self,
        app: &str,
        name: &str,
        region: &str,
        config: Map<String, Value>,
        skip_launch: bool,
    ) -> String {
        let serial = self.new_serial();
        let id = format!("{serial:014x}");
        let row = ObservedMachine {
            id: id.clone(),
            name: name.to_owned(),
            app: app.to_owned(),
            state: PlatformState::Created,
            region: region.to_owned(),
            version: Some(format!("version-{serial}")),
            private_ip: None,
            image: None,
            guest: Map::new(),
            metadata: BTreeMap::new(),
            updated_at: Some(self.now),
        };
        let next = if skip_launch { Next::Stopped } else { Next::Started };
        let mut machine = Machine { row, config: Map::new(), secret: None, sees_gb: None, next };
        machine.rewrite(config);
        self.machines.insert(id.clone(), machine);
        id
    }

    fn set(&mut self, id: &str, state: PlatformState, next: Next) {
        if state == PlatformState::Started {
            self.down.remove(&self.key(id));
            self.write_data(id);
        }
        let machine = self.machines.get_mut(id).unwrap();
        if state == PlatformState::Started {
            let is_ours = machine.row.image.as_deref() != Some("foreign");
            let secret = || self.secrets.read(&machine.row.app, &machine.config);
            machine.secret = is_ours.then(secret).flatten();
        }
        machine.row.state = state;
        machine.row.updated_at = Some(self.now);
        machine.next = next;
    }

    /// The snapshots of each volume; of most there are none.
    pub(crate) fn snapshots_of_all(&self) -> BTreeMap<String, Vec<ObservedSnapshot>> {
        let known = |id: &String| self.snapshots.get(id).cloned().unwrap_or_default();
        self.volumes.keys().map(|id| (id.clone(), known(id))).collect()
    }

    fn key(&self, id: &str) -> (String, String, String) {
        let row = &self.machines[id].row;
        let tenant = Marks::read(&row.metadata).tenant.unwrap_or_default();
        (row.app.clone(), row.name.clone(), tenant.to_owned())
    }

    fn take_down(&mut self, id: &str) {
        self.down.insert(self.key(id));
    }

    /// A program starts: it finds what the program before it left on its volume, and writes.
    fn write_data(&mut self, id: &str) {
        let serial = self.new_serial();
        let mut held = self.volumes.values();
        let Some(volume) = held.find(|volume| volume.attached_machine.as_deref() == Some(id))
        else {
            return;
        };
        let slot = (volume.app.clone(), volume.name.clone());
        let or_none = |known: Option<&u64>| known.copied().unwrap_or(0);
        let (found, left) = (or_none(self.data.get(&volume.id)), or_none(self.latest.get(&slot)));
        let unknowable = self.unknowable.contains(&slot);
        assert!(found == left || unknowable, "machine {id} starts on what was last written");
        self.machines.get_mut(id).unwrap().sees_gb = Some(volume.size_gb);
        self.data.insert(volume.id.clone(), serial);
        self.latest.insert(slot, serial);
    }

    fn new_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }
}

impl Machine {
    /// Shows a new config, with a guest filled in where none was asked for.
    fn rewrite(&mut self, config: Map<String, Value>) {
        self.row.image = config.get("image").and_then(Value::as_str).map(str::to_owned);
        self.row.guest =
            config.get("guest").and_then(Value::as_object).cloned().unwrap_or_default();
        for (key, value) in
            [("cpu_kind", "shared".into()), ("cpus", 1.into()), ("memory_mb", 256.into())]
        {
            self.row.guest.entry(key).or_insert(value);
        }
        let metadata = config.get("metadata").and_then(Value::as_object);
        let entries = metadata.into_iter().flatten();
        self.row.metadata = entries
            .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect();
        self.config = config;
    }
}
