//! The part of a pass that looks at buckets and the keys to them: two lists per pass, and only if a
//! tenant has something to do with them, or it is time to look for what a lost database forgot.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::{join, join_all};
use vault_plan::action::ActionKind;
use vault_plan::bucket::{ObservedStorage, StorageLook, policy_name};
use vault_plan::desired::Desired;
use vault_plan::identity::TenantUid;
use vault_plan::leftovers::explained;
use vault_plan::time::UnixMillis;
use vault_plan::token::read_platform_name;
use vault_plan::tombstone::{Tombstone, TombstoneKind};

use super::holds::revisions;
use super::leftovers::{RareLook, Sight};
use super::{Objects, Reconciler, Settle};
use crate::chain::chain;
use crate::clock::Clock;
use crate::events::Event;
use crate::execute::Turn;
use crate::in_turn::in_turn;
use crate::platform::{BucketOwner, Platform};
use crate::slices::Slices;
use crate::storage::{self, LOOKS_AT_ONCE, Lists, MISSING_MAX, SLICE_MAX};
use crate::store::{CredentialKind, Credentials, Store, StoreError, StoredPolicy};

/// What is remembered of looks. All of it may be lost.
#[derive(Debug, Default)]
pub(super) struct StorageLooks {
    /// The slices of policies, by the tenants' identities.
    policies: Slices<TenantUid>,
    /// When they are listed though nobody wants a bucket.
    rare: RareLook,
}

impl<P: Platform, S: Store, C: Clock> Reconciler<P, S, C> {
    /// Looks at buckets and keys, says what is known of all, and gives the tenants whose key is known
    /// the secrets by which machines find them.
    pub(super) async fn look_at_storage(
        &self,
        desired: &mut Desired,
        objects: &mut Objects,
        tombstones: &[Tombstone],
        mode: Settle,
    ) -> Result<ObservedStorage, StoreError> {
        let mut keys = self.store.credentials(CredentialKind::AccessKey).await?;
        let mut policies = self.store.bucket_policies().await?;
        let remembered = std::mem::take(&mut objects.buckets);
        let is_needed =
            storage::is_needed(desired, &keys, &policies, tombstones) || !remembered.is_empty();
        let now = self.clock.now();
        let is_rare = mode == Settle::Write
            && self.platform.has_storage()
            && self.memory().storage_looks.rare.is_due(now);
        if !is_needed && !is_rare {
            return Ok(ObservedStorage::default());
        }
        let mut lists = self.list_storage().await;
        if is_rare {
            let sight = self.leftover_keys(desired, &lists);
            self.memory().storage_looks.rare.looked(sight, now);
            if !is_needed && sight != Sight::Left {
                return Ok(ObservedStorage::default());
            }
        }
        let mut unclear = BTreeMap::new();
        if let Ok(lists) = &mut lists {
            unclear = self.ask_for_buckets(desired, lists, &policies, tombstones).await;
            if mode == Settle::Write {
                self.settle_keys(lists, &mut keys).await?;
                self.look_at_policies(&mut policies).await?;
            }
        }
        // Without a key to it, where storage is, is not known either: nothing is said to machines.
        if !matches!(lists, Err(StorageLook::NoKey)) {
            storage::add_secrets(desired, &keys, &self.config.secrets);
        }
        let mut observed =
            storage::observed(lists.as_ref().map_err(Clone::clone), &keys, &policies);
        observed.unclear = unclear;
        observed.remembered = remembered;
        let leftovers = self.memory().leftovers.names();
        let revisions = revisions(objects, tombstones, &leftovers);
        observed.holds = self.memory().storage_setbacks.holds(revisions, self.clock.now());
        Ok(observed)
    }

