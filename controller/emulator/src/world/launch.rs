//! What a machine runs: the choice of its program, and the environment that the platform gives it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::runner::Environment;
use crate::world::config::Known;
use crate::world::machine::Machine;
use crate::world::{App, Secret};

/// The search path of a machine whose config sets none: what official images set.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The agent's port, as everywhere.
const AGENT_PORT: u16 = 8443;

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

/// Who a machine is, as its tokens say. It holds for one run: a process of an older version does not
/// become one of a newer version while it is still ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The organization's slug.
    pub org: String,
    /// The number beside it.
    pub org_number: u64,
    /// The app's name.
    pub app: String,
    /// The number beside it.
    pub app_number: u64,
    /// The machine's id.
    pub machine_id: String,
    /// The machine's name.
    pub machine_name: String,
    /// The machine's version, a ULID.
    pub machine_version: String,
    /// The image as the config names it.
    pub image: String,
    /// The image's digest, with its algorithm.
    pub image_digest: String,
    /// The region's code.
    pub region: String,
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
    pub env: Environment,
    /// The volume's id and its mount point.
    pub volume: Option<(String, String)>,
    /// The machine's address.
    pub private_ip: IpAddr,
    /// Who it is for others.
    pub identity: Identity,
}

impl LaunchSpec {
    /// The machine's next start, with the secrets of this moment.
    pub(crate) fn of<'a>(
        machine: &Machine,
        app: &App,
        secrets: impl Iterator<Item = &'a Secret>,
    ) -> Self {
        let known = machine.known();
        let program = program(machine, &known);
        Self {
            machine_id: machine.id.clone(),
            machine_name: machine.name.clone(),
            app_name: machine.app.clone(),
            run: machine.run,
            env: environment(machine, &known, &program, secrets),
            program,
            volume: known.mount().map(|(volume, path)| (volume.to_owned(), path.to_owned())),
            private_ip: machine.private_ip,
            identity: Identity {
                org: app.org.clone(),
                org_number: app.org_number(),
                app: app.name.clone(),
                app_number: app.number,
                machine_id: machine.id.clone(),
                machine_name: machine.name.clone(),
                machine_version: machine.version.clone(),
                image: known.image.unwrap_or_default(),
                image_digest: machine.image.digest.clone(),
                region: machine.region.clone(),
            },
        }
    }
}

/// That of the process, else that of `init`, else the agent if the image is one.
fn program(machine: &Machine, known: &Known) -> Program {
    let of_process = known.process().map(|process| {
        argv(process.exec.as_ref(), process.entrypoint.as_ref(), process.cmd.as_ref())
    });
    let of_init = known
        .init
        .as_ref()
        .map(|init| argv(init.exec.as_ref(), init.entrypoint.as_ref(), init.cmd.as_ref()));
    let argv = [of_process, of_init].into_iter().flatten().find(|argv| !argv.is_empty());
    match argv {
        Some(argv) => Program::Argv(argv),
        _ if machine.image.is_agent() => Program::Agent,
        _ => Program::Pause,
    }
}

/// `exec`, else the entrypoint with the command.
fn argv(
    exec: Option<&Vec<String>>,
    entrypoint: Option<&Vec<String>>,
    cmd: Option<&Vec<String>>,
) -> Vec<String> {
    match exec {
        Some(exec) if !exec.is_empty() => exec.clone(),
        _ => entrypoint.into_iter().chain(cmd).flatten().cloned().collect(),
    }
}

