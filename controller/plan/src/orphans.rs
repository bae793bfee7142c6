//! What is ours and serves no tenant: found by marks and by derived names, never by guess.
//!
//! ```text
//!   machine   our mark, and no tenant of that name
//!   app       `<tenant>-<8 base32>` as we derive it, and no tenant names it
//!   volume    in such an app; or of a derived name in a tenant's app, and no machine wants it
//!             of several of one name, those that nobody holds but the newest
//!   bucket    of a tenant's derived names, whose manifest does not name it, or that is deleted
//!   tombstone that stands
//! ```

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::desired::{Desired, DesiredTenant};
use crate::identity::{ControllerId, TenantUid, is_volume_name};
use crate::metadata::Marks;
use crate::observed::{Observed, ObservedMachine, ObservedVolume, PlatformState};
use crate::tombstone::{Tombstone, TombstoneKind};

/// Something of ours that serves no tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct Orphan {
    /// The organization's slug.
    pub organization: String,
    /// The app's name.
    pub app: String,
    /// The tenant that it was of, if that is known.
    pub tenant: Option<String>,
    /// What it is.
    pub what: OrphanKind,
}

/// What an orphan is, and why it is one.
#[derive(Clone, Debug, PartialEq)]
pub enum OrphanKind {
    /// A machine with our mark and no tenant.
    Machine(ObservedMachine),
    /// An app of ours that no tenant names, and how many machines and volumes it holds.
    App(usize, usize),
    /// A volume in an app of ours that no tenant names.
    Volume(ObservedVolume),
    /// A volume of a tenant that none of its machines wants.
    Unused(ObservedVolume),
    /// One of several volumes of the same name, and not the one that is used.
    Duplicate(ObservedVolume),
    /// A bucket of ours that no manifest names.
    Bucket {
        /// Its name at Tigris.
        bucket: String,
        /// The tenant that it was of, if there is still one of that name.
        wanted_by: Option<String>,
    },
    /// Something that goes, or can come back.
    Tombstone(Tombstone),
}

/// Finds all orphans, in the order of organizations, apps and what they are.
#[must_use]
pub fn orphans(desired: &Desired, observed: &Observed) -> Vec<Orphan> {
    let mut finder = Finder::new(desired, observed);
    for (slug, lists) in &observed.organizations {
        let living = |machine: &&ObservedMachine| machine.state != PlatformState::Destroyed;
        for machine in lists.machines.iter().filter(living) {
            finder.machine(slug, machine);
        }
        let mut apps: BTreeSet<&str> = lists.apps.iter().map(String::as_str).collect();
        apps.extend(lists.volumes.iter().map(|volume| volume.app.as_str()));
        for app in apps {
            let volumes: Vec<&ObservedVolume> =
                lists.volumes.iter().filter(|volume| volume.app == app).collect();
            let machines = lists.machines.iter().filter(living);
            let machines = machines.filter(|machine| machine.app == app).count();
            finder.app(slug, app, machines, &volumes);
        }
    }
    finder.buckets(observed);
    let standing = observed.tombstones.iter().filter(|tombstone| tombstone.is_open());
    for tombstone in standing {
        let kind = OrphanKind::Tombstone(tombstone.clone());
        finder.found(&tombstone.organization, &tombstone.app, Some(&tombstone.tenant), kind);
    }
    finder.found.sort_by(|one, other| {
        (&one.organization, &one.app).cmp(&(&other.organization, &other.app))
    });
    finder.found
}

struct Finder<'a> {
    controller: &'a ControllerId,
    mark: &'a str,
    tenants: BTreeMap<&'a str, &'a DesiredTenant>,
    /// The tenants that name an app.
    by_app: BTreeMap<&'a str, Vec<&'a DesiredTenant>>,
    tombstones: &'a [Tombstone],
    found: Vec<Orphan>,
}

impl<'a> Finder<'a> {
    fn new(desired: &'a Desired, observed: &'a Observed) -> Self {
        let mut by_app: BTreeMap<&str, Vec<&DesiredTenant>> = BTreeMap::new();
        for tenant in &desired.tenants {
            by_app.entry(&tenant.app).or_default().push(tenant);
        }
        Self {
            controller: &desired.controller,
            mark: &desired.controller_mark,
            tenants: desired.tenants.iter().map(|tenant| (&*tenant.name, tenant)).collect(),
            by_app,
            tombstones: &observed.tombstones,
            found: Vec::new(),
        }
    }

    fn machine(&mut self, slug: &str, machine: &ObservedMachine) {
        let marks = Marks::read(&machine.metadata);
        if let Some(tenant) = marks.tenant
            && marks.controller == Some(self.mark)
            && !self.tenants.contains_key(tenant)
        {
            let kind = OrphanKind::Machine(machine.clone());
            self.found(slug, &machine.app, Some(tenant), kind);
        }
    }

