//! The tombstones that stand: taken back, waited for, or matured.
//!
//! ```text
//!   somebody wants it? ─ yes ─▶ cleared
//!   lists whole, the app's too? ─ no ─▶ left as it is
//!   there, same name, same app? ─ gone ─▶ ended; otherwise named ─▶ cleared
//!   free, and no machine of its name? ─ no ─▶ the chain of sightings breaks
//!   sighted ─▶ matured, ours by its derived name, within the hour's share? ─ yes ─▶ DeleteVolume
//! ```

use std::sync::Arc;

use vault_api::tenant::DeletionPolicy;

use super::Planner;
use super::burial::Snapshot;
use crate::action::{Action, DeleteVolume, PlannedAction, SnapshotVolume};
use crate::desired::{DesiredTenant, group_and_index};
use crate::identity::is_volume_name;
use crate::observed::{Hold, HoldKind, ObservedMachine, ObservedOrganization, ObservedVolume};
use crate::policy::DELETIONS_WINDOW_MS;
use crate::relocation;
use crate::tombstone::{Cleared, Tombstone, TombstoneKind, TombstoneState};
use crate::volume::is_in_the_making;

/// How long the object of a deleted tenant is kept whose app is not ours to delete, in
/// milliseconds: thirty days.
const OBJECT_KEPT_MS: i64 = 30 * 86_400_000;

/// How many empty apps go in one pass: the platform takes a hundred a minute.
const APPS_PER_PASS_MAX: usize = 20;

/// How far the platform's clock may be from ours, in milliseconds. Both follow network time.
const CLOCK_SKEW_MAX_MS: i64 = 60_000;

impl<'a> Planner<'a> {
    /// Goes through all tombstones that stand, volumes first: an app goes when they are gone.
    pub(super) fn tombstones(&mut self) {
        let open = |kind| {
            let all = self.observed.tombstones.iter();
            all.filter(move |tombstone| tombstone.kind == kind && tombstone.is_open())
        };
        let (mut volumes, tenants): (Vec<_>, Vec<_>) =
            (open(TombstoneKind::Volume).collect(), open(TombstoneKind::Tenant).collect());
        // What was tried and is still there comes after what was not tried yet.
        let was_tried = |tombstone: &&Tombstone| tombstone.state == TombstoneState::Acting;
        volumes.sort_by_key(was_tried);
        let mut left = self.deletions_left();
        for tombstone in &volumes {
            self.volume_tombstone(tombstone, &mut left);
        }
        let mut left = self.bucket_deletions_left();
        let mut buckets: Vec<_> = open(TombstoneKind::Bucket).collect();
        buckets.sort_by_key(was_tried);
        for tombstone in buckets {
            self.bucket_tombstone(tombstone, &mut left);
        }
        let mut apps_left = APPS_PER_PASS_MAX;
        for tombstone in tenants {
            let has_volumes = volumes.iter().any(|volume| volume.tenant == tombstone.tenant);
            self.tenant_tombstone(tombstone, has_volumes, &mut apps_left);
        }
    }

    /// How many volumes may still go now: a share of all that look like ours, per hour.
    fn deletions_left(&self) -> usize {
        if self.observed.tombstones.is_empty() {
            return 0;
        }
        let lately = self.deleted_lately(TombstoneKind::Volume);
        let listed = self.observed.organizations.values().flat_map(|lists| &lists.volumes);
        let ours = listed.filter(|volume| is_volume_name(&volume.name)).count();
        self.policy.volume_deletions(ours + lately).saturating_sub(lately)
    }

    /// How many of a kind are going, or went within the last hour.
    pub(super) fn deleted_lately(&self, kind: TombstoneKind) -> usize {
        let all = self.observed.tombstones.iter();
        let lately = all.filter(|one| one.kind == kind).filter(|tombstone| match tombstone.state {
            TombstoneState::Standing => false,
            TombstoneState::Acting => !self.was_refused(tombstone),
            TombstoneState::Ended => tombstone.ended_at.is_some_and(|at| {
                self.now.since_ms(at).max(at.since_ms(self.now)) < DELETIONS_WINDOW_MS
            }),
        });
        lately.count()
    }

