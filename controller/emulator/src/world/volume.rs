//! Volumes: storage in one region, claimed by at most one machine, deleted softly.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::world::error::Refusal;
use crate::world::ids::number_of;
use crate::world::snapshot::CopyFrom;
use crate::world::table::Row;
use crate::world::{Effect, World, region};

/// Gigabytes of a volume that names none.
const DEFAULT_SIZE_GB: u32 = 3;
/// The largest volume, in gigabytes.
const MAX_SIZE_GB: u32 = 500;
/// Days that snapshots are kept, if the request does not say.
const DEFAULT_SNAPSHOT_RETENTION: u32 = 5;
/// The longest snapshot retention, in days.
const MAX_SNAPSHOT_RETENTION: u32 = 60;
/// Longest volume name.
const LONGEST_NAME: usize = 30;
/// Volumes per organization: more than a machine can serve, less than its memory.
const MAX_VOLUMES: usize = 50_000;
/// How long a deleted volume lies in `pending_destroy`.
pub const PENDING_DESTROY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a destroyed volume is shown to lists that include deleted ones.
const DESTROYED_SHOWN: Duration = Duration::from_secs(10 * 60);

/// A volume's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeState {
    /// Being made.
    Creating,
    /// Being filled from a snapshot.
    Restoring,
    /// Being filled from another volume; can be mounted already.
    Hydrating,
    /// Usable.
    Created,
    /// Usable, and being made larger.
    Extending,
    /// Deletion was asked for.
    SchedulingDestroy,
    /// Deleted; the files go after [`PENDING_DESTROY`].
    PendingDestroy,
    /// Gone; remembered for a while.
    Destroyed,
}

impl VolumeState {
    /// The state's name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Restoring => "restoring",
            Self::Hydrating => "hydrating",
            Self::Created => "created",
            Self::Extending => "extending",
            Self::SchedulingDestroy => "scheduling_destroy",
            Self::PendingDestroy => "pending_destroy",
            Self::Destroyed => "destroyed",
        }
    }

    /// Whether a machine can be made with the volume.
    pub(crate) const fn is_usable(self) -> bool {
        // Copies are made before the next launch, so that a machine never meets half of one.
        matches!(
            self,
            Self::Creating | Self::Restoring | Self::Hydrating | Self::Created | Self::Extending
        )
    }
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// `vol_` and 16 characters.
    pub id: String,
    /// Not unique.
    pub name: String,
    /// The app's name.
    pub app: String,
    /// The organization's slug.
    pub org: String,
    /// The region's code.
    pub region: String,
    /// The hardware that holds it: four hexadecimal digits.
    pub zone: String,
    /// Gigabytes.
    pub size_gb: u32,
    /// Encrypted at rest; only echoed here.
    pub encrypted: bool,
    /// `ext4` or `raw`; only echoed here.
    pub fstype: String,
    /// Days.
    pub snapshot_retention: u32,
    /// Daily snapshots; only echoed here.
    pub auto_backup_enabled: bool,
    /// The state.
    pub state: VolumeState,
    /// The machine that has claimed it.
    pub attached_machine_id: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed; no two changes share a stamp.
    pub updated_at: Timestamp,
    /// When the clock moves it on, if it does.
    pub due: Option<Timestamp>,
    /// What it is being filled from, until that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<CopyFrom>,
}

impl Row for Volume {
    fn key(&self) -> &str {
        &self.id
    }

    fn org(&self) -> &str {
        &self.org
    }

    fn group(&self) -> &str {
        &self.app
    }

    fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.due
    }
}

/// What `POST …/volumes` asks for.
#[derive(Clone, Debug, Default)]
pub struct NewVolume {
    /// The name; required.
    pub name: String,
    /// A code, an alias or a list; see [`region::choose`].
    pub region: Option<String>,
    /// Gigabytes.
    pub size_gb: Option<u32>,
    /// Encrypted at rest.
    pub encrypted: Option<bool>,
    /// `ext4` or `raw`.
    pub fstype: Option<String>,
    /// Days, 1 to 60.
    pub snapshot_retention: Option<u32>,
    /// Daily snapshots.
    pub auto_backup_enabled: Option<bool>,
    /// A snapshot or a volume to begin with.
    pub from: Option<CopyFrom>,
}

