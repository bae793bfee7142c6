//! Whiteouts: entries of a layer that hide what lower layers have (OCI Image Layer Specification).
//!
//! ```text
//!   usr/share/.wh.doc        hides usr/share/doc and all beneath it
//!   usr/share/.wh..wh..opq   hides everything in usr/share, and not usr/share itself
//!   .wh.  .wh..  .wh...  .wh..wh.x  .wh.a/b   are refused: they name nothing that could be hidden
//! ```
//!
//! `.wh...` is the one to fear: what it names is `..`.

use crate::archive::{Entry, Kind};
use crate::error::Problem;
use crate::name::Name;

/// What such a name begins with. No layer can hold a file of such a name.
const PREFIX: &[u8] = b".wh.";

/// The name that hides all of a folder.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What an entry hides.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Whiteout {
    /// This, whatever it is, with all beneath it.
    One(Name),
    /// Everything in this folder.
    Children(Name),
}

impl Whiteout {
    /// What the entry hides; nothing, if it is an ordinary one.
    pub(crate) fn of(entry: &Entry) -> Result<Option<Self>, Problem> {
        let Some((parent, leaf)) = entry.name.split() else { return Ok(None) };
        if parent.split(|byte| *byte == b'/').any(|part| part.starts_with(PREFIX)) {
            return Err(Problem::Whiteout);
        }
        let Some(hidden) = leaf.strip_prefix(PREFIX) else { return Ok(None) };
        if !matches!(&entry.kind, Kind::File(shape) if shape.size == 0) {
            return Err(Problem::Whiteout);
        }
        if leaf == OPAQUE {
            return Ok(Some(Self::Children(Name::beneath(parent, None))));
        }
        if matches!(hidden, b"" | b"." | b"..") || hidden.starts_with(PREFIX) {
            return Err(Problem::Whiteout);
        }
        Ok(Some(Self::One(Name::beneath(parent, Some(hidden)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Shape;
    use crate::attributes::{Attributes, Time};

    fn of(name: &str, size: u64) -> Result<Option<Whiteout>, Problem> {
        let mtime = Time { seconds: 0, nanoseconds: 0 };
        let attributes = Attributes { mode: 0, uid: 0, gid: 0, mtime, xattrs: Vec::new() };
        let name = Name::new(name.as_bytes()).expect("a name");
        Whiteout::of(&Entry { name, attributes, kind: Kind::File(Shape { size, regions: None }) })
    }

    fn name(text: &str) -> Name {
        Name::new(text.as_bytes()).expect("a name")
    }

    #[test]
    fn whiteouts_name_what_they_hide() {
        for (whiteout, hidden) in [
            (".wh.a", Whiteout::One(name("a"))),
            ("a/b/.wh.c", Whiteout::One(name("a/b/c"))),
            ("a/.wh....", Whiteout::One(name("a/..."))),
            ("a/.wh..wh", Whiteout::One(name("a/.wh"))),
            (".wh..wh..opq", Whiteout::Children(name("."))),
            ("a/b/.wh..wh..opq", Whiteout::Children(name("a/b"))),
        ] {
            assert_eq!(of(whiteout, 0).expect("a whiteout"), Some(hidden), "{whiteout}");
        }
        for ordinary in [".", "a", "a/.wh", "a/b.wh.c"] {
            assert_eq!(of(ordinary, 0).expect("an ordinary name"), None, "{ordinary}");
        }
    }

    #[test]
    fn names_that_are_kept_for_whiteouts_hold_nothing_else() {
        for (refused, size) in [
            (".wh.", 0),
            ("a/.wh..", 0),
            ("a/.wh...", 0),
            ("a/.wh..wh.", 0),
            ("a/.wh..wh.plnk", 0),
            ("a/.wh..wh..wh..opq", 0),
            (".wh.a/b", 0),
            ("a/.wh.b/.wh.c", 0),
            ("a/.wh.b", 1),
            ("a/.wh..wh..opq", 1),
        ] {
            let found = of(refused, size);
            assert!(matches!(found, Err(Problem::Whiteout)), "{refused}: {found:?}");
        }
    }
}
