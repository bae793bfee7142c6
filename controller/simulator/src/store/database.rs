//! What stands on a controller's disk, and what each transaction does to it.

use std::collections::BTreeMap;

use serde_json::Value;
use ulid::Ulid;
use vault_controller::edits::MachineVersion;
use vault_controller::store::{
    CredentialKind, Intent, IntentAnswer, IntentState, Kind, LiveUsage, Settlement, StatusRow,
    StoreError, StoredCredential, StoredObject, StoredSecret, TenantRow, UsagePage, Verdict,
    tombstone_of,
};
use vault_controller::usage::UsageFact;
use vault_plan::time::UnixMillis;

use super::buckets::Policies;
use super::credentials::Shelf;
use super::tombstones::Graveyard;
use crate::universe::BEGIN_MS;

/// How long an intent that was verified is kept, in milliseconds: nobody asks for older ones.
const VERIFIED_KEPT_MS: i64 = 60_000;

/// A disk.
#[derive(Clone, Debug)]
pub struct Database {
    tenants: BTreeMap<String, Tenant>,
    classes: BTreeMap<String, StoredObject>,
    counter: i64,
    /// Neither verified nor aborted.
    open: BTreeMap<Ulid, Intent>,
    /// How the others ended.
    closed: BTreeMap<Ulid, IntentState>,
    /// Those that were verified lately, and when.
    verified: Vec<(Intent, UnixMillis)>,
    /// In which order intents were marked as being sent.
    sending: BTreeMap<Ulid, u64>,
    secrets: BTreeMap<(String, String), StoredSecret>,
    usage: BTreeMap<String, UsageFact>,
    pub(super) credentials: Shelf,
    pub(super) policies: Policies,
    pub(super) tombstones: Graveyard,
    /// By the machines' ids.
    versions: BTreeMap<String, MachineVersion>,
}

/// A tenant, and the texts that are kept of it.
#[derive(Clone, Debug)]
struct Tenant {
    /// Without its status, which is kept as text alone: few ask for more.
    object: StoredObject,
    row: TenantRow,
}

impl Tenant {
    fn new(object: StoredObject) -> Result<Self, StoreError> {
        let row = TenantRow {
            name: object.name.clone(),
            generation: object.generation,
            deleted_at: object.deleted_at,
            source: serde_json::to_string(&object.source)?,
            metadata: serde_json::to_string(&object.metadata)?,
            spec: serde_json::to_string(&object.spec)?,
            status: object.status.as_ref().map(Value::to_string),
        };
        Ok(Self { object: StoredObject { status: None, ..object }, row })
    }

    fn whole(&self) -> Result<StoredObject, StoreError> {
        let status = self.row.status.as_deref().map(serde_json::from_str).transpose()?;
        Ok(StoredObject { status, ..self.object.clone() })
    }
}

impl Database {
    /// A new database, made `now_ms` after the run's beginning.
    #[must_use]
    pub fn new(now_ms: i64) -> Self {
        Self {
            tenants: BTreeMap::new(),
            classes: BTreeMap::new(),
            counter: (BEGIN_MS + now_ms) << 16,
            open: BTreeMap::new(),
            closed: BTreeMap::new(),
            verified: Vec::new(),
            sending: BTreeMap::new(),
            secrets: BTreeMap::new(),
            usage: BTreeMap::new(),
            credentials: Shelf::default(),
            policies: Policies::default(),
            tombstones: Graveyard::default(),
            versions: BTreeMap::new(),
        }
    }

    /// A disk with these intents on it, as they are.
    #[cfg(test)]
    pub(crate) fn of_intents(intents: Vec<Intent>) -> Self {
        let open = intents.into_iter().map(|intent| (intent.id, intent)).collect();
        Self { open, ..Self::new(0) }
    }

    pub(super) fn objects(&self, kind: Kind) -> Result<Vec<StoredObject>, StoreError> {
        match kind {
            Kind::Tenant => self.tenants.values().map(Tenant::whole).collect(),
            Kind::TenantClass => Ok(self.classes.values().cloned().collect()),
        }
    }

    pub(super) fn object(
        &self,
        kind: Kind,
        name: &str,
    ) -> Result<Option<StoredObject>, StoreError> {
        match kind {
            Kind::Tenant => self.tenants.get(name).map(Tenant::whole).transpose(),
            Kind::TenantClass => Ok(self.classes.get(name).cloned()),
        }
    }

    /// An object as it is stored; of a tenant without its status.
    pub(super) fn stored(&self, kind: Kind, name: &str) -> Option<&StoredObject> {
        match kind {
            Kind::Tenant => self.tenants.get(name).map(|tenant| &tenant.object),
            Kind::TenantClass => self.classes.get(name),
        }
    }

    /// Whether the end of a tenant was asked for and is under way.
    #[must_use]
    pub fn is_ending(&self, tenant: &str) -> bool {
        self.tenants.get(tenant).is_some_and(|tenant| tenant.object.deleted_at.is_some())
    }

