//! Credentials on a controller's disk: with their values, as far as those were shown.

use std::collections::BTreeMap;

use ulid::Ulid;
use vault_controller::store::{
    CredentialKey, CredentialKind, CredentialState, CredentialStore, Credentials, IntentAnswer,
    NewCredential, ShownCredential, StoreError, StoredCredential,
};
use vault_plan::identity::TenantUid;
use vault_plan::time::UnixMillis;

use super::{Database, SimStore};
use crate::boundary::Write;

/// All credentials of a disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    rows: BTreeMap<CredentialKey, (StoredCredential, Vec<u8>)>,
    last_n: BTreeMap<(CredentialKind, TenantUid), u64>,
}

impl Shelf {
    pub(super) fn list(&self, kind: CredentialKind) -> Credentials {
        let of_kind = self.rows.values().map(|(row, _)| row);
        let mut rows: Vec<_> = of_kind.filter(|row| row.of.key.kind == kind).cloned().collect();
        rows.sort_by_key(|row| (row.of.key.tenant_uid, row.of.key.n));
        let numbers = self.last_n.iter().filter(|((of, _), _)| *of == kind);
        Credentials { rows, last_n: numbers.map(|((_, uid), n)| (*uid, *n)).collect() }
    }

    fn begin(&mut self, new: NewCredential, now: UnixMillis) -> Result<(), StoreError> {
        let key = new.key;
        let last = self.last_n.entry((key.kind, key.tenant_uid)).or_default();
        if *last >= key.n {
            return Err(StoreError::Conflict);
        }
        *last = key.n;
        let row = StoredCredential { of: new, state: CredentialState::Minting, sent_at: now };
        self.rows.insert(key, (row, Vec::new()));
        Ok(())
    }

    /// Forgets which numbers were used: what only a broken controller does.
    pub(super) fn forget_numbers(&mut self) {
        self.last_n.clear();
    }

    /// Credentials whose values are there, with those as they are kept: sealed.
    pub(super) fn live(&self) -> impl Iterator<Item = (&StoredCredential, &[u8])> {
        let live = self.rows.values().filter(|(row, _)| row.state != CredentialState::Minting);
        live.map(|(row, sealed)| (row, sealed.as_slice()))
    }

    fn minting(&mut self, key: CredentialKey) -> Option<&mut (StoredCredential, Vec<u8>)> {
        self.rows.get_mut(&key).filter(|(row, _)| row.state == CredentialState::Minting)
    }
}

impl CredentialStore for SimStore {
    async fn credentials(&self, kind: CredentialKind) -> Result<Credentials, StoreError> {
        self.read(|disk| disk.credentials.list(kind)).await
    }

    async fn credentials_of(
        &self,
        kind: CredentialKind,
        tenant_uid: TenantUid,
    ) -> Result<Vec<StoredCredential>, StoreError> {
        self.read(|disk| {
            let rows = disk.credentials.rows.iter();
            let its = rows.filter(|(key, _)| key.kind == kind && key.tenant_uid == tenant_uid);
            its.map(|(_, (row, _))| row.clone()).collect()
        })
        .await
    }

    async fn sealed_credential(&self, key: CredentialKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|disk| {
            let found = disk.credentials.rows.get(&key);
            let live = found.filter(|(row, _)| row.state != CredentialState::Minting);
            live.map(|(_, sealed)| sealed.clone())
        })
        .await
    }

    async fn begin_credential(
        &self,
        new: NewCredential,
        intent: Ulid,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let begin = move |disk: &mut Database| {
            let before = disk.credentials.clone();
            let begun = disk.credentials.begin(new, now);
            let sent = begun.and_then(|()| disk.send_intent(intent, now));
            if sent.is_err() {
                disk.credentials = before;
            }
            sent
        };
        self.write(Write::BeginCredential, begin).await
    }

    async fn keep_credential(
        &self,
        shown: ShownCredential,
        answer: IntentAnswer,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let keep = move |disk: &mut Database| {
            if disk.credentials.minting(shown.key).is_none() {
                return Err(StoreError::Conflict);
            }
            disk.answer_intent(answer, now)?;
            if let Some((row, sealed)) = disk.credentials.minting(shown.key) {
                let ShownCredential { id, live_at, expires_at, .. } = shown;
                row.state = CredentialState::Live { id, live_at, expires_at };
                *sealed = shown.sealed;
            }
            Ok(())
        };
        self.write(Write::KeepCredential, keep).await
    }

    async fn doubt_credential(
        &self,
        key: CredentialKey,
        answer: IntentAnswer,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let doubt = move |disk: &mut Database| {
            disk.answer_intent(answer, now)?;
            if let Some((row, _)) = disk.credentials.minting(key) {
                row.sent_at = now;
            }
            Ok(())
        };
        self.write(Write::DoubtCredential, doubt).await
    }

    async fn remove_credentials(
        &self,
        keys: Vec<CredentialKey>,
        answer: Option<IntentAnswer>,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let remove = move |disk: &mut Database| {
            answer.map_or(Ok(()), |answer| disk.answer_intent(answer, now))?;
            for key in keys {
                disk.credentials.rows.remove(&key);
            }
            Ok(())
        };
        self.write(Write::RemoveCredentials, remove).await
    }
}
