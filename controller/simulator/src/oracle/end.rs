//! What a stage must come to: what was wanted, once, and nothing besides.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use vault_api::tenant::MachineState;
use vault_emulator::world::query::Filter;
use vault_emulator::world::volume::VolumeState;
use vault_emulator::world::{Machine, State, World};
use vault_plan::identity::TenantUid;

use super::{Effects, ForeignOracle, Pardons, Wishes};
use crate::lists::is_departing;
use crate::nature::STRANGERS_SECRET;
use crate::platform::storage::ACCOUNT;
use crate::workload::ORGANIZATIONS;

/// What is there of one controller, without what differs from run to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Machines by app and name: each is there once.
    pub machines: BTreeMap<(String, String), Vec<MachineForm>>,
    /// How many volumes there are, by app, name and region, and how many of them are held.
    pub volumes: BTreeMap<(String, String, String), (usize, usize)>,
    /// The values of secrets, by app and name.
    pub secrets: BTreeMap<(String, String), String>,
    /// Nobody can hold these values against a controller.
    pub secrets_are_pardoned: bool,
    /// The names of buckets.
    pub buckets: BTreeSet<String>,
    /// Apps that hold secrets which are drawn. What machines in them carry as the mark of their secrets
    /// may be drawn too.
    pub drawn: BTreeSet<String>,
}

/// What matters of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineForm {
    /// Its state's name.
    pub state: &'static str,
    /// Where it is.
    pub region: String,
    /// Its config, without ids.
    pub config: Value,
    /// The name and the region of its volume.
    pub volume: Option<(String, String)>,
}

/// How a stage ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageEnd {
    /// What is there.
    pub inventory: Inventory,
    /// What was made and destroyed since the run began.
    pub effects: Effects,
}

/// What is there of a controller.
#[must_use]
pub fn inventory(world: &World, owners: &ForeignOracle, controller: usize) -> Inventory {
    let mut inventory = Inventory::default();
    let everything = Filter::default();
    let is_its = |id: &str| owners.owner(id) == Some(controller);
    for app in ORGANIZATIONS.iter().flat_map(|organization| world.apps(organization)) {
        for machine in world.machines(&app.name, &everything).filter(|row| is_its(&row.id)) {
            let key = (app.name.clone(), machine.name.clone());
            inventory.machines.entry(key).or_default().push(form(world, machine));
        }
        for volume in world.volumes(&app.name).filter(|row| is_its(&row.id) && !is_departing(row)) {
            let key = (app.name.clone(), volume.name.clone(), volume.region.clone());
            let count = inventory.volumes.entry(key).or_default();
            count.0 += 1;
            let holder = volume.attached_machine_id.as_deref();
            let is_held = holder.is_some_and(|id| lives(world, &app.name, id));
            count.1 += usize::from(is_held);
        }
        let is_drawn = |secret: &str| without_chance(secret) != secret;
        if world.secrets(&app.name).any(|secret| is_drawn(secret.value.expose())) {
            inventory.drawn.insert(app.name.clone());
        }
        if is_its(&app.name) {
            for secret in world.secrets(&app.name) {
                let key = (app.name.clone(), secret.name.clone());
                inventory.secrets.insert(key, without_chance(secret.value.expose()));
            }
        }
    }
    let buckets = world.buckets(ACCOUNT, None).map(|bucket| &bucket.name);
    inventory.buckets = buckets.filter(|name| is_its(name)).cloned().collect();
    inventory
}

/// Whether a machine is there. The platform's claim on a volume may outlive its machine for seconds; a
/// controller that does not want the volume has nothing to wait for.
fn lives(world: &World, app: &str, machine: &str) -> bool {
    world.machine(app, machine).is_ok_and(|machine| machine.state != State::Destroyed)
}

/// How values that are drawn begin, and what is left of them.
const DRAWN: [&str; 2] = ["tid_", "tsec_"];

/// Access keys are drawn, and another oracle compares them with what they open.
fn without_chance(secret: &str) -> String {
    let drawn = DRAWN.into_iter().find(|prefix| secret.starts_with(prefix));
    drawn.unwrap_or(secret).to_owned()
}

impl Inventory {
    /// Leaves out what does not count.
    pub fn pardon(&mut self, pardons: &Pardons) {
        for (key, doubled) in &pardons.doubled {
            if let Some((count, _)) = self.volumes.get_mut(key) {
                *count -= doubled;
            }
        }
        if (pardons.disk_lost || pardons.disk_restored) && pardons.secrets_changed {
            self.secrets_are_pardoned = true;
        }
    }

    /// Leaves out secrets that another inventory does not have. A secret carries no mark, and the
    /// name of one in a shared app holds an identity that nobody can turn back into a tenant's name:
    /// on an empty disk, what is left of a tenant that is gone looks like what somebody else set,
    /// and that stays.
    #[must_use]
    pub fn without_forgotten_secrets(&self, other: &Self) -> Self {
        let mut known = self.clone();
        known.secrets.retain(|key, _| other.secrets.contains_key(key));
        known
    }

