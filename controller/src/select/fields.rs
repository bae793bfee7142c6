//! Field selectors: `metadata.name=acme,involvedObject.kind!=Tenant`.

use serde_json::Value;
use thiserror::Error;

/// A field that can be selected by, and where it stands in an object.
pub type Field = (&'static str, &'static str);

/// How many requirements one selector may have: more than there are fields.
const REQUIREMENTS_MAX: usize = 100;

/// What an object's fields must be; all requirements hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<Requirement>);

/// Why a text is no field selector.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FieldSelectorError {
    /// A part is no requirement.
    #[error("{0:?} is not a requirement such as field=value or field!=value")]
    Part(String),
    /// There is no such field, or it cannot be selected by.
    #[error("field label not supported: {field}; what can be selected by: {known}")]
    Unsupported {
        /// The field.
        field: String,
        /// Those that can.
        known: String,
    },
    /// A backslash stands where it must not.
    #[error(
        "in {0:?} a backslash stands before something else than a comma, an equals sign or a \
         backslash"
    )]
    Escape(String),
    /// An equals sign stands in a value without a backslash.
    #[error("in {0:?} an equals sign needs a backslash before it")]
    Equals(String),
    /// There are too many requirements.
    #[error("a field selector has at most {REQUIREMENTS_MAX} requirements")]
    TooMany,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    field: Field,
    value: String,
    equal: bool,
}

impl FieldSelector {
    /// Reads Kubernetes' grammar: `field=value`, `field==value` and `field!=value`, with commas
    /// between; a backslash before a comma, an equals sign or a backslash makes it part of a value.
    ///
    /// # Errors
    /// If it is not that, or names a field that is not among `known`.
    pub fn read(text: &str, known: &[Field]) -> Result<Self, FieldSelectorError> {
        let parts = split(text)?;
        if parts.len() > REQUIREMENTS_MAX {
            return Err(FieldSelectorError::TooMany);
        }
        let requirements = parts.iter().filter(|part| !part.is_empty()).map(|part| {
            let (name, value, equal) =
                operands(part).ok_or_else(|| FieldSelectorError::Part((*part).to_owned()))?;
            let field = *known.iter().find(|(known, _)| *known == name).ok_or_else(|| {
                let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                FieldSelectorError::Unsupported { field: name.to_owned(), known: names.join(", ") }
            })?;
            Ok(Requirement { field, value: unescaped(value)?, equal })
        });
        requirements.collect::<Result<_, _>>().map(Self)
    }

    /// Whether every object is selected.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this object, in its API form, is selected. A field that it lacks is empty.
    #[must_use]
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|wanted| {
            let found = object.pointer(wanted.field.1).and_then(Value::as_str).unwrap_or_default();
            (found == wanted.value) == wanted.equal
        })
    }

    /// The value that a field must have, if there is just one.
    #[must_use]
    pub fn required(&self, field: &str) -> Option<&str> {
        let found = self.0.iter().find(|one| one.equal && one.field.0 == field);
        found.map(|one| one.value.as_str())
    }
}

/// The parts between commas that no backslash stands before, still with their backslashes.
fn split(text: &str) -> Result<Vec<&str>, FieldSelectorError> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (position, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..position]);
                start = position + 1;
            }
            _ => {}
        }
    }
    if escaped {
        return Err(FieldSelectorError::Escape(text.to_owned()));
    }
    parts.push(&text[start..]);
    Ok(parts)
}

/// Field, value still with its backslashes, and whether they must be equal. Fields hold neither
/// equals signs nor exclamation marks.
fn operands(part: &str) -> Option<(&str, &str, bool)> {
    let (field, value) = part.split_once('=')?;
    match field.strip_suffix('!') {
        Some(field) => Some((field, value, false)),
        None => Some((field, value.strip_prefix('=').unwrap_or(value), true)),
    }
}

fn unescaped(text: &str) -> Result<String, FieldSelectorError> {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some(special @ ('\\' | ',' | '=')) => plain.push(special),
                _ => return Err(FieldSelectorError::Escape(text.to_owned())),
            },
            '=' => return Err(FieldSelectorError::Equals(text.to_owned())),
            other => plain.push(other),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FIELDS: &[Field] = &[
        ("involvedObject.kind", "/involvedObject/kind"),
        ("involvedObject.name", "/involvedObject/name"),
        ("involvedObject.namespace", "/involvedObject/namespace"),
        ("reason", "/reason"),
    ];

    fn read(text: &str) -> FieldSelector {
        FieldSelector::read(text, FIELDS).unwrap()
    }

    #[test]
    fn selectors_select_as_kubernetes_does() {
        let event = json!({
            "involvedObject": { "kind": "Tenant", "name": "acme" }, "reason": "a,b=c\\d",
        });
        for (text, selected) in [
            ("", true),
            ("involvedObject.name=acme", true),
            ("involvedObject.name==acme,involvedObject.kind=Tenant", true),
            ("involvedObject.name!=acme", false),
            ("involvedObject.name!=umbra", true),
            ("involvedObject.name=acme,involvedObject.kind=TenantClass", false),
            ("involvedObject.namespace=,involvedObject.name=acme", true),
            ("involvedObject.name=", false),
            (r"reason=a\,b\=c\\d", true),
        ] {
            assert_eq!(read(text).matches(&event), selected, "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in
            ["reason", "message=x", "=x", r"reason=\", r"reason=\x", "reason=a=b", "a!b=c", "=="]
        {
            assert!(FieldSelector::read(text, FIELDS).is_err(), "{text}");
        }
    }

    #[test]
    fn only_an_equality_requires_a_value() {
        assert_eq!(read("reason=x").required("reason"), Some("x"));
        assert_eq!(read("reason!=x").required("reason"), None);
        assert_eq!(read("reason=x").required("involvedObject.name"), None);
    }
}
