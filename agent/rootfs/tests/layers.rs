//! Layers over one another: what they hide, what stays, and what no layer may do to a lower one.

use std::fs;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use vault_rootfs::limits::RATIO_FREE_BYTES;
use vault_rootfs::{Layers, Limit, Limits, Problem, UnpackError, remove_tree};

use crate::crafted::{Crafted, Place, chain, limits};
use crate::seen::{Kind, Tree, assert_same, seen};

/// Unpacks layers, the lowest first.
fn apply(place: &Place, layers: &[Vec<u8>], limits: &Limits) -> Result<(), UnpackError> {
    place.checked(|root| {
        let mut tree = Layers::new(root, limits)?;
        for layer in layers {
            let summary = tree.unpack(|| Ok(layer.as_slice()), &mut |_| ())?;
            assert_eq!(summary.bytes_in, layer.len() as u64);
        }
        tree.finish()
    })
}

/// Layers that are sound, and the tree that they make.
#[track_caller]
fn applied(layers: &[Vec<u8>]) -> (Place, Tree) {
    let place = Place::new();
    if let Err(error) = apply(&place, layers, &limits()) {
        panic!("{}", chain(&error));
    }
    let tree = seen(&place.root());
    (place, tree)
}

/// The paths and contents of files, the paths alone of others.
fn contents(layers: &[Vec<u8>]) -> Vec<String> {
    let (place, tree) = applied(layers);
    let shown = |(path, node): (&Vec<u8>, &crate::seen::Node)| {
        let path = String::from_utf8(path.clone()).expect("ASCII");
        match node.kind {
            Kind::File { .. } => {
                let content = fs::read_to_string(place.root().join(&path)).expect("a file");
                format!("{path}={content}")
            }
            Kind::Folder => format!("{path}/"),
            _ => path,
        }
    };
    tree.iter().skip(1).map(shown).collect()
}

/// The last layer is refused, in the place of this entry, for what `expected` knows.
#[track_caller]
fn refused(layers: &[Vec<u8>], entry: &str, expected: impl FnOnce(&Problem) -> bool) {
    match apply(&Place::new(), layers, &limits()) {
        Err(UnpackError::Entry { name, problem, .. }) => {
            assert!(expected(&problem), "{name}: {problem:?}");
            assert_eq!(name, entry, "{problem:?}");
        }
        Err(error) => panic!("{}", chain(&error)),
        Ok(()) => panic!("it was unpacked"),
    }
}

fn base() -> Vec<u8> {
    Crafted::new()
        .folder(b"a/")
        .folder(b"a/b/")
        .file(b"a/b/c", b"low")
        .file(b"a/b/d", b"low")
        .file(b"a/e", b"low")
        .file(b"a-b", b"low")
        .symlink(b"link", b"a")
        .end()
}

#[test]
fn a_higher_layer_replaces_and_adds() {
    let higher = Crafted::new().file(b"a/e", b"high").file(b"f", b"high").end();
    assert_eq!(
        contents(&[base(), higher]),
        ["a/", "a-b=low", "a/b/", "a/b/c=low", "a/b/d=low", "a/e=high", "f=high", "link"]
    );
    // A folder in the place of something else, and something else in the place of a folder.
    let turned = Crafted::new().folder(b"link/").file(b"link/x", b"high").file(b"a", b"high").end();
    assert_eq!(contents(&[base(), turned]), ["a=high", "a-b=low", "link/", "link/x=high"]);
    // Names of whiteouts are ordinary ones in an archive that is no layer.
    let (_, _, tree) = crate::crafted::unpacked(&Crafted::new().file(b".wh.a", b"x").end());
    assert!(tree.contains_key(&b".wh.a"[..]));
}

#[test]
fn whiteouts_hide_lower_layers_alone() {
    let one = Crafted::new().file(b"a/b/.wh.c", b"").file(b".wh.a-b", b"").end();
    assert_eq!(contents(&[base(), one]), ["a/", "a/b/", "a/b/d=low", "a/e=low", "link"]);
    let folder = Crafted::new().file(b"a/.wh.b", b"").file(b".wh.link", b"").end();
    assert_eq!(contents(&[base(), folder]), ["a/", "a-b=low", "a/e=low"]);
    let root = Crafted::new().file(b".wh..wh..opq", b"").file(b"new", b"high").end();
    assert_eq!(contents(&[base(), root]), ["new=high"]);
    let nothing = Crafted::new().file(b"x/y/.wh.z", b"").file(b".wh.x", b"").end();
    assert_eq!(contents(&[base(), nothing]).len(), 7);
    // In the lowest layer there is nothing to hide, and they are no files either.
    let first = Crafted::new().file(b".wh.a", b"").file(b"b", b"x").end();
    assert_eq!(contents(&[first]), ["b=x"]);
}

