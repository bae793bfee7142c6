//! YAML as a tree whose every value and key knows its place.
//!
//! Aliases share the tree that they stand for, so an alias bomb costs no more memory than its
//! text; how large a document is once expanded is counted beside it ([`Extent`]), and what is too
//! large is refused before anyone walks it.

mod build;

pub(super) use build::read;

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Number, Value};

use super::located::Location;
use crate::problem::{FieldPath, Step};

/// The root of one document.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) node: Node,
    /// Where something is wrong with the YAML itself, which has been told. If there is such a
    /// place, the document must not be used.
    pub(super) faults: Arc<HashSet<Location>>,
}

/// A value and its place; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) location: Location,
    pub(super) content: Content,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Null,
    Bool(bool),
    Number(Number),
    String(Arc<str>),
    Sequence(Arc<[Node]>),
    Mapping(Arc<[Entry]>),
}

/// A member of a mapping.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Arc<str>,
    pub(super) key_location: Location,
    pub(super) value: Node,
}

/// How large a value is once its aliases are expanded.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extent {
    pub(super) nodes: usize,
    pub(super) text_bytes: usize,
    /// Levels, 1 for a scalar.
    pub(super) depth: usize,
}

impl Extent {
    /// The extent of a scalar.
    pub(super) fn scalar(text_bytes: usize) -> Self {
        Self { nodes: 1, text_bytes, depth: 1 }
    }

    /// Takes in a value one level deeper. Sums saturate: an alias bomb is far beyond any number.
    pub(super) fn add_child(&mut self, child: Self) {
        self.nodes = self.nodes.saturating_add(child.nodes);
        self.text_bytes = self.text_bytes.saturating_add(child.text_bytes);
        self.depth = self.depth.max(child.depth.saturating_add(1));
    }
}

impl Node {
    /// As JSON, without the places. Of a key that stands twice, the first counts.
    pub(super) fn to_value(&self) -> Value {
        self.content.to_value()
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::String(text) => Some(text),
            _ => None,
        }
    }

    /// A member, if this is a mapping that has it.
    pub(super) fn member(&self, key: &str) -> Option<&Entry> {
        match &self.content {
            Content::Mapping(entries) => entries.iter().find(|entry| &*entry.key == key),
            _ => None,
        }
    }

    /// Where a path leads: to a scalar itself; for a collection or nothing to the key before it,
    /// where there is one. A path that does not exist leads as far as it goes.
    pub(super) fn locate(&self, path: &FieldPath) -> Location {
        let (node, key) = self.follow(path);
        match (&node.content, key) {
            (Content::Sequence(_) | Content::Mapping(_) | Content::Null, Some(key)) => key,
            _ => node.location,
        }
    }

    /// Where the key of a path's last step stands; without such a key, as [`Self::locate`].
    pub(super) fn locate_key(&self, path: &FieldPath) -> Location {
        let (node, key) = self.follow(path);
        key.unwrap_or(node.location)
    }

    /// Where the value begins that a path leads to.
    pub(super) fn locate_value(&self, path: &FieldPath) -> Location {
        self.follow(path).0.location
    }

    fn follow(&self, path: &FieldPath) -> (&Self, Option<Location>) {
        let (mut node, mut key) = (self, None);
        for step in &path.0 {
            match (step, &node.content) {
                (Step::Field(name), Content::Mapping(_)) => {
                    let Some(entry) = node.member(name) else {
                        break;
                    };
                    (node, key) = (&entry.value, Some(entry.key_location));
                }
                (Step::Index(index), Content::Sequence(items)) => {
                    let Some(item) = items.get(*index) else { break };
                    (node, key) = (item, None);
                }
                _ => break,
            }
        }
        (node, key)
    }
}

impl Content {
    pub(super) fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(flag) => Value::Bool(*flag),
            Self::Number(number) => Value::Number(number.clone()),
            Self::String(text) => Value::String(text.as_ref().to_owned()),
            Self::Sequence(items) => items.iter().map(Node::to_value).collect(),
            Self::Mapping(entries) => {
                let mut members = Map::new();
                for entry in entries.iter() {
                    members.entry(entry.key.as_ref()).or_insert_with(|| entry.value.to_value());
                }
                Value::Object(members)
            }
        }
    }
}
