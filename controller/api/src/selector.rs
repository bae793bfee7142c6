//! Label selectors in Kubernetes' grammar: `tier=pro,env!=dev,region in (ord, lhr),!canary`.

use std::str::FromStr;

use serde_json::{Map, Value};
use thiserror::Error;

/// The labels of an object.
pub type Labels = Map<String, Value>;

/// How many requirements one selector may have: more than people write, and few enough to hold
/// against thousands of objects.
const REQUIREMENTS_MAX: usize = 100;

/// What an object's labels must be; all requirements hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

/// Why a text is no label selector.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LabelSelectorError {
    /// A part is no requirement.
    #[error(
        "unable to parse requirement: {0:?} is not one such as key=value, key!=value, key, !key, \
         key in (a,b), key notin (a,b)"
    )]
    Part(String),
    /// There are too many of them.
    #[error("a label selector has at most {REQUIREMENTS_MAX} requirements")]
    TooMany,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    Exists(String),
    Missing(String),
    In(String, Vec<String>),
    /// Holds for an object without the label as well, as in Kubernetes.
    NotIn(String, Vec<String>),
}

impl LabelSelector {
    /// Whether every object is selected.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// What this selector and another one select both.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.0.extend_from_slice(&other.0);
        self
    }

    /// Whether these labels are selected; `None` is an object without labels.
    #[must_use]
    pub fn matches(&self, labels: Option<&Labels>) -> bool {
        let value = |key: &String| labels?.get(key).and_then(Value::as_str);
        self.0.iter().all(|requirement| match requirement {
            Requirement::Exists(key) => value(key).is_some(),
            Requirement::Missing(key) => value(key).is_none(),
            Requirement::In(key, values) => {
                value(key).is_some_and(|found| values.iter().any(|value| value == found))
            }
            Requirement::NotIn(key, values) => {
                value(key).is_none_or(|found| !values.iter().any(|value| value == found))
            }
        })
    }
}

impl FromStr for LabelSelector {
    type Err = LabelSelectorError;

    /// Reads a selector; an empty text selects everything.
    fn from_str(text: &str) -> Result<Self, LabelSelectorError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let parts = split(text);
        if parts.len() > REQUIREMENTS_MAX {
            return Err(LabelSelectorError::TooMany);
        }
        let read = |part: &str| {
            requirement(part.trim()).ok_or_else(|| LabelSelectorError::Part(part.trim().to_owned()))
        };
        parts.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }
}

/// The parts between commas that do not stand in parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (position, letter) in text.char_indices() {
        match letter {
            '(' => inside = true,
            ')' => inside = false,
            ',' if !inside => {
                parts.push(&text[start..position]);
                start = position + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(text: &str) -> Option<Requirement> {
    if let Some((key, value)) = text.split_once("!=") {
        return Some(Requirement::NotIn(read_key(key)?, vec![read_value(value)?]));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Some(Requirement::In(read_key(key)?, vec![read_value(value)?]));
    }
    if let Some((head, tail)) = text.split_once('(') {
        let values = tail.strip_suffix(')')?.split(',').map(read_value);
        let values = values.collect::<Option<Vec<String>>>()?;
        let (key, operator) = head.trim().split_once(char::is_whitespace)?;
        return match operator.trim() {
            "in" => Some(Requirement::In(read_key(key)?, values)),
            "notin" => Some(Requirement::NotIn(read_key(key)?, values)),
            _ => None,
        };
    }
    match text.strip_prefix('!') {
        Some(key) => read_key(key).map(Requirement::Missing),
        None => read_key(text).map(Requirement::Exists),
    }
}

fn read_key(text: &str) -> Option<String> {
    let text = text.trim();
    let plain = !text.is_empty() && text.chars().all(|letter| is_plain(letter) || letter == '/');
    plain.then(|| text.to_owned())
}

fn read_value(text: &str) -> Option<String> {
    let text = text.trim();
    text.chars().all(is_plain).then(|| text.to_owned())
}

fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_select_as_kubernetes_does() {
        let labels = json!({ "tier": "pro", "example.com/env": "dev", "empty": "" });
        let table = [
            ("", true),
            ("tier=pro", true),
            ("tier == pro", true),
            ("tier=free", false),
            ("tier!=free", true),
            ("tier!=pro", false),
            ("absent!=pro", true),
            ("absent=pro", false),
            ("tier", true),
            ("absent", false),
            ("!absent", true),
            ("!tier", false),
            ("tier in (free, pro)", true),
            ("tier in (free)", false),
            ("tier notin (free)", true),
            ("tier notin (free,pro)", false),
            ("absent notin (pro)", true),
            ("absent in ()", false),
            ("example.com/env=dev", true),
            ("empty=", true),
            ("tier=pro,!absent , example.com/env in (dev,prod)", true),
            ("tier=pro,absent", false),
        ];
        for (text, selected) in table {
            let selector: LabelSelector = text.parse().unwrap();
            assert_eq!(selector.matches(labels.as_object()), selected, "{text}");
        }
        assert!("!tier".parse::<LabelSelector>().unwrap().matches(None));
        assert!(!"tier".parse::<LabelSelector>().unwrap().matches(None));
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in
            [",", "=a", "!", "a b", "a in b", "a in (b", "a of (b)", "a=b=c", "a,,b", "a>1", "(a)"]
        {
            assert!(text.parse::<LabelSelector>().is_err(), "{text:?}");
        }
        let endless = vec!["a"; REQUIREMENTS_MAX + 1].join(",");
        assert_eq!(endless.parse::<LabelSelector>(), Err(LabelSelectorError::TooMany));
    }
}
