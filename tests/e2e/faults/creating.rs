//! What goes wrong while things are made: quirks 1, 10, 11, 15 and 16.

use serde_json::json;
use vault_tests::manifests;
use vault_tests::world::looks::{condition, holds};
use vault_tests::world::{World, WorldOptions};

use super::{answered, exactly, fired, says, tells};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quirk_01_ambiguous_create() -> anyhow::Result<()> {
    let tenants = ["app", "edge", "host", "machine", "volume"];
    let world = World::start(WorldOptions::default()).await?;
    world
        .set_faults(json!([
            { "kind": "lost-reply", "action": "create-app", "app": "app-*", "times": 1 },
            { "kind": "delivered-twice", "action": "create-machine", "app": "edge-*", "times": 1 },
            { "kind": "act-then-fail", "status": 408, "action": "create-machine", "app": "host-*",
              "times": 1 },
            { "kind": "lost-reply", "action": "create-machine", "app": "machine-*", "times": 1 },
            { "kind": "act-then-fail", "status": 503, "action": "create-volume", "app": "volume-*",
              "times": 1 },
        ]))
        .await?;
    for tenant in tenants {
        world.write_manifest(&format!("{tenant}.yaml"), manifests::idle(tenant))?;
    }
    for (tenant, text) in [
        ("app", "the connection broke before the answer was complete"),
        ("host", "deadline_exceeded"),
        ("machine", "the outcome of POST"),
        ("volume", "service unavailable"),
    ] {
        tells(&world, tenant, text).await?;
    }
    world.all_ready(tenants.len()).await?;
    assert_eq!(world.fired().await?, [1; 5]);
    exactly(&world, &tenants, 0).await?;
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quirk_10_an_app_of_somebody_else_is_403_not_404() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    world.set_faults(json!([{ "kind": "name-taken", "app": "acme-*" }])).await?;
    world.write_manifest("acme.yaml", manifests::idle("acme"))?;
    world.write_manifest("umbra.yaml", manifests::idle("umbra"))?;
    let taken =
        world.tenant_where("acme", "its app's name is taken", |it| holds(it, "NameTaken")).await?;
    assert_eq!(condition(&taken, "Ready")["reason"], "NameTaken", "{taken:#}");
    world.tenant_where("umbra", "is Ready", |tenant| holds(tenant, "Ready")).await?;
    exactly(&world, &["umbra"], 0).await?;
    // Whoever had the name let it go.
    world.end_faults().await?;
    world.all_ready(2).await?;
    assert!(!holds(&world.tenant("acme").await?, "NameTaken"));
    exactly(&world, &["acme", "umbra"], 0).await?;
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quirk_11_a_retried_app_create_makes_one_app() -> anyhow::Result<()> {
    let tenants = ["acme", "umbra"];
    let world = World::start(WorldOptions::default()).await?;
    // The edge repeats one create by itself; of the other only the error arrives.
    world
        .set_faults(json!([
            { "kind": "delivered-twice", "action": "create-app", "app": "acme-*", "times": 1 },
            { "kind": "act-then-fail", "status": 502, "action": "create-app", "app": "umbra-*",
              "times": 1 },
        ]))
        .await?;
    for tenant in tenants {
        world.write_manifest(&format!("{tenant}.yaml"), manifests::idle(tenant))?;
    }
    world.all_ready(2).await?;
    assert_eq!(world.fired().await?, [1, 1]);
    tells(&world, "acme", "was there already").await?;
    assert_eq!(answered(&world, "POST", "/v1/apps", 422), 1, "the second delivery is refused");
    exactly(&world, &tenants, 0).await?;
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quirk_15_limits_of_the_organization_are_told_and_waited_out() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    world
        .set_faults(json!([
            { "kind": "organization-limit", "action": "create-machine", "times": 1 },
            { "kind": "organization-limit", "action": "create-machine", "status": 403 },
        ]))
        .await?;
    world.write_manifest("acme.yaml", manifests::idle("acme"))?;
    let refused = says(&world, "acme", "reached its machine limit").await?;
    assert_eq!(condition(&refused, "Degraded")["status"], "True", "{refused:#}");
    fired(&world, "both forms were met", |fired| fired.iter().all(|fired| *fired > 0)).await?;
    says(&world, "acme", "403").await?;
    assert_eq!(world.machines_ever().await?.len(), 0);
    world.end_faults().await?;
    world.all_ready(1).await?;
    exactly(&world, &["acme"], 0).await?;
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quirk_16_a_full_region_is_waited_for_and_nothing_moves_by_itself() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    world
        .set_faults(json!([
            { "kind": "region-full", "action": "create-volume", "region": "ord", "times": 1 },
            { "kind": "volume-host-full", "times": 1 },
            { "kind": "region-full", "action": "create-machine", "region": "ord", "times": 1 },
        ]))
        .await?;
    world.write_manifest("acme.yaml", manifests::idle("acme"))?;
    for text in ["could not find a candidate host", "insufficient resources to create new machine"]
    {
        let full = says(&world, "acme", text).await?;
        assert_eq!(condition(&full, "Ready")["reason"], "BackOff", "{full:#}");
    }
    world.all_ready(1).await?;
    assert_eq!(world.fired().await?, [1; 3]);
    exactly(&world, &["acme"], 0).await?;
    world.finish().await
}
