//! What is to be done about one tenant's storage, but for its buckets' ends.

use super::{
    BucketRef, BucketReport, CreateAccessKey, DesiredBucket, KnownKeys, ListedKey, ObservedStorage,
    PutBucketPolicy, RemoveBucketPolicy, RevokeAccessKey, StorageLook, StorageReport,
    policy_document, policy_name,
};
use crate::action::Action;
use crate::desired::{DesiredTenant, StorageValue};
use crate::metadata::Marks;
use crate::observed::ObservedMachine;
use crate::report::{Note, NoteReason};
use crate::token::platform_name;

/// What is to be done about a tenant's storage.
#[derive(Debug, Default)]
pub(crate) struct Decision {
    /// In this order.
    pub(crate) actions: Vec<(Action, String)>,
    pub(crate) notes: Vec<Note>,
    pub(crate) report: StorageReport,
    /// Machines can be made once the actions are done: they will find all that they need.
    pub(crate) is_ready: bool,
    /// Something of a tenant that goes is left, or may be.
    pub(crate) is_left: bool,
}

/// Decides about the storage of one tenant, whose machines in its app are these.
pub(crate) fn decide<'a>(
    tenant: &DesiredTenant,
    observed: &ObservedStorage,
    machines: impl IntoIterator<Item = &'a ObservedMachine>,
) -> Decision {
    let nothing = KnownKeys::default();
    let known = observed.known.get(&tenant.uid).unwrap_or(&nothing);
    let listed = observed.listed.get(&tenant.uid).map_or(&[][..], Vec::as_slice);
    let is_known =
        |key: &&ListedKey| known.keys.iter().any(|one| one.id.as_deref() == Some(key.id.as_str()));
    let unclaimed: Vec<&ListedKey> = listed.iter().filter(|key| !is_known(key)).collect();
    let seen = Seen { tenant, observed, known, listed, unclaimed };
    match tenant.deleting || tenant.buckets.is_empty() {
        true => seen.end(),
        false => seen.converge(machines),
    }
}

/// What was found of a tenant's storage.
struct Seen<'a> {
    tenant: &'a DesiredTenant,
    observed: &'a ObservedStorage,
    known: &'a KnownKeys,
    listed: &'a [ListedKey],
    /// Keys of its names whose secrets we do not have.
    unclaimed: Vec<&'a ListedKey>,
}

