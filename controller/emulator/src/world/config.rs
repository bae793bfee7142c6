//! A machine's config: stored and echoed as it was sent, with the platform's fill-ins. Only the
//! members that change what the emulator does are read and checked; the others pass through.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::world::error::Refusal;
use crate::world::restart::Policy;
use crate::world::units::{self, DEFAULT_STOP_SIGNAL, DEFAULT_STOP_TIMEOUT};

/// The config as it is stored: a JSON object.
pub type Config = Map<String, Value>;

/// The members that the emulator acts on. Null and missing are the same thing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Known {
    pub(crate) image: Option<String>,
    pub(crate) guest: Option<Guest>,
    pub(crate) size: Option<String>,
    pub(crate) init: Option<Init>,
    pub(crate) env: Option<BTreeMap<String, Option<String>>>,
    pub(crate) metadata: Option<BTreeMap<String, Option<String>>>,
    pub(crate) mounts: Option<Vec<Mount>>,
    pub(crate) restart: Option<Restart>,
    pub(crate) stop_config: Option<Stop>,
    pub(crate) auto_destroy: Option<bool>,
    pub(crate) containers: Option<Vec<Value>>,
    pub(crate) processes: Option<Vec<Process>>,
    pub(crate) schedule: Option<String>,
}

/// A program of a machine, in place of the one of `init`, with an environment of its own.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Process {
    pub(crate) exec: Option<Vec<String>>,
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) cmd: Option<Vec<String>>,
    pub(crate) env: Option<BTreeMap<String, Option<String>>>,
    pub(crate) secrets: Option<Vec<ProcessSecret>>,
    pub(crate) ignore_app_secrets: Option<bool>,
}

