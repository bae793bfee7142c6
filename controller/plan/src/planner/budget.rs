//! How many more machines may go down by our doing.
//!
//! The planner remembers nothing, so what is down by our doing has to be read off the lists. Where
//! they leave it open, a machine is counted: the error is then a wait, not an outage.

use vault_api::tenant::MachineState;

use super::index::{Index, Map, living};
use crate::desired::{Desired, DesiredTenant, group_and_index};
use crate::machine::age_ms;
use crate::observed::{HoldKind, Observed, ObservedMachine, PlatformState};
use crate::policy::Policy;
use crate::time::UnixMillis;

/// What is left of the disruption budget.
pub(super) struct Budget {
    left: usize,
}

impl Budget {
    pub(super) fn new(
        desired: &Desired,
        observed: &Observed,
        index: &Index<'_>,
        policy: &Policy,
        now: UnixMillis,
    ) -> Self {
        // A machine that a list leaves out may be down by our doing, wanted or not. While a list is
        // not whole, nothing that runs is taken down anywhere.
        if observed.organizations.values().any(|lists| lists.gaps.any().is_some()) {
            return Self { left: 0 };
        }
        let mut machines = 0;
        let mut down = 0;
        let blank = blank(desired, observed);
        let owned = index.all_owned().map(|(tenant, owned)| (tenant, owned.machine));
        for (tenant, machine) in owned.chain(blank.iter().copied()) {
            machines += 1;
            let running = machine.state == PlatformState::Started;
            let is_replaced = !running && is_replaced(observed, index, tenant, &machine.name);
            let counts = is_replaced
                || !running && may_be_our_doing(index.tenant(tenant), machine, policy, now);
            down += usize::from(counts);
        }
        let hidden: usize = desired.tenants.iter().map(|tenant| hidden(tenant, observed)).sum();
        let gone = observed.replacing.iter().filter(|(tenant, machine)| {
            let owned = index.owned(tenant).iter().map(|owned| owned.machine);
            let blank = blank.iter().filter(|(whose, _)| *whose == tenant.as_str());
            let mut there = owned.chain(blank.map(|(_, machine)| *machine));
            !there.any(|there| there.name == *machine)
                && is_replaced(observed, index, tenant, machine)
        });
        let gone = gone.count();
        machines += hidden + gone;
        down += hidden + gone + unsettled(observed, index, &blank, now);
        Self { left: policy.disruption_budget(machines).saturating_sub(down) }
    }

    /// Takes one machine's worth; `false` if nothing is left.
    pub(super) fn take(&mut self) -> bool {
        let taken = self.left > 0;
        self.left -= usize::from(taken);
        taken
    }
}

/// Whether a machine that does not run is down by our doing, as far as its state tells. One that is
/// booting for the first time cannot be told from one that is being replaced, and is counted too.
fn may_be_our_doing(
    tenant: Option<&DesiredTenant>,
    machine: &ObservedMachine,
    policy: &Policy,
    now: UnixMillis,
) -> bool {
    // What a person deletes by name is not counted, and a stray is nobody's.
    let Some(tenant) = tenant.filter(|tenant| !tenant.deleting) else {
        return false;
    };
    if machine.state.is_passing() {
        return true;
    }
    let Ok(wanted) = &tenant.machines else {
        return false;
    };
    match wanted.iter().find(|wanted| wanted.name == machine.name) {
        // An update passes through `stopped` and `created` for moments; one that has rested longer
        // stopped by itself, and must not keep the others waiting. One that rests in another region
        // is on its way to the right one.
        Some(wanted) if wanted.state == MachineState::Started => {
            let moves = !tenant.paused && *wanted.region != machine.region;
            age_ms(machine, now) < policy.created_grace_ms || moves
        }
        Some(_) => false,
        // Stopped in order to be deleted.
        None => !tenant.paused,
    }
}

