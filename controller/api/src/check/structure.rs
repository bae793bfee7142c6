//! Structure: unknown fields, wrong types, missing fields, enumerations and ranges, as the JSON
//! Schema of the kind has them, told in words for a person who edits YAML.

use std::collections::HashSet;
use std::sync::OnceLock;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonType, ValidationError, Validator};
use serde_json::Value;

use super::at::At;
use super::words::{describe, either, shorten, wrong_type};
use super::{DocumentKind, Placed};
use crate::names::{did_you_mean, nearest};
use crate::problem::{FieldPath, Problem, Step};
use crate::regions::check_region;

/// Everything that the schema of `kind` has against `value`.
pub(super) fn check(kind: DocumentKind, value: &Value) -> Vec<Placed> {
    let schema = Schema::of(kind);
    let mut placed = Vec::new();
    if !schema.validator.is_valid(value) {
        for error in schema.validator.iter_errors(value) {
            schema.tell(value, &error, &mut placed);
        }
    }
    let mut fractions = Vec::new();
    find_fractions(value, &mut fractions);
    if !fractions.is_empty() {
        let told: HashSet<&FieldPath> = placed.iter().map(|placed| &placed.problem.path).collect();
        fractions.retain(|fraction: &Placed| !told.contains(&fraction.problem.path));
    }
    placed.extend(fractions);
    placed
}

/// A schema, and itself compiled.
struct Schema {
    source: Value,
    validator: Validator,
}

impl Schema {
    fn of(kind: DocumentKind) -> &'static Self {
        static TENANT: OnceLock<Schema> = OnceLock::new();
        static TENANT_CLASS: OnceLock<Schema> = OnceLock::new();
        match kind {
            DocumentKind::Tenant => TENANT.get_or_init(|| Self::compile(crate::schema::tenant())),
            DocumentKind::TenantClass => {
                TENANT_CLASS.get_or_init(|| Self::compile(crate::schema::tenant_class()))
            }
        }
    }

    fn compile(source: Value) -> Self {
        let validator = jsonschema::draft202012::new(&source)
            .unwrap_or_else(|error| panic!("the generated schema is valid: {error}"));
        Self { source, validator }
    }

    fn tell(&self, root: &Value, error: &ValidationError<'_>, placed: &mut Vec<Placed>) {
        let (path, found) = follow(root, error.instance_path().as_str());
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let known = self.known_fields(error);
                placed.extend(unexpected.iter().map(|name| unknown_field(&path, name, &known)));
            }
            ValidationErrorKind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                let message = format!("missing field `{name}`");
                placed.push(Problem::required(path.field(name), message).into());
            }
            // `apiVersion` and `kind` have been looked at before, with better words.
            ValidationErrorKind::Constant { .. } => {}
            ValidationErrorKind::AnyOf { context }
            | ValidationErrorKind::OneOfNotValid { context } => {
                self.tell_alternatives(root, (path, found), context, placed);
            }
            // Beside a `type`, which has told of the wrong type already.
            ValidationErrorKind::Enum { .. }
                if !found.is_string() && self.beside(error, "type").is_some() => {}
            kind => {
                if !is_identity(&path) {
                    placed.push(Problem::invalid(path.clone(), message(&path, kind, found)).into());
                }
            }
        }
    }

    /// A value that fits none of several schemas. Ours are of two forms: the words of an
    /// enumeration, and "this or null", where what `this` has against the value is what helps.
    fn tell_alternatives(
        &self,
        root: &Value,
        (path, found): (FieldPath, &Value),
        context: &[Vec<ValidationError<'static>>],
        placed: &mut Vec<Placed>,
    ) {
        let mut words = Vec::new();
        context.iter().flatten().for_each(|error| collect_words(error, &mut words));
        if !words.is_empty() {
            placed.push(Problem::invalid(path, not_one_of(&words, found)).into());
            return;
        }
        let depth = |error: &ValidationError<'_>| error.instance_path().as_str().len();
        let here = FieldPath::clone(&path);
        let best = context.iter().find(|errors| {
            !errors.iter().any(|error| {
                matches!(error.kind(), ValidationErrorKind::Type { .. })
                    && follow(root, error.instance_path().as_str()).0 == here
            })
        });
        match best {
            Some(errors) => {
                let mut errors: Vec<_> = errors.iter().collect();
                errors.sort_by_key(|error| depth(error));
                errors.into_iter().for_each(|error| self.tell(root, error, placed));
            }
            None => {
                let types: Vec<&str> = context.iter().flatten().filter_map(expected_type).collect();
                placed.push(Problem::invalid(path, wrong_type(&types.join(" or "), found)).into());
            }
        }
    }

    /// The fields that the schema of an error's mapping knows.
    fn known_fields(&self, error: &ValidationError<'_>) -> Vec<&str> {
        self.beside(error, "properties")
            .and_then(Value::as_object)
            .map(|properties| properties.keys().map(String::as_str).collect())
            .unwrap_or_default()
    }

    /// Another keyword of the schema that an error's keyword stands in.
    fn beside(&self, error: &ValidationError<'_>, keyword: &str) -> Option<&Value> {
        let (parent, _) = error.schema_path().as_str().rsplit_once('/')?;
        self.source.pointer(parent)?.get(keyword)
    }
}

