//! Root filesystems made of this machine's programs, and how a client sends one.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command as Program;

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use vault_protocol::message::{Message, Provision, ProvisionFailed, Provisioned};
use vault_rootfs::{PackOptions, pack};

use crate::support::{Client, Command, Messages, say, soon};

/// Whether the test can run here; says so loudly if not.
#[expect(clippy::print_stderr, reason = "a test that is skipped has to be seen")]
pub(crate) fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("SKIPPED: unpacking and booting a root filesystem needs root");
    }
    is_root
}

/// A root filesystem made of programs of this machine, with the libraries that they need.
pub(crate) struct Tree(TempDir);

impl Tree {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let root = folder.path();
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).expect("allowed");
        for folder in ["etc", "home/dev", "root", "tmp", "usr/bin"] {
            fs::create_dir_all(root.join(folder)).expect("made");
        }
        symlink("usr/bin", root.join("bin")).expect("made");
        let tree = Self(folder);
        for program in ["sh", "cat", "ls", "sleep", "readlink", "mount", "hostname", "tty", "id"] {
            tree.program(program);
        }
        tree.write("etc/passwd", "root:x:0:0::/root:/bin/sh\ndev:x:1000:1000::/home/dev:/bin/sh\n");
        tree
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).expect("written");
    }

    /// An init process that is a shell script.
    pub(crate) fn init(&self, script: &str) {
        fs::create_dir_all(self.path().join("sbin")).expect("made");
        self.write("sbin/init", &format!("#!/bin/sh\n{script}\n"));
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.path().join("sbin/init"), mode).expect("allowed");
    }

    fn program(&self, name: &str) {
        let found = Program::new("sh").args(["-c", &format!("command -v {name}")]).output();
        let found = String::from_utf8(found.expect("runs").stdout).expect("UTF-8");
        let source = fs::canonicalize(found.trim()).expect("is there");
        fs::copy(&source, self.path().join("usr/bin").join(name)).expect("copied");
        let libraries = Program::new("ldd").arg(&source).output().expect("runs").stdout;
        for library in String::from_utf8(libraries).expect("UTF-8").split_whitespace() {
            if library.starts_with('/') {
                let to = self.path().join(library.trim_start_matches('/'));
                fs::create_dir_all(to.parent().expect("a folder")).expect("made");
                if !to.exists() {
                    fs::copy(library, to).expect("copied");
                }
            }
        }
    }

    pub(crate) fn archive(&self) -> Vec<u8> {
        let mut archive = Vec::new();
        pack(self.path(), &mut archive, &PackOptions { level: 1, ..PackOptions::default() })
            .expect("packed");
        archive
    }
}

fn digest(archive: &[u8]) -> [u8; 32] {
    Sha256::digest(archive).into()
}

pub(crate) fn request(archive: &[u8], replace: bool) -> Provision {
    Provision { sha256: digest(archive).into(), bytes: archive.len() as u64, replace }
}

/// Asks to provision; what the agent says first.
pub(crate) async fn ask(client: &Client, request: Provision) -> (Command, Option<Message>) {
    let (mut sender, receiver) = soon(client.connection.open_bi()).await.expect("a stream");
    say(&mut sender, request).await;
    let mut messages = Messages::new(receiver);
    let first = messages.next().await;
    (Command { id: sender.id().into(), sender, messages }, first)
}

pub(crate) fn offset(message: Option<Message>) -> u64 {
    match message {
        Some(Message::SendFrom(from)) => from.offset,
        other => panic!("{other:?}"),
    }
}

/// The last word about it.
pub(crate) async fn verdict(messages: &mut Messages) -> Result<Provisioned, ProvisionFailed> {
    loop {
        match messages.next().await {
            Some(Message::ProvisionProgress(_)) => {}
            Some(Message::Provisioned(provisioned)) => return Ok(provisioned),
            Some(Message::ProvisionFailed(failed)) => return Err(failed),
            other => panic!("{other:?}"),
        }
    }
}

/// Sends a whole archive.
pub(crate) async fn provision(
    client: &Client,
    archive: &[u8],
    replace: bool,
) -> Result<Provisioned, ProvisionFailed> {
    let (mut stream, first) = ask(client, request(archive, replace)).await;
    match first {
        Some(Message::SendFrom(from)) => assert_eq!(from.offset, 0),
        Some(Message::ProvisionFailed(failed)) => return Err(failed),
        Some(Message::Provisioned(provisioned)) => return Ok(provisioned),
        other => panic!("{other:?}"),
    }
    // An agent that refuses it on the way stops the stream.
    let _refused = stream.sender.write_all(archive).await;
    let _refused = stream.sender.finish();
    verdict(&mut stream.messages).await
}
