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
    let claims = |world: &World| world.volume(app, &volume).unwrap().attached_machine_id.clone();
    assert_eq!(claims(&world), Some(machine));
    assert_eq!(held(&world), Some((1, 0)));
}