/// An app secret that a process gets as a variable.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ProcessSecret {
    pub(crate) env_var: Option<String>,
    /// The secret's name in the app; the variable's if absent.
    pub(crate) name: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Guest {
    pub(crate) cpu_kind: Option<String>,
    pub(crate) cpus: Option<u32>,
    pub(crate) memory_mb: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Init {
    pub(crate) exec: Option<Vec<String>>,
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) cmd: Option<Vec<String>>,
    pub(crate) swap_size_mb: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Mount {
    pub(crate) volume: Option<String>,
    pub(crate) path: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Restart {
    pub(crate) policy: Option<String>,
    pub(crate) max_retries: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Stop {
    pub(crate) timeout: Option<Value>,
    pub(crate) signal: Option<String>,
}

/// Reads the known members of a config.
///
/// # Errors
/// [`Refusal::Invalid`] if one of them has the wrong type.
pub(crate) fn known(config: &Config) -> Result<Known, Refusal> {
    Known::deserialize(config).map_err(|error| Refusal::invalid(format!("invalid config: {error}")))
}

/// Checks a config and fills in what the platform fills in.
///
/// # Errors
/// [`Refusal::Invalid`] naming the member that is wrong.
pub(crate) fn complete(mut config: Config) -> Result<(Config, Known), Refusal> {
    let mut given = known(&config)?;
    check(&given)?;
    let guest = complete_guest(given.guest.take(), given.size.as_deref())?;
    for (member, value) in
        [("init", json!({})), ("dns", json!({})), ("restart", json!({ "policy": "on-failure" }))]
    {
        if config.get(member).is_none_or(Value::is_null) {
            config.insert(member.to_owned(), value);
        }
    }
    if !config.get("guest").is_some_and(Value::is_object) {
        config.insert("guest".to_owned(), json!({}));
    }
    if let Some(Value::Object(shown)) = config.get_mut("guest") {
        shown.insert("cpu_kind".to_owned(), json!(guest.cpu_kind));
        shown.insert("cpus".to_owned(), json!(guest.cpus));
        shown.insert("memory_mb".to_owned(), json!(guest.memory_mb));
    }
    given.guest = Some(guest);
    Ok((config, given))
}

impl Known {
    /// The one mount, as (volume id, mount point).
    pub(crate) fn mount(&self) -> Option<(&str, &str)> {
        let mount = self.mounts.as_ref()?.first()?;
        Some((mount.volume.as_deref()?, mount.path.as_deref()?))
    }

    /// The one process that the config names, if it names one.
    pub(crate) fn process(&self) -> Option<&Process> {
        self.processes.as_ref()?.first()
    }

    /// The restart policy; without one it is on-failure with ten retries.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for an unknown policy.
    pub(crate) fn policy(&self) -> Result<Policy, Refusal> {
        let restart = self.restart.clone().unwrap_or_default();
        Policy::parse(restart.policy.as_deref(), restart.max_retries)
    }

    /// The signal number and the patience of a stop that names neither.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for an unknown signal or a malformed duration.
    pub(crate) fn stop(&self) -> Result<(i32, Duration), Refusal> {
        let stop = self.stop_config.clone().unwrap_or_default();
        let signal = match stop.signal.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => units::signal(name)?,
            None => DEFAULT_STOP_SIGNAL,
        };
        let timeout = units::go_duration(stop.timeout.as_ref())?;
        Ok((signal, timeout.unwrap_or(DEFAULT_STOP_TIMEOUT)))
    }
}

fn check(given: &Known) -> Result<(), Refusal> {
    if given.containers.as_ref().is_some_and(|containers| !containers.is_empty()) {
        return Err(Refusal::invalid("config.containers: this emulator runs no containers"));
    }
    check_processes(given.processes.as_deref().unwrap_or_default())?;
    if given.image.as_deref().is_none_or(str::is_empty) {
        return Err(Refusal::invalid("invalid config.image: an image is required"));
    }
    let mounts = given.mounts.as_deref().unwrap_or_default();
    if mounts.len() > 1 {
        return Err(Refusal::invalid("invalid config.mounts: at most one mount"));
    }
    for mount in mounts {
        if mount.volume.as_deref().is_none_or(str::is_empty) {
            return Err(Refusal::invalid("invalid config.mounts: volume is required"));
        }
        let path = mount.path.as_deref().unwrap_or_default();
        let climbs = path.split('/').any(|part| part == "..");
        if !path.starts_with('/') || path.trim_end_matches('/').is_empty() || climbs {
            return Err(Refusal::invalid("invalid config.mounts: path must be absolute and not /"));
        }
    }
    check_variables("env", given.env.iter().flatten().map(|(name, _)| name.as_str()))?;
    given.policy()?;
    given.stop()?;
    Ok(())
}

fn check_processes(processes: &[Process]) -> Result<(), Refusal> {
    if processes.len() > 1 {
        let message = "config.processes: this emulator runs one process per machine";
        return Err(Refusal::invalid(message));
    }
    for process in processes {
        let env = process.env.iter().flatten().map(|(name, _)| name.as_str());
        check_variables("processes[].env", env)?;
        let secrets = process.secrets.iter().flatten();
        let names = secrets.map(|secret| secret.env_var.as_deref().unwrap_or_default());
        check_variables("processes[].secrets[].env_var", names)?;
    }
    Ok(())
}

fn check_variables<'a>(
    member: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<(), Refusal> {
    for name in names {
        if name.is_empty() || name.contains(['=', '\0']) {
            let message = format!("invalid config.{member}: {name:?} is no variable name");
            return Err(Refusal::invalid(message));
        }
    }
    Ok(())
}

/// Guest sizes that the platform sells: counts of processors, and megabytes per processor.
struct Kind {
    cpus: &'static [u32],
    least_mb: u32,
    most_mb: u32,
    step_mb: u32,
}

const SHARED: Kind = Kind { cpus: &[1, 2, 4, 6, 8], least_mb: 256, most_mb: 2048, step_mb: 256 };
const PERFORMANCE: Kind = Kind {
    cpus: &[1, 2, 4, 6, 8, 10, 12, 14, 16, 32, 64, 128],
    least_mb: 2048,
    most_mb: 8192,
    step_mb: 1024,
};

fn complete_guest(given: Option<Guest>, preset: Option<&str>) -> Result<Guest, Refusal> {
    let given = match (given, preset.filter(|text| !text.is_empty())) {
        (Some(guest), _) => guest,
        (None, Some(preset)) => guest_of_preset(preset)?,
        (None, None) => Guest::default(),
    };
    let name = given.cpu_kind.unwrap_or_else(|| "shared".to_owned());
    let kind = match name.as_str() {
        "shared" => SHARED,
        "performance" => PERFORMANCE,
        other => {
            return Err(Refusal::invalid(format!(
                "invalid config.guest.cpu_kind: {other:?} is neither \"shared\" nor \"performance\""
            )));
        }
    };
    let cpus = given.cpus.unwrap_or(1);
    if !kind.cpus.contains(&cpus) {
        return Err(Refusal::invalid(format!(
            "invalid config.guest.cpus: {cpus} is not offered for cpu_kind {name}"
        )));
    }
    let (least, most) = (kind.least_mb * cpus, kind.most_mb * cpus);
    let memory = given.memory_mb.unwrap_or(least);
    if memory < least || memory > most || memory % kind.step_mb != 0 {
        return Err(Refusal::invalid(format!(
            "invalid config.guest.memory_mb: {memory} MiB; minimum {least}, maximum {most}, a multiple of {}",
            kind.step_mb
        )));
    }
    Ok(Guest { cpu_kind: Some(name), cpus: Some(cpus), memory_mb: Some(memory) })
}

/// `shared-cpu-2x` and `performance-4x`, the deprecated way to name a guest.
fn guest_of_preset(preset: &str) -> Result<Guest, Refusal> {
    let unknown = || Refusal::invalid(format!("invalid config.size: {preset:?} is unknown"));
    let (kind, count) = preset.rsplit_once('-').ok_or_else(unknown)?;
    let kind = match kind {
        "shared-cpu" => "shared",
        "performance" => "performance",
        _ => return Err(unknown()),
    };
    let count = count.strip_suffix('x').and_then(|count| count.parse().ok()).ok_or_else(unknown)?;
    Ok(Guest { cpu_kind: Some(kind.to_owned()), cpus: Some(count), memory_mb: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(value: Value) -> Config {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn fill_ins_are_the_platforms_and_unknown_members_stay() {
        let sent = config(
            json!({ "image": "nginx", "restart": null, "services": [{ "x": 1 }], "new": 7 }),
        );
        let (stored, _) = complete(sent).expect("complete");
        assert_eq!(
            Value::Object(stored),
            json!({
                "image": "nginx", "services": [{ "x": 1 }], "new": 7, "init": {}, "dns": {},
                "restart": { "policy": "on-failure" },
                "guest": { "cpu_kind": "shared", "cpus": 1, "memory_mb": 256 },
            })
        );
        let sent = config(json!({ "image": "a", "guest": { "cpus": 2, "gpus": 0 } }));
        let (stored, _) = complete(sent).expect("complete");
        assert_eq!(
            stored["guest"],
            json!({ "cpu_kind": "shared", "cpus": 2, "memory_mb": 512, "gpus": 0 })
        );
    }

    #[test]
    fn wrong_members_are_named() {
        let cases = [
            (json!({}), "config.image"),
            (json!({ "image": "" }), "config.image"),
            (json!({ "image": 7 }), "invalid config"),
            (json!({ "image": "a", "env": { "A": 1 } }), "invalid config"),
            (json!({ "image": "a", "env": { "A=B": "1" } }), "config.env"),
            (json!({ "image": "a", "mounts": [{ "path": "/data" }] }), "config.mounts"),
            (
                json!({ "image": "a", "mounts": [{ "volume": "v", "path": "data" }] }),
                "config.mounts",
            ),
            (json!({ "image": "a", "mounts": [{ "volume": "v", "path": "/" }] }), "config.mounts"),
            (
                json!({ "image": "a", "mounts": [{ "volume": "v", "path": "/a/../b" }] }),
                "config.mounts",
            ),
            (json!({ "image": "a", "mounts": [{}, {}] }), "at most one"),
            (
                json!({ "image": "a", "restart": { "policy": "sometimes" } }),
                "config.restart.policy",
            ),
            (json!({ "image": "a", "guest": { "cpus": 3 } }), "config.guest.cpus"),
            (json!({ "image": "a", "guest": { "memory_mb": 100 } }), "config.guest.memory_mb"),
            (json!({ "image": "a", "guest": { "cpu_kind": "fast" } }), "config.guest.cpu_kind"),
            (json!({ "image": "a", "stop_config": { "signal": "SIGWHAT" } }), "signal"),
            (json!({ "image": "a", "stop_config": { "timeout": "soon" } }), "duration"),
            (json!({ "image": "a", "containers": [{ "name": "x" }] }), "config.containers"),
            (json!({ "image": "a", "processes": [{}, {}] }), "config.processes"),
            (json!({ "image": "a", "processes": [{ "secrets": [{ "name": "S" }] }] }), "env_var"),
        ];
        for (sent, wanted) in cases {
            let refusal = complete(config(sent.clone())).expect_err("refused").to_string();
            assert!(refusal.contains(wanted), "{sent}: {refusal}");
        }
    }
}
