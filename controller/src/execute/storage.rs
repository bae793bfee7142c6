//! What an app secret holds of a tenant's storage: opened at the moment of the call.

use secrecy::SecretString;
use vault_plan::action::{Action, SetSecret};
use vault_plan::desired::StorageValue;

use super::Executor;
use crate::clock::Clock;
use crate::identity::SealedFor;
use crate::platform::Platform;
use crate::storage::KEY_NAME;
use crate::store::{CredentialKey, CredentialKind, Store, StoreError};

/// A value, or why it cannot be had.
pub(super) type Value = Result<SecretString, String>;

impl<P: Platform, S: Store, C: Clock> Executor<P, S, C> {
    /// The value that an action is to set, if it is of the tenant's storage.
    pub(super) async fn storage_value(&self, action: &Action) -> Result<Option<Value>, StoreError> {
        let Action::SetSecret(set) = action else { return Ok(None) };
        let Some(wanted) = &set.storage else { return Ok(None) };
        if let Some(text) = self.secrets.storage_value(wanted) {
            return Ok(Some(Ok(SecretString::from(text))));
        }
        let StorageValue::KeySecret(n) = wanted else { return Ok(None) };
        self.key_secret(set, *n).await.map(Some)
    }

    async fn key_secret(&self, set: &SetSecret, n: u64) -> Result<Value, StoreError> {
        let kind = CredentialKind::AccessKey;
        let key = CredentialKey { kind, tenant_uid: set.tenant_uid, n };
        let Some(sealed) = self.store.sealed_credential(key).await? else {
            return Ok(Err(format!("the secret of access key {n} is not known any more")));
        };
        let tenant = set.tenant_uid;
        let of = SealedFor { tenant, kind: kind.word(), name: KEY_NAME, n };
        let opened = self.secrets.sealer().open(of, &sealed);
        Ok(opened.map_err(|error| format!("the secret of access key {n} cannot be read: {error}")))
    }
}
