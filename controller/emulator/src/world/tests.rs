//! The world's rules, on data.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::runner::Exit;
use crate::world::app::DELETION_TIME;
use crate::world::machine::Source;
use crate::world::query::Filter;
use crate::world::testing::{at, machine, new_app, new_machine, settings, volume, world};
use crate::world::volume::{PENDING_DESTROY, VolumeState};
use crate::world::wait::{Goal, Progress, Wish};
use crate::world::{Effect, NewApp, NewVolume, Refusal, State, Update, World};

const FAILED: Exit = Exit { code: Some(3), signal: None };
const KILLED: Exit = Exit { code: None, signal: Some(9) };
const CLEAN: Exit = Exit { code: Some(0), signal: None };

fn state(world: &World, id: &str) -> State {
    world.machine("app", id).expect("a machine").state
}

/// The events, oldest first, as `type/status/source`.
fn story(world: &World, id: &str) -> Vec<String> {
    let events = &world.machine("app", id).expect("a machine").events;
    let source = |source| match source {
        Source::User => "user",
        Source::Flyd => "flyd",
    };
    events
        .iter()
        .rev()
        .map(|event| format!("{}/{}/{}", event.kind, event.status, source(event.source)))
        .collect()
}

fn launches(world: &mut World) -> Vec<u64> {
    let effects = world.take_effects();
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Launch(spec) => Some(spec.run),
            _ => None,
        })
        .collect()
}

/// A machine in a given state, in a world with processes.
fn machine_in(state_wanted: State) -> (World, String) {
    let mut world = world(true);
    let id = machine(&mut world, "m", &json!({})).id;
    match state_wanted {
        State::Created => {}
        State::Starting => world.advance(at(0)),
        _ => {
            world.advance(at(0));
            world.advance(at(1));
        }
    }
    let stop = |world: &mut World| {
        world.stop_machine(at(2), "app", &id, None, None).expect("stops");
    };
    match state_wanted {
        State::Stopping => stop(&mut world),
        State::Stopped => {
            stop(&mut world);
            world.process_exited(at(3), &id, 1, CLEAN);
        }
        State::Restarting => {
            world.restart_machine(at(2), "app", &id, None, None).expect("restarts");
        }
        State::Replacing => {
            let config = new_machine("", &json!({})).config;
            world
                .update_machine(at(2), "app", &id, Update { config, ..Update::default() })
                .expect("updates");
        }
        State::Destroying => world.destroy_machine(at(2), "app", &id, true).expect("destroys"),
        State::Destroyed => {
            world.destroy_machine(at(2), "app", &id, true).expect("destroys");
            world.process_exited(at(3), &id, 1, KILLED);
        }
        _ => {}
    }
    assert_eq!(state(&world, &id), state_wanted);
    world.take_effects();
    (world, id)
}

#[test]
fn a_machine_boots_by_the_clock_and_tells_its_story() {
    let mut world = world(false);
    let created = machine(&mut world, "m", &json!({}));
    assert_eq!(created.state, State::Created);
    assert_eq!(created.version.len(), 26);
    world.advance(at(0));
    assert_eq!(state(&world, &created.id), State::Starting);
    assert_eq!(world.next_deadline(), Some(at(1)));
    world.advance(at(1));
    assert_eq!(state(&world, &created.id), State::Started);
    assert_eq!(world.next_deadline(), None);
    world.stop_machine(at(2), "app", &created.id, None, None).expect("stops");
    world.advance(at(2));
    assert_eq!(state(&world, &created.id), State::Stopped);
    assert_eq!(world.start_machine(at(3), "app", &created.id), Ok(State::Stopped));
    world.advance(at(4));
    let wanted = [
        "launch/created/user",
        "start/started/flyd",
        "stop/stopping/user",
        "exit/stopped/flyd",
        "start/starting/user",
        "start/started/flyd",
    ];
    assert_eq!(story(&world, &created.id), wanted);
    assert!(launches(&mut world).is_empty(), "a world without processes launches nothing");
}

