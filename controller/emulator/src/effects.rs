//! Carrying out what the world asks for: the one place where its names become the host's paths.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;

mod copies;

use crate::emulator::AgentCommand;
use crate::engine::Engine;
use crate::machine_socket::{MachineSocket, MachineSockets};
use crate::runner::{Exit, Launch, MachineRunner, MountedVolume};
use crate::world::{Effect, LaunchSpec, Program};

/// What a machine's end says when it could not be started, as a shell says it.
const NOT_STARTED: Exit = Exit { code: Some(127), signal: None };

/// Where things are on the host, and who starts machines.
pub(crate) struct Host {
    /// Holds `volumes/ID` for every volume that a machine has used.
    pub(crate) data_dir: PathBuf,
    /// The agent.
    pub(crate) agent: Option<AgentCommand>,
    /// Starts and stops processes; without it states move by the clock alone.
    pub(crate) runner: Option<Arc<dyn MachineRunner>>,
    /// Opens each machine's own API socket; without it machines have none.
    pub(crate) sockets: Option<MachineSockets>,
}

impl Host {
    /// Carries out effects one after another until the engine closes.
    pub(crate) fn run(&self, engine: &Arc<Engine>) {
        while let Some(effect) = engine.next_effect() {
            self.perform(engine, effect);
        }
    }

    fn perform(&self, engine: &Arc<Engine>, effect: Effect) {
        match (effect, &self.runner) {
            (Effect::RemoveVolume { volume_id }, _) => self.remove_volume(&volume_id),
            (Effect::FillVolume { volume_id, from }, _) => {
                copies::fill_volume(&self.data_dir, engine, &volume_id, &from);
            }
            (Effect::TakeSnapshot { volume_id, snapshot_id }, _) => {
                copies::take_snapshot(&self.data_dir, engine, &volume_id, &snapshot_id);
            }
            (Effect::RemoveSnapshot { snapshot_id }, _) => {
                copies::remove_snapshot(&self.data_dir, &snapshot_id);
            }
            (Effect::Launch(spec), Some(runner)) => self.launch(engine, runner.as_ref(), *spec),
            (Effect::Stop { machine_id, run, signal, timeout }, Some(runner)) => {
                runner.stop(&machine_id, run, signal, timeout);
            }
            (Effect::Kill { machine_id, run }, Some(runner)) => runner.kill(&machine_id, run),
            (Effect::Signal { machine_id, run, signal }, Some(runner)) => {
                runner.signal(&machine_id, run, signal);
            }
            (Effect::Freeze { machine_id, run, frozen }, Some(runner)) => {
                runner.freeze(&machine_id, run, frozen);
            }
            (Effect::Forget { machine_id }, Some(runner)) => runner.forget(&machine_id),
            // A world without processes has nothing on the host but volumes.
            (_, None) => {}
        }
    }

    fn launch(&self, engine: &Arc<Engine>, runner: &dyn MachineRunner, spec: LaunchSpec) {
        let (machine_id, run) = (spec.machine_id.clone(), spec.run);
        match self.prepare(spec) {
            Ok((launch, socket)) => {
                let engine = Arc::clone(engine);
                let exited = Box::new(move |exit| {
                    // Before the world may ask for the next run, which has a socket of its own.
                    drop(socket);
                    engine.process_exited(&machine_id, run, exit);
                });
                runner.launch(launch, exited);
            }
            Err(error) => {
                tracing::error!(
                    machine_id,
                    run,
                    error = format!("{error:#}"),
                    "the machine cannot start"
                );
                engine.process_exited(&machine_id, run, NOT_STARTED);
            }
        }
    }

