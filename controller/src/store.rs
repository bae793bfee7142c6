//! What the controller remembers: objects, the intent journal, what is known of secrets, events.
//!
//! ```text
//!   Store (trait: verbs, no tables) ◀── accept, reconcile, http
//!     └─ SqliteStore ─▶ writer thread (one connection, group commit) ─┐
//!                    └▶ reader (its own connection, read-only) ───────┴─▶ controller.db (WAL)
//! ```
//!
//! SQL stands only below this module.

mod api;
mod audit;
mod buckets;
mod credentials;
mod events;
mod figures;
mod history;
mod intent;
mod journal;
mod lookup;
mod migrations;
mod objects;
mod operators;
mod pages;
mod rows;
mod secrets;
mod sqlite;
mod tombstones;
mod trace;
mod usage;
mod versions;
mod writer;

use std::future::Future;

use serde_json::{Map, Value};
use thiserror::Error;
use ulid::Ulid;
use vault_plan::observed::SecretState;
use vault_plan::time::UnixMillis;
use vault_plan::tombstone::Tombstone;

use crate::edits::MachineVersion;
use crate::source::Source;
use crate::usage::UsageFact;
pub use api::ApiStore;
pub use buckets::{BucketStore, StoredPolicy};
pub use credentials::{
    CredentialKey, CredentialKind, CredentialState, CredentialStore, Credentials, NewCredential,
    ShownCredential, StoredCredential,
};
pub use events::{EventChanges, EventSeries};
pub use figures::StoreFigures;
pub use history::{Change, Changes};
pub use intent::{Intent, IntentState, Settlement};
pub use lookup::Named;
pub use operators::StoredOperator;
pub use pages::{Page, PageQuery};
use rows::unreadable;
pub use rows::{StatusRow, TenantRow};
pub use sqlite::SqliteStore;
pub use tombstones::{Doomed, Owner, Undelete, tombstone_of};
pub use trace::{IntentAnswer, IntentTrace, Verdict};
pub use usage::{LiveUsage, UsagePage};

/// Why the store did not do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// SQLite refused.
    #[error("the database refused")]
    Sqlite(#[from] rusqlite::Error),
    /// A stored value cannot be read back.
    #[error("a stored value cannot be read")]
    Decode(#[from] serde_json::Error),
    /// Another controller has the database open.
    #[error("another controller uses the database {0}: stop it first")]
    Locked(String),
    /// The file was written by a newer version.
    #[error(
        "the database has schema {found}, and this version knows up to {known}: use a newer vaultctl"
    )]
    TooNew {
        /// The version in the file.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// The object has changed, or gone, since it was read.
    #[error("the object has been modified; apply your changes to the latest version and try again")]
    Conflict,
    /// An intent cannot go from one state to the other.
    #[error("intent {id} cannot go from {from:?} to {to:?}")]
    IllegalTransition {
        /// Which intent.
        id: Ulid,
        /// Its state.
        from: IntentState,
        /// The state that was asked for.
        to: IntentState,
    },
    /// The thread that owns the database has ended.
    #[error("the database is closed")]
    Closed,
    /// The file could not be opened or locked.
    #[error("could not open the database")]
    Open(#[source] std::io::Error),
}

/// The kinds of object.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub enum Kind {
    /// `Tenant`
    Tenant,
    /// `TenantClass`
    TenantClass,
}

impl Kind {
    /// The kind's name in documents.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Tenant => "Tenant",
            Self::TenantClass => "TenantClass",
        }
    }

    /// The kind's plural in URLs.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Tenant => "tenants",
            Self::TenantClass => "tenantclasses",
        }
    }
}

/// An object as it is stored: the spec as written, the rest kept by the controller.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StoredObject {
    /// Tenant or class.
    pub kind: Kind,
    /// Unique per kind.
    pub name: String,
    /// Derived from the controller's identity and the name.
    pub uid: String,
    /// Grows by one with each change of the spec.
    pub generation: i64,
    /// The value of the store's one counter when the object was last written.
    pub resource_version: i64,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When its deletion was asked for.
    pub deleted_at: Option<UnixMillis>,
    /// Who owns the spec.
    pub source: Source,
    /// `labels`, `annotations`, `finalizers`; and what the file set last (`accept::layers`).
    pub metadata: Map<String, Value>,
    /// As written.
    pub spec: Map<String, Value>,
    /// As last folded; tenants only.
    pub status: Option<Value>,
}

/// What is known of one app secret. Its value is derived and stands nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSecret {
    /// The app's name.
    pub app: String,
    /// The secret's name.
    pub name: String,
    /// Whether it is as we set it.
    pub state: SecretState,
    /// The platform's digest as it was last told; `None` if it was not.
    pub digest: Option<String>,
    /// The version of the app's secrets that our write made, if it was told.
    pub version: Option<u64>,
    /// When the platform last told of it.
    pub read_at: UnixMillis,
}

