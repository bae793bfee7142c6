//! A machine gets a root filesystem of its own: a small Debian, made by debootstrap.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use tokio::process::Command;
use vault_tests::manifests;
use vault_tests::program;
use vault_tests::world::World;

use crate::support::{self, skipped};

/// The release of Debian that is unpacked. Any will do.
const RELEASE: &str = "bookworm";

/// A small Debian as a folder; nothing, said loudly, where it cannot be made.
async fn debian(world: &World) -> anyhow::Result<Option<PathBuf>> {
    let folder = world.path("debian");
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", RELEASE]).arg(&folder);
    let made = match program::run(&mut debootstrap).await {
        Ok(made) => made,
        Err(error) => {
            skipped(&format!("a real root filesystem: debootstrap does not run: {error:#}"));
            return Ok(None);
        }
    };
    if made.code != Some(0) {
        skipped(&format!("a real root filesystem: debootstrap has failed: {made}"));
        return Ok(None);
    }
    Ok(Some(folder))
}

async fn pack(world: &World, folder: &Path, name: &str) -> anyhow::Result<String> {
    let archive = world.path(name).display().to_string();
    let folder = folder.display().to_string();
    let packed = world.vaultctl(&["build", "rootfs", &folder, "-o", &archive]).await?.expect(0);
    ensure!(packed.stdout.contains("sha256"), "{packed}");
    Ok(archive)
}

async fn shell(world: &World, script: &str) -> anyhow::Result<String> {
    Ok(world.vaultctl(&["exec", "acme", "--", "bash", "-c", script]).await?.expect(0).stdout)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_runs_a_debian_of_its_own_and_keeps_homes_when_it_is_replaced()
-> anyhow::Result<()> {
    let mut world = World::start(support::processes()).await?;
    if !support::is_isolated(&world, "a machine boots a root filesystem")? {
        return world.finish().await;
    }
    let Some(debian) = debian(&world).await? else { return world.finish().await };
    world.write_manifest("acme.yaml", manifests::agent_with_volume("acme"))?;
    world.all_ready(1).await?;
    std::fs::write(debian.join("etc/generation"), "one\n")?;
    let first = pack(&world, &debian, "one.tar.zst").await?;
    std::fs::write(debian.join("etc/generation"), "two\n")?;
    let second = pack(&world, &debian, "two.tar.zst").await?;

    // A profile that names it gives it to a machine that has none, before anything runs there.
    let add = ["profile", "add", "acme", "--rootfs", &first];
    drop(world.vaultctl(&add).await?.expect(0));
    let ran = world.vaultctl(&["exec", "acme", "--", "cat", "/etc/generation"]).await?.expect(0);
    assert_eq!(ran.stdout, "one\n");
    assert!(ran.stderr.contains("acme runs") && ran.stderr.contains("entries"), "{ran}");
    let inside = "apt --version && ls /.fly /data; cat /proc/1/comm; id -un; pwd; hostname";
    let seen = shell(&world, inside).await?;
    assert!(seen.starts_with("apt ") && seen.contains("root\n/root\n"), "{seen}");
    drop(
        shell(&world, "useradd -m dev && echo mine > /home/dev/file && echo mine > ~/file").await?,
    );

    // Another one is not taken unasked; with --replace it is, and the homes stay.
    let refused = world.vaultctl(&["provision", "acme", &second]).await?.expect(3);
    assert!(refused.stderr.contains("--replace"), "{refused}");
    drop(world.vaultctl(&["provision", "acme", &second, "--replace"]).await?.expect(0));
    let look = "cat /etc/generation /home/dev/file ~/file; grep -c ^dev: /etc/passwd || true";
    assert_eq!(
        world.vaultctl(&["exec", "acme", "--", "bash", "-c", look]).await?.stdout,
        "two\nmine\nmine\n0\n"
    );

    // The profile works without a controller, and replaces it as well.
    world.kill_controller();
    let again = ["exec", "acme", "--reprovision", "--", "true"];
    let ran = world.vaultctl(&again).await?.expect(0);
    assert!(ran.stderr.contains("acme runs"), "{ran}");
    assert_eq!(shell(&world, look).await?, "one\nmine\nmine\n0\n");

    let log = world.vaultctl(&["audit-log", "acme"]).await?.expect(0);
    assert_eq!(log.stdout.matches("RootProvisioned").count(), 3, "{log}");
    assert_eq!(log.stdout.matches("RootRefused").count(), 1, "{log}");
    world.start_controller().await?;
    world.finish().await
}
