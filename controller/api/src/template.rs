//! Placeholders in the strings of a machine's config: `{{tenant}}` and `{{index}}`.
//!
//! Substitution is one pass: what is put in is never looked at again. Spaces inside the braces are
//! allowed. Placeholders stand in values only, not in keys. A `{{` without a `}}` after it is an
//! error rather than text, because it is nearly always a typing mistake and there would be no way
//! to see it in the running machine; a `}}` alone and single braces are text. There is no way to
//! write a literal `{{`.

use std::borrow::Cow;

use serde_json::{Map, Value};
use thiserror::Error;

use crate::names::did_you_mean;

/// The placeholders that are replaced.
pub const PLACEHOLDERS: [&str; 2] = ["tenant", "index"];

const OPEN: &str = "{{";
const CLOSE: &str = "}}";

/// What is wrong with the placeholders of one string.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// A `{{` without a `}}` after it.
    #[error("`{{{{` has no `}}}}` after it")]
    Unclosed,
    /// A name that is not known.
    #[error("unknown placeholder `{{{{{name}}}}}`{hint}")]
    Unknown {
        /// The name as written, shortened.
        name: String,
        /// The nearest known name, or all of them.
        hint: String,
    },
    /// `{{vars.…}}`: planned, but not there yet.
    #[error("the placeholder `{{{{{name}}}}}` is not supported yet")]
    NotSupported {
        /// The name as written, shortened.
        name: String,
    },
    /// `{{access_token}}`.
    #[error(
        "`{{{{access_token}}}}` is refused: tokens are no longer pasted into a machine's config, \
         where everyone who can list machines can read them"
    )]
    PastedToken,
}

/// Everything that is wrong with the placeholders of `text`, in order.
#[must_use]
pub fn check(text: &str) -> Vec<TemplateError> {
    let mut errors = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(OPEN) {
        let Some((name, after)) = after.split_once(CLOSE) else {
            errors.push(TemplateError::Unclosed);
            break;
        };
        errors.extend(check_name(name.trim()));
        rest = after;
    }
    errors
}

/// A stretch of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'t> {
    /// Stands as it is.
    Text(&'t str),
    /// To be replaced by the tenant's name.
    Tenant,
    /// To be replaced by the machine's index.
    Index,
}

/// Cuts a text at its placeholders. A placeholder that [`check`] would refuse is text.
pub fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    let mut hole = None;
    std::iter::from_fn(move || {
        if let Some(piece) = hole.take() {
            return Some(piece);
        }
        let (end, next, found) = next_hole(rest).unwrap_or((rest.len(), rest.len(), None));
        let before = &rest[..end];
        rest = &rest[next..];
        hole = found;
        match before {
            "" => hole.take(),
            before => Some(Piece::Text(before)),
        }
    })
}

/// Where the next placeholder begins and ends, and what it stands for.
fn next_hole(text: &str) -> Option<(usize, usize, Option<Piece<'static>>)> {
    let mut from = 0;
    loop {
        let open = from + text[from..].find(OPEN)?;
        let inside = open + OPEN.len();
        let close = inside + text[inside..].find(CLOSE)?;
        let end = close + CLOSE.len();
        match text[inside..close].trim() {
            "tenant" => return Some((open, end, Some(Piece::Tenant))),
            "index" => return Some((open, end, Some(Piece::Index))),
            _ => from = end,
        }
    }
}

/// `text` with its placeholders replaced; borrowed if there are none. A placeholder that
/// [`check`] would refuse stays as it is.
#[must_use]
pub fn substitute<'t>(text: &'t str, tenant: &str, index: u32) -> Cow<'t, str> {
    // Looking for one byte is much quicker than for two, and nearly always enough.
    if !text.as_bytes().contains(&b'{') || !text.contains(OPEN) {
        return Cow::Borrowed(text);
    }
    let mut output = String::with_capacity(text.len() + tenant.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => output.push_str(text),
            Piece::Tenant => output.push_str(tenant),
            Piece::Index => output.push_str(&index.to_string()),
        }
    }
    Cow::Owned(output)
}

/// A machine's config with the placeholders of all its strings replaced; keys stay as they are.
#[must_use]
pub fn substitute_config(
    config: &Map<String, Value>,
    tenant: &str,
    index: u32,
) -> Map<String, Value> {
    config
        .iter()
        .map(|(key, value)| (key.clone(), substitute_value(value, tenant, index)))
        .collect()
}

