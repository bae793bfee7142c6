//! The part of a pass that stops believing what a call without an answer may have changed.
//!
//! ```text
//!   a secret is set or removed, a policy put or deleted ─▶ no answer ─▶ what was known of it is a doubt
//! ```
//!
//! Doing it again does no harm, and is done if it is still wanted. If it is not wanted any more, because
//! somebody changed the manifest back or deleted the tenant meanwhile, what was known before would say that
//! nothing is to be done.
//!
//! A database that was lost is forgotten with all that was on its way: what is made under a name that is
//! not unique waits until nothing of before can come any more.

use std::collections::BTreeSet;

use vault_plan::action::{ActionKind, AppPlace};
use vault_plan::bucket::policy_name;
use vault_plan::observed::SecretState;
use vault_plan::time::UnixMillis;

use super::Reconciler;
use crate::clock::Clock;
use crate::platform::Platform;
use crate::store::{Intent, IntentState, Store, StoreError, StoredPolicy, StoredSecret};

/// How many bits of the counter of changes count changes; the others are milliseconds since 1970.
const COUNTER_BITS: u32 = 16;

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

    /// Of apps that are about to get a volume, those in which one may still come to be that nobody
    /// remembers: while the database is young, all that it has not seen made itself.
    pub(super) async fn haunted(
        &self,
        places: &BTreeSet<AppPlace>,
        now: UnixMillis,
    ) -> Result<BTreeSet<AppPlace>, StoreError> {
        // The counter of changes begins with the moment at which the database was made, in its upper
        // bits. No database takes tens of thousands of changes in a millisecond of its life.
        let born = UnixMillis(self.store.objects_version().await? >> COUNTER_BITS);
        let wait_ms = i64::try_from(self.config.settle_after.as_millis()).unwrap_or(i64::MAX);
        // Where the clock was set back, the age says nothing.
        if places.is_empty() || !(0..wait_ms).contains(&now.since_ms(born)) {
            return Ok(BTreeSet::new());
        }
        let mut intents = self.store.intents_verified_since(born).await?;
        intents.extend(self.store.open_intents().await?);
        let made = intents.iter().filter(|intent| intent.kind == ActionKind::CreateApp);
        let made: BTreeSet<&str> = made.map(|intent| intent.app.as_str()).collect();
        let haunted = places.iter().filter(|place| !made.contains(place.app.as_str()));
        Ok(haunted.cloned().collect())
    }
}
