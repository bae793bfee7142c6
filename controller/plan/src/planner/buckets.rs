//! A tenant's buckets, its access key and its policy: before its secrets and machines, which need
//! them; and what becomes of buckets that nobody wants any more.

use std::sync::Arc;

use vault_api::tenant::DeletionPolicy;

use super::Planner;
use super::draft::{Draft, hold_reason};
use crate::action::{Action, PlannedAction};
use crate::bucket::{self, BucketRef, Decision, DesiredBucket, StorageLook, names_bucket};
use crate::report::NoteReason;
use crate::tombstone::{Cause, Tombstone, TombstoneKind, TombstoneState};

impl<'a> Planner<'a> {
    /// Plans what the tenant's storage needs; whether its machines will find all that they need of it.
    pub(super) fn storage(&mut self, draft: &mut Draft<'a>) -> bool {
        let (is_ready, _) = self.decide_storage(draft);
        is_ready
    }

    /// Plans the end of a deleted tenant's storage; whether any of it is left that has to go. Its
    /// machines may write until they are gone.
    pub(super) fn end_storage(&mut self, draft: &mut Draft<'a>) -> bool {
        if !draft.owned.is_empty() {
            return true;
        }
        let (_, is_left) = self.decide_storage(draft);
        is_left
    }

    fn decide_storage(&mut self, draft: &mut Draft<'a>) -> (bool, bool) {
        let observed = &self.observed.storage;
        let machines = draft.owned.iter().map(|owned| owned.machine);
        let Decision { actions, notes, report, is_ready, is_left } =
            bucket::decide(draft.tenant, observed, machines);
        draft.storage = Some(report);
        notes.into_iter().for_each(|note| draft.add(note));
        let hold = observed.holds.get(&*draft.tenant.name);
        if let Some(hold) = hold.filter(|hold| !actions.is_empty() && self.now < hold.until) {
            draft.note(hold_reason(hold), hold.message.clone());
            let is_only_tidying =
                actions.iter().all(|(action, _)| matches!(action, Action::RevokeAccessKey(_)));
            return (is_ready && is_only_tidying, is_left);
        }
        for (action, reason) in actions {
            draft.act(action, reason);
        }
        (is_ready, is_left)
    }

    /// Makes tombstones for buckets that the manifest no longer names, by the policy that it gave
    /// them.
    pub(super) fn bury_unnamed_buckets(&mut self, draft: &Draft<'a>) {
        let tenant = draft.tenant;
        let Some(remembered) = self.observed.storage.remembered.get(&*tenant.name) else { return };
        if tenant.paused {
            return;
        }
        let is_wanted =
            |bucket: &DesiredBucket| tenant.buckets.iter().any(|one| one.bucket == bucket.bucket);
        let unnamed = remembered.iter().filter(|bucket| !is_wanted(bucket));
        for bucket in unnamed.filter(|bucket| bucket.deletion_policy == DeletionPolicy::Delete) {
            self.bury_bucket(draft, bucket, Cause::Unwanted);
        }
    }

    /// Makes tombstones for the buckets of a deleted tenant, as far as their policy asks for it.
    pub(super) fn bury_buckets(&mut self, draft: &mut Draft<'a>) {
        let tenant = draft.tenant;
        self.bury_unnamed_buckets(draft);
        let storage = &self.observed.storage;
        let remembered = storage.remembered.get(&*tenant.name).map_or(&[][..], Vec::as_slice);
        let exists = |bucket: &DesiredBucket| {
            storage.buckets.contains(&bucket.bucket)
                || remembered.iter().any(|one| one.bucket == bucket.bucket)
        };
        let mut kept = 0;
        for bucket in tenant.buckets.iter().filter(|bucket| exists(bucket)) {
            match bucket.deletion_policy {
                DeletionPolicy::Delete if !tenant.paused => {
                    self.bury_bucket(draft, bucket, Cause::Deleted);
                }
                _ => kept += 1,
            }
        }
        if kept > 0 {
            draft.note(NoteReason::Kept, format!("its buckets ({kept}) are kept"));
        }
    }

