//! The part of a pass that stops believing what a call without an answer may have changed.
//!
//! ```text
//!   a secret is set or removed, a policy put or deleted ─▶ no answer ─▶ what was known of it is a doubt
//! ```
//!
//! Doing it again does no harm, and is done if it is still wanted. If it is not wanted any more, because
//! somebody changed the manifest back or deleted the tenant meanwhile, what was known before would say that
//! nothing is to be done.

use vault_plan::action::ActionKind;
use vault_plan::bucket::policy_name;
use vault_plan::observed::SecretState;
use vault_plan::time::UnixMillis;

use super::Reconciler;
use crate::clock::Clock;
use crate::platform::Platform;
use crate::store::{Intent, IntentState, Store, StoreError, StoredPolicy, StoredSecret};

impl<P: Platform, S: Store, C: Clock> Reconciler<P, S, C> {
    /// Notes which secrets and policies nobody knows any more, given the open intents: no call of an
    /// earlier pass is still waited for.
    pub(super) async fn doubt_what_was_sent(
        &self,
        open: &[Intent],
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let of = |kinds: [ActionKind; 2]| {
            let sent = open.iter().filter(|intent| intent.state == IntentState::Sent);
            sent.filter(move |intent| kinds.contains(&intent.kind))
        };
        let secrets = of([ActionKind::SetSecret, ActionKind::RemoveSecret]);
        let secrets = secrets.map(|intent| StoredSecret {
            app: intent.app.clone(),
            name: intent.external_name.clone(),
            state: SecretState::Unsure,
            digest: None,
            version: None,
            read_at: now,
        });
        self.store.put_secrets(secrets.collect()).await?;
        let policies: Vec<&str> = of([ActionKind::PutBucketPolicy, ActionKind::RemoveBucketPolicy])
            .map(|intent| intent.external_name.as_str())
            .collect();
        if policies.is_empty() {
            return Ok(());
        }
        let mut doubted = self.store.bucket_policies().await?;
        doubted.retain(|known| {
            !known.policy.changed && policies.contains(&&*policy_name(known.tenant_uid))
        });
        let doubted = doubted.into_iter().map(|mut known: StoredPolicy| {
            known.policy.changed = true;
            known
        });
        self.store.put_bucket_policies(doubted.collect()).await
    }
}