    /// The tenants that are not Ready, and why, in the words of their status.
    #[must_use]
    pub fn not_ready(&self) -> Vec<String> {
        let tenants = self.tenants.values().map(|tenant| &tenant.object);
        let why = |object: &StoredObject| {
            let conditions =
                object.status.as_ref().and_then(|status| status["conditions"].as_array());
            let all = conditions.map_or(&[][..], Vec::as_slice);
            let ready = all.iter().find(|condition| condition["type"] == "Ready");
            if ready.is_some_and(|ready| ready["status"] == "True") {
                return None;
            }
            let text = |name: &str| ready.and_then(|ready| ready[name].as_str()).unwrap_or("?");
            Some(format!("{}: {}: {}", object.name, text("reason"), text("message")))
        };
        tenants.filter_map(why).collect()
    }

    pub(super) fn version(&self) -> i64 {
        self.counter
    }

    pub(super) fn tenant_rows(&self, after: &str, limit: usize) -> Vec<TenantRow> {
        let beyond = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        let rows = self.tenants.range::<str, _>(beyond).take(limit);
        rows.map(|(_, tenant)| tenant.row.clone()).collect()
    }

    pub(super) fn status_rows(&self, after: &str, limit: usize) -> Vec<StatusRow> {
        let beyond = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        let rows = self.tenants.range::<str, _>(beyond).take(limit);
        let row = |(name, tenant): (&String, &Tenant)| StatusRow {
            name: name.clone(),
            status: tenant.row.status.clone(),
        };
        rows.map(row).collect()
    }

    pub(super) fn put_object(
        &mut self,
        mut object: StoredObject,
        expected: Option<i64>,
    ) -> Result<StoredObject, StoreError> {
        let found = self.stored(object.kind, &object.name).map(|found| found.resource_version);
        if found != expected {
            return Err(StoreError::Conflict);
        }
        object.resource_version = self.next_version();
        let name = object.name.clone();
        match object.kind {
            Kind::Tenant => drop(self.tenants.insert(name, Tenant::new(object.clone())?)),
            Kind::TenantClass => drop(self.classes.insert(name, object.clone())),
        }
        Ok(object)
    }

    pub(super) fn remove_object(
        &mut self,
        kind: Kind,
        name: &str,
        expected: i64,
    ) -> Result<(), StoreError> {
        let found = self.object(kind, name)?;
        let found = found.filter(|found| found.resource_version == expected);
        let buried = found.as_ref().map(tombstone_of).ok_or(StoreError::Conflict)?;
        self.tombstones.put(buried);
        match kind {
            Kind::Tenant => drop(self.tenants.remove(name)),
            Kind::TenantClass => drop(self.classes.remove(name)),
        }
        self.next_version();
        Ok(())
    }

    pub(super) fn put_statuses(&mut self, statuses: Vec<(String, String)>) {
        for (name, status) in statuses {
            let version = self.next_version();
            if let Some(tenant) = self.tenants.get_mut(&name) {
                tenant.row.status = Some(status);
                tenant.object.resource_version = version;
            }
        }
    }

    pub(super) fn plan_intents(&mut self, intents: Vec<Intent>) {
        for intent in intents {
            self.open.insert(intent.id, Intent { sent_at: None, outcome: None, ..intent });
        }
    }

    pub(super) fn send_intent(&mut self, id: Ulid, now: UnixMillis) -> Result<(), StoreError> {
        let intent = self.transition(id, IntentState::Sent)?;
        intent.sent_at = Some(now);
        let number = self.sending.len() as u64;
        self.sending.insert(id, number);
        Ok(())
    }

    /// The place of an intent among those that were marked as being sent.
    pub(crate) fn sending_number(&self, id: Ulid) -> Option<u64> {
        self.sending.get(&id).copied()
    }

    /// All or nothing, as a transaction is.
    pub(super) fn answer_intent(
        &mut self,
        answer: IntentAnswer,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        match answer.verdict {
            Verdict::Settled(settlement) => self.settle_intents(vec![settlement], now)?,
            Verdict::Doubted { id, outcome } => self.doubt_intent(id, now, outcome),
        }
        self.put_versions(answer.written);
        Ok(())
    }

    fn doubt_intent(&mut self, id: Ulid, now: UnixMillis, outcome: String) {
        let known = self.open.get_mut(&id);
        if let Some(intent) = known.filter(|intent| intent.state == IntentState::Sent) {
            intent.sent_at = Some(now);
            intent.outcome = Some(outcome);
        }
    }

    /// All or none, as a transaction is.
    pub(super) fn settle_intents(
        &mut self,
        all: Vec<Settlement>,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        self.verified.retain(|(_, at)| now.since_ms(*at) < VERIFIED_KEPT_MS);
        let verified = self.verified.len();
        let mut before: Vec<Intent> = Vec::with_capacity(all.len());
        for settlement in all {
            before.extend(self.open.get(&settlement.id).cloned());
            if let Err(error) = self.settle(settlement, now) {
                // Backwards: one that is settled twice is as it was before the first time.
                for intent in before.into_iter().rev() {
                    self.closed.remove(&intent.id);
                    self.open.insert(intent.id, intent);
                }
                self.verified.truncate(verified);
                return Err(error);
            }
        }
        Ok(())
    }