    async fn list_storage(&self) -> Result<Lists, StorageLook> {
        if !self.platform.has_storage() {
            return Err(StorageLook::NoKey);
        }
        let at = self.clock.now();
        let (buckets, keys) = join(self.platform.buckets(), self.platform.access_keys()).await;
        let failed = |what: &str, error: &dyn std::error::Error| {
            let why = chain(error);
            tracing::warn!(error = why, "{what} could not be listed");
            StorageLook::Failed(format!("{what} could not be listed: {why}"))
        };
        let buckets = buckets.map_err(|error| failed("buckets", &error))?;
        let keys = keys.map_err(|error| failed("access keys", &error))?;
        Ok(Lists { at, buckets: buckets.into_iter().collect(), keys })
    }

    /// Whether a list shows keys of ours that nobody wants.
    fn leftover_keys(&self, desired: &Desired, lists: &Result<Lists, StorageLook>) -> Sight {
        let Ok(lists) = lists else { return Sight::Failed };
        let named = lists.keys.iter().filter_map(|key| read_platform_name(&key.name));
        let mut uids: BTreeSet<TenantUid> = named.map(|(uid, _)| uid).collect();
        let with_keys = uids.clone();
        // A tenant that had tokens and buckets is explained by its buckets alone.
        uids.extend(self.memory().token_looks.tenants());
        if uids.is_empty() {
            return Sight::Clean;
        }
        let mut is_left = false;
        for tenant in &desired.tenants {
            // A manifest that cannot be carried out says nothing of buckets.
            let wants = !tenant.buckets.is_empty() || tenant.paused || tenant.machines.is_err();
            is_left |= uids.remove(&tenant.uid) && with_keys.contains(&tenant.uid) && !wants;
        }
        let names = lists.buckets.iter().map(String::as_str);
        is_left |= !explained(&self.config.controller, &uids, names).is_empty();
        if is_left { Sight::Left } else { Sight::Clean }
    }

    /// Asks by name for buckets that should be listed, and adds those that are there. Answers which of
    /// the others may be there all the same, and why.
    async fn ask_for_buckets(
        &self,
        desired: &Desired,
        lists: &mut Lists,
        policies: &[StoredPolicy],
        tombstones: &[Tombstone],
    ) -> BTreeMap<String, String> {
        let mut missing = storage::missing_buckets(desired, lists, policies);
        // One that is to go is gone only by the platform's own word, or it would be kept for ever.
        let buried = tombstones
            .iter()
            .filter(|known| known.kind == TombstoneKind::Bucket && known.is_open());
        let buried = buried.filter(|known| !lists.buckets.contains(&known.id));
        missing.extend(buried.map(|known| known.id.clone()));
        let (turn, others) = in_turn(missing, MISSING_MAX, lists.at);
        let asked = turn.iter().map(|name| async move { (name, self.platform.bucket(name).await) });
        let mut unclear = BTreeMap::new();
        for (name, owner) in join_all(asked).await {
            match owner {
                Ok(BucketOwner::Ours) => drop(lists.buckets.insert(name.clone())),
                // It is gone; whose the name is now, its making will tell.
                Ok(BucketOwner::Nobody | BucketOwner::SomebodyElse) => {}
                Err(error) => {
                    let why =
                        format!("it is not listed, and asking did not help: {}", chain(&error));
                    unclear.insert(name.clone(), why);
                }
            }
        }
        for name in others {
            unclear.insert(name, "it is not listed; others are asked for first".to_owned());
        }
        unclear
    }

