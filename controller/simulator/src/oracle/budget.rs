//! No more machines are down by a controller's doing than its budget allows, at any instant.
//!
//! Down by its doing is a machine that ran, should run, and was stopped or updated by a call of the
//! controller, until it runs again, or is gone because nobody wants it any more. What a person asked
//! for by name (the end of a tenant, its being stopped) is not counted. What a person pauses while it
//! is down stays down by their word, once it rests: they may leave it so for ever.

use std::collections::{BTreeMap, BTreeSet};

use vault_api::storage::BucketAccess;
use vault_api::tenant::MachineState;
use vault_emulator::world::query::Filter;
use vault_emulator::world::{Machine, State, World};
use vault_plan::metadata;
use vault_plan::policy::Policy;

/// How long after an edit a controller may still act on what was wanted before, in milliseconds: its
/// pass has read it already, and its calls travel.
const EDIT_GRACE_MS: i64 = 30_000;

/// What people want of one controller.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// The machines, by name; names are unique in what a run wants.
    pub machines: BTreeMap<String, WantedMachine>,
    /// The tenants that exist.
    pub tenants: BTreeSet<String>,
    /// The tenants that are left alone, whatever they want.
    pub left_alone: BTreeSet<String>,
    /// The buckets that tenants want, as their manifests call them.
    pub buckets: BTreeMap<String, Vec<(String, BucketAccess)>>,
    /// The apps that manifests name, by tenant, and whether they are shared.
    pub apps: BTreeMap<String, (String, bool)>,
}

/// What people want of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedMachine {
    /// What it should do.
    pub state: MachineState,
    /// Where.
    pub region: String,
    /// Running what.
    pub image: String,
    /// Whether it holds a volume.
    pub has_volume: bool,
}

#[derive(Debug, Default)]
struct Watched {
    wishes: Wishes,
    before: Wishes,
    edited_ms: i64,
    /// Machines that are down by its doing, by app and name.
    down: BTreeMap<(String, String), Down>,
    /// Its disk was lost, or is an older one: until then, what goes down is by calls that were sent
    /// before, or by what was wanted when the older one was copied.
    forgets_until_ms: i64,
}

#[derive(Debug)]
struct Down {
    tenant: String,
    /// Nobody wanted it when it went down, and it is wanted again.
    is_pardoned: bool,
}

/// Watches what is down.
#[derive(Debug, Default)]
pub struct BudgetOracle {
    /// By the controllers' places.
    watched: BTreeMap<usize, Watched>,
}

impl BudgetOracle {
    /// Takes what people want from now on. What nobody wanted until now is down by their word: that it
    /// is wanted again, and has yet to start, keeps nobody else waiting.
    pub fn wish(&mut self, controller: usize, wishes: Wishes, now_ms: i64) {
        let watched = self.watched.entry(controller).or_default();
        let (before, after) = (&watched.wishes.machines, &wishes.machines);
        for ((_, name), down) in &mut watched.down {
            down.is_pardoned |= after.contains_key(name) && !before.contains_key(name);
        }
        watched.before = std::mem::replace(&mut watched.wishes, wishes);
        watched.edited_ms = now_ms;
    }

    /// A controller does not know any more what it took down. It is not counted; what it takes down once
    /// it has looked and been told again is.
    pub fn forgets(&mut self, controller: usize, now_ms: i64) {
        let watched = self.watched.entry(controller).or_default();
        watched.down.clear();
        watched.forgets_until_ms = now_ms + EDIT_GRACE_MS;
    }

    /// A call of a controller takes a machine down that was as `before`. `is_ending` says that
    /// the end of its tenant was asked for and is under way: that cannot be taken back, and may last.
    pub fn takes_down(
        &mut self,
        now_ms: i64,
        controller: usize,
        before: &Machine,
        is_ending: bool,
    ) {
        if before.state != State::Started {
            return;
        }
        let watched = self.watched.entry(controller).or_default();
        let tenant = before.metadata().find(|(key, _)| *key == metadata::TENANT);
        let tenant = tenant.map_or("", |(_, tenant)| tenant);
        let recent = now_ms - watched.edited_ms < EDIT_GRACE_MS;
        let asked = is_ending
            || watched.wishes.asks_for_its_end(tenant, &before.name)
            || recent && watched.before.asks_for_its_end(tenant, &before.name);
        if !asked && now_ms >= watched.forgets_until_ms {
            let key = (before.app.clone(), before.name.clone());
            watched.down.insert(key, Down { tenant: tenant.to_owned(), is_pardoned: false });
        }
    }

    /// A call of a controller destroys a machine. If nobody wanted it, or it was read when nobody did,
    /// it is gone by their word: whoever wants it again meanwhile wants a new one.
    pub fn destroys(&mut self, now_ms: i64, controller: usize, app: &str, name: &str) {
        let watched = self.watched.entry(controller).or_default();
        let recent = now_ms - watched.edited_ms < EDIT_GRACE_MS;
        let is_wanted = watched.wishes.machines.contains_key(name);
        let key = (app.to_owned(), name.to_owned());
        if !is_wanted || recent && !watched.before.machines.contains_key(name) {
            watched.down.remove(&key);
        } else if let Some(down) = watched.down.get_mut(&key) {
            down.is_pardoned = false;
        }
    }

