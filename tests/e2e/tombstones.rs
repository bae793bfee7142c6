//! Deletion with a grace: volumes that go, tenants that come back, and what is left over.

use serde_json::Value;
use vault_tests::eventually::eventually;
use vault_tests::manifests;
use vault_tests::world::{World, WorldOptions};

use crate::support::passes;

/// A world whose tombstones stand for so long.
fn grace(span: &str) -> WorldOptions {
    let arguments = vec!["--deletion-grace".to_owned(), span.to_owned()];
    WorldOptions { arguments, ..WorldOptions::default() }
}

/// One tenant whose volume has this policy.
fn with_policy(name: &str, policy: &str) -> String {
    let manifest = manifests::idle(name);
    manifest.replace("deletionPolicy: Retain", &format!("deletionPolicy: {policy}"))
}

/// Applies a manifest over the API and waits until its tenant is Ready.
async fn apply(world: &World, manifest: String) -> anyhow::Result<String> {
    let file = world.write_file("tenant.yaml", manifest)?;
    let file = file.to_str().expect("a path in ASCII").to_owned();
    drop(world.vaultctl(&["apply", "-f", &file]).await?.expect(0));
    world.all_ready(1).await?;
    Ok(file)
}

/// What `vaultctl audit` finds, as KIND and WHY.
async fn audit(world: &World, exit: i32) -> anyhow::Result<Vec<(String, String)>> {
    let output = world.vaultctl(&["audit", "-o", "json"]).await?.expect(exit);
    let list: Value = serde_json::from_str(&output.stdout)?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let text = |item: &Value, key: &str| item[key].as_str().unwrap_or_default().to_owned();
    Ok(items.iter().map(|item| (text(item, "kind"), text(item, "reason"))).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletion_takes_the_volume_after_its_grace_and_then_the_app() -> anyhow::Result<()> {
    let world = World::start(grace("2s")).await?;
    apply(&world, with_policy("acme", "Delete")).await?;
    assert_eq!(audit(&world, 0).await?, []);
    let output = world.vaultctl(&["delete", "tenant", "acme", "--yes"]).await?.expect(0);
    assert!(output.stderr.contains("grace period"), "{output}");
    let lists = world.lists().await?;
    assert_eq!((lists.machines.len(), lists.volumes.len()), (0, 1), "the grace runs");
    eventually("the volume is deleted", async || {
        let volumes = world.lists().await.map_err(|error| error.to_string())?.volumes;
        // The platform lists for a day what it is going to destroy.
        let left = volumes.iter().filter(|volume| volume["state"] == "created").count();
        if left == 0 { Ok(()) } else { Err(format!("{volumes:?}")) }
    })
    .await?;
    let events = world.vaultctl(&["events"]).await?.expect(0);
    for reason in ["Tombstoned", "StoppingMachines", "DeleteVolume"] {
        assert!(events.stdout.contains(reason), "{reason} in {events}");
    }
    let late = world.vaultctl(&["undelete", "acme"]).await?;
    assert!(late.stderr.contains("cannot come back as it was"), "{late}");
    eventually("the app is deleted, and nothing is left", async || {
        let output = world.vaultctl(&["audit"]).await.map_err(|error| error.to_string())?;
        let is_empty = output.stderr.contains("No orphans found");
        if is_empty { Ok(()) } else { Err(format!("{output}")) }
    })
    .await?;
    assert!(world.lists().await?.apps.is_empty());
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletion_with_a_snapshot_makes_it_before_the_machine_goes() -> anyhow::Result<()> {
    let world = World::start(grace("1h")).await?;
    apply(&world, with_policy("acme", "Snapshot")).await?;
    drop(world.vaultctl(&["delete", "tenant", "acme", "--yes"]).await?.expect(0));
    let output = world.vaultctl(&["audit", "-o", "json"]).await?.expect(1);
    let list: Value = serde_json::from_str(&output.stdout)?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let volume = items.iter().find(|item| item["kind"] == "Volume").expect("a tombstone");
    assert!(volume["snapshot"].as_str().is_some_and(|id| id.starts_with("vs_")), "{volume}");
    assert!(volume["dueAt"].is_string(), "{volume}");
    assert_eq!(world.lists().await?.volumes.len(), 1);
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undelete_brings_the_tenant_back_on_its_own_volume() -> anyhow::Result<()> {
    let world = World::start(grace("1h")).await?;
    apply(&world, with_policy("acme", "Delete")).await?;
    let before = world.lists().await?;
    drop(world.vaultctl(&["undelete", "acme"]).await?.expect(3));
    drop(world.vaultctl(&["delete", "tenant", "acme", "--yes"]).await?.expect(0));
    let found = audit(&world, 1).await?;
    let tombstone = |kind: &str| (kind.to_owned(), "Tombstone".to_owned());
    assert!(
        found.contains(&tombstone("Volume")) && found.contains(&tombstone("Tenant")),
        "{found:?}"
    );

    let output = world.vaultctl(&["undelete", "acme"]).await?.expect(0);
    assert!(output.stdout.contains("tenant/acme undeleted"), "{output}");
    world.all_ready(1).await?;
    let after = world.lists().await?;
    assert_eq!(after.volume_ids(), before.volume_ids());
    assert_eq!(after.inventory(), before.inventory());
    assert_eq!(audit(&world, 0).await?, []);
    drop(world.vaultctl(&["undelete", "nobody"]).await?.expect(4));
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undelete_survives_a_kill_of_the_controller() -> anyhow::Result<()> {
    let mut world = World::start(grace("1h")).await?;
    apply(&world, with_policy("acme", "Delete")).await?;
    let before = world.lists().await?;
    drop(world.vaultctl(&["delete", "tenant", "acme", "--yes"]).await?.expect(0));
    world.kill_controller();
    world.start_controller().await?;
    passes(&world, 3).await?;
    drop(world.vaultctl(&["undelete", "acme"]).await?.expect(0));
    world.all_ready(1).await?;
    assert_eq!(world.lists().await?.volume_ids(), before.volume_ids());
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_lists_what_a_lost_database_forgot() -> anyhow::Result<()> {
    let mut world = World::start(grace("1h")).await?;
    apply(&world, with_policy("acme", "Retain")).await?;
    world.kill_controller();
    world.remove_database()?;
    world.start_controller().await?;
    let found = audit(&world, 1).await?;
    for kind in ["App", "Machine", "Volume"] {
        assert!(found.contains(&(kind.to_owned(), "NoTenant".to_owned())), "{kind} in {found:?}");
    }
    passes(&world, 3).await?;
    assert_eq!(world.lists().await?.machines.len(), 1, "reported, never removed");
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletion_of_a_folder_at_once_is_refused_until_it_is_allowed() -> anyhow::Result<()> {
    let mut world = World::start(WorldOptions { prune: true, ..grace("1h") }).await?;
    let names = ["acme", "bravo", "cobra", "delta", "echo", "umbra"];
    for name in names {
        world.write_manifest(&format!("{name}.yaml"), manifests::idle(name))?;
    }
    world.all_ready(names.len()).await?;
    for name in &names[..4] {
        world.remove_manifest(&format!("{name}.yaml"))?;
    }
    world
        .status_where("it refuses to prune so many", |status| {
            let problems = status["folder"]["problems"].to_string();
            problems.contains("4 of 6 tenants") && problems.contains("--allow-mass-delete")
        })
        .await?;
    passes(&world, 20).await?;
    assert_eq!(world.lists().await?.machines.len(), names.len());
    world.kill_controller();
    world.add_argument("--allow-mass-delete");
    world.start_controller().await?;
    world.status_where("those are pruned", |status| status["tenants"]["total"] == 2).await?;
    assert_eq!(world.lists().await?.machines.len(), 2);
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletion_of_many_by_a_selector_asks_for_one_word_more() -> anyhow::Result<()> {
    let world = World::start(grace("1h")).await?;
    let names = ["acme", "bravo", "cobra", "delta"];
    let all: Vec<String> = names.iter().map(|name| manifests::idle(name)).collect();
    let file = world.write_file("all.yaml", all.join("---\n"))?;
    drop(world.vaultctl(&["apply", "-f", file.to_str().expect("ASCII")]).await?.expect(0));
    world.all_ready(names.len()).await?;
    let refused = world.vaultctl(&["delete", "tenants", "--all", "--yes"]).await?.expect(2);
    assert!(refused.stderr.contains("--allow-mass-delete"), "{refused}");
    assert_eq!(world.lists().await?.machines.len(), names.len());
    let all = ["delete", "tenants", "--all", "--yes", "--allow-mass-delete"];
    drop(world.vaultctl(&all).await?.expect(0));
    assert_eq!(world.lists().await?.machines.len(), 0);
    world.finish().await
}
