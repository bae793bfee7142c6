//! What the same work costs this controller and its peers, and how far it is from the least.
//!
//! ```text
//!   diff-terraform   vaultctl diff, a process, and its controller  │ terraform plan, a process
//!   noop-kube-rs     a pass of the controller                      │ a resync of a kube-rs controller
//!   pass             CPU of a full sweep; calls ÷ minimum for no-op, 1 % drift, cold convergence
//!   cold             1,000 tenants from nothing, 100 ms to every answer, the platform's rate limits
//!   kills            the same with a SIGKILL every 100 answers: what leaks, and the calls
//!   down             calls ÷ minimum for stopping and deleting 1,000 tenants, leases among them
//! ```
//!
//! CPU is user and system time of the processes that are named, in ticks of 10 ms; the emulator runs
//! in the benchmark's own process, is the platform in all of it, and is never counted. Contestants
//! take turns within one run. A peer that is missing is left out, loudly.
//!
//! `cargo bench -p vault-tests --bench peers -- PART… [--own] [--quick]`: all parts if none is named;
//! `--own` for tenants that say everything themselves instead of naming a class; `--quick` for a tenth
//! of the sizes, to try it out.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod calls;
mod cold;
mod diff;
mod down;
mod fleet;
mod kills;
mod kube_rs;
mod measure;
mod noop;
mod pass;
mod terraform;

use anyhow::ensure;

/// The parts, in the order in which they run.
const PARTS: [&str; 6] = ["diff-terraform", "noop-kube-rs", "pass", "cold", "kills", "down"];

/// How it is to run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Tenants say everything themselves.
    own: bool,
    /// A tenth of the sizes.
    quick: bool,
}

impl Settings {
    /// The size of a fleet.
    fn size(self, tenants: usize) -> usize {
        if self.quick { tenants / 10 } else { tenants }
    }
}

fn main() -> anyhow::Result<()> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|one| one != "--bench").collect();
    let (flags, parts): (Vec<_>, Vec<_>) =
        arguments.iter().map(String::as_str).partition(|one| one.starts_with("--"));
    for flag in &flags {
        ensure!(["--own", "--quick"].contains(flag), "no flag {flag}: --own, --quick");
    }
    for part in &parts {
        ensure!(PARTS.contains(part), "no part {part}: {}", PARTS.join(", "));
    }
    let settings = Settings { own: flags.contains(&"--own"), quick: flags.contains(&"--quick") };
    let wanted = |part: &str| parts.is_empty() || parts.contains(&part);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        if wanted("diff-terraform") {
            diff::run(settings).await?;
        }
        if wanted("noop-kube-rs") {
            noop::run(settings).await?;
        }
        if wanted("pass") {
            pass::run(settings).await?;
        }
        if wanted("cold") {
            cold::run(settings).await?;
        }
        if wanted("kills") {
            kills::run(settings).await?;
        }
        if wanted("down") {
            down::run(settings).await?;
        }
        Ok(())
    })
}

/// Says that a peer is missing: a line that is left out must not look like one that was measured.
pub(crate) fn skipped(what: &str, why: &str) {
    println!("SKIPPED: {what}: {why}");
}