    /// Forgets keys that were never made, and those that are gone by the platform's own word.
    async fn settle_keys(&self, lists: &Lists, keys: &mut Credentials) -> Result<(), StoreError> {
        let mut forgotten = storage::never_made(lists, keys, self.config.settle_after);
        let missing = storage::missing_keys(lists, keys);
        let (turn, _) = in_turn(missing, MISSING_MAX, lists.at);
        let asked = turn.into_iter().map(|(key, id)| async move {
            let found = self.platform.attached_policies(&id).await;
            (key, matches!(found, Ok(None)))
        });
        for (key, is_gone) in join_all(asked).await {
            let row = keys.rows.iter().find(|row| row.of.key == key);
            if let (true, Some(row)) = (is_gone, row) {
                let message = format!("somebody else deleted access key {}", key.n);
                (self.tell)(Event::warning(
                    self.clock.now(),
                    &row.of.tenant,
                    "AccessKeyGone",
                    message,
                ));
                forgotten.push(key);
            }
        }
        if forgotten.is_empty() {
            return Ok(());
        }
        keys.rows.retain(|row| !forgotten.contains(&row.of.key));
        self.store.remove_credentials(forgotten, None, self.clock.now()).await
    }

    /// Looks at what a few policies say, if it is time to.
    async fn look_at_policies(&self, policies: &mut [StoredPolicy]) -> Result<(), StoreError> {
        let now = self.clock.now();
        let slice = self.memory().storage_looks.policies.begin(SLICE_MAX, now);
        let Some((policies_max, failed)) = slice else { return Ok(()) };
        let look = |stored: StoredPolicy| async move {
            let name = policy_name(stored.tenant_uid);
            let says = self.platform.policy(&name).await;
            let attached = self.platform.attached_policies(&stored.policy.key_id).await;
            (stored, name, says, attached)
        };
        let mut looked = Vec::new();
        for few in storage::due(policies, &failed, policies_max, now).chunks(LOOKS_AT_ONCE) {
            looked.extend(join_all(few.iter().cloned().map(look)).await);
        }
        let mut learned = Vec::new();
        for (mut stored, name, says, attached) in looked {
            let (says, attached) = match (says, attached) {
                (Ok(says), Ok(attached)) => (says, attached.unwrap_or_default()),
                (Err(error), _) | (_, Err(error)) => {
                    let error = chain(&error);
                    tracing::warn!(policy = name, error, "a policy could not be looked at");
                    self.memory().storage_looks.policies.failed(stored.tenant_uid, now);
                    continue;
                }
            };
            let wanted = &stored.policy.document;
            let is_same = says.is_some_and(|says| storage::says(&says, wanted));
            stored.policy.changed = !is_same || !attached.contains(&name);
            stored.read_at = now;
            if stored.policy.changed {
                let message = format!("somebody else changed policy {name}; it is put again");
                (self.tell)(Event::warning(now, &stored.tenant, "PolicyChanged", message));
            }
            learned.push(stored);
        }
        if learned.is_empty() {
            return Ok(());
        }
        for news in &learned {
            let known = policies.iter_mut().filter(|known| known.tenant_uid == news.tenant_uid);
            known.for_each(|known| known.clone_from(news));
        }
        self.store.put_bucket_policies(learned).await
    }

    /// Notes what became of a turn's storage. Whether its failure was about it: then nothing but the
    /// tenant's storage, and what needs it, has to wait.
    pub(super) fn remember_storage(&self, turn: &Turn, revision: i64, now: UnixMillis) -> bool {
        let mut memory = self.memory();
        if turn.done.iter().any(|done| is_about_storage(done.kind)) {
            memory.storage_setbacks.worked(&turn.tenant);
        }
        let is_about_storage = turn.failed.is_some_and(is_about_storage);
        match &turn.failure {
            Some(failure) if is_about_storage => {
                let message = failure.message.clone();
                memory.storage_setbacks.failed(&turn.tenant, revision, failure.hold, message, now);
            }
            _ => {}
        }
        is_about_storage
    }
}

fn is_about_storage(kind: ActionKind) -> bool {
    matches!(
        kind,
        ActionKind::CreateBucket
            | ActionKind::CreateAccessKey
            | ActionKind::RevokeAccessKey
            | ActionKind::PutBucketPolicy
            | ActionKind::RemoveBucketPolicy
            | ActionKind::EmptyBucket
            | ActionKind::DeleteBucket
    )
}