#[test]
fn skip_launch_ends_in_stopped() {
    let mut world = world(true);
    let new = super::NewMachine { skip_launch: true, ..new_machine("m", &json!({})) };
    let id = world.create_machine(at(0), "app", new).expect("created").id;
    let refusal = world.start_machine(at(0), "app", &id).expect_err("too early");
    assert_eq!(
        refusal.to_string(),
        "failed_precondition: unable to start machine from current state: 'created'"
    );
    world.advance(at(0));
    assert_eq!(state(&world, &id), State::Stopped);
    assert!(launches(&mut world).is_empty());
}

#[test]
fn every_action_is_taken_or_refused_by_state() {
    use State::{
        Created, Destroyed, Destroying, Replacing, Restarting, Started, Starting, Stopped, Stopping,
    };
    let states = [
        Created, Starting, Started, Stopping, Stopped, Restarting, Replacing, Destroying, Destroyed,
    ];
    // One letter per state above: o = taken, x = refused.
    let cases = [
        ("start", "xxxxoxxxx"),
        ("stop", "ooooooxxx"),
        ("restart", "xooxooxxx"),
        ("update", "oooxooxxx"),
        ("destroy", "oxxxoxxoo"),
        ("force", "ooooooooo"),
    ];
    for (action, wanted) in cases {
        let mut outcome = String::new();
        for from in states {
            let (mut world, id) = machine_in(from);
            let config = new_machine("", &json!({})).config;
            let taken = match action {
                "start" => world.start_machine(at(9), "app", &id).map(|_| ()),
                "stop" => world.stop_machine(at(9), "app", &id, None, None),
                "restart" => world.restart_machine(at(9), "app", &id, None, None),
                "update" => world
                    .update_machine(at(9), "app", &id, Update { config, ..Update::default() })
                    .map(|_| ()),
                "destroy" => world.destroy_machine(at(9), "app", &id, false),
                _ => world.destroy_machine(at(9), "app", &id, true),
            };
            outcome.push(if taken.is_ok() { 'o' } else { 'x' });
        }
        assert_eq!(outcome, wanted, "{action} in {states:?}");
    }
}

#[test]
fn refusals_of_a_start_use_the_platforms_words() {
    let cases = [
        (State::Started, "failed_precondition: machine still active, refusing to start"),
        (State::Replacing, "failed_precondition: machine getting replaced, refusing to start"),
        (
            State::Stopping,
            "failed_precondition: unable to start machine from current state: 'stopping'",
        ),
        (State::Destroyed, "machine not found"),
    ];
    for (from, wanted) in cases {
        let (mut world, id) = machine_in(from);
        assert_eq!(
            world.start_machine(at(9), "app", &id).expect_err("refused").to_string(),
            wanted
        );
    }
}

#[test]
fn the_policy_moves_a_machine_whose_process_ends() {
    let policy =
        |name: &str, retries: u32| json!({ "restart": { "policy": name, "max_retries": retries } });
    // (config, exit, state after it)
    let cases: [(Value, Exit, State); 7] = [
        (json!({}), FAILED, State::Restarting),
        (json!({}), KILLED, State::Restarting),
        (json!({}), CLEAN, State::Stopped),
        (policy("always", 0), CLEAN, State::Restarting),
        (policy("no", 0), FAILED, State::Stopped),
        (json!({ "auto_destroy": true, "restart": { "policy": "no" } }), FAILED, State::Destroying),
        (json!({ "auto_destroy": true }), FAILED, State::Restarting),
    ];
    for (config, exit, wanted) in cases {
        let mut world = world(true);
        let id = machine(&mut world, "m", &config).id;
        world.advance(at(0));
        world.advance(at(1));
        world.process_exited(at(10), &id, 1, exit);
        assert_eq!(state(&world, &id), wanted, "{config} {exit:?}");
        world.advance(at(10));
        let (after, again) = match wanted {
            State::Restarting => (State::Starting, vec![1, 2]),
            State::Destroying => (State::Destroyed, vec![1]),
            other => (other, vec![1]),
        };
        assert_eq!(state(&world, &id), after, "{config}");
        assert_eq!(launches(&mut world), again, "{config}");
    }
}

