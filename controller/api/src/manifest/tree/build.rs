//! From the parser's events to trees.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, Tag, options};

use super::super::located::{LocatedProblem, Location};
use super::super::scalar;
use super::super::source::Source;
use super::super::{
    DOCUMENT_NODES_MAX, DOCUMENTS_MAX, MANIFEST_NODES_MAX, MANIFEST_TEXT_BYTES_MAX,
};
use super::{Content, Entry, Extent, Node, Root};
use crate::check::words::shorten;
use crate::check::{DEPTH_MAX, too_deep};

/// The documents of a file, empty ones left out. What is wrong with the YAML goes to `problems`.
///
/// Where a document cannot be read to its end, a new parser begins at the next line that separates
/// documents. (The parser's own recovery would skip the document after a bad directive.)
pub(in super::super) fn read(source: &Source, problems: &mut Vec<LocatedProblem>) -> Vec<Root> {
    let mut reader =
        Reader { source, problems, roots: Vec::new(), total: Extent::default(), documents: 0 };
    let mut line = 1;
    // A document whose very beginning is bad is not counted as one, but it is as costly.
    for _ in 0..DOCUMENTS_MAX {
        let next = reader
            .read_from(line)
            .and_then(|broken_line| source.separator_from(broken_line.max(line + 1)));
        match next {
            Some(next) => line = next,
            None => break,
        }
    }
    reader.roots
}

/// Something wrong at a place.
type Fault = (Location, String);

struct Reader<'a> {
    source: &'a Source,
    problems: &'a mut Vec<LocatedProblem>,
    roots: Vec<Root>,
    /// The extent of all roots.
    total: Extent,
    /// How many documents have begun, empty ones included.
    documents: usize,
}

impl Reader<'_> {
    /// Reads documents from a line on; gives the line at which one could not be read on.
    fn read_from(&mut self, line: usize) -> Option<usize> {
        let options = options! {
            emit_unresolved_aliases: true,
            // More than we take: the scanner reads ahead, and our own message should come first.
            flow_nesting_limit: DEPTH_MAX * 2,
            block_nesting_limit: DEPTH_MAX * 2,
        };
        let text = self.source.text_from(line);
        let place =
            |marker: &Marker| Location { line: marker.line() + line - 1, column: marker.col() + 1 };
        let mut document = Build::default();
        for event in Parser::new_from_str_with_options(text, options) {
            let (fault, broken_line) = match event {
                Ok((Event::DocumentStart(..), span)) => {
                    document = Build::default();
                    self.documents += 1;
                    if self.documents > DOCUMENTS_MAX {
                        let message = format!("more than {DOCUMENTS_MAX} documents in one file");
                        self.tell((place(&span.start), message));
                        return None;
                    }
                    continue;
                }
                Ok((Event::DocumentEnd, _)) => {
                    self.finish(std::mem::take(&mut document));
                    continue;
                }
                Ok((event, span)) => match document.take(event, place(&span.start)) {
                    Ok(()) => continue,
                    Err(fault) => (fault, place(&span.start).line),
                },
                Err(error) => {
                    let place = place(error.marker());
                    ((place, syntax_message(&error)), place.line)
                }
            };
            document.faults.drain(..).for_each(|fault| self.tell(fault));
            self.tell(fault);
            return Some(broken_line);
        }
        None
    }

    /// Takes in a document that was read to its end.
    fn finish(&mut self, mut document: Build) {
        let faults: HashSet<Location> = document.faults.iter().map(|(place, _)| *place).collect();
        match document.finish(&mut self.total) {
            Ok(Some(node)) => self.roots.push(Root { node, faults: Arc::new(faults) }),
            Ok(None) => {}
            Err(fault) => self.tell(fault),
        }
        document.faults.into_iter().for_each(|fault| self.tell(fault));
    }

    fn tell(&mut self, (place, message): Fault) {
        self.problems.push(self.source.problem(place, message));
    }
}