/// Whether a machine that should run was taken down in order to be made anew. That of a tenant which a
/// person has paused meanwhile is down by their word: it may be so for ever, and nobody else's machine
/// is to wait for ever.
fn is_replaced(observed: &Observed, index: &Index<'_>, tenant: &str, machine: &str) -> bool {
    if observed.replacing.is_empty()
        || !observed.replacing.contains(&(tenant.to_owned(), machine.to_owned()))
    {
        return false;
    }
    let is_ours = |tenant: &&DesiredTenant| !tenant.deleting && !tenant.paused;
    let Some(tenant) = index.tenant(tenant).filter(is_ours) else { return false };
    let wanted = tenant.machines.as_deref().unwrap_or_default().iter();
    wanted.into_iter().any(|wanted| wanted.name == machine && wanted.state == MachineState::Started)
}

/// How many running machines a tenant should have in an organization that could not be read. Each
/// counts as down, so that an organization that is named by mistake costs what its tenants have, and
/// not everything.
fn hidden(tenant: &DesiredTenant, observed: &Observed) -> usize {
    if tenant.deleting || observed.organizations.contains_key(&*tenant.organization) {
        return 0;
    }
    let wanted = tenant.machines.as_deref().unwrap_or_default();
    wanted.iter().filter(|wanted| wanted.state == MachineState::Started).count()
}

/// How many machines look as if they ran, but may have been taken down by a call whose effect the
/// lists do not show yet.
fn unsettled(
    observed: &Observed,
    index: &Index<'_>,
    blank: &[(&str, &ObservedMachine)],
    now: UnixMillis,
) -> usize {
    observed
        .holds
        .iter()
        .filter(|(_, hold)| hold.kind == HoldKind::Unsettled && now < hold.until)
        .filter(|(tenant, _)| index.tenant(tenant).is_some_and(|tenant| !tenant.deleting))
        .flat_map(|(tenant, _)| {
            let blank = blank.iter().filter(move |(whose, _)| *whose == tenant.as_str());
            let owned = index.owned(tenant).iter().map(|owned| owned.machine);
            owned.chain(blank.map(|(_, machine)| *machine))
        })
        .filter(|machine| machine.state == PlatformState::Started)
        .count()
}

/// Machines whose hosts do not answer show no marks: those that by their names, or by the app that
/// they are in, can only be ours, with their tenants. One that we took down stays down there, and a
/// lost mark does not make room for another.
fn blank<'a>(desired: &'a Desired, observed: &'a Observed) -> Vec<(&'a str, &'a ObservedMachine)> {
    let rows: Vec<(&str, &ObservedMachine)> = observed
        .organizations
        .iter()
        .flat_map(|(slug, lists)| living(lists).map(move |(_, machine)| (slug.as_str(), machine)))
        .filter(|(_, machine)| machine.is_blank())
        .collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let mut by_name: Map<(&str, &str, &str), &str> = Map::default();
    let mut by_app: Map<(&str, &str), &str> = Map::default();
    let mut sharing: Map<(&str, &str), Vec<&str>> = Map::default();
    for tenant in &desired.tenants {
        let place = (&*tenant.organization, tenant.app.as_str());
        match tenant.app_is_shared {
            true => sharing.entry(place).or_default().push(&tenant.name),
            false => drop(by_app.insert(place, &tenant.name)),
        }
        for wanted in tenant.machines.as_deref().unwrap_or_default() {
            by_name.insert((place.0, place.1, &wanted.name), &tenant.name);
        }
    }
    let whose = |(organization, machine): (&str, &'a ObservedMachine)| {
        let app = machine.app.as_str();
        let named = by_name.get(&(organization, app, machine.name.as_str()));
        // Nobody wants it any more, and its name still says whose it was.
        let was_of = || {
            let tenants = sharing.get(&(organization, app))?;
            tenants.iter().find(|tenant| group_and_index(tenant, &machine.name).is_some())
        };
        let tenant = named.or_else(|| by_app.get(&(organization, app))).or_else(was_of)?;
        Some((*tenant, machine))
    };
    rows.into_iter().filter_map(whose).collect()
}

#[cfg(test)]
mod tests;
