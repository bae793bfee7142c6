//! What the platform reported, and what it failed to report.
//!
//! Absence proves something only in a list that is whole. A list that is not, and why, stands in
//! [`Gaps`]; the planner then neither creates nor deletes what could be hidden in the gap.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::bucket::ObservedStorage;
use crate::history::LastUsed;
use crate::time::UnixMillis;
use crate::token::ObservedTokens;
use crate::tombstone::Tombstone;

/// Everything that one look at the platform, and the memory of earlier looks, yielded.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// One entry per organization that was looked at. An organization that is missing here could
    /// not be read, and its tenants are left alone.
    pub organizations: BTreeMap<String, ObservedOrganization>,
    /// Tenants that must not be acted upon yet.
    pub holds: BTreeMap<String, Hold>,
    /// What is known of the secrets of apps, by the apps' names. It comes from memory and from
    /// looks at a few apps at a time: no list shows secrets.
    pub secrets: BTreeMap<String, ObservedSecrets>,
    /// The snapshots of volumes that are being moved, by the volumes' ids: see
    /// [`crate::needs_snapshots`]. Nothing is known of those that are missing here.
    pub snapshots: BTreeMap<String, Vec<ObservedSnapshot>>,
    /// When machines last ran on the volumes of tenants that may have to choose among several of one
    /// name: see [`crate::needs_history`]. Where nothing is remembered, the youngest counts.
    pub last_used: LastUsed,
    /// Machines that were taken down in order to be made anew and are not ready yet, by tenant and
    /// name. Without this memory, one that is gone for a moment would not count as down.
    pub replacing: BTreeSet<(String, String)>,
    /// What is known of deploy tokens. It comes from memory, and from lists that are read only now
    /// and then.
    pub tokens: ObservedTokens,
    /// What is known of buckets and the keys to them.
    pub storage: ObservedStorage,
    /// The tombstones that stand, and those that ended lately. What is missing here is kept: nothing
    /// is deleted without one.
    pub tombstones: Vec<Tombstone>,
    /// Members of machines' configs that somebody else changed, by the machines' ids, as far as
    /// whole configs were read: see [`crate::edited_members`].
    pub edits: BTreeMap<String, Vec<String>>,
    /// Tenants that were Ready since their spec and their class's last changed.
    pub reached: BTreeSet<String>,
    /// `organizations` are all that the platform's token covers, and not only those of tenants.
    pub all_organizations: bool,
}

/// What is known of the secrets of one app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedSecrets {
    /// The version of the app's secrets that our last write made; a host that knows an older one
    /// would start machines without what we wrote.
    pub version: Option<u64>,
    /// What is known of each, by its name; nothing of those that are missing here.
    pub states: BTreeMap<String, SecretState>,
}

/// What is known of one secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretState {
    /// We set it, and nobody has changed it since, as far as was seen.
    Set {
        /// The hash of what it was set to; see [`crate::desired::DesiredSecret::hash`].
        hash: String,
    },
    /// Somebody else has set it since.
    Changed,
    /// Somebody else has removed it.
    Missing,
    /// We set or removed it, and no answer came, or nobody has watched over it since: it may be what it
    /// was, or not.
    Unsure,
}

/// The apps, machines and volumes of one organization.
#[derive(Clone, Debug, Default)]
pub struct ObservedOrganization {
    /// Its id, as identity tokens write it, if the platform says.
    pub id: Option<String>,
    /// The names of its apps.
    pub apps: Vec<String>,
    /// The ids of its apps by name, as far as the platform says. A name can be taken again, an id
    /// cannot.
    pub app_ids: BTreeMap<String, String>,
    /// Machines that are not destroyed, of all apps.
    pub machines: Vec<ObservedMachine>,
    /// Volumes that are not being destroyed, of all apps.
    pub volumes: Vec<ObservedVolume>,
    /// What is missing from the lists.
    pub gaps: Gaps,
}

/// Why a list is not the whole truth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Regions whose machines are missing (`error_regions` of the platform's answer).
    pub regions: BTreeSet<String>,
    /// Any other reason, as a sentence: rows that could not be read, or many things gone at once.
    pub unclear: Option<String>,
    /// Apps that hold volumes which no list shows, or may do so, by their names. Names of volumes
    /// are not unique, so a second one would not be refused.
    pub volumes: BTreeMap<String, VolumeGap>,
}

/// Why it is not known which volumes an app has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeGap {
    /// The list of apps counts this many, and the lists of volumes show fewer.
    Counted(u64),
    /// The app's own list could not be read, for this reason.
    Unread(String),
}

impl VolumeGap {
    /// The same as a sentence, about an app.
    #[must_use]
    pub fn sentence(&self, app: &str) -> String {
        match self {
            Self::Counted(count) => format!(
                "the platform counts {count} volumes in app {app} and its lists show fewer, so the \
                 one with the data may be hidden"
            ),
            Self::Unread(why) => format!("the volumes of app {app} could not be read: {why}"),
        }
    }
}

