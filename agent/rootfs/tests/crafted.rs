//! Archives byte by byte, and the place where they are unpacked.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use rustix::process::{getgid, getuid};
use tar::Header;
use tempfile::TempDir;
use vault_rootfs::{Limits, Summary, UnpackError, unpack};

use crate::seen::{Tree, seen};

/// A tar that is written as told, sound or not.
#[derive(Clone, Default)]
pub(crate) struct Crafted(Vec<u8>);

/// A header with our own owner, which everybody may set.
pub(crate) fn header(name: &[u8], kind: u8, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.as_old_mut().linkflag = [kind];
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(getuid().as_raw().into());
    header.set_gid(getgid().as_raw().into());
    header.set_mtime(1_000_000_000);
    header.set_cksum();
    header
}

pub(crate) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

impl Crafted {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A header as it is given, and content filled up to whole blocks.
    pub(crate) fn entry(mut self, header: &Header, content: &[u8]) -> Self {
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// A header that is changed before its checksum is taken.
    pub(crate) fn changed(
        self,
        name: &[u8],
        kind: u8,
        content: &[u8],
        change: impl FnOnce(&mut Header),
    ) -> Self {
        let mut header = header(name, kind, content.len() as u64);
        change(&mut header);
        header.set_cksum();
        self.entry(&header, content)
    }

    pub(crate) fn file(self, name: &[u8], content: &[u8]) -> Self {
        self.changed(name, b'0', content, |_| ())
    }

    pub(crate) fn folder(self, name: &[u8]) -> Self {
        self.changed(name, b'5', b"", |header| header.set_mode(0o755))
    }

    pub(crate) fn link(self, kind: u8, name: &[u8], target: &[u8]) -> Self {
        self.changed(name, kind, b"", |header| {
            header.as_old_mut().linkname[..target.len()].copy_from_slice(target);
        })
    }

    pub(crate) fn symlink(self, name: &[u8], target: &[u8]) -> Self {
        self.link(b'2', name, target)
    }

    pub(crate) fn hard_link(self, name: &[u8], target: &[u8]) -> Self {
        self.link(b'1', name, target)
    }

    pub(crate) fn device(self, kind: u8, name: &[u8], major: u32, minor: u32) -> Self {
        self.changed(name, kind, b"", |header| {
            header.set_device_major(major).expect("a ustar header");
            header.set_device_minor(minor).expect("a ustar header");
        })
    }

    /// PAX records for the next entry.
    pub(crate) fn records(self, records: &[(&str, &[u8])]) -> Self {
        let all: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        self.changed(b"PaxHeaders/x", b'x', &all, |_| ())
    }

    /// GNU's long name (`L`) or long target (`K`) for the next entry.
    pub(crate) fn long(self, kind: u8, name: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..13].copy_from_slice(b"././@LongLink");
        header.as_old_mut().linkflag = [kind];
        header.set_size(name.len() as u64 + 1);
        header.set_mode(0);
        header.set_cksum();
        self.entry(&header, &[name, b"\0"].concat())
    }

    /// With the end that a tar has.
    pub(crate) fn end(self) -> Vec<u8> {
        self.bytes(&[0; 1024]).0
    }

    /// Without it.
    pub(crate) fn cut(self) -> Vec<u8> {
        self.0
    }
}

/// A folder to unpack into, beside files that nothing may touch.
pub(crate) struct Place {
    outer: TempDir,
    before: Tree,
}

impl Place {
    pub(crate) fn new() -> Self {
        let outer = TempDir::new().expect("a temporary folder");
        let outside = outer.path().join("outside");
        fs::create_dir(&outside).expect("a folder");
        fs::write(outside.join("passwd"), "root:x:0:0\n").expect("a file");
        fs::create_dir(outside.join("empty")).expect("a folder");
        std::os::unix::fs::symlink("passwd", outside.join("link")).expect("a symlink");
        let before = seen(&outside);
        fs::create_dir(outer.path().join("root")).expect("a folder");
        Self { outer, before }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.outer.path().join("root")
    }

    pub(crate) fn unpack(&self, archive: &[u8], limits: &Limits) -> Result<Summary, UnpackError> {
        self.checked(|root| unpack(archive, root, limits, &mut |_| ()))
    }

    /// Does something with the root, and looks that nothing beside it changed.
    pub(crate) fn checked<T>(&self, run: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
        let root = fs::File::open(self.root()).expect("the folder");
        let result = run(root.as_fd());
        assert_eq!(seen(&self.outer.path().join("outside")), self.before, "outside of the root");
        let names: Vec<_> = fs::read_dir(self.outer.path()).expect("a folder").collect();
        assert_eq!(names.len(), 2, "beside the root: {names:?}");
        result
    }
}

/// Limits that do not look at how full this computer's disk is.
pub(crate) fn limits() -> Limits {
    Limits { reserve_percent: 0, ..Limits::default() }
}

/// Unpacks what has to be sound, and tells what is there.
pub(crate) fn unpacked(archive: &[u8]) -> (Place, Summary, Tree) {
    let place = Place::new();
    let summary = match place.unpack(archive, &limits()) {
        Ok(summary) => summary,
        Err(error) => panic!("{}", chain(&error)),
    };
    let tree = seen(&place.root());
    (place, summary, tree)
}

/// An error with all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