/// The seam behind which the database stands: what a pass needs of it. Each verb is one transaction;
/// verbs that change something have reached the disk when they return.
pub trait Store: BucketStore + CredentialStore + Clone + Send + Sync + 'static {
    /// All objects of one kind, in the order of their names.
    fn objects(
        &self,
        kind: Kind,
    ) -> impl Future<Output = Result<Vec<StoredObject>, StoreError>> + Send;

    /// One object.
    fn object(
        &self,
        kind: Kind,
        name: &str,
    ) -> impl Future<Output = Result<Option<StoredObject>, StoreError>> + Send;

    /// The value of the store's one counter, which grows with each change of an object or a status.
    fn objects_version(&self) -> impl Future<Output = Result<i64, StoreError>> + Send;

    /// Some of the tenants, in the order of their names, as they are stored: those after `after`,
    /// and at most `limit`. Whoever reads all of them decodes what it needs, a page at a time.
    fn tenant_rows(
        &self,
        after: &str,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<TenantRow>, StoreError>> + Send;

    /// Writes an object. `expected` is the resourceVersion that it must have now; `None` means that
    /// it must not exist. Answers the object with its new resourceVersion.
    fn put_object(
        &self,
        object: StoredObject,
        expected: Option<i64>,
    ) -> impl Future<Output = Result<StoredObject, StoreError>> + Send;

    /// Removes an object for good, if it still has this resourceVersion.
    fn remove_object(
        &self,
        kind: Kind,
        name: &str,
        expected: i64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Some of the tenants, as [`Store::tenant_rows`] has them: no more than their names and statuses.
    fn status_rows(
        &self,
        after: &str,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<StatusRow>, StoreError>> + Send;

    /// Writes the statuses of tenants that still exist, as JSON, by their names; generations do not
    /// change.
    fn put_statuses(
        &self,
        statuses: Vec<(String, String)>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Journals intents before any of them is sent.
    fn plan_intents(
        &self,
        intents: Vec<Intent>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Marks an intent as being sent. The call may be made when this has returned, not before.
    fn send_intent(
        &self,
        id: Ulid,
        now: UnixMillis,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Records what came of a sent intent at `now`, with the calls that were made for it. If its
    /// answer was lost, the time in which it may still take effect begins only now; an intent that
    /// is no longer `sent` stays as it is then.
    fn answer_intent(
        &self,
        answer: IntentAnswer,
        now: UnixMillis,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Records how far intents came, as it was known at `now`.
    fn settle_intents(
        &self,
        settlements: Vec<Settlement>,
        now: UnixMillis,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Intents that are neither verified nor aborted, oldest first.
    fn open_intents(&self) -> impl Future<Output = Result<Vec<Intent>, StoreError>> + Send;

    /// Intents that were verified at `since` or later and are still kept, oldest first. Asked for once
    /// per start: it reads all that are closed.
    fn intents_verified_since(
        &self,
        since: UnixMillis,
    ) -> impl Future<Output = Result<Vec<Intent>, StoreError>> + Send;

    /// What is known of all machines' versions, in the order of the machines' ids.
    fn machine_versions(
        &self,
    ) -> impl Future<Output = Result<Vec<MachineVersion>, StoreError>> + Send;

    /// Keeps what is known of machines' versions now.
    fn put_machine_versions(
        &self,
        versions: Vec<MachineVersion>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Forgets machines that are gone.
    fn remove_machine_versions(
        &self,
        machines: Vec<String>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// What is known of all app secrets, in the order of apps and names.
    fn secrets(&self) -> impl Future<Output = Result<Vec<StoredSecret>, StoreError>> + Send;

    /// Keeps what is known of app secrets now.
    fn put_secrets(
        &self,
        secrets: Vec<StoredSecret>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Forgets one secret of an app: it was removed.
    fn remove_secret(
        &self,
        app: String,
        name: String,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Forgets the secrets of apps in which nobody is interested any more.
    fn remove_secrets(
        &self,
        apps: Vec<String>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The usage facts of all machines that are not deleted.
    fn live_usage(&self) -> impl Future<Output = Result<LiveUsage, StoreError>> + Send;

    /// One page of usage facts, in the order of the machines' ids.
    fn usage_page(
        &self,
        page: UsagePage,
    ) -> impl Future<Output = Result<Vec<UsageFact>, StoreError>> + Send;

    /// The usage facts of these machines, as far as there are any, deleted or not.
    fn usage_of(
        &self,
        machines: Vec<String>,
    ) -> impl Future<Output = Result<Vec<UsageFact>, StoreError>> + Send;

    /// Keeps usage facts, and forgets machines that were deleted before `deleted_since`; the oldest
    /// beyond a cap are forgotten too.
    fn put_usage(
        &self,
        facts: Vec<UsageFact>,
        deleted_since: UnixMillis,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// All tombstones, in the order of their tenants. A tenant that is removed gets one.
    fn tombstones(&self) -> impl Future<Output = Result<Vec<Tombstone>, StoreError>> + Send;

    /// Keeps tombstones as they are now, and forgets those that no longer stand.
    fn change_tombstones(
        &self,
        written: Vec<Tombstone>,
        cleared: Vec<Tombstone>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Marks tombstones as acting: from now on it is too late to take back what they name. Answers
    /// for each whether it was marked: not if it no longer stands, or its tenant was written since
    /// the pass looked.
    fn act_on_tombstones(
        &self,
        doomed: Vec<Doomed>,
    ) -> impl Future<Output = Result<Vec<bool>, StoreError>> + Send;
}
