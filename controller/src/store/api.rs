//! What the API needs of the store beyond what a pass does: pages, changes to be watched, events, the
//! audit log, operators.

use std::future::Future;

use tokio::sync::watch;
use vault_plan::time::UnixMillis;

use super::{
    Changes, EventChanges, EventSeries, IntentTrace, Kind, Named, Page, PageQuery, Store,
    StoreError, StoreFigures, StoredObject, StoredOperator, Undelete,
};
use crate::audit::{AuditQuery, AuditRecord};
use crate::events::Event;

/// A store that serves requests too. As with [`Store`], each verb is one transaction.
pub trait ApiStore: Store {
    /// Some objects of one kind, in the order of their names, with the state of the whole at that
    /// moment.
    fn page(
        &self,
        kind: Kind,
        query: PageQuery,
    ) -> impl Future<Output = Result<Page, StoreError>> + Send;

    /// Some of the tenants whose specs name one class or app, in the order of their names: those
    /// after `after`, and at most `limit`. Only these are decoded.
    fn tenants_naming(
        &self,
        named: Named,
        after: &str,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<StoredObject>, StoreError>> + Send;

    /// How many tenants' specs name one class or app, and the first of their names.
    fn count_naming(
        &self,
        named: Named,
    ) -> impl Future<Output = Result<(usize, Option<String>), StoreError>> + Send;

    /// What happened to the objects of one kind after version `after`, at most `limit` changes, the
    /// oldest first, with the labels that were replaced after version `since`. Whoever reads in
    /// several steps stays with one `since`.
    fn changes(
        &self,
        kind: Kind,
        since: i64,
        after: i64,
        limit: usize,
    ) -> impl Future<Output = Result<Changes, StoreError>> + Send;

    /// The series of events that grew after version `after`, at most `limit` of them, in the order
    /// in which they did.
    fn event_changes(
        &self,
        after: i64,
        limit: usize,
    ) -> impl Future<Output = Result<EventChanges, StoreError>> + Send;

    /// A number that grows whenever objects or events have been changed, after that has reached the
    /// disk.
    fn commits(&self) -> watch::Receiver<u64>;

    /// The newest resourceVersion that was given out.
    fn resource_version(&self) -> impl Future<Output = Result<i64, StoreError>> + Send;

    /// Keeps events; the oldest beyond a cap are dropped.
    fn append_events(
        &self,
        events: Vec<Event>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The events that are kept, of one tenant or all: equal ones as one, the newest last.
    fn events(
        &self,
        tenant: Option<&str>,
    ) -> impl Future<Output = Result<Vec<EventSeries>, StoreError>> + Send;

    /// As [`Store::put_object`], with the record of the request that asked for it: both or neither.
    fn put_object_audited(
        &self,
        object: StoredObject,
        expected: Option<i64>,
        record: AuditRecord,
    ) -> impl Future<Output = Result<StoredObject, StoreError>> + Send;

    /// As [`Store::remove_object`], with the record of the request that asked for it.
    fn remove_object_audited(
        &self,
        kind: Kind,
        name: &str,
        expected: i64,
        record: AuditRecord,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Keeps the record of a request that changed nothing.
    fn append_audit(
        &self,
        record: AuditRecord,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The records that are wanted, the newest last.
    fn audit(
        &self,
        query: AuditQuery,
    ) -> impl Future<Output = Result<Vec<AuditRecord>, StoreError>> + Send;

    /// All operator tokens, in the order of their names.
    fn operators(&self) -> impl Future<Output = Result<Vec<StoredOperator>, StoreError>> + Send;

    /// Keeps a new operator token; [`StoreError::Conflict`] if there is one of that name.
    fn insert_operator(
        &self,
        operator: StoredOperator,
        record: AuditRecord,
    ) -> impl Future<Output = Result<StoredOperator, StoreError>> + Send;

    /// Forgets an operator token; [`StoreError::Conflict`] if there is none of that name.
    fn remove_operator(
        &self,
        name: &str,
        record: AuditRecord,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Notes that an operator token was used at `now`.
    fn touch_operator(
        &self,
        name: &str,
        now: UnixMillis,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// What is in the store, counted.
    fn figures(&self) -> impl Future<Output = Result<StoreFigures, StoreError>> + Send;

    /// Brings a deleted tenant back as it was, clears its tombstones and keeps the record of the
    /// request, or changes nothing and says why. With `api_owned` the API owns it from then on.
    fn undelete(
        &self,
        name: &str,
        api_owned: bool,
        record: AuditRecord,
    ) -> impl Future<Output = Result<Undelete, StoreError>> + Send;

    /// The last intents of a tenant, at most `limit`, the newest last; closed ones for as long as
    /// they are kept.
    fn trace(
        &self,
        tenant: &str,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<IntentTrace>, StoreError>> + Send;
}
