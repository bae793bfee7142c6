//! Apps: created under a globally unique name, deleted with everything in them.

use std::net::Ipv6Addr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::world::address::private_network;
use crate::world::error::Refusal;
use crate::world::ids::number_of;
use crate::world::machine::State;
use crate::world::table::Row;
use crate::world::{Effect, World};

/// Longest app name.
const LONGEST_NAME: usize = 63;
/// Apps per organization: more than a machine can serve, less than its memory.
const MAX_APPS: usize = 50_000;
/// How long a deletion takes at least: it is asynchronous, and clients have to poll.
pub const DELETION_TIME: Duration = Duration::from_millis(250);

/// An app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// The opaque id.
    pub id: String,
    /// The number beside it.
    pub number: u64,
    /// Unique on the whole platform.
    pub name: String,
    /// The organization's slug.
    pub org: String,
    /// The custom private network's name; empty for the organization's own.
    pub network: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// The key of the request that created it, if it had one.
    pub idempotency_key: Option<String>,
    /// A deletion is under way.
    pub deleting: bool,
    /// When the deletion can end; `None` while machines are still going.
    pub due: Option<Timestamp>,
    /// Writes of the app's secrets so far.
    #[serde(default)]
    pub secrets_version: u64,
}

impl App {
    /// The number beside the organization's slug: the same one for all its apps, for ever.
    pub fn org_number(&self) -> u64 {
        u64::from(number_of(&format!("organization/{}", self.org)))
    }
}

impl App {
    /// The range of the app's private network.
    pub fn network_cidr(&self) -> String {
        let own = private_network(&self.org, &self.network, 0, 0).segments();
        format!("{}/48", Ipv6Addr::new(own[0], own[1], own[2], 0, 0, 0, 0, 0))
    }
}

impl Row for App {
    fn key(&self) -> &str {
        &self.name
    }

    fn org(&self) -> &str {
        &self.org
    }

    fn group(&self) -> &str {
        &self.org
    }

    fn updated_at(&self) -> Timestamp {
        self.created_at
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.due
    }

    fn handle(&self) -> Option<String> {
        self.idempotency_key.as_ref().map(|key| key_handle(&self.org, key))
    }
}

fn key_handle(org: &str, key: &str) -> String {
    format!("{org}/{key}")
}

/// What `POST /v1/apps` asks for.
#[derive(Clone, Debug, Default)]
pub struct NewApp {
    /// The wanted name; may be absent when a request is repeated under its idempotency key.
    pub name: Option<String>,
    /// The organization's slug.
    pub org: String,
    /// A custom private network; empty for the organization's own.
    pub network: String,
    /// Makes a repeated request harmless.
    pub idempotency_key: Option<String>,
}

impl World {
    /// Creates an app, or returns the one that the same idempotency key created before.
    ///
    /// # Errors
    /// An unknown organization, a malformed or taken name, a reused key, a full organization.
    pub fn create_app(&mut self, now: Timestamp, new: NewApp) -> Result<App, Refusal> {
        if !self.orgs.contains(&new.org) {
            return Err(Refusal::Unauthorized);
        }
        let key = new.idempotency_key.filter(|key| !key.is_empty());
        let name = new.name.filter(|name| !name.is_empty());
        if let Some(first) =
            key.as_deref().and_then(|key| self.apps.by_handle(&key_handle(&new.org, key)))
        {
            if name.is_some_and(|name| name != first.name) {
                return Err(Refusal::IdempotencyKeyReused);
            }
            return Ok(first.clone());
        }
        let name = name.filter(|name| is_app_name(name)).ok_or(Refusal::AppNameMalformed)?;
        if !new.network.is_empty() && !is_network_name(&new.network) {
            return Err(Refusal::invalid(format!("invalid network name {:?}", new.network)));
        }
        if self.apps.row(&name).is_some() {
            return Err(Refusal::AppNameTaken);
        }
        if self.apps.count(&new.org) >= MAX_APPS {
            return Err(Refusal::LimitReached("app"));
        }
        let app = App {
            id: self.ids.app(),
            number: self.ids.number(),
            name,
            org: new.org,
            network: new.network,
            created_at: self.ids.stamp(now),
            idempotency_key: key,
            deleting: false,
            due: None,
            secrets_version: 0,
        };
        self.apps.insert(app.clone());
        Ok(app)
    }

    /// Begins the deletion of an app with its machines and volumes. It ends when the machines have
    /// ended, [`DELETION_TIME`] from now at the earliest.
    ///
    /// # Errors
    /// [`Refusal::AppNotFound`].
    pub fn delete_app(&mut self, now: Timestamp, name: &str) -> Result<(), Refusal> {
        let due = now + DELETION_TIME;
        self.apps
            .change(name, |app| {
                if !app.deleting {
                    app.deleting = true;
                    app.due = Some(due);
                }
            })
            .ok_or(Refusal::AppNotFound)?;
        let machines: Vec<String> =
            self.machines.group(name).map(|machine| machine.id.clone()).collect();
        for id in machines {
            self.begin_destroy(now, &id);
        }
        Ok(())
    }

    /// The clock's part of a deletion: removes the app once all its machines are gone.
    pub(crate) fn app_due(&mut self, name: &str) {
        let gone = self.machines.group(name).all(|machine| machine.state == State::Destroyed);
        if !gone {
            // The last machine to go sets a new deadline.
            self.apps.change(name, |app| app.due = None);
            return;
        }
        let machines: Vec<String> =
            self.machines.group(name).map(|machine| machine.id.clone()).collect();
        for id in machines {
            self.machines.remove(&id);
            self.forget_versions(&id);
        }
        let volumes: Vec<String> =
            self.volumes.group(name).map(|volume| volume.id.clone()).collect();
        for id in volumes {
            self.volumes.remove(&id);
            self.effects.push(Effect::RemoveVolume { volume_id: id });
        }
        self.forget_secrets(name);
        self.forget_snapshots(name);
        self.forget_belongings(name);
        if let Some(app) = self.apps.remove(name) {
            self.forget_limited_tokens(&app.org, name);
        }
    }

    /// Ends a deletion that waited for its last machine.
    pub(crate) fn machine_of_app_gone(&mut self, now: Timestamp, name: &str) {
        if self.apps.row(name).is_some_and(|app| app.deleting && app.due.is_none()) {
            self.apps.change(name, |app| app.due = Some(now));
        }
    }
}

fn is_app_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn is_network_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
