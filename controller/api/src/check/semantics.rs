//! What a schema cannot say: names, labels, duplicates, regions. Values of a wrong type are passed
//! over; [`super::structure`] has told of them.

use std::collections::HashMap;
use std::fmt::Display;

use serde_json::{Map, Value};

use super::at::At;
use super::words::shorten;
use super::{DocumentKind, Placed, config, secrets, storage, tokens};
use crate::names::{
    check_app_name, check_group_name, check_label_key, check_label_value, check_object_name,
    check_org_slug, check_var_name, check_volume_name,
};
use crate::regions::check_region;
use crate::tenant::VAR_BYTES_MAX;

/// Most bytes of all annotations of an object together, as in Kubernetes.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

type Members = Map<String, Value>;

/// Everything that is wrong with a document of that kind beyond its structure.
pub(super) fn check(kind: DocumentKind, members: &Members) -> Vec<Placed> {
    let mut problems = Vec::new();
    let root = At::ROOT;
    if let Some(Value::Object(metadata)) = members.get("metadata") {
        check_metadata(&root.field("metadata"), metadata, &mut problems);
    }
    if let Some(Value::Object(spec)) = members.get("spec") {
        check_spec(kind, &root.field("spec"), spec, &mut problems);
    }
    problems
}

fn check_metadata(at: &At<'_>, metadata: &Members, problems: &mut Vec<Placed>) {
    check_text(at, metadata, "name", check_object_name, problems);
    if let Some(Value::Object(labels)) = metadata.get("labels") {
        let at = at.field("labels");
        for (key, value) in labels {
            check_key(&at, key, problems);
            if let Value::String(value) = value
                && let Err(error) = check_label_value(value)
            {
                let message = format!("the label's value `{}` {error}", shorten(value));
                problems.push(at.field(key).invalid(message).into());
            }
        }
    }
    if let Some(Value::Object(annotations)) = metadata.get("annotations") {
        let at = at.field("annotations");
        let mut bytes = 0;
        for (key, value) in annotations {
            check_key(&at, key, problems);
            bytes += key.len() + value.as_str().map_or(0, str::len);
        }
        if bytes > ANNOTATIONS_BYTES_MAX {
            let message =
                format!("{bytes} bytes of annotations, at most {ANNOTATIONS_BYTES_MAX} fit");
            problems.push(at.invalid(message).into());
        }
    }
}

fn check_key(at: &At<'_>, key: &str, problems: &mut Vec<Placed>) {
    if let Err(error) = check_label_key(key) {
        let message = format!("the key `{}` {error}", shorten(key));
        problems.push(Placed::key(at.field(key).invalid(message)));
    }
}

fn check_spec(kind: DocumentKind, at: &At<'_>, spec: &Members, problems: &mut Vec<Placed>) {
    check_text(at, spec, "org", check_org_slug, problems);
    if kind == DocumentKind::Tenant {
        check_text(at, spec, "class", check_object_name, problems);
    }
    check_app(kind, at, spec, problems);
    check_vars(&at.field("vars"), spec, problems);
    secrets::check(&at.field("secrets"), entries(spec, "secrets"), problems);
    check_unique(&at.field("secrets"), entries(spec, "secrets"), "secret", problems);
    check_tokens(&at.field("tokens"), spec, problems);
    check_storage(&at.field("storage"), spec, problems);
    let machines = entries(spec, "machines");
    let machines_at = at.field("machines");
    for (index, machine) in machines.iter().enumerate() {
        let Value::Object(machine) = machine else {
            continue;
        };
        let at = machines_at.index(index);
        check_text(&at, machine, "name", check_group_name, problems);
        check_region_of(&at, machine, problems);
        if let Some(Value::Object(members)) = machine.get("config") {
            config::check(&at.field("config"), members, problems);
        }
    }
    check_unique(&machines_at, machines, "machine group", problems);
    let volumes = entries(spec, "volumes");
    let volumes_at = at.field("volumes");
    for (index, volume) in volumes.iter().enumerate() {
        let Value::Object(volume) = volume else {
            continue;
        };
        let at = volumes_at.index(index);
        check_text(&at, volume, "name", check_volume_name, problems);
        check_region_of(&at, volume, problems);
    }
    check_unique(&volumes_at, volumes, "volume", problems);
}

