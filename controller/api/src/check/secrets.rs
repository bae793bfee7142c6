//! `spec.secrets`: names of environment variables, and the places that a manifest may name.

use serde_json::Value;

use super::Placed;
use super::at::At;
use super::words::shorten;
use crate::names::check_env_name;
use crate::tenant::SECRET_ENV_PREFIX;

/// What machines find the tenant's own secret in. A manifest that set it would lock out everybody.
const RESERVED: &str = "VAULT_TENANT_SECRET";

/// Everything that is wrong with the entries beyond their structure.
pub(super) fn check(at: &At<'_>, entries: &[Value], problems: &mut Vec<Placed>) {
    for (index, entry) in entries.iter().enumerate() {
        let at = at.index(index);
        if let Some(Value::String(name)) = entry.get("name") {
            check_name(&at.field("name"), name, problems);
        }
        if let Some(from @ Value::Object(_)) = entry.get("from") {
            check_from(&at.field("from"), from, problems);
        }
    }
}

fn check_name(at: &At<'_>, name: &str, problems: &mut Vec<Placed>) {
    if name == RESERVED {
        let message = format!("`{RESERVED}` is reserved: the controller sets it by itself");
        problems.push(at.invalid(message).into());
    } else if let Err(error) = check_env_name(name) {
        let message = format!("the secret's name `{}` {error}", shorten(name));
        problems.push(at.invalid(message).into());
    }
}

fn check_from(at: &At<'_>, from: &Value, problems: &mut Vec<Placed>) {
    let text = |field: &str| from.get(field).filter(|value| !value.is_null());
    let (env, file) = (text("env"), text("file"));
    if env.is_some() == file.is_some() {
        let message = "a secret comes from `env` or from `file`, exactly one of them";
        problems.push(at.invalid(message).into());
    }
    if let Some(Value::String(name)) = env {
        let at = at.field("env");
        if !name.starts_with(SECRET_ENV_PREFIX) {
            let message = format!(
                "a manifest may name only environment variables that begin with \
                 `{SECRET_ENV_PREFIX}`, not `{}`",
                shorten(name)
            );
            problems.push(at.invalid(message).into());
        } else if let Err(error) = check_env_name(name) {
            let message = format!("the variable's name `{}` {error}", shorten(name));
            problems.push(at.invalid(message).into());
        }
    }
    if let Some(Value::String(path)) = file {
        let is_inside = !path.is_empty()
            && !path.contains('\0')
            && path.split('/').all(|step| !matches!(step, "" | "." | ".."));
        if !is_inside {
            let message = format!(
                "expected a path beneath the controller's --secrets-dir, such as `acme/db`, found \
                 `{}`",
                shorten(path)
            );
            problems.push(at.field("file").invalid(message).into());
        }
    }
}
