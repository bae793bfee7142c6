//! One crafted archive per rule: each is refused whole, the error names the entry, and nothing outside
//! of the root changes (`Place::unpack` looks).

use std::fs;
use std::io::Write;

use vault_rootfs::limits::{DEVICES, RATIO_FREE_BYTES};
use vault_rootfs::{Device, Limit, Limits, NameProblem, Problem, UnpackError};

use crate::crafted::{Crafted, Place, chain, header, limits, record, unpacked};
use crate::seen::{Kind, Tree, seen};

/// Refused, in the place of this entry, for what `expected` knows.
#[track_caller]
fn refused_with(
    limits: &Limits,
    archive: &[u8],
    entry: &str,
    expected: impl FnOnce(&Problem) -> bool,
) -> Tree {
    let place = Place::new();
    match place.unpack(archive, limits) {
        Err(UnpackError::Entry { name, problem, .. }) => {
            assert!(expected(&problem), "{name}: {problem:?}");
            assert_eq!(name, entry, "{problem:?}");
        }
        Err(error) => panic!("{}", chain(&error)),
        Ok(summary) => panic!("it was unpacked: {summary:?}"),
    }
    seen(&place.root())
}

#[track_caller]
fn refused(archive: &[u8], entry: &str, expected: impl FnOnce(&Problem) -> bool) -> Tree {
    refused_with(&limits(), archive, entry, expected)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn names_that_lead_elsewhere() {
    let names: [(&[u8], NameProblem); 7] = [
        (b"../outside/passwd", NameProblem::Parent),
        (b"a/../../outside/passwd", NameProblem::Parent),
        (b"./..", NameProblem::Parent),
        (b"a/..", NameProblem::Parent),
        (b"/etc/passwd", NameProblem::Absolute),
        (b"//etc/passwd", NameProblem::Absolute),
        (b"", NameProblem::Empty),
    ];
    for (name, why) in names {
        let is_it = |problem: &Problem| matches!(problem, Problem::Name(found) if *found == why);
        let shown = name.escape_ascii().to_string();
        refused(&Crafted::new().file(name, b"x").end(), &shown, is_it);
        if name.is_empty() {
            continue;
        }
        let by_record = Crafted::new().records(&[("path", name)]).file(b"a", b"x").end();
        refused(&by_record, &shown, is_it);
        let by_long_name = Crafted::new().long(b'L', name).file(b"a", b"x").end();
        refused(&by_long_name, &shown, is_it);
        let by_sparse_name = Crafted::new()
            .records(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.name", name),
                ("GNU.sparse.realsize", b"0"),
            ])
            .file(b"a", &[b"0\n", &[0; 510][..]].concat())
            .end();
        refused(&by_sparse_name, &shown, is_it);
    }
    // A sound archive up to there is refused as well, whatever kind of entry it is.
    let late = Crafted::new().folder(b"a/").symlink(b"a/../../x", b"y").end();
    refused(&late, "a/../../x", |problem| matches!(problem, Problem::Name(NameProblem::Parent)));
}

#[test]
fn names_with_zeros_and_without_measure() {
    let zero = Crafted::new().records(&[("path", b"a\0b")]).file(b"a", b"x").end();
    refused(&zero, "a\\x00b", |problem| matches!(problem, Problem::Name(NameProblem::Zero)));
    let zero = Crafted::new().long(b'L', b"a\0b").file(b"a", b"x").end();
    refused(&zero, "?", |problem| matches!(problem, Problem::Record));

    let long = b"a/".repeat(2048);
    let by_record = Crafted::new().records(&[("path", &long)]).file(b"a", b"x").end();
    let place = Place::new();
    let error = place.unpack(&by_record, &limits()).expect_err("4 KiB are too long");
    assert!(chain(&error).contains("(4096 bytes)"), "{}", chain(&error));
    let part = [b'a'; 256];
    let by_part = Crafted::new().long(b'L', &part).file(b"a", b"x").end();
    let error = Place::new().unpack(&by_part, &limits()).expect_err("a part is too long");
    assert!(chain(&error).ends_with("its name is too long"), "{}", chain(&error));

    // Just inside of the limit is fine.
    let deep = b"abcdefghijklmno/".repeat(255);
    let sound = Crafted::new().records(&[("path", &deep[..deep.len() - 1])]).file(b"a", b"x").end();
    unpacked(&sound);
}

