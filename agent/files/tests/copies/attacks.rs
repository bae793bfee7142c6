//! Senders that would write elsewhere: CVE-2019-6111 and its relatives.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use vault_files::limits::DEPTH_MAX;
use vault_protocol::message::{CopyEntry, CopyFolderEnd, CopyOptions, CopySent, EntryKind};

use crate::pair::{Pair, RECURSIVE, entry, tree};

const SENT: CopySent = CopySent { skipped: 0, first_skipped: None };

/// A destination inside `to`, and nothing beside it.
fn destination(pair: &Pair) -> vault_files::Target {
    fs::create_dir_all(pair.to.path().join("destination")).expect("a folder");
    pair.target("destination", Some("asked"))
}

#[tokio::test]
async fn names_that_lead_out_are_refused() {
    let pair = Pair::new().await;
    let long = [b'x'; 256];
    let names = [b"".as_slice(), b".", b"..", b"../out", b"/tmp/out", b"a/b", b"a\0b", &long];
    for name in names {
        for is_folder in [false, true] {
            let attack = async |sender: &mut crate::pair::Attacker| {
                sender.folder(b"").await;
                match is_folder {
                    true => sender.folder(name).await,
                    false => sender.file(name, b"evil").await,
                }
                sender.say(CopyFolderEnd {}).await;
                sender.say(SENT).await;
            };
            let ended = pair.attacked(destination(&pair), RECURSIVE, attack).await;
            let error = ended.expect_err("a hostile name").to_string();
            assert!(error.contains("a name that leads out of its folder"), "{name:?}: {error}");
        }
    }
    let left = tree(pair.to.path());
    assert_eq!(left, [("destination".into(), None), ("destination/asked".into(), None)]);
}

#[tokio::test]
async fn a_file_that_was_not_asked_for_gets_the_name_that_was() {
    let pair = Pair::new().await;
    let attack = async |sender: &mut crate::pair::Attacker| {
        sender.file(b".bashrc", b"evil").await;
        sender.say(SENT).await;
    };
    pair.attacked(destination(&pair), CopyOptions::default(), attack).await.expect("received");
    let left = tree(pair.to.path());
    let asked = ("destination/asked".into(), Some(b"evil".to_vec()));
    assert_eq!(left, [("destination".into(), None), asked]);
    // A second one is refused, and so is a folder where a file was asked for.
    let attack = async |sender: &mut crate::pair::Attacker| {
        sender.file(b"asked", b"good").await;
        sender.file(b".bashrc", b"evil").await;
        sender.say(SENT).await;
    };
    let ended = pair.attacked(destination(&pair), RECURSIVE, attack).await;
    let error = ended.expect_err("two files").to_string();
    assert!(error.contains("more came than was asked for"), "{error}");
    let attack = async |sender: &mut crate::pair::Attacker| sender.folder(b"asked").await;
    let ended = pair.attacked(destination(&pair), CopyOptions::default(), attack).await;
    let error = ended.expect_err("a folder").to_string();
    assert!(error.contains("a folder came, and a file was asked for"), "{error}");
    assert_eq!(tree(pair.to.path()).len(), 2);
}

#[tokio::test]
async fn links_that_are_there_lead_nowhere() {
    let pair = Pair::new().await;
    let target = destination(&pair);
    let outside = pair.to.path().join("outside");
    fs::create_dir(&outside).expect("a folder");
    fs::write(outside.join("file"), b"precious").expect("writable");
    let inside = pair.to.path().join("destination/asked");
    fs::create_dir(&inside).expect("a folder");
    symlink("../../outside", inside.join("folder")).expect("a link");
    symlink("../../outside/file", inside.join("file")).expect("a link");
    // Through a link to a folder nothing is written.
    let attack = async |sender: &mut crate::pair::Attacker| {
        sender.folder(b"").await;
        sender.folder(b"folder").await;
        sender.file(b"file", b"evil").await;
    };
    let ended = pair.attacked(target.clone(), RECURSIVE, attack).await;
    let error = ended.expect_err("a link").to_string();
    assert!(error.ends_with("asked/folder: is no folder"), "{error}");
    // And a link to a file is replaced, not followed; so with what is to be continued.
    for resume in [false, true] {
        let attack = async |sender: &mut crate::pair::Attacker| {
            sender.folder(b"").await;
            sender.say(entry(EntryKind::File, b"file", 4)).await;
            if resume {
                sender.say(vault_protocol::message::CopyFrom { offset: 0 }).await;
            }
            sender.raw(b"evil").await;
            sender.say(CopyFolderEnd {}).await;
            sender.say(SENT).await;
        };
        let options = CopyOptions { resume, ..RECURSIVE };
        pair.attacked(target.clone(), options, attack).await.expect("received");
        let file = inside.join("file");
        assert!(!file.is_symlink());
        assert_eq!(fs::read(&file).expect("readable"), b"evil");
        assert_eq!(fs::read(outside.join("file")).expect("readable"), b"precious");
        fs::remove_file(&file).expect("ours");
        symlink("../../outside/file", &file).expect("a link");
    }
}

#[tokio::test]
async fn depth_modes_times_and_endings_are_bounded() {
    let pair = Pair::new().await;
    let attack = async |sender: &mut crate::pair::Attacker| {
        for _ in 0..=DEPTH_MAX {
            sender.folder(b"d").await;
        }
    };
    let ended = pair.attacked(destination(&pair), RECURSIVE, attack).await;
    let error = ended.expect_err("too deep").to_string();
    assert!(error.contains("folders that lie too deep"), "{error}");
    let attack = async |sender: &mut crate::pair::Attacker| {
        let time =
            CopyEntry { modified_nanoseconds: 1_073_741_823, ..entry(EntryKind::File, b"", 0) };
        sender.say(time).await;
    };
    let ended = pair.attacked(pair.target("x", None), RECURSIVE, attack).await;
    assert!(ended.expect_err("no time").to_string().contains("a time that is none"));
    let attack = async |sender: &mut crate::pair::Attacker| {
        sender.raw(&[0x51, 0xff, 0xff, 0xff]).await;
    };
    pair.attacked(pair.target("x", None), RECURSIVE, attack).await.expect_err("a frame too long");
    let attack = async |sender: &mut crate::pair::Attacker| {
        sender.say(entry(EntryKind::File, b"", u64::MAX)).await;
        sender.raw(b"little").await;
    };
    pair.attacked(pair.target("x", None), RECURSIVE, attack).await.expect_err("cut short");
    assert!(!pair.to.path().join("x").exists());
    // Set-user-ID bits of a sender count for nothing, also where modes are kept.
    let options = CopyOptions { preserve: true, ..RECURSIVE };
    let attack = async |sender: &mut crate::pair::Attacker| {
        sender.file(b"", b"#!").await;
        sender.say(SENT).await;
    };
    pair.attacked(pair.target("x", None), options, attack).await.expect("received");
    let mode = pair.to.path().join("x").metadata().expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
}
