//! A credential through the journal, a deploy token or an access key: its number is used up before it
//! is asked for, and its value is sealed and stored with the acknowledgement, or never.
//!
//! ```text
//!   begin: number, intent sent ─▶ call ─┬─ a value ──▶ keep: sealed value, intent acked
//!                                       ├─ refused ──▶ remove: intent aborted, the number stays used
//!                                       └─ unknown ──▶ doubt: the list will show it, or never
//! ```

use secrecy::SecretString;
use ulid::Ulid;
use vault_plan::action::{Action, PlannedAction};
use vault_plan::observed::HoldKind;
use vault_plan::time::UnixMillis;

use super::apply::{Applied, Created, Made, apply};
use super::{Acted, Executor, Failure};
use crate::clock::Clock;
use crate::identity::SealedFor;
use crate::platform::Platform;
use crate::record::{CallRecord, recorded};
use crate::storage::KEY_NAME;
use crate::store::{
    CredentialKey, CredentialKind, IntentAnswer, IntentState, NewCredential, Settlement,
    ShownCredential, Store, StoreError, StoredCredential, Verdict,
};

/// A credential that was made, with its value.
pub(super) struct MadeCredential {
    /// The platform's id.
    pub(super) id: String,
    /// Shown once.
    pub(super) value: SecretString,
    /// When it ends, if the platform said.
    pub(super) expires_at: Option<UnixMillis>,
}

impl<P: Platform, S: Store, C: Clock> Executor<P, S, C> {
    /// Makes a credential.
    pub(super) async fn mint(
        &self,
        intent: Ulid,
        action: PlannedAction,
        minting: Minting,
    ) -> Result<Acted, StoreError> {
        let key = minting.key;
        let new = NewCredential {
            key,
            tenant: action.tenant.to_string(),
            name: minting.name.clone(),
            organization: action.organization.to_string(),
            app: action.app.clone(),
        };
        self.store.begin_credential(new, intent, self.clock.now()).await?;
        let (applied, calls) = self.call(intent, action).await;
        let now = self.clock.now();
        match applied {
            Applied::Done(Some(Created::Credential(made))) => {
                let of = SealedFor {
                    tenant: key.tenant_uid,
                    kind: key.kind.word(),
                    name: &minting.name,
                    n: key.n,
                };
                let sealed = match self.secrets.sealer().seal(of, &made.value) {
                    Ok(sealed) => sealed,
                    // It is there, and nobody will ever have its value: it goes like one whose
                    // answer was lost.
                    Err(error) => {
                        return self.doubt(key, (intent, calls), failure(error.to_string())).await;
                    }
                };
                // An end that is over already says more about somebody's clock than about it.
                let told = made.expires_at.filter(|end| *end > now);
                let expires_at = told.or_else(|| minting.ttl_ms.map(|ttl| now.plus_ms(ttl)));
                let id = made.id.clone();
                let shown = ShownCredential { key, id, live_at: now, expires_at, sealed };
                let settled = settlement(intent, IntentState::Acked, Some(made.id), None);
                self.store.keep_credential(shown, answer(settled, calls), now).await?;
                Ok(Acted::Worked)
            }
            Applied::Done(_) | Applied::WasThere(_) | Applied::Partly(_) => {
                let message = "the platform said yes and showed no value".to_owned();
                self.doubt(key, (intent, calls), failure(message)).await
            }
            Applied::NotDone(failure) => {
                let outcome = Some(failure.message.clone());
                let settled = settlement(intent, IntentState::Aborted, None, outcome);
                let answer = Some(answer(settled, calls));
                self.store.remove_credentials(vec![key], answer, now).await?;
                Ok(Acted::Failed(failure))
            }
            Applied::Unknown(failure) => self.doubt(key, (intent, calls), failure).await,
        }
    }