fn substitute_value(value: &Value, tenant: &str, index: u32) -> Value {
    match value {
        Value::String(text) => Value::String(substitute(text, tenant, index).into_owned()),
        Value::Array(items) => {
            items.iter().map(|item| substitute_value(item, tenant, index)).collect()
        }
        Value::Object(members) => Value::Object(substitute_config(members, tenant, index)),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn check_name(name: &str) -> Option<TemplateError> {
    if PLACEHOLDERS.contains(&name) {
        return None;
    }
    let shown = crate::check::words::shorten(name);
    Some(if name == "access_token" {
        TemplateError::PastedToken
    } else if name == "vars" || name.starts_with("vars.") {
        TemplateError::NotSupported { name: shown }
    } else {
        let mut hint = did_you_mean(name, PLACEHOLDERS);
        if hint.is_empty() {
            "; known are `{{tenant}}` and `{{index}}`".clone_into(&mut hint);
        }
        TemplateError::Unknown { name: shown, hint }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn placeholders_are_replaced_in_one_pass() {
        let table = [
            ("plain", "plain"),
            ("{{tenant}}-{{index}}", "acme-3"),
            ("{{ tenant }}", "acme"),
            ("{{tenant}}{{tenant}}", "acmeacme"),
            ("{ {tenant} }", "{ {tenant} }"),
            ("}}{{index}}", "}}3"),
            ("{{other}} {{index}}", "{{other}} 3"),
            ("{{tenant}} {{index", "acme {{index"),
        ];
        for (text, expected) in table {
            assert_eq!(substitute(text, "acme", 3), expected, "{text}");
        }
        assert!(matches!(substitute("plain", "acme", 0), Cow::Borrowed("plain")));
        assert_eq!(substitute("{{tenant}}", "{{index}}", 3), "{{index}}");
    }

    #[test]
    fn a_config_is_replaced_to_its_depth() {
        let config = serde_json::json!({
            "env": { "TENANT": "{{tenant}}", "{{index}}": "x" },
            "init": { "exec": ["/bin/run", "{{index}}", 1, null] },
        });
        let Value::Object(config) = config else { unreachable!() };
        assert_eq!(
            Value::Object(substitute_config(&config, "acme", 2)),
            serde_json::json!({
                "env": { "TENANT": "acme", "{{index}}": "x" },
                "init": { "exec": ["/bin/run", "2", 1, null] },
            })
        );
    }

    #[test]
    fn bad_placeholders_are_all_found() {
        let messages = |text| check(text).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(messages("{{tenant}} {{ index }} } {").is_empty());
        assert_eq!(
            messages("{{tenat}}"),
            ["unknown placeholder `{{tenat}}`; did you mean `tenant`?"]
        );
        assert_eq!(
            messages("{{x}} {{vars.plan}} {{"),
            [
                "unknown placeholder `{{x}}`; known are `{{tenant}}` and `{{index}}`",
                "the placeholder `{{vars.plan}}` is not supported yet",
                "`{{` has no `}}` after it",
            ]
        );
        assert!(messages("{{access_token}}")[0].contains("tokens are no longer pasted"));
    }

    proptest! {
        /// What is put in is never expanded: marking the tenant's name with characters that no
        /// pass would produce shows each of them again, once per placeholder.
        #[test]
        fn substitution_is_one_pass(
            parts in prop::collection::vec(
                // A lone `{` is followed by a space here, so that it never makes a `{{` with its
                // neighbour: where that is found is the table's matter.
                prop_oneof![
                    Just("{{tenant}}"), Just("{{index}}"), Just("x"), Just("{ "), Just("}"),
                ],
                0..12,
            ),
            tenant in prop_oneof![Just("{{index}}"), Just("{{tenant}}"), Just("{{"), Just("a")],
        ) {
            let expected: String = parts
                .iter()
                .map(|part| match *part {
                    "{{tenant}}" => tenant,
                    "{{index}}" => "7",
                    other => other,
                })
                .collect();
            prop_assert_eq!(substitute(&parts.concat(), tenant, 7).into_owned(), expected);
        }
    }
}
