//! A machine: what is known of it, its events, and the small changes that all transitions share.

use std::net::IpAddr;
use std::{fmt, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::runner::Exit;
use crate::world::config::{self, Config, Known};
use crate::world::ids::Identifiers;
use crate::world::image::ImageRef;
use crate::world::lease::{Lease, Pending};
use crate::world::restart::Tally;
use crate::world::table::Row;

/// Events kept per machine: as many as the API hands out at most.
pub const EVENTS_KEPT: usize = 50;
/// Superseded versions remembered per machine, to answer `replaced` for them.
const VERSIONS_KEPT: usize = 50;

/// A machine's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Exists, has not been started yet.
    Created,
    /// Boots.
    Starting,
    /// Runs.
    Started,
    /// Was asked to stop, has not ended yet.
    Stopping,
    /// Is down.
    Stopped,
    /// Its memory is being kept, and its processor taken away.
    Suspending,
    /// Its processes stand still where they were.
    Suspended,
    /// Goes down or is down, and will start again by itself.
    Restarting,
    /// Goes from one version to the next.
    Replacing,
    /// Ended before it had started.
    Failed,
    /// Is being removed.
    Destroying,
    /// Is gone; remembered for a while.
    Destroyed,
}

impl State {
    /// The state's name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Starting => "starting",
            Self::Started => "started",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Suspending => "suspending",
            Self::Suspended => "suspended",
            Self::Restarting => "restarting",
            Self::Replacing => "replacing",
            Self::Failed => "failed",
            Self::Destroying => "destroying",
            Self::Destroyed => "destroyed",
        }
    }

    /// Whether the clock or a process is expected to move the machine out of this state by itself.
    pub const fn is_transient(self) -> bool {
        match self {
            // Here a created machine always goes on, to `starting` or to `stopped`.
            Self::Created
            | Self::Starting
            | Self::Stopping
            | Self::Suspending
            | Self::Restarting
            | Self::Replacing
            | Self::Destroying => true,
            Self::Started | Self::Stopped | Self::Suspended | Self::Failed | Self::Destroyed => {
                false
            }
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Who caused an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A call of the API.
    User,
    /// The host.
    Flyd,
}

/// Something that happened to a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// A ULID; later events have greater ones.
    pub id: String,
    /// What happened: launch, start, stop, suspend, restart, update, exit, destroy.
    #[serde(rename = "type")]
    pub kind: String,
    /// The state that it led to.
    pub status: State,
    /// Who caused it.
    pub source: Source,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Details; exits have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Value>,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// 14 hexadecimal digits.
    pub id: String,
    /// Unique within the app.
    pub name: String,
    /// The app's name.
    pub app: String,
    /// The organization's slug.
    pub org: String,
    /// The region's code.
    pub region: String,
    /// The address on the private network, or the one that stands for it on this computer.
    pub private_ip: IpAddr,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed; no two changes share a stamp.
    pub updated_at: Timestamp,
    /// The live version, a ULID: `instance_id` on the wire.
    pub version: String,
    /// Versions that came before, oldest first.
    pub replaced: Vec<String>,
    /// The config with the platform's fill-ins.
    pub config: Config,
    /// The resolved image.
    pub image: ImageRef,
    /// The state.
    pub state: State,
    /// Newest first, [`EVENTS_KEPT`] at most.
    pub events: Vec<Event>,
    /// When the clock moves the machine on, if it does.
    pub due: Option<Timestamp>,
    /// Starts so far.
    pub run: u64,
    /// The run whose process lives; always `None` without processes.
    pub process: Option<u64>,
    /// The running create or update said not to launch.
    pub skip_launch: bool,
    /// The running create or update said to leave the app's secrets out.
    #[serde(default)]
    pub skip_secrets: bool,
    /// Restarts by the policy.
    pub restarts: Tally,
    /// The proxy is to send it no traffic.
    #[serde(default)]
    pub cordoned: bool,
    /// Who has it for themselves, if anyone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// What was asked for without the lease, and happens when it ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<Pending>,
    /// What the guest may use of its memory, in MiB, if that was limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit_mb: Option<u32>,
}

impl Row for Machine {
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
        let lease = self.lease.as_ref().map(|lease| lease.expires_at);
        self.due.into_iter().chain(lease).min()
    }

    fn handle(&self) -> Option<String> {
        (self.state != State::Destroyed).then(|| name_handle(&self.app, &self.name))
    }
}

/// The key under which a machine's name is unique.
pub(crate) fn name_handle(app: &str, name: &str) -> String {
    format!("{app}/{name}")
}

impl Machine {
    /// The known members of the config, which was checked when it came in.
    pub(crate) fn known(&self) -> Known {
        config::known(&self.config).unwrap_or_default()
    }

    /// The machine's metadata.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        let members = self.config.get("metadata").and_then(Value::as_object).into_iter().flatten();
        members.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
    }

    /// The id of the volume that the config mounts.
    pub(crate) fn volume(&self) -> Option<String> {
        self.known().mount().map(|(volume, _)| volume.to_owned())
    }

    /// Moves to a state; the clock does nothing more unless `due` says so.
    pub(crate) fn enter(&mut self, state: State, due: Option<Timestamp>) {
        self.state = state;
        self.due = due;
    }

    /// Records an event at the head of the list.
    pub(crate) fn record(
        &mut self,
        ids: &mut Identifiers,
        now: Timestamp,
        (kind, status, source): (&str, State, Source),
        request: Option<Value>,
    ) {
        let id = ids.ulid(now);
        let kind = kind.to_owned();
        let event = Event { id, kind, status, source, timestamp: now.as_millisecond(), request };
        self.events.insert(0, event);
        self.events.truncate(EVENTS_KEPT);
    }

    /// Records how the process ended.
    pub(crate) fn record_exit(
        &mut self,
        ids: &mut Identifiers,
        now: Timestamp,
        exit: Exit,
        (status, requested_stop, restarting): (State, bool, bool),
    ) {
        let signal = exit.signal.unwrap_or(-1);
        // A shell's convention for a process that a signal ended.
        let code = exit.code.unwrap_or_else(|| 128 + signal.max(0));
        let exit_event = json!({
            "exit_code": code, "guest_exit_code": code, "guest_signal": signal, "signal": signal,
            "oom_killed": false, "requested_stop": requested_stop, "restarting": restarting,
            "exited_at": now,
        });
        let request = json!({ "exit_event": exit_event, "restart_count": self.restarts.count });
        self.record(ids, now, ("exit", status, Source::Flyd), Some(request));
    }

    /// Begins a new version; the old one is `replaced` from now on.
    pub(crate) fn supersede(&mut self, version: String) {
        self.replaced.push(std::mem::replace(&mut self.version, version));
        if self.replaced.len() > VERSIONS_KEPT {
            self.replaced.remove(0);
        }
    }
}

/// Timings of the lifecycle that are not configured.
pub(crate) mod timing {
    use super::Duration;

    /// How long a destroyed machine still answers GET with `destroyed`.
    pub(crate) const DESTROYED_SHOWN: Duration = Duration::from_secs(10 * 60);
}
