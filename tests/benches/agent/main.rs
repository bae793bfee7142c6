//! What is done in a tenant's machine, beside ssh to this computer.
//!
//! ```text
//!   exec   how long `true` takes, cold and warm
//!   idle   private memory of the agent, and of sshd, per session in which nothing happens
//!   copy   how long 512 MiB take into the machine and out of it
//!   flood  how long `true` takes while 10,000 connections are made that never prove themselves
//! ```
//!
//! Without an OpenSSH server what is about ssh is left out, loudly.
//!
//! `cargo bench --workspace --bench agent -- PART…`: all parts if none is named.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod copy;
mod exec;
mod figures;
mod flood;
mod idle;
mod place;
mod ssh;

use std::process::{Command, Stdio};

use anyhow::ensure;
use vault_tests::manifests;
use vault_tests::world::{World, WorldOptions};

/// The parts, in the order in which they run.
const PARTS: [&str; 4] = ["exec", "idle", "copy", "flood"];

fn main() -> anyhow::Result<()> {
    // Cargo adds `--bench`.
    let parts: Vec<String> = std::env::args().skip(1).filter(|one| one != "--bench").collect();
    for part in &parts {
        ensure!(PARTS.contains(&part.as_str()), "{part} is none of {PARTS:?}");
    }
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|one| one == part);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        if wanted("exec") {
            exec::run().await?;
        }
        if wanted("idle") {
            idle::run().await?;
        }
        if wanted("copy") {
            copy::run().await?;
        }
        if wanted("flood") {
            flood::run().await?;
        }
        Ok(())
    })
}

/// A world whose tenant `acme` has one machine, which runs the agent.
async fn acme() -> anyhow::Result<World> {
    let world = World::start(WorldOptions { processes: true, ..WorldOptions::default() }).await?;
    world.write_manifest("acme.yaml", manifests::agent("acme", 1))?;
    world.all_ready(1).await?;
    Ok(world)
}

/// Runs a program that says nothing.
fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    ensure!(status.success(), "{status}: {command:?}");
    Ok(())
}