    fn app(&mut self, slug: &str, app: &str, machines: usize, volumes: &[&ObservedVolume]) {
        let owners = self.by_app.get(app).cloned().unwrap_or_default();
        let tenant = self.derived_from(app);
        if let (true, Some(tenant)) = (owners.is_empty(), &tenant) {
            let is_buried = self.tombstones.iter().any(|known| {
                known.kind == TombstoneKind::Tenant && known.is_open() && known.app == app
            });
            if !is_buried {
                let kind = OrphanKind::App(machines, volumes.len());
                self.found(slug, app, Some(tenant), kind);
            }
        }
        for volume in volumes.iter().filter(|volume| is_volume_name(&volume.name)) {
            let is_buried = self.tombstones.iter().any(|known| {
                known.kind == TombstoneKind::Volume && known.is_open() && known.id == volume.id
            });
            if is_buried {
                continue;
            }
            let owner = self.owner(&owners, volume, tenant.as_deref());
            let kind = match owner {
                Owner::Nobody => continue,
                Owner::Gone => OrphanKind::Volume((*volume).clone()),
                Owner::Tenant(_) if is_spare(volume, volumes) => {
                    OrphanKind::Duplicate((*volume).clone())
                }
                Owner::Tenant(owner)
                    if volume.attached_machine.is_none() && !wants(owner, &volume.name) =>
                {
                    OrphanKind::Unused((*volume).clone())
                }
                Owner::Tenant(_) => continue,
            };
            let name = match owner {
                Owner::Tenant(owner) => Some(owner.name.to_string()),
                Owner::Gone | Owner::Nobody => tenant.clone(),
            };
            self.found(slug, app, name.as_deref(), kind);
        }
    }

    /// Of a tenant that nobody remembers nothing proves whose its buckets were.
    fn buckets(&mut self, observed: &Observed) {
        let owners: BTreeMap<&str, TenantUid> = self
            .tombstones
            .iter()
            .map(|known| (known.tenant.as_str(), self.controller.tenant_uid(&known.tenant)))
            .chain(self.tenants.iter().map(|(name, tenant)| (*name, tenant.uid)))
            .collect();
        for bucket in &observed.storage.buckets {
            let is_buried = self.tombstones.iter().any(|known| {
                known.kind == TombstoneKind::Bucket && known.is_open() && known.id == *bucket
            });
            let owner = owners.iter().find(|(_, uid)| uid.owns_bucket(bucket));
            let Some((name, _)) = owner.filter(|_| !is_buried) else { continue };
            let tenant = self.tenants.get(name).copied();
            // Of one that cannot be resolved, nothing is unused.
            let is_used = tenant.is_some_and(|tenant| {
                tenant.machines.is_err() || tenant.buckets.iter().any(|one| one.bucket == *bucket)
            });
            if is_used {
                continue;
            }
            let (name, wanted_by) = ((*name).to_owned(), tenant.map(|one| one.name.to_string()));
            let slug = tenant.map(|tenant| tenant.organization.to_string()).unwrap_or_default();
            let app = tenant.map(|tenant| tenant.app.clone()).unwrap_or_default();
            let kind = OrphanKind::Bucket { bucket: bucket.clone(), wanted_by };
            self.found(&slug, &app, Some(&name), kind);
        }
    }

    /// Whose a volume is, as far as names prove it.
    fn owner(
        &self,
        owners: &[&'a DesiredTenant],
        volume: &ObservedVolume,
        derived: Option<&str>,
    ) -> Owner<'a> {
        let proves = |owner: &&&DesiredTenant| {
            wants(owner, &volume.name)
                || owner.slots.find(&owner.name, owner.uid, &volume.name).is_some()
        };
        match (owners.iter().find(proves), owners, derived) {
            (Some(owner), _, _) => Owner::Tenant(owner),
            // An app whose name is derived is ours with all that is in it.
            (None, [owner], Some(_)) => Owner::Tenant(owner),
            (None, [], Some(_)) => Owner::Gone,
            (None, _, _) => Owner::Nobody,
        }
    }

    /// The tenant from whose name the app's is derived. Of a tenant with a long name only a
    /// tombstone knows the rest of it.
    fn derived_from(&self, app: &str) -> Option<String> {
        let is_derived = |tenant: &str| self.controller.tenant_uid(tenant).app_name(tenant) == app;
        let known = self.tombstones.iter().map(|known| known.tenant.as_str());
        let known = known.chain(app.rsplit_once('-').map(|(tenant, _)| tenant));
        known
            .chain(self.by_app.get(app).into_iter().flatten().map(|owner| &*owner.name))
            .find(|tenant| is_derived(tenant))
            .map(str::to_owned)
    }

    fn found(&mut self, slug: &str, app: &str, tenant: Option<&str>, what: OrphanKind) {
        self.found.push(Orphan {
            organization: slug.to_owned(),
            app: app.to_owned(),
            tenant: tenant.map(str::to_owned),
            what,
        });
    }
}

/// Whose a volume is.
#[derive(Clone, Copy)]
enum Owner<'a> {
    Tenant(&'a DesiredTenant),
    /// A tenant of ours that there is no more.
    Gone,
    /// Nobody's that we know.
    Nobody,
}

fn wants(tenant: &DesiredTenant, volume: &str) -> bool {
    let machines = tenant.machines.as_deref().unwrap_or_default();
    // Of one that cannot be resolved, nothing is unused.
    tenant.machines.is_err()
        || machines
            .iter()
            .any(|machine| machine.volume.as_ref().is_some_and(|wanted| wanted.name == volume))
}

/// Whether a free volume has the name of another that is held, or newer.
fn is_spare(volume: &ObservedVolume, others: &[&ObservedVolume]) -> bool {
    let rank = |one: &ObservedVolume| {
        (one.attached_machine.is_none(), Reverse(one.created_at), one.id.clone())
    };
    volume.attached_machine.is_none()
        && others.iter().any(|other| {
            other.name == volume.name && other.id != volume.id && rank(other) < rank(volume)
        })
}
