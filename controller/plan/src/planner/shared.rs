//! Shared apps: what in them is whose business.
//!
//! ```text
//!   a machine with the tenant's mark ───────────────────┐
//!   a machine of a wanted name ─────────────────────────┤
//!   one of which nothing is shown, named TENANT-… ──────┼─▶ the tenant's slice
//!   a volume of a derived name, or held by one of these ┤
//!   who holds such a volume ────────────────────────────┘
//! ```
//!
//! Everything else in the app is somebody else's: no obstacle, no stray, and not this tenant's to
//! keep.

use std::collections::BTreeSet;

use super::Planner;
use super::draft::Draft;
use super::index::{Map, living};
use crate::action::{Action, RemoveSecret};
use crate::desired::{Desired, DesiredTenant};
use crate::metadata::Marks;
use crate::observed::{Observed, ObservedMachine, ObservedOrganization, SecretState};

/// Places in an organization's lists, each once.
#[derive(Default)]
pub(super) struct Slice {
    pub(super) machines: Vec<usize>,
    pub(super) volumes: Vec<usize>,
}

/// The slice of every tenant whose app is shared, by tenant.
pub(super) fn slices<'a>(desired: &'a Desired, observed: &'a Observed) -> Map<&'a str, Slice> {
    let mut slices = Map::default();
    let sharing: Vec<&DesiredTenant> =
        desired.tenants.iter().filter(|tenant| tenant.app_is_shared).collect();
    let organizations: BTreeSet<&str> =
        sharing.iter().map(|tenant| &*tenant.organization).collect();
    for slug in organizations {
        let Some(lists) = observed.organizations.get(slug) else { continue };
        let in_organization =
            || sharing.iter().copied().filter(move |tenant| &*tenant.organization == slug);
        let lookup = Lookup::new(desired, lists, in_organization());
        slices.extend(in_organization().map(|tenant| (&*tenant.name, lookup.slice(tenant))));
    }
    slices
}

/// What is in the shared apps of one organization, by what it is looked up by.
struct Lookup<'a> {
    lists: &'a ObservedOrganization,
    machines_by_tenant: Map<(&'a str, &'a str), Vec<usize>>,
    machines_by_name: Map<(&'a str, &'a str), Vec<usize>>,
    machines_by_id: Map<&'a str, usize>,
    blank: Vec<usize>,
    volumes_by_name: Map<(&'a str, &'a str), Vec<usize>>,
    volumes_by_holder: Map<&'a str, Vec<usize>>,
}

impl<'a> Lookup<'a> {
    fn new(
        desired: &'a Desired,
        lists: &'a ObservedOrganization,
        tenants: impl Iterator<Item = &'a DesiredTenant>,
    ) -> Self {
        let apps: BTreeSet<&str> = tenants.map(|tenant| tenant.app.as_str()).collect();
        let mut lookup = Self {
            lists,
            machines_by_tenant: Map::default(),
            machines_by_name: Map::default(),
            machines_by_id: Map::default(),
            blank: Vec::new(),
            volumes_by_name: Map::default(),
            volumes_by_holder: Map::default(),
        };
        for (place, machine) in living(lists).filter(|(_, seen)| apps.contains(seen.app.as_str())) {
            let app = machine.app.as_str();
            let marks = Marks::read(&machine.metadata);
            if let Some(tenant) = marks.tenant
                && marks.controller == Some(&desired.controller_mark)
            {
                lookup.machines_by_tenant.entry((app, tenant)).or_default().push(place);
            }
            lookup.machines_by_name.entry((app, &machine.name)).or_default().push(place);
            lookup.machines_by_id.insert(&machine.id, place);
            lookup.blank.extend(machine.is_blank().then_some(place));
        }
        let volumes = lists.volumes.iter().enumerate();
        for (place, volume) in volumes.filter(|(_, seen)| apps.contains(seen.app.as_str())) {
            lookup.volumes_by_name.entry((&volume.app, &volume.name)).or_default().push(place);
            if let Some(holder) = &volume.attached_machine {
                lookup.volumes_by_holder.entry(holder).or_default().push(place);
            }
        }
        lookup
    }

