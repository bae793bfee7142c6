//! What a watching command has shown already, so that a new list after a gap shows only what is new.

use std::collections::HashMap;

use crate::client::ClientError;
use crate::follow::Change;
use crate::object::{Object, Resource};
use crate::output::Output;

/// Kubernetes' word for an object that is gone.
pub(super) const DELETED: &str = "DELETED";
/// After this many failed tries in a row, a minute or so, the controller is not coming back.
const MAX_TRIES: u32 = 30;

/// Which objects have been shown, and in which version: what a new list says beyond that is news.
pub(super) struct Known {
    versions: HashMap<String, String>,
    is_first: bool,
    is_broken: bool,
}

impl Default for Known {
    fn default() -> Self {
        Self { versions: HashMap::new(), is_first: true, is_broken: false }
    }
}

/// What has happened (`ADDED`, `MODIFIED`, `DELETED`), and to which objects.
pub(super) type News = Vec<(&'static str, Vec<Object>)>;

impl Known {
    /// Whether nothing has been taken yet.
    pub(super) fn is_empty_yet(&self) -> bool {
        self.is_first
    }

    /// What is new in a change; `None` if the controller does not answer for now, which is said
    /// once.
    ///
    /// # Errors
    /// The controller has not answered for too long.
    pub(super) fn take(
        &mut self,
        change: Change,
        resource: Resource,
        output: &mut Output,
    ) -> Result<Option<News>, ClientError> {
        let news = match change {
            Change::Broken { error, tries } if tries >= MAX_TRIES => return Err(error),
            Change::Broken { error, .. } => {
                if !std::mem::replace(&mut self.is_broken, true) {
                    output.note(&format!("The watch broke off ({error}); trying again."));
                }
                return Ok(None);
            }
            Change::Listed(objects) => self.list(objects, resource, output),
            // What happened while a list was read, page by page, is in the list and in the watch.
            Change::Added(object) | Change::Modified(object) if self.has(&object) => Vec::new(),
            Change::Added(object) => vec![("ADDED", vec![self.note(object)])],
            Change::Modified(object) => vec![("MODIFIED", vec![self.note(object)])],
            Change::Deleted(object) => {
                self.versions.remove(&key(&object));
                vec![(DELETED, vec![object])]
            }
        };
        self.is_broken = false;
        Ok(Some(news))
    }

    fn list(&mut self, objects: Vec<Object>, resource: Resource, output: &mut Output) -> News {
        let mut before = std::mem::take(&mut self.versions);
        let (mut added, mut modified) = (Vec::new(), Vec::new());
        for object in objects {
            let now = version(&object);
            match before.remove(&key(&object)) {
                Some(then) if then == now => {
                    self.versions.insert(key(&object), now);
                }
                Some(_) => modified.push(self.note(object)),
                None => added.push(self.note(object)),
            }
        }
        // Their last state is not known, so there is nothing to show but that they are gone.
        let mut gone: Vec<&String> = before.keys().collect();
        gone.sort();
        for name in gone {
            output.note(&format!("{}/{name} was deleted meanwhile.", resource.singular()));
        }
        self.is_first = false;
        vec![("ADDED", added), ("MODIFIED", modified)]
    }

    /// Whether an object was shown in this version or in a newer one.
    fn has(&self, object: &Object) -> bool {
        let version = version(object);
        let Some(shown) = self.versions.get(&key(object)).filter(|_| !version.is_empty()) else {
            return false;
        };
        // The controller counts versions up; of another server's, only the same one is known.
        match (shown.parse::<u64>(), version.parse::<u64>()) {
            (Ok(shown), Ok(version)) => version <= shown,
            _ => *shown == version,
        }
    }

    fn note(&mut self, object: Object) -> Object {
        self.versions.insert(key(&object), version(&object));
        object
    }
}

fn key(object: &Object) -> String {
    object.name().to_owned()
}

fn version(object: &Object) -> String {
    object.text("/metadata/resourceVersion").unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tenant(name: &str, version: &str) -> Object {
        Object(json!({ "metadata": { "name": name, "resourceVersion": version } }))
    }

    #[test]
    fn a_list_of_many_pages_and_its_watch_tell_nothing_twice_and_nothing_backwards() {
        let (mut known, mut output) = (Known::default(), Output::new());
        let mut told = |change| {
            let news = known.take(change, Resource::Tenant, &mut output).unwrap().unwrap();
            let words = news.into_iter().flat_map(|(word, objects)| {
                objects.into_iter().map(move |object| (word, version(&object)))
            });
            words.collect::<Vec<_>>()
        };
        // The first page was read at version 5, the second one, with acme, at version 10.
        let listed = told(Change::Listed(vec![tenant("acme", "10"), tenant("b", "opaque")]));
        assert_eq!(listed.len(), 2);
        for old in ["7", "10"] {
            assert_eq!(told(Change::Modified(tenant("acme", old))), [], "{old}");
        }
        let news = told(Change::Modified(tenant("acme", "11")));
        assert_eq!(news, [("MODIFIED", "11".to_owned())]);
        assert_eq!(told(Change::Added(tenant("b", "opaque"))), []);
        assert_eq!(told(Change::Modified(tenant("b", "other"))).len(), 1);
        assert_eq!(told(Change::Deleted(tenant("acme", "12"))).len(), 1);
        assert_eq!(told(Change::Added(tenant("acme", "13"))).len(), 1);
    }
}
