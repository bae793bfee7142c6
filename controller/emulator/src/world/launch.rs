//! What a machine runs: the choice of its program, and the environment that the platform gives it.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use crate::world::config::Known;
use crate::world::machine::Machine;

/// The search path of a machine whose config sets none: what official images set.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a machine runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A program and its arguments.
    Argv(Vec<String>),
    /// The tenant agent.
    Agent,
    /// Nothing; it waits for its signal.
    Pause,
}

/// One start of a machine, as the world knows it; the engine adds the host's paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchSpec {
    /// The machine's id.
    pub machine_id: String,
    /// The machine's name.
    pub machine_name: String,
    /// The app's name.
    pub app_name: String,
    /// The number of this start.
    pub run: u64,
    /// What to run.
    pub program: Program,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// The volume's id and its mount point.
    pub volume: Option<(String, String)>,
    /// The machine's address.
    pub private_ip: Ipv6Addr,
}

impl LaunchSpec {
    pub(crate) fn of(machine: &Machine) -> Self {
        let known = machine.known();
        Self {
            machine_id: machine.id.clone(),
            machine_name: machine.name.clone(),
            app_name: machine.app.clone(),
            run: machine.run,
            program: program(machine, &known),
            env: environment(machine, &known),
            volume: known.mount().map(|(volume, path)| (volume.to_owned(), path.to_owned())),
            private_ip: machine.private_ip,
        }
    }
}

/// `init.exec`, else the entrypoint with the command, else the agent if the image is one.
fn program(machine: &Machine, known: &Known) -> Program {
    let init = known.init.clone().unwrap_or_default();
    let exec = init.exec.unwrap_or_default();
    let argv = if exec.is_empty() {
        let mut argv = init.entrypoint.unwrap_or_default();
        argv.extend(init.cmd.unwrap_or_default());
        argv
    } else {
        exec
    };
    match argv {
        argv if !argv.is_empty() => Program::Argv(argv),
        _ if machine.image.is_agent() => Program::Agent,
        _ => Program::Pause,
    }
}

/// The platform's variables win over the config's, as they do on the platform.
fn environment(machine: &Machine, known: &Known) -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), DEFAULT_PATH.to_owned()),
        ("HOME".to_owned(), "/root".to_owned()),
    ]);
    let own = known.env.iter().flatten();
    env.extend(own.filter_map(|(name, value)| Some((name.clone(), value.clone()?))));
    let group = machine.metadata().find(|(key, _)| *key == "fly_process_group");
    let memory = known.guest.as_ref().and_then(|guest| guest.memory_mb).unwrap_or_default();
    let platform = [
        ("FLY_APP_NAME", machine.app.clone()),
        ("FLY_MACHINE_ID", machine.id.clone()),
        ("FLY_ALLOC_ID", machine.id.clone()),
        ("FLY_REGION", machine.region.clone()),
        ("FLY_IMAGE_REF", known.image.clone().unwrap_or_default()),
        ("FLY_MACHINE_VERSION", machine.version.clone()),
        ("FLY_PRIVATE_IP", machine.private_ip.to_string()),
        ("FLY_PROCESS_GROUP", group.map(|(_, value)| value.to_owned()).unwrap_or_default()),
        ("FLY_VM_MEMORY_MB", memory.to_string()),
        ("PRIMARY_REGION", machine.region.clone()),
    ];
    env.extend(platform.map(|(name, value)| (name.to_owned(), value)));
    env
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::world::testing::{at, world};
    use crate::world::{Effect, NewMachine};

    fn launched(config: Value) -> LaunchSpec {
        let mut world = world(true);
        let config = config.as_object().expect("an object").clone();
        let new = NewMachine { config, ..NewMachine::default() };
        world.create_machine(at(0), "app", new).expect("created");
        world.advance(at(0));
        let effects = world.take_effects();
        let launch = effects.into_iter().find_map(|effect| match effect {
            Effect::Launch(spec) => Some(spec),
            _ => None,
        });
        launch.expect("a launch")
    }

    #[test]
    fn the_program_is_exec_then_entrypoint_and_command_then_agent_then_pause() {
        let argv =
            |words: &[&str]| Program::Argv(words.iter().map(|word| (*word).to_owned()).collect());
        let cases = [
            (
                json!({ "image": "a", "init": { "exec": ["x", "y"], "cmd": ["z"] } }),
                argv(&["x", "y"]),
            ),
            (
                json!({ "image": "a", "init": { "entrypoint": ["e"], "cmd": ["c"] } }),
                argv(&["e", "c"]),
            ),
            (json!({ "image": "x/agent:1", "init": { "cmd": ["c"] } }), argv(&["c"])),
            (json!({ "image": "x/agent:1", "init": { "exec": [] } }), Program::Agent),
            (json!({ "image": "x/agents:1" }), Program::Pause),
        ];
        for (config, wanted) in cases {
            assert_eq!(launched(config.clone()).program, wanted, "{config}");
        }
    }

    #[test]
    fn the_platforms_variables_win_and_the_rest_stays() {
        let spec = launched(json!({
            "image": "nginx", "env": { "FLY_REGION": "mars", "MINE": "1", "PATH": "/x", "NONE": null },
            "metadata": { "fly_process_group": "web" },
        }));
        let value = |name: &str| spec.env.get(name).map(String::as_str);
        assert_eq!(value("FLY_REGION"), Some("ord"));
        assert_eq!(value("MINE"), Some("1"));
        assert_eq!(value("PATH"), Some("/x"));
        assert_eq!(value("NONE"), None);
        assert_eq!(value("FLY_PROCESS_GROUP"), Some("web"));
        assert_eq!(value("FLY_VM_MEMORY_MB"), Some("256"));
        assert_eq!(value("FLY_MACHINE_ID"), Some(spec.machine_id.as_str()));
    }
}
