//! How long 512 MiB take into the machine and out of it, from process to process.
//!
//! ```text
//!   vaultctl cp FILE acme:…     vaultctl cp acme:… FILE
//!   scp FILE 127.0.0.1:…        scp 127.0.0.1:… FILE
//! ```
//!
//! The four take turns within one run. `vaultctl cp` waits until the disk has it all, scp does not.

use std::fs::{self, File};
use std::io::Write;

use anyhow::ensure;
use vault_tests::world::World;

use crate::figures::{Figures, now};
use crate::ssh::Ssh;
use crate::{acme, succeed};

/// How much is copied, in bytes.
const BYTES: u64 = 512 << 20;

/// Rounds that count; each kind runs once per round.
const ROUNDS: usize = 5;

/// Measures, and prints.
pub(crate) async fn run() -> anyhow::Result<()> {
    let world = acme().await?;
    let ssh = Ssh::start().await?;
    let here = world.path("source");
    write(&here)?;
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let (source, back, there) =
        (text(&here), text(&world.path("back")), text(&world.path("there")));

    let mut figures = Figures::default();
    for round in 0..=ROUNDS {
        figures.counts = round > 0;
        // The machine's disk has no room for two.
        let remove = ["exec", "acme", "--", "rm", "-f", "/root/copied"];
        succeed(world.vaultctl_command(&remove)?.as_std_mut())?;
        figures.time("in: vaultctl cp", || cp(&world, &source, "acme:/root/copied"))?;
        if let Some(ssh) = &ssh {
            figures.time("in: scp", || ssh.copy(&source, &format!("127.0.0.1:{there}")))?;
        }
        figures.time("out: vaultctl cp", || cp(&world, "acme:/root/copied", &back))?;
        ensure!(fs::metadata(&back)?.len() == BYTES, "not all of it came back");
        if let Some(ssh) = &ssh {
            figures.time("out: scp", || ssh.copy(&format!("127.0.0.1:{source}"), &there))?;
        }
        let began = now();
        File::open(&back)?.sync_all()?;
        rustix::fs::sync();
        figures.add("  what the disk still had to take then", began.elapsed());
    }
    println!("MiB per copy: {}", BYTES >> 20);
    figures.print();
    drop(ssh);
    world.finish().await
}

fn cp(world: &World, from: &str, to: &str) -> anyhow::Result<()> {
    succeed(world.vaultctl_command(&["cp", from, to])?.as_std_mut())
}

/// A file of bytes that do not repeat soon.
fn write(path: &std::path::Path) -> anyhow::Result<()> {
    let mut file = File::create(path)?;
    let mut random = fastrand::Rng::with_seed(7);
    let mut chunk = vec![0; 1 << 20];
    for _ in 0..BYTES >> 20 {
        random.fill(&mut chunk);
        file.write_all(&chunk)?;
    }
    Ok(file.sync_all()?)
}
