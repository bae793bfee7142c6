//! Where things are in the lists, by what they are looked up by.

use std::cell::OnceCell;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use foldhash::fast::FixedState;

use super::shared::{Slice, slices};
use crate::desired::{Desired, DesiredTenant};
use crate::metadata::Marks;
use crate::observed::{
    Observed, ObservedMachine, ObservedOrganization, ObservedVolume, PlatformState,
};
use crate::report::Stray;

/// Names that the platform or a checked manifest made are looked up by a fast hash: nobody outside
/// can choose ten thousand of them so that they collide.
pub(super) type Map<K, V> = HashMap<K, V, FixedState>;
type Set<K> = HashSet<K, FixedState>;
/// The index of one look at the platform.
pub(super) struct Index<'a> {
    tenants: Map<&'a str, &'a DesiredTenant>,
    organizations: Map<&'a str, OrganizationIndex<'a>>,
    /// Our machines by the tenant that their metadata names.
    owned: Map<&'a str, Few<Owned<'a>>>,
    observed: &'a Observed,
    /// The newest volume of each name; made when it is first asked for, which most plans never do.
    volumes_by_name: OnceCell<Map<&'a str, &'a ObservedVolume>>,
    /// What of a shared app is a tenant's business, by tenant.
    shared: Map<&'a str, Slice>,
}

/// Places in the lists of an organization.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    pub(super) machines: &'a [usize],
    pub(super) volumes: &'a [usize],
}

/// A machine that carries our mark.
#[derive(Clone, Copy)]
pub(super) struct Owned<'a> {
    pub(super) organization: &'a str,
    pub(super) machine: &'a ObservedMachine,
}

/// What is in one organization, by app.
#[derive(Default)]
pub(super) struct OrganizationIndex<'a> {
    apps: Set<&'a str>,
    machines: Map<&'a str, Few<usize>>,
    volumes: Map<&'a str, Few<usize>>,
}

impl<'a> Index<'a> {
    pub(super) fn new(desired: &'a Desired, observed: &'a Observed) -> Self {
        let mut owned = Map::default();
        owned.reserve(desired.tenants.len());
        let mut organizations = Map::default();
        for (slug, organization) in &observed.organizations {
            for machine in living(organization).map(|(_, machine)| machine) {
                let marks = Marks::read(&machine.metadata);
                if let (Some(controller), Some(tenant)) = (marks.controller, marks.tenant)
                    && controller == desired.controller_mark
                {
                    add_newest(&mut owned, tenant, Owned { organization: slug, machine });
                }
            }
            organizations.insert(slug.as_str(), OrganizationIndex::new(organization));
        }
        let tenants = desired.tenants.iter().map(|tenant| (&*tenant.name, tenant)).collect();
        let shared = slices(desired, observed);
        Self { tenants, organizations, owned, observed, volumes_by_name: OnceCell::new(), shared }
    }

    /// The newest volume of that name in any app, for an app that has none: names are derived from
    /// the tenant, so it is the tenant's wherever it lies.
    pub(super) fn volume_elsewhere(&self, name: &str) -> Option<&'a ObservedVolume> {
        let by_name = self.volumes_by_name.get_or_init(|| {
            let mut by_name: Map<&str, &ObservedVolume> = Map::default();
            for volume in self.observed.organizations.values().flat_map(|lists| &lists.volumes) {
                let newest = by_name.entry(&volume.name).or_insert(volume);
                if newest.created_at < volume.created_at {
                    *newest = volume;
                }
            }
            by_name
        });
        by_name.get(name).copied()
    }

    /// What of the shared app that a tenant names is its business.
    pub(super) fn in_shared_app(&self, tenant: &str) -> Places<'_> {
        self.shared.get(tenant).map_or(Places { machines: &[], volumes: &[] }, |slice| Places {
            machines: &slice.machines,
            volumes: &slice.volumes,
        })
    }

    /// The tenant of that name, if there is one.
    pub(super) fn tenant(&self, name: &str) -> Option<&'a DesiredTenant> {
        self.tenants.get(name).copied()
    }

    /// The index of an organization that could be read.
    pub(super) fn organization(&self, slug: &str) -> Option<&OrganizationIndex<'a>> {
        self.organizations.get(slug)
    }

    /// The machines that carry a tenant's mark, wherever they are.
    pub(super) fn owned(&self, tenant: &str) -> &[Owned<'a>] {
        self.owned.get(tenant).map_or(&[], Few::as_slice)
    }

    /// All machines that carry our mark, by the tenant that their mark names.
    pub(super) fn all_owned(&self) -> impl Iterator<Item = (&'a str, Owned<'a>)> {
        let tenants = self.owned.iter();
        tenants.flat_map(|(tenant, machines)| {
            machines.as_slice().iter().map(|machine| (*tenant, *machine))
        })
    }

    /// Machines with our mark whose tenant does not exist, in the order of their ids.
    pub(super) fn strays(&self) -> Vec<Stray> {
        let unknown = self.all_owned().filter(|(tenant, _)| self.tenant(tenant).is_none());
        let mut strays: Vec<Stray> = unknown
            .map(|(tenant, Owned { organization, machine })| Stray {
                organization: organization.to_owned(),
                app: machine.app.clone(),
                id: machine.id.clone(),
                name: machine.name.clone(),
                tenant: tenant.to_owned(),
            })
            .collect();
        strays.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        strays
    }
}

