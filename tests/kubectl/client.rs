//! One kubectl of a known version, and how it is run.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The versions 1.x that are supported.
pub(crate) const MINORS: std::ops::RangeInclusive<u32> = 27..=33;
/// No command takes this long; only one that hangs does.
const LIMIT: Duration = Duration::from_secs(120);

/// A kubectl of one version, with a home and a cache of its own.
pub(crate) struct Kubectl {
    /// The `x` of its version 1.x.
    pub(crate) minor: u32,
    program: PathBuf,
    home: TempDir,
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    /// Standard error, but for kubectl's own log.
    pub(crate) stderr: String,
    /// What it asked for: method, path with query, status; in the order of its log.
    pub(crate) requests: Vec<String>,
}

impl Kubectl {
    /// The versions to run: the oldest and the newest installed, or all with `VAULT_KUBECTL=all`.
    pub(crate) fn installed() -> Vec<Self> {
        let mut found: Vec<Self> =
            MINORS.filter_map(|minor| Some(Self::new(minor, program(minor)?))).collect();
        if std::env::var("VAULT_KUBECTL").as_deref() != Ok("all") && found.len() > 2 {
            found.drain(1..found.len() - 1);
        }
        found
    }

    fn new(minor: u32, program: PathBuf) -> Self {
        let home = tempfile::Builder::new().prefix("vault-kubectl-").tempdir().expect("a folder");
        Self { minor, program, home }
    }

    /// A command that finds the controller through `kubeconfig`, and logs its requests.
    pub(crate) fn command(&self, kubeconfig: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .arg("-v=6")
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| (OsString::from("PATH"), path)))
            .env("HOME", self.home.path())
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// An editor that puts one text in the place of another.
    pub(crate) fn editor(&self, from: &str, to: &str) -> anyhow::Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.home.path().join("editor");
        fs::write(&path, format!("#!/bin/sh\nexec sed -i 's|{from}|{to}|' \"$1\"\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }
}

/// Runs a command to its end.
pub(crate) async fn run(mut command: Command, input: Option<&str>) -> anyhow::Result<Ran> {
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().with_context(|| format!("could not run {command:?}"))?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(input.as_bytes()).await?;
    }
    let ended = tokio::time::timeout(LIMIT, child.wait_with_output());
    let output = ended.await.with_context(|| format!("it did not end: {command:?}"))??;
    let log = String::from_utf8_lossy(&output.stderr);
    let (own, rest) = parted(&log);
    Ok(Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: rest.iter().map(|line| format!("{line}\n")).collect(),
        requests: own.iter().filter_map(|line| request(line)).collect(),
    })
}

/// `kubectl.1.x` beside the file that `kubectl` on the PATH leads to, or on the PATH.
fn program(minor: u32) -> Option<PathBuf> {
    let name = format!("kubectl.1.{minor}");
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let beside = folders
        .iter()
        .filter_map(|folder| fs::canonicalize(folder.join("kubectl")).ok())
        .filter_map(|file| file.parent().map(Path::to_owned));
    beside.chain(folders.clone()).map(|folder| folder.join(&name)).find(|file| file.is_file())
}

/// The lines of kubectl's own log, and the others. At this level its log quotes refusals whole, over
/// several lines from `[{` to `}]`.
fn parted(text: &str) -> (Vec<&str>, Vec<&str>) {
    let mut quoting = false;
    text.lines().partition(|line| {
        let own = quoting || is_log(line);
        quoting = own && !line.ends_with("}]") && (quoting || line.ends_with("[{"));
        own
    })
}

/// Whether a line is of klog: `I1122 07:58:01.544102   29313 file.go:553] …`.
fn is_log(line: &str) -> bool {
    let mut letters = line.bytes();
    letters.next().is_some_and(|level| b"IWEF".contains(&level))
        && letters.by_ref().take(4).filter(u8::is_ascii_digit).count() == 4
        && letters.next() == Some(b' ')
}

/// The request that a line of the log tells of: until 1.32 as `GET URL STATUS in …`, since then as
/// `"Response" verb="GET" url="URL" status="STATUS"`.
fn request(line: &str) -> Option<String> {
    let (_, said) = line.split_once("] ")?;
    if said.starts_with("\"Response\"") {
        let field = |name: &str| {
            let (_, rest) = said.split_once(&format!("{name}=\""))?;
            rest.split_once('"').map(|(value, _)| value)
        };
        return Some(told(field("verb")?, field("url")?, field("status")?));
    }
    let mut words = said.split_whitespace();
    let (method, url, status) = (words.next()?, words.next()?, words.next()?);
    let is_request = method.bytes().all(|letter| letter.is_ascii_uppercase())
        && url.starts_with("https://")
        && said.contains(" milliseconds");
    is_request.then(|| told(method, url, status))
}

fn told(method: &str, url: &str, status: &str) -> String {
    let path = url.splitn(4, '/').nth(3).unwrap_or_default();
    let code = status.split_whitespace().next().unwrap_or_default();
    format!("{method} /{path} {code}")
}