#[test]
fn retries_run_out_and_a_start_by_hand_gives_new_ones() {
    let mut world = world(true);
    let config = json!({ "restart": { "policy": "on-failure", "max_retries": 2 } });
    let id = machine(&mut world, "m", &config).id;
    let mut now = 1;
    for run in 1..=3 {
        world.advance(at(now));
        world.advance(at(now + 1));
        assert_eq!(state(&world, &id), State::Started, "run {run}");
        world.process_exited(at(now + 1), &id, run, FAILED);
        now += 5;
    }
    assert_eq!(state(&world, &id), State::Stopped);
    let exit = &world.machine("app", &id).expect("a machine").events[0];
    let request = exit.request.as_ref().expect("details");
    assert_eq!(request["restart_count"], 2);
    let event = &request["exit_event"];
    assert_eq!(
        (&event["exit_code"], &event["restarting"], &event["requested_stop"]),
        (&json!(3), &json!(false), &json!(false))
    );
    world.start_machine(at(now), "app", &id).expect("starts");
    world.process_exited(at(now), &id, 4, FAILED);
    assert_eq!(state(&world, &id), State::Restarting, "counted anew");
}

#[test]
fn a_process_that_never_ran_fails_its_machine() {
    let mut world = world(true);
    let id = machine(&mut world, "m", &json!({ "restart": { "policy": "no" } })).id;
    world.advance(at(0));
    world.process_exited(at(0), &id, 1, Exit { code: Some(127), signal: None });
    assert_eq!(state(&world, &id), State::Failed);
    assert_eq!(story(&world, &id).last().map(String::as_str), Some("exit/failed/flyd"));
    assert_eq!(world.start_machine(at(1), "app", &id), Ok(State::Failed));
}

#[test]
fn ends_of_old_runs_change_nothing() {
    let (mut world, id) = machine_in(State::Started);
    world.process_exited(at(5), &id, 0, FAILED);
    world.process_exited(at(5), &id, 2, FAILED);
    world.process_exited(at(5), "00000000000000", 1, FAILED);
    assert_eq!(state(&world, &id), State::Started);
}

#[test]
fn stops_carry_the_signal_and_the_patience() {
    let config = json!({ "stop_config": { "signal": "SIGTERM", "timeout": "30s" } });
    let stop = |signal, seconds| Effect::Stop {
        machine_id: String::new(),
        run: 1,
        signal,
        timeout: Duration::from_secs(seconds),
    };
    let cases = [
        (json!({}), None, None, stop(2, 5)),
        (config.clone(), None, None, stop(15, 30)),
        (config.clone(), Some(10), Some(Duration::from_secs(1)), stop(10, 1)),
        (config, Some(9), None, Effect::Kill { machine_id: String::new(), run: 1 }),
    ];
    for (config, signal, timeout, wanted) in cases {
        let mut world = world(true);
        let id = machine(&mut world, "m", &config).id;
        world.advance(at(0));
        world.advance(at(1));
        world.take_effects();
        world.stop_machine(at(2), "app", &id, signal, timeout).expect("stops");
        let effects = world.take_effects();
        let anonymous = match effects.into_iter().next().expect("an effect") {
            Effect::Stop { run, signal, timeout, .. } => {
                Effect::Stop { machine_id: String::new(), run, signal, timeout }
            }
            Effect::Kill { run, .. } => Effect::Kill { machine_id: String::new(), run },
            other => other,
        };
        assert_eq!(anonymous, wanted);
        world.advance(at(1000));
        assert_eq!(state(&world, &id), State::Stopping, "only its process ends a stop");
    }
}

