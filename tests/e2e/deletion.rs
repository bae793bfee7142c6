//! Deletion is earned.

use reqwest::Method;
use vault_tests::client::TENANTS;
use vault_tests::manifests;
use vault_tests::world::looks::{condition, holds};
use vault_tests::world::{World, WorldOptions};

use crate::support::passes;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_tenant_leaves_its_volume_and_takes_it_back() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    let file = world.write_file("acme.yaml", manifests::idle("acme"))?;
    let file = file.to_str().expect("a path in ASCII");
    drop(world.vaultctl(&["apply", "-f", file]).await?.expect(0));
    world.all_ready(1).await?;
    let before = world.lists().await?;
    assert_eq!((before.machines.len(), before.volumes.len()), (1, 1));

    let output = world.vaultctl(&["delete", "tenant", "acme", "--yes"]).await?.expect(0);
    assert!(output.stdout.contains("acme"), "{output}");
    drop(world.vaultctl(&["get", "tenant", "acme"]).await?.expect(4));
    let between = world.lists().await?;
    assert_eq!(between.machines.len(), 0, "{:#?}", between.machines);
    assert_eq!(between.volume_ids(), before.volume_ids(), "the volume is kept");

    drop(world.vaultctl(&["apply", "-f", file]).await?.expect(0));
    world.all_ready(1).await?;
    let after = world.lists().await?;
    assert_eq!(after.volume_ids(), before.volume_ids(), "the volume is taken back");
    assert_ne!(after.machine_ids(), before.machine_ids(), "the machine is a new one");
    assert_eq!(after.inventory(), before.inventory());
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_prune_a_removed_manifest_deletes_nothing_and_says_so() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    let path = world.write_manifest("acme.yaml", manifests::idle("acme"))?;
    world.write_manifest("umbra.yaml", manifests::idle("umbra"))?;
    world.all_ready(2).await?;
    let before = world.lists().await?;

    // As long as the file is there, nobody can delete what it says.
    let path = path.to_str().expect("a path in ASCII");
    let url = format!("{TENANTS}/acme");
    let refused = world.client()?.send(Method::DELETE, &url, None).await?.expect(409);
    assert!(
        refused["message"].as_str().is_some_and(|text| text.contains("acme.yaml")),
        "{refused}"
    );
    let refused = world.vaultctl(&["delete", "tenant", "acme", "--yes"]).await?.expect(3);
    assert!(refused.stderr.contains("acme.yaml"), "{refused}");
    let refused = world.vaultctl(&["delete", "-f", path, "--yes"]).await?.expect(3);
    assert!(refused.stderr.contains("acme.yaml"), "{refused}");

    world.remove_manifest("acme.yaml")?;
    let tenant = world
        .tenant_where("acme", "its source is missing", |tenant| holds(tenant, "SourceMissing"))
        .await?;
    let message = condition(&tenant, "SourceMissing")["message"].as_str().unwrap_or_default();
    assert!(message.contains("acme.yaml"), "{message}");
    passes(&world, 5).await?;
    assert_eq!(world.lists().await?.inventory(), before.inventory(), "nothing is deleted");
    assert!(holds(&world.tenant("acme").await?, "Ready"));
    assert!(world.controller_log()?.contains("nothing is deleted"), "it is said in the log");
    assert_eq!(world.status().await?["folder"]["missing"], serde_json::json!(["tenant/acme"]));

    drop(world.vaultctl(&["delete", "tenant", "acme", "--yes"]).await?.expect(0));
    world.all_ready(1).await?;
    let after = world.lists().await?;
    assert_eq!(after.machines.len(), 1);
    assert_eq!(after.volume_ids(), before.volume_ids());
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_comes_back_is_no_longer_missing() -> anyhow::Result<()> {
    let mut world = World::start(WorldOptions::default()).await?;
    world.write_manifest("acme.yaml", manifests::idle("acme"))?;
    world.write_manifest("umbra.yaml", manifests::idle("umbra"))?;
    world.all_ready(2).await?;
    // What happened while nobody looked is seen at start.
    world.kill_controller();
    world.remove_manifest("acme.yaml")?;
    world.start_controller().await?;
    let missing = |tenant: &serde_json::Value| holds(tenant, "SourceMissing");
    world.tenant_where("acme", "its source is missing", missing).await?;
    world.write_manifest("acme.yaml", manifests::idle("acme"))?;
    world.tenant_where("acme", "its source is back", |tenant| !missing(tenant)).await?;
    assert_eq!(world.lists().await?.machines.len(), 2);
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prune_deletes_what_is_gone_but_not_at_a_suddenly_empty_folder() -> anyhow::Result<()> {
    let options = WorldOptions { prune: true, ..WorldOptions::default() };
    let world = World::start(options).await?;
    world.write_manifest("acme.yaml", manifests::idle("acme"))?;
    world.write_manifest("umbra.yaml", manifests::idle("umbra"))?;
    world.all_ready(2).await?;
    let before = world.lists().await?;

    world.remove_manifest("acme.yaml")?;
    world
        .status_where("acme is pruned", |status| {
            status["tenants"] == serde_json::json!({ "total": 1, "ready": 1 })
        })
        .await?;
    let pruned = world.lists().await?;
    assert_eq!(pruned.machines.len(), 1, "{:#?}", pruned.machines);
    assert_eq!(pruned.volume_ids(), before.volume_ids(), "volumes are kept");

    world.remove_manifest("umbra.yaml")?;
    world
        .status_where("it refuses to prune everything", |status| {
            status["folder"]["problems"].to_string().contains("refusing to prune")
        })
        .await?;
    passes(&world, 5).await?;
    assert_eq!(world.lists().await?.inventory(), pruned.inventory());
    assert!(holds(&world.tenant("umbra").await?, "Ready"));
    world.finish().await
}