impl Seen<'_> {
    fn converge<'m>(&self, machines: impl IntoIterator<Item = &'m ObservedMachine>) -> Decision {
        let mut decision = Decision { is_ready: true, ..Decision::default() };
        let current = self.known.current();
        let document = policy_document(&self.tenant.buckets);
        if self.observed.look == StorageLook::NoKey {
            // What there is stays as it is: nothing of it can be seen or changed.
            self.blocked(&mut decision);
        } else {
            if self.create_buckets(&mut decision) {
                match current {
                    Some((_, id)) => self.put_policy(id, &document, &mut decision),
                    None => self.create_key(&mut decision),
                }
            }
            self.retire(current, machines, &mut decision);
        }
        let policy = self.observed.policies.get(&self.tenant.uid);
        let is_open = current.zip(policy).is_some_and(|((_, id), policy)| {
            !policy.changed && policy.key_id == id && policy.document == document
        });
        decision.report = StorageReport {
            buckets: self
                .tenant
                .buckets
                .iter()
                .map(|bucket| BucketReport {
                    bucket: bucket.clone(),
                    ready: is_open && self.is_there(bucket) == Some(true),
                })
                .collect(),
            access_key: current.map(|(n, _)| n),
        };
        decision
    }

    /// Whether a bucket is there; `None` if that is not known.
    fn is_there(&self, bucket: &DesiredBucket) -> Option<bool> {
        let was_there = || {
            let policy = self.observed.policies.get(&self.tenant.uid);
            policy.is_some_and(|policy| super::names_bucket(&policy.document, &bucket.bucket))
        };
        match self.observed.look.obstacle() {
            None if self.observed.unclear.contains_key(&bucket.bucket) => None,
            None => Some(self.observed.buckets.contains(&bucket.bucket)),
            // What we opened once is there until somebody says otherwise.
            Some(_) if was_there() => Some(true),
            Some(_) => None,
        }
    }

    /// Plans the buckets that are missing; whether all will be there.
    fn create_buckets(&self, decision: &mut Decision) -> bool {
        for bucket in &*self.tenant.buckets {
            match self.is_there(bucket) {
                Some(true) => {}
                Some(false) => {
                    let create =
                        BucketRef { name: bucket.name.to_string(), bucket: bucket.bucket.clone() };
                    let reason = "it does not exist".to_owned();
                    decision.actions.push((Action::CreateBucket(create), reason));
                }
                None => {
                    decision.is_ready = false;
                    let unclear = self.observed.unclear.get(&bucket.bucket);
                    let unclear =
                        unclear.map_or("whether it is there is not known", String::as_str);
                    let obstacle = self.observed.look.obstacle();
                    let (reason, why) = obstacle.unwrap_or((NoteReason::Unobserved, unclear));
                    let message = format!("bucket {}: {why}", bucket.bucket);
                    decision.notes.push(Note::new(reason, message));
                    // One word for all of them is enough.
                    return false;
                }
            }
        }
        true
    }

    fn put_policy(&self, key_id: &str, document: &str, decision: &mut Decision) {
        let reason = match self.observed.policies.get(&self.tenant.uid) {
            Some(policy) if policy.changed => "somebody else changed it",
            Some(policy) if policy.key_id != key_id => "the key is another now",
            Some(policy) if policy.document != document => "the manifest says otherwise now",
            Some(_) => return,
            None => "it is not known to be there",
        };
        let put = PutBucketPolicy {
            name: policy_name(self.tenant.uid),
            document: document.to_owned(),
            key_id: key_id.to_owned(),
            tenant_uid: self.tenant.uid,
        };
        decision.actions.push((Action::PutBucketPolicy(put), reason.to_owned()));
    }

    fn create_key(&self, decision: &mut Decision) {
        // Its id is known only when it is made: all that follows is for the next pass.
        decision.is_ready = false;
        if self.observed.look.obstacle().is_some() {
            self.blocked(decision);
            return;
        }
        // What the list shows is deleted by this very plan: its making is no open question any more.
        let is_open = |n: u64| self.unclaimed.iter().all(|listed| listed.n != Some(n));
        let mut open = self.known.keys.iter().filter(|key| key.id.is_none() && is_open(key.n));
        if let Some(waiting) = open.next() {
            let message = format!(
                "waiting for access key {}: its answer was lost, and whether it was made is not \
                 known yet",
                waiting.n
            );
            decision.notes.push(Note::new(NoteReason::Unsettled, message));
            return;
        }
        let numbers = self.known.keys.iter().map(|key| key.n);
        let numbers = numbers.chain(self.listed.iter().filter_map(|key| key.n));
        let last = numbers.max().unwrap_or(0).max(self.known.last_n);
        let n = last.saturating_add(1);
        let create = CreateAccessKey {
            platform_name: platform_name(self.tenant.uid, n),
            n,
            tenant_uid: self.tenant.uid,
        };
        decision.actions.push((Action::CreateAccessKey(create), "there is none".to_owned()));
    }

    /// Deletes keys that are not used any more.
    fn retire<'m>(
        &self,
        current: Option<(u64, &str)>,
        machines: impl IntoIterator<Item = &'m ObservedMachine>,
        decision: &mut Decision,
    ) {
        let older = self.known.keys.iter().filter(|key| Some(key.n) != current.map(|(n, _)| n));
        let older: Vec<(u64, &str)> =
            older.filter_map(|key| Some((key.n, key.id.as_deref()?))).collect();
        // One whose making was doubted was never given to anybody.
        let was_doubted = |key: &&&ListedKey| {
            self.known.keys.iter().any(|one| one.id.is_none() && Some(one.n) == key.n)
        };
        for key in self.unclaimed.iter().filter(was_doubted) {
            self.revoke(key, "nobody has its secret", decision);
        }
        let mut used = self.unclaimed.iter().filter(|key| !was_doubted(key)).peekable();
        if (used.peek().is_none() && older.is_empty()) || !self.is_everywhere(machines) {
            return;
        }
        for key in used {
            self.revoke(key, "the machines have another", decision);
        }
        for (n, id) in older {
            let key = ListedKey {
                id: id.to_owned(),
                name: platform_name(self.tenant.uid, n),
                n: Some(n),
            };
            self.revoke(&key, "the machines have another", decision);
        }
    }

    /// Whether all machines were made or updated with the current key.
    fn is_everywhere<'m>(&self, machines: impl IntoIterator<Item = &'m ObservedMachine>) -> bool {
        let is_id = |value: &StorageValue| matches!(value, StorageValue::KeyId(_));
        let mut secrets = self.tenant.secrets.iter();
        let id = secrets.find(|secret| secret.storage.as_ref().is_some_and(is_id));
        id.is_some_and(|id| {
            let knows =
                |machine: &ObservedMachine| Marks::read(&machine.metadata).knows_secret(&id.hash);
            machines.into_iter().all(knows)
        })
    }

    fn revoke(&self, key: &ListedKey, reason: &str, decision: &mut Decision) {
        let revoke = RevokeAccessKey {
            id: key.id.clone(),
            platform_name: key.name.clone(),
            n: key.n,
            tenant_uid: self.tenant.uid,
        };
        decision.actions.push((Action::RevokeAccessKey(revoke), reason.to_owned()));
    }

    fn blocked(&self, decision: &mut Decision) {
        decision.is_ready = false;
        if let Some((reason, why)) = self.observed.look.obstacle() {
            decision.notes.push(Note::new(reason, format!("its access key: {why}")));
        }
    }

    /// Nothing is wanted: what opens buckets goes, the policy first.
    fn end(&self) -> Decision {
        let Self { tenant, observed, known, unclaimed, .. } = self;
        let mut decision = Decision { is_ready: true, ..Decision::default() };
        let has_policy = observed.policies.contains_key(&tenant.uid);
        let is_kept = has_policy || !known.keys.is_empty() || !unclaimed.is_empty();
        // A tenant that had buckets, and of which nothing is remembered, may have a key all the same.
        let may_have = !tenant.buckets.is_empty()
            && matches!(observed.look, StorageLook::Failed(_) | StorageLook::Spared);
        decision.is_left = tenant.deleting && (is_kept || may_have);
        if !is_kept && !may_have {
            return decision;
        }
        if let Some((reason, why)) = observed.look.obstacle() {
            let message = format!("its access key may be left: {why}");
            decision.notes.push(Note::new(reason, message));
            return decision;
        }
        let reason = match tenant.deleting {
            true => "the tenant is being deleted",
            false => "the manifest names no bucket any more",
        };
        let live = known.keys.iter().filter_map(|key| Some((key.n, key.id.as_ref()?)));
        let live = live.map(|(n, id)| ListedKey {
            id: id.clone(),
            name: platform_name(tenant.uid, n),
            n: Some(n),
        });
        let keys: Vec<ListedKey> = live.chain(unclaimed.iter().map(|key| (*key).clone())).collect();
        if has_policy || !keys.is_empty() {
            let remove =
                RemoveBucketPolicy { name: policy_name(tenant.uid), tenant_uid: tenant.uid };
            decision.actions.push((Action::RemoveBucketPolicy(remove), reason.to_owned()));
        }
        for key in &keys {
            self.revoke(key, reason, &mut decision);
        }
        decision
    }
}
