//! What goes wrong with what is seen: quirks 2, 3, 5, 12 and 14.

use reqwest::Method;
use serde_json::{Value, json};
use vault_tests::eventually::eventually;
use vault_tests::manifests;
use vault_tests::world::looks::{condition, holds};
use vault_tests::world::{World, WorldOptions};

use super::{exactly, fired, says, with_acme};
use crate::support::passes;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quirk_02_an_empty_list_is_not_absence() -> anyhow::Result<()> {
    let tenants = ["acme", "umbra"];
    let mut world = World::start(WorldOptions::default()).await?;
    for tenant in tenants {
        world.write_manifest(&format!("{tenant}.yaml"), manifests::idle(tenant))?;
    }
    world.all_ready(2).await?;
    let (ids, writes) = (world.lists().await?.machine_ids(), world.calls().count().writes);

    world.set_faults(json!([{ "kind": "empty-list" }])).await?;
    passes(&world, 5).await?;
    fired(&world, "the lists were empty", |fired| fired[0] >= 3).await?;
    // The control endpoint is no call of the platform and is not counted.
    assert_eq!(world.calls().count().writes, writes, "nothing was written");
    world.all_ready(2).await?;

    // Now the memory is gone as well: nothing is known by id.
    world.kill_controller();
    world.remove_database()?;
    world.start_controller().await?;
    passes(&world, 5).await?;
    let writes = world.calls().count().writes - writes;
    assert!(writes < 60, "it does not hammer the platform: {writes} writes");
    world.end_faults().await?;
    world.all_ready(2).await?;
    assert_eq!(world.lists().await?.machine_ids(), ids);
    exactly(&world, &tenants, 0).await?;

    // One region that is left out, and says so.
    world.set_faults(json!([{ "kind": "partial-list", "regions": ["ord"] }])).await?;
    says(&world, "acme", "leaves out region ord").await?;
    world.end_faults().await?;
    world.all_ready(2).await?;
    exactly(&world, &tenants, 0).await?;
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quirk_03_lists_lag_behind_what_was_done() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    // Longer than calls are given to take effect.
    world.set_faults(json!([{ "kind": "stale-list", "age": "1s" }])).await?;
    world.write_manifest("acme.yaml", manifests::idle("acme"))?;
    world.all_ready(1).await?;
    exactly(&world, &["acme"], 0).await?;
    let machine = &world.lists().await?.machines[0];
    let version = machine["version"].as_str().expect("a version").to_owned();

    let edited = manifests::idle("acme").replace("memory_mb: 256", "memory_mb: 512");
    world.write_manifest("acme.yaml", edited)?;
    world
        .tenant_where("acme", "is Ready at the edit", |tenant| {
            tenant["status"]["observedGeneration"] == 2 && holds(tenant, "Ready")
        })
        .await?;
    let (app, id) = (machine["app_name"].as_str().unwrap(), machine["id"].as_str().unwrap());
    let path = format!("/v1/apps/{app}/machines/{id}");
    let now = world.platform_call(Method::GET, &path, None).await?.expect(200);
    let updates = now["events"].as_array().expect("events").iter();
    assert_eq!(updates.filter(|event| event["type"] == "update").count(), 1, "{now:#}");
    assert_ne!(now["instance_id"], version.as_str());
    assert!(world.fired().await?[0] > 0);
    exactly(&world, &["acme"], 0).await?;
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quirk_05_a_dead_host_is_told_and_its_ghost_is_met() -> anyhow::Result<()> {
    let world = with_acme(WorldOptions::default()).await?;
    let machine = world.lists().await?.machines[0].clone();
    let (app, id) = (machine["app_name"].as_str().unwrap(), machine["id"].as_str().unwrap());
    let path = format!("/v1/apps/{app}/machines/{id}");
    let writes = world.calls().count().writes;

    world.set_faults(json!([{ "kind": "dead-host", "machine": id }])).await?;
    let blind = says(&world, "acme", "does not show its config").await?;
    assert_eq!(condition(&blind, "Ready")["reason"], "Unobserved", "{blind:#}");
    assert_eq!(blind["status"]["machines"][0]["id"], id, "it is not forgotten");
    passes(&world, 3).await?;
    assert_eq!(world.calls().count().writes, writes, "nothing was written");

    // Back as it was: nothing happened to it.
    world.end_faults().await?;
    world.all_ready(1).await?;
    exactly(&world, &["acme"], 0).await?;

    // A person destroys it while it is dead: accepted, and carried out when the host is back.
    world.set_faults(json!([{ "kind": "dead-host", "machine": id }])).await?;
    says(&world, "acme", "does not show its config").await?;
    let ghost = through_faults(&world, Method::DELETE, &format!("{path}?force=true")).await?;
    assert_eq!(ghost, (200, json!({ "ok": true })));
    let (status, shown) = through_faults(&world, Method::GET, &path).await?;
    assert_eq!((status, &shown["state"]), (200, &json!("destroying")), "{shown:#}");
    assert_eq!((&shown["host_status"], &shown["config"]), (&json!("unreachable"), &Value::Null));
    passes(&world, 3).await?;
    assert_eq!(world.machines_ever().await?.len(), 1, "no second one beside the ghost");
    world.end_faults().await?;
    eventually("the ghost is gone and its machine is made anew", async || {
        let machines = world.machines_ever().await.map_err(|error| format!("{error:#}"))?;
        (machines.len() == 2).then_some(()).ok_or_else(|| format!("{machines:#?}"))
    })
    .await?;
    world.all_ready(1).await?;
    exactly(&world, &["acme"], 1).await?;
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quirk_12_a_forced_migration_changes_nothing_that_matters() -> anyhow::Result<()> {
    let world = with_acme(WorldOptions::default()).await?;
    let before = world.tenant("acme").await?["status"].clone();
    let (ids, writes) = (world.lists().await?.machine_ids(), world.calls().count().writes);
    world.set_faults(json!([{ "kind": "migration" }])).await?;
    let after = world
        .tenant_where("acme", "shows where it is now", |tenant| {
            let machine = &tenant["status"]["machines"][0];
            machine["privateIp"] != before["machines"][0]["privateIp"] && holds(tenant, "Ready")
        })
        .await?["status"]
        .clone();
    assert_eq!(after["machines"][0]["id"], before["machines"][0]["id"]);
    assert_ne!(after["machines"][0]["version"], before["machines"][0]["version"]);
    assert_ne!(after["volumes"][0]["id"], before["volumes"][0]["id"], "{after:#}");
    passes(&world, 3).await?;
    assert_eq!(world.lists().await?.machine_ids(), ids);
    assert_eq!(world.calls().count().writes, writes, "nothing was written");
    exactly(&world, &["acme"], 0).await?;
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quirk_14_answers_drift_from_what_is_documented() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    world.set_faults(json!([{ "kind": "wire-drift" }])).await?;
    world.write_manifest("acme.yaml", manifests::idle("acme"))?;
    world.all_ready(1).await?;
    let edited = manifests::idle("acme").replace("memory_mb: 256", "memory_mb: 512");
    world.write_manifest("acme.yaml", edited)?;
    world
        .tenant_where("acme", "is Ready at the edit", |tenant| {
            tenant["status"]["observedGeneration"] == 2 && holds(tenant, "Ready")
        })
        .await?;
    assert_eq!(world.status().await?["troubles"], json!([]));
    assert!(world.fired().await?[0] > 10);
    exactly(&world, &["acme"], 0).await?;
    world.finish().await
}

/// A call as anybody makes it, who meets the faults.
async fn through_faults(world: &World, method: Method, path: &str) -> anyhow::Result<(u16, Value)> {
    let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?;
    let url = format!("{}{path}", world.platform()?.url());
    let answer = http.request(method, url).bearer_auth(world.operator_token()).send().await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}
