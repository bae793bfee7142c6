//! Fly's machine config, as far as vaultctl must understand it: the members that it knows by name
//! are checked for their type, `mounts` and `metadata` for what is ours in them, and all strings
//! for placeholders. Other members pass through untouched. `null` means "not set" throughout.

use serde_json::{Map, Value};

use super::Placed;
use super::at::At;
use super::words::{either, shorten, wrong_type};
use crate::names::did_you_mean;
use crate::template::{self, TemplateError};

/// Metadata keys that begin so belong to the controller, which finds its machines by them.
pub(super) const RESERVED_METADATA_PREFIX: &str = "vault_";

const CPU_KINDS: [&str; 2] = ["shared", "performance"];
const RESTART_POLICIES: [&str; 3] = ["no", "always", "on-failure"];
const MOUNTS_MAX: usize = 1;

type Members = Map<String, Value>;

/// Everything that is wrong with the config at `at`.
pub(super) fn check(at: &At<'_>, config: &Members, problems: &mut Vec<Placed>) {
    check_image(at, config, problems);
    check_guest(at, config, problems);
    check_init(at, config, problems);
    check_restart(at, config, problems);
    check_strings(at, config, "env", problems);
    check_strings(at, config, "metadata", problems);
    check_reserved(at, config, problems);
    check_mounts(at, config, problems);
    list(at, config, "containers", problems);
    for (key, value) in config {
        check_placeholders(&at.field(key), key, value, problems);
    }
}

fn check_image(at: &At<'_>, config: &Members, problems: &mut Vec<Placed>) {
    if text(at, config, "image", problems).is_some_and(str::is_empty) {
        problems.push(at.field("image").invalid("the image must not be empty").into());
    }
}

fn check_guest(at: &At<'_>, config: &Members, problems: &mut Vec<Placed>) {
    let Some(guest) = mapping(at, config, "guest", problems) else {
        return;
    };
    let at = at.field("guest");
    one_of(&at, guest, "cpu_kind", &CPU_KINDS, problems);
    for field in ["cpus", "memory_mb"] {
        match guest.get(field) {
            None | Some(Value::Null) => {}
            Some(value) if value.as_u64().is_some_and(|number| number > 0) => {}
            Some(value) => {
                problems
                    .push(at.field(field).wrong_type("a whole number of 1 or more", value).into());
            }
        }
    }
}

fn check_init(at: &At<'_>, config: &Members, problems: &mut Vec<Placed>) {
    let Some(init) = mapping(at, config, "init", problems) else {
        return;
    };
    let at = at.field("init");
    for field in ["exec", "entrypoint", "cmd"] {
        let words = list(&at, init, field, problems).unwrap_or_default();
        let at = at.field(field);
        for (index, word) in words.iter().enumerate() {
            if !word.is_string() {
                problems.push(at.index(index).wrong_type("text", word).into());
            }
        }
    }
}

fn check_restart(at: &At<'_>, config: &Members, problems: &mut Vec<Placed>) {
    if let Some(restart) = mapping(at, config, "restart", problems) {
        one_of(&at.field("restart"), restart, "policy", &RESTART_POLICIES, problems);
    }
}

fn check_strings(at: &At<'_>, config: &Members, field: &str, problems: &mut Vec<Placed>) {
    let Some(members) = mapping(at, config, field, problems) else {
        return;
    };
    let at = at.field(field);
    for (key, value) in members {
        if !value.is_string() {
            problems.push(at.field(key).wrong_type("text", value).into());
        }
    }
}

fn check_reserved(at: &At<'_>, config: &Members, problems: &mut Vec<Placed>) {
    let Some(Value::Object(metadata)) = config.get("metadata") else {
        return;
    };
    let at = at.field("metadata");
    for key in metadata.keys().filter(|key| key.starts_with(RESERVED_METADATA_PREFIX)) {
        let message = format!(
            "the metadata key `{}` is reserved: keys that begin with \
             `{RESERVED_METADATA_PREFIX}` belong to the controller",
            shorten(key)
        );
        problems.push(Placed::key(at.field(key).invalid(message)));
    }
}