    fn prepare(&self, spec: LaunchSpec) -> anyhow::Result<(Launch, Option<MachineSocket>)> {
        let (argv, shown) = match spec.program {
            Program::Argv(argv) => (argv, None),
            Program::Agent => {
                let (argv, program) = self.agent()?;
                (argv, Some(program))
            }
            Program::Pause => (Vec::new(), None),
        };
        let volume = match spec.volume {
            Some((id, path)) => {
                let directory = self.volume_directory(&id);
                std::fs::create_dir_all(&directory)?;
                Some(MountedVolume { directory, path })
            }
            None => None,
        };
        let socket = self.sockets.as_ref().map(|sockets| sockets.open(spec.identity));
        let socket = socket.transpose().context("opening the machine's API socket")?;
        let launch = Launch {
            hostname: spec.machine_id.clone(),
            machine_id: spec.machine_id,
            machine_name: spec.machine_name,
            app_name: spec.app_name,
            run: spec.run,
            argv,
            env: spec.env,
            shown,
            fly: socket.as_ref().map(|socket| socket.folder().to_owned()),
            volume,
            private_ip: spec.private_ip,
        };
        Ok((launch, socket))
    }

    /// The agent's program with its arguments, and its file, which every machine has to see.
    fn agent(&self) -> anyhow::Result<(Vec<String>, PathBuf)> {
        let AgentCommand { program, args } = self.agent.as_ref().context(
            "its image is the agent, and this emulator was started without one (--agent)",
        )?;
        let place = program.display();
        let found = program.canonicalize().ok().filter(|found| found.is_file());
        let found = found.with_context(|| {
            format!("its image is the agent, and there is no agent at {place} (--agent names another place)")
        })?;
        let name = found.to_str().with_context(|| format!("{place} is not UTF-8"))?.to_owned();
        let argv = std::iter::once(name).chain(args.iter().cloned()).collect();
        Ok((argv, found))
    }

    fn remove_volume(&self, id: &str) {
        let directory = self.volume_directory(id);
        match std::fs::remove_dir_all(&directory) {
            Ok(()) => tracing::info!(volume_id = id, "removed the files of a destroyed volume"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::error!(volume_id = id, %error, "the files of a destroyed volume stay at {}", directory.display());
            }
        }
    }