/// A secret wins over the config's variable of that name, and the platform's variables win over
/// both, as they do on the platform. A process that ignores the app's secrets gets only those that
/// it names, each as the variable that it names; one that the app does not have is not set.
fn environment<'a>(
    machine: &Machine,
    known: &Known,
    program: &Program,
    secrets: impl Iterator<Item = &'a Secret>,
) -> Environment {
    let mut env = Environment::default();
    env.insert("PATH".to_owned(), DEFAULT_PATH.to_owned());
    env.insert("HOME".to_owned(), "/root".to_owned());
    if *program == Program::Agent {
        // All machines share this computer's network, so each agent listens on its own address.
        let address = SocketAddr::new(machine.private_ip, AGENT_PORT);
        env.insert("VAULT_LISTEN".to_owned(), address.to_string());
    }
    let own = known.env.iter().flatten();
    env.extend(own.filter_map(|(name, value)| Some((name.clone(), value.clone()?))));
    let process = known.process();
    let own = process.and_then(|process| process.env.as_ref()).into_iter().flatten();
    env.extend(own.filter_map(|(name, value)| Some((name.clone(), value.clone()?))));
    let secrets: BTreeMap<&str, &str> =
        secrets.map(|secret| (secret.name.as_str(), secret.value.expose())).collect();
    if process.and_then(|process| process.ignore_app_secrets) != Some(true) {
        env.extend(secrets.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    }
    let named = process.and_then(|process| process.secrets.as_ref()).into_iter().flatten();
    env.extend(named.filter_map(|secret| {
        let variable = secret.env_var.as_deref()?;
        let name = secret.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(variable);
        Some((variable.to_owned(), (*secrets.get(name)?).to_owned()))
    }));
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
    use crate::world::{Effect, NewMachine, SecretValue, Update, World};

    fn launched(config: Value) -> LaunchSpec {
        launched_in(&mut world(true), config)
    }

    fn launched_in(world: &mut World, config: Value) -> LaunchSpec {
        let config = config.as_object().expect("an object").clone();
        let new = NewMachine { config, ..NewMachine::default() };
        world.create_machine(at(0), "app", new).expect("created");
        world.advance(at(0));
        let effects = world.take_effects();
        let launch = effects.into_iter().find_map(|effect| match effect {
            Effect::Launch(spec) => Some(*spec),
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
            (
                json!({ "image": "a", "init": { "cmd": ["i"] }, "processes": [{ "cmd": ["p"] }] }),
                argv(&["p"]),
            ),
            (json!({ "image": "x/agent:1", "processes": [{ "user": "x" }] }), Program::Agent),
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

    fn set_secret(world: &mut World, name: &str, value: &str) {
        let value = Some(SecretValue::new(value.to_owned()));
        world.change_secrets(at(0), "app", [(name.to_owned(), value)].into()).expect("set");
    }

    #[test]
    fn secrets_win_over_the_config_and_the_platform_over_both() {
        let mut world = world(true);
        for name in ["MINE", "FLY_REGION", "VAULT_TENANT_SECRET"] {
            set_secret(&mut world, name, "secret");
        }
        let env = json!({ "MINE": "config", "OTHER": "config" });
        let spec = launched_in(&mut world, json!({ "image": "a", "env": env }));
        let value = |name: &str| spec.env.get(name).map(String::as_str);
        assert_eq!(value("MINE"), Some("secret"));
        assert_eq!(value("OTHER"), Some("config"));
        assert_eq!(value("FLY_REGION"), Some("ord"));
        assert_eq!(value("VAULT_TENANT_SECRET"), Some("secret"));
    }

    #[test]
    fn a_process_sees_only_the_secrets_that_it_names_if_it_ignores_the_apps() {
        let mut world = world(true);
        for name in ["S_A", "S_B", "OPEN"] {
            set_secret(&mut world, name, name);
        }
        let process = |secret: &str, ignores: bool| {
            let secrets =
                json!([{ "env_var": "S", "name": secret }, { "env_var": "NO", "name": "NO" }]);
            json!({ "image": "a", "env": { "S": "config" }, "processes": [{
                "env": { "MINE": "1" }, "ignore_app_secrets": ignores, "secrets": secrets,
            }] })
        };
        let a = launched_in(&mut world, process("S_A", true));
        let b = launched_in(&mut world, process("S_B", true));
        for (spec, own) in [(&a, "S_A"), (&b, "S_B")] {
            assert_eq!(spec.env.get("S").map(String::as_str), Some(own));
            assert_eq!(spec.env.get("MINE").map(String::as_str), Some("1"));
            for name in ["S_A", "S_B", "OPEN", "NO"] {
                assert_eq!(spec.env.get(name), None, "{name}");
            }
        }
        let open = launched_in(&mut world, process("S_A", false));
        assert_eq!(open.env.get("S").map(String::as_str), Some("S_A"));
        assert_eq!(open.env.get("S_B").map(String::as_str), Some("S_B"));
    }

    #[test]
    fn a_run_has_the_secrets_of_its_start_and_an_update_may_leave_them_out() {
        let mut world = world(true);
        set_secret(&mut world, "S", "1");
        let spec = launched_in(&mut world, json!({ "image": "a" }));
        assert_eq!(spec.env.get("S").map(String::as_str), Some("1"));
        set_secret(&mut world, "S", "2");
        world.advance(at(1));
        assert!(world.take_effects().is_empty(), "setting restarts nothing");
        let id = spec.machine_id;
        let next = |world: &mut World, run, second| {
            let killed = crate::runner::Exit { code: None, signal: Some(9) };
            world.process_exited(at(second), &id, run, killed);
            world.advance(at(second + 1));
            let effects = world.take_effects();
            effects.into_iter().find_map(|effect| match effect {
                Effect::Launch(spec) => Some(spec.env.get("S").cloned()),
                _ => None,
            })
        };
        assert_eq!(next(&mut world, 1, 2), Some(Some("2".to_owned())), "restarted by the policy");
        set_secret(&mut world, "S", "3");
        let config = json!({ "image": "a" }).as_object().expect("an object").clone();
        let update = Update { config, skip_secrets: true, ..Update::default() };
        let too_new = Update { min_secrets_version: Some(4), ..update.clone() };
        world.update_machine(at(5), "app", &id, too_new).expect_err("there are three");
        let in_time = Update { min_secrets_version: Some(3), ..update };
        world.update_machine(at(5), "app", &id, in_time).expect("updated");
        assert_eq!(next(&mut world, 2, 6), Some(None));
    }

    #[test]
    fn an_agent_listens_on_its_machines_own_address_unless_it_is_told_otherwise() {
        let spec = launched(json!({ "image": "x/agent:1" }));
        let own = format!("[{}]:8443", spec.private_ip);
        assert_eq!(spec.env.get("VAULT_LISTEN"), Some(&own));
        let env = json!({ "VAULT_LISTEN": "[::]:1" });
        let spec = launched(json!({ "image": "x/agent:1", "env": env }));
        assert_eq!(spec.env.get("VAULT_LISTEN").map(String::as_str), Some("[::]:1"));
        assert_eq!(launched(json!({ "image": "nginx" })).env.get("VAULT_LISTEN"), None);
    }

    #[test]
    fn an_identity_is_that_of_the_run() {
        let spec = launched(json!({ "image": "x/agent:1" }));
        let identity = &spec.identity;
        assert_eq!((identity.org.as_str(), identity.app.as_str()), ("local", "app"));
        assert_eq!(identity.machine_id, spec.machine_id);
        assert_eq!(identity.machine_version, spec.env["FLY_MACHINE_VERSION"]);
        assert_eq!(identity.image, "x/agent:1");
        assert!(identity.image_digest.starts_with("sha256:"));
    }
}
