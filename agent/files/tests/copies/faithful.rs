//! What arrives is what was sent.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use vault_files::Meter;
use vault_protocol::message::CopyOptions;

use crate::pair::{Pair, RECURSIVE, content, soon, tree};

fn set_mode(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
}

fn mode(path: &std::path::Path) -> u32 {
    path.metadata().expect("there").mode() & 0o7777
}

#[tokio::test]
async fn a_file_goes_into_a_folder_or_takes_the_name_that_is_given() {
    let pair = Pair::new().await;
    for bytes in [0, 1, (3 << 20) + 7] {
        let content = content(bytes);
        fs::write(pair.from.path().join("a"), &content).expect("writable");
        let into = pair.target("", Some("a"));
        let copied = pair.copied("a", into, CopyOptions::default()).await;
        assert_eq!((copied.done.files, copied.done.bytes), (1, bytes as u64));
        let named = pair.target("b", Some("a"));
        pair.copied("a", named, CopyOptions::default()).await;
        let expected = [("a".into(), Some(content.clone())), ("b".into(), Some(content))];
        assert_eq!(tree(pair.to.path()), expected, "and no temporary file is left");
    }
}

#[tokio::test]
async fn a_folder_arrives_with_everything_in_it() {
    let pair = Pair::new().await;
    let from = pair.from.path().join("top");
    fs::create_dir_all(from.join("deep/er")).expect("folders");
    fs::create_dir(from.join("empty")).expect("a folder");
    for index in 0..300 {
        fs::write(from.join(format!("deep/file-{index}")), content(index * 40)).expect("writable");
    }
    fs::write(from.join("deep/er/large"), content(1 << 20)).expect("writable");
    symlink("deep/er/large", from.join("link")).expect("a link");
    let target = pair.target("", Some("top"));
    let copied = pair.copied("top", target, RECURSIVE).await;
    assert_eq!((copied.done.files, copied.done.folders, copied.skipped), (302, 4, 0));
    let to = pair.to.path().join("top");
    let link = to.join("link");
    assert!(!link.is_symlink(), "what a link leads to is copied");
    assert_eq!(tree(&to), tree(&from));
    // Once more, into what is there, and this time only what is in it.
    fs::write(from.join("empty/new"), b"new").expect("writable");
    pair.copied("top", pair.target("top", None), RECURSIVE).await;
    assert_eq!(tree(&to), tree(&from));
    // And to a name that is not there.
    pair.copied("top", pair.target("other", Some("top")), RECURSIVE).await;
    assert_eq!(tree(&pair.to.path().join("other")), tree(&from));
}

#[tokio::test]
async fn modes_and_times_are_kept_if_asked_for() {
    let pair = Pair::new().await;
    let from = pair.from.path().join("top");
    fs::create_dir(&from).expect("a folder");
    fs::write(from.join("file"), b"x").expect("writable");
    set_mode(&from.join("file"), 0o6777);
    let then = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 7);
    File::open(from.join("file")).expect("readable").set_modified(then).expect("ours");
    set_mode(&from, 0o557);
    File::open(&from).expect("readable").set_modified(then).expect("ours");
    let options = CopyOptions { preserve: true, ..RECURSIVE };
    pair.copied("top", pair.target("kept", None), options).await;
    let kept = pair.to.path().join("kept");
    assert_eq!((mode(&kept), mode(&kept.join("file"))), (0o557, 0o777), "without set-user-ID bits");
    for path in [&kept, &kept.join("file")] {
        assert_eq!(path.metadata().expect("there").modified().expect("known"), then);
    }
    pair.copied("top", pair.target("plain", None), RECURSIVE).await;
    let plain = pair.to.path().join("plain");
    let umask = 0o777 & !mode_of_a_new_file(&pair);
    assert_eq!(mode(&plain.join("file")), 0o777 & !umask, "the umask counts");
    assert_eq!(mode(&plain), 0o557 & !umask);
    assert_ne!(plain.join("file").metadata().expect("there").modified().expect("known"), then);
    set_mode(&from, 0o755);
    set_mode(&kept, 0o755);
    set_mode(&plain, 0o755);
}

/// What the umask leaves of all permissions.
fn mode_of_a_new_file(pair: &Pair) -> u32 {
    let probe = pair.from.path().join("probe");
    fs::DirBuilder::new().create(&probe).expect("a folder");
    mode(&probe)
}