    /// Revokes a credential, and forgets it if we knew it.
    pub(super) async fn revoke(
        &self,
        intent: Ulid,
        action: PlannedAction,
        revoking: Revoking,
    ) -> Result<Acted, StoreError> {
        self.store.send_intent(intent, self.clock.now()).await?;
        let (applied, calls) = self.call(intent, action).await;
        let now = self.clock.now();
        match applied {
            Applied::Done(_) | Applied::WasThere(_) | Applied::Partly(_) => {
                let settled =
                    settlement(intent, IntentState::Acked, Some(revoking.id.clone()), None);
                let stored = match revoking.key {
                    Some(key) => self.store.credentials_of(key.kind, key.tenant_uid).await?,
                    None => Vec::new(),
                };
                // One of a live one's name that nobody has the value of leaves the live one alone.
                let is_it = |row: &&StoredCredential| {
                    revoking.key == Some(row.of.key) && row.may_be(&revoking.id)
                };
                let keys = stored.iter().filter(is_it).map(|row| row.of.key).collect();
                self.store.remove_credentials(keys, Some(answer(settled, calls)), now).await?;
                Ok(Acted::Worked)
            }
            Applied::NotDone(failure) => {
                let outcome = Some(failure.message.clone());
                let settled = settlement(intent, IntentState::Aborted, None, outcome);
                self.store.answer_intent(answer(settled, calls), now).await?;
                Ok(Acted::Failed(failure))
            }
            Applied::Unknown(failure) => {
                self.store.answer_intent(doubted(intent, calls, &failure), now).await?;
                Ok(Acted::Failed(failure))
            }
        }
    }

    async fn call(&self, intent: Ulid, action: PlannedAction) -> (Applied, Vec<CallRecord>) {
        let (made, name) = (Made::default(), intent.to_string());
        let call = apply(&*self.platform, &self.secrets, action, &name, &made);
        recorded(&self.clock, call).await
    }

    /// Whether there is one is not known, or its value is lost: the next passes look.
    async fn doubt(
        &self,
        key: CredentialKey,
        (intent, calls): (Ulid, Vec<CallRecord>),
        failure: Failure,
    ) -> Result<Acted, StoreError> {
        let answer = doubted(intent, calls, &failure);
        self.store.doubt_credential(key, answer, self.clock.now()).await?;
        Ok(Acted::Failed(failure))
    }
}

fn answer(settlement: Settlement, calls: Vec<CallRecord>) -> IntentAnswer {
    IntentAnswer { verdict: Verdict::Settled(settlement), calls, written: None }
}

fn doubted(id: Ulid, calls: Vec<CallRecord>, failure: &Failure) -> IntentAnswer {
    let verdict = Verdict::Doubted { id, outcome: failure.message.clone() };
    IntentAnswer { verdict, calls, written: None }
}

/// A credential to be made.
pub(super) struct Minting {
    key: CredentialKey,
    /// As the manifest calls it.
    name: String,
    /// How long it is good, in milliseconds, if it has an end.
    ttl_ms: Option<i64>,
}

/// A credential to be revoked.
pub(super) struct Revoking {
    /// The platform's id.
    id: String,
    /// Which it is, if its name tells.
    key: Option<CredentialKey>,
}

/// What an action is about, if it is about a credential.
pub(super) enum AboutCredential {
    Mint(Minting),
    Revoke(Revoking),
}

impl AboutCredential {
    pub(super) fn of(action: &Action) -> Option<Self> {
        let key = |kind, tenant_uid, n| CredentialKey { kind, tenant_uid, n };
        let (token, access_key) = (CredentialKind::DeployToken, CredentialKind::AccessKey);
        Some(match action {
            Action::MintToken(mint) => Self::Mint(Minting {
                key: key(token, mint.tenant_uid, mint.n),
                name: mint.name.to_string(),
                ttl_ms: Some(mint.ttl_ms),
            }),
            Action::RevokeToken(revoke) => Self::Revoke(Revoking {
                id: revoke.id.clone(),
                key: revoke.n.map(|n| key(token, revoke.tenant_uid, n)),
            }),
            Action::CreateAccessKey(create) => Self::Mint(Minting {
                key: key(access_key, create.tenant_uid, create.n),
                name: KEY_NAME.to_owned(),
                ttl_ms: None,
            }),
            Action::RevokeAccessKey(revoke) => Self::Revoke(Revoking {
                id: revoke.id.clone(),
                key: revoke.n.map(|n| key(access_key, revoke.tenant_uid, n)),
            }),
            _ => return None,
        })
    }
}

fn failure(message: String) -> Failure {
    Failure { hold: HoldKind::BackOff, message }
}

fn settlement(
    id: Ulid,
    state: IntentState,
    external_id: Option<String>,
    outcome: Option<String>,
) -> Settlement {
    Settlement { id, state, external_id, outcome }
}