    fn settle(&mut self, settlement: Settlement, now: UnixMillis) -> Result<(), StoreError> {
        let Settlement { id, state, external_id, outcome } = settlement;
        let intent = self.transition(id, state)?;
        intent.external_id = external_id.or_else(|| intent.external_id.take());
        intent.outcome = outcome.or_else(|| intent.outcome.take());
        if matches!(state, IntentState::Verified | IntentState::Aborted) {
            let intent = self.open.remove(&id).filter(|_| state == IntentState::Verified);
            self.verified.extend(intent.map(|intent| (intent, now)));
            self.closed.insert(id, state);
        }
        Ok(())
    }

    fn transition(&mut self, id: Ulid, to: IntentState) -> Result<&mut Intent, StoreError> {
        if let Some(&from) = self.closed.get(&id) {
            return Err(StoreError::IllegalTransition { id, from, to });
        }
        let intent = self.open.get_mut(&id).ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        let from = intent.state;
        if !from.may_become(to) {
            return Err(StoreError::IllegalTransition { id, from, to });
        }
        intent.state = to;
        Ok(intent)
    }

    pub(super) fn intents_verified_since(&self, since: UnixMillis) -> Vec<Intent> {
        let since = self.verified.iter().filter(|(_, at)| *at >= since);
        let mut intents: Vec<Intent> = since.map(|(intent, _)| intent.clone()).collect();
        intents.sort_unstable_by_key(|intent| intent.id);
        intents
    }

    /// The intents that are neither verified nor aborted, the oldest first.
    pub fn open_intents(&self) -> impl Iterator<Item = &Intent> {
        self.open.values()
    }

    /// Credentials whose values are there, sealed.
    pub(crate) fn live_credentials(
        &self,
        kind: CredentialKind,
    ) -> impl Iterator<Item = (&StoredCredential, &[u8])> {
        self.credentials.live().filter(move |(row, _)| row.of.key.kind == kind)
    }

    pub(super) fn versions(&self) -> Vec<MachineVersion> {
        self.versions.values().cloned().collect()
    }

    pub(super) fn put_versions(&mut self, versions: impl IntoIterator<Item = MachineVersion>) {
        for version in versions {
            self.versions.insert(version.machine_id.clone(), version);
        }
    }

    pub(super) fn remove_versions(&mut self, machines: &[String]) {
        self.versions.retain(|machine, _| !machines.contains(machine));
    }

    pub(super) fn secrets(&self) -> Vec<StoredSecret> {
        self.secrets.values().cloned().collect()
    }

    pub(super) fn put_secrets(&mut self, secrets: Vec<StoredSecret>) {
        for secret in secrets {
            self.secrets.insert((secret.app.clone(), secret.name.clone()), secret);
        }
    }

    pub(super) fn remove_secret(&mut self, app: &str, name: &str) {
        self.secrets.retain(|(of, called), _| (&**of, &**called) != (app, name));
    }

    pub(super) fn remove_secrets(&mut self, apps: &[String]) {
        self.secrets.retain(|(app, _), _| !apps.contains(app));
    }

    pub(super) fn live_usage(&self) -> LiveUsage {
        let live = self.usage.values().filter(|fact| fact.deleted_at.is_none());
        let oldest = self.usage.values().filter_map(|fact| fact.deleted_at).min();
        LiveUsage { facts: live.cloned().collect(), oldest_deleted_at: oldest }
    }

    pub(super) fn usage_page(&self, page: &UsagePage) -> Vec<UsageFact> {
        let beyond = (std::ops::Bound::Excluded(page.after.as_str()), std::ops::Bound::Unbounded);
        let facts = self.usage.range::<str, _>(beyond).map(|(_, fact)| fact);
        facts
            .filter(|fact| page.tenant.as_ref().is_none_or(|tenant| *tenant == fact.tenant))
            .filter(|fact| fact.deleted_at.is_none_or(|at| at >= page.deleted_since))
            .take(page.limit as usize)
            .cloned()
            .collect()
    }

    pub(super) fn usage_of(&self, machines: &[String]) -> Vec<UsageFact> {
        machines.iter().filter_map(|id| self.usage.get(id).cloned()).collect()
    }

    pub(super) fn put_usage(&mut self, facts: Vec<UsageFact>, deleted_since: UnixMillis) {
        for fact in facts {
            self.usage.insert(fact.machine_id.clone(), fact);
        }
        self.usage.retain(|_, fact| fact.deleted_at.is_none_or(|at| at >= deleted_since));
    }

    fn next_version(&mut self) -> i64 {
        self.counter += 1;
        self.counter
    }
}