    /// Somebody else destroyed a machine of a controller's: from now on it is down by their doing.
    pub fn taken(&mut self, controller: usize, machine: &Machine) {
        let watched = self.watched.entry(controller).or_default();
        watched.down.remove(&(machine.app.clone(), machine.name.clone()));
    }

    /// What is wrong with the platform as it is now.
    #[must_use]
    pub fn look(&mut self, world: &World) -> Option<String> {
        let mut wrong = None;
        for (controller, watched) in &mut self.watched {
            let Watched { wishes, down, .. } = watched;
            down.retain(|(app, name), down| is_down(world, wishes, app, name, &down.tenant));
            let budget = Policy::default().disruption_budget(wishes.machines.len());
            let counted = down.iter().filter(|(_, down)| !down.is_pardoned);
            let names: Vec<&str> = counted.map(|((_, name), _)| name.as_str()).collect();
            if names.len() > budget {
                wrong = Some(format!(
                    "{} machines are down by controller {controller}'s doing, and {budget} may be: \
                     {}",
                    names.len(),
                    names.join(", ")
                ));
            }
        }
        wrong
    }
}

impl Wishes {
    /// Whether a machine belongs to a tenant that is left alone.
    #[must_use]
    pub fn leaves_alone(&self, machine: &str) -> bool {
        let of = |tenant: &String| {
            machine.strip_prefix(tenant.as_str()).is_some_and(|rest| rest.starts_with('-'))
        };
        self.left_alone.iter().any(of)
    }

    /// Whether a person asked for a machine not to run, by its tenant's name.
    fn asks_for_its_end(&self, tenant: &str, machine: &str) -> bool {
        let rests = |wanted: &WantedMachine| wanted.state != MachineState::Started;
        !self.tenants.contains(tenant) || self.machines.get(machine).is_some_and(rests)
    }
}