#[test]
fn writing_through_a_symlink() {
    for target in [&b"../outside"[..], b"/etc", b"folder", b".", b"/proc/self/root"] {
        for kind in [b'0', b'5', b'2'] {
            let archive = Crafted::new().folder(b"folder/").symlink(b"link", target);
            let archive = match kind {
                b'0' => archive.file(b"link/passwd", b"owned").end(),
                b'5' => archive.folder(b"link/empty/").end(),
                _ => archive.symlink(b"link/passwd", b"x").end(),
            };
            let name = match kind {
                b'5' => "link/empty/",
                _ => "link/passwd",
            };
            refused(
                &archive,
                name,
                |problem| matches!(problem, Problem::Above(above) if above == "link"),
            );
        }
    }
    // Also deeper, and when the folder's descriptor was in use before it became a link.
    let archive = Crafted::new()
        .folder(b"a/")
        .folder(b"a/b/")
        .file(b"a/b/c", b"x")
        .symlink(b"a/b/d", b"../../../outside")
        .file(b"a/b/d/e/passwd", b"owned")
        .end();
    refused(&archive, "a/b/d/e/passwd", |problem| matches!(problem, Problem::Above(_)));
    let archive = Crafted::new()
        .folder(b"a/")
        .folder(b"a/b/")
        .symlink(b"a/b", b"../../outside")
        .file(b"a/b/passwd", b"owned")
        .end();
    refused(&archive, "a/b/passwd", |problem| matches!(problem, Problem::Above(_)));
    // Links that stay inside are not followed either: what another reader makes of them may differ.
    let archive = Crafted::new()
        .folder(b"folder/")
        .folder(b"folder/sub/")
        .symlink(b"link", b"folder")
        .file(b"link/sub/passwd", b"x")
        .end();
    let tree = refused(&archive, "link/sub/passwd", |problem| matches!(problem, Problem::Above(_)));
    assert!(!tree.contains_key(&b"folder/sub/passwd"[..]), "it was written through the link");
    let archive = Crafted::new()
        .file(b"folder/sub/file", b"x")
        .symlink(b"link", b"folder")
        .hard_link(b"a", b"link/sub/file")
        .end();
    refused(&archive, "a", |problem| matches!(problem, Problem::Above(_)));
    // A file above is no folder either.
    let archive = Crafted::new().file(b"a", b"x").file(b"a/b", b"x").end();
    refused(&archive, "a/b", |problem| matches!(problem, Problem::Above(_)));
}

/// CVE-2026-33056: a folder's entry over a symlink must not change what the link leads to.
#[test]
fn a_folder_over_a_symlink_replaces_it() {
    let archive = Crafted::new()
        .symlink(b"link", b"../outside")
        .changed(b"link/", b'5', b"", |header| header.set_mode(0o777))
        .file(b"link/passwd", b"inside")
        .end();
    let (place, _, tree) = unpacked(&archive);
    assert_eq!((&tree[&b"link"[..]].kind, tree[&b"link"[..]].mode), (&Kind::Folder, 0o777));
    assert_eq!(fs::read(place.root().join("link/passwd")).expect("a file"), b"inside");
}

