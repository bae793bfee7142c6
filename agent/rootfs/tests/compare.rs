//! Other people's archives: made by GNU tar, bsdtar and Python in their formats, and unpacked by us, GNU
//! tar and bsdtar to one and the same tree. What a computer has no program for is left out, loudly.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::crafted::unpacked;
use crate::fidelity::{attribute, extended, is_root, packed, plain, sparse};
use crate::seen::{Kind, Tree, assert_same, seen};

/// Names are text, so bsdtar has to know in which encoding.
const LOCALE: (&str, &str) = ("LC_ALL", "C.UTF-8");

/// Whether a program is there; says loudly if it is not.
fn has(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        eprintln!("SKIPPED: no {program}, so its archives and trees are not compared");
    }
    found
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .env(LOCALE.0, LOCALE.1)
        .output()
        .expect("the program starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {}: {text}", output.status);
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is text")
}

/// How a program unpacks with everything kept. GNU tar gives a folder its time when it meets an entry
/// elsewhere, unless it is asked to wait.
const UNPACKERS: [(&str, &[&str]); 2] = [
    (
        "tar",
        &["--xattrs", "--xattrs-include=*", "--numeric-owner", "--delay-directory-restore", "-xpf"],
    ),
    ("bsdtar", &["--numeric-owner", "-xpf"]),
];

/// Without what not every program keeps. Holes: only we are asked to. The time of the root itself:
/// bsdtar leaves it.
fn comparable(mut tree: Tree) -> Tree {
    for (path, node) in &mut tree {
        if let Kind::File { holes, .. } = &mut node.kind {
            *holes = false;
        }
        if path == b"." {
            node.mtime = (0, 0);
        }
    }
    tree
}

/// The tree that we make of an archive, after it was found to be that of all others.
fn same_everywhere(archive: &Path) -> Tree {
    let (_place, _, ours) = unpacked(&fs::read(archive).expect("the archive"));
    for (program, arguments) in UNPACKERS {
        if !has(program) {
            continue;
        }
        let theirs = TempDir::new().expect("a folder");
        let place = ["-C", text(theirs.path())];
        run(program, &[arguments, &[text(archive)], &place].concat());
        let [left, right] = [ours.clone(), seen(theirs.path())].map(comparable);
        assert_same(&left, &right, &format!("{archive:?}, us and {program}"));
    }
    ours
}

/// Fills a folder.
type Fill = fn(&Path);

/// A folder filled by `fill`, and a place for archives of it.
fn source(fill: impl Fn(&Path)) -> (TempDir, TempDir) {
    let folder = TempDir::new().expect("a folder");
    fill(folder.path());
    (folder, TempDir::new().expect("a folder"))
}

#[test]
fn archives_of_gnu_tar() {
    if !has("tar") {
        return;
    }
    let formats: [(&str, Fill); 5] = [
        ("v7", plain),
        ("ustar", plain),
        ("oldgnu", extended),
        ("gnu", extended),
        ("posix", extended),
    ];
    for (format, fill) in formats {
        let (folder, archives) = source(fill);
        let archive = archives.path().join(format);
        let format = format!("--format={format}");
        run("tar", &[&format, "-cf", text(&archive), "-C", text(folder.path()), "."]);
        let ours = same_everywhere(&archive);
        let mut before = seen(folder.path());
        if format.ends_with("posix") {
            assert_same(&before, &ours, "before and after");
        } else {
            before.values_mut().for_each(|node| node.mtime.1 = 0);
            assert_same(&before, &ours, &format);
        }
    }
}