    fn volume_directory(&self, id: &str) -> PathBuf {
        self.data_dir.join("volumes").join(id)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::clock::SystemClock;
    use crate::journal::Journal;
    use crate::world::testing::{machine, volume, world};
    use crate::world::{State, World};

    type Exited = Box<dyn FnOnce(Exit) + Send>;

    /// Remembers what it is told.
    #[derive(Default)]
    struct Script {
        launches: Mutex<Vec<(Launch, Exited)>>,
        orders: Mutex<Vec<String>>,
    }

    impl Script {
        fn note(&self, order: String) {
            self.orders.lock().expect("a lock").push(order);
        }
    }

    impl MachineRunner for Script {
        fn launch(&self, launch: Launch, exited: Exited) {
            self.launches.lock().expect("a lock").push((launch, exited));
        }

        fn stop(&self, _: &str, run: u64, signal: i32, timeout: Duration) {
            self.note(format!("stop {run} {signal} {timeout:?}"));
        }

        fn kill(&self, _: &str, run: u64) {
            self.note(format!("kill {run}"));
        }

        fn signal(&self, _: &str, run: u64, signal: i32) {
            self.note(format!("signal {run} {signal}"));
        }

        fn freeze(&self, _: &str, run: u64, frozen: bool) {
            self.note(format!("freeze {run} {frozen}"));
        }

        fn visit(
            &self,
            _: &str,
            _: u64,
            _: crate::runner::Visit,
        ) -> Result<crate::runner::VisitOutcome, crate::runner::VisitError> {
            Err(crate::runner::VisitError::NotReady)
        }

        fn logs(&self, _: &str) -> std::io::Result<Vec<crate::runner::LogLine>> {
            Ok(Vec::new())
        }

        fn forget(&self, _: &str) {
            self.note("forget".to_owned());
        }

        fn shutdown(&self) {}
    }

    struct Stage {
        engine: Arc<Engine>,
        host: Host,
        script: Arc<Script>,
        directory: tempfile::TempDir,
    }

    impl Stage {
        /// A world in which one machine of this config is to start.
        fn new(members: &Value, agent: Option<AgentCommand>) -> (Self, String) {
            let mut world = world(true);
            let id = machine(&mut world, "m", members).id;
            Self::with(world, agent, id)
        }

        fn with(world: World, agent: Option<AgentCommand>, id: String) -> (Self, String) {
            let directory = tempfile::tempdir().expect("a folder");
            let (journal, _) = Journal::open(directory.path()).expect("opens");
            let script = Arc::<Script>::default();
            let host = Host {
                data_dir: directory.path().to_owned(),
                agent,
                runner: Some(Arc::clone(&script) as Arc<dyn MachineRunner>),
                sockets: None,
            };
            let engine = Engine::new(world, journal, Arc::new(SystemClock));
            let stage = Self { engine, host, script, directory };
            // The tests' fixed time lies in the future, so the clock is moved by hand.
            stage.pass(2);
            (stage, id)
        }

        fn pass(&self, second: i64) {
            let advanced = self.engine.change(|world, _| {
                world.advance(crate::world::testing::at(second));
                Ok(world.take_effects())
            });
            for effect in advanced.expect("advances") {
                self.host.perform(&self.engine, effect);
            }
        }

        fn state(&self, id: &str) -> State {
            self.engine.read(|world| Ok(world.machine("app", id)?.state)).expect("a machine")
        }
    }

    #[test]
    fn a_launch_has_the_hosts_paths_and_its_end_comes_back() {
        let mut world = world(true);
        let data = volume(&mut world);
        let members = json!({
            "mounts": [{ "volume": data.id, "path": "/data" }], "init": { "exec": ["/bin/true"] },
        });
        let id = machine(&mut world, "m", &members).id;
        let (stage, id) = Stage::with(world, None, id);
        let (launch, exited) =
            stage.script.launches.lock().expect("a lock").pop().expect("a launch");
        let directory = stage.directory.path().join("volumes").join(&data.id);
        assert!(directory.is_dir());
        assert_eq!(launch.volume, Some(MountedVolume { directory, path: "/data".to_owned() }));
        assert_eq!((launch.run, launch.hostname.as_str()), (1, id.as_str()));
        assert_eq!(launch.argv, ["/bin/true"]);
        exited(Exit { code: Some(0), signal: None });
        assert_eq!(stage.state(&id), State::Stopped);
    }

    #[test]
    fn the_agent_is_run_where_it_is_and_its_absence_is_a_failed_launch() {
        let members = json!({ "image": "x/agent:1", "restart": { "policy": "no" } });
        let binary = std::env::current_exe().and_then(|binary| binary.canonicalize());
        let program = binary.expect("this test");
        let agent = AgentCommand { program: program.clone(), args: vec!["agent".to_owned()] };
        let (stage, _) = Stage::new(&members, Some(agent.clone()));
        let launches = stage.script.launches.lock().expect("a lock");
        assert_eq!(launches[0].0.argv, [program.to_str().expect("UTF-8"), "agent"]);
        assert_eq!(launches[0].0.shown.as_deref(), Some(program.as_path()));
        let nowhere = AgentCommand { program: PathBuf::from("/nowhere/vault-agent"), ..agent };
        for agent in [None, Some(nowhere)] {
            let (stage, id) = Stage::new(&members, agent);
            assert!(stage.script.launches.lock().expect("a lock").is_empty());
            assert_eq!(stage.state(&id), State::Failed);
        }
    }

    #[test]
    fn files_of_a_destroyed_volume_go_and_orders_reach_the_runner() {
        let (stage, _) = Stage::new(&json!({}), None);
        let directory = stage.directory.path().join("volumes/vol_x");
        std::fs::create_dir_all(&directory).expect("a folder");
        let name = || "m".to_owned();
        let timeout = Duration::from_secs(5);
        for effect in [
            Effect::Stop { machine_id: name(), run: 1, signal: 2, timeout },
            Effect::Kill { machine_id: name(), run: 2 },
            Effect::Signal { machine_id: name(), run: 3, signal: 10 },
            Effect::Freeze { machine_id: name(), run: 4, frozen: true },
            Effect::Forget { machine_id: name() },
            Effect::RemoveVolume { volume_id: "vol_x".to_owned() },
            Effect::RemoveVolume { volume_id: "vol_gone".to_owned() },
        ] {
            stage.host.perform(&stage.engine, effect);
        }
        assert!(!directory.exists());
        assert_eq!(
            *stage.script.orders.lock().expect("a lock"),
            ["stop 1 2 5s", "kill 2", "signal 3 10", "freeze 4 true", "forget"]
        );
    }
}
