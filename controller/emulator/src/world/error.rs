//! Why the world refuses a request. The texts are the platform's own where they are known; which
//! HTTP status belongs to each is decided in `api/error.rs` alone.

use jiff::Timestamp;
use thiserror::Error;

use crate::world::machine::State;

/// Why the world refuses a request.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// The app or organization exists for others, or not at all.
    #[error("unauthorized")]
    Unauthorized,
    /// No app of that name.
    #[error("app not found")]
    AppNotFound,
    /// No such machine in that app.
    #[error("machine not found")]
    MachineNotFound,
    /// No such volume in that app.
    #[error("volume not found")]
    VolumeNotFound,
    /// The machine has no such metadata key.
    #[error("metadata key not found")]
    MetadataKeyNotFound,
    /// The app has no secret of that name.
    #[error("secret not found")]
    SecretNotFound,
    /// The caller wants secrets that are newer than the newest.
    #[error(
        "failed_precondition: min_secrets_version {wanted}: the app's secrets are at version {reached}"
    )]
    SecretsVersionNotReached {
        /// The version that was asked for.
        wanted: u64,
        /// The newest version.
        reached: u64,
    },
    /// App names are unique among all customers.
    #[error("Validation failed: Name has already been taken")]
    AppNameTaken,
    /// The app's name breaks the naming rule.
    #[error("Validation failed: Name under 63 chars using numbers, lowercase letters and dashes")]
    AppNameMalformed,
    /// One idempotency key, two app names.
    #[error("Validation failed: Idempotency key has already been used with another name")]
    IdempotencyKeyReused,
    /// The organization's cap on apps, machines or volumes, or an app's on secrets.
    #[error("Your organization has reached its {0} limit. Please contact billing@fly.io")]
    LimitReached(&'static str),
    /// A member of the request is wrong.
    #[error("invalid_argument: {0}")]
    Invalid(String),
    /// No region of that name.
    #[error("target region {0} not found")]
    RegionNotFound(String),
    /// Machine names are unique within their app.
    #[error(
        "already_exists: unique machine name violation, machine ID {id} already exists with name \"{name}\""
    )]
    MachineNameInUse {
        /// The machine that has the name.
        id: String,
        /// The name.
        name: String,
    },
    /// `current_version` is not the live one, or another update is under way.
    #[error("aborted: machine update failed due to concurrent update")]
    ConcurrentUpdate,
    /// Start of a machine that is between two versions.
    #[error("failed_precondition: machine getting replaced, refusing to start")]
    GettingReplaced,
    /// Start of a machine that runs.
    #[error("failed_precondition: machine still active, refusing to start")]
    StillActive,
    /// The action does not fit the machine's state.
    #[error("failed_precondition: unable to {action} machine from current state: '{state}'")]
    WrongState {
        /// What was asked for: start, stop, update, …
        action: &'static str,
        /// The state that forbids it.
        state: State,
    },
    /// Unforced destroy of a machine that is not stopped.
    #[error("failed_precondition: unable to destroy machine, not currently stopped")]
    NotStopped,
    /// The volume is another machine's.
    #[error("failed_precondition: volume already claimed by machine {0}")]
    VolumeClaimed(String),
    /// The volume cannot go while a machine has it.
    #[error("failed_precondition: volume is currently bound to machine: {0}")]
    VolumeBound(String),
    /// The volume is being destroyed.
    #[error("failed_precondition: volume {0} is being destroyed")]
    VolumeGoing(String),
    /// Someone else has the machine for themselves.
    #[error("machine ID {id} lease currently held by {owner}, expires at {expires_at}")]
    LeaseHeld {
        /// The machine.
        id: String,
        /// Whose lease it is.
        owner: String,
        /// When it ends by itself.
        expires_at: Timestamp,
    },
    /// Something of an app or a machine that is not there.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// No app of the organization has a private network of that name.
    #[error("network not found")]
    NetworkNotFound,
    /// The state of things does not allow it.
    #[error("failed_precondition: {0}")]
    Precondition(String),
    /// Well-formed, and yet not acceptable.
    #[error("Validation failed: {0}")]
    Unprocessable(String),
    /// A metadata write named a version that is no longer the live one.
    #[error("failed_precondition: machine_version is not the current version")]
    StaleVersion,
}

impl Refusal {
    /// A wrong member of the request, in words.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }
}
