//! Pure: what `KEY=VALUE` and `KEY-` change.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use vault_api::names::{check_label_key, check_label_value};

use super::Mark;
use crate::error::{Exit, Failure};

/// Keys to set, each with its value, and keys to remove.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    wanted: BTreeMap<String, Option<String>>,
}

/// What a change does to one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A value is new or different.
    Set,
    /// Nothing is set, something is removed.
    Removed,
    /// All is so already.
    Unchanged,
}

/// The words that name objects, and those that say what to change: the first word that is
/// `KEY=VALUE` or `KEY-` begins the second part.
pub(super) fn split(words: &[String]) -> (&[String], &[String]) {
    let is_change = |word: &String| word.contains('=') || word.ends_with('-');
    words.split_at(words.iter().position(is_change).unwrap_or(words.len()))
}

impl Change {
    /// Reads the words.
    ///
    /// # Errors
    /// A word is neither form, a key or value is none, or a key stands twice.
    pub(super) fn parse(mark: Mark, words: &[String]) -> Result<Self, Failure> {
        let bad = |message: String| Failure::new(Exit::BadInput, message);
        let mut wanted = BTreeMap::new();
        for word in words {
            let (key, value) = match (word.split_once('='), word.strip_suffix('-')) {
                (Some((key, value)), _) => (key, Some(value)),
                (None, Some(key)) => (key, None),
                (None, None) => {
                    return Err(bad(format!("{word:?} is neither KEY=VALUE nor KEY-")));
                }
            };
            check_label_key(key).map_err(|error| {
                bad(format!("{key:?} is not the key of a {}: {error}", mark.singular()))
            })?;
            if let (Mark::Label, Some(value)) = (mark, value) {
                check_label_value(value).map_err(|error| {
                    bad(format!("{value:?} is not the value of a label: {error}"))
                })?;
            }
            if wanted.insert(key.to_owned(), value.map(str::to_owned)).is_some() {
                return Err(bad(format!("{key:?} is named twice")));
            }
        }
        Ok(Self { wanted })
    }

    /// Whether nothing is to be changed.
    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// The keys to remove that are not there.
    pub(super) fn absent<'c>(&'c self, before: &BTreeMap<&str, &str>) -> Vec<&'c str> {
        let removed = self.wanted.iter().filter(|(_, value)| value.is_none());
        let keys = removed.map(|(key, _)| key.as_str());
        keys.filter(|key| !before.contains_key(key)).collect()
    }

    /// What the change does to an object that has `before`, as the members of a merge patch.
    ///
    /// # Errors
    /// A key has another value and `overwrite` was not said.
    pub(super) fn against(
        &self,
        mark: Mark,
        before: &BTreeMap<&str, &str>,
        overwrite: bool,
    ) -> Result<(Outcome, Map<String, Value>), Failure> {
        let (mut outcome, mut members) = (Outcome::Unchanged, Map::new());
        for (key, wanted) in &self.wanted {
            match (before.get(key.as_str()), wanted) {
                (None, None) => {}
                (Some(found), Some(wanted)) if found == wanted => {}
                (Some(found), Some(_)) if !overwrite => {
                    let message =
                        format!("the {} {key:?} already has the value {found:?}", mark.singular());
                    let failure = Failure::new(Exit::BadInput, message);
                    return Err(failure.hint("pass --overwrite to replace it"));
                }
                (_, Some(wanted)) => {
                    outcome = Outcome::Set;
                    members.insert(key.clone(), wanted.clone().into());
                }
                (Some(_), None) => {
                    if outcome == Outcome::Unchanged {
                        outcome = Outcome::Removed;
                    }
                    members.insert(key.clone(), Value::Null);
                }
            }
        }
        Ok((outcome, members))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn names_end_where_changes_begin() {
        let all = words("tenant acme a=b c- d=");
        let (names, changes) = split(&all);
        assert_eq!((names.len(), changes.len()), (2, 3));
        let change = Change::parse(Mark::Label, changes).unwrap();
        let before = BTreeMap::from([("c", "1"), ("d", "")]);
        let (outcome, members) = change.against(Mark::Label, &before, false).unwrap();
        assert_eq!(outcome, Outcome::Set);
        assert_eq!(Value::Object(members), json!({ "a": "b", "c": null }));
    }

    #[test]
    fn values_are_replaced_only_if_asked() {
        let change = Change::parse(Mark::Label, &words("tier=free")).unwrap();
        let before = BTreeMap::from([("tier", "pro")]);
        let error = change.against(Mark::Label, &before, false).unwrap_err();
        assert_eq!(error.to_string(), "the label \"tier\" already has the value \"pro\"");
        assert_eq!(change.against(Mark::Label, &before, true).unwrap().0, Outcome::Set);
        let same = Change::parse(Mark::Label, &words("tier=pro other-")).unwrap();
        assert_eq!(same.against(Mark::Label, &before, false).unwrap().0, Outcome::Unchanged);
        assert_eq!(same.absent(&before), ["other"]);
        let gone = Change::parse(Mark::Label, &words("tier-")).unwrap();
        assert_eq!(gone.against(Mark::Label, &before, false).unwrap().0, Outcome::Removed);
    }

    #[test]
    fn what_is_no_change_is_refused() {
        for text in ["a=b c", "=b", "-", "a=b a-", "a/b/c=d", "a=b,c", "a=ü"] {
            assert!(Change::parse(Mark::Label, &words(text)).is_err(), "{text}");
        }
        // An annotation is free text.
        assert!(Change::parse(Mark::Annotation, &words("a=b,c/ü=")).is_ok());
    }
}
