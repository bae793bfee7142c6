//! The store on SQLite: opening, the lock, and which verb runs where.

mod api;

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use ulid::Ulid;
use vault_plan::identity::TenantUid;
use vault_plan::time::UnixMillis;
use vault_plan::tombstone::Tombstone;

use super::writer::Writer;
use super::{
    BucketStore, CredentialKey, CredentialKind, CredentialStore, Credentials, Doomed, Intent,
    IntentAnswer, Kind, LiveUsage, NewCredential, Settlement, ShownCredential, StatusRow, Store,
    StoreError, StoredCredential, StoredObject, StoredPolicy, StoredSecret, TenantRow, UsagePage,
    buckets, credentials, journal, migrations, objects, rows, secrets, tombstones, trace, usage,
    versions,
};
use crate::edits::MachineVersion;
use crate::usage::UsageFact;

/// How long SQLite waits for a lock of its own; the writer is alone, so this is never reached but
/// by a backup tool.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of the database each connection keeps, in KiB. The reading one goes from one page of
/// objects to the next and hardly ever reads the same twice, the writing one touches a few pages
/// per commit; the system has the file in memory anyway.
const CACHE_KIB: i64 = 512;

/// The store in one SQLite file.
#[derive(Clone)]
pub struct SqliteStore {
    /// Stands first, so that it is dropped before `shared` waits for the writer's end.
    writer: Writer,
    shared: Arc<Shared>,
}

struct Shared {
    reader: Mutex<Connection>,
    /// Ends when the last clone of the store, and with it the last `Writer`, is gone.
    thread: Option<JoinHandle<()>>,
    /// Held for as long as anything is written: a second controller must not open the same file.
    _lock: File,
}

impl SqliteStore {
    /// Opens or makes the database `path`, takes its lock and brings its schema up to date.
    ///
    /// # Errors
    /// If another controller holds the lock, the file is from a newer version, or it cannot be
    /// opened.
    pub fn open(path: &Path, now: UnixMillis) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        // Specs may hold what is nobody else's business; SQLite gives its other files this mode too.
        private(path)?;
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // The journal of intents is worth nothing if a commit can be lost to a power cut.
        connection.pragma_update(None, "synchronous", "FULL")?;
        // Below zero SQLite counts KiB instead of pages.
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        migrations::migrate(&mut connection, now.0)?;
        let reader = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        reader.busy_timeout(BUSY_TIMEOUT)?;
        reader.pragma_update(None, "cache_size", -CACHE_KIB)?;
        let (writer, thread) = Writer::start(connection).map_err(StoreError::Open)?;
        let shared = Shared { reader: Mutex::new(reader), thread: Some(thread), _lock: lock };
        Ok(Self { writer, shared: Arc::new(shared) })
    }

    async fn read<T, F>(&self, verb: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || {
            let connection = shared.reader.lock().unwrap_or_else(PoisonError::into_inner);
            verb(&connection)
        })
        .await
        .map_err(|_| StoreError::Closed)?
    }
}

impl Drop for Shared {
    /// Waits until the writer has done what was asked of it; the lock is freed after that.
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic of the writer has been answered as `Closed` to everyone who waited.
            drop(thread.join());
        }
    }
}

impl Store for SqliteStore {
    async fn objects(&self, kind: Kind) -> Result<Vec<StoredObject>, StoreError> {
        self.read(move |connection| objects::list(connection, kind)).await
    }

    async fn object(&self, kind: Kind, name: &str) -> Result<Option<StoredObject>, StoreError> {
        let name = name.to_owned();
        self.read(move |connection| objects::one(connection, kind, &name)).await
    }

    async fn objects_version(&self) -> Result<i64, StoreError> {
        self.read(objects::resource_version).await
    }

    async fn tenant_rows(&self, after: &str, limit: usize) -> Result<Vec<TenantRow>, StoreError> {
        let after = after.to_owned();
        self.read(move |connection| rows::page(connection, &after, limit)).await
    }

    async fn status_rows(&self, after: &str, limit: usize) -> Result<Vec<StatusRow>, StoreError> {
        let after = after.to_owned();
        self.read(move |connection| rows::statuses(connection, &after, limit)).await
    }

    async fn put_object(
        &self,
        object: StoredObject,
        expected: Option<i64>,
    ) -> Result<StoredObject, StoreError> {
        self.writer.change(move |connection| objects::put(connection, object, expected)).await
    }

