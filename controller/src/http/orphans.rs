//! `GET /orphans`: what is ours at the platform and serves no tenant, as it is at this moment.

use axum::Json;
use axum::extract::State;
use vault_api::object::API_VERSION;
use vault_api::orphan::{KIND, Orphan, OrphanList, OrphanMeta};
use vault_plan::bucket::StorageLook;
use vault_plan::observed::{ObservedVolume, VolumeGap};
use vault_plan::orphans::{OrphanKind, orphans};
use vault_plan::policy::Policy;
use vault_plan::tombstone::{Cause, Tombstone, TombstoneKind};

use super::error::ApiError;
use super::objects::Shared;
use super::plan::PLANS_MAX;
use crate::chain::chain;
use crate::clock::{Clock, rfc3339};
use crate::platform::Platform;
use crate::reconcile::{Objects, Planned};
use crate::store::Store;

/// Looks at the platform and lists what it finds.
pub(super) async fn list<P: Platform, S: Store, C: Clock>(
    State(app): Shared<P, S, C>,
) -> Result<Json<OrphanList>, ApiError> {
    let _permit = app.plans.try_acquire().map_err(|_| {
        ApiError::Unavailable(format!("{PLANS_MAX} looks are made already; try again"))
    })?;
    let reconciler = app.reconciler()?;
    let planned = reconciler.preview(Objects::load(&app.store).await?).await?;
    let policy = &reconciler.config().policy;
    let found = orphans(&planned.desired, &planned.observed);
    Ok(Json(OrphanList {
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        metadata: OrphanMeta { unread: unread(&planned) },
        items: found.into_iter().map(|orphan| render(orphan, policy)).collect(),
    }))
}

/// Why there may be more than what was seen.
fn unread(planned: &Planned) -> Vec<String> {
    let mut unread: Vec<String> = planned.unread.iter().map(|error| chain(error)).collect();
    for (slug, lists) in &planned.observed.organizations {
        unread.extend(lists.gaps.any().map(|gap| format!("organization {slug}: {gap}")));
        let gaps = lists.gaps.volumes.iter();
        unread.extend(gaps.map(|(app, gap): (&String, &VolumeGap)| gap.sentence(app)));
    }
    if let StorageLook::Failed(why) = &planned.observed.storage.look {
        unread.push(why.clone());
    }
    unread
}

fn render(found: vault_plan::orphans::Orphan, policy: &Policy) -> Orphan {
    let vault_plan::orphans::Orphan { organization: org, app, tenant, what } = found;
    let base = Orphan { org, app, tenant: tenant.clone(), ..Orphan::default() };
    let tenant = tenant.unwrap_or_default();
    match what {
        OrphanKind::Machine(machine) => Orphan {
            kind: "Machine".to_owned(),
            reason: "NoTenant".to_owned(),
            message: format!("it carries our mark, and there is no tenant {tenant}"),
            next: format!(
                "apply a tenant {tenant} to adopt it, or `fly machine destroy {} -a {}`",
                machine.id, machine.app
            ),
            name: machine.name,
            id: Some(machine.id),
            region: Some(machine.region),
            state: Some(machine.state.word().to_owned()),
            since: machine.updated_at.map(rfc3339),
            ..base
        },
        OrphanKind::App(machines, volumes) => Orphan {
            kind: "App".to_owned(),
            reason: "NoTenant".to_owned(),
            name: base.app.clone(),
            message: format!(
                "its name is derived from tenant {tenant}, which there is not; it holds \
                 {machines} machines and {volumes} volumes"
            ),
            next: format!(
                "apply a tenant {tenant} to take it back, or `fly apps destroy {}`",
                base.app
            ),
            ..base
        },
        OrphanKind::Volume(seen) => {
            let message = format!("tenant {tenant}, whose app it is in, there is not");
            let next = format!(
                "apply or undelete tenant {tenant} to take it back, or `fly volumes destroy {}`",
                seen.id
            );
            volume(base, seen, "NoTenant", message, next)
        }
        OrphanKind::Unused(seen) => {
            let message = format!("no machine of tenant {tenant} wants it");
            let next = format!(
                "it is kept; if nobody needs what is on it: `fly volumes destroy {}`",
                seen.id
            );
            volume(base, seen, "Unused", message, next)
        }
        OrphanKind::Duplicate(seen) => {
            let message = "another volume of this name is used".to_owned();
            let next = format!(
                "it is kept; see whether it is older data, then `fly volumes destroy {}`",
                seen.id
            );
            volume(base, seen, "Duplicate", message, next)
        }
        OrphanKind::Bucket { bucket, wanted_by } => Orphan {
            kind: "Bucket".to_owned(),
            reason: if wanted_by.is_some() { "Unused" } else { "NoTenant" }.to_owned(),
            message: match wanted_by {
                Some(name) => format!("tenant {name} does not name it any more"),
                None => format!("its name is derived from tenant {tenant}, which there is not"),
            },
            next: format!(
                "it is kept; name it in a tenant {tenant} to take it back, or `aws s3 rb s3://{bucket}`"
            ),
            name: bucket,
            ..base
        },
        OrphanKind::Tombstone(tombstone) => buried(base, tombstone, policy),
    }
}

