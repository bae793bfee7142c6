//! The platform as a seam: what the controller asks of Fly, in the planner's words.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Map, Value};
use vault_cloud::error::CallError;
use vault_cloud::logs::Tail;
use vault_cloud::machines::Exit;
pub use vault_cloud::machines::{Lease, NewLease};
use vault_plan::observed::{ObservedMachine, ObservedSnapshot, ObservedVolume};
use vault_plan::time::UnixMillis;

mod fly;
mod storage;

pub use fly::FlyPlatform;
pub use storage::{
    AccessKey, BucketCreation, BucketDeletion, BucketOwner, Emptied, NewAccessKey, ObjectStorage,
};

/// The apps of one organization.
#[derive(Clone, Debug, Default)]
pub struct AppList {
    /// Their names.
    pub names: Vec<String>,
    /// Their ids by name, as identity tokens write them, as far as the platform says.
    pub ids: BTreeMap<String, String>,
    /// The organization's own id, likewise.
    pub organization_id: Option<String>,
    /// How many volumes each app has, by name, as far as the platform says; none are left out.
    pub volume_counts: BTreeMap<String, u64>,
    /// Some are missing from this list.
    pub partial: bool,
}

/// The machines of one organization, and what the list leaves out.
#[derive(Clone, Debug, Default)]
pub struct MachineList {
    /// Machines of all apps.
    pub machines: Vec<ObservedMachine>,
    /// Regions that could not be asked.
    pub error_regions: BTreeSet<String>,
    /// How many rows could not be read.
    pub unreadable: usize,
}

/// The volumes of one organization, or of one app.
#[derive(Clone, Debug, Default)]
pub struct VolumeList {
    /// Volumes that are not being destroyed.
    pub volumes: Vec<ObservedVolume>,
    /// The apps of those that are, one entry per volume.
    pub departing: Vec<String>,
    /// How many rows could not be read.
    pub unreadable: usize,
}

/// The secrets of one app: names and digests, never values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretList {
    /// The platform's digests by name. They are opaque; another value has another one.
    pub digests: BTreeMap<String, String>,
    /// How many rows could not be read.
    pub unreadable: usize,
}

/// What the platform says of a secret that was set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretSet {
    /// Its digest from now on, if the platform says.
    pub digest: Option<String>,
    /// The version of the app's secrets, which grows with every write, if the platform says.
    pub version: Option<u64>,
}

/// The deploy tokens of one organization, without their values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenList {
    /// Whosesoever they are.
    pub tokens: Vec<DeployToken>,
    /// How many rows could not be read.
    pub unreadable: usize,
}

/// A deploy token, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployToken {
    /// The platform's id.
    pub id: String,
    /// Not unique.
    pub name: String,
    /// When it ends, if the platform says.
    pub expires_at: Option<UnixMillis>,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// A deploy token to be minted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDeployToken {
    /// Derived; the platform would mint a second one of that name.
    pub name: String,
    /// How long it is good.
    pub lifetime: Duration,
}

/// A deploy token that was minted: the only time that its value is shown.
#[derive(Clone, Debug)]
pub struct MintedToken {
    /// The platform's id.
    pub id: String,
    /// As `FLY_API_TOKEN` takes it.
    pub value: SecretString,
    /// When it ends, if the platform says.
    pub expires_at: Option<UnixMillis>,
}

/// Whose an app is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppOwner {
    /// It is in this organization, which the token can see.
    Organization(String),
    /// It is somebody else's.
    SomebodyElse,
    /// There is no such app.
    Nobody,
}

/// What an app holds, counted: of several answers the largest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppContents {
    /// The organization's slug.
    pub organization: String,
    /// Machines that are not destroyed.
    pub machines: u64,
    /// Volumes that are not being destroyed.
    pub volumes: u64,
    /// Certificates for hostnames.
    pub certificates: u64,
    /// IP addresses.
    pub addresses: u64,
}

/// A machine to be created.
#[derive(Clone, Debug)]
pub struct NewMachine {
    /// Unique in the app.
    pub name: String,
    /// The region code.
    pub region: String,
    /// Fly's machine config, whole.
    pub config: Map<String, Value>,
    /// Leave it stopped.
    pub skip_launch: bool,
    /// The version of the app's secrets that its host has to know first.
    pub min_secrets_version: Option<u64>,
}

