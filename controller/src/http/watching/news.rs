//! What happened, read from the store in steps, and what it means to someone who knows less.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use serde_json::{Map, Value, json};
use vault_plan::identity::ControllerId;
use vault_plan::time::UnixMillis;

use super::Topic;
use super::lines::{self, EventType};
use crate::accept::to_json;
use crate::http::events;
use crate::http::forms::Form;
use crate::select::{Labels, Selection, labels_of};
use crate::store::{ApiStore, Change, EventSeries, StoreError};

/// How many changes are read at a time: a megabyte or so of documents.
const STEP: usize = 256;

/// One change, with the lines that tell it: each is written once, by whoever needs it first.
pub(super) struct News {
    topic: Topic,
    /// When it happened.
    pub(super) version: i64,
    /// The object's name.
    pub(super) name: Arc<str>,
    created_version: i64,
    removed: bool,
    /// Replaced labels and when that was, the oldest first.
    relabelled: Vec<(i64, Labels)>,
    /// The version that whoever follows all changes had last been told of this object.
    known_at: i64,
    object: Value,
    lines: [OnceLock<Bytes>; EventType::COUNT * Form::COUNT],
}

impl News {
    fn of_object(topic: Topic, change: Change, known_at: i64) -> Self {
        Self {
            topic,
            version: change.version,
            name: change.object.name.as_str().into(),
            created_version: change.created_version,
            removed: change.removed,
            relabelled: change.relabelled,
            known_at,
            object: to_json(&change.object),
            lines: Default::default(),
        }
    }

    fn of_event(topic: Topic, series: &EventSeries, object: Value, known_at: i64) -> Self {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().into();
        Self {
            topic,
            version: series.version,
            name,
            created_version: series.first_version,
            removed: false,
            relabelled: Vec::new(),
            known_at,
            object,
            lines: Default::default(),
        }
    }

    /// What this is to someone who knew everything up to a version and selects some; `None` if it
    /// is nothing.
    pub(super) fn means(&self, knows: i64, selection: &Selection) -> Option<EventType> {
        let knows = knows.max(self.known_at);
        if self.version <= knows {
            return None;
        }
        let labels = labels_of(&self.object);
        let before = self
            .relabelled
            .iter()
            .find(|(version, _)| *version > knows)
            .map_or(labels, |(_, before)| Some(before));
        let was = self.created_version <= knows && selection.matches(before, &self.object);
        let is = !self.removed && selection.matches(labels, &self.object);
        match (was, is) {
            (false, true) => Some(EventType::Added),
            (true, true) => Some(EventType::Modified),
            (true, false) => Some(EventType::Deleted),
            (false, false) => None,
        }
    }

    /// The labels that the object has now, or had in the end.
    pub(super) fn labels(&self) -> Option<&Labels> {
        labels_of(&self.object)
    }

    /// The line that tells it to someone for whom the object exists no more: which one it was, and
    /// nothing of what it has become.
    pub(super) fn parting(&self, told: EventType, form: Form, now: UnixMillis) -> Bytes {
        let mut metadata = Map::new();
        for name in ["name", "uid", "resourceVersion", "creationTimestamp"] {
            if let Some(value) = self.object["metadata"].get(name) {
                metadata.insert(name.to_owned(), value.clone());
            }
        }
        let (version, kind) = (&self.object["apiVersion"], &self.object["kind"]);
        let object = json!({ "apiVersion": version, "kind": kind, "metadata": metadata });
        lines::object(self.topic.resource(), told, form, object, now)
    }

    /// The line that tells it.
    pub(super) fn line(&self, told: EventType, form: Form, now: UnixMillis) -> Bytes {
        let slot = &self.lines[told.index() * Form::COUNT + form.index()];
        let write = || lines::object(self.topic.resource(), told, form, self.object.clone(), now);
        slot.get_or_init(write).clone()
    }
}

/// The past is not known from there on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap;

/// Some changes.
pub(super) struct Step {
    /// In the order in which they happened.
    pub(super) news: Vec<News>,
    /// Whether there are no more for now.
    pub(super) complete: bool,
}

/// How far someone has read. A round may take several steps; what one of them told of an object is
/// remembered until the round is over, so that a later one tells what is new since then.
pub(super) struct Reading {
    topic: Topic,
    /// Everything up to here was told.
    knows: i64,
    /// Within a round: everything that happened last up to here was told.
    cursor: i64,
    /// Objects of which something newer was told, and its version. At most as many as there are
    /// objects, and empty between rounds.
    ahead: HashMap<Arc<str>, i64>,
}

