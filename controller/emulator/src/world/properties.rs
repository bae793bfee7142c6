//! What holds after any sequence of operations.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use crate::runner::Exit;
use crate::world::app::App;
use crate::world::testing::{at, new_app, new_machine, settings};
use crate::world::{Effect, NewVolume, Record, SecretValue, State, Update, World};

/// One thing that happens; numbers choose among what exists.
#[derive(Clone, Debug)]
enum Step {
    CreateApp(u8),
    DeleteApp(u8),
    CreateMachine { app: u8, name: u8, volume: Option<u8>, skip: bool },
    Update(u8, bool),
    Start(u8),
    Stop(u8),
    Restart(u8),
    Destroy(u8, bool),
    Metadata(u8),
    CreateVolume(u8),
    DeleteVolume(u8),
    Secret { app: u8, name: u8, set: bool },
    Exit(u8, i32),
    Pass(u16),
    Reboot,
}

fn step() -> impl Strategy<Value = Step> {
    let pick = any::<u8>;
    prop_oneof![
        2 => (0..3_u8).prop_map(Step::CreateApp),
        1 => (0..3_u8).prop_map(Step::DeleteApp),
        6 => (0..3_u8, 0..4_u8, proptest::option::of(pick()), any::<bool>())
            .prop_map(|(app, name, volume, skip)| Step::CreateMachine { app, name, volume, skip }),
        3 => (pick(), any::<bool>()).prop_map(|(machine, skip)| Step::Update(machine, skip)),
        3 => pick().prop_map(Step::Start),
        3 => pick().prop_map(Step::Stop),
        2 => pick().prop_map(Step::Restart),
        2 => (pick(), any::<bool>()).prop_map(|(machine, force)| Step::Destroy(machine, force)),
        1 => pick().prop_map(Step::Metadata),
        3 => (0..3_u8).prop_map(Step::CreateVolume),
        1 => pick().prop_map(Step::DeleteVolume),
        3 => (0..3_u8, 0..3_u8, any::<bool>())
            .prop_map(|(app, name, set)| Step::Secret { app, name, set }),
        5 => (pick(), 0..2_i32).prop_map(|(machine, code)| Step::Exit(machine, code)),
        8 => (0..1500_u16).prop_map(Step::Pass),
        1 => Just(Step::Reboot),
    ]
}

struct Run {
    world: World,
    second: i64,
    processes: bool,
    /// The newest event id seen of each machine.
    newest: BTreeMap<String, String>,
    /// The journal, as the engine would have written it.
    journal: Vec<Record>,
}

impl Run {
    fn pick<T: Clone>(rows: &[T], choice: u8) -> Option<T> {
        rows.get(usize::from(choice).checked_rem(rows.len())?).cloned()
    }

    fn machine(&self, choice: u8) -> Option<(String, String)> {
        let rows: Vec<_> = self
            .world
            .machines
            .iter()
            .map(|machine| (machine.app.clone(), machine.id.clone()))
            .collect();
        Self::pick(&rows, choice)
    }

    fn volume(&self, choice: u8) -> Option<(String, String)> {
        let rows: Vec<_> = self
            .world
            .volumes
            .iter()
            .map(|volume| (volume.app.clone(), volume.id.clone()))
            .collect();
        Self::pick(&rows, choice)
    }

    /// Takes a step. Refusals are fine: only what holds afterwards counts.
    fn take(&mut self, step: &Step) {
        let now = at(self.second);
        let app = |number: &u8| format!("app-{number}");
        match step {
            Step::CreateApp(number) => drop(self.world.create_app(now, new_app(&app(number)))),
            Step::DeleteApp(number) => drop(self.world.delete_app(now, &app(number))),
            Step::CreateMachine { app: number, name, volume, skip } => {
                let mount = volume
                    .and_then(|choice| self.volume(choice))
                    .map(|(_, id)| json!([{ "volume": id, "path": "/data" }]));
                let mut new = new_machine(&format!("m{name}"), &json!({ "mounts": mount }));
                new.skip_launch = *skip;
                drop(self.world.create_machine(now, &app(number), new));
            }
            Step::CreateVolume(number) => {
                let new = NewVolume { name: "data".to_owned(), ..NewVolume::default() };
                drop(self.world.create_volume(now, &app(number), new));
            }
            Step::Secret { app: number, name, set } => {
                let value = set.then(|| SecretValue::new(self.second.to_string()));
                let changes = BTreeMap::from([(format!("S{name}"), value)]);
                drop(self.world.change_secrets(now, &app(number), changes));
            }
            Step::DeleteVolume(choice) => {
                if let Some((app, id)) = self.volume(*choice) {
                    drop(self.world.delete_volume(now, &app, &id));
                }
            }
            Step::Pass(seconds) => {
                self.second += i64::from(*seconds);
                self.world.advance(at(self.second));
            }
            Step::Reboot => {
                self.world = World::restore(settings(self.processes), self.world.snapshot());
                self.world.resume(now);
            }
            Step::Update(choice, _)
            | Step::Start(choice)
            | Step::Stop(choice)
            | Step::Restart(choice)
            | Step::Destroy(choice, _)
            | Step::Metadata(choice)
            | Step::Exit(choice, _) => {
                if let Some((app, id)) = self.machine(*choice) {
                    self.take_on(step, &app, &id);
                }
            }
        }
    }