impl Gaps {
    /// Why nothing may be concluded from absence in some region; `None` for lists that are whole.
    #[must_use]
    pub fn any(&self) -> Option<String> {
        let region = self.regions.iter().next();
        region.map_or_else(|| self.unclear.clone(), |region| self.hides(region))
    }

    /// Why nothing may be concluded from absence in `region`; `None` where absence is proof.
    #[must_use]
    pub fn hides(&self, region: &str) -> Option<String> {
        if self.regions.contains(region) {
            return Some(format!("the platform's list leaves out region {region}"));
        }
        self.unclear.clone()
    }
}

/// One machine, as an organization-wide list shows it: the config is not whole there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObservedMachine {
    /// 14 hexadecimal digits.
    pub id: String,
    /// Unique per app.
    pub name: String,
    /// The app's name.
    pub app: String,
    /// What it is doing.
    pub state: PlatformState,
    /// The region code.
    pub region: String,
    /// Fly's `instance_id`: new with each version of the config.
    pub version: Option<String>,
    /// The address in the organization's private network.
    pub private_ip: Option<String>,
    /// `config.image`.
    pub image: Option<String>,
    /// `config.guest`.
    pub guest: Map<String, Value>,
    /// `config.metadata`.
    pub metadata: BTreeMap<String, String>,
    /// When the platform last changed it.
    pub updated_at: Option<UnixMillis>,
}

impl ObservedMachine {
    /// Whether the platform shows nothing of the machine's config, as it does while it cannot reach
    /// the machine's host. Every config has at least a guest, which the platform fills in; so this
    /// says nothing of what the machine is, or whose.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.image.is_none() && self.guest.is_empty() && self.metadata.is_empty()
    }
}

/// One volume.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObservedVolume {
    /// `vol_…`.
    pub id: String,
    /// Not unique.
    pub name: String,
    /// The app's name.
    pub app: String,
    /// The region code.
    pub region: String,
    /// Size in gigabytes.
    pub size_gb: u32,
    /// Fly's state of it: `created`, `creating`, …
    pub state: String,
    /// The machine that holds it.
    pub attached_machine: Option<String>,
    /// When it was made, if the platform says. Of several of one name, the newest has the data.
    pub created_at: Option<UnixMillis>,
}

/// One snapshot of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedSnapshot {
    /// `vs_…`.
    pub id: String,
    /// Fly's word for how far it is: `created` once it can be used.
    pub status: String,
    /// When it was begun, if the platform says.
    pub created_at: Option<UnixMillis>,
}

/// The state of a machine at Fly.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PlatformState {
    /// Made, not yet launched.
    Created,
    /// Booting.
    Starting,
    /// Booted; says nothing about the program inside.
    Started,
    /// Being stopped.
    Stopping,
    /// Not running.
    Stopped,
    /// Being suspended.
    Suspending,
    /// Not running, memory kept.
    Suspended,
    /// Getting a new version: `updating`, `replacing`, `restarting`.
    Replacing,
    /// Gave up.
    Failed,
    /// Going away.
    Destroying,
    /// Gone.
    Destroyed,
    /// A name that this version does not know.
    Other(String),
}

impl PlatformState {
    /// Reads Fly's word for a state.
    #[must_use]
    pub fn read(text: &str) -> Self {
        match text {
            "created" | "creating" => Self::Created,
            "starting" => Self::Starting,
            "started" => Self::Started,
            "stopping" => Self::Stopping,
            "stopped" => Self::Stopped,
            "suspending" => Self::Suspending,
            "suspended" => Self::Suspended,
            "updating" | "replacing" | "restarting" => Self::Replacing,
            "failed" => Self::Failed,
            "destroying" | "launch_failed" => Self::Destroying,
            "destroyed" | "replaced" | "migrated" => Self::Destroyed,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The word that people and programs read.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Created => "created",
            Self::Starting => "starting",
            Self::Started => "started",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Suspending => "suspending",
            Self::Suspended => "suspended",
            Self::Replacing => "replacing",
            Self::Failed => "failed",
            Self::Destroying => "destroying",
            Self::Destroyed => "destroyed",
            Self::Other(word) => word,
        }
    }

    /// Whether the platform will leave this state by itself.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Starting
                | Self::Stopping
                | Self::Suspending
                | Self::Replacing
                | Self::Destroying
                | Self::Other(_)
        )
    }
}

/// A tenant that must not be acted upon before some instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// When to try again.
    pub until: UnixMillis,
    /// Why: the last failure, as a sentence.
    pub message: String,
    /// What kind of hold.
    pub kind: HoldKind,
}

/// Why a tenant is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldKind {
    /// The last attempt failed; the next one waits.
    BackOff,
    /// The outcome of an earlier call is not known yet; acting now could do it twice.
    Unsettled,
    /// The app's name belongs to someone else.
    NameTaken,
    /// The platform refused for a reason that waiting will not change.
    Refused,
    /// Somebody else has a machine for themselves for a while; no failure of anybody.
    Leased {
        /// When that ends, as the platform says; `None` if it does not.
        until: Option<UnixMillis>,
    },
}
