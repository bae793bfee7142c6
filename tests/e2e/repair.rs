//! What breaks by hand comes back by itself.

use std::fs;
use std::path::Path;

use vault_tests::eventually::eventually;
use vault_tests::world::World;
use vault_tests::world::looks::condition;
use vault_tests::{manifests, processes};

use crate::support;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_comes_back_with_its_files() -> anyhow::Result<()> {
    let mut world = World::start(support::processes()).await?;
    let isolated = support::is_isolated(&world, "files under /data survive a killed process")?;
    if !isolated {
        return world.finish().await;
    }
    let script = "echo started >> /data/starts\nwhile :; do sleep 1000; done";
    world.write_manifest("acme.yaml", manifests::tenant("phoenix", script))?;
    world.all_ready(1).await?;
    let volume = world.lists().await?.volume_ids().remove(0);
    let starts = world.path(&format!("platform/volumes/{volume}/starts"));
    let marker = manifests::marker("phoenix");
    let first = one_process(&marker, None).await?;
    has_started(&starts, 1).await?;
    let before = world.lists().await?;

    processes::kill(first)?;
    one_process(&marker, Some(first)).await?;
    world.all_ready(1).await?;
    has_started(&starts, 2).await?;
    assert_eq!(world.lists().await?.machine_ids(), before.machine_ids(), "the same machine");

    // The same while nobody looks: the controller finds it when it comes back.
    world.kill_controller();
    let second = one_process(&marker, None).await?;
    processes::kill(second)?;
    world.start_controller().await?;
    one_process(&marker, Some(second)).await?;
    world.all_ready(1).await?;
    has_started(&starts, 3).await?;
    world.finish().await
}

/// Waits until the machine's program has noted that it was started exactly so often. A machine is
/// started as soon as its process is there, which may be before the program's first line.
async fn has_started(starts: &Path, times: usize) -> anyhow::Result<()> {
    eventually("the program has noted its start", async || {
        let noted = fs::read_to_string(starts).map_err(|error| error.to_string())?;
        if noted == "started\n".repeat(times) { Ok(()) } else { Err(noted) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn get_answers_a_kubernetes_list_with_conditions() -> anyhow::Result<()> {
    let world = World::start(support::processes()).await?;
    world.write_manifest("acme.yaml", manifests::idle("acme"))?;
    world.write_manifest("umbra.yaml", manifests::idle("umbra"))?;
    world.all_ready(2).await?;
    let list = world.vaultctl(&["get", "tenants", "-o", "json"]).await?.expect(0).json()?;
    assert_eq!(list["apiVersion"], "v1", "{list:#}");
    assert_eq!(list["kind"], "List");
    let items = list["items"].as_array().expect("items");
    assert_eq!(items.len(), 2);
    for (item, name) in items.iter().zip(["acme", "umbra"]) {
        assert_eq!(item["apiVersion"], "vaultctl.dev/v1");
        assert_eq!(item["kind"], "Tenant");
        assert_eq!(item["metadata"]["name"], name);
        assert!(item["metadata"]["resourceVersion"].is_string());
        for (kind, status) in
            [("Ready", "True"), ("Synced", "True"), ("Progressing", "False"), ("Degraded", "False")]
        {
            let found = condition(item, kind);
            assert_eq!(found["status"], status, "{kind} of {name}: {item:#}");
            assert!(found["lastTransitionTime"].is_string());
            assert!(found["reason"].is_string());
        }
    }
    let one = world.vaultctl(&["get", "tenant", "acme", "-o", "json"]).await?.expect(0).json()?;
    assert_eq!(one["kind"], "Tenant");
    let waited = world.vaultctl(&["wait", "tenant/acme", "--for=condition=Ready"]).await?;
    drop(waited.expect(0));
    drop(world.vaultctl(&["get", "tenant", "nobody"]).await?.expect(4));
    world.finish().await
}

/// Waits for the one process with this argument that is not `old`.
async fn one_process(marker: &str, old: Option<i32>) -> anyhow::Result<i32> {
    eventually(&format!("one process {marker}"), async || {
        let found = processes::with_argument(marker).map_err(|error| format!("{error:#}"))?;
        match found.as_slice() {
            [pid] if Some(*pid) != old => Ok(*pid),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}