/// What `PUT …/volumes/{id}` asks for; what is absent stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct VolumeSettings {
    /// Days, 1 to 60.
    pub snapshot_retention: Option<u32>,
    /// Daily snapshots.
    pub auto_backup_enabled: Option<bool>,
}

impl World {
    /// Creates a volume in an app.
    ///
    /// # Errors
    /// An unknown app or region, a malformed name, a size or retention out of range, a source that
    /// is missing or larger, a full organization.
    pub fn create_volume(
        &mut self,
        now: Timestamp,
        app: &str,
        new: NewVolume,
    ) -> Result<Volume, Refusal> {
        let org = self.open_app(app)?.org.clone();
        check(&new)?;
        let source_gb = self.source_size(&org, app, new.from.as_ref())?;
        let size_gb = new.size_gb.or(source_gb).unwrap_or(DEFAULT_SIZE_GB);
        if source_gb.is_some_and(|source| size_gb < source) {
            let least = source_gb.unwrap_or_default();
            let text = format!("size_gb must be at least the source's {least}");
            return Err(Refusal::invalid(text));
        }
        let region = region::choose(new.region.as_deref(), None)?;
        if self.volumes.count(&org) >= MAX_VOLUMES {
            return Err(Refusal::LimitReached("volume"));
        }
        let id = self.ids.volume();
        let stamp = self.ids.stamp(now);
        let volume = Volume {
            zone: format!("{:04x}", number_of(&id) & 0xffff),
            id,
            name: new.name,
            app: app.to_owned(),
            org,
            region,
            size_gb,
            encrypted: new.encrypted.unwrap_or(true),
            fstype: new.fstype.filter(|kind| !kind.is_empty()).unwrap_or_else(|| "ext4".to_owned()),
            snapshot_retention: new.snapshot_retention.unwrap_or(DEFAULT_SNAPSHOT_RETENTION),
            auto_backup_enabled: new.auto_backup_enabled.unwrap_or(true),
            state: VolumeState::Creating,
            attached_machine_id: None,
            created_at: stamp,
            updated_at: stamp,
            due: Some(now),
            from: new.from,
        };
        self.volumes.insert(volume.clone());
        Ok(volume)
    }

    /// A volume of an app.
    ///
    /// # Errors
    /// [`Refusal::VolumeNotFound`].
    pub fn volume(&self, app: &str, id: &str) -> Result<&Volume, Refusal> {
        let volume = self.volumes.row(id).filter(|volume| volume.app == app);
        volume
            .filter(|volume| volume.state != VolumeState::Destroyed)
            .ok_or(Refusal::VolumeNotFound)
    }

    /// Deletes a volume softly: it stays listed as `pending_destroy` for a day.
    ///
    /// # Errors
    /// [`Refusal::VolumeNotFound`], or [`Refusal::VolumeBound`] while a machine has it.
    pub fn delete_volume(
        &mut self,
        now: Timestamp,
        app: &str,
        id: &str,
    ) -> Result<Volume, Refusal> {
        if let Some(machine) = &self.volume(app, id)?.attached_machine_id {
            return Err(Refusal::VolumeBound(machine.clone()));
        }
        self.change_volume(now, id, |volume| {
            if volume.state.is_usable() {
                volume.state = VolumeState::SchedulingDestroy;
                volume.due = Some(now);
            }
            volume.clone()
        })
    }

    /// Makes a volume larger.
    ///
    /// # Errors
    /// [`Refusal::VolumeNotFound`], a size that does not grow or is too large, a volume being
    /// destroyed.
    pub fn extend_volume(
        &mut self,
        now: Timestamp,
        app: &str,
        id: &str,
        size_gb: u32,
    ) -> Result<Volume, Refusal> {
        let volume = self.volume(app, id)?;
        if !volume.state.is_usable() {
            return Err(Refusal::VolumeGoing(volume.id.clone()));
        }
        if size_gb <= volume.size_gb || size_gb > MAX_SIZE_GB {
            return Err(Refusal::invalid(format!(
                "size_gb must be greater than the current {} and at most {MAX_SIZE_GB}",
                volume.size_gb
            )));
        }
        self.change_volume(now, id, |volume| {
            volume.size_gb = size_gb;
            // One that is still being made becomes what it becomes, in its new size.
            if volume.state == VolumeState::Created {
                volume.state = VolumeState::Extending;
                volume.due = Some(now);
            }
            volume.clone()
        })
    }