    async fn remove_object(&self, kind: Kind, name: &str, expected: i64) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.writer
            .change(move |connection| objects::remove(connection, kind, &name, expected))
            .await
    }

    async fn put_statuses(&self, statuses: Vec<(String, String)>) -> Result<(), StoreError> {
        if statuses.is_empty() {
            return Ok(());
        }
        self.writer.change(move |connection| objects::put_statuses(connection, &statuses)).await
    }

    async fn plan_intents(&self, intents: Vec<Intent>) -> Result<(), StoreError> {
        self.writer.write(move |connection| journal::plan(connection, &intents)).await
    }

    async fn send_intent(&self, id: Ulid, now: UnixMillis) -> Result<(), StoreError> {
        self.writer.write(move |connection| journal::send(connection, id, now)).await
    }

    async fn answer_intent(&self, answer: IntentAnswer, now: UnixMillis) -> Result<(), StoreError> {
        self.writer.write(move |connection| trace::answer(connection, &answer, now)).await
    }

    async fn settle_intents(
        &self,
        settlements: Vec<Settlement>,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        if settlements.is_empty() {
            return Ok(());
        }
        self.writer.write(move |connection| journal::settle(connection, &settlements, now)).await
    }

    async fn open_intents(&self) -> Result<Vec<Intent>, StoreError> {
        self.read(journal::open).await
    }

    async fn intents_verified_since(&self, since: UnixMillis) -> Result<Vec<Intent>, StoreError> {
        self.read(move |connection| journal::verified_since(connection, since)).await
    }

    async fn machine_versions(&self) -> Result<Vec<MachineVersion>, StoreError> {
        self.read(versions::list).await
    }

    async fn put_machine_versions(&self, news: Vec<MachineVersion>) -> Result<(), StoreError> {
        if news.is_empty() {
            return Ok(());
        }
        self.writer.write(move |connection| versions::put(connection, &news)).await
    }

    async fn remove_machine_versions(&self, machines: Vec<String>) -> Result<(), StoreError> {
        if machines.is_empty() {
            return Ok(());
        }
        self.writer.write(move |connection| versions::remove(connection, &machines)).await
    }

    async fn secrets(&self) -> Result<Vec<StoredSecret>, StoreError> {
        self.read(secrets::list).await
    }

    async fn put_secrets(&self, secrets: Vec<StoredSecret>) -> Result<(), StoreError> {
        if secrets.is_empty() {
            return Ok(());
        }
        self.writer.write(move |connection| secrets::put(connection, &secrets)).await
    }

    async fn remove_secret(&self, app: String, name: String) -> Result<(), StoreError> {
        self.writer.write(move |connection| secrets::remove_one(connection, &app, &name)).await
    }

    async fn remove_secrets(&self, apps: Vec<String>) -> Result<(), StoreError> {
        if apps.is_empty() {
            return Ok(());
        }
        self.writer.write(move |connection| secrets::remove(connection, &apps)).await
    }

    async fn live_usage(&self) -> Result<LiveUsage, StoreError> {
        self.read(usage::live).await
    }

    async fn usage_page(&self, page: UsagePage) -> Result<Vec<UsageFact>, StoreError> {
        self.read(move |connection| usage::page(connection, &page)).await
    }

    async fn usage_of(&self, machines: Vec<String>) -> Result<Vec<UsageFact>, StoreError> {
        self.read(move |connection| usage::of_machines(connection, &machines)).await
    }

    async fn put_usage(
        &self,
        facts: Vec<UsageFact>,
        deleted_since: UnixMillis,
    ) -> Result<(), StoreError> {
        self.writer.write(move |connection| usage::put(connection, &facts, deleted_since)).await
    }

    async fn tombstones(&self) -> Result<Vec<Tombstone>, StoreError> {
        self.read(tombstones::list).await
    }

    async fn change_tombstones(
        &self,
        written: Vec<Tombstone>,
        cleared: Vec<Tombstone>,
    ) -> Result<(), StoreError> {
        if written.is_empty() && cleared.is_empty() {
            return Ok(());
        }
        self.writer
            .write(move |connection| tombstones::change(connection, &written, &cleared))
            .await
    }

    async fn act_on_tombstones(&self, doomed: Vec<Doomed>) -> Result<Vec<bool>, StoreError> {
        if doomed.is_empty() {
            return Ok(Vec::new());
        }
        self.writer.write(move |connection| tombstones::act(connection, &doomed)).await
    }
}

impl BucketStore for SqliteStore {
    async fn bucket_policies(&self) -> Result<Vec<StoredPolicy>, StoreError> {
        self.read(buckets::list).await
    }

    async fn put_bucket_policies(&self, policies: Vec<StoredPolicy>) -> Result<(), StoreError> {
        self.writer.write(move |connection| buckets::put(connection, &policies)).await
    }

    async fn remove_bucket_policy(&self, tenant_uid: TenantUid) -> Result<(), StoreError> {
        self.writer.write(move |connection| buckets::remove(connection, tenant_uid)).await
    }
}

impl CredentialStore for SqliteStore {
    async fn credentials(&self, kind: CredentialKind) -> Result<Credentials, StoreError> {
        self.read(move |connection| credentials::list(connection, kind)).await
    }

    async fn credentials_of(
        &self,
        kind: CredentialKind,
        tenant_uid: TenantUid,
    ) -> Result<Vec<StoredCredential>, StoreError> {
        self.read(move |connection| credentials::of_tenant(connection, kind, tenant_uid)).await
    }

    async fn sealed_credential(&self, key: CredentialKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(move |connection| credentials::sealed(connection, key)).await
    }

    async fn begin_credential(
        &self,
        new: NewCredential,
        intent: Ulid,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        self.writer.write(move |connection| credentials::begin(connection, &new, intent, now)).await
    }

    async fn keep_credential(
        &self,
        shown: ShownCredential,
        answer: IntentAnswer,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let verb =
            move |connection: &Connection| credentials::keep(connection, &shown, &answer, now);
        self.writer.write(verb).await
    }

    async fn doubt_credential(
        &self,
        key: CredentialKey,
        answer: IntentAnswer,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        self.writer.write(move |connection| credentials::doubt(connection, key, &answer, now)).await
    }

    async fn remove_credentials(
        &self,
        keys: Vec<CredentialKey>,
        answer: Option<IntentAnswer>,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let verb = move |connection: &Connection| {
            credentials::remove(connection, &keys, answer.as_ref(), now)
        };
        self.writer.write(verb).await
    }
}

/// Takes an advisory lock on a file beside the database; the system frees it when we end, however
/// that happens.
fn lock(path: &Path) -> Result<File, StoreError> {
    let lock_path = path.with_extension("lock");
    let file = private(&lock_path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(StoreError::Locked(path.display().to_string()))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(StoreError::Open(error)),
    }
}

/// Opens a file for writing; if it is new, only its owner may read it.
fn private(path: &Path) -> Result<File, StoreError> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true).mode(0o600);
    options.open(path).map_err(StoreError::Open)
}

#[cfg(test)]
mod tests;
