//! Placeholders of vars that neither the tenant nor its class has.

use serde_json::{Map, Value};

use super::{Place, Resolution};
use crate::check::at::At;
use crate::check::words::shorten;
use crate::names::did_you_mean;
use crate::problem::{FieldPath, Problem, Step};
use crate::template::{VARS_PREFIX, vars};

impl Resolution<'_> {
    /// Finds the vars of a group's merged config that are not there. `own` is what the tenant's
    /// document says of that config.
    pub(super) fn check_vars(
        &mut self,
        place: &Place,
        own: Option<&Map<String, Value>>,
        config: &Map<String, Value>,
    ) {
        let mut unknown = Vec::new();
        for (key, value) in config {
            self.find_unknown(&mut vec![Step::Field(key.clone())], value, &mut unknown);
        }
        for (steps, name) in unknown {
            let hint = did_you_mean(&name, self.vars.keys().map(String::as_str));
            let message = format!("there is no var `{}`{hint}", shorten(&name));
            let is_own = own.is_some_and(|own| says(own, &steps, &name));
            let problem = match place.own.filter(|_| is_own) {
                Some(index) => own_problem(place.list, index, steps, message),
                None => {
                    let shown = FieldPath(steps).to_string();
                    self.blame(place, false, &["config", &shown], message)
                }
            };
            self.problems.push(problem);
        }
    }

    fn find_unknown(
        &self,
        steps: &mut Vec<Step>,
        value: &Value,
        unknown: &mut Vec<(Vec<Step>, String)>,
    ) {
        match value {
            Value::String(text) if text.contains(VARS_PREFIX) => {
                let missing = vars(text).filter(|name| !self.vars.contains_key(*name));
                unknown.extend(missing.map(|name| (steps.clone(), name.to_owned())));
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    steps.push(Step::Index(index));
                    self.find_unknown(steps, item, unknown);
                    steps.pop();
                }
            }
            Value::Object(members) => {
                for (key, member) in members {
                    steps.push(Step::Field(key.clone()));
                    self.find_unknown(steps, member, unknown);
                    steps.pop();
                }
            }
            _ => {}
        }
    }
}

/// Whether a config itself asks for a var at this place.
fn says(config: &Map<String, Value>, steps: &[Step], name: &str) -> bool {
    let mut steps = steps.iter();
    let Some(Step::Field(first)) = steps.next() else {
        return false;
    };
    let value = steps.try_fold(config.get(first), |value, step| {
        let value = value?;
        Some(match step {
            Step::Field(key) => value.get(key),
            Step::Index(index) => value.get(index),
        })
    });
    let Some(Some(Value::String(text))) = value else {
        return false;
    };
    vars(text).any(|var| var == name)
}

fn own_problem(list: &str, index: usize, steps: Vec<Step>, message: String) -> Problem {
    let root = At::ROOT;
    let spec = root.field("spec");
    let entries = spec.field(list);
    let mut path = entries.index(index).field("config").path();
    path.0.extend(steps);
    Problem::invalid(path, message)
}
