//! Profiles: a machine that is reached while there is no controller.

use std::os::unix::fs::PermissionsExt;

use vault_tests::manifests;
use vault_tests::world::World;

use crate::support;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_reaches_its_machine_without_a_controller_and_is_refreshed_by_it()
-> anyhow::Result<()> {
    let mut world = World::start(support::processes()).await?;
    let manifest = manifests::agent("acme", 1);
    world.write_manifest("acme.yaml", &manifest)?;
    world.all_ready(1).await?;
    let listed = world.vaultctl(&["profile", "list"]).await?.expect(0);
    assert!(listed.stdout.is_empty() && listed.stderr.starts_with("no profiles in "), "{listed}");
    let added = world.vaultctl(&["profile", "add", "acme"]).await?.expect(0);
    assert!(added.stdout.starts_with("profile acme added in "), "{added}");
    let mode = std::fs::metadata(world.profiles_file())?.permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let listed = world.vaultctl(&["profile", "list"]).await?.expect(0);
    let row = listed.stdout.lines().nth(1).unwrap_or_default().to_owned();
    assert!(row.starts_with("acme ") && row.contains(":8443"), "{listed}");

    world.kill_controller();
    let echo = ["exec", "acme", "--", "echo", "here"];
    let ran = world.vaultctl(&echo).await?.expect(0);
    assert_eq!((&*ran.stdout, &*ran.stderr), ("here\n", ""));
    let unknown = ["exec", "globex", "--connect-timeout", "0", "--", "true"];
    let ran = world.vaultctl(&unknown).await?.expect(255);
    assert!(ran.stderr.contains("cannot reach the controller"), "{ran}");
    let ran = world.vaultctl(&["forward", "acme"]).await?.expect(2);
    assert!(ran.stderr.contains("nothing says what to forward to acme"), "{ran}");

    // An update makes another version of the machine, which the profile does not allow.
    world.start_controller().await?;
    world.write_manifest("acme.yaml", manifest.replace("memory_mb: 256", "memory_mb: 512"))?;
    world.all_ready(1).await?;
    world.kill_controller();
    let ran = world.vaultctl(&["exec", "acme", "--connect-timeout", "0", "--", "true"]).await?;
    let ran = ran.expect(255);
    assert!(ran.stderr.contains("another version of the machine"), "{ran}");
    let nowhere = world.path("absent.yaml");
    let mut alone =
        world.vaultctl_command(&["exec", "acme", "--connect-timeout", "0", "--", "true"])?;
    let ran = alone.env("VAULTCTL_CONFIG", nowhere).output().await?;
    let said = String::from_utf8(ran.stderr)?;
    assert!(said.contains("another version of the machine"), "{said}");
    assert!(said.contains("the profile cannot be refreshed: no context file"), "{said}");
    world.start_controller().await?;
    world.all_ready(1).await?;
    let ran = world.vaultctl(&echo).await?.expect(0);
    assert_eq!((&*ran.stdout, &*ran.stderr), ("here\n", "note: the profile acme was refreshed\n"));
    world.kill_controller();
    let ran = world.vaultctl(&echo).await?.expect(0);
    assert_eq!((&*ran.stdout, &*ran.stderr), ("here\n", ""));

    let removed = world.vaultctl(&["profile", "remove", "acme"]).await?.expect(0);
    assert_eq!(removed.stdout, "profile acme removed\n");
    let removed = world.vaultctl(&["profile", "remove", "acme"]).await?.expect(4);
    assert!(removed.stderr.contains("no profile \"acme\""), "{removed}");
    world.finish().await
}