fn check_app(kind: DocumentKind, at: &At<'_>, spec: &Members, problems: &mut Vec<Placed>) {
    check_text(at, spec, "app", check_app_name, problems);
    let app = spec.get("app");
    let is_shared = app.is_some_and(|app| app.get("shared") == Some(&Value::Bool(true)));
    let at_app = at.field("app");
    if let Some(Value::Object(app)) = app {
        check_text(&at_app, app, "name", check_app_name, problems);
    }
    if kind == DocumentKind::TenantClass && app.is_some_and(|app| !app.is_null()) && !is_shared {
        let message =
            "every tenant of the class would name this app: write `{ name: NAME, shared: true }`";
        problems.push(at_app.invalid(message).into());
    }
}

fn check_vars(at: &At<'_>, spec: &Members, problems: &mut Vec<Placed>) {
    let Some(Value::Object(vars)) = spec.get("vars") else {
        return;
    };
    for (name, value) in vars {
        if let Err(error) = check_var_name(name) {
            let message = format!("the var's name `{}` {error}", shorten(name));
            problems.push(Placed::key(at.field(name).invalid(message)));
        }
        if let Value::String(text) = value
            && text.len() > VAR_BYTES_MAX
        {
            let message =
                format!("the var's value has {} bytes, at most {VAR_BYTES_MAX} fit", text.len());
            problems.push(at.field(name).invalid(message).into());
        }
    }
}

fn check_tokens(at: &At<'_>, spec: &Members, problems: &mut Vec<Placed>) {
    let Some(Value::Object(of)) = spec.get("tokens") else {
        return;
    };
    let (at, deploy) = (at.field("deploy"), entries(of, "deploy"));
    tokens::check(&at, deploy, problems);
    check_unique(&at, deploy, "deploy token", problems);
}

fn check_storage(at: &At<'_>, spec: &Members, problems: &mut Vec<Placed>) {
    let Some(Value::Object(of)) = spec.get("storage") else {
        return;
    };
    let (at, buckets) = (at.field("buckets"), entries(of, "buckets"));
    storage::check(&at, buckets, problems);
    check_unique(&at, buckets, "bucket", problems);
}

fn entries<'a>(spec: &'a Members, list: &str) -> &'a [Value] {
    spec.get(list).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn check_region_of(at: &At<'_>, members: &Members, problems: &mut Vec<Placed>) {
    if let Some(Value::String(code)) = members.get("region")
        && let Err(error) = check_region(code)
    {
        problems.push(at.field("region").invalid(error.to_string()).into());
    }
}

fn check_text<E: Display>(
    at: &At<'_>,
    members: &Members,
    field: &str,
    rule: fn(&str) -> Result<(), E>,
    problems: &mut Vec<Placed>,
) {
    if let Some(Value::String(text)) = members.get(field)
        && let Err(error) = rule(text)
    {
        problems
            .push(at.field(field).invalid(format!("{field} `{}` {error}", shorten(text))).into());
    }
}

fn check_unique(at: &At<'_>, entries: &[Value], noun: &str, problems: &mut Vec<Placed>) {
    let mut first_of = HashMap::new();
    for (index, entry) in entries.iter().enumerate() {
        let Some(Value::String(name)) = entry.get("name") else {
            continue;
        };
        let first = *first_of.entry(name.as_str()).or_insert(index);
        if first != index {
            let first = at.index(first).path();
            let message =
                format!("two {noun}s are named `{}`: the first is {first}", shorten(name));
            problems.push(at.index(index).field("name").duplicate(message).into());
        }
    }
}