#[test]
fn an_update_is_a_new_version_and_a_new_run() {
    let (mut world, id) = machine_in(State::Started);
    let before = world.machine("app", &id).expect("a machine").clone();
    let config = new_machine("", &json!({ "image": "nginx:2" })).config;
    let stale = Update {
        config: config.clone(),
        current_version: Some("other".to_owned()),
        ..Update::default()
    };
    assert_eq!(world.update_machine(at(5), "app", &id, stale), Err(Refusal::ConcurrentUpdate));
    let update =
        Update { config, current_version: Some(before.version.clone()), ..Update::default() };
    let updated = world.update_machine(at(5), "app", &id, update).expect("updates");
    assert_eq!(updated.state, State::Replacing);
    assert!(updated.version > before.version);
    assert_ne!(updated.image.digest, before.image.digest);
    world.advance(at(6));
    assert_eq!(state(&world, &id), State::Replacing, "waits for the old process");
    world.process_exited(at(6), &id, 1, CLEAN);
    world.advance(at(6));
    assert_eq!(launches(&mut world), [2]);
    world.advance(at(7));
    assert_eq!(state(&world, &id), State::Started);

    let wish =
        Wish { goals: vec![Goal::Started], version: Some(before.version), after_event: None };
    assert_eq!(world.progress("app", &id, &wish), Ok(Progress::Waiting("replaced")));
}

#[test]
fn an_update_cannot_change_name_region_or_volume() {
    let (mut world, id) = machine_in(State::Started);
    let free = volume(&mut world);
    let mounting = json!({ "mounts": [{ "volume": free.id, "path": "/data" }] });
    let base = || Update { config: new_machine("", &json!({})).config, ..Update::default() };
    let cases = [
        ("name", Update { name: Some("other".to_owned()), ..base() }),
        ("region", Update { region: Some("ams".to_owned()), ..base() }),
        ("volume", Update { config: new_machine("", &mounting).config, ..base() }),
    ];
    for (what, update) in cases {
        let refusal = world.update_machine(at(5), "app", &id, update).expect_err(what).to_string();
        assert!(refusal.contains(what), "{refusal}");
    }
    let same = Update { name: Some("m".to_owned()), region: Some("ord".to_owned()), ..base() };
    world.update_machine(at(5), "app", &id, same).expect("what it is already");
}

#[test]
fn names_are_unique_until_the_machine_is_destroyed() {
    let mut world = world(false);
    let first = machine(&mut world, "m", &json!({}));
    let refusal =
        world.create_machine(at(1), "app", new_machine("m", &json!({}))).expect_err("taken");
    let wanted = format!(
        "already_exists: unique machine name violation, machine ID {} already exists with name \"m\"",
        first.id
    );
    assert_eq!(refusal.to_string(), wanted);
    world.destroy_machine(at(1), "app", &first.id, true).expect("destroys");
    world.advance(at(1));
    let second = machine(&mut world, "m", &json!({}));
    assert_ne!(second.id, first.id);
    assert_ne!(second.private_ip, first.private_ip);
    assert_eq!(state(&world, &first.id), State::Destroyed, "still shown");
    world.advance(at(700));
    assert_eq!(world.machine("app", &first.id).err(), Some(Refusal::MachineNotFound));
}

#[test]
fn a_volume_belongs_to_one_machine_until_that_is_destroyed() {
    let mut world = world(false);
    let data = volume(&mut world);
    let mounting = json!({ "mounts": [{ "volume": data.id, "path": "/data" }] });
    let owner = machine(&mut world, "one", &mounting);
    assert_eq!(owner.region, "ord");
    let refusal =
        world.create_machine(at(0), "app", new_machine("two", &mounting)).expect_err("claimed");
    assert_eq!(refusal, Refusal::VolumeClaimed(owner.id.clone()));
    let refusal = world.delete_volume(at(0), "app", &data.id).expect_err("bound");
    assert_eq!(
        refusal.to_string(),
        format!("failed_precondition: volume is currently bound to machine: {}", owner.id)
    );
    world.destroy_machine(at(1), "app", &owner.id, true).expect("destroys");
    assert!(
        world.volume("app", &data.id).expect("a volume").attached_machine_id.is_some(),
        "until it is gone"
    );
    world.advance(at(1));
    assert_eq!(world.volume("app", &data.id).expect("a volume").attached_machine_id, None);
    machine(&mut world, "two", &mounting);
}