    fn take_on(&mut self, step: &Step, app: &str, id: &str) {
        let (now, world) = (at(self.second), &mut self.world);
        match step {
            Step::Update(_, skip) => {
                let config = world.machine(app, id).expect("chosen").config.clone();
                drop(world.update_machine(
                    now,
                    app,
                    id,
                    Update { config, skip_launch: *skip, ..Update::default() },
                ));
            }
            Step::Start(_) => drop(world.start_machine(now, app, id)),
            Step::Stop(_) => drop(world.stop_machine(now, app, id, None, None)),
            Step::Restart(_) => drop(world.restart_machine(now, app, id, None, None)),
            Step::Destroy(_, force) => drop(world.destroy_machine(now, app, id, *force)),
            Step::Metadata(_) => {
                let changes = BTreeMap::from([("key".to_owned(), Some("value".to_owned()))]);
                drop(world.merge_metadata(now, app, id, changes, None));
            }
            Step::Exit(_, code) => {
                let run = world.machine(app, id).expect("chosen").run;
                world.process_exited(now, id, run, Exit { code: Some(*code), signal: None });
            }
            _ => {}
        }
    }

    fn check(&mut self) {
        let world = &self.world;
        let apps: BTreeSet<&str> = world.apps.iter().map(|app: &App| app.name.as_str()).collect();
        let mut names = BTreeSet::new();
        for machine in world.machines.iter() {
            assert!(apps.contains(machine.app.as_str()), "a machine without an app");
            let live = machine.state != State::Destroyed;
            assert!(
                !live || names.insert((&machine.app, &machine.name)),
                "two machines of one name"
            );
            if machine.state.is_transient() {
                let (clock, process) = (machine.due.is_some(), machine.process.is_some());
                assert!(clock || process, "{} waits for nothing", machine.state);
                // Only a boot is timed while its process lives; else the process decides.
                let boots = machine.state == State::Starting;
                assert!(boots || clock != process, "{} waits for two things", machine.state);
            } else {
                assert!(machine.due.is_none() || machine.state == State::Destroyed);
            }
            let may_run = !matches!(
                machine.state,
                State::Stopped | State::Failed | State::Destroyed | State::Created
            );
            assert!(machine.process.is_none() || may_run, "a process in {}", machine.state);
            assert!(
                machine.events.is_sorted_by(|newer, older| newer.id > older.id),
                "events out of order"
            );
            let newest = machine.events.first().map(|event| event.id.clone()).unwrap_or_default();
            let before = self.newest.insert(machine.id.clone(), newest.clone());
            assert!(before.is_none_or(|before| before <= newest), "events went away");
            if let Some(volume) = machine.volume().filter(|_| live) {
                let claimed =
                    world.volumes.row(&volume).expect("its volume").attached_machine_id.as_ref();
                assert_eq!(claimed, Some(&machine.id), "a mount without a claim");
            }
        }
        for secret in world.secrets.iter() {
            assert!(apps.contains(secret.app.as_str()), "a secret without an app");
        }
        for volume in world.volumes.iter() {
            assert!(apps.contains(volume.app.as_str()), "a volume without an app");
            let Some(owner) = &volume.attached_machine_id else {
                continue;
            };
            let owner = world.machines.row(owner).expect("claims end with their machine");
            assert!(owner.state != State::Destroyed && owner.volume().as_ref() == Some(&volume.id));
        }
        let rows: Vec<Record> = world.snapshot().collect();
        let restored = World::restore(settings(self.processes), rows.clone());
        assert_eq!(restored.snapshot().collect::<Vec<_>>(), rows, "a snapshot is the world");
        let replayed = World::restore(settings(self.processes), self.journal.clone());
        assert_eq!(
            replayed.snapshot().skip(1).collect::<Vec<_>>(),
            rows[1..],
            "the journal is the world"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_world_stays_sound(steps in prop::collection::vec(step(), 1..60), processes in any::<bool>()) {
        let mut run = Run {
            world: World::new(settings(processes)),
            second: 0,
            processes,
            newest: BTreeMap::new(),
            journal: Vec::new(),
        };
        for step in std::iter::once(&Step::CreateApp(0)).chain(&steps) {
            run.take(step);
            let changes = run.world.take_changes();
            run.journal.extend(changes);
            let effects = run.world.take_effects();
            prop_assert!(processes || !effects.iter().any(|effect| matches!(effect, Effect::Launch(_))));
            run.check();
        }
    }
}
