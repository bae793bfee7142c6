//! What goes wrong with machines that exist: quirks 4, 6, 7, 8, 9 and 13.

use reqwest::Method;
use serde_json::{Value, json};
use vault_tests::manifests;
use vault_tests::world::World;
use vault_tests::world::WorldOptions;
use vault_tests::world::looks::{condition, holds};

use super::{answered, exactly, fired, says, tells, with_acme};
use crate::support::passes;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quirk_04_destroyed_things_linger() -> anyhow::Result<()> {
    let world = with_acme(WorldOptions::default()).await?;
    let before = world.lists().await?;
    world
        .set_faults(json!([
            { "kind": "user-destroy" },
            { "kind": "lingering-claim", "delay": "1s" },
            { "kind": "destroyed-shown", "delay": "500ms" },
        ]))
        .await?;
    let waits = says(&world, "acme", "is still attached").await?;
    assert_eq!(condition(&waits, "Ready")["reason"], "Waiting", "{waits:#}");
    world.all_ready(1).await?;
    assert_eq!(world.fired().await?, [1, 1, 1]);
    let after = world.lists().await?;
    assert_eq!(after.volume_ids(), before.volume_ids(), "its data is the same");
    assert_ne!(after.machine_ids(), before.machine_ids());
    // The destroyed machine is forgotten by now, so the calls are counted.
    assert_eq!(answered(&world, "POST", "/machines", 200), 2);
    exactly(&world, &["acme"], 0).await?;
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quirk_06_a_start_fails_where_the_machine_stopped() -> anyhow::Result<()> {
    let world = with_acme(WorldOptions::default()).await?;
    let before = world.lists().await?;
    world
        .set_faults(json!([
            { "kind": "user-stop" },
            { "kind": "host-full", "action": "start-machine", "times": 2 },
        ]))
        .await?;
    let full = says(&world, "acme", "insufficient CPUs available").await?;
    assert_eq!(condition(&full, "Ready")["reason"], "BackOff", "{full:#}");
    assert_eq!(condition(&full, "Degraded")["status"], "True", "{full:#}");
    fired(&world, "the host was full twice", |fired| fired == [1, 2]).await?;
    world.all_ready(1).await?;
    assert_eq!(answered(&world, "POST", "/start", 409), 2);
    assert_eq!(answered(&world, "POST", "/start", 200), 1);
    assert_eq!(world.lists().await?.machine_ids(), before.machine_ids(), "in place");
    exactly(&world, &["acme"], 0).await?;
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quirk_07_an_update_that_was_answered_is_undone() -> anyhow::Result<()> {
    let world = with_acme(WorldOptions::default()).await?;
    let before = world.lists().await?;
    world.set_faults(json!([{ "kind": "reverted-update", "delay": "400ms", "times": 1 }])).await?;
    let edited = manifests::idle("acme").replace("memory_mb: 256", "memory_mb: 512");
    world.write_manifest("acme.yaml", edited)?;
    let id = before.machine_ids().remove(0);
    let update = format!("/machines/{id}");
    vault_tests::eventually::eventually("it is updated once more", async || {
        let updates = answered(&world, "POST", &update, 200);
        (updates == 2).then_some(()).ok_or_else(|| format!("{updates} updates"))
    })
    .await?;
    world.all_ready(1).await?;
    passes(&world, 3).await?;
    assert_eq!(answered(&world, "POST", &update, 200), 2, "and then no more");
    let machine = world.lists().await?.machines.remove(0);
    assert_eq!(machine["config"]["guest"]["memory_mb"], 512, "{machine:#}");
    assert_eq!(machine["id"], id.as_str());
    exactly(&world, &["acme"], 0).await?;
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quirk_08_states_flicker_and_starts_are_refused() -> anyhow::Result<()> {
    let world = with_acme(WorldOptions::default()).await?;
    let before = world.lists().await?;
    world.set_faults(json!([{ "kind": "flicker", "state": "replacing" }])).await?;
    says(&world, "acme", "is replacing").await?;
    world.set_faults(json!([{ "kind": "flicker", "state": "stopped" }])).await?;
    says(&world, "acme", "refusing to start").await?;
    world.end_faults().await?;
    world.all_ready(1).await?;
    let after = world.lists().await?;
    assert_eq!(after.machines[0]["version"], before.machines[0]["version"], "left as it was");

    // Really stopped, and refused for a while after an update.
    world
        .set_faults(json!([{ "kind": "user-stop" }, { "kind": "start-refused", "delay": "24h" }]))
        .await?;
    says(&world, "acme", "getting replaced, refusing to start").await?;
    world.end_faults().await?;
    world.all_ready(1).await?;
    assert_eq!(world.lists().await?.machine_ids(), before.machine_ids());
    exactly(&world, &["acme"], 0).await?;
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quirk_09_a_foreign_lease_refuses_and_blocks() -> anyhow::Result<()> {
    let world = with_acme(WorldOptions::default()).await?;
    let before = world.lists().await?;
    world.set_faults(json!([{ "kind": "foreign-lease" }])).await?;
    let edited = manifests::idle("acme").replace("memory_mb: 256", "memory_mb: 512");
    world.write_manifest("acme.yaml", &edited)?;
    says(&world, "acme", "lease currently held by").await?;
    world.end_faults().await?;
    world.all_ready(1).await?;
    assert_eq!(world.lists().await?.machines[0]["config"]["guest"]["memory_mb"], 512);

    // A stop is not refused: it waits, and is carried out once.
    world.set_faults(json!([{ "kind": "foreign-lease", "for": "1s" }])).await?;
    let stopped = edited.replace("region: ord", "region: ord\n      state: Stopped");
    world.write_manifest("acme.yaml", stopped)?;
    fired(&world, "the stop waits", |fired| fired == [1]).await?;
    assert_eq!(world.lists().await?.machines[0]["state"], "started");
    world.all_ready(1).await?;
    let machine = world.lists().await?.machines.remove(0);
    assert_eq!(machine["state"], "stopped", "{machine:#}");
    assert_eq!(events(&world, &machine, "stop", "user").await?, 1);
    assert_eq!(world.lists().await?.machine_ids(), before.machine_ids());
    assert_eq!(world.machines_ever().await?.len(), 1);
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quirk_13_the_proxy_and_people_act_too() -> anyhow::Result<()> {
    let world = with_acme(WorldOptions::default()).await?;
    let before = world.lists().await?;
    world.set_faults(json!([{ "kind": "autostop" }])).await?;
    tells(&world, "acme", "machine acme-box-0 started").await?;
    world.all_ready(1).await?;
    assert_eq!(events(&world, &before.machines[0], "stop", "flyd").await?, 1);

    let config = json!({ "guest": { "memory_mb": 1024 } });
    world.set_faults(json!([{ "kind": "user-edit", "config": config }])).await?;
    tells(&world, "acme", "machine acme-box-0 updated").await?;
    world.all_ready(1).await?;
    let machine = world.lists().await?.machines.remove(0);
    assert_eq!(machine["config"]["guest"]["memory_mb"], 256, "{machine:#}");
    assert_eq!(machine["id"], before.machines[0]["id"], "mended in place");
    exactly(&world, &["acme"], 0).await?;

    world.set_faults(json!([{ "kind": "user-destroy" }])).await?;
    fired(&world, "it was destroyed", |fired| fired == [1]).await?;
    world
        .tenant_where("acme", "has another machine", |tenant| {
            holds(tenant, "Ready") && tenant["status"]["machines"][0]["id"] != machine["id"]
        })
        .await?;
    assert_eq!(world.lists().await?.volume_ids(), before.volume_ids());
    exactly(&world, &["acme"], 1).await?;
    world.finish().await
}

/// How many events of this type and source the machine's record holds.
async fn events(world: &World, machine: &Value, kind: &str, source: &str) -> anyhow::Result<usize> {
    let (app, id) = (machine["app_name"].as_str().unwrap(), machine["id"].as_str().unwrap());
    let path = format!("/v1/apps/{app}/machines/{id}/events");
    let events = world.platform_call(Method::GET, &path, None).await?.expect(200);
    let events = events.as_array().expect("events").iter();
    Ok(events.filter(|event| event["type"] == kind && event["source"] == source).count())
}