/// Wherever they stand in the layer.
#[test]
fn whiteouts_hide_nothing_of_their_own_layer() {
    let opaque = |layer: Crafted| layer.file(b"a/.wh..wh..opq", b"");
    let content = |layer: Crafted| layer.folder(b"a/").folder(b"a/b/").file(b"a/b/x", b"high");
    let expected = ["a/", "a-b=low", "a/b/", "a/b/x=high", "link"];
    assert_eq!(contents(&[base(), opaque(content(Crafted::new())).end()]), expected);
    assert_eq!(contents(&[base(), content(opaque(Crafted::new())).end()]), expected);
    let both = Crafted::new().file(b"a/e", b"high").file(b"a/.wh.e", b"").file(b"a/.wh.b", b"");
    assert_eq!(contents(&[base(), both.end()]), ["a/", "a-b=low", "a/e=high", "link"]);
    // And what was hidden may come back.
    let again = Crafted::new().file(b"a/b/c", b"again").end();
    let gone = Crafted::new().file(b".wh.a", b"").end();
    assert_eq!(contents(&[base(), gone, again]), ["a/", "a-b=low", "a/b/", "a/b/c=again", "link"]);
}

/// A folder keeps its time and mode when a later layer changes what is in it, and gets new ones when
/// a later layer names it.
#[test]
fn folders_have_what_the_last_layer_that_names_them_says() {
    let folder = |name: &[u8], mode, time| {
        Crafted::new().changed(name, b'5', b"", |header| {
            header.set_mode(mode);
            header.set_mtime(time);
        })
    };
    let low = folder(b"a/", 0o555, 1000).file(b"a/b", b"low").end();
    let high = Crafted::new().file(b"a/c", b"high").file(b"a/.wh.b", b"").end();
    let (place, tree) = applied(&[low.clone(), high.clone()]);
    assert_eq!((tree[&b"a"[..]].mode, tree[&b"a"[..]].mtime), (0o555, (1000, 0)));
    assert!(place.root().join("a/c").exists() && !place.root().join("a/b").exists());
    let named = folder(b"a/", 0o700, 2000).end();
    let (_place, tree) = applied(&[low, high, named]);
    assert_eq!((tree[&b"a"[..]].mode, tree[&b"a"[..]].mtime), (0o700, (2000, 0)));
    // A folder that was hidden leaves nothing behind for the next one of its name.
    let low = folder(b"a/", 0o500, 1000).end();
    let (_place, tree) = applied(&[
        low,
        Crafted::new().file(b".wh.a", b"").end(),
        Crafted::new().file(b"a/b", b"").end(),
    ]);
    assert_eq!(tree[&b"a"[..]].mode, 0o755);
}

#[test]
fn one_layer_or_several_make_one_tree() {
    let whole = Crafted::new().folder(b"a/").file(b"a/b", b"x").hard_link(b"c", b"a/b").end();
    let (_, _, expected) = crate::crafted::unpacked(&whole);
    // A hard link may lead to what a lower layer has.
    let parts = [
        Crafted::new().folder(b"a/").file(b"a/b", b"x").file(b"d", b"y").end(),
        Crafted::new().hard_link(b"c", b"a/b").file(b".wh.d", b"").end(),
    ];
    let (_place, tree) = applied(&parts);
    let mut expected = expected;
    // No archive says when the root was changed.
    expected.insert(b".".to_vec(), tree[&b"."[..]].clone());
    assert_same(&expected, &tree, "one layer, and two");
}

/// The time of unpacking is in nothing.
#[test]
fn folders_that_no_layer_names_are_from_1970() {
    let (_place, tree) = applied(&[Crafted::new().file(b"a/b/c", b"x").end()]);
    for folder in [&b"."[..], b"a", b"a/b"] {
        assert_eq!((tree[folder].mode, tree[folder].mtime), (0o755, (0, 0)));
    }
}

#[test]
fn nothing_goes_through_what_a_lower_layer_has() {
    for target in [&b"../outside"[..], b"/etc", b"a", b"/proc/self/root"] {
        let low = Crafted::new().folder(b"a/").symlink(b"link", target).end();
        for (name, high) in [
            ("link/passwd", Crafted::new().file(b"link/passwd", b"owned")),
            ("link/empty/", Crafted::new().folder(b"link/empty/")),
            ("link/x", Crafted::new().symlink(b"link/x", b"y")),
        ] {
            let above = |problem: &Problem| matches!(problem, Problem::Above(at) if at == "link");
            refused(&[low.clone(), high.end()], name, above);
        }
        // `Place` looks that nothing outside is gone; what the symlink leads to inside stays as well.
        let hidden = Crafted::new()
            .file(b"link/.wh.passwd", b"")
            .file(b"link/.wh..wh..opq", b"")
            .file(b"link/empty/.wh.x", b"")
            .end();
        assert_eq!(contents(&[low, hidden]), ["a/", "link"]);
    }
    let low = Crafted::new().symlink(b"link", b"../outside/passwd").end();
    let high = Crafted::new().hard_link(b"passwd", b"link").end();
    refused(&[low, high], "passwd", |problem| matches!(problem, Problem::Link(_)));
    for target in [&b"../outside/passwd"[..], b"/etc/passwd"] {
        let high = Crafted::new().hard_link(b"passwd", target).end();
        refused(&[base(), high], "passwd", |problem| matches!(problem, Problem::Target(_)));
    }
    let up = Crafted::new().file(b"a/../../x", b"").end();
    refused(&[base(), up], "a/../../x", |problem| matches!(problem, Problem::Name(_)));
}