    /// Whether a deletion that was decided has failed: what it was for is there, and its tenant waits
    /// for another try, and not for an outcome that nobody knows. Those that fail for good would
    /// otherwise use up the share, and keep all others for good as well.
    fn was_refused(&self, tombstone: &Tombstone) -> bool {
        let storage = &self.observed.storage;
        let is_there = match tombstone.kind {
            TombstoneKind::Volume => {
                let lists = self.observed.organizations.get(&tombstone.organization);
                let mut volumes = lists.iter().flat_map(|lists| &lists.volumes);
                volumes.any(|volume| volume.id == tombstone.id)
            }
            TombstoneKind::Bucket => storage.buckets.contains(&tombstone.id),
            TombstoneKind::Tenant => false,
        };
        let of_tenant = self.observed.holds.get(&tombstone.tenant);
        let of_storage = storage.holds.get(&tombstone.tenant);
        let of_storage = of_storage.filter(|_| tombstone.kind == TombstoneKind::Bucket);
        let waits = |hold: &Hold| {
            matches!(hold.kind, HoldKind::BackOff | HoldKind::Refused) && self.now < hold.until
        };
        is_there && of_tenant.is_none_or(waits) && of_tenant.or(of_storage).is_some_and(waits)
    }

    fn volume_tombstone(&mut self, before: &'a Tombstone, left: &mut usize) {
        // What this plan has written already knows more.
        let written = self.tombstones.written.iter();
        let mut written = written.filter(|new| new.id == before.id && new.kind == before.kind);
        let mut tombstone = written.next().unwrap_or(before).clone();
        let lists = self.whole_lists(&tombstone);
        let volume =
            lists.and_then(|lists| lists.volumes.iter().find(|volume| volume.id == tombstone.id));
        if before.state == TombstoneState::Acting && lists.is_some() && volume.is_none() {
            return self.write(tombstone.ended("it was deleted", self.now));
        }
        if self.is_too_late(before) {
            return;
        }
        match self.claim(&tombstone) {
            Claim::Wanted(why) => return self.clear(before, why),
            Claim::Unclear => return,
            Claim::Policy(policy) => tombstone.policy = policy,
            Claim::Nobody => {}
        }
        let Some(lists) = lists else { return };
        let Some(volume) = volume else {
            return self.write(tombstone.ended("somebody else deleted it", self.now));
        };
        if volume.name != tombstone.name || volume.app != tombstone.app {
            let why = format!(
                "volume {} is called {} in app {} now, and not what the tombstone says",
                volume.id, volume.name, volume.app
            );
            return self.clear(before, why);
        }
        if self.is_held(&tombstone.tenant) {
            return;
        }
        tombstone.state = TombstoneState::Standing;
        let holder = volume.attached_machine.as_ref();
        let writes =
            |machine: &ObservedMachine| holder == Some(&machine.id) && !relocation::rests(machine);
        if lists.machines.iter().any(writes) {
            // Whatever was copied before is no longer the last that was written.
            tombstone.snapshot = None;
        }
        if !self.rests(&tombstone, volume, lists) {
            tombstone.unsight();
        } else {
            tombstone.sight(self.policy, self.now);
            self.look_again(&tombstone);
            if self.has_its_snapshot(&mut tombstone) {
                self.delete_volume(&tombstone, left);
            }
        }
        if tombstone != *before {
            self.write(tombstone);
        }
    }

    /// Whether somebody wants what a tombstone stands over, as things are now.
    fn claim(&self, tombstone: &Tombstone) -> Claim {
        let Some(tenant) = self.index.tenant(&tombstone.tenant).filter(|tenant| !tenant.deleting)
        else {
            return Claim::Nobody;
        };
        let Ok(wanted) = &tenant.machines else { return Claim::Unclear };
        if tenant.paused {
            return Claim::Unclear;
        }
        let mut volumes = wanted.iter().filter_map(|machine| machine.volume.as_ref());
        if volumes.any(|volume| volume.name == tombstone.name) && tenant.app == tombstone.app {
            let why = format!("tenant {} wants volume {} again", tenant.name, tombstone.id);
            return Claim::Wanted(why);
        }
        // As for volumes without a tombstone: a machine that no longer mounts one has not gone for
        // good, so neither has its volume.
        if tenant.slots.wants_machine(&tenant.name, &tombstone.machine)
            && tenant.app == tombstone.app
        {
            let (name, machine, id) = (&tenant.name, &tombstone.machine, &tombstone.id);
            let why = format!("tenant {name} wants machine {machine} again: {id} is kept");
            return Claim::Wanted(why);
        }
        match tenant.slots.policy(&tombstone.template) {
            Some(DeletionPolicy::Retain) => Claim::Wanted(format!(
                "the manifest says Retain for volume {} now: {} is kept",
                tombstone.template, tombstone.id
            )),
            Some(policy) => Claim::Policy(policy),
            None => Claim::Nobody,
        }
    }