    fn bury_bucket(&mut self, draft: &Draft<'a>, bucket: &DesiredBucket, cause: Cause) {
        let stands = self.observed.tombstones.iter().any(|known| {
            known.kind == TombstoneKind::Bucket && known.id == bucket.bucket && known.is_open()
        });
        if stands {
            return;
        }
        let tenant = draft.tenant;
        self.write(Tombstone {
            kind: TombstoneKind::Bucket,
            id: bucket.bucket.clone(),
            tenant: tenant.name.to_string(),
            uid: tenant.uid,
            organization: tenant.organization.to_string(),
            app: tenant.app.clone(),
            name: bucket.bucket.clone(),
            region: String::new(),
            size_gb: 0,
            machine: String::new(),
            template: bucket.name.to_string(),
            policy: bucket.deletion_policy,
            cause,
            snapshot: None,
            made_at: self.now,
            due_at: self.now.plus_ms(self.policy.deletion_grace_ms),
            sightings: 0,
            seen_at: None,
            state: TombstoneState::Standing,
            ended_at: None,
            outcome: None,
        });
    }

    /// What becomes of one bucket with a tombstone. `left` is how many may still go now.
    pub(super) fn bucket_tombstone(&mut self, before: &'a Tombstone, left: &mut usize) {
        let mut tombstone = before.clone();
        let storage = &self.observed.storage;
        let is_seen =
            storage.look == StorageLook::Done && !storage.unclear.contains_key(&tombstone.id);
        let is_gone = is_seen && !storage.buckets.contains(&tombstone.id);
        if before.state == TombstoneState::Acting && is_gone {
            return self.write(tombstone.ended("it was deleted", self.now));
        }
        if self.is_too_late(before) {
            return;
        }
        match self.claims_bucket(&tombstone) {
            Claim::Wanted(why) => return self.clear(before, why),
            Claim::Unclear => return,
            Claim::Nobody => {}
        }
        if !is_seen {
            return;
        }
        if is_gone {
            return self.write(tombstone.ended("somebody else deleted it", self.now));
        }
        let is_held = |hold: &crate::observed::Hold| self.now < hold.until;
        if self.is_held(&tombstone.tenant)
            || storage.holds.get(&tombstone.tenant).is_some_and(is_held)
        {
            return;
        }
        tombstone.state = TombstoneState::Standing;
        // While a key opens it, somebody may write to it.
        let is_open = storage
            .policies
            .get(&tombstone.uid)
            .is_some_and(|policy| names_bucket(&policy.document, &tombstone.id));
        if is_open {
            tombstone.unsight();
        } else {
            tombstone.sight(self.policy, self.now);
            self.look_again(&tombstone);
            self.delete_bucket(&tombstone, left);
        }
        if tombstone != *before {
            self.write(tombstone);
        }
    }

    fn delete_bucket(&mut self, tombstone: &Tombstone, left: &mut usize) {
        let uid = self.controller.tenant_uid(&tombstone.tenant);
        let is_derived = uid.bucket_name(&tombstone.tenant, &tombstone.template) == tombstone.id;
        if !tombstone.has_matured(self.now) || !is_derived || *left == 0 {
            return;
        }
        *left -= 1;
        let bucket =
            || BucketRef { name: tombstone.template.clone(), bucket: tombstone.id.clone() };
        for action in [Action::EmptyBucket(bucket()), Action::DeleteBucket(bucket())] {
            self.buried.push(PlannedAction {
                tenant: tombstone.tenant.as_str().into(),
                organization: tombstone.organization.as_str().into(),
                app: tombstone.app.clone(),
                action,
                reason: "its tombstone has matured".to_owned(),
            });
        }
    }

    /// How many buckets may still go now: a share of all that we have, per hour.
    pub(super) fn bucket_deletions_left(&self) -> usize {
        let lately = self.deleted_lately(TombstoneKind::Bucket);
        let all = self.observed.storage.buckets.len();
        self.policy.volume_deletions(all + lately).saturating_sub(lately)
    }

    /// Whether somebody wants a bucket with a tombstone, as things are now.
    fn claims_bucket(&self, tombstone: &Tombstone) -> Claim {
        let Some(tenant) = self.index.tenant(&tombstone.tenant).filter(|tenant| !tenant.deleting)
        else {
            return Claim::Nobody;
        };
        if tenant.machines.is_err() || tenant.paused {
            return Claim::Unclear;
        }
        let wants = tenant.buckets.iter().any(|bucket| bucket.bucket == tombstone.id);
        match wants {
            true => {
                let (name, id) = (Arc::clone(&tenant.name), &tombstone.id);
                Claim::Wanted(format!("tenant {name} wants bucket {id} again"))
            }
            false => Claim::Nobody,
        }
    }
}

/// What the tenants say about a bucket with a tombstone.
enum Claim {
    /// Somebody wants it.
    Wanted(String),
    /// It cannot be said now.
    Unclear,
    /// Nobody wants it.
    Nobody,
}