#[test]
fn a_later_entry_of_the_same_name_counts() {
    let archive = Crafted::new()
        .symlink(b"a", b"../outside/passwd")
        .file(b"a", b"a file, not through the link")
        .file(b"b", b"first")
        .hard_link(b"c", b"b")
        .file(b"b", b"second")
        .folder(b"d/")
        .file(b"d", b"in the place of an empty folder")
        .end();
    let (place, _, tree) = unpacked(&archive);
    let read = |name: &str| fs::read(place.root().join(name)).expect("a file");
    assert_eq!(read("a"), b"a file, not through the link");
    assert_eq!((read("b"), read("c")), (b"second".to_vec(), b"first".to_vec()));
    assert_eq!(read("d"), b"in the place of an empty folder");
    assert_eq!(tree.len(), 5);

    for archive in [
        Crafted::new().file(b"d/e", b"x").file(b"d", b"x").end(),
        Crafted::new().file(b"d/e", b"x").symlink(b"d", b"e").end(),
        Crafted::new().file(b"e", b"x").file(b"d/e", b"x").hard_link(b"d", b"e").end(),
    ] {
        refused(&archive, "d", |problem| matches!(problem, Problem::FolderInTheWay));
    }
    for archive in [Crafted::new().file(b".", b"x"), Crafted::new().symlink(b"././.", b"x")] {
        let place = Place::new();
        let error = place.unpack(&archive.end(), &limits()).expect_err("the root is a folder");
        assert!(chain(&error).ends_with("the root has to be a folder"), "{}", chain(&error));
    }
}

#[test]
fn hard_links_lead_to_files_of_this_archive() {
    let outside: [(&[u8], NameProblem); 3] = [
        (b"../outside/passwd", NameProblem::Parent),
        (b"/etc/passwd", NameProblem::Absolute),
        (b"", NameProblem::Empty),
    ];
    for (target, why) in outside {
        let archive = Crafted::new().hard_link(b"a", target).end();
        refused(
            &archive,
            "a",
            |problem| matches!(problem, Problem::Target(found) if *found == why),
        );
    }
    for archive in [
        // Before its target, to itself, to a folder, to the root, to a symlink, through one.
        Crafted::new().hard_link(b"a", b"b").file(b"b", b"x"),
        Crafted::new().hard_link(b"a", b"a"),
        Crafted::new().file(b"a", b"x").hard_link(b"a", b"a"),
        Crafted::new().folder(b"b/").hard_link(b"a", b"b"),
        Crafted::new().hard_link(b"a", b"."),
        Crafted::new().symlink(b"b", b"../outside/passwd").hard_link(b"a", b"b"),
        Crafted::new().hard_link(b"a", b"missing/b"),
    ] {
        refused(&archive.end(), "a", |problem| matches!(problem, Problem::Link(_)));
    }
    let through = Crafted::new().symlink(b"b", b"../outside").hard_link(b"a", b"b/passwd").end();
    refused(&through, "a", |problem| matches!(problem, Problem::Above(_)));
}

#[test]
fn devices_and_the_like() {
    let refusals = [
        (b'4', 8, 0, "a block device"),
        (b'6', 0, 0, "a FIFO"),
        (b'7', 0, 0, "contiguous"),
        (b'9', 0, 0, "unknown"),
        (b'A', 0, 0, "a vendor's"),
        (b'D', 0, 0, "GNU's folder dump"),
        (b'M', 0, 0, "a continued volume"),
        (b'N', 0, 0, "GNU's old long names"),
        (b'V', 0, 0, "a volume's label"),
        (b'X', 0, 0, "Sun's records"),
    ];
    for (kind, major, minor, what) in refusals {
        let archive = Crafted::new().device(kind, b"dev/null", major, minor).end();
        let tree = refused(
            &archive,
            "dev/null",
            |problem| matches!(problem, Problem::Type(found) if *found == kind),
        );
        assert_eq!(tree.len(), 1, "{what}");
    }
    // Not listed, of another name, or with other numbers (1:1 is the memory).
    for (name, major, minor) in [
        (&b"dev/mem"[..], 1, 1),
        (b"dev/null", 1, 1),
        (b"dev/sda", 1, 3),
        (b"dev/fuse", 10, 229),
        (b"dev/tty", 1, 3),
    ] {
        let archive = Crafted::new().device(b'3', name, major, minor).end();
        refused(
            &archive,
            str::from_utf8(name).expect("ASCII"),
            |problem| matches!(problem, Problem::Device { major: a, minor: b } if (*a, *b) == (major, minor)),
        );
    }
}