#[test]
fn a_volume_that_does_not_fit_is_refused() {
    let mut world = world(false);
    world.create_app(at(0), new_app("other-app")).expect("an app");
    let data = volume(&mut world);
    let foreign = world
        .create_volume(
            at(0),
            "other-app",
            NewVolume { name: "x".to_owned(), ..NewVolume::default() },
        )
        .expect("a volume");
    let mounting =
        |id: &str| new_machine("m", &json!({ "mounts": [{ "volume": id, "path": "/data" }] }));
    let elsewhere = super::NewMachine { region: Some("ams".to_owned()), ..mounting(&data.id) };
    for (new, wanted) in [
        (mounting("vol_none"), "invalid_argument: volume vol_none not found".to_owned()),
        (mounting(&foreign.id), format!("invalid_argument: volume {} not found", foreign.id)),
        (elsewhere, "invalid_argument: the volume to mount is in region ord, the machine was asked for in ams".to_owned()),
    ] {
        assert_eq!(world.create_machine(at(0), "app", new).expect_err("refused").to_string(), wanted);
    }
    world.delete_volume(at(0), "app", &data.id).expect("deletes");
    let refusal = world.create_machine(at(0), "app", mounting(&data.id)).expect_err("going");
    assert_eq!(refusal, Refusal::VolumeGoing(data.id));
}

#[test]
fn a_deleted_volume_lingers_for_a_day() {
    let mut world = world(false);
    let data = volume(&mut world);
    assert_eq!(data.state, VolumeState::Creating);
    world.advance(at(0));
    let deleted = world.delete_volume(at(1), "app", &data.id).expect("deletes");
    assert_eq!(deleted.state, VolumeState::SchedulingDestroy);
    world.advance(at(1));
    world.delete_volume(at(2), "app", &data.id).expect("twice is harmless");
    assert_eq!(world.volumes("app").next().expect("listed").state, VolumeState::PendingDestroy);
    assert!(world.extend_volume(at(2), "app", &data.id, 9).is_err());
    world.advance(at(1) + PENDING_DESTROY);
    assert_eq!(world.take_effects(), [Effect::RemoveVolume { volume_id: data.id.clone() }]);
    assert_eq!(world.volumes("app").count(), 0);
    let everything = Filter { include_deleted: true, ..Filter::default() };
    assert_eq!(world.org_volumes("local", &everything, None, 10).rows.len(), 1);
    assert_eq!(world.org_volumes("local", &Filter::default(), None, 10).rows.len(), 0);
}

#[test]
fn volumes_grow_and_never_shrink() {
    let mut world = world(false);
    let data = volume(&mut world);
    assert_eq!(data.size_gb, 3);
    for (size, ok) in [(3, false), (2, false), (0, false), (10, true), (501, false), (500, true)] {
        assert_eq!(world.extend_volume(at(1), "app", &data.id, size).is_ok(), ok, "{size}");
    }
    let state = |world: &World| world.volume("app", &data.id).expect("there").state;
    assert_eq!(state(&world), VolumeState::Creating);
    world.advance(at(2));
    assert_eq!(state(&world), VolumeState::Created);
    let second = volume(&mut world);
    world.advance(at(2));
    let extended = world.extend_volume(at(3), "app", &second.id, 10).expect("extended");
    assert_eq!((extended.state, extended.size_gb), (VolumeState::Extending, 10));
    world.delete_volume(at(3), "app", &second.id).expect("deleted");
    let third = volume(&mut world);
    world.advance(at(4));
    world.extend_volume(at(5), "app", &third.id, 10).expect("extended");
    world.advance(at(5));
    assert_eq!(world.volume("app", &third.id).expect("there").state, VolumeState::Created);
}