    /// Leaves out what strangers made of secrets that another inventory does not have: a value that
    /// somebody else set over ours is not ours to remove when the manifest drops its name.
    #[must_use]
    pub fn without_strangers_secrets(&self, other: &Self) -> Self {
        let mut ours = self.clone();
        let is_left =
            |key: &_, value: &str| value == STRANGERS_SECRET && !other.secrets.contains_key(key);
        ours.secrets.retain(|key, value| !is_left(key, value));
        ours
    }

    /// Leaves out the secrets that these tenants have in apps that they share: what others did to a tenant
    /// that is left alone is left alone too, also where it has no machine that would say whose app it is.
    #[must_use]
    pub fn without_shared_secrets_of(&self, tenants: &[TenantUid]) -> Self {
        let mut others = self.clone();
        others.secrets.retain(|(_, name), _| !tenants.iter().any(|uid| uid.owns_secret(name)));
        others
    }

    /// The machines, without the marks of secrets in apps that hold a drawn secret in `reference`:
    /// whoever is given a key of their own carries a mark of their own. Elsewhere nobody wants a key,
    /// and a mark says the same in each run, whatever an app still holds of a key that was forgotten.
    fn comparable_machines(
        &self,
        reference: &Self,
    ) -> BTreeMap<(String, String), Vec<MachineForm>> {
        let mut machines = self.machines.clone();
        let marked = machines.iter_mut().filter(|((app, _), _)| reference.drawn.contains(app));
        for form in marked.flat_map(|(_, forms)| forms) {
            if let Some(metadata) = form.config.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove(vault_plan::metadata::SECRET_HASH);
            }
        }
        machines
    }
}

fn form(world: &World, machine: &Machine) -> MachineForm {
    let mut config = Value::Object(machine.config.clone());
    if let Some(metadata) = config.get_mut("metadata").and_then(Value::as_object_mut) {
        // Ids of intents differ; volumes that have grown stay so.
        for key in [vault_plan::metadata::INTENT, vault_plan::metadata::VOLUME_GB] {
            metadata.remove(key);
        }
    }
    let mount = config.get_mut("mounts").and_then(|mounts| mounts.get_mut(0)?.get_mut("volume"));
    let id = mount.map(Value::take);
    let volume =
        id.as_ref().and_then(Value::as_str).map(|id| match world.volume(&machine.app, id) {
            Ok(volume) => (volume.name.clone(), volume.region.clone()),
            Err(_) => ("gone".to_owned(), String::new()),
        });
    MachineForm { state: machine.state.name(), region: machine.region.clone(), config, volume }
}

/// What is wrong with an inventory, given what people want: desired equals observed, without help
/// from the code that is tested.
#[must_use]
pub fn unlike_wishes(found: &Inventory, wishes: &Wishes) -> Option<String> {
    let left_alone =
        |name: &str| wishes.left_alone.iter().any(|tenant| name.starts_with(&format!("{tenant}-")));
    let mut missing: Vec<&String> =
        wishes.machines.keys().filter(|name| !left_alone(name)).collect();
    for ((app, name), forms) in &found.machines {
        let [form] = forms.as_slice() else {
            return Some(format!("{} machines are called {name} in app {app}", forms.len()));
        };
        if left_alone(name) {
            continue;
        }
        let Some(wanted) = wishes.machines.get(name) else {
            return Some(format!("machine {name} is in app {app}, and nobody wants it"));
        };
        missing.retain(|missing| *missing != name);
        // A machine at rest waits where it is.
        let state = match wanted.state {
            MachineState::Started => State::Started,
            MachineState::Stopped => State::Stopped,
            MachineState::Suspended => State::Suspended,
        };
        let at_rest = wanted.state == MachineState::Stopped && form.state == "created";
        if form.state != state.name() && !at_rest {
            return Some(format!("machine {name} should be {state} and is {}", form.state));
        }
        if form.region != wanted.region {
            return Some(format!(
                "machine {name} should be in {} and is in {}",
                wanted.region, form.region
            ));
        }
        if form.config.get("image").and_then(Value::as_str) != Some(&wanted.image) {
            return Some(format!(
                "machine {name} should run {} and is {}",
                wanted.image, form.config
            ));
        }
        if form.volume.is_some() != wanted.has_volume {
            return Some(format!("machine {name} holds volume {:?}", form.volume));
        }
    }
    missing.first().map(|name| format!("machine {name} is wanted and not there"))
}