    /// Changes how a volume is backed up.
    ///
    /// # Errors
    /// [`Refusal::VolumeNotFound`], a retention out of range.
    pub fn update_volume(
        &mut self,
        now: Timestamp,
        (app, id): (&str, &str),
        settings: VolumeSettings,
    ) -> Result<Volume, Refusal> {
        self.volume(app, id)?;
        check_retention(settings.snapshot_retention)?;
        self.change_volume(now, id, |volume| {
            let VolumeSettings { snapshot_retention, auto_backup_enabled } = settings;
            volume.snapshot_retention = snapshot_retention.unwrap_or(volume.snapshot_retention);
            volume.auto_backup_enabled = auto_backup_enabled.unwrap_or(volume.auto_backup_enabled);
            volume.clone()
        })
    }

    /// Whether a machine of `app` may claim the volume.
    pub(crate) fn claimable(&self, app: &str, id: &str) -> Result<&Volume, Refusal> {
        let volume =
            self.volume(app, id).map_err(|_| Refusal::invalid(format!("volume {id} not found")))?;
        match &volume.attached_machine_id {
            Some(machine) => Err(Refusal::VolumeClaimed(machine.clone())),
            None if volume.state.is_usable() => Ok(volume),
            None => Err(Refusal::VolumeGoing(id.to_owned())),
        }
    }

    /// Sets or clears the claim.
    pub(crate) fn attach(&mut self, now: Timestamp, id: &str, machine: Option<String>) {
        // A missing volume went with its app, and the claim with it.
        let _gone = self.change_volume(now, id, |volume| volume.attached_machine_id = machine);
    }

    /// The clock's part of a volume's life.
    pub(crate) fn volume_due(&mut self, now: Timestamp, id: &str) {
        let Some(state) = self.volumes.row(id).map(|volume| volume.state) else {
            return;
        };
        let (next, due) = match state {
            VolumeState::Creating => (self.begin_filling(id), None),
            VolumeState::Extending => (VolumeState::Created, None),
            VolumeState::Created | VolumeState::Restoring | VolumeState::Hydrating => (state, None),
            VolumeState::SchedulingDestroy => {
                (VolumeState::PendingDestroy, Some(now + PENDING_DESTROY))
            }
            VolumeState::PendingDestroy => {
                self.effects.push(Effect::RemoveVolume { volume_id: id.to_owned() });
                (VolumeState::Destroyed, Some(now + DESTROYED_SHOWN))
            }
            VolumeState::Destroyed => {
                self.volumes.remove(id);
                return;
            }
        };
        let _known = self.change_volume(now, id, |volume| {
            volume.state = next;
            volume.due = due;
        });
    }

    pub(crate) fn change_volume<R>(
        &mut self,
        now: Timestamp,
        id: &str,
        change: impl FnOnce(&mut Volume) -> R,
    ) -> Result<R, Refusal> {
        let stamp = self.ids.stamp(now);
        let changed = self.volumes.change(id, |volume| {
            volume.updated_at = stamp;
            change(volume)
        });
        changed.ok_or(Refusal::VolumeNotFound)
    }
}

fn check(new: &NewVolume) -> Result<(), Refusal> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if new.name.is_empty() || new.name.len() > LONGEST_NAME || !new.name.bytes().all(allowed) {
        return Err(Refusal::invalid(format!(
            "invalid volume name {:?}: 1 to {LONGEST_NAME} letters, digits, _ and -",
            new.name
        )));
    }
    if new.size_gb.is_some_and(|size| size == 0 || size > MAX_SIZE_GB) {
        return Err(Refusal::invalid(format!("size_gb must be between 1 and {MAX_SIZE_GB}")));
    }
    check_retention(new.snapshot_retention)?;
    match new.fstype.as_deref() {
        None | Some("" | "ext4" | "raw") => Ok(()),
        Some(other) => Err(Refusal::invalid(format!("fstype {other:?} is neither ext4 nor raw"))),
    }
}

fn check_retention(days: Option<u32>) -> Result<(), Refusal> {
    if days.is_some_and(|days| !(1..=MAX_SNAPSHOT_RETENTION).contains(&days)) {
        return Err(Refusal::invalid(format!(
            "snapshot_retention must be between 1 and {MAX_SNAPSHOT_RETENTION}"
        )));
    }
    Ok(())
}