/// A volume to be created.
#[derive(Clone, Debug)]
pub struct NewVolume {
    /// Derived; not unique at the platform.
    pub name: String,
    /// The region code.
    pub region: String,
    /// Size in gigabytes.
    pub size_gb: u32,
    /// The snapshot whose data it begins with.
    pub snapshot_id: Option<String>,
}

/// A machine's new config.
#[derive(Clone, Debug)]
pub struct MachineUpdate {
    /// Fly's machine config, whole.
    pub config: Map<String, Value>,
    /// The version that the machine must still have.
    pub current_version: Option<String>,
    /// Leave it stopped.
    pub skip_launch: bool,
    /// The version of the app's secrets that its host has to know first.
    pub min_secrets_version: Option<u64>,
}

/// A machine that was made or got a new config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenMachine {
    /// Its id.
    pub id: String,
    /// The version that it has by that, if the platform says.
    pub version: Option<String>,
}

/// One machine, read by its id.
#[derive(Clone, Debug)]
pub struct WholeMachine {
    /// As a list would show it.
    pub machine: ObservedMachine,
    /// Its whole config; `None` while the platform does not reach its host.
    pub config: Option<Map<String, Value>>,
}

/// What the controller asks of the platform. Every error says whether the platform acted.
pub trait Platform: ObjectStorage + Send + Sync + 'static {
    /// The organizations that the token covers.
    fn organizations(&self) -> impl Future<Output = Result<Vec<String>, CallError>> + Send;

    /// The apps of an organization.
    fn apps(&self, organization: &str) -> impl Future<Output = Result<AppList, CallError>> + Send;

    /// The machines of an organization, all pages.
    fn machines(
        &self,
        organization: &str,
    ) -> impl Future<Output = Result<MachineList, CallError>> + Send;

    /// The machines of an organization that changed after `since`, all pages; those that are
    /// destroyed are among them, in that state.
    fn machines_since(
        &self,
        organization: &str,
        since: UnixMillis,
    ) -> impl Future<Output = Result<MachineList, CallError>> + Send;

    /// The volumes of an organization, all pages.
    fn volumes(
        &self,
        organization: &str,
    ) -> impl Future<Output = Result<VolumeList, CallError>> + Send;

    /// One machine; `None` if there is none of that id, or it is destroyed.
    fn machine(
        &self,
        app: &str,
        id: &str,
    ) -> impl Future<Output = Result<Option<ObservedMachine>, CallError>> + Send;

    /// One machine with its whole config, which no list shows; `None` as for `machine`.
    fn whole_machine(
        &self,
        app: &str,
        id: &str,
    ) -> impl Future<Output = Result<Option<WholeMachine>, CallError>> + Send;

    /// The volumes of one app; none if there is no such app.
    fn app_volumes(&self, app: &str) -> impl Future<Output = Result<VolumeList, CallError>> + Send;

    /// One volume; `None` if there is none of that id, or it is being destroyed.
    fn volume(
        &self,
        app: &str,
        id: &str,
    ) -> impl Future<Output = Result<Option<ObservedVolume>, CallError>> + Send;

    /// Whose an app is, or whether its name is free.
    fn app_owner(&self, app: &str) -> impl Future<Output = Result<AppOwner, CallError>> + Send;

    /// The secrets of one app.
    fn secrets(&self, app: &str) -> impl Future<Output = Result<SecretList, CallError>> + Send;

    /// Sets a secret of an app; no machine restarts for it. Setting it twice is setting it once.
    fn set_secret(
        &self,
        app: &str,
        name: &str,
        value: &SecretString,
    ) -> impl Future<Output = Result<SecretSet, CallError>> + Send;

    /// Creates an app.
    fn create_app(
        &self,
        organization: &str,
        app: &str,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Creates a volume; answers its id.
    fn create_volume(
        &self,
        app: &str,
        volume: NewVolume,
    ) -> impl Future<Output = Result<String, CallError>> + Send;

    /// Creates a machine.
    fn create_machine(
        &self,
        app: &str,
        machine: NewMachine,
    ) -> impl Future<Output = Result<WrittenMachine, CallError>> + Send;

    /// Gives a machine a new config.
    fn update_machine(
        &self,
        app: &str,
        id: &str,
        update: MachineUpdate,
    ) -> impl Future<Output = Result<WrittenMachine, CallError>> + Send;

    /// Starts a machine.
    fn start_machine(
        &self,
        app: &str,
        id: &str,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Stops a machine. `lease` is the nonce of the lease under which that is done: behind
    /// somebody else's, the platform waits, and stops it later.
    fn stop_machine(
        &self,
        app: &str,
        id: &str,
        lease: Option<&str>,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Suspends a running machine.
    fn suspend_machine(
        &self,
        app: &str,
        id: &str,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Sets one entry of a machine's metadata, without a restart. Setting it twice is setting it
    /// once.
    fn set_metadata(
        &self,
        app: &str,
        id: &str,
        key: &str,
        value: &str,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Makes a volume larger; answers whether its machine has to start anew to see that.
    fn extend_volume(
        &self,
        app: &str,
        id: &str,
        size_gb: u32,
    ) -> impl Future<Output = Result<bool, CallError>> + Send;

    /// The snapshots of one volume, as far as they can be read.
    fn snapshots(
        &self,
        app: &str,
        volume: &str,
    ) -> impl Future<Output = Result<Vec<ObservedSnapshot>, CallError>> + Send;

    /// Begins a snapshot of a volume.
    fn create_snapshot(
        &self,
        app: &str,
        volume: &str,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Removes a secret of an app; no machine restarts for it. Answers the version of the app's
    /// secrets from now on, if the platform says.
    fn delete_secret(
        &self,
        app: &str,
        name: &str,
    ) -> impl Future<Output = Result<Option<u64>, CallError>> + Send;

    /// Destroys a machine that is not running; `lease` as for a stop, and it ends with the machine.
    fn delete_machine(
        &self,
        app: &str,
        id: &str,
        lease: Option<&str>,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Deletes a volume for good. Refused while a machine holds it.
    fn delete_volume(
        &self,
        app: &str,
        id: &str,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// What an app holds, by all that the platform says of it; `None` if there is no such app.
    fn app_contents(
        &self,
        app: &str,
    ) -> impl Future<Output = Result<Option<AppContents>, CallError>> + Send;

    /// Deletes an app, and whatever is in it.
    fn delete_app(&self, app: &str) -> impl Future<Output = Result<(), CallError>> + Send;

    /// How a machine's program ended lately, newest first.
    fn exits(
        &self,
        app: &str,
        id: &str,
    ) -> impl Future<Output = Result<Vec<Exit>, CallError>> + Send;

    /// The last `count` lines that a machine printed.
    fn log_tail(
        &self,
        app: &str,
        id: &str,
        region: &str,
        count: usize,
    ) -> impl Future<Output = Result<Tail, CallError>> + Send;

    /// The deploy tokens of an organization, all pages.
    fn tokens(
        &self,
        organization: &str,
    ) -> impl Future<Output = Result<TokenList, CallError>> + Send;

    /// Mints a deploy token of an app. Never repeated: each call mints another one.
    fn mint_token(
        &self,
        app: &str,
        token: NewDeployToken,
    ) -> impl Future<Output = Result<MintedToken, CallError>> + Send;

    /// Revokes a deploy token.
    fn revoke_token(&self, id: &str) -> impl Future<Output = Result<(), CallError>> + Send;

    /// How many calls were made so far.
    fn calls(&self) -> Calls;

    /// Takes a machine for ourselves: until the lease ends nobody else changes it. Never repeated: a
    /// second one is refused, to its own holder too.
    fn acquire_lease(
        &self,
        app: &str,
        id: &str,
        lease: NewLease,
    ) -> impl Future<Output = Result<Lease, CallError>> + Send;

    /// Ends a lease of ours before its time.
    fn release_lease(
        &self,
        app: &str,
        id: &str,
        nonce: &str,
    ) -> impl Future<Output = Result<(), CallError>> + Send;
}

/// Calls to the platform, counted by what they can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Calls that only look, but for the next.
    pub reads: u64,
    /// Looks that are made now and then: at the secrets of single apps and at policies of access keys,
    /// which no list shows, and at deploy tokens.
    pub secret_reads: u64,
    /// Calls that may change something.
    pub writes: u64,
}