impl Reading {
    /// From a version on.
    pub(super) fn new(topic: Topic, version: i64) -> Self {
        Self { topic, knows: version, cursor: version, ahead: HashMap::new() }
    }

    /// Everything up to here was told.
    pub(super) fn knows(&self) -> i64 {
        self.knows
    }

    /// Says that an object was told in a state that is newer than what was read so far.
    pub(super) fn told(&mut self, name: Arc<str>, version: i64) {
        if version > self.knows {
            self.ahead.insert(name, version);
        }
    }

    /// Whether the past is known from here on.
    pub(super) async fn probe<S: ApiStore>(
        &self,
        store: &S,
    ) -> Result<Result<(), Gap>, StoreError> {
        let Topic::Objects(kind) = self.topic else { return Ok(Ok(())) };
        let found = store.changes(kind, self.knows, self.knows, 1).await?;
        Ok(if found.horizon > self.knows { Err(Gap) } else { Ok(()) })
    }

    /// The next changes.
    pub(super) async fn step<S: ApiStore>(
        &mut self,
        store: &S,
        controller: &ControllerId,
    ) -> Result<Result<Step, Gap>, StoreError> {
        let (news, complete, newest) = match self.topic {
            Topic::Objects(kind) => {
                let found = store.changes(kind, self.knows, self.cursor, STEP).await?;
                if found.horizon > self.knows {
                    return Ok(Err(Gap));
                }
                let mut news = Vec::with_capacity(found.changes.len());
                for change in found.changes {
                    let known_at = self.known(&change.object.name, change.version);
                    news.push(News::of_object(self.topic, change, known_at));
                }
                (news, found.complete, found.newest)
            }
            Topic::Events => {
                let found = store.event_changes(self.cursor, STEP).await?;
                let mut news = Vec::with_capacity(found.series.len());
                for series in &found.series {
                    let object = events::to_json(controller, series);
                    let name = object["metadata"]["name"].as_str().unwrap_or_default();
                    let known_at = self.known(name, series.version);
                    news.push(News::of_event(self.topic, series, object, known_at));
                }
                (news, found.complete, found.newest)
            }
        };
        match news.last() {
            Some(last) if !complete => self.cursor = last.version,
            _ => {
                self.knows = newest;
                self.cursor = newest;
                self.ahead.clear();
            }
        }
        Ok(Ok(Step { news, complete }))
    }

    /// What was known of an object; from now on it is `version`.
    fn known(&mut self, name: &str, version: i64) -> i64 {
        let before = self.ahead.get(name).copied().unwrap_or(self.knows).max(self.knows);
        if version > before {
            self.ahead.insert(name.into(), version);
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Kind;

    fn news(created_version: i64, removed: bool, relabelled: &[(i64, &str)]) -> News {
        let labels = |tier: &str| json!({ "tier": tier }).as_object().unwrap().clone();
        News {
            topic: Topic::Objects(Kind::Tenant),
            version: 10,
            name: "acme".into(),
            created_version,
            removed,
            relabelled: relabelled.iter().map(|(version, tier)| (*version, labels(tier))).collect(),
            known_at: 0,
            object: json!({ "metadata": { "name": "acme", "labels": { "tier": "pro" } } }),
            lines: Default::default(),
        }
    }

    #[test]
    fn what_happened_means_what_the_watcher_did_not_know() {
        use EventType::{Added, Deleted, Modified};
        let table = [
            (news(1, false, &[]), 5, Some(Modified)),
            (news(7, false, &[]), 5, Some(Added)),
            (news(7, false, &[]), 8, Some(Modified)),
            (news(1, false, &[]), 10, None),
            (news(1, true, &[]), 5, Some(Deleted)),
            (news(7, true, &[]), 5, None),
            (news(1, false, &[(3, "free"), (6, "free")]), 5, Some(Added)),
            (news(1, false, &[(3, "free")]), 5, Some(Modified)),
            (news(1, false, &[(6, "pro"), (8, "free")]), 5, Some(Modified)),
            (news(1, true, &[(6, "free")]), 5, None),
        ];
        let selection = Selection { labels: "tier=pro".parse().unwrap(), ..Selection::default() };
        for (number, (news, knows, meaning)) in table.into_iter().enumerate() {
            assert_eq!(news.means(knows, &selection), meaning, "row {number}");
        }
        let free = Selection { labels: "tier=free".parse().unwrap(), ..Selection::default() };
        assert_eq!(news(1, false, &[(6, "free")]).means(5, &free), Some(Deleted));
        assert_eq!(news(1, false, &[]).means(5, &free), None);
        let told_before = News { known_at: 9, ..news(7, false, &[]) };
        assert_eq!(told_before.means(5, &selection), Some(Modified));
    }
}
