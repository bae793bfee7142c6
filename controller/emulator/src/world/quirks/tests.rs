//! What faults do to machines, by the clock alone.

use serde_json::{Value, json};

use crate::faults::Fault;
use crate::world::machine::Source;
use crate::world::testing::{at, machine, settings, volume, world};
use crate::world::{Machine, State, Update, World};

fn set(world: &mut World, second: i64, faults: &Value) {
    let read = Fault::read_json(faults.to_string().as_bytes());
    world.set_faults(at(second), read.unwrap_or_else(|problems| panic!("{problems}")));
}

/// A world with a started machine and its volume.
fn started() -> (World, Machine) {
    let mut world = world(false);
    let data = volume(&mut world);
    let mounts = json!({ "mounts": [{ "volume": data.id, "path": "/data" }] });
    let id = machine(&mut world, "m", &mounts).id;
    world.advance(at(1));
    world.advance(at(2));
    let machine = world.machine("app", &id).expect("a machine").clone();
    assert_eq!(machine.state, State::Started);
    (world, machine)
}

fn state(world: &World, id: &str) -> State {
    world.machine("app", id).expect("a machine").state
}

fn holder(world: &World) -> Option<String> {
    world.volumes("app").next().expect("a volume").attached_machine_id.clone()
}

#[test]
fn a_slow_image_keeps_a_version_where_it_is_and_only_once() {
    let mut world = world(false);
    set(&mut world, 0, &json!([{ "kind": "slow-image", "delay": "10s", "machine": "slow" }]));
    let (slow, quick) =
        (machine(&mut world, "slow", &json!({})), machine(&mut world, "q", &json!({})));
    for second in 0..10 {
        world.advance(at(second));
    }
    assert_eq!(state(&world, &slow.id), State::Created);
    assert_eq!(state(&world, &quick.id), State::Started);
    assert!(world.next_deadline().is_some_and(|deadline| deadline > at(9)));
    for second in 10..30 {
        world.advance(at(second));
    }
    assert_eq!(state(&world, &slow.id), State::Started);
}

#[test]
fn an_update_is_undone_after_a_while() {
    let (mut world, before) = started();
    set(&mut world, 3, &json!([{ "kind": "reverted-update", "delay": "5s", "times": 1 }]));
    let mut config = before.config.clone();
    config.insert("env".to_owned(), json!({ "NEW": "1" }));
    let update = Update { config, ..Update::default() };
    let updated = world.update_machine(at(4), "app", &before.id, update).expect("updated");
    // Faults that come in its place change nothing about what is on its way.
    set(&mut world, 5, &json!([]));
    assert_eq!(world.faults().last_deadline(), Some(at(9)));
    world.advance(at(6));
    assert_eq!(world.machine("app", &before.id).expect("there").version, updated.version);
    world.advance(at(9));
    assert_eq!(world.faults().last_deadline(), None);
    world.advance(at(10));
    let after = world.machine("app", &before.id).expect("there");
    assert_eq!((&after.version, &after.config), (&before.version, &before.config));
    assert_eq!(after.state, State::Started);
    assert!(after.replaced.contains(&updated.version) && !after.replaced.contains(&before.version));
    let versions = world.versions("app", &before.id).expect("versions");
    let mut names: Vec<&str> = versions.iter().map(|(version, _)| *version).collect();
    names.sort_unstable();
    assert_eq!(names, [before.version.as_str(), updated.version.as_str()]);
    assert_eq!(versions[0].0, before.version, "the live one first");
}

#[test]
fn a_claim_outlives_its_machine_and_the_machine_is_forgotten_early() {
    let (mut world, machine) = started();
    set(
        &mut world,
        3,
        &json!([
            { "kind": "lingering-claim", "delay": "5s" },
            { "kind": "destroyed-shown", "delay": "2s" },
        ]),
    );
    world.destroy_machine(at(4), "app", &machine.id, true).expect("goes");
    world.advance(at(4));
    assert_eq!(state(&world, &machine.id), State::Destroyed);
    assert_eq!(holder(&world), Some(machine.id.clone()));
    world.advance(at(7));
    world.machine("app", &machine.id).expect_err("forgotten");
    assert_eq!(holder(&world), Some(machine.id));
    // Faults that end take nothing back that has happened.
    set(&mut world, 8, &json!([]));
    world.advance(at(8));
    assert!(holder(&world).is_some());
    world.advance(at(9));
    assert_eq!(holder(&world), None);
}

