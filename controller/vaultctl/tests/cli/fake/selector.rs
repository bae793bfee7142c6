//! Label selectors in Kubernetes' grammar: `tier=pro,env!=dev,region in (ord, lhr),!canary`.

use std::collections::BTreeMap;
use std::str::FromStr;

/// What an object's labels must be; all requirements hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector(Vec<Requirement>);

/// Why a text is no selector.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part:?} is not a requirement such as key=value, key!=value, key, !key, 'key in (a,b)'")]
pub(crate) struct SelectorError {
    part: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    Exists(String),
    Missing(String),
    In(String, Vec<String>),
    /// Holds for an object without the label as well, as in Kubernetes.
    NotIn(String, Vec<String>),
}

impl Selector {
    /// Whether these labels are selected.
    pub(crate) fn matches(&self, labels: &BTreeMap<&str, &str>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::Exists(key) => labels.contains_key(key.as_str()),
            Requirement::Missing(key) => !labels.contains_key(key.as_str()),
            Requirement::In(key, values) => labels
                .get(key.as_str())
                .is_some_and(|found| values.iter().any(|value| value == found)),
            Requirement::NotIn(key, values) => labels
                .get(key.as_str())
                .is_none_or(|found| !values.iter().any(|value| value == found)),
        })
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        split(text).into_iter().map(requirement).collect::<Result<_, _>>().map(Self)
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

fn requirement(part: &str) -> Result<Requirement, SelectorError> {
    let error = || SelectorError { part: part.trim().to_owned() };
    let text = part.trim();
    if let Some((key, value)) = text.split_once("!=") {
        let (key, value) = pair(key, value).ok_or_else(error)?;
        return Ok(Requirement::NotIn(key, vec![value]));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        let (key, value) = pair(key, value).ok_or_else(error)?;
        return Ok(Requirement::In(key, vec![value]));
    }
    if let Some((head, tail)) = text.split_once('(') {
        let values = tail.strip_suffix(')').ok_or_else(error)?;
        let values: Option<Vec<String>> = values
            .split(',')
            .map(|value| Some(value.trim().to_owned()).filter(|value| is_value(value)))
            .collect();
        let values = values.ok_or_else(error)?;
        let words: Vec<&str> = head.split_whitespace().collect();
        return match words[..] {
            [key, "in"] if is_key(key) => Ok(Requirement::In(key.to_owned(), values)),
            [key, "notin"] if is_key(key) => Ok(Requirement::NotIn(key.to_owned(), values)),
            _ => Err(error()),
        };
    }
    match text.strip_prefix('!').map(str::trim) {
        Some(key) if is_key(key) => Ok(Requirement::Missing(key.to_owned())),
        None if is_key(text) => Ok(Requirement::Exists(text.to_owned())),
        _ => Err(error()),
    }
}

fn pair(key: &str, value: &str) -> Option<(String, String)> {
    let (key, value) = (key.trim(), value.trim());
    (is_key(key) && is_value(value)).then(|| (key.to_owned(), value.to_owned()))
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|letter| is_plain(letter) || letter == '/')
}

fn is_value(text: &str) -> bool {
    text.chars().all(is_plain)
}

fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_select_as_kubernetes_does() {
        let labels = BTreeMap::from([("tier", "pro"), ("example.com/env", "dev"), ("empty", "")]);
        let table = [
            ("tier=pro", true),
            ("tier==pro", true),
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
            ("example.com/env=dev", true),
            ("empty=", true),
            ("tier=pro,!absent , example.com/env in (dev,prod)", true),
            ("tier=pro,absent", false),
        ];
        for (text, selected) in table {
            let selector: Selector = text.parse().unwrap();
            assert_eq!(selector.matches(&labels), selected, "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in ["", "=a", "!", "a b", "a in b", "a in (b", "a of (b)", "a=b=c", "a,,b", "a>1"]
        {
            assert!(text.parse::<Selector>().is_err(), "{text:?}");
        }
    }
}
