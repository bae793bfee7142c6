//! A tree with everything that a root filesystem may hold: packed and unpacked it is the same.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, UTIME_OMIT, XattrFlags, makedev, mknodat,
    setxattr, utimensat,
};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use vault_rootfs::{Compression, PackError, PackOptions, PackProblem, Progress, pack, unpack};

use crate::crafted::{Crafted, Place, chain, limits, unpacked};
use crate::seen::{Kind, assert_same, seen};

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn touch(path: &Path, seconds: i64, nanoseconds: i64) {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds },
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("a time");
}

/// Sets an attribute, where the filesystem has any.
pub(crate) fn attribute(path: &Path, name: &str, value: &[u8]) {
    match setxattr(path, name, value, XattrFlags::empty()) {
        Err(Errno::OPNOTSUPP | Errno::PERM) => {
            eprintln!("SKIPPED: no extended attribute {name} here");
        }
        set => set.expect("an attribute"),
    }
}

/// 10 MiB with two pieces of data.
pub(crate) fn sparse(path: &Path) {
    let file = File::create(path).expect("a file");
    file.set_len(10 << 20).expect("a size");
    file.write_all_at(&[b'x'; 5000], 0).expect("data");
    file.write_all_at(&[b'y'; 70_000], 5 << 20).expect("data");
}

