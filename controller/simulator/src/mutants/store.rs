//! The disk as a broken controller uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ulid::Ulid;
use vault_controller::edits::MachineVersion;
use vault_controller::store::{
    BucketStore, CredentialKey, CredentialKind, CredentialStore, Credentials, Doomed, Intent,
    IntentAnswer, IntentState, Kind, LiveUsage, NewCredential, Settlement, ShownCredential,
    StatusRow, Store, StoreError, StoredCredential, StoredObject, StoredPolicy, StoredSecret,
    TenantRow, UsagePage, Verdict,
};
use vault_controller::usage::UsageFact;
use vault_plan::action::ActionKind;
use vault_plan::identity::TenantUid;
use vault_plan::time::UnixMillis;
use vault_plan::tombstone::Tombstone;

use super::{Bent, Mutation};
use crate::store::SimStore;

/// How long an intent that is said to be durable takes to become so, in milliseconds.
const LATE_COMMIT_MS: i64 = 50;
/// Every so many times what is known of secrets is not found.
const SECRETS_LOST_EVERY: u64 = 5;

/// A process's way to its disk, which may be bent.
#[derive(Clone)]
pub struct MutantStore {
    inner: SimStore,
    bent: Bent,
    process: Arc<Mutex<Process>>,
}

/// What ends with the process.
#[derive(Default)]
struct Process {
    /// The intents that it planned itself.
    planned: BTreeSet<Ulid>,
    /// Intents that are said to be marked as sent and are not, with the time.
    sent: BTreeMap<Ulid, UnixMillis>,
    /// What came of intents, and stands nowhere else.
    answered: BTreeMap<Ulid, Settlement>,
}

impl MutantStore {
    /// The disk of a process that begins now, bent so.
    #[must_use]
    pub fn new(inner: SimStore, bent: Bent) -> Self {
        Self { inner, bent, process: Arc::default() }
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a process before this one planned an intent.
    fn is_inherited(&self, id: Ulid) -> bool {
        !self.process().planned.contains(&id)
    }

    /// Whether nobody may ever decide what came of an intent.
    fn is_undetermined(&self, intent: &Intent) -> bool {
        let creates = matches!(
            intent.kind,
            ActionKind::CreateApp | ActionKind::CreateVolume | ActionKind::CreateMachine
        );
        self.bent.is(Mutation::RefusesWhatItCannotDetermine)
            && creates
            && intent.state == IntentState::Sent
            && self.is_inherited(intent.id)
    }

    /// An intent as the broken controller reads it.
    fn read(&self, mut intent: Intent) -> Intent {
        if self.is_undetermined(&intent) {
            // Acknowledged just now, and under a name that nothing has: for ever waited for.
            intent.state = IntentState::Acked;
            intent.sent_at = Some(self.inner.now());
            intent.external_name = "undetermined".to_owned();
            intent.external_id = Some("undetermined".to_owned());
            intent.kind = ActionKind::CreateVolume;
        }
        if let Some(settlement) = self.process().answered.get(&intent.id) {
            intent.state = settlement.state;
            intent.external_id = settlement.external_id.clone().or(intent.external_id);
        }
        intent
    }

    /// An answer as the broken controller writes it.
    fn written(&self, mut answer: IntentAnswer) -> IntentAnswer {
        if let Verdict::Settled(settlement) = &mut answer.verdict
            && settlement.state == IntentState::Acked
            && self.bent.is(Mutation::VerifiesWithoutLooking)
        {
            settlement.state = IntentState::Verified;
        }
        answer
    }

    /// Writes belatedly that an intent is being sent.
    async fn catch_up(&self, answer: &IntentAnswer) -> Result<(), StoreError> {
        let id = match &answer.verdict {
            Verdict::Settled(settlement) => settlement.id,
            Verdict::Doubted { id, .. } => *id,
        };
        let sent = self.process().sent.remove(&id);
        match sent {
            Some(at) => self.inner.send_intent(id, at).await,
            None => Ok(()),
        }
    }
}

/// Verbs that pass as they are.
macro_rules! as_they_are {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(async fn $name(&self, $($argument: $type),*) -> Result<$answer, StoreError> {
            self.inner.$name($($argument),*).await
        })*
    };
}

impl Store for MutantStore {
    as_they_are! {
        objects(kind: Kind) -> Vec<StoredObject>;
        objects_version() -> i64;
        object(kind: Kind, name: &str) -> Option<StoredObject>;
        tenant_rows(after: &str, limit: usize) -> Vec<TenantRow>;
        put_object(object: StoredObject, expected: Option<i64>) -> StoredObject;
        remove_object(kind: Kind, name: &str, expected: i64) -> ();
        status_rows(after: &str, limit: usize) -> Vec<StatusRow>;
        put_statuses(statuses: Vec<(String, String)>) -> ();
        machine_versions() -> Vec<MachineVersion>;
        put_machine_versions(versions: Vec<MachineVersion>) -> ();
        remove_machine_versions(machines: Vec<String>) -> ();
        put_secrets(secrets: Vec<StoredSecret>) -> ();
        remove_secret(app: String, name: String) -> ();
        remove_secrets(apps: Vec<String>) -> ();
        live_usage() -> LiveUsage;
        usage_page(page: UsagePage) -> Vec<UsageFact>;
        usage_of(machines: Vec<String>) -> Vec<UsageFact>;
        put_usage(facts: Vec<UsageFact>, deleted_since: UnixMillis) -> ();
        tombstones() -> Vec<Tombstone>;
        change_tombstones(written: Vec<Tombstone>, cleared: Vec<Tombstone>) -> ();
    }