/// What is wrong with an inventory, given that of the same story without faults.
#[must_use]
pub fn unlike_reference(
    found: &Inventory,
    reference: &Inventory,
    wishes: &Wishes,
) -> Option<String> {
    // What others did to a tenant that is left alone is left alone too.
    let cared_for = |inventory: &Inventory| {
        let mut machines = inventory.comparable_machines(reference);
        machines.retain(|(_, name), _| !wishes.leaves_alone(name));
        machines
    };
    let machines = difference("machine", &cared_for(found), &cared_for(reference));
    let cared_for = |inventory: &Inventory| {
        let mut volumes = inventory.volumes.clone();
        volumes.retain(|(app, _, _), _| !has_left_alone(reference, wishes, app));
        volumes
    };
    let volumes = difference("volume", &cared_for(found), &cared_for(reference));
    let gone = reference.buckets.difference(&found.buckets).next();
    let surplus = found.buckets.difference(&reference.buckets).next();
    let buckets = gone.map(|name| format!("bucket {name} is not there")).or_else(|| {
        surplus.map(|name| format!("bucket {name} is there, and without faults it is not"))
    });
    let secrets = || match found.secrets_are_pardoned {
        true => None,
        false => {
            let apps = |inventory: &Inventory| {
                let mut secrets = inventory.secrets.clone();
                secrets.retain(|(app, _), _| cares_for(reference, wishes, app));
                secrets
            };
            difference("secret", &apps(found), &apps(reference))
        }
    };
    machines.or(volumes).or(buckets).or_else(secrets)
}

/// Whether an app holds machines, and none of a tenant that is left alone: nobody looks after the
/// secrets of others.
fn cares_for(reference: &Inventory, wishes: &Wishes, app: &str) -> bool {
    reference.machines.keys().any(|(of, _)| of == app) && !has_left_alone(reference, wishes, app)
}

/// Whether an app holds a machine of a tenant that is left alone.
fn has_left_alone(reference: &Inventory, wishes: &Wishes, app: &str) -> bool {
    reference.machines.keys().any(|(of, name)| of == app && wishes.leaves_alone(name))
}

/// What is wrong with the machines of an inventory, given those of an earlier stage that wanted the
/// same.
#[must_use]
pub fn unlike_before(found: &Inventory, before: &Inventory) -> Option<String> {
    let machines = |inventory: &Inventory| inventory.comparable_machines(before);
    difference("machine", &machines(found), &machines(before))
}

fn difference<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    what: &str,
    found: &BTreeMap<K, V>,
    expected: &BTreeMap<K, V>,
) -> Option<String> {
    for (key, wanted) in expected {
        match found.get(key) {
            None => return Some(format!("{what} {key:?} is not there")),
            Some(seen) if seen != wanted => {
                return Some(format!("{what} {key:?} is {seen:?}, and without faults {wanted:?}"));
            }
            Some(_) => {}
        }
    }
    let surplus = found.keys().find(|key| !expected.contains_key(key))?;
    Some(format!("{what} {surplus:?} is there, and without faults it is not"))
}

/// What is wrong with what was made and destroyed, given the same story without faults; so many apps
/// may be there still that were to go, and were not made again.
#[must_use]
pub fn unlike_effects(found: Effects, reference: Effects, kept_apps: u64) -> Option<String> {
    let Effects { apps, volumes, machines, destroyed, taken } = found;
    let allowed = |found: u64, expected: u64| found.abs_diff(expected) <= taken;
    let expected_apps = reference.apps.saturating_sub(kept_apps)..=reference.apps;
    if !expected_apps.contains(&apps) || volumes != reference.volumes {
        return Some(format!(
            "{apps} apps and {volumes} volumes were made, and without faults {} and {}",
            reference.apps, reference.volumes
        ));
    }
    if !allowed(machines, reference.machines) || !allowed(destroyed, reference.destroyed) {
        return Some(format!(
            "{machines} machines were made and {destroyed} destroyed, and without faults {} and {}; \
             others destroyed {taken}",
            reference.machines, reference.destroyed
        ));
    }
    None
}

/// Volumes of a controller that are gone though no call deleted them. `may_go` knows those that one
/// did: it had a tombstone that had matured.
#[must_use]
pub fn lost_volumes(
    world: &World,
    owners: &ForeignOracle,
    controller: usize,
    may_go: impl Fn(&str) -> bool,
) -> Option<String> {
    let volumes = owners.owned_by(controller).filter(|id| id.starts_with("vol_") && !may_go(id));
    let there = |id: &str| {
        ORGANIZATIONS.iter().flat_map(|organization| world.apps(organization)).any(|app| {
            let volume = world.volume(&app.name, id);
            volume
                .is_ok_and(|volume| !is_departing(volume) && volume.state != VolumeState::Destroyed)
        })
    };
    let lost: Vec<&str> = volumes.filter(|id| !there(id)).collect();
    let first = lost.first()?;
    Some(format!("{} volumes are gone, {first} among them", lost.len()))
}

#[cfg(test)]
mod tests;
