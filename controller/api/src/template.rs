//! Placeholders in the strings of a machine's config: `{{tenant}}`, `{{index}}` and
//! `{{vars.NAME}}`.
//!
//! Substitution is one pass: what is put in is never looked at again. Spaces inside the braces are
//! allowed. Placeholders stand in values only, not in keys. A `{{` without a `}}` after it is an
//! error rather than text, because it is nearly always a typing mistake and there would be no way
//! to see it in the running machine; a `}}` alone and single braces are text. There is no way to
//! write a literal `{{`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};
use thiserror::Error;

use crate::names::{NameError, check_var_name, did_you_mean};

/// The placeholders that are replaced, besides those of [`VARS_PREFIX`].
pub const PLACEHOLDERS: [&str; 2] = ["tenant", "index"];
/// What the placeholders of `spec.vars` begin with.
pub const VARS_PREFIX: &str = "vars.";

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
    /// `{{vars.…}}` with something that cannot be the name of a var.
    #[error("the name of the var in `{{{{{name}}}}}` {reason}")]
    VarName {
        /// The name as written, shortened.
        name: String,
        /// The rule that it breaks.
        reason: NameError,
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
    /// To be replaced by the var of this name.
    Var(&'t str),
}

/// What placeholders are replaced by.
#[derive(Clone, Copy, Debug)]
pub struct Values<'v> {
    /// The tenant's name.
    pub tenant: &'v str,
    /// The machine's index in its group.
    pub index: u32,
    /// The vars of the tenant and its class.
    pub vars: &'v BTreeMap<String, String>,
}

/// The names of the vars that `text` asks for, in order, each as often as it stands there.
pub fn vars(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).filter_map(|piece| match piece {
        Piece::Var(name) => Some(name),
        Piece::Text(_) | Piece::Tenant | Piece::Index => None,
    })
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
fn next_hole(text: &str) -> Option<(usize, usize, Option<Piece<'_>>)> {
    let mut from = 0;
    loop {
        let open = from + text[from..].find(OPEN)?;
        let inside = open + OPEN.len();
        let close = inside + text[inside..].find(CLOSE)?;
        let end = close + CLOSE.len();
        match text[inside..close].trim() {
            "tenant" => return Some((open, end, Some(Piece::Tenant))),
            "index" => return Some((open, end, Some(Piece::Index))),
            name => match name.strip_prefix(VARS_PREFIX) {
                Some(var) if check_var_name(var).is_ok() => {
                    return Some((open, end, Some(Piece::Var(var))));
                }
                _ => from = end,
            },
        }
    }
}

/// `text` with its placeholders replaced; borrowed if there are none. A placeholder that
/// [`check`] would refuse stays as it is, and so does one of a var that is not there.
#[must_use]
pub fn substitute<'t>(text: &'t str, values: Values<'_>) -> Cow<'t, str> {
    // Looking for one byte is much quicker than for two, and nearly always enough.
    if !text.as_bytes().contains(&b'{') || !text.contains(OPEN) {
        return Cow::Borrowed(text);
    }
    let mut output = String::with_capacity(text.len() + values.tenant.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => output.push_str(text),
            Piece::Tenant => output.push_str(values.tenant),
            Piece::Index => output.push_str(&values.index.to_string()),
            Piece::Var(name) => match values.vars.get(name) {
                Some(value) => output.push_str(value),
                None => output.extend([OPEN, VARS_PREFIX, name, CLOSE]),
            },
        }
    }
    Cow::Owned(output)
}

/// A machine's config with the placeholders of all its strings replaced; keys stay as they are.
#[must_use]
pub fn substitute_config(config: &Map<String, Value>, values: Values<'_>) -> Map<String, Value> {
    config.iter().map(|(key, value)| (key.clone(), substitute_value(value, values))).collect()
}

fn substitute_value(value: &Value, values: Values<'_>) -> Value {
    match value {
        Value::String(text) => Value::String(substitute(text, values).into_owned()),
        Value::Array(items) => items.iter().map(|item| substitute_value(item, values)).collect(),
        Value::Object(members) => Value::Object(substitute_config(members, values)),
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
    } else if let Some(var) = name.strip_prefix(VARS_PREFIX) {
        let reason = check_var_name(var).err()?;
        TemplateError::VarName { name: shown, reason }
    } else {
        let mut hint = did_you_mean(name, PLACEHOLDERS);
        if hint.is_empty() {
            "; known are `{{tenant}}`, `{{index}}` and `{{vars.NAME}}`".clone_into(&mut hint);
        }
        TemplateError::Unknown { name: shown, hint }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with_vars<R>(vars: &[(&str, &str)], run: impl FnOnce(&BTreeMap<String, String>) -> R) -> R {
        run(&vars.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    fn replaced<'t>(text: &'t str, tenant: &str, index: u32) -> Cow<'t, str> {
        let vars = [("plan", "pro"), ("nested", "{{tenant}}{{vars.plan}}")];
        with_vars(&vars, |vars| substitute(text, Values { tenant, index, vars }))
    }

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
            ("{{vars.plan}}-{{ vars.plan }}", "pro-pro"),
            ("{{vars.nested}}", "{{tenant}}{{vars.plan}}"),
            ("{{vars.other}} {{index}}", "{{vars.other}} 3"),
            ("{{vars.}} {{vars.a b}} {{index}}", "{{vars.}} {{vars.a b}} 3"),
        ];
        for (text, expected) in table {
            assert_eq!(replaced(text, "acme", 3), expected, "{text}");
        }
        assert!(matches!(replaced("plain", "acme", 0), Cow::Borrowed("plain")));
        assert_eq!(replaced("{{tenant}}", "{{index}}", 3), "{{index}}");
        assert_eq!(
            vars("{{vars.b}}{{tenant}}{{vars.a}}{{vars.b}}").collect::<Vec<_>>(),
            ["b", "a", "b"]
        );
    }

    #[test]
    fn a_config_is_replaced_to_its_depth() {
        let config = serde_json::json!({
            "env": { "TENANT": "{{tenant}}", "{{index}}": "x" },
            "init": { "exec": ["/bin/run", "{{index}}", 1, null] },
        });
        let Value::Object(config) = config else { unreachable!() };
        let replaced = with_vars(&[], |vars| {
            substitute_config(&config, Values { tenant: "acme", index: 2, vars })
        });
        assert_eq!(
            Value::Object(replaced),
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
            messages("{{x}} {{vars.plan}} {{vars.1}} {{"),
            [
                "unknown placeholder `{{x}}`; known are `{{tenant}}`, `{{index}}` and `{{vars.NAME}}`",
                "the name of the var in `{{vars.1}}` must begin with a letter or an underscore",
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
                    Just("{{tenant}}"), Just("{{index}}"), Just("{{vars.nested}}"), Just("x"),
                    Just("{ "), Just("}"),
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
                    "{{vars.nested}}" => "{{tenant}}{{vars.plan}}",
                    other => other,
                })
                .collect();
            prop_assert_eq!(replaced(&parts.concat(), tenant, 7).into_owned(), expected);
        }
    }
}