#[test]
fn apps_have_global_names_and_owners() {
    let mut world = world(false);
    let theirs = NewApp { org: "other".to_owned(), ..new_app("theirs") };
    world.create_app(at(0), theirs).expect("an app");
    let ours = |world: &World, name: &str| {
        world.app(name, |org| org == "local").map(|app| app.name.clone())
    };
    assert_eq!(ours(&world, "app"), Ok("app".to_owned()));
    assert_eq!(ours(&world, "theirs"), Err(Refusal::Unauthorized));
    assert_eq!(ours(&world, "free"), Err(Refusal::AppNotFound));
    assert_eq!(world.create_app(at(0), new_app("theirs")), Err(Refusal::AppNameTaken));
    let nowhere = NewApp { org: "nowhere".to_owned(), ..new_app("x") };
    assert_eq!(world.create_app(at(0), nowhere), Err(Refusal::Unauthorized));
    for name in ["", "Capital", "under_score", "dot.ted", &"a".repeat(64)] {
        assert_eq!(
            world.create_app(at(0), new_app(name)),
            Err(Refusal::AppNameMalformed),
            "{name}"
        );
    }
    world.create_app(at(0), new_app(&"a".repeat(63))).expect("the longest name");
}

#[test]
fn an_idempotency_key_returns_the_first_app() {
    let mut world = world(false);
    let keyed = |name: Option<&str>| NewApp {
        name: name.map(str::to_owned),
        org: "local".to_owned(),
        idempotency_key: Some("key".to_owned()),
        ..NewApp::default()
    };
    let first = world.create_app(at(0), keyed(Some("once"))).expect("created");
    assert_eq!(world.create_app(at(5), keyed(Some("once"))), Ok(first.clone()));
    assert_eq!(world.create_app(at(5), keyed(None)), Ok(first));
    assert_eq!(world.create_app(at(5), keyed(Some("twice"))), Err(Refusal::IdempotencyKeyReused));
}

#[test]
fn an_app_goes_with_its_machines_and_volumes() {
    let mut world = world(true);
    let data = volume(&mut world);
    let id =
        machine(&mut world, "m", &json!({ "mounts": [{ "volume": data.id, "path": "/data" }] })).id;
    world.advance(at(0));
    world.advance(at(1));
    world.take_effects();
    world.delete_app(at(2), "app").expect("deletes");
    assert_eq!(world.take_effects(), [Effect::Kill { machine_id: id.clone(), run: 1 }]);
    assert_eq!(world.create_app(at(2), new_app("app")), Err(Refusal::AppNameTaken));
    assert_eq!(
        world.create_machine(at(2), "app", new_machine("n", &json!({}))),
        Err(Refusal::AppNotFound)
    );
    world.advance(at(2) + DELETION_TIME);
    assert!(world.app("app", |_| true).is_ok(), "waits for the machine");
    world.process_exited(at(4), &id, 1, KILLED);
    world.advance(at(4));
    assert_eq!(world.app("app", |_| true).err(), Some(Refusal::AppNotFound));
    let removed = Effect::RemoveVolume { volume_id: data.id };
    assert!(world.take_effects().contains(&removed));
    assert_eq!(world.snapshot().count(), 1, "only the identifiers are left");
    world.create_app(at(5), new_app("app")).expect("the name is free again");
}

#[test]
fn metadata_is_merged_without_a_new_version() {
    let (mut world, id) = machine_in(State::Started);
    let version = world.machine("app", &id).expect("a machine").version.clone();
    let write = |world: &mut World, pairs: &[(&str, Option<&str>)], version: Option<&str>| {
        let changes =
            pairs.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)));
        world.merge_metadata(at(5), "app", &id, changes.collect::<BTreeMap<_, _>>(), version)
    };
    write(&mut world, &[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))], None)
        .expect("writes");
    write(&mut world, &[("a", None), ("b", Some("")), ("c", Some("4"))], Some(&version))
        .expect("writes");
    assert_eq!(write(&mut world, &[("a", Some("5"))], Some("old")), Err(Refusal::StaleVersion));
    assert_eq!(world.metadata_value("app", &id, "c"), Ok("4".to_owned()));
    assert_eq!(world.metadata_value("app", &id, "b"), Err(Refusal::MetadataKeyNotFound));
    let machine = world.machine("app", &id).expect("a machine");
    assert_eq!((machine.state, machine.version.as_str()), (State::Started, version.as_str()));
    let wanted = Filter { metadata: vec![("c".to_owned(), "4".to_owned())], ..Filter::default() };
    assert_eq!(world.machines("app", &wanted).count(), 1);
    let other = Filter { metadata: vec![("c".to_owned(), "3".to_owned())], ..Filter::default() };
    assert_eq!(world.machines("app", &other).count(), 0);
}

