//! Who may be in an app: one tenant, or tenants of one organization that all say that they share it.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use vault_api::problem::{FieldPath, Problem};

use super::{Contested, DesiredTenant};

type Map<K, V> = HashMap<K, V, FixedState>;

/// Refuses tenants that name an app in which they would fight with others. The tenant whose derived
/// name it is keeps it, or else the first by name, and with it those that share it as it does.
pub(super) fn refuse(tenants: &mut [DesiredTenant]) {
    let mut owner_of_app: Map<&str, usize> = Map::default();
    owner_of_app.reserve(tenants.len());
    let mut refused: Vec<(usize, Problem)> = Vec::new();
    for named in [false, true] {
        for (place, tenant) in tenants.iter().enumerate() {
            if tenant.app_is_named != named {
                continue;
            }
            let owner = *owner_of_app.entry(&tenant.app).or_insert(place);
            if let Some(why) = conflict(tenant, &tenants[owner]).filter(|_| owner != place) {
                let path = FieldPath::default().field("spec").field("app");
                refused.push((place, Problem::duplicate(path, why)));
            }
        }
    }
    for (place, problem) in refused {
        match &mut tenants[place].machines {
            machines @ Ok(_) => *machines = Err(vec![problem]),
            Err(problems) => problems.push(problem),
        }
    }
}

/// Why a tenant may not be in the app that another has.
fn conflict(tenant: &DesiredTenant, owner: &DesiredTenant) -> Option<String> {
    let (app, name) = (&tenant.app, &owner.name);
    match (tenant.app_is_shared, owner.app_is_shared) {
        (true, true) if tenant.organization == owner.organization => None,
        (true, true) => Some(format!(
            "tenant {name} shares app {app} in organization {}, not in {}",
            owner.organization, tenant.organization
        )),
        (false, true) => Some(format!(
            "app {app} is shared by tenant {name}: write `{{ name: {app}, shared: true }}`"
        )),
        (true, false) => {
            Some(format!("app {app} belongs to tenant {name}, which does not share it"))
        }
        (false, false) => Some(format!("app {app} belongs to tenant {name}")),
    }
}

/// Machines of two tenants in one app that come to the same name, such as `a-b-c-0` of tenants `a`
/// and `a-b`: the first tenant by name makes it. Whoever has it already keeps it, so that nobody can
/// bring another tenant to a stop by the choice of a name.
pub(super) fn contested(tenants: &[DesiredTenant]) -> Contested {
    let mut owner_of_name: Map<(&str, &str), &Arc<str>> = Map::default();
    let mut contested = Contested::new();
    for tenant in tenants.iter().filter(|tenant| tenant.app_is_shared) {
        for machine in tenant.machines.as_deref().unwrap_or_default() {
            let key = (tenant.app.as_str(), machine.name.as_str());
            let owner = *owner_of_name.entry(key).or_insert(&tenant.name);
            if *owner != tenant.name {
                let key = (Arc::clone(&tenant.name), machine.name.clone());
                contested.insert(key, Arc::clone(owner));
            }
        }
    }
    contested
}
