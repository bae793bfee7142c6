//! How messages speak of values: what was found, what is expected.

use serde_json::Value;

/// Longest piece of a document that is repeated in a message, in characters.
const SHOWN_LENGTH_MAX: usize = 60;

/// A piece of a document, fit for a message: shortened, and without control characters, which
/// could otherwise steer the terminal that shows the message.
pub(crate) fn shorten(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(SHOWN_LENGTH_MAX)
        .flat_map(|character| {
            let (escaped, plain) = if character.is_control() {
                (Some(character.escape_default()), None)
            } else {
                (None, Some(character))
            };
            escaped.into_iter().flatten().chain(plain)
        })
        .collect();
    if text.chars().nth(SHOWN_LENGTH_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// A value in words: ``the text `x` ``, `the number 8080`, `a list`.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing (null)".to_owned(),
        Value::Bool(flag) => format!("the boolean {flag}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text `{}`", shorten(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

/// The message about a value of a wrong type; `expected` is in words, such as `text`.
pub(crate) fn wrong_type(expected: &str, found: &Value) -> String {
    let hint = match found {
        Value::Bool(_) | Value::Number(_) if expected.contains("text") => {
            format!("; quote it: \"{found}\"")
        }
        Value::String(text)
            if expected.contains("number")
                && serde_json::from_str::<serde_json::Number>(text).is_ok() =>
        {
            "; remove the quotes".to_owned()
        }
        _ => String::new(),
    };
    format!("expected {expected}, found {}{hint}", describe(found))
}

/// `` `a`, `b` or `c` ``.
pub(crate) fn either<'a>(options: impl IntoIterator<Item = &'a str>) -> String {
    let mut options: Vec<String> =
        options.into_iter().map(|option| format!("`{option}`")).collect();
    let Some(last) = options.pop() else {
        return "nothing".to_owned();
    };
    if options.is_empty() { last } else { format!("{} or {last}", options.join(", ")) }
}
