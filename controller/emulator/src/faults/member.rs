//! Reading the members of one fault: each is taken once, and what is left is unknown.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Map, Value};

use super::problem::{FaultProblem, unknown};

/// Words or names in one member.
const WORDS_MAX: usize = 100;
/// The longest span of time in a document: a day, as for the boot delay.
const SPAN_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A value, and where it stands in its file.
#[derive(Clone, Debug)]
pub(super) struct Located {
    pub(super) value: Value,
    pub(super) place: Option<(u64, u64)>,
}

/// The members of one fault that were not read yet, and what was wrong with the others.
pub(super) struct Members<'a> {
    left: BTreeMap<String, Located>,
    /// The fault in messages, such as `fault 2`.
    pub(super) fault: String,
    /// Where the fault begins.
    pub(super) place: Option<(u64, u64)>,
    problems: &'a mut Vec<FaultProblem>,
}

impl<'a> Members<'a> {
    pub(super) fn new(
        fault: String,
        place: Option<(u64, u64)>,
        members: BTreeMap<String, Located>,
        problems: &'a mut Vec<FaultProblem>,
    ) -> Self {
        // A member that is null counts as left out, as everywhere at the platform.
        let left = members.into_iter().filter(|(_, member)| !member.value.is_null()).collect();
        Self { left, fault, place, problems }
    }

    pub(super) fn problem(
        &mut self,
        member: &str,
        place: Option<(u64, u64)>,
        message: impl Into<String>,
    ) {
        let path = match member {
            "" => self.fault.clone(),
            member => format!("{}: {member}", self.fault),
        };
        let place = place.or(self.place);
        self.problems.push(FaultProblem { place, path, message: message.into() });
    }

    /// Says of everything that is left that nobody knows it.
    pub(super) fn finish(mut self, known: &[&str]) {
        for (name, member) in std::mem::take(&mut self.left) {
            let message = unknown("member", &name, known.iter().copied());
            self.problem("", member.place, message);
        }
    }

    /// All members as they were written.
    pub(super) fn source(&self) -> Map<String, Value> {
        let members = self.left.iter();
        members.map(|(name, member)| (name.clone(), member.value.clone())).collect()
    }

    /// Whether a member was not read yet.
    pub(super) fn has(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    /// Drops a member that is shown and not read.
    pub(super) fn ignore(&mut self, name: &str) {
        self.left.remove(name);
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.read(name, "a text", |value| value.as_str().map(str::to_owned))
    }

    /// One word or a list of words.
    pub(super) fn words(&mut self, name: &str) -> Option<Vec<String>> {
        let word = |value: &Value| value.as_str().map(str::to_owned);
        self.read(name, "a word or a list of at most 100 words", |value| match value {
            Value::Array(words) if words.len() > WORDS_MAX || words.is_empty() => None,
            Value::Array(words) => words.iter().map(word).collect(),
            one => word(one).map(|word| vec![word]),
        })
    }

    /// Words out of a table.
    pub(super) fn words_of(&mut self, name: &str, known: &[&str]) -> Option<Vec<String>> {
        let place = self.place_of(name);
        let words = self.words(name)?;
        for word in words.iter().filter(|word| !known.contains(&word.as_str())) {
            self.problem(name, place, unknown(name, word, known.iter().copied()));
        }
        Some(words)
    }

    pub(super) fn count(&mut self, name: &str) -> Option<u64> {
        self.read(name, "a number from 0", Value::as_u64)
    }

    pub(super) fn share(&mut self, name: &str) -> Option<f64> {
        let share = |value: &Value| value.as_f64().filter(|share| (0.0..=1.0).contains(share));
        self.read(name, "a number from 0 to 1", share)
    }

    pub(super) fn status(&mut self, allowed: std::ops::RangeInclusive<u16>) -> Option<u16> {
        let wanted = format!("an HTTP status from {} to {}", allowed.start(), allowed.end());
        self.read("status", &wanted, |value| {
            let status = value.as_u64().and_then(|status| u16::try_from(status).ok());
            status.filter(|status| allowed.contains(status))
        })
    }

    pub(super) fn span(&mut self, name: &str) -> Option<Duration> {
        self.read(name, "a span of time of at most a day, such as 250ms or 2s", |value| {
            let span: SignedDuration = value.as_str()?.parse().ok()?;
            Duration::try_from(span).ok().filter(|span| *span <= SPAN_MAX)
        })
    }

    pub(super) fn object(&mut self, name: &str) -> Option<Map<String, Value>> {
        self.read(name, "a mapping", |value| value.as_object().cloned())
    }

    /// Where a member stands that was not read yet.
    pub(super) fn place_of(&self, name: &str) -> Option<(u64, u64)> {
        self.left.get(name).and_then(|member| member.place)
    }

    fn read<T>(
        &mut self,
        name: &str,
        wanted: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let member = self.left.remove(name)?;
        let read = read(&member.value);
        if read.is_none() {
            self.problem(name, member.place, format!("{} is not {wanted}", member.value));
        }
        read
    }
}
