//! One path of a template, rewritten into the standard's form.
//!
//! ```text
//!   .items[*]['metadata.name','kind']  ──▶  $['items'][*]['metadata.name']      a key with a dot, or
//!                                           $['items'][*]['metadata']['name']   a path, as for kubectl
//!                                           $['items'][*]['kind']
//! ```

use std::fmt;
use std::iter::Peekable;
use std::str::{Chars, FromStr};

use serde_json::Value;
use serde_json_path::JsonPath;

use super::TemplateError;

/// Names in brackets multiply: each one may be a key or a path, beside each of those before it. This
/// much is more than anyone writes by hand.
const MAX_PATHS: usize = 64;

/// What a path of kubectl means: one path of the standard, or several of which each adds its values.
#[derive(Clone, Debug)]
pub(super) struct Paths(Vec<JsonPath>);

impl Paths {
    /// The values that the paths lead to.
    pub(super) fn query<'v>(&self, document: &'v Value) -> Vec<&'v Value> {
        self.0.iter().flat_map(|path| path.query(document).all()).collect()
    }
}

impl FromStr for Paths {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let error = |message: &dyn fmt::Display| TemplateError::Path {
            path: text.to_owned(),
            message: message.to_string(),
        };
        let mut letters = text.chars().peekable();
        let mut standard = Standard(vec!["$".to_owned()]);
        if letters.peek().is_some_and(|first| matches!(first, '$' | '@')) {
            letters.next();
        } else if letters.peek().is_some_and(|&first| is_name(first)) {
            // `{kind}` means `{.kind}`.
            standard.push(&member(&name(&mut letters)));
        }
        segments(&mut letters, &mut standard)?;
        if let Some(rest) = letters.peek() {
            return Err(error(&format!("{rest:?} is not expected")));
        }
        if standard.0.len() > MAX_PATHS {
            return Err(error(&format!("its brackets make more than {MAX_PATHS} paths")));
        }
        let paths = standard.0.iter().map(|path| JsonPath::parse(path));
        paths.collect::<Result<_, _>>().map(Self).map_err(|problem| error(&problem))
    }
}

/// The paths as text, as far as they are written.
struct Standard(Vec<String>);

impl Standard {
    /// Goes on with all of them.
    fn push(&mut self, text: &str) {
        for path in &mut self.0 {
            path.push_str(text);
        }
    }

    /// Goes on with each of them in each of these ways. What is too many is refused by the caller.
    fn branch(&mut self, ways: &[String]) {
        if self.0.len() <= MAX_PATHS {
            let before = std::mem::take(&mut self.0);
            let branches =
                ways.iter().flat_map(|way| before.iter().map(move |path| path.clone() + way));
            self.0 = branches.collect();
        }
    }
}

/// Rewrites `.name`, `..name`, `.*` and `[…]` for as long as they follow one another.
fn segments(letters: &mut Peekable<Chars<'_>>, into: &mut Standard) -> Result<(), TemplateError> {
    loop {
        match letters.peek() {
            Some('.') => {
                letters.next();
                if letters.next_if_eq(&'.').is_some() {
                    into.push("..");
                }
                if letters.next_if_eq(&'*').is_some() {
                    into.push("[*]");
                } else if letters.peek().is_some_and(|&next| is_name(next)) {
                    into.push(&member(&name(letters)));
                } else if letters.peek().is_some_and(|&next| next != '[') {
                    into.push(".");
                }
            }
            Some('[') => {
                letters.next();
                let inside = bracketed(letters)?;
                match keys(&inside) {
                    Some(ways) => into.branch(&ways),
                    None => into.push(&format!("[{inside}]")),
                }
            }
            _ => return Ok(()),
        }
    }
}

/// What stands in brackets up to the closing one; the paths in a filter are rewritten as well.
fn bracketed(letters: &mut Peekable<Chars<'_>>) -> Result<String, TemplateError> {
    let mut inside = String::new();
    while let Some(letter) = letters.next() {
        match letter {
            ']' => return Ok(inside),
            '"' | '\'' => quoted(letter, letters, &mut inside)?,
            '@' | '$' => {
                inside.push(letter);
                let mut filter = Standard(vec![String::new()]);
                segments(letters, &mut filter)?;
                // A filter is one condition: there a name in brackets is a key and nothing else.
                inside.extend(filter.0.into_iter().next());
            }
            _ => inside.push(letter),
        }
    }
    Err(TemplateError::Open('['))
}

/// The ways that names in brackets lead, if there is nothing else in them: `'a'`, `'a','b.c'`.
fn keys(inside: &str) -> Option<Vec<String>> {
    let mut letters = inside.chars().peekable();
    let mut ways = Vec::new();
    loop {
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        let quote = letters.next().filter(|letter| matches!(letter, '"' | '\''))?;
        // The parts between dots; a backslash makes the next letter part of the name.
        let mut parts = vec![String::new()];
        let mut key = String::new();
        loop {
            let letter = letters.next()?;
            if letter == quote {
                break;
            }
            let plain = if letter == '\\' { letters.next()? } else { letter };
            key.push(plain);
            match letter {
                '.' => parts.push(String::new()),
                _ => parts.last_mut()?.push(plain),
            }
        }
        ways.push(member(&key));
        if parts.len() > 1 && parts.iter().all(|part| !part.is_empty()) {
            ways.push(parts.iter().map(|part| member(part)).collect());
        }
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        match letters.next() {
            None => return Some(ways),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

/// Copies a quoted text with its quotes; the opening one has been read.
pub(super) fn quoted(
    quote: char,
    letters: &mut Peekable<Chars<'_>>,
    into: &mut String,
) -> Result<(), TemplateError> {
    into.push(quote);
    while let Some(letter) = letters.next() {
        into.push(letter);
        if letter == '\\' {
            into.extend(letters.next());
        } else if letter == quote {
            return Ok(());
        }
    }
    Err(TemplateError::Open(quote))
}

fn name(letters: &mut Peekable<Chars<'_>>) -> String {
    let mut name = String::new();
    while let Some(letter) = letters.next_if(|&letter| is_name(letter)) {
        // A backslash makes the next letter part of the name.
        if letter == '\\' {
            name.extend(letters.next());
        } else {
            name.push(letter);
        }
    }
    name
}

fn is_name(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '-' | '_' | '\\' | '/')
}

/// A key in the standard's form.
fn member(name: &str) -> String {
    let mut member = String::from("['");
    for letter in name.chars() {
        if matches!(letter, '\'' | '\\') {
            member.push('\\');
        }
        member.push(letter);
    }
    member + "']"
}