fn check_mounts(at: &At<'_>, config: &Members, problems: &mut Vec<Placed>) {
    let mounts = list(at, config, "mounts", problems).unwrap_or_default();
    let at = at.field("mounts");
    if mounts.len() > MOUNTS_MAX {
        let message = format!("a machine has one mount at most, found {}", mounts.len());
        problems.push(at.invalid(message).into());
    }
    for (index, mount) in mounts.iter().enumerate() {
        let at = at.index(index);
        let Value::Object(mount) = mount else {
            problems.push(at.wrong_type("a mapping with `volume` and `path`", mount).into());
            continue;
        };
        for field in ["volume", "path"] {
            match mount.get(field) {
                None | Some(Value::Null) => {
                    problems
                        .push(at.field(field).required(format!("missing field `{field}`")).into());
                }
                Some(Value::String(path)) if field == "path" && !path.starts_with('/') => {
                    let message = format!("expected a path from `/`, found `{}`", shorten(path));
                    problems.push(at.field(field).invalid(message).into());
                }
                Some(Value::String(_)) => {}
                Some(other) if field == "volume" => {
                    let expected = "the name of a volume of this manifest (text)";
                    problems.push(at.field(field).invalid(wrong_type(expected, other)).into());
                }
                Some(other) => problems.push(at.field(field).wrong_type("text", other).into()),
            }
        }
    }
}

fn check_placeholders(at: &At<'_>, key: &str, value: &Value, problems: &mut Vec<Placed>) {
    if key.contains("{{") {
        let message = "placeholders are replaced in values, not in keys";
        problems.push(Placed::key(at.invalid(message)));
    }
    check_value(at, value, problems);
}

fn check_value(at: &At<'_>, value: &Value, problems: &mut Vec<Placed>) {
    match value {
        Value::String(text) if text.contains("{{") => {
            let problem = |error: TemplateError| Placed::from(at.invalid(error.to_string()));
            problems.extend(template::check(text).into_iter().map(problem));
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check_value(&at.index(index), item, problems);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                check_placeholders(&at.field(key), key, member, problems);
            }
        }
        _ => {}
    }
}

fn text<'a>(
    at: &At<'_>,
    members: &'a Members,
    field: &str,
    problems: &mut Vec<Placed>,
) -> Option<&'a str> {
    match members.get(field)? {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => {
            problems.push(at.field(field).wrong_type("text", other).into());
            None
        }
    }
}

fn mapping<'a>(
    at: &At<'_>,
    members: &'a Members,
    field: &str,
    problems: &mut Vec<Placed>,
) -> Option<&'a Members> {
    match members.get(field)? {
        Value::Null => None,
        Value::Object(members) => Some(members),
        other => {
            problems.push(at.field(field).wrong_type("a mapping", other).into());
            None
        }
    }
}

fn list<'a>(
    at: &At<'_>,
    members: &'a Members,
    field: &str,
    problems: &mut Vec<Placed>,
) -> Option<&'a [Value]> {
    match members.get(field)? {
        Value::Null => None,
        Value::Array(items) => Some(items),
        other => {
            problems.push(at.field(field).wrong_type("a list", other).into());
            None
        }
    }
}

fn one_of(
    at: &At<'_>,
    members: &Members,
    field: &str,
    options: &[&str],
    problems: &mut Vec<Placed>,
) {
    let Some(found) = text(at, members, field, problems) else {
        return;
    };
    if !options.contains(&found) {
        let hint = did_you_mean(found, options.iter().copied());
        let expected = either(options.iter().copied());
        let message = format!("expected {expected}, found `{}`{hint}", shorten(found));
        problems.push(at.field(field).invalid(message).into());
    }
}