#[test]
fn a_destroy_on_a_dead_host_waits_for_the_host() {
    for end in [Some(at(20)), None] {
        let (mut world, machine) = started();
        set(&mut world, 3, &json!([{ "kind": "dead-host" }]));
        world.strand(at(4), "app", &machine.id, end).expect("accepted");
        world.strand(at(4), "app", &machine.id, end).expect("twice is harmless");
        world.advance(at(19));
        assert_eq!(state(&world, &machine.id), State::Destroying);
        if end.is_none() {
            set(&mut world, 20, &json!([]));
        }
        world.advance(at(20));
        assert_eq!(state(&world, &machine.id), State::Destroyed);
        assert_eq!(holder(&world), None);
    }
}

#[test]
fn what_faults_held_back_goes_on_after_a_restart() {
    let (mut world, machine) = started();
    set(&mut world, 3, &json!([{ "kind": "dead-host" }]));
    world.strand(at(4), "app", &machine.id, None).expect("accepted");
    let mut again = World::restore(settings(false), world.snapshot());
    again.resume(at(5));
    again.advance(at(5));
    assert_eq!(state(&again, &machine.id), State::Destroyed);
    assert_eq!(holder(&again), None);

    let (mut world, machine) = started();
    set(&mut world, 3, &json!([{ "kind": "lingering-claim", "delay": "5s" }]));
    world.destroy_machine(at(4), "app", &machine.id, true).expect("goes");
    world.advance(at(4));
    assert_eq!(holder(&world), Some(machine.id));
    let mut again = World::restore(settings(false), world.snapshot());
    again.resume(at(5));
    assert_eq!(holder(&again), None);
}

#[test]
fn a_migration_moves_what_a_machine_is_known_by_but_its_id() {
    let (mut world, before) = started();
    let old = before.volume().expect("a volume");
    set(&mut world, 3, &json!([{ "kind": "migration", "delay": "1s" }]));
    world.advance(at(4));
    world.advance(at(5));
    let after = world.machine("app", &before.id).expect("there").clone();
    assert_ne!((&after.version, after.private_ip), (&before.version, before.private_ip));
    assert_eq!(world.versions("app", &before.id).expect("versions")[1].0, before.version);
    let moved = after.volume().expect("a volume");
    assert_ne!(moved, old);
    world.volume("app", &old).expect_err("the old id is gone");
    assert_eq!(world.volume("app", &moved).expect("there").attached_machine_id, Some(before.id));
    assert_eq!(after.state, State::Started);
    let launch = after.events.iter().find(|event| event.kind == "launch").expect("an event");
    assert_eq!((launch.status, launch.source), (State::Created, Source::Flyd));
    // Once, although it has started again.
    for second in 6..20 {
        world.advance(at(second));
    }
    assert_eq!(world.machine("app", &after.id).expect("there").version, after.version);
}

#[test]
fn people_and_the_proxy_act_and_the_record_says_who() {
    for (kind, source) in [("autostop", Source::Flyd), ("user-stop", Source::User)] {
        let (mut world, machine) = started();
        set(&mut world, 3, &json!([{ "kind": kind }]));
        world.advance(at(3));
        world.advance(at(4));
        let after = world.machine("app", &machine.id).expect("there");
        assert_eq!(after.state, State::Stopped, "{kind}");
        let stop = after.events.iter().find(|event| event.kind == "stop").expect("an event");
        assert_eq!(stop.source, source);
    }
    let (mut world, machine) = started();
    let config = json!({ "guest": { "memory_mb": 512 }, "restart": null });
    set(&mut world, 3, &json!([{ "kind": "user-edit", "config": config }]));
    world.advance(at(4));
    let after = world.machine("app", &machine.id).expect("there").clone();
    assert_eq!(after.config["guest"]["memory_mb"], 512);
    assert_eq!(after.config["guest"]["cpus"], machine.config["guest"]["cpus"]);
    assert_eq!(after.volume(), machine.volume());
    set(&mut world, 9, &json!([{ "kind": "user-destroy", "machine": "other" }]));
    world.advance(at(9));
    assert_eq!(state(&world, &machine.id), State::Started);
    set(&mut world, 10, &json!([{ "kind": "user-destroy" }]));
    world.advance(at(11));
    assert_eq!(state(&world, &machine.id), State::Destroyed);
}