impl<'a> OrganizationIndex<'a> {
    fn new(organization: &'a ObservedOrganization) -> Self {
        let mut index = Self::default();
        index.apps.extend(organization.apps.iter().map(String::as_str));
        index.machines.reserve(organization.apps.len());
        for (place, machine) in living(organization) {
            add(&mut index.machines, &machine.app, place);
        }
        index.volumes.reserve(organization.apps.len());
        for (place, volume) in organization.volumes.iter().enumerate() {
            add(&mut index.volumes, &volume.app, place);
        }
        index
    }

    /// Whether the app exists: it is listed, or holds something that is.
    pub(super) fn has_app(&self, app: &str) -> bool {
        self.apps.contains(app) || self.machines.contains_key(app) || self.volumes.contains_key(app)
    }

    /// Places of the machines in an app, whoever they belong to.
    pub(super) fn machines(&self, app: &str) -> &[usize] {
        self.machines.get(app).map_or(&[], Few::as_slice)
    }

    /// Places of the volumes in an app.
    pub(super) fn volumes(&self, app: &str) -> &[usize] {
        self.volumes.get(app).map_or(&[], Few::as_slice)
    }
}

pub(super) fn living(
    organization: &ObservedOrganization,
) -> impl Iterator<Item = (usize, &ObservedMachine)> {
    let machines = organization.machines.iter().enumerate();
    machines.filter(|(_, machine)| machine.state != PlatformState::Destroyed)
}

/// A machine that changes while the list is read, page by page, stands in it twice.
fn add_newest<'a>(map: &mut Map<&'a str, Few<Owned<'a>>>, tenant: &'a str, new: Owned<'a>) {
    let known = map.get_mut(tenant).and_then(|machines| {
        machines.as_mut_slice().iter_mut().find(|known| known.machine.id == new.machine.id)
    });
    match known {
        Some(known) if known.machine.updated_at < new.machine.updated_at => *known = new,
        Some(_) => {}
        None => add(map, tenant, new),
    }
}

/// A list that is seldom longer than one: most tenants have one machine and one volume, which then
/// need no memory of their own.
enum Few<T> {
    One(T),
    Many(Vec<T>),
}

impl<T: Copy> Few<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Self::One(only) => std::slice::from_ref(only),
            Self::Many(several) => several,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [T] {
        match self {
            Self::One(only) => std::slice::from_mut(only),
            Self::Many(several) => several,
        }
    }

    fn push(&mut self, another: T) {
        match self {
            Self::One(only) => *self = Self::Many(vec![*only, another]),
            Self::Many(several) => several.push(another),
        }
    }
}

/// Adds to the list of a key.
fn add<'a, T: Copy>(map: &mut Map<&'a str, Few<T>>, key: &'a str, value: T) {
    match map.entry(key) {
        Entry::Occupied(mut entry) => entry.get_mut().push(value),
        Entry::Vacant(entry) => drop(entry.insert(Few::One(value))),
    }
}
