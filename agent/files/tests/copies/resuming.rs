//! What an earlier copy left is continued, if it is the front of what comes.

use std::fs;

use vault_protocol::message::{CopyEntry, CopyFrom, CopyOptions, EntryKind};

use crate::pair::{Pair, content, entry, tree};

const RESUME: CopyOptions =
    CopyOptions { recursive: false, preserve: false, resume: true, into_folder: false };

/// A copy that is cut after so many bytes of a file; answers what is left of it.
async fn cut(pair: &Pair, content: &[u8], after: usize) -> Vec<u8> {
    let size = content.len() as u64;
    let ended = pair
        .attacked(pair.target("", Some("file")), RESUME, async |sender| {
            let file = CopyEntry { mode: 0o644, ..entry(EntryKind::File, b"", size) };
            sender.say(file).await;
            sender.say(CopyFrom { offset: 0 }).await;
            sender.raw(&content[..after]).await;
        })
        .await;
    ended.expect_err("the rest did not come");
    let mut left = tree(pair.to.path());
    assert_eq!(left.len(), 1, "{left:?}");
    left.pop().and_then(|(_, left)| left).expect("a file")
}

#[tokio::test]
async fn only_the_rest_is_sent() {
    let pair = Pair::new().await;
    let content = content(5 << 20);
    fs::write(pair.from.path().join("file"), &content).expect("writable");
    let there = cut(&pair, &content, (2 << 20) + 3).await;
    assert_eq!(there, &content[..(2 << 20) + 3]);
    let copied = pair.copied("file", pair.target("", Some("file")), RESUME).await;
    assert_eq!(copied.done.bytes, (3 << 20) - 3);
    assert_eq!(tree(pair.to.path()), [("file".into(), Some(content.clone()))]);
    // Once more: nothing is left to send.
    let copied = pair.copied("file", pair.target("", Some("file")), RESUME).await;
    assert_eq!((copied.done.files, copied.done.bytes), (1, 0));
    assert_eq!(tree(pair.to.path()), [("file".into(), Some(content))]);
}

#[tokio::test]
async fn another_front_begins_again() {
    let pair = Pair::new().await;
    let content = content(3 << 20);
    let mut other = content.clone();
    other[1 << 20] ^= 1;
    fs::write(pair.from.path().join("file"), &content).expect("writable");
    cut(&pair, &other, 2 << 20).await;
    let copied = pair.copied("file", pair.target("", Some("file")), RESUME).await;
    assert_eq!(copied.done.bytes, 3 << 20, "one bit is another file");
    assert_eq!(tree(pair.to.path()), [("file".into(), Some(content.clone()))]);
    // What another program left at the place itself counts, too; longer than the file it is none.
    fs::write(pair.to.path().join("file"), &content[..1 << 20]).expect("writable");
    let copied = pair.copied("file", pair.target("", Some("file")), RESUME).await;
    assert_eq!(copied.done.bytes, 2 << 20);
    fs::write(pair.to.path().join("file"), [content.as_slice(), b"!"].concat()).expect("writable");
    let copied = pair.copied("file", pair.target("", Some("file")), RESUME).await;
    assert_eq!(copied.done.bytes, 3 << 20);
    assert_eq!(tree(pair.to.path()), [("file".into(), Some(content))]);
}

#[tokio::test]
async fn without_resume_nothing_is_kept() {
    let pair = Pair::new().await;
    let plain = CopyOptions::default();
    let ended = pair
        .attacked(pair.target("", Some("file")), plain, async |sender| {
            sender.say(entry(EntryKind::File, b"", 100)).await;
            sender.raw(&[1; 50]).await;
        })
        .await;
    ended.expect_err("the rest did not come");
    assert_eq!(tree(pair.to.path()), []);
}

#[tokio::test]
async fn an_offset_that_was_not_offered_is_refused() {
    let pair = Pair::new().await;
    let ended = pair
        .attacked(pair.target("", Some("file")), RESUME, async |sender| {
            sender.say(entry(EntryKind::File, b"", 100)).await;
            sender.say(CopyFrom { offset: 50 }).await;
            sender.raw(&[1; 50]).await;
        })
        .await;
    let error = ended.expect_err("nobody has 50 bytes").to_string();
    assert!(error.contains("no offset that was offered"), "{error}");
    assert!(!pair.to.path().join("file").exists());
}
