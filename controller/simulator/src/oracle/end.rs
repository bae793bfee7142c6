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
mod tests {
    use serde_json::json;
    use vault_emulator::faults::Fault;
    use vault_emulator::world::NewMachine;

    use super::*;
    use crate::run::Setting;
    use crate::workload::named;

    /// How a story with a volume ends, and what was wanted.
    fn end() -> (StageEnd, Wishes) {
        let story = named().into_iter().find(|story| story.name == "volume").unwrap();
        let wishes = story.stages[0].wishes();
        let mut outcome = Setting::calm(story).run(None, &std::sync::Arc::default());
        (outcome.stages.remove(0), wishes)
    }

    #[test]
    fn an_end_as_it_should_be_is_like_itself() {
        let (StageEnd { inventory, effects }, wishes) = end();
        assert_eq!((inventory.machines.len(), inventory.volumes.len()), (1, 1));
        assert_eq!(unlike_wishes(&inventory, &wishes), None);
        assert_eq!(unlike_reference(&inventory, &inventory, &wishes), None);
        assert_eq!(unlike_before(&inventory, &inventory), None);
        assert_eq!(unlike_effects(effects, effects, 0), None);
    }

    #[test]
    fn each_difference_from_what_was_wanted_is_seen() {
        let (StageEnd { inventory: good, .. }, wishes) = end();
        let key = good.machines.keys().next().unwrap().clone();
        let spoil = |change: &dyn Fn(&mut MachineForm)| {
            let mut bad = good.clone();
            change(&mut bad.machines.get_mut(&key).unwrap()[0]);
            assert!(unlike_reference(&bad, &good, &wishes).is_some());
            assert!(unlike_before(&bad, &good).is_some());
            unlike_wishes(&bad, &wishes).unwrap()
        };
        assert!(spoil(&|form| form.state = "stopped").contains("should be started"));
        assert!(spoil(&|form| form.region = "fra".to_owned()).contains("should be in ord"));
        assert!(spoil(&|form| form.volume = None).contains("holds volume None"));
        assert!(spoil(&|form| form.config["image"] = "x".into()).contains("should run image:1"));

        let mut doubled = good.clone();
        let form = doubled.machines[&key][0].clone();
        doubled.machines.get_mut(&key).unwrap().push(form.clone());
        assert!(unlike_wishes(&doubled, &wishes).unwrap().contains("2 machines are called"));
        let mut surplus = good.clone();
        surplus.machines.insert((key.0.clone(), "acme-box-7".to_owned()), vec![form]);
        assert!(unlike_wishes(&surplus, &wishes).unwrap().contains("nobody wants it"));
        let mut missing = good.clone();
        missing.machines.clear();
        assert!(unlike_wishes(&missing, &wishes).unwrap().contains("not there"));
    }

    #[test]
    fn leaks_of_volumes_secrets_and_effects_are_seen() {
        let (StageEnd { inventory: good, effects }, wishes) = end();
        let mut leaked = good.clone();
        leaked.volumes.values_mut().for_each(|count| count.0 += 1);
        assert!(unlike_reference(&leaked, &good, &wishes).unwrap().starts_with("volume"));
        let mut changed = good.clone();
        changed.secrets.values_mut().for_each(|value| value.push('x'));
        assert!(unlike_reference(&changed, &good, &wishes).unwrap().starts_with("secret"));
        let more = |machines, destroyed, taken| {
            let machines = effects.machines + machines;
            let destroyed = effects.destroyed + destroyed;
            unlike_effects(Effects { machines, destroyed, taken, ..effects }, effects, 0)
        };
        assert!(more(1, 0, 0).is_some() && more(1, 1, 0).is_some());
        assert!(more(1, 0, 1).is_none(), "what others destroyed is made again");
        assert!(more(2, 0, 1).is_some());
        let twice = Effects { volumes: effects.volumes + 1, taken: 9, ..effects };
        assert!(unlike_effects(twice, effects, 9).is_some());
        let fewer = Effects { apps: effects.apps - 1, ..effects };
        assert!(unlike_effects(fewer, effects, 0).is_some());
        assert!(unlike_effects(fewer, effects, 1).is_none(), "somebody's volume keeps it");
        assert!(unlike_effects(effects, fewer, 1).is_some(), "one more was made");
        let mut forgotten = good.clone();
        let app = good.secrets.keys().next().unwrap().0.clone();
        let surplus = (app, String::from("VAULT_TENANT_SECRET_OF_NOBODY"));
        forgotten.secrets.insert(surplus, String::new());
        assert!(unlike_reference(&forgotten, &good, &wishes).is_some());
        let known = forgotten.without_forgotten_secrets(&good);
        assert_eq!(unlike_reference(&known, &good, &wishes), None);
        forgotten.secrets.values_mut().for_each(|value| value.push('x'));
        let known = forgotten.without_forgotten_secrets(&good);
        assert!(unlike_reference(&known, &good, &wishes).is_some(), "a wrong value is wrong");
    }