#[test]
fn devices_that_are_listed() {
    if !is_root() {
        eprintln!("SKIPPED: devices are made by root alone");
        return;
    }
    let more = Device { name: "fuse", major: 10, minor: 229 };
    let devices: Vec<Device> = DEVICES.into_iter().chain([more]).collect();
    let archive = devices.iter().fold(Crafted::new(), |archive, device| {
        let name = format!("dev/{}", device.name);
        archive.device(b'3', name.as_bytes(), device.major, device.minor)
    });
    let place = Place::new();
    let listed = Limits { devices: devices.clone(), ..limits() };
    let archive = archive.end();
    let passed_over = Place::new();
    let without = Limits { make_devices: false, ..listed.clone() };
    let summary = passed_over.unpack(&archive, &without).expect("all are listed");
    assert_eq!(summary.entries, devices.len() as u64);
    assert_eq!(seen(&passed_over.root()).len(), 1, "nothing is made");
    place.unpack(&archive, &listed).expect("all are listed");
    let tree = seen(&place.root());
    for device in devices {
        let number = rustix::fs::makedev(device.major, device.minor);
        let node = &tree[format!("dev/{}", device.name).as_bytes()];
        let character = rustix::fs::FileType::CharacterDevice.as_raw_mode();
        assert_eq!(node.kind, Kind::Other(character, number), "{}", device.name);
        assert_eq!(node.mode, 0o644, "{}", device.name);
    }
}

/// CVE-2025-62518 and its kin: a file whose record and header disagree about its size, with a second
/// archive in its content that another reader would see.
#[test]
fn two_sizes_are_two_archives() {
    let hidden = Crafted::new().file(b"hidden", b"x").cut();
    let size = hidden.len().to_string();
    let two_sizes = |problem: &Problem| matches!(problem, Problem::TwoSizes { .. });
    for (record_size, header_size) in [
        (size.as_str(), 0),
        ("0", hidden.len() as u64),
        ("512", hidden.len() as u64),
        (size.as_str(), 512),
        ("8589934592", 512),
    ] {
        let archive = Crafted::new()
            .records(&[("size", record_size.as_bytes())])
            .entry(&header(b"carrier", b'0', header_size), &hidden)
            .end();
        refused(&archive, "carrier", two_sizes);
    }
    // The size of a record belongs to the entry, not to a long name between them.
    let archive = Crafted::new()
        .records(&[("size", b"1024")])
        .long(b'L', &b"n".repeat(200))
        .entry(&header(b"n", b'0', 1024), &[b'x'; 1024])
        .end();
    let (_, _, tree) = unpacked(&archive);
    assert_eq!(tree.len(), 2, "the root and one file");
    // With another record that cannot be read before it, the size still counts or nothing does.
    let damaged = [&record("path", b"a")[..], b"x\n", &record("size", b"0")].concat();
    let archive = Crafted::new()
        .changed(b"PaxHeaders/x", b'x', &damaged, |_| ())
        .entry(&header(b"carrier", b'0', hidden.len() as u64), &hidden)
        .end();
    refused(&archive, "?", |problem| matches!(problem, Problem::Record));
}

