//! kubectl's JSONPath templates: `{.items[0].metadata.name}{"\n"}`.
//!
//! Text outside of braces is printed as it is; in braces stands a quoted text or a path. kubectl's
//! paths are older than RFC 9535 and looser: they need no `$`, dashes may stand in names, and a
//! dot in a name is escaped by a backslash. They are rewritten into the standard's form. What stands
//! between `{range PATH}` and `{end}` is filled in for each value of the path.

mod paths;

use std::iter::Peekable;
use std::str::{Chars, FromStr};

use serde_json::Value;

use self::paths::{Paths, quoted};

/// No document is nested deeper than this in any sensible way, and reading a template must not
/// exhaust the stack.
const MAX_DEPTH: usize = 16;

/// A template, ready to be filled in.
#[derive(Clone, Debug)]
pub(crate) struct Template(Vec<Piece>);

/// Why a text is no template.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    /// A brace, bracket or quote is never closed.
    #[error("{0:?} is never closed")]
    Open(char),
    /// A `{range …}` is never ended.
    #[error("{{range …}} has no {{end}}")]
    Range,
    /// An `{end}` without a range.
    #[error("{{end}} has no {{range …}} before it")]
    End,
    /// Ranges in ranges in ranges.
    #[error("ranges are nested more than {MAX_DEPTH} deep")]
    Depth,
    /// The path is none.
    #[error("{path:?} is not a JSONPath: {message}")]
    Path {
        /// The path as written.
        path: String,
        /// What the parser says.
        message: String,
    },
}

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Path(Paths),
    Range(Paths, Vec<Self>),
}

impl Template {
    /// Fills in the values of a document. Several values of one path are joined by spaces, strings
    /// stand without quotes, and a path that leads nowhere leaves nothing, as with kubectl.
    pub(crate) fn render(&self, document: &Value) -> String {
        let mut text = String::new();
        fill(&self.0, document, &mut text);
        text
    }

    /// The values of all paths outside of ranges.
    pub(crate) fn values<'v>(&self, document: &'v Value) -> Vec<&'v Value> {
        let mut values = Vec::new();
        for piece in &self.0 {
            if let Piece::Path(path) = piece {
                values.extend(path.query(document));
            }
        }
        values
    }

    /// Whether there is a path at all, and not only text.
    pub(crate) fn has_path(&self) -> bool {
        self.0.iter().any(|piece| !matches!(piece, Piece::Text(_)))
    }

    /// Whether any path leads to a value.
    pub(crate) fn finds(&self, document: &Value) -> bool {
        self.0.iter().any(|piece| match piece {
            Piece::Text(_) => false,
            Piece::Path(path) | Piece::Range(path, _) => !path.query(document).is_empty(),
        })
    }
}

/// A field as people write it for a column or an order: `{.a.b}`, `.a.b` or `a.b`.
///
/// # Errors
/// It is no path.
pub(crate) fn field(text: &str) -> Result<Template, TemplateError> {
    let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
    Ok(Template(vec![Piece::Path(inner.trim().parse()?)]))
}

fn fill(pieces: &[Piece], document: &Value, text: &mut String) {
    for piece in pieces {
        match piece {
            Piece::Text(plain) => text.push_str(plain),
            Piece::Path(path) => {
                let found = path.query(document);
                let values: Vec<String> = found.into_iter().map(plain).collect();
                text.push_str(&values.join(" "));
            }
            Piece::Range(path, inner) => {
                for value in path.query(document) {
                    fill(inner, value, text);
                }
            }
        }
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if !text.contains('{') && text.starts_with(['.', '$', '[', '@']) {
            return Ok(Self(vec![Piece::Path(text.parse()?)]));
        }
        pieces(&mut text.chars().peekable(), 0).map(Self)
    }
}