/// `apiVersion` and `kind`, of which [`super::check_placed`] speaks itself.
fn is_identity(path: &FieldPath) -> bool {
    matches!(path.0.as_slice(), [Step::Field(name)] if name == "apiVersion" || name == "kind")
}

fn unknown_field(parent: &FieldPath, name: &str, known: &[&str]) -> Placed {
    let mut hint = did_you_mean(name, known.iter().copied());
    let near = hint.clone();
    if hint.is_empty() && !known.is_empty() {
        hint = format!("; known here are {}", known.join(", "));
    }
    let message = format!("unknown field `{}`{hint}", shorten(name));
    Placed { unknown: Some(near), ..Placed::key(Problem::invalid(parent.field(name), message)) }
}

fn message(path: &FieldPath, kind: &ValidationErrorKind, found: &Value) -> String {
    match kind {
        ValidationErrorKind::Type { kind } => wrong_type(&types_in_words(kind), found),
        ValidationErrorKind::Enum { options } => {
            if let (Some(Step::Field(name)), Value::String(code)) = (path.0.last(), found)
                && name == "region"
                && let Err(error) = check_region(code)
            {
                return error.to_string();
            }
            let words: Vec<String> = strings(options).map(str::to_owned).collect();
            not_one_of(&words, found)
        }
        ValidationErrorKind::Maximum { limit } => {
            format!("expected {limit} at most, found {}", describe(found))
        }
        ValidationErrorKind::Minimum { limit } => {
            format!("expected {limit} at least, found {}", describe(found))
        }
        ValidationErrorKind::MaxItems { limit } => {
            let count = found.as_array().map_or(0, Vec::len);
            format!("expected {limit} entries at most, found {count}")
        }
        other => format!("{} does not fit (`{}`)", describe(found), other.keyword()),
    }
}

fn not_one_of(words: &[String], found: &Value) -> String {
    let options = words.iter().map(String::as_str);
    let expected = either(options.clone());
    match found {
        Value::String(text) => {
            let hint = nearest(text, options)
                .map(|option| format!("; did you mean `{option}`?"))
                .unwrap_or_default();
            format!("expected {expected}, found `{}`{hint}", shorten(text))
        }
        _ => wrong_type(&expected, found),
    }
}

/// The words that an enumeration accepts, from all over the alternatives of an error.
fn collect_words(error: &ValidationError<'_>, words: &mut Vec<String>) {
    match error.kind() {
        ValidationErrorKind::Constant { expected_value } => {
            words.extend(expected_value.as_str().map(str::to_owned));
        }
        ValidationErrorKind::Enum { options } => words.extend(strings(options).map(str::to_owned)),
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            context.iter().flatten().for_each(|error| collect_words(error, words));
        }
        _ => {}
    }
}

fn strings(options: &Value) -> impl Iterator<Item = &str> {
    options.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn expected_type(error: &ValidationError<'static>) -> Option<&'static str> {
    match error.kind() {
        ValidationErrorKind::Type { kind: TypeKind::Single(JsonType::Null) } => None,
        ValidationErrorKind::Type { kind: TypeKind::Single(single) } => {
            Some(type_in_words(*single))
        }
        _ => None,
    }
}

fn types_in_words(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(single) => type_in_words(*single).to_owned(),
        TypeKind::Multiple(types) => {
            let words: Vec<&str> = types
                .iter()
                .filter(|single| *single != JsonType::Null)
                .map(type_in_words)
                .collect();
            words.join(" or ")
        }
    }
}

fn type_in_words(single: JsonType) -> &'static str {
    match single {
        JsonType::Null => "nothing",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Number => "a number",
        JsonType::String => "text",
        JsonType::Array => "a list",
        JsonType::Object => "a mapping",
    }
}

/// The value that a JSON pointer leads to, and its path. A pointer alone cannot tell the member
/// `0` from the element 0; the value can.
fn follow<'v>(root: &'v Value, pointer: &str) -> (FieldPath, &'v Value) {
    let mut path = FieldPath::default();
    let mut value = root;
    for segment in pointer.split('/').skip(1) {
        let name = segment.replace("~1", "/").replace("~0", "~");
        let next = match value {
            Value::Array(items) => name.parse::<usize>().ok().and_then(|index| {
                path.0.push(Step::Index(index));
                items.get(index)
            }),
            _ => {
                path.0.push(Step::Field(name.clone()));
                value.get(&name)
            }
        };
        match next {
            Some(next) => value = next,
            None => break,
        }
    }
    (path, value)
}

/// JSON Schema takes `2.0` for a whole number, the types do not. Every number of a document outside
/// of Fly's machine config and free text is a whole one.
fn find_fractions(value: &Value, placed: &mut Vec<Placed>) {
    fn walk(at: &At<'_>, value: &Value, placed: &mut Vec<Placed>) {
        match value {
            // A true fraction is the schema's to refuse.
            Value::Number(number)
                if number.as_f64().is_some_and(|number| number.fract() == 0.0)
                    && number.is_f64() =>
            {
                let message = format!("expected a whole number without a point, found {number}");
                placed.push(at.invalid(message).into());
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    walk(&at.index(index), item, placed);
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    if name != "config" && name != "managedFields" {
                        walk(&at.field(name), member, placed);
                    }
                }
            }
            _ => {}
        }
    }
    walk(&At::ROOT, value, placed);
}