/// What every format of tar can say.
pub(crate) fn plain(root: &Path) {
    for folder in ["usr/bin", "usr/share/empty", "etc", "tmp"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    let write = |name: &str, content: &[u8], mode: u32| {
        let path = root.join(name);
        fs::write(&path, content).expect("a file");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a mode");
    };
    write("usr/bin/env", &b"\x7fELF and more".repeat(9999), 0o755);
    // Only root packs what nobody may read.
    write("usr/bin/none", b"", if is_root() { 0o000 } else { 0o400 });
    write("etc/shadow", b"root:*:\n", 0o640);
    write("etc/block", &[b'b'; 512], 0o644);
    write("etc/blocks", &[b'c'; 1025], 0o600);
    symlink("../usr/bin", root.join("etc/bin")).expect("a symlink");
    symlink("/nowhere/at/all", root.join("etc/dangling")).expect("a symlink");
    fs::hard_link(root.join("usr/bin/env"), root.join("usr/bin/env2")).expect("a link");
    fs::hard_link(root.join("usr/bin/env"), root.join("etc/env3")).expect("a link");
    fs::set_permissions(root.join("tmp"), Permissions::from_mode(0o1777)).expect("a mode");
    if is_root() {
        write("usr/bin/sudo", b"not really", 0o755);
        chown(root.join("usr/bin/sudo"), Some(0), Some(42)).expect("an owner");
        fs::set_permissions(root.join("usr/bin/sudo"), Permissions::from_mode(0o6755))
            .expect("a mode");
        chown(root.join("etc/shadow"), Some(1000), Some(1001)).expect("an owner");
        lchown(root.join("etc/dangling"), Some(1000), Some(1000)).expect("an owner");
    }
    touch(&root.join("etc/dangling"), 1_234_567_890, 0);
    touch(&root.join("etc/shadow"), 0, 0);
    fs::set_permissions(root.join("usr/share"), Permissions::from_mode(0o500)).expect("a mode");
    for folder in ["usr/share", "usr", "etc", "."] {
        touch(&root.join(folder), 1_111_111_111, 0);
    }
}

/// What only newer formats can say.
pub(crate) fn extended(root: &Path) {
    plain(root);
    let name = |bytes: &[u8]| root.join(OsStr::from_bytes(bytes));
    let long = format!("etc/{}/{}", "folder".repeat(30), "name".repeat(60));
    fs::create_dir(root.join(&long).parent().expect("a folder")).expect("a folder");
    fs::write(root.join(&long), "long").expect("a file");
    fs::hard_link(root.join(&long), root.join("etc/to-long")).expect("a link");
    symlink("target/".repeat(60), root.join("etc/long-target")).expect("a symlink");
    fs::write(name("etc/grüße-日本語".as_bytes()), "text").expect("a file");
    touch(&root.join("etc/block"), 1_700_000_000, 123_456_789);
    touch(&root.join("etc/dangling"), 1_700_000_000, 1);
    touch(&root.join("etc"), 1_700_000_001, 987_654_321);
}

/// Everything.
fn everything(root: &Path) {
    extended(root);
    let name = |bytes: &[u8]| root.join(OsStr::from_bytes(bytes));
    fs::write(name(b"etc/latin-\xe9"), "a name that is no text").expect("a file");
    let long = [&b"etc/\xff"[..], &b"n".repeat(200)].concat();
    fs::write(name(&long), "long and no text").expect("a file");
    symlink(OsStr::from_bytes(&b"\xfe/".repeat(80)), name(b"etc/target-\xe9")).expect("a symlink");
    fs::hard_link(name(&long), name(b"etc/to-\xff")).expect("a link");
    fs::write(name(b"etc/line\nfeed=1"), "").expect("a file");
    sparse(&root.join("etc/sparse"));
    File::create(root.join("etc/hole")).expect("a file").set_len(1 << 20).expect("a size");
    let odd = File::create(root.join("etc/odd")).expect("a file");
    odd.set_len(1_000_001).expect("a size");
    odd.write_all_at(b"end", 999_998).expect("data");
    touch(&root.join("etc/blocks"), -12_345, 500_000_000);
    attribute(&root.join("etc/shadow"), "user.line", b"a\nb=c\n\0\xff");
    attribute(&root.join("etc/shadow"), "user.empty", b"");
    attribute(&root.join("usr/share/empty"), "user.folder", &[7; 3000]);
    if is_root() {
        // Effective, CAP_NET_RAW, in revision 2; it has a line feed in it.
        let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        attribute(&root.join("usr/bin/env"), "security.capability", &capability);
        fs::create_dir(root.join("dev")).expect("a folder");
        mknodat(
            CWD,
            root.join("dev/null"),
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            makedev(1, 3),
        )
        .expect("a device");
        chown(root.join("etc/block"), Some(3_000_000), Some(4_294_967_294)).expect("an owner");
    } else {
        eprintln!("SKIPPED: owners, devices and capabilities are set by root alone");
    }
}

pub(crate) fn packed(folder: &Path) -> Vec<u8> {
    let mut archive = Vec::new();
    if let Err(error) = pack(folder, &mut archive, &PackOptions::default()) {
        panic!("{}", chain(&error));
    }
    archive
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let source = TempDir::new().expect("a folder");
    everything(source.path());
    let before = seen(source.path());
    let mut archive = Vec::new();
    let summary = pack(source.path(), &mut archive, &PackOptions::default()).expect("it is packed");
    let (place, unpacked, after) = unpacked(&archive);
    assert_same(&before, &after, "before and after");

    assert_eq!(summary.entries, before.len() as u64);
    assert_eq!(summary.sha256[..], Sha256::digest(&archive)[..]);
    assert_eq!((summary.bytes_out, summary.left_out.len()), (archive.len() as u64, 0));
    assert_eq!(unpacked.sha256, summary.sha256);
    assert_eq!(unpacked.compression, Compression::Zstd);
    assert_eq!((unpacked.bytes_in, unpacked.bytes_out), (summary.bytes_out, summary.bytes_in));
    assert_eq!(unpacked.entries, summary.entries);

    let node = |name: &str| &after[name.as_bytes()];
    let holes = |name: &str| matches!(node(name).kind, Kind::File { holes: true, .. });
    assert!(holes("etc/sparse") && holes("etc/hole") && holes("etc/odd"), "holes are kept");
    assert_eq!(node("etc/blocks").mtime, (-12_345, 500_000_000));
    if is_root() {
        assert_eq!((node("usr/bin/sudo").mode, node("usr/bin/sudo").owner), (0o6755, (0, 42)));
    }
    // What was unpacked packs to the same bytes, also with more threads.
    assert!(packed(&place.root()) == archive, "packing is not deterministic");
    let options = PackOptions { threads: 3, ..PackOptions::default() };
    let mut again = Vec::new();
    pack(source.path(), &mut again, &options).expect("it is packed");
    assert!(again == archive, "the number of threads changes the bytes");
}

#[test]
fn the_forms_of_compression_give_one_tree() {
    let source = TempDir::new().expect("a folder");
    extended(source.path());
    let zstd = packed(source.path());
    let bare = zstd::decode_all(&zstd[..]).expect("zstd");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&bare).expect("gzip");
    let gzip = gzip.finish().expect("gzip");
    // In two frames, cut in the middle of an entry.
    let (left, right) = bare.split_at(bare.len() / 2);
    let frames = [left, right].map(|half| zstd::encode_all(half, 1).expect("zstd")).concat();
    let before = seen(source.path());
    for (archive, compression) in [
        (&zstd, Compression::Zstd),
        (&frames, Compression::Zstd),
        (&gzip, Compression::Gzip),
        (&bare, Compression::None),
    ] {
        let (_place, summary, tree) = unpacked(archive);
        assert_same(&before, &tree, "before and after");
        assert_eq!(summary.compression, compression);
        assert_eq!(summary.bytes_out, bare.len() as u64);
        assert_eq!(summary.sha256[..], Sha256::digest(archive)[..]);
    }
}

/// A reader that has a few bytes at a time, and stops in the middle until something was unpacked.
struct Arriving<'archive> {
    left: &'archive [u8],
    pause_at: usize,
    unpacked: Receiver<()>,
}

impl std::io::Read for Arriving<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.left.len() < self.pause_at {
            self.pause_at = 0;
            let waited = self.unpacked.recv_timeout(Duration::from_secs(60));
            waited.map_err(|_| std::io::Error::other("nothing was unpacked meanwhile"))?;
        }
        let length = self.left.len().min(into.len()).min(1000);
        let (now, later) = self.left.split_at(length);
        into[..length].copy_from_slice(now);
        self.left = later;
        Ok(length)
    }
}