/// The pieces up to the end of the text or, in a range, up to its `{end}`.
fn pieces(letters: &mut Peekable<Chars<'_>>, depth: usize) -> Result<Vec<Piece>, TemplateError> {
    if depth > MAX_DEPTH {
        return Err(TemplateError::Depth);
    }
    let (mut pieces, mut plain) = (Vec::new(), String::new());
    while let Some(letter) = letters.next() {
        if letter != '{' {
            plain.push(letter);
            continue;
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        let inside = braced(letters)?;
        match inside.split_once(char::is_whitespace) {
            None if inside == "end" && depth > 0 => return Ok(pieces),
            None if inside == "end" => return Err(TemplateError::End),
            None if inside == "range" => return Err(TemplateError::Range),
            Some(("range", over)) => {
                let over = over.trim().parse()?;
                pieces.push(Piece::Range(over, self::pieces(letters, depth + 1)?));
            }
            _ => pieces.push(expression(&inside)?),
        }
    }
    if depth > 0 {
        return Err(TemplateError::Range);
    }
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The text up to the closing brace; braces in quotes do not count.
fn braced(letters: &mut Peekable<Chars<'_>>) -> Result<String, TemplateError> {
    let mut inside = String::new();
    while let Some(letter) = letters.next() {
        match letter {
            '}' => return Ok(inside.trim().to_owned()),
            '"' | '\'' => quoted(letter, letters, &mut inside)?,
            _ => inside.push(letter),
        }
    }
    Err(TemplateError::Open('{'))
}

fn expression(text: &str) -> Result<Piece, TemplateError> {
    if let Some(quote) = text.chars().next().filter(|first| matches!(first, '"' | '\'')) {
        let inner = text[1..].strip_suffix(quote).ok_or(TemplateError::Open(quote))?;
        return Ok(Piece::Text(unescaped(inner)));
    }
    Ok(Piece::Path(text.parse()?))
}

fn unescaped(text: &str) -> String {
    let (mut plain, mut letters) = (String::new(), text.chars());
    while let Some(letter) = letters.next() {
        match (letter, letter == '\\') {
            (_, false) => plain.push(letter),
            (_, true) => match letters.next() {
                Some('n') => plain.push('\n'),
                Some('t') => plain.push('\t'),
                Some('r') => plain.push('\r'),
                Some(other) => plain.push(other),
                None => plain.push('\\'),
            },
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        json!({
            "kind": "List",
            "items": [
                {
                    "metadata": {
                        "name": "acme",
                        "labels": { "tier": "pro", "app.example.com/part": "box", "my-key": "dash" }
                    },
                    "spec": { "count": 2, "on": true },
                    "status": { "conditions": [
                        { "type": "Ready", "status": "True", "some-key": 7 },
                        { "type": "Synced", "status": "False" }
                    ] }
                },
                { "metadata": { "name": "umbra" } }
            ]
        })
    }

    #[test]
    fn templates_are_filled_in_as_kubectl_does() {
        let table = [
            ("{.kind}", "List"),
            ("{$.kind}", "List"),
            ("{kind}", "List"),
            (".kind", "List"),
            ("kind", "kind"),
            ("{.items[0].metadata.name}", "acme"),
            ("{.items[-1].metadata.name}", "umbra"),
            ("{.items[*].metadata.name}", "acme umbra"),
            ("{.items[0:1].metadata.name}", "acme"),
            ("{..name}", "acme umbra"),
            ("{.items..metadata.name}", "acme umbra"),
            ("{.items[0].metadata.labels.my-key}", "dash"),
            ("{.items[0].metadata.labels.app\\.example\\.com/part}", "box"),
            ("{.items[0].metadata.labels['app.example.com/part']}", "box"),
            ("{.items[0].metadata.labels[\"tier\"]}", "pro"),
            ("{.items[0].metadata.labels['app\\.example\\.com/part']}", "box"),
            ("{.items[*]['metadata.name', 'spec.count']}", "acme umbra 2"),
            ("{.items[0].metadata.labels['my-key','tier']}", "dash pro"),
            ("{.items[*]['metadata','absent'].name}", "acme umbra"),
            ("{.items[?(@.metadata.labels['my-key']=='dash')].metadata.name}", "acme"),
            ("{..['name']}", "acme umbra"),
            ("{.items[0].spec.count} {.items[0].spec.on}", "2 true"),
            ("{.items[0].spec}", r#"{"count":2,"on":true}"#),
            ("{.items[0].status.conditions[?(@.type==\"Ready\")].status}", "True"),
            ("{.items[0].status.conditions[?(@.type=='Synced')].status}", "False"),
            ("{.items[0].status.conditions[?(@.some-key==7)].type}", "Ready"),
            ("{.items[?(@.metadata.name=='umbra')].metadata.name}", "umbra"),
            ("{.absent}", ""),
            ("a{.kind}b{\"\\n\"}{'\\t}'}c", "aListb\n\t}c"),
            ("{ .kind }", "List"),
            ("{range .items[*]}{.metadata.name}{\"\\n\"}{end}", "acme\numbra\n"),
            ("{range .items[*]}[{@.metadata.name}]{end}.", "[acme][umbra]."),
            (
                "{range .items[*]}{.metadata.name}:{range .status.conditions[*]} {.type}{end};{end}",
                "acme: Ready Synced;umbra:;",
            ),
            ("{range .absent[*]}never{end}", ""),
            ("", ""),
        ];
        for (text, rendered) in table {
            let template: Template = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(template.render(&document()), rendered, "{text}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in [
            "{.kind",
            "{.a[0}",
            "{.a['b}",
            "{\"a}",
            "{range .items[*]}",
            "{end}",
            "{range}",
            "{range .a}{end}{end}",
            "{range .items[*]}{range .b[*]}{end}",
            "{.a b}",
            "{.}x{.a[?]}",
            "{.a..}",
            "{}{.a[}",
            "{.a['b','c]}",
            "{.a['b',]}",
        ] {
            assert!(text.parse::<Template>().is_err(), "{text}");
        }
    }

    #[test]
    fn finding_is_not_rendering() {
        let found = |text: &str| text.parse::<Template>().unwrap().finds(&document());
        assert!(found("{.items[0].spec.on}"));
        assert!(!found("{.items[0].spec.off}"));
        assert!(!found("text"));
        assert!("{range .a}".repeat(100_000).parse::<Template>().is_err());
        assert!(format!("{{{}}}", "['a.b','c.d']".repeat(100)).parse::<Template>().is_err());
    }

    #[test]
    fn fields_are_written_in_three_ways() {
        let document = document();
        for text in
            ["{.items[0].metadata.name}", ".items[0].metadata.name", "items[0].metadata.name"]
        {
            assert_eq!(field(text).unwrap().values(&document), ["acme"], "{text}");
        }
        assert!(field("{.a[}").is_err());
    }
}