    #[test]
    fn secrets_of_a_tenant_that_is_left_alone_are_compared_with_nothing() {
        let (StageEnd { inventory: good, .. }, wishes) = end();
        let controller = vault_plan::identity::ControllerId::from_bytes([7; 16]);
        let (paused, other) = (controller.tenant_uid("paused"), controller.tenant_uid("other"));
        let app = good.secrets.keys().next().unwrap().0.clone();
        let mut reference = good.clone();
        let name = paused.secret_name("VAULT_TENANT_SECRET");
        reference.secrets.insert((app, name), String::new());
        assert!(unlike_reference(&good, &reference, &wishes).is_some());
        let spared = |uid| reference.without_shared_secrets_of(&[uid]);
        assert_eq!(unlike_reference(&good, &spared(paused), &wishes), None);
        assert!(unlike_reference(&good, &spared(other), &wishes).is_some());
    }

    #[test]
    fn marks_of_secrets_are_compared_unless_a_key_that_is_wanted_is_drawn() {
        let (StageEnd { inventory: good, .. }, wishes) = end();
        let key = good.machines.keys().next().unwrap().clone();
        let surplus = (key.0.clone(), "AWS_SECRET_ACCESS_KEY".to_owned());
        let mut forgotten = good.clone();
        forgotten.secrets.insert(surplus, "tsec_".to_owned());
        forgotten.drawn.insert(key.0.clone());
        let known = forgotten.without_forgotten_secrets(&good);
        assert_eq!(unlike_reference(&known, &good, &wishes), None, "the mark is as wanted");
        let changed = Pardons { disk_lost: true, secrets_changed: true, ..Pardons::default() };
        let mut known = forgotten.clone();
        known.pardon(&changed);
        let known = known.without_forgotten_secrets(&good);
        assert_eq!(unlike_reference(&known, &good, &wishes), None, "nor if secrets do not count");
        let mut bad = forgotten;
        let form = &mut bad.machines.get_mut(&key).unwrap()[0];
        let marks = form.config["metadata"].as_object_mut().unwrap();
        marks.insert(vault_plan::metadata::SECRET_HASH.to_owned(), "another".into()).unwrap();
        let known = bad.without_forgotten_secrets(&good);
        assert!(unlike_reference(&known, &good, &wishes).is_some(), "nobody wants a key");
        assert!(unlike_before(&known, &good).is_some());
        let mut keyed = good;
        keyed.drawn.insert(key.0);
        assert_eq!(unlike_reference(&known, &keyed, &wishes), None, "its key is another one");
        assert_eq!(unlike_before(&known, &keyed), None);
    }

    #[test]
    fn a_volume_that_goes_without_a_tombstone_is_missed() {
        let mut world = crate::run::world(1, crate::run::BOOT);
        let app = "strangers";
        let id = world.volumes(app).next().unwrap().id.clone();
        let mut owners = ForeignOracle::default();
        owners.own(&id, 0);
        assert_eq!(lost_volumes(&world, &owners, 0, |_| false), None);
        let now = jiff::Timestamp::from_millisecond(crate::universe::BEGIN_MS).unwrap();
        world.delete_volume(now, app, &id).unwrap();
        let message = lost_volumes(&world, &owners, 0, |_| false).unwrap();
        assert!(message.contains(&id), "{message}");
        assert_eq!(lost_volumes(&world, &owners, 0, |gone| gone == id), None);
    }

    #[test]
    fn a_volume_is_not_held_by_a_machine_that_is_gone_however_long_its_claim_is_shown() {
        let mut world = crate::run::world(1, crate::run::BOOT);
        let app = "strangers";
        let now = jiff::Timestamp::from_millisecond(crate::universe::BEGIN_MS).unwrap();
        let volume = world.volumes(app).next().unwrap().id.clone();
        let mut owners = ForeignOracle::default();
        owners.own(&volume, 0);
        let config = json!({ "image": "x", "mounts": [{ "volume": &volume, "path": "/data" }] });
        let machine = NewMachine {
            region: Some("ord".to_owned()),
            config: config.as_object().cloned().unwrap(),
            ..NewMachine::default()
        };
        let machine = world.create_machine(now, app, machine).unwrap().id.clone();
        let held = |world: &World| inventory(world, &owners, 0).volumes.values().next().copied();
        assert_eq!(held(&world), Some((1, 1)));
        let fault = br#"[{"kind": "lingering-claim", "delay": "4s"}]"#;
        world.set_faults(now, Fault::read_json(fault).unwrap());
        world.destroy_machine(now, app, &machine, true).unwrap();
        world.advance(now);
        let claims =
            |world: &World| world.volume(app, &volume).unwrap().attached_machine_id.clone();
        assert_eq!(claims(&world), Some(machine));
        assert_eq!(held(&world), Some((1, 0)));
    }
}