#[test]
fn where_readers_disagree_nothing_is_guessed() {
    let twice = |problem: &Problem| matches!(problem, Problem::Twice(_));
    let size = |value: &'static [u8]| ("size", value);
    let same = Crafted::new().records(&[size(b"1"), size(b"1")]).file(b"a", b"x").end();
    refused(&same, "?", twice);
    let records = Crafted::new().records(&[]).records(&[]).file(b"a", b"x").end();
    refused(&records, "?", twice);
    let names = Crafted::new().long(b'L', b"a").long(b'L', b"b").file(b"c", b"x").end();
    refused(&names, "?", twice);
    let both = Crafted::new().records(&[("path", b"a")]).long(b'L', b"b").file(b"c", b"x").end();
    refused(&both, "?", twice);

    // Content where some skip it and some do not.
    for kind in [b'1', b'2', b'3', b'5'] {
        let archive = Crafted::new().changed(b"a", kind, &[0; 512], |header| {
            header.as_old_mut().linkname[0] = b'b';
        });
        refused(&archive.end(), "a", |problem| matches!(problem, Problem::Content(512)));
    }
    // A file named like a folder, numbers with signs, high bytes of a size, other formats.
    refused(&Crafted::new().file(b"a/", b"x").end(), "a/", |problem| {
        matches!(problem, Problem::Type(b'0'))
    });
    for (field, bytes) in [
        (124..136, &b"+0000000001\0"[..]),
        (124..136, b"\0\0\0\0\0\0\0\0\0\0\0\0"),
        (124..136, b"\x80\0\0\x01\0\0\0\0\0\0\0\0"),
        (124..136, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        (108..116, b"-000001\0"),
    ] {
        let archive = Crafted::new().changed(b"a", b'0', b"", |header| {
            header.as_mut_bytes()[field].copy_from_slice(bytes);
        });
        refused(&archive.end(), "a", |problem| matches!(problem, Problem::Number(_)));
    }
    let star = Crafted::new().changed(b"a", b'0', b"", |header| {
        header.as_mut_bytes()[508..].copy_from_slice(b"tar\0");
    });
    refused(&star.end(), "?", |problem| matches!(problem, Problem::Format));
    // "Leave the owner as it is" would leave root's.
    let nobody = Crafted::new().records(&[("uid", b"4294967295")]).file(b"a", b"x").end();
    refused(&nobody, "a", |problem| matches!(problem, Problem::Number("uid")));
    // For all entries.
    let global =
        Crafted::new().changed(b"g", b'g', &record("path", b"b"), |_| ()).file(b"a", b"x").end();
    refused(&global, "?", |problem| matches!(problem, Problem::Unsupported(_)));
}

#[test]
fn sparse_maps_that_lie() {
    let names = |size: &'static [u8]| {
        [
            ("GNU.sparse.major", &b"1"[..]),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"a"),
            ("GNU.sparse.realsize", size),
        ]
    };
    for (size, map) in [
        (&b"1024"[..], &b"1\n0\n1024\n"[..]),
        (b"100", b"1\n0\n512\n"),
        (b"2048", b"2\n0\n512\n0\n512\n"),
        (b"2048", b"2\n0\n512\n"),
        (b"2048", b"1048577\n0\n512\n"),
        (b"2048", b"-1\n0\n512\n"),
        (b"2048", b"1\n9223372036854775000\n512\n"),
        (b"9223372036854775807", b"1\n0\n512\n"),
    ] {
        let mut content = map.to_vec();
        content.resize(512, 0);
        content.extend_from_slice(&[b'x'; 512]);
        let archive = Crafted::new().records(&names(size)).file(b"b", &content).end();
        let place = Place::new();
        let error = place.unpack(&archive, &limits()).expect_err("a map that lies");
        assert!(chain(&error).contains("sparse"), "{}", chain(&error));
    }
    // Format 0.0 says its records again and again.
    let old = Crafted::new().records(&[("GNU.sparse.offset", b"0")]).file(b"a", b"").end();
    refused(&old, "?", |problem| matches!(problem, Problem::Unsupported(_)));
    // A chain of extension blocks with nothing in them would have no end.
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[0] = b'a';
    header.as_old_mut().linkflag = [b'S'];
    header.set_size(0);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    let gnu = header.as_gnu_mut().expect("a GNU header");
    gnu.set_real_size(0);
    gnu.set_is_extended(true);
    header.set_cksum();
    let chained = Crafted::new().entry(&header, &[1; 512]).end();
    refused(&chained, "a", |problem| matches!(problem, Problem::Sparse));
}

