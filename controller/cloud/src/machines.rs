//! The Machines API: apps, machines, volumes and secrets.

mod call;
mod changes;
mod config;
mod deletion;
mod exit;
mod lease;
mod lists;
mod paging;
pub mod wire;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

pub use changes::VolumeSnapshots;
pub use config::{ClientConfig, RateLimits};
pub use exit::Exit;
pub use lease::{Lease, NewLease};
pub use lists::{AppSecrets, AppVolumes, Apps, OrgMachines, OrgVolumes};

pub use crate::http::ClientError;

use crate::error::CallError;
use crate::http::Request;
use crate::operation::Operation;
pub(crate) use call::Caller;
pub(crate) use paging::{Page, Walk};
use wire::{
    App, AppSecret, CreateApp, CreateMachine, CreateVolume, CreatedApp, CurrentTokens, Machine,
    MachineEvent, SecretSet, SetSecret, UpdateMachine, Volume, Wait, WaitAnswer,
};

/// The shortest and the longest time that the platform waits for a machine.
const WAIT_RANGE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How many events of a machine are asked for: the most that the platform gives.
const EVENT_LIMIT: u32 = 50;

/// Calls the Machines API. Clones share connections and rate limits.
///
/// Every method keeps to the documented rate limits (it waits for its turn) and repeats what is
/// harmless to repeat, see [`crate::backoff`]. Its future may be dropped at any time; a write that
/// was under way then has an unknown outcome.
#[derive(Clone)]
pub struct MachinesClient {
    caller: Arc<Caller>,
}

/// How a wait for a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The machine is, or was, in the state.
    Reached {
        /// The state, if the platform said which.
        state: Option<String>,
        /// The version that reached it, if the platform said which.
        version: Option<String>,
        /// The event that ended the wait, if the platform said which.
        event_id: Option<String>,
    },
    /// Not within the time.
    NotYet {
        /// The platform's sentence; it names the state that the machine is in.
        message: String,
    },
}

