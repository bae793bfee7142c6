//! What nobody thought of: any bytes, and sound archives with something changed, never panic and never
//! reach outside of the root (`Place::unpack` looks). What is sound is unpacked.

use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use vault_rootfs::Limits;

use crate::crafted::{Crafted, Place};

/// An archive with an entry of every kind; whole blocks.
static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut map = b"2\n0\n512\n4096\n100\n".to_vec();
    map.resize(512, 0);
    map.extend_from_slice(&[b's'; 612]);
    Crafted::new()
        .folder(b"a/")
        .file(b"a/file", &[b'x'; 700])
        .symlink(b"a/link", b"../../outside")
        .hard_link(b"a/hard", b"a/file")
        .records(&[("path", b"a/long"), ("mtime", b"1.5"), ("comment", b"c")])
        .file(b"short", b"y")
        .long(b'L', &b"n".repeat(120))
        .file(b"short", b"z")
        .records(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"a/sparse"),
            ("GNU.sparse.realsize", b"10000"),
        ])
        .file(b"sparse", &map)
        .end()
});

/// One thing that is done to an archive.
#[derive(Clone, Debug)]
enum Change {
    Byte {
        at: prop::sample::Index,
        value: u8,
    },
    /// A name, type or number of a header, in the place where it would hurt.
    Field {
        block: prop::sample::Index,
        at: usize,
        text: Vec<u8>,
    },
    Cut {
        at: prop::sample::Index,
    },
    /// A block that stands there once more, somewhere else.
    Copy {
        from: prop::sample::Index,
        to: prop::sample::Index,
    },
    Remove {
        block: prop::sample::Index,
    },
}

fn change() -> impl Strategy<Value = Change> {
    let texts = prop_oneof![
        Just(b"../x".to_vec()),
        Just(b"/x".to_vec()),
        Just(b"a/link/passwd".to_vec()),
        Just(b"outside\0".to_vec()),
        Just(b"a\0".to_vec()),
        Just(b"00000000000\0".to_vec()),
        Just(b"00000001000\0".to_vec()),
        Just(b"77777777777\0".to_vec()),
        Just(vec![0xff; 12]),
        vec(any::<u8>(), 1..12),
    ];
    // Name, mode, size, type, target, magic, prefix.
    let places = prop::sample::select(vec![0_usize, 100, 124, 156, 157, 257, 345]);
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), any::<u8>()).prop_map(|(at, value)| Change::Byte { at, value }),
        (index(), places, texts).prop_map(|(block, at, text)| Change::Field { block, at, text }),
        index().prop_map(|at| Change::Cut { at }),
        (index(), index()).prop_map(|(from, to)| Change::Copy { from, to }),
        index().prop_map(|block| Change::Remove { block }),
        // A type of its own, so that every one comes often.
        (index(), prop::sample::select(b"0123456789gxLKSVX\0".to_vec()))
            .prop_map(|(block, kind)| Change::Field { block, at: 156, text: vec![kind] }),
    ]
}

fn apply(archive: &mut Vec<u8>, change: &Change) {
    let blocks = archive.len() / 512;
    if blocks == 0 {
        return;
    }
    match change {
        Change::Byte { at, value } => {
            let at = at.index(archive.len());
            archive[at] = *value;
        }
        Change::Field { block, at, text } => {
            let begin = block.index(blocks) * 512 + at;
            archive[begin..begin + text.len()].copy_from_slice(text);
        }
        Change::Cut { at } => archive.truncate(at.index(archive.len())),
        Change::Copy { from, to } => {
            let from = from.index(blocks) * 512;
            let to = to.index(blocks) * 512;
            let block = archive[from..from + 512].to_vec();
            archive.splice(to..to, block);
        }
        Change::Remove { block } => {
            let begin = block.index(blocks) * 512;
            archive.drain(begin..begin + 512);
        }
    }
}

/// Makes headers of all blocks that look like one: a wrong checksum would hide what comes behind it.
fn repair(archive: &mut [u8]) {
    for block in archive.chunks_exact_mut(512) {
        if block[148..156].iter().all(|byte| matches!(byte, b'0'..=b'7' | b' ' | 0))
            && block[0] != 0
        {
            let mut header = tar::Header::from_byte_slice(block).clone();
            header.set_cksum();
            block.copy_from_slice(header.as_bytes());
        }
    }
}

fn limits() -> Limits {
    Limits { bytes: 1 << 20, file_bytes: 1 << 20, reserve_percent: 0, ..Limits::default() }
}

#[test]
fn the_archive_to_be_changed_is_sound() {
    let place = Place::new();
    let summary = place.unpack(&SOUND, &limits()).expect("it is sound");
    assert_eq!(summary.entries, 7);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_archive_stays_inside(changes in vec(change(), 1..5)) {
        let mut archive = SOUND.clone();
        changes.iter().for_each(|change| apply(&mut archive, change));
        repair(&mut archive);
        // Whether it is refused or unpacked, both are looked at.
        drop(Place::new().unpack(&archive, &limits()));
    }

    #[test]
    fn any_bytes_are_refused(bytes in vec(any::<u8>(), 0..3000), compressed in 0..3) {
        let archive = match compressed {
            0 => bytes,
            1 => zstd::encode_all(&bytes[..], 1).expect("compressed"),
            _ => [&[0x1f, 0x8b, 8, 0][..], &bytes].concat(),
        };
        prop_assert!(Place::new().unpack(&archive, &limits()).is_err());
    }

    #[test]
    fn a_changed_stream_stays_inside(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut stream = zstd::encode_all(&SOUND[..], 3).expect("compressed");
        for (at, value) in changes {
            let at = at.index(stream.len());
            stream[at] = value;
        }
        drop(Place::new().unpack(&stream, &limits()));
    }
}
