//! OpenSSH, on this computer.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use tempfile::TempDir;
use vault_tests::eventually::eventually;

use crate::succeed;

/// An OpenSSH server of our own on this computer, and a connection to it that is kept.
pub(crate) struct Ssh {
    folder: TempDir,
    port: u16,
    server: std::process::Child,
}

impl Ssh {
    /// Starts it; nothing, and a loud line, without OpenSSH.
    pub(crate) async fn start() -> anyhow::Result<Option<Self>> {
        let server = PathBuf::from("/usr/sbin/sshd");
        if !server.is_file() {
            println!(
                "SKIPPED: ssh, because there is no {} (apt install openssh-server)",
                server.display()
            );
            return Ok(None);
        }
        // The server insists on this folder, which its package's service would make.
        fs::create_dir_all("/run/sshd").context("making the folder that sshd wants")?;
        let folder = tempfile::tempdir()?;
        let key = |name: &str| -> anyhow::Result<PathBuf> {
            let path = folder.path().join(name);
            let mut command = Command::new("ssh-keygen");
            succeed(command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path))?;
            Ok(path)
        };
        let (host, user) = (key("host")?, key("user")?);
        let free = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let port = free.local_addr()?.port();
        drop(free);
        let server = Command::new(&server)
            .args(["-D", "-e", "-f", "/dev/null", "-h"])
            .arg(&host)
            .args(["-o", &format!("Port={port}"), "-o", "ListenAddress=127.0.0.1"])
            .args(["-o", "UsePAM=no", "-o", "StrictModes=no", "-o", "PermitRootLogin=yes"])
            .args(["-o", "Subsystem=sftp internal-sftp"])
            .arg("-o")
            .arg(format!("AuthorizedKeysFile={}", user.with_extension("pub").display()))
            .stderr(Stdio::null())
            .spawn()?;
        let ssh = Self { folder, port, server };
        eventually("ssh answers", async || {
            ssh.new_connection().map_err(|error| format!("{error:#}"))
        })
        .await?;
        succeed(
            ssh.client()
                .args(["-M", "-f", "-N", "-o", "ControlPersist=yes"])
                .arg("-S")
                .arg(ssh.socket())
                .arg("127.0.0.1"),
        )?;
        Ok(Some(ssh))
    }

    /// The server's process.
    pub(crate) fn server(&self) -> u32 {
        self.server.id()
    }

    fn socket(&self) -> PathBuf {
        self.path("control")
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.folder.path()).join(name)
    }

    /// The client, with everything but what it is to do.
    pub(crate) fn client(&self) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-T", "-p", &self.port.to_string()]);
        self.trust(&mut command);
        command
    }

    /// Copies a file over a new connection; the paths as scp wants them.
    pub(crate) fn copy(&self, from: &str, to: &str) -> anyhow::Result<()> {
        let mut command = Command::new("scp");
        command.args(["-q", "-P", &self.port.to_string(), "-o", "ControlPath=none"]);
        self.trust(&mut command);
        succeed(command.args([from, to]))
    }

    /// Whom to believe and who we are.
    fn trust(&self, command: &mut Command) {
        command
            .args(["-F", "/dev/null", "-i"])
            .arg(self.path("user"))
            .args(["-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"])
            .args(["-o", "Ciphers=aes128-gcm@openssh.com", "-o", "GSSAPIAuthentication=no"])
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", self.path("known").display()));
    }

    /// `true`, over a new connection.
    pub(crate) fn new_connection(&self) -> anyhow::Result<()> {
        succeed(self.client().args(["-o", "ControlPath=none", "127.0.0.1", "true"]))
    }

    /// `true`, over the connection that is kept.
    pub(crate) fn multiplexed(&self) -> anyhow::Result<()> {
        succeed(self.client().arg("-S").arg(self.socket()).args(["127.0.0.1", "true"]))
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        let mut exit = self.client();
        exit.arg("-S").arg(self.socket()).args(["-O", "exit", "127.0.0.1"]);
        drop(exit.stderr(Stdio::null()).status());
        drop(self.server.kill());
        drop(self.server.wait());
    }
}