    async fn plan_intents(&self, intents: Vec<Intent>) -> Result<(), StoreError> {
        self.process().planned.extend(intents.iter().map(|intent| intent.id));
        self.inner.plan_intents(intents).await
    }

    async fn send_intent(&self, id: Ulid, now: UnixMillis) -> Result<(), StoreError> {
        if self.bent.is(Mutation::JournalsAfterTheCall) {
            self.process().sent.insert(id, now);
            return Ok(());
        }
        if self.bent.is(Mutation::SaysThatSentIsDurableTooSoon) {
            self.inner.send_intent_late(id, now, LATE_COMMIT_MS);
            return Ok(());
        }
        self.inner.send_intent(id, now).await
    }

    async fn answer_intent(&self, answer: IntentAnswer, now: UnixMillis) -> Result<(), StoreError> {
        self.catch_up(&answer).await?;
        if let Verdict::Settled(settlement) = &answer.verdict
            && settlement.state == IntentState::Acked
            && self.bent.is(Mutation::KeepsAnswersInMemory)
        {
            self.process().answered.insert(settlement.id, settlement.clone());
            return Ok(());
        }
        self.inner.answer_intent(self.written(answer), now).await
    }

    async fn settle_intents(
        &self,
        settlements: Vec<Settlement>,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let open = self.inner.open_intents().await?;
        let stays = |id: Ulid| {
            let mut same = open.iter().filter(|intent| intent.id == id);
            same.any(|intent| self.is_undetermined(intent))
        };
        let settlements = settlements.into_iter().filter(|one| !stays(one.id)).collect();
        self.inner.settle_intents(settlements, now).await
    }

    async fn intents_verified_since(&self, since: UnixMillis) -> Result<Vec<Intent>, StoreError> {
        let forgets = self.bent.is(Mutation::NeverReadsItsJournal)
            || self.bent.is(Mutation::ForgetsItsJournalAtARestart);
        if forgets {
            return Ok(Vec::new());
        }
        self.inner.intents_verified_since(since).await
    }

    async fn open_intents(&self) -> Result<Vec<Intent>, StoreError> {
        let mut open = self.inner.open_intents().await?;
        if self.bent.is(Mutation::NeverReadsItsJournal) {
            open.clear();
        }
        if self.bent.is(Mutation::ForgetsItsJournalAtARestart) {
            open.retain(|intent| !self.is_inherited(intent.id));
        }
        Ok(open.into_iter().map(|intent| self.read(intent)).collect())
    }

    async fn secrets(&self) -> Result<Vec<StoredSecret>, StoreError> {
        let looks = {
            let mut memory = self.bent.memory();
            memory.looks_at_secrets += 1;
            memory.looks_at_secrets
        };
        let forgets = self.bent.is(Mutation::ForgetsSecretsNowAndThen);
        match forgets && looks.is_multiple_of(SECRETS_LOST_EVERY) {
            true => Ok(Vec::new()),
            false => self.inner.secrets().await,
        }
    }

    async fn act_on_tombstones(&self, doomed: Vec<Doomed>) -> Result<Vec<bool>, StoreError> {
        match self.bent.is(Mutation::DoomsWithoutAMark) {
            true => Ok(vec![true; doomed.len()]),
            false => self.inner.act_on_tombstones(doomed).await,
        }
    }
}

impl BucketStore for MutantStore {
    as_they_are! {
        bucket_policies() -> Vec<StoredPolicy>;
        put_bucket_policies(policies: Vec<StoredPolicy>) -> ();
        remove_bucket_policy(tenant_uid: TenantUid) -> ();
    }
}

impl CredentialStore for MutantStore {
    async fn credentials(&self, kind: CredentialKind) -> Result<Credentials, StoreError> {
        let mut credentials = self.inner.credentials(kind).await?;
        if self.bent.is(Mutation::ForgetsUsedNumbers) {
            credentials.last_n.clear();
        }
        Ok(credentials)
    }

    async fn credentials_of(
        &self,
        kind: CredentialKind,
        tenant_uid: TenantUid,
    ) -> Result<Vec<StoredCredential>, StoreError> {
        self.inner.credentials_of(kind, tenant_uid).await
    }

    async fn sealed_credential(&self, key: CredentialKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.sealed_credential(key).await
    }

    async fn begin_credential(
        &self,
        new: NewCredential,
        intent: Ulid,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        if self.bent.is(Mutation::ForgetsUsedNumbers) {
            self.inner.forget_numbers();
        }
        self.inner.begin_credential(new, intent, now).await
    }

    async fn keep_credential(
        &self,
        mut shown: ShownCredential,
        answer: IntentAnswer,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        if self.bent.is(Mutation::AcknowledgesWithoutTheValue) {
            shown.sealed.clear();
        }
        self.inner.keep_credential(shown, self.written(answer), now).await
    }

    async fn doubt_credential(
        &self,
        key: CredentialKey,
        answer: IntentAnswer,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        self.inner.doubt_credential(key, answer, now).await
    }

    async fn remove_credentials(
        &self,
        keys: Vec<CredentialKey>,
        answer: Option<IntentAnswer>,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        self.inner.remove_credentials(keys, answer, now).await
    }
}