#[test]
fn a_wait_sees_states_and_the_events_between_them() {
    let (mut world, id) = machine_in(State::Started);
    let wish = |goals: &[Goal], after: Option<String>| Wish {
        goals: goals.to_vec(),
        version: None,
        after_event: after,
    };
    let Ok(Progress::Reached { event_id, .. }) =
        world.progress("app", &id, &wish(&[Goal::Started], None))
    else {
        panic!("it is started");
    };
    let after = Some(event_id);
    assert_eq!(
        world.progress("app", &id, &wish(&[Goal::Started], after.clone())),
        Ok(Progress::Waiting("started"))
    );
    // Down and up again: whoever looks only at states misses the stop.
    world.process_exited(at(5), &id, 1, FAILED);
    world.advance(at(5));
    world.advance(at(6));
    let seen = world.progress("app", &id, &wish(&[Goal::Stopped], after));
    assert!(matches!(seen, Ok(Progress::Reached { state: State::Stopped, .. })), "{seen:?}");
    assert_eq!(
        world.progress("app", &id, &wish(&[Goal::Stopped], None)),
        Ok(Progress::Waiting("started"))
    );
    assert!(matches!(
        world.progress("app", &id, &wish(&[Goal::Stopped, Goal::Settled], None)),
        Ok(Progress::Reached { .. })
    ));

    world.destroy_machine(at(7), "app", &id, true).expect("destroys");
    world.process_exited(at(7), &id, 2, KILLED);
    assert_eq!(
        world.progress("app", &id, &wish(&[Goal::Stopped], None)),
        Err(Refusal::MachineNotFound)
    );
    assert!(matches!(
        world.progress("app", &id, &wish(&[Goal::Destroyed], None)),
        Ok(Progress::Reached { .. })
    ));
}

#[test]
fn after_a_restart_what_ran_starts_again_and_what_was_ending_ends() {
    use State::{
        Created, Destroyed, Destroying, Replacing, Restarting, Started, Starting, Stopped, Stopping,
    };
    // (state before, run launched again with processes, state when all is done)
    let cases = [
        (Created, Some(1), Started),
        (Starting, Some(2), Started),
        (Started, Some(2), Started),
        (Stopping, None, Stopped),
        (Stopped, None, Stopped),
        (Restarting, Some(2), Started),
        (Replacing, Some(2), Started),
        (Destroying, None, Destroyed),
        (Destroyed, None, Destroyed),
    ];
    for processes in [true, false] {
        for (before, run, after) in cases {
            let (world, id) = machine_in(before);
            let mut again = World::restore(settings(processes), world.snapshot());
            again.resume(at(20));
            again.advance(at(20));
            again.advance(at(22));
            assert_eq!(state(&again, &id), after, "{before} with processes: {processes}");
            let wanted: Vec<u64> = run.into_iter().filter(|_| processes).collect();
            assert_eq!(launches(&mut again), wanted, "{before} with processes: {processes}");
        }
    }
}

#[test]
fn pages_go_on_where_they_ended_and_follow_changes() {
    let mut world = world(false);
    let ids: Vec<String> =
        (0..7).map(|number| machine(&mut world, &format!("m{number}"), &json!({})).id).collect();
    let all = Filter::default();
    let first = world.org_machines("local", &all, None, 3);
    let seen: Vec<String> = first.rows.iter().map(|machine| machine.id.clone()).collect();
    assert_eq!(seen, ids[..3]);
    let next = first.next.expect("more");
    // What changes moves to the end, so it is seen again rather than missed.
    world.stop_machine(at(5), "app", &ids[0], None, None).expect("stops");
    let rest = world.org_machines("local", &all, Some(&next), 10);
    let seen: Vec<&str> = rest.rows.iter().map(|machine| machine.id.as_str()).collect();
    let wanted: Vec<&str> = ids[3..].iter().chain(&ids[..1]).map(String::as_str).collect();
    assert_eq!(seen, wanted);
    assert_eq!(rest.next, None);
}
