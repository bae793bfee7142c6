//! The kube-rs controller, built on demand, as a process.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use vault_emulator::DEFAULT_ORG;
use vault_tests::binaries::{cargo, workspace};
use vault_tests::eventually::eventually;
use vault_tests::world::World;

/// A running one.
pub(crate) struct KubeRs {
    process: Child,
    lines: Arc<Mutex<Vec<String>>>,
    _reader: JoinSet<()>,
}

/// Builds the program, beside what this benchmark was built into; cargo's words are on standard
/// error.
///
/// # Errors
/// If it does not build, for example because its dependencies cannot be fetched.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe()?;
    // It lies in `TARGET/PROFILE/deps/`.
    let target = this.ancestors().nth(3).context("there is no target folder")?;
    let target = target.join("peers-kube-rs");
    let manifest = workspace().join("tests/peers/kube-rs/Cargo.toml");
    let status = cargo()
        .args(["build", "--release", "--locked", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target)
        .status()
        .context("starting cargo")?;
    ensure!(status.success(), "it does not build: {status}");
    Ok(target.join("release/peer-kube-rs"))
}

impl KubeRs {
    /// Starts it on the world's tenants and platform, and waits until it has compared all of them
    /// once. `compare` is what its reconciles do.
    pub(crate) async fn start(
        program: &Path,
        world: &World,
        tenants: usize,
        interval_seconds: u64,
        compare: &str,
    ) -> anyhow::Result<Self> {
        let status = world.status().await?;
        let controller = status["controller"].as_str().context("the controller's id")?;
        let mut process = Command::new(program)
            .arg("--kubeconfig")
            .arg(world.path("controller/kubeconfig"))
            .args(["--platform-url", &world.platform()?.url(), "--org", DEFAULT_ORG])
            .args(["--controller", controller, "--compare", compare])
            .args(["--interval", &interval_seconds.to_string()])
            .env("FLY_API_TOKEN", world.controller_token())
            // As our controller does for itself: what a pass needed goes back at once.
            .env("MIMALLOC_PURGE_DELAY", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stdout.take().context("its output")?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let mut reader = JoinSet::new();
        let kept = Arc::clone(&lines);
        reader.spawn(async move {
            let mut output = BufReader::new(output).lines();
            while let Ok(Some(line)) = output.next_line().await {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let kube_rs = Self { process, lines, _reader: reader };
        eventually("kube-rs has reconciled all tenants", async || {
            let lines = kube_rs.lines();
            lines.contains(&whole(tenants)).then_some(()).ok_or_else(|| format!("{lines:?}"))
        })
        .await?;
        Ok(kube_rs)
    }

    /// Its process id.
    pub(crate) fn id(&self) -> anyhow::Result<u32> {
        self.process.id().context("kube-rs has ended")
    }

    /// How many resyncs it has told of.
    pub(crate) fn resyncs(&self) -> usize {
        self.lines().len()
    }

    /// Whether each resync after the first `before` compared every tenant, and found none different.
    pub(crate) fn was_whole(&self, tenants: usize, before: usize) -> anyhow::Result<()> {
        let lines = self.lines().split_off(before);
        let all = !lines.is_empty() && lines.iter().all(|line| *line == whole(tenants));
        ensure!(all, "a resync of kube-rs is not what it should be: {lines:?}");
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What it prints of a resync: how many were reconciled, and how many of them are different.
fn whole(tenants: usize) -> String {
    format!("{tenants} 0")
}