#[tokio::test]
async fn a_file_that_is_replaced_hands_on_its_mode() {
    let pair = Pair::new().await;
    fs::write(pair.from.path().join("a"), b"new").expect("writable");
    set_mode(&pair.from.path().join("a"), 0o777);
    let place = pair.to.path().join("a");
    fs::write(&place, b"older and longer").expect("writable");
    set_mode(&place, 0o640);
    pair.copied("a", pair.target("", Some("a")), CopyOptions::default()).await;
    assert_eq!(fs::read(&place).expect("readable"), b"new");
    assert_eq!(mode(&place), 0o640);
}

#[tokio::test]
async fn what_is_no_file_is_passed_over_and_told() {
    let pair = Pair::new().await;
    let from = pair.from.path().join("top");
    fs::create_dir(&from).expect("a folder");
    fs::write(from.join("file"), b"x").expect("writable");
    let _socket = UnixListener::bind(from.join("socket")).expect("a socket");
    symlink("nowhere", from.join("dangling")).expect("a link");
    let copied = pair.copied("top", pair.target("top", None), RECURSIVE).await;
    assert_eq!((copied.done.files, copied.skipped), (1, 2));
    let first = copied.first_skipped.expect("told");
    assert!(first.ends_with("top/socket") || first.ends_with("top/dangling"), "{first}");
}

#[tokio::test]
async fn what_cannot_be_copied_is_told_at_both_ends_with_its_path() {
    let pair = Pair::new().await;
    fs::write(pair.from.path().join("file"), b"x").expect("writable");
    fs::create_dir(pair.from.path().join("folder")).expect("a folder");
    symlink(".", pair.from.path().join("folder/loop")).expect("a link");
    fs::create_dir(pair.to.path().join("file")).expect("a folder");
    let plain = CopyOptions::default();
    let into = CopyOptions { into_folder: true, ..RECURSIVE };
    for (path, target, options, expected) in [
        ("absent", pair.target("", Some("a")), plain, "absent: cannot be opened: No such file"),
        ("folder", pair.target("", Some("a")), plain, "folder: is a folder: --recursive"),
        ("folder", pair.target("", Some("a")), RECURSIVE, "folders lie more than 128 deep"),
        ("file", pair.target("", Some("file")), plain, "file: is there, and is no file"),
        ("file", pair.target("absent/a", Some("a")), plain, "absent: is no folder"),
        ("file", pair.target("absent/", Some("a")), plain, "absent/: is no folder"),
        ("file", pair.target("absent", Some("a")), into, "absent: is no folder"),
        ("file", pair.target("", Some("..")), plain, "is a name that leads out"),
        ("file", pair.target("", Some("a/b")), plain, "is a name that leads out"),
    ] {
        for ended in pair.copy(path, target, options).await {
            let error = ended.expect_err(expected);
            let source = std::error::Error::source(&error);
            let told = format!("{error}: {}", source.map(ToString::to_string).unwrap_or_default());
            assert!(told.contains(expected), "{told} instead of {expected}");
        }
    }
}

#[tokio::test]
async fn a_receiver_that_cannot_write_there_says_so_at_both_ends() {
    let pair = Pair::new().await;
    fs::write(pair.from.path().join("file"), content(8 << 20)).expect("writable");
    // A folder in which nobody can make files, root neither.
    let target = vault_files::Target { path: "/proc/self/fd".into(), name: Some(b"file".to_vec()) };
    for ended in pair.copy("file", target, CopyOptions::default()).await {
        let error = ended.expect_err("no files can be made there").to_string();
        assert!(error.starts_with("/proc/self/fd/file: the file cannot be made"), "{error}");
    }
}

#[tokio::test]
async fn a_file_that_becomes_shorter_is_no_file() {
    let pair = Pair::new().await;
    let path = pair.from.path().join("file");
    fs::write(&path, content(64 << 20)).expect("writable");
    let (near, far) = pair.streams().await;
    let plain = CopyOptions::default();
    let sending = vault_files::send(path.clone(), plain, near, Arc::default(), vault_files::here);
    let meter = Arc::new(Meter::default());
    let target = pair.target("", Some("file"));
    let receiving = vault_files::receive(target, plain, far, Arc::clone(&meter), vault_files::here);
    let shortening = async {
        let mut turns = tokio::time::interval(Duration::from_millis(1));
        while meter.bytes() == 0 {
            turns.tick().await;
        }
        File::options().write(true).open(&path).expect("ours").set_len(10).expect("ours");
    };
    let (sent, received, ()) = soon(async { tokio::join!(sending, receiving, shortening) }).await;
    for ended in [sent, received] {
        let error = ended.expect_err("it is too short");
        assert!(error.to_string().contains("it became shorter while it was copied"), "{error}");
    }
    assert_eq!(tree(pair.to.path()), []);
}
