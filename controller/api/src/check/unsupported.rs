//! What vaultctl is going to support and does not yet: refused by name, never ignored, and never
//! called unknown.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::Placed;
use super::at::At;
use crate::problem::{Problem, Step};

/// Fields of `spec`, of tenants and classes alike.
const SPEC_FIELDS: [&str; 1] = ["rootfs"];

/// Adds the problems of what is not supported yet, in place of all others at or beneath the same
/// path.
pub(super) fn replace(members: &Map<String, Value>, placed: &mut Vec<Placed>) {
    let found = find(members);
    if found.is_empty() {
        return;
    }
    let paths: HashSet<&[Step]> =
        found.iter().map(|found| found.problem.path.0.as_slice()).collect();
    placed.retain(|placed| {
        let steps = &placed.problem.path.0;
        !(1..=steps.len()).any(|length| paths.contains(&steps[..length]))
    });
    placed.extend(found);
}

fn find(members: &Map<String, Value>) -> Vec<Placed> {
    let mut placed = Vec::new();
    let root = At::ROOT;
    let at = root.field("spec");
    let Some(Value::Object(spec)) = members.get("spec") else {
        return placed;
    };
    find_fields(&at, spec, &SPEC_FIELDS, &mut placed);
    placed
}

fn find_fields(
    at: &At<'_>,
    members: &Map<String, Value>,
    fields: &[&'static str],
    placed: &mut Vec<Placed>,
) {
    for name in fields {
        if members.contains_key(*name) {
            placed.push(Placed::key(not_yet(&at.field(name), name)));
        }
    }
}

fn not_yet(at: &At<'_>, what: &str) -> Problem {
    at.not_supported(format!("`{what}` is not supported yet"))
}
