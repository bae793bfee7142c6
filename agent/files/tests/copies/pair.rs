//! Two ends of a QUIC connection, and folders on both sides.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, ServerConfig};
use rustls::RootCertStore;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tempfile::TempDir;
use tokio::time::timeout;
use vault_files::{Copied, CopyError, Meter, Streams, Target};
use vault_protocol::frame::PAYLOAD_BYTES_MAX;
use vault_protocol::message::{CopyEntry, CopyOptions, EntryKind, Message};

/// How long anything may take here before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Fails the test if it takes too long.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("in time")
}

/// A connection with both its ends, and a folder for each.
pub(crate) struct Pair {
    pub(crate) from: TempDir,
    pub(crate) to: TempDir,
    near: Connection,
    far: Connection,
    /// Kept, so that the sockets stay open.
    _endpoints: [Endpoint; 2],
}

impl Pair {
    pub(crate) async fn new() -> Self {
        let made =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let certificate = made.cert.der().clone();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = ServerConfig::with_single_cert(vec![certificate.clone()], key.into());
        let local = (Ipv4Addr::LOCALHOST, 0).into();
        let server = Endpoint::server(config.expect("TLS"), local).expect("a socket");
        let mut roots = RootCertStore::empty();
        roots.add(certificate).expect("a root");
        let mut client = Endpoint::client(local).expect("a socket");
        let config = ClientConfig::with_root_certificates(Arc::new(roots)).expect("TLS");
        client.set_default_client_config(config);
        let address = server.local_addr().expect("bound");
        let connecting = client.connect(address, "localhost").expect("an address");
        let accepting = async { server.accept().await.expect("open").await.expect("connected") };
        let (near, far) = soon(async { tokio::join!(connecting, accepting) }).await;
        Self {
            from: TempDir::new().expect("a folder"),
            to: TempDir::new().expect("a folder"),
            near: near.expect("connected"),
            far,
            _endpoints: [server, client],
        }
    }

    /// A stream's ends; the near one has sent a byte, which is how the far one learns of it.
    pub(crate) async fn streams(&self) -> (Streams, Streams) {
        let (mut sender, receiver) = self.near.open_bi().await.expect("a stream");
        sender.write_all(b"!").await.expect("sent");
        let near = Streams { sender, receiver, first: Vec::new() };
        let (sender, mut receiver) = soon(self.far.accept_bi()).await.expect("a stream");
        receiver.read_exact(&mut [0]).await.expect("a byte");
        (near, Streams { sender, receiver, first: Vec::new() })
    }

    /// Copies something of `from` to something in `to`; answers what the sender and the receiver say.
    pub(crate) async fn copy(
        &self,
        path: &str,
        target: Target,
        options: CopyOptions,
    ) -> [Ended; 2] {
        let (near, far) = self.streams().await;
        let path = self.from.path().join(path);
        let sent =
            vault_files::send(path, options, near, Arc::new(Meter::default()), vault_files::here);
        let received = vault_files::receive(
            target,
            options,
            far,
            Arc::new(Meter::default()),
            vault_files::here,
        );
        let (sent, received) = soon(async { tokio::join!(sent, received) }).await;
        [sent, received]
    }

    /// The same, which has to end well.
    pub(crate) async fn copied(&self, path: &str, target: Target, options: CopyOptions) -> Copied {
        let [sent, received] = self.copy(path, target, options).await;
        let sent = sent.expect("sent");
        assert_eq!(sent, received.expect("received"), "both ends say the same");
        sent
    }

    /// A file or folder in `to`, or that folder itself.
    pub(crate) fn target(&self, path: &str, name: Option<&str>) -> Target {
        let path = match path {
            "" => self.to.path().to_owned(),
            path => self.to.path().join(path),
        };
        Target { path, name: name.map(|name| name.as_bytes().to_vec()) }
    }

    /// What a receiver says to a sender that says what it likes.
    pub(crate) async fn attacked(
        &self,
        target: Target,
        options: CopyOptions,
        say: impl AsyncFnOnce(&mut Attacker),
    ) -> Ended {
        let (near, far) = self.streams().await;
        let receiving = vault_files::receive(
            target,
            options,
            far,
            Arc::new(Meter::default()),
            vault_files::here,
        );
        let attacking = async {
            let mut attacker = Attacker { sender: near.sender, _receiver: near.receiver };
            say(&mut attacker).await;
            // It may have been told to stop.
            let _ended = attacker.sender.finish();
            attacker
        };
        let (received, _attacker) = soon(async { tokio::join!(receiving, attacking) }).await;
        received
    }
}

pub(crate) type Ended = Result<Copied, CopyError>;

/// A sender that follows no rules.
pub(crate) struct Attacker {
    pub(crate) sender: SendStream,
    _receiver: RecvStream,
}

impl Attacker {
    pub(crate) async fn say(&mut self, message: impl Into<Message>) {
        let mut bytes = Vec::new();
        message.into().frame().encode(PAYLOAD_BYTES_MAX, &mut bytes).expect("short enough");
        self.raw(&bytes).await;
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        // The receiver may have had enough.
        let _sent = self.sender.write_all(bytes).await;
    }

    pub(crate) async fn file(&mut self, name: &[u8], content: &[u8]) {
        self.say(entry(EntryKind::File, name, content.len() as u64)).await;
        self.raw(content).await;
    }

    pub(crate) async fn folder(&mut self, name: &[u8]) {
        self.say(entry(EntryKind::Folder, name, 0)).await;
    }
}

pub(crate) fn entry(kind: EntryKind, name: &[u8], size: u64) -> CopyEntry {
    CopyEntry {
        kind,
        name: name.to_vec().into(),
        mode: 0o6755,
        modified_seconds: 1_000_000_000,
        modified_nanoseconds: 5,
        size,
    }
}

pub(crate) const RECURSIVE: CopyOptions =
    CopyOptions { recursive: true, preserve: false, resume: false, into_folder: false };

/// Every path beneath a folder, sorted, with the content of files.
pub(crate) fn tree(root: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let is_folder = path.symlink_metadata().expect("there").is_dir();
            let content = (!is_folder).then(|| fs::read(&path).expect("readable"));
            let name = path.strip_prefix(root).expect("beneath").to_owned();
            found.push((name, content));
            if is_folder {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Bytes that do not repeat soon.
pub(crate) fn content(bytes: usize) -> Vec<u8> {
    (0..bytes as u64).map(|index| (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}