#[test]
fn records_that_would_be_lost() {
    let access = Crafted::new().records(&[("SCHILY.acl.access", b"user::rw-")]).file(b"a", b"x");
    refused(
        &access.end(),
        "?",
        |problem| matches!(problem, Problem::Unsupported(key) if key == "SCHILY.acl.access"),
    );
    let symlink = Crafted::new().records(&[("SCHILY.xattr.user.a", b"b")]).symlink(b"a", b"b");
    refused(&symlink.end(), "a", |problem| matches!(problem, Problem::Unsupported(_)));
}

#[test]
fn archives_that_end_too_early_or_too_late() {
    let sound = Crafted::new().file(b"a", &[b'x'; 1500]).file(b"b", b"y");
    let truncated = |problem: &Problem| matches!(problem, Problem::Truncated);
    refused(&sound.clone().cut(), "b", truncated);
    refused(&sound.clone().bytes(&[0; 512]).cut(), "b", truncated);
    let whole = sound.clone().end();
    for length in (0..whole.len()).step_by(97) {
        let error = Place::new().unpack(&whole[..length], &limits()).expect_err("cut");
        assert!(chain(&error).ends_with("the archive ends too early"), "{}", chain(&error));
    }
    refused(b"", "?", truncated);

    let trailing = |problem: &Problem| matches!(problem, Problem::Trailing);
    refused(&[&whole[..], b"x"].concat(), "b", trailing);
    refused(&[&whole[..], &[0; 4096], b"x"].concat(), "b", trailing);
    refused(&[&whole[..], &Crafted::new().file(b"c", b"z").end()].concat(), "b", trailing);
    // One block of zeros is no end, and hides nothing.
    let lone = sound.clone().bytes(&[0; 512]).file(b"c", b"z").end();
    refused(&lone, "b", trailing);
    unpacked(&[&whole[..], &[0; 8192]].concat());
    let padded = [&whole[..], &vec![0; 2 << 20]].concat();
    refused(&padded, "b", |problem| matches!(problem, Problem::Limit(Limit::Padding(_))));
    let dangling = sound.records(&[("path", b"c")]).end();
    refused(&dangling, "b", |problem| matches!(problem, Problem::Dangling));

    let mut damaged = whole;
    damaged[0] = b'c';
    refused(&damaged, "?", |problem| matches!(problem, Problem::Checksum));
    refused(&[b'x'; 1024], "?", |problem| matches!(problem, Problem::Checksum));
}

#[test]
fn compressed_streams_that_are_damaged() {
    let whole = Crafted::new().file(b"a", &b"0123456789".repeat(5000)).end();
    let zstd = zstd::encode_all(&whole[..], 3).expect("compressed");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&whole).expect("compressed");
    let gzip = gzip.finish().expect("compressed");
    for stream in [zstd, gzip] {
        unpacked(&stream);
        // Two of them, one after the other, are one stream of bytes, and so a second archive.
        let error = Place::new().unpack(&stream.repeat(2), &limits()).expect_err("two archives");
        assert!(chain(&error).contains("after the end"), "{}", chain(&error));
        for length in [1, 5, 20, stream.len() / 2, stream.len() - 1] {
            let error = Place::new().unpack(&stream[..length], &limits()).expect_err("cut");
            let text = chain(&error);
            let known = ["ends too early", "cannot be read", "checksum"];
            assert!(known.iter().any(|known| text.contains(known)), "{length}: {text}");
        }
        let followed = [&stream[..], b"something else"].concat();
        let error = Place::new().unpack(&followed, &limits()).expect_err("something follows");
        assert!(chain(&error).contains("cannot be read"), "{}", chain(&error));
        // The checksum at the end (of gzip; zstd has it only when asked for) is looked at.
        let mut flipped = stream.clone();
        let last = flipped.len() - 6;
        flipped[last] ^= 1;
        if stream.starts_with(&[0x1f]) {
            Place::new().unpack(&flipped, &limits()).expect_err("a wrong checksum");
        }
    }
}