fn is_down(world: &World, wishes: &Wishes, app: &str, name: &str, tenant: &str) -> bool {
    if wishes.asks_for_its_end(tenant, name) {
        return false;
    }
    let everything = Filter::default();
    let mut named = world.machines(app, &everything).filter(|machine| machine.name == name);
    match named.next() {
        Some(machine) => {
            let rests = matches!(machine.state, State::Stopped | State::Suspended | State::Created);
            machine.state != State::Started && !(rests && wishes.leaves_alone(name))
        }
        None => wishes.machines.contains_key(name) && !wishes.leaves_alone(name),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use vault_emulator::world::NewMachine;

    use super::*;
    use crate::run::{BOOT, world};

    const APP: &str = "strangers";
    const SECOND: Duration = Duration::from_secs(1);

    /// A world with three machines that run, and the time.
    fn running() -> (World, jiff::Timestamp) {
        let mut world = world(1, BOOT);
        let now = jiff::Timestamp::from_millisecond(crate::universe::BEGIN_MS).unwrap();
        for name in ["a-box-0", "a-box-1", "b-box-0"] {
            let config = json!({ "image": "x", "metadata": { "vault_tenant": &name[..1] } });
            let machine = NewMachine {
                name: Some(name.to_owned()),
                config: config.as_object().cloned().unwrap(),
                ..NewMachine::default()
            };
            world.create_machine(now, APP, machine).unwrap();
        }
        let later = now + SECOND * 5;
        for at in [now, later] {
            world.advance(at);
        }
        (world, later)
    }

    fn wishes(names: &[&str]) -> Wishes {
        let wanted = WantedMachine {
            state: MachineState::Started,
            region: "ord".to_owned(),
            image: "x".to_owned(),
            has_volume: false,
        };
        Wishes {
            machines: names.iter().map(|name| ((*name).to_owned(), wanted.clone())).collect(),
            tenants: names.iter().map(|name| name[..1].to_owned()).collect(),
            left_alone: BTreeSet::new(),
            ..Wishes::default()
        }
    }

    fn stop(world: &mut World, oracle: &mut BudgetOracle, now: jiff::Timestamp, name: &str) {
        let everything = Filter::default();
        let before = world.machines(APP, &everything).find(|machine| machine.name == name);
        let before = before.unwrap().clone();
        assert_eq!(before.state, State::Started, "{name} is to be taken down");
        world.stop_machine(now, APP, &before.id, None, None).unwrap();
        oracle.takes_down(1_000_000, 0, &before, false);
    }

    #[test]
    fn a_second_machine_down_by_our_doing_is_one_too_many() {
        let (mut world, now) = running();
        let mut oracle = BudgetOracle::default();
        oracle.wish(0, wishes(&["a-box-0", "a-box-1", "b-box-0"]), 0);
        stop(&mut world, &mut oracle, now, "a-box-0");
        assert_eq!(oracle.look(&world), None);
        stop(&mut world, &mut oracle, now, "b-box-0");
        let message = oracle.look(&world).unwrap();
        assert!(message.contains("a-box-0, b-box-0"), "{message}");
        oracle.forgets(0, 990_000);
        assert_eq!(oracle.look(&world), None, "without a disk nobody can know");
        let mut later = BudgetOracle::default();
        later.wish(0, wishes(&["a-box-0", "a-box-1", "b-box-0"]), 0);
        later.forgets(0, 0);
        let (mut world, now) = running();
        stop(&mut world, &mut later, now, "a-box-0");
        stop(&mut world, &mut later, now, "b-box-0");
        assert!(later.look(&world).is_some(), "it has looked again since");
    }

    #[test]
    fn what_a_person_ends_by_name_is_not_counted() {
        let (mut world, now) = running();
        let mut oracle = BudgetOracle::default();
        oracle.wish(0, wishes(&["b-box-0"]), 0);
        oracle.wish(0, wishes(&["b-box-0"]), 0);
        stop(&mut world, &mut oracle, now, "a-box-0");
        stop(&mut world, &mut oracle, now, "a-box-1");
        stop(&mut world, &mut oracle, now, "b-box-0");
        assert_eq!(oracle.look(&world), None);
    }

    #[test]
    fn what_rests_while_a_person_pauses_its_tenant_is_not_counted_and_what_stops_is() {
        let (mut world, now) = running();
        let mut oracle = BudgetOracle::default();
        let names = ["a-box-0", "a-box-1", "b-box-0"];
        oracle.wish(0, wishes(&names), 0);
        stop(&mut world, &mut oracle, now, "a-box-0");
        let left_alone = BTreeSet::from(["a".to_owned()]);
        oracle.wish(0, Wishes { left_alone, ..wishes(&names) }, 0);
        stop(&mut world, &mut oracle, now, "b-box-0");
        assert!(oracle.look(&world).is_some(), "it is still on its way");
        world.advance(now + SECOND * 5);
        assert_eq!(oracle.look(&world), None);
    }

    #[test]
    fn what_goes_because_nobody_wanted_it_is_not_counted_if_it_is_wanted_again_meanwhile() {
        let names = ["a-box-0", "a-box-1", "b-box-0"];
        // It is wanted again while its deletion is on its way, or it was wanted all the time.
        for (before, destroyed_ms, expected) in [
            (&names[..1], 1_000_100, None),
            (&names[..1], 1_000_000 + EDIT_GRACE_MS, Some(())),
            (&names[..], 1_000_100, Some(())),
        ] {
            let (mut world, now) = running();
            let mut oracle = BudgetOracle::default();
            let asked = wishes(before);
            let tenants = wishes(&names).tenants;
            oracle.wish(0, Wishes { tenants, ..asked }, 0);
            stop(&mut world, &mut oracle, now, "a-box-1");
            oracle.wish(0, wishes(&names), 1_000_000);
            oracle.destroys(destroyed_ms, 0, APP, "a-box-1");
            stop(&mut world, &mut oracle, now, "b-box-0");
            assert_eq!(oracle.look(&world).map(drop), expected, "{before:?}, {destroyed_ms}");
        }
    }

    #[test]
    fn what_went_down_because_nobody_wanted_it_is_not_counted_once_it_is_wanted_again() {
        let names = ["a-box-0", "a-box-1", "b-box-0"];
        for (before, expected) in [(&names[..1], None), (&names[..2], Some(()))] {
            let (mut world, now) = running();
            let mut oracle = BudgetOracle::default();
            let tenants = wishes(&names).tenants;
            oracle.wish(0, Wishes { tenants, ..wishes(before) }, 0);
            stop(&mut world, &mut oracle, now, "a-box-1");
            oracle.wish(0, wishes(&names), 1_000_000 + EDIT_GRACE_MS);
            stop(&mut world, &mut oracle, now, "b-box-0");
            assert_eq!(oracle.look(&world).map(drop), expected, "{before:?}");
        }
    }

    #[test]
    fn a_machine_that_runs_again_is_no_longer_down() {
        let (mut world, now) = running();
        let mut oracle = BudgetOracle::default();
        oracle.wish(0, wishes(&["a-box-0", "a-box-1", "b-box-0"]), 0);
        stop(&mut world, &mut oracle, now, "a-box-0");
        world.advance(now + SECOND);
        let everything = Filter::default();
        let id = world.machines(APP, &everything).find(|machine| machine.name == "a-box-0");
        let id = id.unwrap().id.clone();
        world.start_machine(now + SECOND, APP, &id).unwrap();
        world.advance(now + SECOND * 5);
        assert_eq!(oracle.look(&world), None);
        stop(&mut world, &mut oracle, now + SECOND * 5, "b-box-0");
        assert_eq!(oracle.look(&world), None);
    }
}
