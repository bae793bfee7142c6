//! What a pass does about tombstones: it knows what they name, keeps what the plan says of them
//! before anything else is done, and lets nothing be deleted that was taken back meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use vault_plan::action::Action;
use vault_plan::tombstone::{Tombstone, TombstoneKind, TombstoneState};

use super::objects::Objects;
use super::{PassError, Planned, Reconciler};
use crate::clock::{Clock, rfc3339};
use crate::events::Event;
use crate::observe::Known;
use crate::platform::Platform;
use crate::store::{Doomed, Owner, Store};

/// The organizations in which something with a tombstone is.
pub(super) fn organizations(tombstones: &[Tombstone]) -> impl Iterator<Item = String> {
    let open = tombstones.iter().filter(|known| known.is_open());
    open.map(|known| known.organization.clone()).filter(|organization| !organization.is_empty())
}

/// Adds the volumes with tombstones to what is known: one that a list leaves out is asked for by id.
pub(super) fn add_known(known: &mut BTreeMap<String, Known>, tombstones: &[Tombstone]) {
    let open = tombstones.iter().filter(|known| known.is_open());
    for tombstone in open.filter(|known| known.kind == TombstoneKind::Volume) {
        let known = known.entry(tombstone.organization.clone()).or_default();
        known.volumes.insert(tombstone.id.clone(), tombstone.app.clone());
    }
}

/// The revisions under which failures of tenants are remembered that are no more.
pub(super) fn revisions<'a>(
    tombstones: &'a [Tombstone],
    objects: &Objects,
) -> impl Iterator<Item = (&'a str, i64)> + use<'a> {
    let names: BTreeSet<&str> = tombstones.iter().map(|known| known.tenant.as_str()).collect();
    let living: BTreeSet<&str> =
        objects.tenants.iter().map(|tenant| tenant.name.as_str()).collect();
    let gone: Vec<&str> = names.into_iter().filter(|name| !living.contains(name)).collect();
    gone.into_iter().map(|name| (name, 0))
}

impl<P: Platform, S: Store, C: Clock> Reconciler<P, S, C> {
    /// Keeps what the plan says of tombstones, and takes out of it what may no longer be deleted.
    pub(super) async fn keep_tombstones(
        &self,
        objects: &Objects,
        planned: &mut Planned,
    ) -> Result<(), PassError> {
        let changes = &planned.plan.tombstones;
        let written = changes.written.clone();
        let cleared = changes.cleared.iter().map(|cleared| cleared.tombstone.clone()).collect();
        self.store.change_tombstones(written, cleared).await?;
        self.tell_tombstones(planned);
        self.doom(objects, planned).await
    }

    /// Marks what is about to be deleted, so that it is too late to take it back, and drops the
    /// deletion of what was taken back before that.
    async fn doom(&self, objects: &Objects, planned: &mut Planned) -> Result<(), PassError> {
        let doomed: Vec<Doomed> = {
            let known = planned.plan.tombstones.written.iter().chain(&planned.observed.tombstones);
            let known: Vec<&Tombstone> = known.collect();
            let actions = planned.plan.actions.iter();
            let marked = actions.filter_map(|planned| {
                let (kind, id) = match &planned.action {
                    Action::DeleteVolume(volume) => (TombstoneKind::Volume, volume.id.as_str()),
                    Action::DeleteApp => (TombstoneKind::Tenant, &*planned.tenant),
                    Action::EmptyBucket(bucket) => (TombstoneKind::Bucket, &*bucket.bucket),
                    _ => return None,
                };
                let tombstone = known.iter().find(|known| known.kind == kind && known.id == id)?;
                Some(Doomed {
                    kind,
                    id: id.to_owned(),
                    made_at: tombstone.made_at,
                    owner: objects.owner(&planned.tenant),
                })
            });
            marked.collect()
        };
        if doomed.is_empty() {
            return Ok(());
        }
        let acting = self.store.act_on_tombstones(doomed.clone()).await?;
        let acting: BTreeSet<(TombstoneKind, String)> = doomed
            .into_iter()
            .zip(acting)
            .filter(|(_, acting)| *acting)
            .map(|(doomed, _)| (doomed.kind, doomed.id))
            .collect();
        planned.plan.actions.retain(|planned| match &planned.action {
            Action::DeleteVolume(volume) => {
                acting.contains(&(TombstoneKind::Volume, volume.id.clone()))
            }
            Action::DeleteApp => {
                acting.contains(&(TombstoneKind::Tenant, planned.tenant.to_string()))
            }
            Action::EmptyBucket(bucket) | Action::DeleteBucket(bucket) => {
                acting.contains(&(TombstoneKind::Bucket, bucket.bucket.clone()))
            }
            _ => true,
        });
        Ok(())
    }

    fn tell_tombstones(&self, planned: &Planned) {
        let now = self.clock.now();
        let changes = &planned.plan.tombstones;
        let before = |new: &Tombstone| {
            let known = planned.observed.tombstones.iter();
            known
                .filter(|known| known.is_open())
                .find(|known| known.kind == new.kind && known.id == new.id)
        };
        for tombstone in &changes.written {
            let what = named(tombstone);
            let (reason, message) = match (tombstone.state, before(tombstone)) {
                (TombstoneState::Ended, Some(_)) => {
                    let outcome = tombstone.outcome.as_deref().unwrap_or("it is gone");
                    ("TombstoneEnded", format!("{what}: {outcome}"))
                }
                (TombstoneState::Standing, None) => {
                    let due = rfc3339(tombstone.matures_at(&self.config.policy));
                    let policy = tombstone.policy.word();
                    let message = format!(
                        "{what} goes by its policy {policy}, not before {due}, unless it is wanted \
                         again"
                    );
                    ("Tombstoned", message)
                }
                (_, _) => continue,
            };
            (self.tell)(Event::normal(now, &tombstone.tenant, reason, message));
        }
        for cleared in &changes.cleared {
            let message = format!("{} is not deleted: {}", named(&cleared.tombstone), cleared.why);
            let tenant = &cleared.tombstone.tenant;
            (self.tell)(Event::normal(now, tenant, "TakenBack", message));
        }
    }
}

/// What a tombstone stands over, in words.
fn named(tombstone: &Tombstone) -> String {
    match tombstone.kind {
        TombstoneKind::Volume => format!(
            "volume {} ({}, {} GB) of {}",
            tombstone.id, tombstone.name, tombstone.size_gb, tombstone.machine
        ),
        TombstoneKind::Bucket => format!("bucket {}", tombstone.id),
        TombstoneKind::Tenant if tombstone.app.is_empty() => {
            format!("tenant {}", tombstone.tenant)
        }
        TombstoneKind::Tenant => format!("app {} of tenant {}", tombstone.app, tombstone.tenant),
    }
}

impl Objects {
    /// A tenant as this pass sees it; `None` if there is none of that name.
    pub(super) fn owner(&self, name: &str) -> Option<Owner> {
        let place = self.tenants.binary_search_by(|tenant| tenant.name.as_str().cmp(name)).ok()?;
        let tenant = &self.tenants[place];
        Some(Owner {
            generation: tenant.generation,
            deleting: tenant.deleting,
            class: self.class_generation(tenant),
        })
    }
}
