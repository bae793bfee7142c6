//! The part of the query language that such clients write: one operation, fields with arguments and
//! selections. Fragments, directives and aliases are refused by name.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The longest document, in bytes: the largest that a client sends has a few hundred.
const DOCUMENT_BYTES_MAX: usize = 16 * 1024;
/// How deep selections may nest: a bound on the parser's stack.
const DEPTH_MAX: usize = 16;

/// Fields whose values have members, and yet are scalars.
const JSON_SCALARS: &[&str] = &["profileParams"];

/// A field with its arguments and what is selected of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Selection {
    pub(super) name: String,
    pub(super) arguments: BTreeMap<String, Value>,
    pub(super) selections: Vec<Self>,
}

/// Reads a document with its variables; the root fields.
pub(super) fn parse(text: &str, variables: &Map<String, Value>) -> Result<Vec<Selection>, String> {
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(format!("The query is over {DOCUMENT_BYTES_MAX} bytes"));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, variables };
    if matches!(parser.peek(), Some("query" | "mutation")) {
        parser.at += 1;
        if parser.peek().is_some_and(is_name) {
            parser.at += 1;
        }
        if parser.peek() == Some("(") {
            // The variables' types: what they hold is checked where it is used.
            while parser.next()? != ")" {}
        }
    }
    let selections = parser.selections(0)?;
    match parser.peek() {
        None => Ok(selections),
        Some(rest) => Err(format!("Parse error on {rest:?}: one operation is understood")),
    }
}

/// Cuts a value to what is selected of it.
pub(super) fn select(selection: &Selection, value: &Value) -> Result<Value, String> {
    match value {
        Value::Array(items) => items.iter().map(|item| select(selection, item)).collect(),
        Value::Object(members) if !selection.selections.is_empty() => {
            let mut cut = Map::new();
            for inner in &selection.selections {
                let member = members.get(&inner.name).ok_or_else(|| {
                    format!("Field '{}' doesn't exist on '{}'", inner.name, selection.name)
                })?;
                cut.insert(inner.name.clone(), select(inner, member)?);
            }
            Ok(Value::Object(cut))
        }
        // Scalars of the type `JSON` are given whole.
        Value::Object(_) if JSON_SCALARS.contains(&selection.name.as_str()) => Ok(value.clone()),
        Value::Object(_) => Err(format!("Field '{}' must have selections", selection.name)),
        // Nothing is below what is not there.
        Value::Null => Ok(Value::Null),
        _ if selection.selections.is_empty() => Ok(value.clone()),
        _ => Err(format!("Field '{}' has no selections", selection.name)),
    }
}

struct Parser<'a> {
    tokens: &'a [String],
    at: usize,
    variables: &'a Map<String, Value>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.at).map(String::as_str)
    }

    fn next(&mut self) -> Result<String, String> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token.ok_or_else(|| "Parse error: the query ends too early".to_owned())
    }

    fn expect(&mut self, wanted: &str) -> Result<(), String> {
        let found = self.next()?;
        if found == wanted {
            Ok(())
        } else {
            Err(format!("Parse error on {found:?}: expected {wanted:?}"))
        }
    }

    fn selections(&mut self, depth: usize) -> Result<Vec<Selection>, String> {
        if depth > DEPTH_MAX {
            return Err(format!("Selections are nested over {DEPTH_MAX} deep"));
        }
        self.expect("{")?;
        let mut selections = Vec::new();
        while self.peek() != Some("}") {
            let name = self.next()?;
            if !is_name(&name) {
                return Err(format!("Parse error on {name:?}: only fields are understood"));
            }
            let arguments =
                if self.peek() == Some("(") { self.arguments()? } else { BTreeMap::new() };
            let inner =
                if self.peek() == Some("{") { self.selections(depth + 1)? } else { Vec::new() };
            selections.push(Selection { name, arguments, selections: inner });
        }
        self.expect("}")?;
        Ok(selections)
    }

    fn arguments(&mut self) -> Result<BTreeMap<String, Value>, String> {
        self.expect("(")?;
        let mut arguments = BTreeMap::new();
        while self.peek() != Some(")") {
            let name = self.next()?;
            self.expect(":")?;
            let token = self.next()?;
            let value = match token.strip_prefix('$') {
                Some(variable) => self.variables.get(variable).cloned().unwrap_or_default(),
                None => serde_json::from_str(&token)
                    .map_err(|_| format!("Parse error on {token:?}: use a variable"))?,
            };
            if !value.is_null() {
                arguments.insert(name, value);
            }
        }
        self.expect(")")?;
        Ok(arguments)
    }
}

/// Names, `$names`, strings, numbers and single marks. Commas are white space.
fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            ',' | '\u{feff}' => {
                rest = rest[first.len_utf8()..].trim_start();
                continue;
            }
            '#' => {
                rest = rest.split_once('\n').map_or("", |(_, rest)| rest).trim_start();
                continue;
            }
            '"' => string_length(rest)?,
            '$' | '_' => 1 + name_length(&rest[1..]),
            letter if letter.is_ascii_alphanumeric() || letter == '-' => {
                1 + name_length(&rest[1..])
            }
            mark => mark.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token.to_owned());
        rest = after.trim_start();
    }
    Ok(tokens)
}

fn name_length(text: &str) -> usize {
    text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count()
}

fn string_length(text: &str) -> Result<usize, String> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Ok(at + 1),
            _ => {}
        }
    }
    Err("Parse error: a string does not end".to_owned())
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Vec<Selection>, String> {
        let variables = json!({ "name": "web" });
        parse(text, variables.as_object().expect("an object"))
    }

    #[test]
    fn an_answer_is_cut_to_what_is_selected() {
        let text =
            "query Q($name: String!) { app(name: $name, x: \"a\\\"b\") { # say\n id, n { t } } }";
        let fields = read(text).expect("parses");
        assert_eq!(fields[0].arguments["name"], json!("web"));
        assert_eq!(fields[0].arguments["x"], json!("a\"b"));
        let value = json!({ "id": 1, "more": 2, "n": [{ "t": 3, "u": 4 }] });
        let cut = select(&fields[0], &value).expect("selected");
        assert_eq!(cut, json!({ "id": 1, "n": [{ "t": 3 }] }));
        assert_eq!(select(&fields[0], &Value::Null), Ok(Value::Null));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let deep = format!("{}{}", "{ a ".repeat(40), "}".repeat(40));
        for (text, wanted) in [
            ("", "ends too early"),
            ("{ a", "ends too early"),
            ("{ ...F }", "only fields"),
            ("{ a(b: [1]) }", "use a variable"),
            ("{ a } { b }", "one operation"),
            ("{ a(b: \"x }", "does not end"),
            (deep.as_str(), "nested"),
        ] {
            let error = read(text).expect_err("refused");
            assert!(error.contains(wanted), "{text}: {error}");
        }
        let value = json!({ "a": { "b": 1 } });
        for text in ["{ r { c } }", "{ r { a } }", "{ r { a { b { c } } } }"] {
            let fields = read(text).expect("parses");
            assert!(select(&fields[0], &value).is_err(), "{text}");
        }
    }
}