fn volume(
    base: Orphan,
    seen: ObservedVolume,
    reason: &str,
    message: String,
    next: String,
) -> Orphan {
    Orphan {
        kind: "Volume".to_owned(),
        reason: reason.to_owned(),
        message,
        next,
        name: seen.name,
        id: Some(seen.id),
        region: Some(seen.region),
        state: Some(seen.state),
        size_gb: Some(seen.size_gb),
        attached_machine: seen.attached_machine,
        since: seen.created_at.map(rfc3339),
        ..base
    }
}

fn buried(base: Orphan, tombstone: Tombstone, policy: &Policy) -> Orphan {
    let tenant = &tombstone.tenant;
    let due_at = tombstone.matures_at(policy);
    let base = Orphan {
        reason: "Tombstone".to_owned(),
        state: Some(tombstone.state.word().to_owned()),
        since: Some(rfc3339(tombstone.made_at)),
        due_at: Some(rfc3339(due_at)),
        snapshot: tombstone.snapshot.clone(),
        ..base
    };
    match tombstone.kind {
        TombstoneKind::Volume => Orphan {
            kind: "Volume".to_owned(),
            message: format!(
                "its machine {} is no longer wanted, and its policy is {}",
                tombstone.machine,
                tombstone.policy.word()
            ),
            next: match tombstone.cause {
                Cause::Deleted => format!("`vaultctl undelete {tenant}` takes it back"),
                Cause::Unwanted => format!(
                    "ask for machine {} again, or say `deletionPolicy: Retain`, to keep it",
                    tombstone.machine
                ),
            },
            name: tombstone.name,
            id: Some(tombstone.id),
            region: Some(tombstone.region),
            size_gb: Some(tombstone.size_gb),
            ..base
        },
        TombstoneKind::Bucket => Orphan {
            kind: "Bucket".to_owned(),
            message: "nobody asks for it any more, and its policy is Delete".to_owned(),
            next: match tombstone.cause {
                Cause::Deleted => format!("`vaultctl undelete {tenant}` takes it back"),
                Cause::Unwanted => format!(
                    "name bucket {} again, or say `deletionPolicy: Retain`, to keep it",
                    tombstone.template
                ),
            },
            name: tombstone.name,
            ..base
        },
        TombstoneKind::Tenant => Orphan {
            kind: "Tenant".to_owned(),
            message: match tombstone.app.as_str() {
                "" => "it was deleted".to_owned(),
                app => format!("it was deleted; app {app} goes once it holds nothing"),
            },
            next: format!("`vaultctl undelete {tenant}` brings it back"),
            name: tombstone.tenant.clone(),
            ..base
        },
    }
}