impl MachinesClient {
    /// A client for one platform and one token. Makes no call.
    ///
    /// # Errors
    /// [`ClientError`], see there; among others, if the process has installed no provider of
    /// cryptography, even for an `http` address.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        Ok(Self { caller: Arc::new(Caller::new(config)?) })
    }

    /// The slugs of the organizations that the token covers, each once, in order.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn token_organizations(&self) -> Result<Vec<String>, CallError> {
        let request = Request::new(Operation::ReadToken, &["tokens", "current"], "");
        let tokens: CurrentTokens = self.caller.object(request).await?;
        let mut slugs: Vec<String> =
            tokens.tokens.into_iter().filter_map(|token| token.org_slug).collect();
        slugs.sort_unstable();
        slugs.dedup();
        Ok(slugs)
    }

    /// The apps of an organization.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list_apps(&self, org: &str) -> Result<Apps, CallError> {
        let request =
            Request::new(Operation::ListApps, &["apps"], org).query("org_slug", org).list();
        let page: Page<App> =
            self.caller.call(&request).await?.decode(|body| Page::of_member("apps", body))?;
        let total = page.rest.get("total_apps").and_then(Value::as_u64);
        Ok(Apps { apps: page.rows, total, undecodable: page.undecodable })
    }

    /// One app. One that belongs to another organization is forbidden (403), not "not found".
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn app(&self, name: &str) -> Result<App, CallError> {
        self.caller.object(Request::new(Operation::ReadApp, &["apps", name], name)).await
    }

    /// Makes an app.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::name_taken`] if anybody has an app of this name.
    pub async fn create_app(&self, app: &CreateApp) -> Result<CreatedApp, CallError> {
        let request = Request::new(Operation::CreateApp, &["apps"], &app.name);
        self.caller.object(self.caller.with_body(request, app)?).await
    }

    /// Deletes an app and all that is in it, volumes too; it is gone some time later.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete_app(&self, name: &str) -> Result<(), CallError> {
        // The documented limit only makes sense as one for all apps together.
        self.caller.done(Request::new(Operation::DeleteApp, &["apps", name], "")).await
    }

    /// The machines of an organization, from all pages of the list; destroyed ones are left out.
    ///
    /// # Errors
    /// [`CallError`], also if only one page could not be read.
    pub async fn list_org_machines(&self, org: &str) -> Result<OrgMachines, CallError> {
        let request = Request::new(Operation::ListOrgMachines, &["orgs", org, "machines"], org);
        self.org_machines(request).await
    }

    /// The machines of an organization that changed after `since`, from all pages of the list,
    /// destroyed ones among them.
    ///
    /// # Errors
    /// [`CallError`], also if only one page could not be read.
    pub async fn list_org_machines_since(
        &self,
        org: &str,
        since: Timestamp,
    ) -> Result<OrgMachines, CallError> {
        let request = Request::new(Operation::ListOrgMachines, &["orgs", org, "machines"], org)
            .query("updated_after", since.to_string())
            .query("include_deleted", "true");
        self.org_machines(request).await
    }

    async fn org_machines(&self, request: Request) -> Result<OrgMachines, CallError> {
        let pages =
            self.caller.pages(request, "machines", |row: &wire::MachineRow| &row.id).await?;
        Ok(OrgMachines {
            machines: pages.rows,
            error_regions: pages.error_regions,
            undecodable: pages.undecodable,
        })
    }

    /// One machine. A destroyed one is answered with its state for a while, and then not found.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn machine(&self, app: &str, id: &str) -> Result<Machine, CallError> {
        self.caller
            .object(Request::new(Operation::ReadMachine, &["apps", app, "machines", id], id))
            .await
    }

    /// What happened to a machine, newest first: at most 50 events. Those that cannot be read are
    /// left out.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn machine_events(
        &self,
        app: &str,
        id: &str,
    ) -> Result<Vec<MachineEvent>, CallError> {
        let path = ["apps", app, "machines", id, "events"];
        let request = Request::new(Operation::ListMachineEvents, &path, id)
            .query("limit", EVENT_LIMIT.to_string());
        let page: Page<MachineEvent> = self.caller.call(&request).await?.decode(Page::of_array)?;
        Ok(page.rows)
    }

    /// Makes a machine; it starts some time later, unless `skip_launch`.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::existing_machine_id`] if the name is in use.
    pub async fn create_machine(
        &self,
        app: &str,
        machine: &CreateMachine,
    ) -> Result<Machine, CallError> {
        let request = Request::new(Operation::CreateMachine, &["apps", app, "machines"], app);
        self.caller.object(self.caller.with_body(request, machine)?).await
    }

    /// Replaces a machine's config; it restarts some time later, unless `skip_launch`.
    ///
    /// # Errors
    /// [`CallError`]; 409 if `current_version` is not its version.
    pub async fn update_machine(
        &self,
        app: &str,
        id: &str,
        update: &UpdateMachine,
    ) -> Result<Machine, CallError> {
        let request = Request::new(Operation::UpdateMachine, &["apps", app, "machines", id], id);
        self.caller.object(self.caller.with_body(request, update)?).await
    }

    /// Starts a machine; it is started some time later.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::is_wrong_state`] for some seconds after a create or an update.
    pub async fn start_machine(&self, app: &str, id: &str) -> Result<(), CallError> {
        self.caller
            .done(Request::new(
                Operation::StartMachine,
                &["apps", app, "machines", id, "start"],
                id,
            ))
            .await
    }

    /// Stops a machine as its config says; it is stopped some time later. `lease` is the nonce of
    /// the lease that we hold: behind somebody else's, the call waits and acts when that ends.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn stop_machine(
        &self,
        app: &str,
        id: &str,
        lease: Option<&str>,
    ) -> Result<(), CallError> {
        let path = ["apps", app, "machines", id, "stop"];
        self.caller.done(lease::under(lease, Request::new(Operation::StopMachine, &path, id))).await
    }

    /// Destroys a machine; without `force` only one that is stopped. Its volume stays. `lease` as
    /// for a stop; it ends with the machine.
    ///
    /// # Errors
    /// [`CallError`]; not found if it is gone already.
    pub async fn delete_machine(
        &self,
        app: &str,
        id: &str,
        force: bool,
        lease: Option<&str>,
    ) -> Result<(), CallError> {
        let mut request =
            Request::new(Operation::DeleteMachine, &["apps", app, "machines", id], id);
        request = lease::under(lease, request);
        if force {
            request = request.query("force", "true");
        }
        self.caller.done(request).await
    }

    /// Waits on the platform's side until a machine is in a state. Not repeated when the time is
    /// over: that is an answer.
    ///
    /// # Errors
    /// [`CallError`]; not found if the machine is gone, which is success for `destroyed`.
    pub async fn wait(&self, app: &str, id: &str, wait: &Wait) -> Result<Waited, CallError> {
        let timeout = wait.timeout.clamp(WAIT_RANGE.0, WAIT_RANGE.1);
        let mut request =
            Request::new(Operation::WaitMachine, &["apps", app, "machines", id, "wait"], id)
                .query("state", &wait.state)
                .query("timeout", timeout.as_secs().to_string())
                .held_back(timeout);
        if let Some(version) = &wait.version {
            request = request.query("version", version);
        }
        let success = match self.caller.call(&request).await {
            Ok(success) => success,
            Err(error) => return not_yet(error),
        };
        let answer: WaitAnswer = success.decode(|body| serde_json::from_slice(body))?;
        Ok(Waited::Reached {
            state: answer.state,
            version: answer.version,
            event_id: answer.event_id,
        })
    }

    /// The volumes of an organization, from all pages of the list.
    ///
    /// # Errors
    /// [`CallError`], also if only one page could not be read.
    pub async fn list_org_volumes(&self, org: &str) -> Result<OrgVolumes, CallError> {
        let request = Request::new(Operation::ListOrgVolumes, &["orgs", org, "volumes"], org);
        let pages =
            self.caller.pages(request, "volumes", |row: &wire::VolumeRow| &row.volume.id).await?;
        Ok(OrgVolumes {
            volumes: pages.rows,
            error_regions: pages.error_regions,
            undecodable: pages.undecodable,
        })
    }

    /// The volumes of an app.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list_app_volumes(&self, app: &str) -> Result<AppVolumes, CallError> {
        let request =
            Request::new(Operation::ListAppVolumes, &["apps", app, "volumes"], app).list();
        let page: Page<Volume> = self.caller.call(&request).await?.decode(Page::of_array)?;
        Ok(AppVolumes { volumes: page.rows, undecodable: page.undecodable })
    }

    /// One volume. A deleted one is answered with its state for a while, and then not found.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn volume(&self, app: &str, id: &str) -> Result<Volume, CallError> {
        self.caller
            .object(Request::new(Operation::ReadVolume, &["apps", app, "volumes", id], app))
            .await
    }

    /// Makes a volume. The platform makes a second one when asked twice: names are not unique.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn create_volume(
        &self,
        app: &str,
        volume: &CreateVolume,
    ) -> Result<Volume, CallError> {
        let request = Request::new(Operation::CreateVolume, &["apps", app, "volumes"], app);
        self.caller.object(self.caller.with_body(request, volume)?).await
    }

    /// The secrets of an app: names and digests, no values.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn secrets(&self, app: &str) -> Result<AppSecrets, CallError> {
        let request = Request::new(Operation::ListSecrets, &["apps", app, "secrets"], app);
        let page: Page<AppSecret> =
            self.caller.call(&request).await?.decode(|body| Page::of_member("secrets", body))?;
        Ok(AppSecrets { secrets: page.rows, undecodable: page.undecodable })
    }

    /// Sets one secret of an app. Machines read it when they start or are updated; none is
    /// restarted. Repeated when the outcome is unknown: setting twice is setting once.
    ///
    /// # Errors
    /// [`CallError`]; it never holds the value.
    pub async fn set_secret(
        &self,
        app: &str,
        name: &str,
        value: &SecretString,
    ) -> Result<SecretSet, CallError> {
        let request = Request::new(Operation::SetSecret, &["apps", app, "secrets", name], app);
        let body = SetSecret { value: value.expose_secret() };
        let request = self.caller.with_body(request, &body)?.confidential(value.clone());
        self.caller.object(request).await
    }
}

/// A wait whose time is over is no failure.
fn not_yet(error: CallError) -> Result<Waited, CallError> {
    match error.answer() {
        Some(answer) if error.wait_is_over() => {
            Ok(Waited::NotYet { message: answer.message.clone() })
        }
        _ => Err(error),
    }
}