#[test]
fn bombs() {
    // Zeros, ten thousand times as large as their compressed bytes; the reader stops early.
    let size = 2 * RATIO_FREE_BYTES;
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("zstd");
    encoder.write_all(header(b"zeros", b'0', size).as_bytes()).expect("compressed");
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), size + 1024), &mut encoder)
        .expect("compressed");
    let bomb = encoder.finish().expect("compressed");
    assert!(bomb.len() < 1 << 20, "{} bytes", bomb.len());
    let tree =
        refused(&bomb, "zeros", |problem| matches!(problem, Problem::Limit(Limit::Ratio(_))));
    let Kind::File { size: written, .. } = tree[&b"zeros"[..]].kind else { panic!("{tree:?}") };
    assert!(written <= RATIO_FREE_BYTES + (1 << 20), "{written} bytes were written");

    let archive = Crafted::new().file(b"a", &[b'x'; 4000]).file(b"b", b"y").end();
    let bytes = Limits { bytes: 3000, ..limits() };
    refused_with(&bytes, &archive, "a", |problem| {
        matches!(problem, Problem::Limit(Limit::Bytes(3000)))
    });
    let file = Limits { file_bytes: 3999, ..limits() };
    refused_with(&file, &archive, "a", |problem| {
        matches!(problem, Problem::Limit(Limit::FileBytes(3999)))
    });
    let entries = Limits { entries: 1, ..limits() };
    refused_with(&entries, &archive, "b", |problem| {
        matches!(problem, Problem::Limit(Limit::Entries(1)))
    });
    let deep = b"d/".repeat(257);
    let deep = Crafted::new().records(&[("path", &deep)]).folder(b"d/").end();
    let error = Place::new().unpack(&deep, &limits()).map(drop);
    assert!(error.is_ok(), "256 folders above it are allowed: {error:?}");
    let deeper = [&b"d/".repeat(257)[..], b"f"].concat();
    let deeper = Crafted::new().records(&[("path", &deeper)]).file(b"f", b"").end();
    let error = Place::new().unpack(&deeper, &limits()).expect_err("too deep");
    assert!(chain(&error).contains("256 folders"), "{}", chain(&error));
    let records = Crafted::new().records(&[("comment", &vec![b'x'; 1 << 20])]).file(b"a", b"");
    refused(&records.end(), "?", |problem| matches!(problem, Problem::Limit(Limit::Records(_))));
}

#[test]
fn a_part_of_the_disk_stays_free() {
    let archive = Crafted::new().file(b"a", b"x").end();
    // Nowhere everything is free.
    let limits = Limits { reserve_percent: 100, ..Limits::default() };
    refused_with(&limits, &archive, "?", |problem| {
        matches!(problem, Problem::Limit(Limit::Space(100) | Limit::Inodes(100)))
    });
    // A file that is larger than what is free is refused before its first byte.
    let found = rustix::fs::statvfs(std::env::temp_dir()).expect("the filesystem");
    let size = (found.f_bfree + 1) * found.f_frsize;
    let claim = Crafted::new()
        .records(&[("size", size.to_string().as_bytes())])
        .entry(&header(b"large", b'0', 0), &[b'x'; 512])
        .cut();
    let limits = Limits { bytes: u64::MAX, file_bytes: u64::MAX, ..crate::crafted::limits() };
    if size > (1 << 33) {
        let tree = refused_with(&limits, &claim, "large", |problem| {
            matches!(problem, Problem::Limit(Limit::Space(0)))
        });
        assert_eq!(tree.len(), 1, "the root alone");
    }
}

#[test]
fn the_folder_has_to_be_empty() {
    let place = Place::new();
    fs::write(place.root().join("there"), "").expect("a file");
    let error = place.unpack(&Crafted::new().end(), &limits()).expect_err("not empty");
    assert!(matches!(error, UnpackError::NotEmpty), "{error:?}");
}
