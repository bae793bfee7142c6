//! A store that dies well: each verb is a transaction with a commit point of its own.
//!
//! ```text
//!   asked ──▶ (on its way to the disk) ──▶ durable ──▶ known
//!     │ dies: lost        │ dies: lost or kept   │ dies: kept, and the next process finds it
//! ```

mod bending;
mod buckets;
mod credentials;
mod database;
mod tombstones;

use std::future::pending;

use tokio::sync::oneshot;
use ulid::Ulid;
use vault_controller::edits::MachineVersion;
use vault_controller::store::{
    Doomed, Intent, IntentAnswer, Kind, LiveUsage, Settlement, StatusRow, Store, StoreError,
    StoredObject, StoredSecret, TenantRow, UsagePage, Verdict,
};
use vault_controller::usage::UsageFact;
use vault_plan::time::UnixMillis;
use vault_plan::tombstone::Tombstone;

pub use database::Database;

use crate::boundary::{Boundary, Place, Write};
use crate::process::ProcessId;
use crate::universe::Shared;

/// How long a transaction takes to reach the disk, in milliseconds.
const COMMIT_MS: std::ops::Range<i64> = 0..3;

/// A process's way to its controller's disk.
#[derive(Clone)]
pub struct SimStore {
    shared: Shared,
    controller: usize,
    process: ProcessId,
}

impl SimStore {
    /// The disk of the controller with that place, as one of its processes sees it.
    #[must_use]
    pub fn new(shared: Shared, controller: usize, process: ProcessId) -> Self {
        Self { shared, controller, process }
    }

    /// Looks at the disk.
    async fn read<T>(&self, look: impl FnOnce(&Database) -> T + Send) -> Result<T, StoreError> {
        let seen = {
            let universe = self.shared.lock();
            let dead = universe.processes.is_dead(self.process);
            (!dead).then(|| look(&universe.controllers[self.controller].disk))
        };
        match seen {
            Some(seen) => Ok(seen),
            None => pending().await,
        }
    }

    /// Changes the disk.
    async fn write<T: Send + 'static>(
        &self,
        write: Write,
        change: impl FnOnce(&mut Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let (controller, process) = (self.controller, self.process);
        self.shared.stand_still(process).await;
        let dead = {
            let mut universe = self.shared.lock();
            let dead = universe.boundary(process, Boundary::of_write(write, Place::Asked));
            if !dead {
                let delay_ms = universe.draw_ms(COMMIT_MS);
                universe.after(delay_ms, move |universe| {
                    // What was on its way when the process died may have come through.
                    if universe.processes.is_dead(process) && universe.chance.bool() {
                        return;
                    }
                    let committed = change(&mut universe.controllers[controller].disk);
                    if !universe.boundary(process, Boundary::of_write(write, Place::Effect)) {
                        universe.answer(answer, committed);
                    }
                });
            }
            dead
        };
        if dead {
            pending::<()>().await;
        }
        let committed = self.shared.wait(answered).await;
        self.shared.stand_still(process).await;
        match self.shared.lock().boundary(process, Boundary::of_write(write, Place::Known)) {
            true => {}
            false => return committed,
        }
        pending().await
    }
}

impl Store for SimStore {
    async fn objects(&self, kind: Kind) -> Result<Vec<StoredObject>, StoreError> {
        self.read(|disk| disk.objects(kind)).await?
    }

    async fn object(&self, kind: Kind, name: &str) -> Result<Option<StoredObject>, StoreError> {
        self.read(|disk| disk.object(kind, name)).await?
    }

    async fn objects_version(&self) -> Result<i64, StoreError> {
        self.read(Database::version).await
    }

    async fn tenant_rows(&self, after: &str, limit: usize) -> Result<Vec<TenantRow>, StoreError> {
        self.read(|disk| disk.tenant_rows(after, limit)).await
    }

    async fn status_rows(&self, after: &str, limit: usize) -> Result<Vec<StatusRow>, StoreError> {
        self.read(|disk| disk.status_rows(after, limit)).await
    }

    async fn put_object(
        &self,
        object: StoredObject,
        expected: Option<i64>,
    ) -> Result<StoredObject, StoreError> {
        self.write(Write::PutObject, move |disk| disk.put_object(object, expected)).await
    }

    async fn remove_object(&self, kind: Kind, name: &str, expected: i64) -> Result<(), StoreError> {
        let name = name.to_owned();
        let remove = move |disk: &mut Database| disk.remove_object(kind, &name, expected);
        self.write(Write::RemoveObject, remove).await
    }

    async fn put_statuses(&self, statuses: Vec<(String, String)>) -> Result<(), StoreError> {
        if statuses.is_empty() {
            return Ok(());
        }
        let put = move |disk: &mut Database| {
            disk.put_statuses(statuses);
            Ok(())
        };
        self.write(Write::PutStatuses, put).await
    }