    fn slice(&self, tenant: &DesiredTenant) -> Slice {
        let app = tenant.app.as_str();
        let wanted = tenant.machines.as_deref().unwrap_or_default();
        let mut machines: BTreeSet<usize> = BTreeSet::new();
        machines.extend(places(&self.machines_by_tenant, &(app, &tenant.name)));
        for machine in wanted {
            machines.extend(places(&self.machines_by_name, &(app, &machine.name)));
        }
        let prefix = format!("{}-", tenant.name);
        machines.extend(self.blank.iter().filter(|&&place| {
            let machine = &self.lists.machines[place];
            machine.app == app && machine.name.starts_with(&prefix)
        }));
        let mut volumes: BTreeSet<usize> = BTreeSet::new();
        for volume in wanted.iter().filter_map(|machine| machine.volume.as_ref()) {
            volumes.extend(places(&self.volumes_by_name, &(app, &volume.name)));
        }
        for &place in &machines {
            let id = self.lists.machines[place].id.as_str();
            volumes.extend(places(&self.volumes_by_holder, &id));
        }
        for &place in &volumes {
            let holder = self.lists.volumes[place].attached_machine.as_deref();
            machines.extend(holder.and_then(|id| self.machines_by_id.get(id)));
        }
        // In the order of the lists, as in an app of one's own.
        Slice { machines: machines.into_iter().collect(), volumes: volumes.into_iter().collect() }
    }
}

fn places<'m, K: std::hash::Hash + Eq>(
    map: &'m Map<K, Vec<usize>>,
    key: &K,
) -> impl Iterator<Item = usize> + use<'m, K> {
    map.get(key).into_iter().flatten().copied()
}

impl<'a> Planner<'a> {
    /// Whether the tenant's app is one that it shares, and in which a tenant of ours has a machine.
    pub(super) fn is_shared_with_us(&self, draft: &Draft<'a>) -> bool {
        let mut machines =
            draft.machines_in_app.iter().map(|&place| &draft.organization.machines[place]);
        draft.tenant.app_is_shared
            && machines.any(|machine| {
                Marks::read(&machine.metadata).controller == Some(self.controller_mark)
            })
    }

    /// A machine of another tenant of ours in an app that the tenant does not share, and whose it is.
    /// It may have come while the tenant was not there, or while the app was shared.
    pub(super) fn of_another_tenant(
        &self,
        draft: &Draft<'a>,
    ) -> Option<(&'a ObservedMachine, &'a str)> {
        if draft.tenant.app_is_shared {
            return None;
        }
        let mut machines =
            draft.machines_in_app.iter().map(|&place| &draft.organization.machines[place]);
        machines.find_map(|machine| {
            let marks = Marks::read(&machine.metadata);
            let is_ours = marks.controller == Some(self.controller_mark);
            let whose = marks.tenant.filter(|whose| is_ours && **whose != *draft.tenant.name)?;
            Some((machine, whose))
        })
    }

    /// Plans the end of a deleted tenant's secrets in the app that it shared, as far as we know that
    /// we set them; whether there are any. In an app of its own they stay with the app.
    pub(super) fn forget_secrets(&self, draft: &mut Draft<'a>) -> bool {
        let tenant = draft.tenant;
        let known = self.observed.secrets.get(&tenant.app);
        let Some(known) = known.filter(|_| tenant.app_is_shared && draft.app_exists) else {
            return false;
        };
        let mut any = false;
        for (name, state) in &known.states {
            if tenant.uid.owns_secret(name) && !matches!(state, SecretState::Missing) {
                let remove = RemoveSecret { name: name.as_str().into() };
                draft.act(Action::RemoveSecret(remove), "the tenant is being deleted");
                any = true;
            }
        }
        any
    }
}
