//! The verbs that only the API needs, on SQLite.

use rusqlite::Connection;
use tokio::sync::watch;
use vault_plan::time::UnixMillis;

use super::SqliteStore;
use crate::audit::{AuditQuery, AuditRecord};
use crate::events::Event;
use crate::store::{
    ApiStore, Changes, EventChanges, EventSeries, IntentTrace, Kind, Named, Page, PageQuery,
    StoreError, StoreFigures, StoredObject, StoredOperator, Undelete, audit, events, figures,
    history, lookup, objects, operators, pages, tombstones, trace,
};

impl ApiStore for SqliteStore {
    async fn page(&self, kind: Kind, query: PageQuery) -> Result<Page, StoreError> {
        self.read(move |connection| pages::read(connection, kind, &query)).await
    }

    async fn tenants_naming(
        &self,
        named: Named,
        after: &str,
        limit: usize,
    ) -> Result<Vec<StoredObject>, StoreError> {
        let after = after.to_owned();
        self.read(move |connection| lookup::page(connection, &named, &after, limit)).await
    }

    async fn count_naming(&self, named: Named) -> Result<(usize, Option<String>), StoreError> {
        self.read(move |connection| lookup::count(connection, &named)).await
    }

    async fn changes(
        &self,
        kind: Kind,
        since: i64,
        after: i64,
        limit: usize,
    ) -> Result<Changes, StoreError> {
        self.read(move |connection| history::changes(connection, kind, since, after, limit)).await
    }

    async fn event_changes(&self, after: i64, limit: usize) -> Result<EventChanges, StoreError> {
        self.read(move |connection| events::changes(connection, after, limit)).await
    }

    fn commits(&self) -> watch::Receiver<u64> {
        self.writer.commits()
    }

    async fn resource_version(&self) -> Result<i64, StoreError> {
        self.read(objects::resource_version).await
    }

    async fn append_events(&self, events: Vec<Event>) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        self.writer.change(move |connection| events::append(connection, &events)).await
    }

    async fn events(&self, tenant: Option<&str>) -> Result<Vec<EventSeries>, StoreError> {
        let tenant = tenant.map(str::to_owned);
        self.read(move |connection| events::list(connection, tenant.as_deref())).await
    }

    async fn put_object_audited(
        &self,
        object: StoredObject,
        expected: Option<i64>,
        record: AuditRecord,
    ) -> Result<StoredObject, StoreError> {
        let verb = move |connection: &Connection| {
            audit::append(connection, &record)?;
            objects::put(connection, object, expected)
        };
        self.writer.change(verb).await
    }

    async fn remove_object_audited(
        &self,
        kind: Kind,
        name: &str,
        expected: i64,
        record: AuditRecord,
    ) -> Result<(), StoreError> {
        let name = name.to_owned();
        let verb = move |connection: &Connection| {
            audit::append(connection, &record)?;
            objects::remove(connection, kind, &name, expected)
        };
        self.writer.change(verb).await
    }

    async fn append_audit(&self, record: AuditRecord) -> Result<(), StoreError> {
        self.writer.write(move |connection| audit::append(connection, &record)).await
    }

    async fn audit(&self, query: AuditQuery) -> Result<Vec<AuditRecord>, StoreError> {
        self.read(move |connection| audit::list(connection, &query)).await
    }

    async fn operators(&self) -> Result<Vec<StoredOperator>, StoreError> {
        self.read(operators::list).await
    }

    async fn insert_operator(
        &self,
        operator: StoredOperator,
        record: AuditRecord,
    ) -> Result<StoredOperator, StoreError> {
        let verb = move |connection: &Connection| {
            audit::append(connection, &record)?;
            operators::insert(connection, operator)
        };
        self.writer.write(verb).await
    }

    async fn remove_operator(&self, name: &str, record: AuditRecord) -> Result<(), StoreError> {
        let name = name.to_owned();
        let verb = move |connection: &Connection| {
            audit::append(connection, &record)?;
            operators::remove(connection, &name)
        };
        self.writer.write(verb).await
    }

    async fn touch_operator(&self, name: &str, now: UnixMillis) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.writer.write(move |connection| operators::touch(connection, &name, now)).await
    }

    async fn figures(&self) -> Result<StoreFigures, StoreError> {
        self.read(figures::figures).await
    }

    async fn undelete(
        &self,
        name: &str,
        api_owned: bool,
        record: AuditRecord,
    ) -> Result<Undelete, StoreError> {
        let name = name.to_owned();
        let verb = move |connection: &Connection| {
            let undeleted = tombstones::undelete(connection, &name, api_owned)?;
            if matches!(undeleted, Undelete::Done(..)) {
                audit::append(connection, &record)?;
            }
            Ok(undeleted)
        };
        self.writer.change(verb).await
    }

    async fn trace(&self, tenant: &str, limit: u32) -> Result<Vec<IntentTrace>, StoreError> {
        let tenant = tenant.to_owned();
        self.read(move |connection| trace::list(connection, &tenant, limit)).await
    }
}
