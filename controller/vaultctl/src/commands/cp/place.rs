//! What the arguments of a copy name: pure.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::error::{Exit, Failure};
use crate::reach::MachineName;

/// One side of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Here(PathBuf),
    Machine(MachineName, Vec<u8>),
}

/// What is to be copied, and where to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) machine: MachineName,
    /// On one side, and the destination on the other.
    pub(super) sources: Vec<OsString>,
    destination: OsString,
    uploads: bool,
}

/// One source, and the destination.
pub(super) enum Job<'plan> {
    Upload { from: &'plan Path, to: &'plan [u8] },
    Download { from: &'plan [u8], to: &'plan Path },
}

impl Plan {
    /// Sorts the arguments out.
    ///
    /// # Errors
    /// No side, or both, are in a machine, or the sources are in several.
    pub(super) fn new(places: &[OsString]) -> Result<Self, Failure> {
        let bad = |message: &str| {
            let hint = "write cp SOURCE… TENANT:PATH, or cp TENANT:SOURCE… DESTINATION";
            Failure::new(Exit::BadInput, message).hint(hint)
        };
        let mut places: Vec<Place> = places.iter().map(|place| Place::read(place)).collect();
        let destination = places.pop().ok_or_else(|| bad("nothing is to be copied"))?;
        let mut sources = Vec::new();
        let mut from: Option<MachineName> = None;
        let mut here = false;
        for place in places {
            match place {
                Place::Here(path) => {
                    here = true;
                    sources.push(path.into_os_string());
                }
                Place::Machine(machine, path) => {
                    if from.get_or_insert_with(|| machine.clone()) != &machine {
                        return Err(bad("the sources are in different machines"));
                    }
                    sources.push(OsString::from_vec(path));
                }
            }
        }
        match (from, here, destination) {
            (None, true, Place::Machine(machine, path)) => {
                let destination = OsString::from_vec(path);
                Ok(Self { machine, sources, destination, uploads: true })
            }
            (Some(machine), false, Place::Here(path)) => {
                let destination = path.into_os_string();
                Ok(Self { machine, sources, destination, uploads: false })
            }
            (Some(_), true, _) => Err(bad("some sources are in a machine, and some are here")),
            (Some(_), false, _) => Err(bad("sources and destination are both in a machine")),
            (None, _, _) => Err(bad("neither side is in a machine")),
        }
    }

    /// One after another.
    pub(super) fn jobs(&self) -> impl Iterator<Item = Job<'_>> {
        let to = &self.destination;
        self.sources.iter().map(move |from| match self.uploads {
            true => Job::Upload { from: Path::new(from), to: to.as_bytes() },
            false => Job::Download { from: from.as_bytes(), to: Path::new(to) },
        })
    }
}

impl Job<'_> {
    /// The source, fit for a terminal.
    pub(super) fn shown(&self) -> String {
        let source = match self {
            Self::Upload { from, .. } => from.as_os_str().as_bytes(),
            Self::Download { from, .. } => from,
        };
        String::from_utf8_lossy(source).escape_debug().to_string()
    }
}

impl Place {
    /// As scp: what stands before the first colon names a machine, if it can be a name.
    fn read(argument: &OsStr) -> Self {
        let bytes = argument.as_bytes();
        let here = || Self::Here(PathBuf::from(argument));
        let Some(colon) = bytes.iter().position(|byte| *byte == b':') else { return here() };
        if bytes.starts_with(b".") {
            return here();
        }
        let name = std::str::from_utf8(&bytes[..colon]).ok().and_then(|name| name.parse().ok());
        match name {
            Some(name) => Self::Machine(name, bytes[colon + 1..].to_vec()),
            None => here(),
        }
    }
}

/// What a source is called in a folder that it is copied into: nothing, if its path ends in no name, and
/// then its entries go into the folder themselves.
pub(super) fn name_of(path: &[u8]) -> Option<Vec<u8>> {
    let end = path.iter().rposition(|byte| *byte != b'/')? + 1;
    let name = path[..end].rsplit(|byte| *byte == b'/').next()?;
    let is_name = !matches!(name, b"." | b".." | b"~");
    is_name.then(|| name.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(places: &[&str]) -> Result<Plan, Failure> {
        Plan::new(&places.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn one_side_is_in_a_machine() {
        for (places, machine, sources, destination, uploads) in [
            (&["a", "acme:"][..], "acme", &["a"][..], "", true),
            (&["a", "./b:c", "globex/web-1:/x:y"], "globex/web-1", &["a", "./b:c"], "/x:y", true),
            (&["acme:a", "acme:~/b", "."], "acme", &["a", "~/b"], ".", false),
            (&["acme:a", "a/b/c:d"], "acme", &["a"], "a/b/c:d", false),
            (&["/a:b", "acme:x"], "acme", &["/a:b"], "x", true),
        ] {
            let plan = plan(places).expect("a copy");
            assert_eq!(plan.machine.to_string(), machine);
            assert_eq!(plan.sources, sources);
            assert_eq!(
                (plan.destination.as_os_str(), plan.uploads),
                (OsStr::new(destination), uploads)
            );
        }
        for bad in [
            &["a", "b"][..],
            &["acme:a", "acme:b"],
            &["acme:a", "b", "c"],
            &["acme:a", "globex:b", "c"],
            &["acme:a"],
        ] {
            plan(bad).expect_err("no copy");
        }
    }

    #[test]
    fn a_source_is_called_by_its_last_component() {
        for (path, name) in [
            ("a", Some("a")),
            ("/a/b", Some("b")),
            ("a/b//", Some("b")),
            ("~/a", Some("a")),
            ("", None),
            ("/", None),
            (".", None),
            ("a/.", None),
            ("a/../", None),
            ("~", None),
        ] {
            assert_eq!(
                name_of(path.as_bytes()),
                name.map(|name| name.as_bytes().to_vec()),
                "{path}"
            );
        }
    }
}