    async fn plan_intents(&self, intents: Vec<Intent>) -> Result<(), StoreError> {
        let plan = move |disk: &mut Database| {
            disk.plan_intents(intents);
            Ok(())
        };
        self.write(Write::PlanIntents, plan).await
    }

    async fn send_intent(&self, id: Ulid, now: UnixMillis) -> Result<(), StoreError> {
        self.write(Write::SendIntent, move |disk| disk.send_intent(id, now)).await
    }

    async fn answer_intent(&self, answer: IntentAnswer, now: UnixMillis) -> Result<(), StoreError> {
        let write = match answer.verdict {
            Verdict::Settled(_) => Write::SettleIntent,
            Verdict::Doubted { .. } => Write::DoubtIntent,
        };
        self.write(write, move |disk| disk.answer_intent(answer, now)).await
    }

    async fn settle_intents(
        &self,
        settlements: Vec<Settlement>,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        if settlements.is_empty() {
            return Ok(());
        }
        self.write(Write::SettleIntents, move |disk| disk.settle_intents(settlements, now)).await
    }

    async fn machine_versions(&self) -> Result<Vec<MachineVersion>, StoreError> {
        self.read(Database::versions).await
    }

    async fn put_machine_versions(&self, versions: Vec<MachineVersion>) -> Result<(), StoreError> {
        if versions.is_empty() {
            return Ok(());
        }
        let put = move |disk: &mut Database| {
            disk.put_versions(versions);
            Ok(())
        };
        self.write(Write::PutVersions, put).await
    }

    async fn remove_machine_versions(&self, machines: Vec<String>) -> Result<(), StoreError> {
        if machines.is_empty() {
            return Ok(());
        }
        let remove = move |disk: &mut Database| {
            disk.remove_versions(&machines);
            Ok(())
        };
        self.write(Write::RemoveVersions, remove).await
    }

    async fn open_intents(&self) -> Result<Vec<Intent>, StoreError> {
        self.read(|disk| disk.open_intents().cloned().collect()).await
    }

    async fn intents_verified_since(&self, since: UnixMillis) -> Result<Vec<Intent>, StoreError> {
        self.read(|disk| disk.intents_verified_since(since)).await
    }

    async fn secrets(&self) -> Result<Vec<StoredSecret>, StoreError> {
        self.read(Database::secrets).await
    }

    async fn put_secrets(&self, secrets: Vec<StoredSecret>) -> Result<(), StoreError> {
        if secrets.is_empty() {
            return Ok(());
        }
        let put = move |disk: &mut Database| {
            disk.put_secrets(secrets);
            Ok(())
        };
        self.write(Write::PutSecrets, put).await
    }

    async fn remove_secret(&self, app: String, name: String) -> Result<(), StoreError> {
        let remove = move |disk: &mut Database| {
            disk.remove_secret(&app, &name);
            Ok(())
        };
        self.write(Write::RemoveSecret, remove).await
    }

    async fn remove_secrets(&self, apps: Vec<String>) -> Result<(), StoreError> {
        if apps.is_empty() {
            return Ok(());
        }
        let remove = move |disk: &mut Database| {
            disk.remove_secrets(&apps);
            Ok(())
        };
        self.write(Write::RemoveSecrets, remove).await
    }

    async fn live_usage(&self) -> Result<LiveUsage, StoreError> {
        self.read(Database::live_usage).await
    }

    async fn usage_page(&self, page: UsagePage) -> Result<Vec<UsageFact>, StoreError> {
        self.read(move |disk| disk.usage_page(&page)).await
    }

    async fn usage_of(&self, machines: Vec<String>) -> Result<Vec<UsageFact>, StoreError> {
        self.read(move |disk| disk.usage_of(&machines)).await
    }

    async fn put_usage(
        &self,
        facts: Vec<UsageFact>,
        deleted_since: UnixMillis,
    ) -> Result<(), StoreError> {
        let put = move |disk: &mut Database| {
            disk.put_usage(facts, deleted_since);
            Ok(())
        };
        self.write(Write::PutUsage, put).await
    }

    async fn tombstones(&self) -> Result<Vec<Tombstone>, StoreError> {
        self.read(Database::tombstones).await
    }

    async fn change_tombstones(
        &self,
        written: Vec<Tombstone>,
        cleared: Vec<Tombstone>,
    ) -> Result<(), StoreError> {
        if written.is_empty() && cleared.is_empty() {
            return Ok(());
        }
        let change = move |disk: &mut Database| {
            disk.change_tombstones(written, cleared);
            Ok(())
        };
        self.write(Write::ChangeTombstones, change).await
    }

    async fn act_on_tombstones(&self, doomed: Vec<Doomed>) -> Result<Vec<bool>, StoreError> {
        if doomed.is_empty() {
            return Ok(Vec::new());
        }
        let act = move |disk: &mut Database| Ok(disk.act_on_tombstones(doomed));
        self.write(Write::ActOnTombstones, act).await
    }
}