#[test]
fn whiteouts_that_name_nothing_are_refused() {
    for name in ["a/.wh...", ".wh..", ".wh.", "a/.wh.", ".wh..wh.aufs", ".wh.a/b"] {
        let high = Crafted::new().file(name.as_bytes(), b"").end();
        // Also where there is nothing to hide.
        for layers in [vec![base(), high.clone()], vec![high]] {
            refused(&layers, name, |problem| matches!(problem, Problem::Whiteout));
        }
    }
    for high in [
        Crafted::new().file(b".wh.a", b"x"),
        Crafted::new().folder(b".wh.a/"),
        Crafted::new().symlink(b".wh.a", b"b"),
    ] {
        let error = apply(&Place::new(), &[base(), high.end()], &limits()).expect_err("refused");
        assert!(chain(&error).contains("kept for whiteouts"), "{}", chain(&error));
    }
}

#[test]
fn limits_are_for_all_layers_together() {
    let layer = |name: &[u8]| Crafted::new().file(name, &[b'x'; 3000]).end();
    let layers = [layer(b"a"), layer(b"b"), layer(b"c")];
    let each = layers[0].len() as u64;
    let of = |limits: Limits| apply(&Place::new(), &layers, &limits);
    assert!(of(Limits { entries: 3, bytes: 3 * each, ..limits() }).is_ok());
    for (limits, expected) in [
        (Limits { entries: 2, ..limits() }, Limit::Entries(2)),
        (Limits { bytes: 3 * each - 1, ..limits() }, Limit::Bytes(3 * each - 1)),
    ] {
        let error = of(limits).expect_err("a limit");
        let UnpackError::Entry { problem: Problem::Limit(found), .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(found, expected);
    }
    // A bomb is found while it is only looked through, too.
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("zstd");
    let header = crate::crafted::header(b"zeros", b'0', 2 * RATIO_FREE_BYTES);
    io::Write::write_all(&mut encoder, header.as_bytes()).expect("compressed");
    io::copy(&mut io::repeat(0).take(2 * RATIO_FREE_BYTES + 1024), &mut encoder).expect("bytes");
    let bomb = encoder.finish().expect("compressed");
    refused(&[base(), bomb], "zeros", |problem| matches!(problem, Problem::Limit(Limit::Ratio(_))));
}

#[test]
fn a_layer_that_changes_between_its_readings_is_noticed() {
    let (first, second) = (Crafted::new().file(b"a", b"1"), Crafted::new().file(b"a", b"2"));
    let mut readings = [first.end(), second.end()].into_iter();
    let result = Place::new().checked(|root| {
        let limits = limits();
        let mut tree = Layers::new(root, &limits)?;
        let base = base();
        tree.unpack(|| Ok(base.as_slice()), &mut |_| ())?;
        let open = || Ok(io::Cursor::new(readings.next().expect("two readings")));
        tree.unpack(open, &mut |_| ()).map(drop)
    });
    assert!(matches!(result, Err(UnpackError::Changed)), "{result:?}");
}

/// As root there is nothing that may not be changed; without, folders are opened first.
#[test]
fn a_tree_is_removed_whatever_its_modes_are() {
    let place = Place::new();
    let closed = place.root().join("closed");
    fs::create_dir_all(closed.join("deep")).expect("folders");
    fs::write(closed.join("deep/file"), "").expect("a file");
    std::os::unix::fs::symlink("../../outside", closed.join("deep/link")).expect("a symlink");
    for (folder, mode) in [(closed.join("deep"), 0), (closed, 0o500)] {
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("a mode");
        assert_eq!(fs::metadata(&folder).expect("a folder").mode() & 0o777, mode);
    }
    let result = place.checked(|root| remove_tree(root.as_fd(), "closed".as_ref()));
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(seen(&place.root()).len(), 1, "the root alone");
    remove_tree(fs::File::open(place.root()).expect("a folder"), "closed".as_ref()).expect("gone");
}