fn syntax_message(error: &ScanError) -> String {
    match error.kind() {
        ErrorKind::TabInBlockIndentation | ErrorKind::TabNotAllowed => {
            "not valid YAML: a tab where only spaces may stand".to_owned()
        }
        _ => format!("not valid YAML: {}", error.info()),
    }
}

/// A document in the making.
#[derive(Default)]
struct Build {
    /// The collections that are open, outermost first.
    open: Vec<Frame>,
    root: Option<(Node, Extent)>,
    anchors: HashMap<usize, (Node, Extent)>,
    /// What is wrong, but does not end the document.
    faults: Vec<Fault>,
}

struct Frame {
    location: Location,
    anchor: usize,
    extent: Extent,
    items: Items,
}

enum Items {
    Sequence(Vec<Node>),
    Mapping { entries: Vec<Entry>, keys: HashSet<Arc<str>>, key: Key },
}

/// What a mapping waits for.
enum Key {
    /// A key.
    Awaited,
    /// The value of this key.
    Given(Arc<str>, Location),
    /// The value of a key that was refused.
    Refused,
}

impl Build {
    /// Takes in one event; an error ends the document.
    fn take(&mut self, event: Event<'_>, place: Location) -> Result<(), Fault> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(place, &text, style, anchor, tag.as_deref())
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(place, anchor, "seq", tag, Items::Sequence(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                let keys = HashSet::new();
                let items = Items::Mapping { entries: Vec::new(), keys, key: Key::Awaited };
                self.open(place, anchor, "map", tag, items)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(place, anchor),
            Event::UnresolvedAlias(name) => {
                let message = format!("the alias `*{0}` has no `&{0}` before it", shorten(&name));
                self.faults.push((place, message));
                self.put(Node { location: place, content: Content::Null }, Extent::scalar(0), false)
            }
            // Marks of the stream; comments are not asked for.
            _ => Ok(()),
        }
    }

    fn scalar(
        &mut self,
        place: Location,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
    ) -> Result<(), Fault> {
        let is_merge_key = text == "<<" && style == ScalarStyle::Plain && self.awaits_key();
        let content = if is_merge_key {
            self.faults.push((
                place,
                "merge keys (`<<`) are not supported: share settings by a TenantClass".to_owned(),
            ));
            self.refuse_key();
            return Ok(());
        } else {
            scalar::resolve(text, style, tag).unwrap_or_else(|message| {
                self.faults.push((place, message));
                Content::Null
            })
        };
        let node = Node { location: place, content };
        let extent = Extent::scalar(text.len());
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), extent));
        }
        self.put(node, extent, true)
    }

    fn alias(&mut self, place: Location, anchor: usize) -> Result<(), Fault> {
        let Some((node, extent)) = self.anchors.get(&anchor).cloned() else {
            return Err((place, "the alias stands inside of what it stands for".to_owned()));
        };
        if self.open.len() + extent.depth > DEPTH_MAX {
            return Err((place, too_deep().message));
        }
        // A scalar is said to stand where the alias does; in a collection, the places of its
        // members are what helps.
        let location = match node.content {
            Content::Sequence(_) | Content::Mapping(_) => node.location,
            _ => place,
        };
        self.put(Node { location, ..node }, extent, true).map_err(|(_, message)| (place, message))
    }

    fn open(
        &mut self,
        place: Location,
        anchor: usize,
        kind: &str,
        tag: Option<Cow<'_, Tag>>,
        items: Items,
    ) -> Result<(), Fault> {
        if self.open.len() >= DEPTH_MAX {
            return Err((place, too_deep().message));
        }
        if let Some(tag) = tag
            && tag.original() != "!"
            && tag.core_suffix() != Some(kind)
        {
            self.faults.push((place, scalar::unknown_tag(&tag)));
        }
        let extent = Extent::scalar(0);
        self.open.push(Frame { location: place, anchor, extent, items });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        let Some(Frame { location, anchor, extent, items }) = self.open.pop() else {
            return Ok(());
        };
        let content = match items {
            Items::Sequence(items) => Content::Sequence(items.into()),
            Items::Mapping { entries, .. } => Content::Mapping(entries.into()),
        };
        let node = Node { location, content };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), extent));
        }
        self.put(node, extent, true)
    }

    /// Puts a finished value where it belongs. A value that `is_known` not to be what was written
    /// must not be complained about again as a key.
    fn put(&mut self, node: Node, extent: Extent, is_known: bool) -> Result<(), Fault> {
        let place = node.location;
        let Some(frame) = self.open.last_mut() else {
            self.root = Some((node, extent));
            return Ok(());
        };
        frame.extent.add_child(extent);
        if frame.extent.nodes > DOCUMENT_NODES_MAX {
            let message =
                format!("more than {DOCUMENT_NODES_MAX} values in one document, aliases expanded");
            return Err((place, message));
        }
        if frame.extent.text_bytes > MANIFEST_TEXT_BYTES_MAX {
            let message = format!(
                "more than {MANIFEST_TEXT_BYTES_MAX} bytes of text in one document, aliases expanded"
            );
            return Err((place, message));
        }
        match &mut frame.items {
            Items::Sequence(items) => items.push(node),
            Items::Mapping { entries, keys, key } => {
                *key = match std::mem::replace(key, Key::Awaited) {
                    Key::Awaited => match checked_key(node, keys) {
                        Ok((key, place)) => Key::Given(key, place),
                        Err(fault) => {
                            self.faults.extend(is_known.then_some(fault));
                            Key::Refused
                        }
                    },
                    Key::Given(key, key_location) => {
                        entries.push(Entry { key, key_location, value: node });
                        Key::Awaited
                    }
                    Key::Refused => Key::Awaited,
                };
            }
        }
        Ok(())
    }

    fn awaits_key(&self) -> bool {
        let items = self.open.last().map(|frame| &frame.items);
        matches!(items, Some(Items::Mapping { key: Key::Awaited, .. }))
    }

    fn refuse_key(&mut self) {
        if let Some(Frame { items: Items::Mapping { key, .. }, .. }) = self.open.last_mut() {
            *key = Key::Refused;
        }
    }

    /// The finished document, unless it is empty; counted into the file's total.
    fn finish(&mut self, total: &mut Extent) -> Result<Option<Node>, Fault> {
        let Some((node, extent)) = self.root.take() else {
            return Ok(None);
        };
        if matches!(node.content, Content::Null) && self.faults.is_empty() {
            return Ok(None);
        }
        let nodes = total.nodes.saturating_add(extent.nodes);
        let text_bytes = total.text_bytes.saturating_add(extent.text_bytes);
        if nodes > MANIFEST_NODES_MAX || text_bytes > MANIFEST_TEXT_BYTES_MAX {
            let message = format!(
                "more than {MANIFEST_NODES_MAX} values or {MANIFEST_TEXT_BYTES_MAX} bytes of text \
                 in one file, aliases expanded: split it"
            );
            return Err((node.location, message));
        }
        (total.nodes, total.text_bytes) = (nodes, text_bytes);
        Ok(Some(node))
    }
}

/// A key must be text, and stand there once.
fn checked_key(node: Node, keys: &mut HashSet<Arc<str>>) -> Result<(Arc<str>, Location), Fault> {
    let place = node.location;
    let key = match node.content {
        Content::String(key) => key,
        Content::Null => return Err((place, "a key is missing here".to_owned())),
        Content::Bool(_) | Content::Number(_) => {
            let value = node.to_value();
            return Err((place, format!("a key must be text: quote it, \"{value}\"")));
        }
        Content::Sequence(_) | Content::Mapping(_) => {
            return Err((place, "a key must be text, not a list or a mapping".to_owned()));
        }
    };
    if keys.insert(Arc::clone(&key)) {
        Ok((key, place))
    } else {
        Err((place, format!("the key `{}` stands here for the second time", shorten(&key))))
    }
}
