//! A machine with data moves to another region, and its data with it.

use std::fs;

use serde_json::json;
use vault_tests::eventually::eventually;
use vault_tests::manifests;
use vault_tests::world::World;
use vault_tests::world::looks::{condition, holds};

use crate::support;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_moves_to_another_region_with_what_it_wrote() -> anyhow::Result<()> {
    let world = World::start(support::processes()).await?;
    if !support::is_isolated(&world, "data moves to another region")? {
        return world.finish().await;
    }
    // What it finds it copies, so that the new machine tells what it found.
    let script =
        "cat /data/first > /data/found 2> /dev/null || echo of the old region > /data/first
sync
while :; do sleep 1000; done";
    let text = manifests::tenant("acme", script);
    world.write_manifest("acme.yaml", &text)?;
    world.all_ready(1).await?;
    let old = world.lists().await?;
    let old_volume = old.volume_ids().remove(0);
    let read = |volume: &str, file: &str| {
        fs::read_to_string(world.path(&format!("platform/volumes/{volume}/{file}")))
    };
    eventually("the machine has written", async || {
        read(&old_volume, "first").map_err(|error| error.to_string())
    })
    .await?;

    // Without leave it stays.
    world.write_manifest("acme.yaml", text.replace("region: ord", "region: fra"))?;
    let tenant = world
        .tenant_where("acme", "is refused to move", |tenant| {
            condition(tenant, "Ready")["reason"] == "Invalid"
        })
        .await?;
    assert!(condition(&tenant, "Ready")["message"].to_string().contains("relocate: Snapshot"));
    assert_eq!(world.lists().await?.machine_ids(), old.machine_ids());

    let moved = text.replace("region: ord", "region: fra\n      relocate: Snapshot");
    world.write_manifest("acme.yaml", moved)?;
    world
        .tenant_where("acme", "is Ready in the new region", |tenant| {
            tenant["status"]["machines"][0]["region"] == "fra" && holds(tenant, "Ready")
        })
        .await?;
    let new = world.lists().await?;
    assert_eq!((new.machines.len(), new.volumes.len()), (1, 2), "{new:#?}");
    assert_ne!(new.machine_ids(), old.machine_ids());
    let volume = new.volumes.iter().find(|volume| volume["region"] == "fra").expect("its volume");
    assert_eq!(volume["attached_machine_id"], new.machines[0]["id"]);
    let id = volume["id"].as_str().expect("an id");
    eventually("the new machine found the old data", async || match read(id, "found") {
        Ok(found) if found == "of the old region\n" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    assert_eq!(read(&old_volume, "first")?, "of the old region\n", "the old volume is kept");
    let machines = world.machines_ever().await?;
    assert_eq!(machines.len(), 2, "{machines:#?}");
    assert_eq!(machines.iter().filter(|machine| machine["state"] == json!("destroyed")).count(), 1);
    world.finish().await
}
