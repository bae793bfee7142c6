//! Manifest files: YAML in, checked documents and located problems out.
//!
//! ```text
//!   bytes ─▶ text ─▶ tree (per document: values with line and column) ─▶ check ─▶ LocatedDocument
//!               │        │                                                 │
//!               └────────┴──────────────▶ LocatedProblem ◀─────────────────┘
//! ```
//!
//! All problems of a file come at once, and a bad document never hides a good one, before or after
//! it: after a syntax error reading goes on at the next line that is `---`.
//!
//! YAML is read as YAML 1.2 with its core schema. Merge keys (`<<`), tags of one's own and keys
//! that are not text are refused by name. Anchors and aliases work within a document.

mod folder;
mod located;
mod scalar;
mod source;
mod tree;
mod value;

pub use folder::{FolderProblem, check_folder};
pub use located::{LocatedDocument, LocatedProblem, Location};
pub use value::read_value;

use std::collections::HashSet;

use crate::check::{DocumentKind, Placed, check_placed};
use crate::problem::{FieldPath, Problem};
use source::Source;
use tree::{Content, Node};

/// Largest manifest file: one tenant takes a few hundred bytes, so a thousand tenants fit one file
/// with room to spare, and what is read at once stays small.
pub const MANIFEST_BYTES_MAX: usize = 1024 * 1024;
/// Most documents of one file, items of a `List` included: more than fit [`MANIFEST_BYTES_MAX`]
/// in any useful form, so that a file of separators alone stays cheap.
pub const DOCUMENTS_MAX: usize = 10_000;
/// Most values of one document once its aliases are expanded: a large tenant has some hundreds.
pub const DOCUMENT_NODES_MAX: usize = 100_000;
/// Most values of one file's documents together once aliases are expanded. Without aliases a file
/// of [`MANIFEST_BYTES_MAX`] cannot hold more; with them it stays at tens of megabytes.
pub const MANIFEST_NODES_MAX: usize = 600_000;
/// Most bytes of text of one file's documents together once aliases are expanded.
pub const MANIFEST_TEXT_BYTES_MAX: usize = 8 * MANIFEST_BYTES_MAX;

/// Most problems that are told of one file: nobody reads more.
pub const PROBLEMS_MAX: usize = 1_000;

/// What a file says.
#[derive(Debug, Default)]
pub struct ManifestReading {
    /// The documents without a problem, in the order of the file.
    pub documents: Vec<LocatedDocument>,
    /// Everything that is wrong, in the order of the file.
    pub problems: Vec<LocatedProblem>,
    /// The documents with a problem, as far as kind and name could be read: they exist, though
    /// they cannot be used, and so must not be taken for deleted.
    pub refused: Vec<RefusedDocument>,
}

/// A document that was refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RefusedDocument {
    /// Its kind.
    pub kind: DocumentKind,
    /// Its name.
    pub name: String,
}

/// Reads a manifest. `file` is its name, as problems should show it.
#[must_use]
pub fn read_manifest(file: &str, text: &[u8]) -> ManifestReading {
    let mut reading = ManifestReading::default();
    let source = Source::new(file, text);
    reading.problems.extend(source.problems());
    let mut taken = 0;
    for root in tree::read(&source, &mut reading.problems) {
        let items = match list_items(&root.node) {
            Some(items) => {
                reading.check_list(&source, &root.node);
                items
            }
            None => std::slice::from_ref(&root.node),
        };
        for item in items {
            taken += 1;
            if taken > DOCUMENTS_MAX {
                break;
            }
            reading.take(&source, item, &root.faults);
        }
    }
    if taken > DOCUMENTS_MAX {
        let message = format!("more than {DOCUMENTS_MAX} documents in one file: split it");
        reading.problems.push(source.problem(Location::START, message));
    }
    reading.problems.sort_by_key(|problem| problem.location);
    if let Some(more) = reading.problems.len().checked_sub(PROBLEMS_MAX).filter(|more| *more > 0) {
        let place = reading.problems[PROBLEMS_MAX].location;
        reading.problems.truncate(PROBLEMS_MAX);
        let message = format!("{more} more problems from here on are not shown");
        reading.problems.push(source.problem(place, message));
    }
    reading
}

impl ManifestReading {
    /// Takes in one document, in which the YAML itself is wrong at `faults`.
    fn take(&mut self, source: &Source, node: &Node, faults: &HashSet<Location>) {
        let value = node.to_value();
        match check_placed(&value) {
            Ok(document) if faults.is_empty() => {
                let located = LocatedDocument::new(source.clone(), document, node.clone());
                self.documents.push(located);
                return;
            }
            // What is wrong with it has been told while the tree was read.
            Ok(_) => {}
            Err(placed) => {
                // Where the YAML is wrong, what was made of it is not worth a second word.
                let is_new =
                    |placed: &&Placed| !faults.contains(&node.locate_value(&placed.problem.path));
                let located = placed.iter().filter(is_new);
                self.problems.extend(located.map(|placed| locate(source, node, placed)));
            }
        }
        self.refused.extend(refused(&value));
    }

    /// What is wrong with a `List` itself.
    fn check_list(&mut self, source: &Source, node: &Node) {
        let Content::Mapping(entries) = &node.content else {
            return;
        };
        let known = ["apiVersion", "kind", "metadata", "items"];
        for entry in entries.iter() {
            if !known.contains(&&*entry.key) {
                let shown = crate::check::words::shorten(&entry.key);
                let hint = crate::names::did_you_mean(&entry.key, known);
                let message = format!("unknown field `{shown}`{hint}");
                self.problems.push(source.problem(entry.key_location, message));
            }
        }
        let version = node.member("apiVersion");
        if version.and_then(|entry| entry.value.text()) != Some("v1") {
            let location = version.map_or(node.location, |entry| entry.value.location);
            let message = "a `List` has `apiVersion: v1`";
            self.problems.push(source.problem(location, message.to_owned()));
        }
    }
}

/// The items of `kind: List`, or nothing for another document.
fn list_items(node: &Node) -> Option<&[Node]> {
    if node.member("kind")?.value.text() != Some("List") {
        return None;
    }
    match &node.member("items")?.value.content {
        Content::Sequence(items) => Some(items),
        _ => None,
    }
}

fn locate(source: &Source, root: &Node, placed: &Placed) -> LocatedProblem {
    let Placed { problem, at_key, .. } = placed;
    let location =
        if *at_key { root.locate_key(&problem.path) } else { root.locate(&problem.path) };
    source.problem(location, problem.message.clone())
}

fn refused(value: &serde_json::Value) -> Option<RefusedDocument> {
    let kind = DocumentKind::named(value.get("kind")?.as_str()?)?;
    let name = value.pointer("/metadata/name")?.as_str()?.to_owned();
    Some(RefusedDocument { kind, name })
}

impl LocatedDocument {
    /// Where a path of this document stands in its file; where the path does not exist, the
    /// nearest ancestor that does.
    #[must_use]
    pub fn locate(&self, path: &FieldPath) -> Location {
        self.root().locate(path)
    }

    /// A problem of this document, as [`crate::set`] or [`crate::resolve`] finds them, with its
    /// place in the file.
    #[must_use]
    pub fn problem(&self, problem: &Problem) -> LocatedProblem {
        self.source().problem(self.locate(&problem.path), problem.message.clone())
    }
}

#[cfg(test)]
mod tests;
