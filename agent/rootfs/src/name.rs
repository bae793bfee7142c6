//! Names of entries: bytes from an archive that have to be a path beneath the root.
//!
//! ```text
//!   "./usr//bin/env" ─▶ usr/bin/env     parent "usr/bin", leaf "env"
//!   "./"             ─▶ the root        no leaf
//!   "../x" "/x" "" "a\0b" …  ─▶ refused
//! ```

use std::fmt;

use thiserror::Error;

use crate::limits::{NAME_BYTES, NAME_PART_BYTES};

/// Why a name is not one of a path beneath the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameProblem {
    /// No bytes at all.
    #[error("is empty")]
    Empty,
    /// It begins with a slash.
    #[error("is absolute")]
    Absolute,
    /// A part of it is `..`.
    #[error("has a part `..`")]
    Parent,
    /// It has a zero byte in it.
    #[error("has a zero byte in it")]
    Zero,
    /// More than [`NAME_BYTES`], or a part with more than [`NAME_PART_BYTES`].
    #[error("is too long")]
    TooLong,
}

/// A path beneath the root without `.`, `..` and double slashes; the root itself has no bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(Vec<u8>);

impl Name {
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, NameProblem> {
        if bytes.is_empty() {
            return Err(NameProblem::Empty);
        }
        if bytes[0] == b'/' {
            return Err(NameProblem::Absolute);
        }
        if bytes.contains(&0) {
            return Err(NameProblem::Zero);
        }
        if bytes.len() > NAME_BYTES {
            return Err(NameProblem::TooLong);
        }
        let mut name = Vec::with_capacity(bytes.len());
        for part in bytes.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => continue,
                b".." => return Err(NameProblem::Parent),
                part if part.len() > NAME_PART_BYTES => return Err(NameProblem::TooLong),
                _ => {}
            }
            if !name.is_empty() {
                name.push(b'/');
            }
            name.extend_from_slice(part);
        }
        Ok(Self(name))
    }

    /// A part beneath a path, or the path itself; both are parts of a name already.
    pub(crate) fn beneath(parent: &[u8], leaf: Option<&[u8]>) -> Self {
        Self(match leaf {
            Some(leaf) if parent.is_empty() => leaf.to_vec(),
            Some(leaf) => [parent, b"/", leaf].concat(),
            None => parent.to_vec(),
        })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The folder that it is in, and its own name there; nothing for the root.
    pub(crate) fn split(&self) -> Option<(&[u8], &[u8])> {
        if self.is_root() {
            return None;
        }
        Some(split(&self.0))
    }

    /// Folders above it, beneath the root.
    pub(crate) fn depth(&self) -> usize {
        self.0.iter().filter(|byte| **byte == b'/').count()
    }
}

/// A path that is not the root's, as its parent (the root is empty) and its last part.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// For errors: what is not text is escaped, and what is very long is cut.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const SHOWN: usize = 200;
    let text = bytes[..bytes.len().min(SHOWN)].escape_ascii().to_string();
    if bytes.len() > SHOWN { format!("{text}… ({} bytes)", bytes.len()) } else { text }
}

impl fmt::Debug for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Name({})", shown(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_brought_to_one_form_or_refused() {
        let good = |name: &[u8]| Name::new(name).map(|name| name.as_bytes().to_vec());
        assert_eq!(good(b"./usr//bin/./env"), Ok(b"usr/bin/env".to_vec()));
        assert_eq!(good(b"a/"), Ok(b"a".to_vec()));
        assert_eq!(good(b"./"), Ok(Vec::new()));
        assert_eq!(good(b"..."), Ok(b"...".to_vec()));
        for (bad, why) in [
            (&b""[..], NameProblem::Empty),
            (b"/etc", NameProblem::Absolute),
            (b"..", NameProblem::Parent),
            (b"a/../b", NameProblem::Parent),
            (b"./a/..", NameProblem::Parent),
            (b"a\0b", NameProblem::Zero),
            (&[b'a'; 256], NameProblem::TooLong),
            (&b"a/".repeat(2048), NameProblem::TooLong),
        ] {
            assert_eq!(good(bad), Err(why), "{}", shown(bad));
        }
        let name = Name::new(b"usr/bin/env").expect("a name");
        assert_eq!(name.split(), Some((&b"usr/bin"[..], &b"env"[..])));
        assert_eq!(name.depth(), 2);
        assert_eq!(Name::new(b".").expect("a name").split(), None);
    }
}