#[test]
fn sparse_archives_of_gnu_tar() {
    if !has("tar") {
        return;
    }
    let many = |root: &Path| {
        sparse(&root.join("sparse"));
        fs::File::create(root.join("hole")).expect("a file").set_len(3 << 20).expect("a size");
        // More regions than one extension block of GNU's format holds.
        let file = fs::File::create(root.join("many")).expect("a file");
        for index in 0..60 {
            let offset = index * (64 << 10);
            std::os::unix::fs::FileExt::write_all_at(&file, b"data", offset).expect("data");
        }
    };
    for format in [
        &["--format=gnu"][..],
        &["--format=oldgnu"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
    ] {
        let (folder, archives) = source(many);
        let archive = archives.path().join("archive");
        let place = ["-S", "-cf", text(&archive), "-C", text(folder.path()), "."];
        run("tar", &[format, &place].concat());
        let ours = same_everywhere(&archive);
        for name in ["sparse", "hole", "many"] {
            let kind = &ours[name.as_bytes()].kind;
            assert!(matches!(kind, Kind::File { holes: true, .. }), "{format:?} {name}: {kind:?}");
        }
    }
}

#[test]
fn archives_of_bsdtar() {
    if !has("bsdtar") {
        return;
    }
    let formats: [(&str, Fill); 5] = [
        ("v7", plain),
        ("ustar", plain),
        ("gnutar", extended),
        ("pax", extended),
        // Its default: ustar, with records only where they are needed.
        ("default", extended),
    ];
    for (format, fill) in formats {
        let (folder, archives) = source(|root| {
            fill(root);
            if format == "pax" {
                sparse(&root.join("sparse"));
            }
        });
        let archive = archives.path().join(format);
        let place = ["-cf", text(&archive), "-C", text(folder.path()), "."];
        let option = format!("--format={format}");
        match format {
            "default" => run("bsdtar", &place),
            _ => run("bsdtar", &[&[option.as_str()], &place[..]].concat()),
        }
        let ours = same_everywhere(&archive);
        if format == "pax" {
            assert_same(&seen(folder.path()), &ours, "before and after");
        }
    }
}

#[test]
fn archives_with_attributes() {
    let (folder, archives) = source(|root| {
        fs::write(root.join("file"), "x").expect("a file");
        fs::create_dir(root.join("folder")).expect("a folder");
        attribute(&root.join("file"), "user.line", b"a\nb=c\n\0\xff");
        attribute(&root.join("folder"), "user.long", &[b'v'; 2000]);
        if is_root() {
            let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            attribute(&root.join("file"), "security.capability", &capability);
        }
    });
    let makers: [(&str, &[&str]); 3] = [
        ("tar", &["--xattrs", "--xattrs-include=*", "--format=posix", "-cf"]),
        ("bsdtar", &["--xattrs", "--format=pax", "-cf"]),
        ("bsdtar", &["--xattrs", "--format=pax", "--options=pax:xattrheader=LIBARCHIVE", "-cf"]),
    ];
    for (index, (program, arguments)) in makers.into_iter().enumerate() {
        if !has(program) {
            continue;
        }
        let archive = archives.path().join(index.to_string());
        let place = [text(&archive), "-C", text(folder.path()), "."];
        run(program, &[arguments, &place].concat());
        let (_place, _, ours) = unpacked(&fs::read(&archive).expect("the archive"));
        assert_same(&seen(folder.path()), &ours, &arguments.join(" "));
    }
}

#[test]
fn archives_of_python() {
    if !has("python3") {
        return;
    }
    let script = "import sys, tarfile\n\
        format, path, folder = sys.argv[1:]\n\
        with tarfile.open(path, 'w', format=getattr(tarfile, format)) as archive:\n    \
            archive.add(folder, arcname='.')\n";
    let formats: [(&str, Fill); 3] =
        [("USTAR_FORMAT", plain), ("GNU_FORMAT", extended), ("PAX_FORMAT", extended)];
    for (format, fill) in formats {
        let (folder, archives) = source(fill);
        let archive = archives.path().join(format);
        run("python3", &["-c", script, format, text(&archive), text(folder.path())]);
        same_everywhere(&archive);
    }
}

/// What we pack, the others unpack.
#[test]
fn archives_of_ours() {
    let (folder, archives) = source(|root| {
        extended(root);
        sparse(&root.join("sparse"));
    });
    let archive = archives.path().join("ours.tar");
    let bare = zstd::decode_all(&packed(folder.path())[..]).expect("zstd");
    fs::write(&archive, bare).expect("a file");
    let ours = same_everywhere(&archive);
    assert_same(&seen(folder.path()), &ours, "before and after");
}