    /// The lists, if absence and presence in them prove something about this app.
    fn whole_lists(&self, tombstone: &Tombstone) -> Option<&'a ObservedOrganization> {
        let lists = self.observed.organizations.get(&tombstone.organization)?;
        let is_whole =
            lists.gaps.any().is_none() && !lists.gaps.volumes.contains_key(&tombstone.app);
        is_whole.then_some(lists)
    }

    /// Whether a volume is free, done, and no machine that could come back to it is there.
    fn rests(
        &self,
        tombstone: &Tombstone,
        volume: &ObservedVolume,
        lists: &ObservedOrganization,
    ) -> bool {
        let is_there = |machine: &ObservedMachine| {
            machine.app == tombstone.app && machine.name == tombstone.machine
        };
        let owner_is_gone = self.index.tenant(&tombstone.tenant).is_none_or(|owner| owner.deleting);
        volume.attached_machine.is_none()
            && !is_in_the_making(volume)
            && !lists.machines.iter().any(is_there)
            // A machine with the mark of a tenant that there is not: somebody lost it, and may be
            // about to find it again.
            && (!owner_is_gone || self.index.owned(&tombstone.tenant).is_empty())
    }

    /// Whether a deletion may still be under way: too late to take back, and nobody is told that it
    /// was. What came of it is seen once its tenant is held no longer.
    pub(super) fn is_too_late(&self, tombstone: &Tombstone) -> bool {
        tombstone.state == TombstoneState::Acting && self.is_held(&tombstone.tenant)
    }

    pub(super) fn is_held(&self, tenant: &str) -> bool {
        self.observed.holds.get(tenant).is_some_and(|hold| self.now < hold.until)
    }

    /// Whether the snapshot is made that the policy asks for. The machine whose rest would date it
    /// may be long gone, so one counts that was begun after the volume was seen free, by any clock.
    fn has_its_snapshot(&mut self, tombstone: &mut Tombstone) -> bool {
        if tombstone.policy != DeletionPolicy::Snapshot || tombstone.snapshot.is_some() {
            return true;
        }
        let free_since = tombstone.due_at.plus_ms(-self.policy.deletion_grace_ms);
        let fresh_since = free_since.plus_ms(CLOCK_SKEW_MAX_MS);
        match self.snapshot_since(&tombstone.id, Some(fresh_since)) {
            Snapshot::Done(snapshot) => {
                tombstone.snapshot = Some(snapshot);
                return true;
            }
            Snapshot::Missing if self.now >= fresh_since.plus_ms(CLOCK_SKEW_MAX_MS) => {
                let snapshot = SnapshotVolume {
                    id: tombstone.id.clone(),
                    name: tombstone.name.clone(),
                    machine: tombstone.machine.clone(),
                };
                self.act(tombstone, Action::SnapshotVolume(snapshot), "its policy is Snapshot");
            }
            Snapshot::Missing | Snapshot::Pending(_) | Snapshot::Stuck(_) => {}
        }
        false
    }

    fn delete_volume(&mut self, tombstone: &Tombstone, left: &mut usize) {
        if !tombstone.has_matured(self.now) || !self.is_derived(tombstone) || *left == 0 {
            return;
        }
        *left -= 1;
        let delete = DeleteVolume { id: tombstone.id.clone(), name: tombstone.name.clone() };
        let reason = match &tombstone.snapshot {
            Some(snapshot) => {
                format!("its tombstone has matured; snapshot {snapshot} has what was on it")
            }
            None => "its tombstone has matured".to_owned(),
        };
        self.act(tombstone, Action::DeleteVolume(delete), &reason);
    }

    /// Whether the volume's name is the one that follows from our own identity, whatever the
    /// database says.
    fn is_derived(&self, tombstone: &Tombstone) -> bool {
        let uid = self.controller.tenant_uid(&tombstone.tenant);
        group_and_index(&tombstone.tenant, &tombstone.machine).is_some_and(|(group, index)| {
            uid.volume_name(group, index, &tombstone.template) == tombstone.name
        })
    }

    fn tenant_tombstone(&mut self, before: &'a Tombstone, has_volumes: bool, left: &mut usize) {
        let mut tombstone = before.clone();
        if self.is_too_late(before) {
            return;
        }
        match self.index.tenant(&tombstone.tenant) {
            Some(tenant) if tenant.deleting => return,
            Some(tenant) => {
                let why = format!("tenant {} is there again", tenant.name);
                return self.clear(before, why);
            }
            None => {}
        }
        let uid = self.controller.tenant_uid(&tombstone.tenant);
        let is_over = self.now.since_ms(tombstone.made_at) >= self.policy.deletion_grace_ms;
        if tombstone.app.is_empty() || uid.app_name(&tombstone.tenant) != tombstone.app {
            // A named or shared app is never deleted; of a tenant that never had one, nothing is
            // left but its object.
            if is_over && self.now.since_ms(tombstone.made_at) >= OBJECT_KEPT_MS && !has_volumes {
                self.write(tombstone.ended("its object was kept for thirty days", self.now));
            }
            return;
        }
        let Some(lists) = self.whole_lists(&tombstone) else { return };
        let Some(index) = self.index.organization(&tombstone.organization) else { return };
        if self.is_held(&tombstone.tenant) {
            return;
        }
        if !index.has_app(&tombstone.app) {
            if is_over && !has_volumes {
                self.write(tombstone.ended("its app is gone", self.now));
            }
            return;
        }
        tombstone.state = TombstoneState::Standing;
        let is_empty = index.machines(&tombstone.app).is_empty()
            && index.volumes(&tombstone.app).is_empty()
            && lists.apps.contains(&tombstone.app)
            && self.index.owned(&tombstone.tenant).is_empty()
            && !self.is_used(&tombstone.app);
        if !is_empty || has_volumes {
            tombstone.unsight();
        } else {
            tombstone.sight(self.policy, self.now);
            self.look_again(&tombstone);
            if tombstone.has_matured(self.now) && *left > 0 {
                *left -= 1;
                let reason = "its tenant was deleted, and it holds nothing";
                self.act(&tombstone, Action::DeleteApp, reason);
            }
        }
        if tombstone != *before {
            self.write(tombstone);
        }
    }

    /// Whether a tenant names this app.
    fn is_used(&self, app: &str) -> bool {
        self.desired.iter().any(|tenant: &DesiredTenant| tenant.app == app)
    }

    pub(super) fn clear(&mut self, tombstone: &Tombstone, why: String) {
        let same = |known: &Tombstone| known.id == tombstone.id && known.kind == tombstone.kind;
        self.tombstones.written.retain(|known| !same(known));
        self.tombstones.cleared.push(Cleared { tombstone: tombstone.clone(), why });
    }

    pub(super) fn look_again(&mut self, tombstone: &Tombstone) {
        let next = tombstone.next_look(self.policy, self.now);
        let known = self.tombstones.look_again_at;
        self.tombstones.look_again_at = known.into_iter().chain(next).min();
    }

    fn act(&mut self, tombstone: &Tombstone, action: Action, reason: &str) {
        let tenant: Arc<str> = tombstone.tenant.as_str().into();
        let organization: Arc<str> = tombstone.organization.as_str().into();
        let (app, reason) = (tombstone.app.clone(), reason.to_owned());
        self.buried.push(PlannedAction { tenant, organization, app, action, reason });
    }
}

/// What the tenants say about a volume with a tombstone.
enum Claim {
    /// Somebody wants it, or wants it kept.
    Wanted(String),
    /// It cannot be said now.
    Unclear,
    /// Nobody wants it, and this is to become of it.
    Policy(DeletionPolicy),
    /// Nobody wants it.
    Nobody,
}