#[test]
fn it_unpacks_while_the_bytes_arrive() {
    let content: Vec<u8> = (0..4_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let archive = Crafted::new().file(b"a", &content).file(b"b", b"x").end();
    let outer = TempDir::new().expect("a folder");
    let root = File::open(outer.path()).expect("a folder");
    let mut seen_at_work = Vec::new();
    let (tell, unpacked) = sync_channel(1);
    let reader = Arriving { left: &archive, pause_at: archive.len() / 2, unpacked };
    let summary = unpack(reader, root.as_fd(), &limits(), &mut |progress: Progress| {
        if seen_at_work.is_empty() {
            tell.send(()).expect("the reader waits for it");
        }
        seen_at_work.push(progress);
    });
    let summary = summary.unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(fs::read(outer.path().join("a")).expect("a file"), content);
    assert_eq!(summary.bytes_in, archive.len() as u64);
    let began = seen_at_work.first().expect("progress");
    assert!(began.bytes_out > 0 && began.bytes_in < summary.bytes_in, "{began:?}");
    assert!(seen_at_work.is_sorted_by_key(|progress| progress.bytes_out));
    assert_eq!(seen_at_work.last().map(|progress| progress.entries), Some(2));
}

#[test]
fn a_reader_that_fails_is_told_of() {
    struct Failing;
    impl std::io::Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the line is down"))
        }
    }
    let outer = TempDir::new().expect("a folder");
    let root = File::open(outer.path()).expect("a folder");
    let error = unpack(Failing, root.as_fd(), &limits(), &mut |_| ()).expect_err("it fails");
    assert!(chain(&error).ends_with("the line is down"), "{}", chain(&error));
}

#[test]
fn folders_that_no_entry_names_are_made() {
    let (_place, _, tree) = unpacked(&Crafted::new().file(b"a/b/c", b"x").end());
    for folder in [&b"a"[..], b"a/b"] {
        assert_eq!((&tree[folder].kind, tree[folder].mode), (&Kind::Folder, 0o755));
    }
    // Named later, they get what the entry says, though something is in them already.
    let late = Crafted::new().file(b"a/b/c", b"x").changed(b"a/", b'5', b"", |header| {
        header.set_mode(0o500);
    });
    let (place, _, tree) = unpacked(&late.end());
    assert_eq!((tree[&b"a"[..]].mode, tree[&b"a"[..]].mtime), (0o500, (1_000_000_000, 0)));
    fs::set_permissions(place.root().join("a"), Permissions::from_mode(0o700)).expect("a mode");
}

/// Without root, what is in a closed folder has to get its attributes first; root may always.
#[test]
fn folders_are_closed_last() {
    let closed = |header: &mut tar::Header| header.set_mode(0);
    let archive = Crafted::new()
        .changed(b"a/", b'5', b"", closed)
        .changed(b"a/b/", b'5', b"", closed)
        .file(b"a/b/c", b"x");
    let place = Place::new();
    let summary = place.unpack(&archive.end(), &limits());
    let mode = |name: &str| {
        let path = place.root().join(name);
        let mode = fs::metadata(&path).expect("metadata").permissions().mode() & 0o7777;
        fs::set_permissions(&path, Permissions::from_mode(0o700)).expect("a mode");
        mode
    };
    assert!(summary.is_ok(), "{summary:?}");
    assert_eq!((mode("a"), mode("a/b")), (0, 0));
}

#[test]
fn packing_leaves_sockets_out_and_refuses_what_would_not_unpack() {
    let source = TempDir::new().expect("a folder");
    let _listener = UnixListener::bind(source.path().join("socket")).expect("a socket");
    let mut archive = Vec::new();
    let summary = pack(source.path(), &mut archive, &PackOptions::default()).expect("it is packed");
    assert_eq!(summary.left_out, [Path::new("socket")]);
    assert_eq!(unpacked(&archive).2.len(), 1);

    mknodat(CWD, source.path().join("fifo"), FileType::Fifo, Mode::RUSR, 0).expect("a FIFO");
    let refused = || pack(source.path(), std::io::sink(), &PackOptions::default());
    match refused() {
        Err(PackError::Refused { path, problem: PackProblem::Type }) => {
            assert_eq!(path, Path::new("fifo"));
        }
        other => panic!("{other:?}"),
    }
    fs::remove_file(source.path().join("fifo")).expect("removed");
    attribute(source.path(), "user.a=b", b"c");
    let names = rustix::fs::listxattr(source.path(), &mut [0_u8; 64][..]).unwrap_or_default();
    if names > 0 {
        assert!(matches!(
            refused(),
            Err(PackError::Refused { problem: PackProblem::AttributeName, .. })
        ));
    }
}
