//! The order of objects by one of their fields, as `--sort-by` of kubectl has it.

use std::cmp::Ordering;

use serde_json::Value;

use super::jsonpath::{Template, TemplateError, field};
use crate::error::{Exit, Failure};
use crate::object::Object;

/// A field to sort by.
#[derive(Clone, Debug)]
pub(crate) struct SortKey {
    text: String,
    path: Template,
}

impl SortKey {
    /// Sorts; objects without the field come first, equals stay in their order.
    ///
    /// # Errors
    /// No object has the field: it is misspelt, most likely.
    pub(crate) fn sort(&self, objects: &mut [Object]) -> Result<(), Failure> {
        if !objects.is_empty() && !objects.iter().any(|object| self.path.finds(&object.0)) {
            let message = format!("no object has the field {} to sort by", self.text);
            return Err(Failure::new(Exit::BadInput, message));
        }
        objects.sort_by(|one, other| {
            let first = |object| Template::values(&self.path, object).into_iter().next();
            compare(first(&one.0), first(&other.0))
        });
        Ok(())
    }
}

impl std::str::FromStr for SortKey {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        Ok(Self { text: text.to_owned(), path: field(text)? })
    }
}

fn compare(one: Option<&Value>, other: Option<&Value>) -> Ordering {
    match (one, other) {
        (Some(Value::Number(one)), Some(Value::Number(other))) => {
            one.as_f64().partial_cmp(&other.as_f64()).unwrap_or(Ordering::Equal)
        }
        (Some(Value::String(one)), Some(Value::String(other))) => natural(one, other),
        (Some(one), Some(other)) => natural(&one.to_string(), &other.to_string()),
        (one, other) => one.is_some().cmp(&other.is_some()),
    }
}

/// `box-9` before `box-10`: runs of digits count as numbers.
fn natural(one: &str, other: &str) -> Ordering {
    let (mut one_rest, mut other_rest) = (one, other);
    loop {
        let (one_run, one_digits) = run(&mut one_rest);
        let (other_run, other_digits) = run(&mut other_rest);
        let order = if one_digits && other_digits {
            let (one_number, other_number) =
                (one_run.trim_start_matches('0'), other_run.trim_start_matches('0'));
            one_number.len().cmp(&other_number.len()).then_with(|| one_number.cmp(other_number))
        } else {
            one_run.cmp(other_run)
        };
        if order != Ordering::Equal {
            return order;
        }
        if one_run.is_empty() && other_run.is_empty() {
            return one.cmp(other);
        }
    }
}

/// Takes the next run of digits, or of anything else.
fn run<'t>(text: &mut &'t str) -> (&'t str, bool) {
    let is_digit = |letter: char| letter.is_ascii_digit();
    let starts_with_digit = text.starts_with(is_digit);
    let end = text.find(|letter| is_digit(letter) != starts_with_digit).unwrap_or(text.len());
    let (taken, rest) = text.split_at(end);
    *text = rest;
    (taken, starts_with_digit)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sorted(key: &str, values: &[Value]) -> Vec<Value> {
        let mut objects: Vec<Object> =
            values.iter().map(|value| Object(json!({ "a": value }))).collect();
        key.parse::<SortKey>().unwrap().sort(&mut objects).unwrap();
        objects.into_iter().map(|object| object.0["a"].clone()).collect()
    }

    #[test]
    fn numbers_and_the_numbers_in_names_count() {
        let names = ["b", "box-10", "box-9", "box-9a", "a10b2", "a10b1", ""].map(|one| json!(one));
        assert_eq!(
            sorted(".a", &names),
            ["", "a10b1", "a10b2", "b", "box-9", "box-9a", "box-10"].map(|one| json!(one))
        );
        assert_eq!(sorted("{.a}", &[json!(10), json!(9.5)]), [json!(9.5), json!(10)]);
    }

    #[test]
    fn a_field_that_is_nowhere_is_a_mistake() {
        let mut objects = [Object(json!({ "a": 1 })), Object(json!({ "b": 1 }))];
        ".a".parse::<SortKey>().unwrap().sort(&mut objects).unwrap();
        assert_eq!(objects[1].0, json!({ "a": 1 }), "those without it come first");
        assert!(".c".parse::<SortKey>().unwrap().sort(&mut objects).is_err());
        assert!(".c".parse::<SortKey>().unwrap().sort(&mut []).is_ok());
    }
}
