//! Edits that a machine or its volume follows: vars, pauses, states, sizes, counts and mounts.

use serde_json::{Value, json};
use vault_tests::world::looks::{condition, holds};
use vault_tests::world::{World, WorldOptions};

use super::{acme, becomes, machine, merge};
use crate::support::passes;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_var_reaches_the_machine_and_changes_it_in_place() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    let env = json!({ "config": { "env": { "PLAN": "{{tenant}}-{{vars.plan}}-{{index}}" } } });
    becomes(&world, &acme(json!({ "vars": { "plan": "free" } }), env.clone())).await?;
    let free = machine(&world).await?;
    assert_eq!(free["config"]["env"]["PLAN"], "acme-free-0");
    becomes(&world, &acme(json!({ "vars": { "plan": "pro" } }), env)).await?;
    let pro = machine(&world).await?;
    assert_eq!(pro["config"]["env"]["PLAN"], "acme-pro-0");
    assert_eq!(pro["id"], free["id"], "updated in place");
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_tenant_is_shown_what_would_be_done_and_nothing_is() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    let paused = acme(json!({ "reconcile": "Paused" }), json!({}));
    world.write_manifest("acme.yaml", &paused)?;
    world.tenant_where("acme", "is Paused", |tenant| holds(tenant, "Paused")).await?;
    passes(&world, 3).await?;
    assert_eq!(world.calls().count().writes, 0);
    let plan = world.vaultctl(&["diff", "--plan"]).await?.expect(1);
    for action in ["CreateApp", "SetSecret", "CreateVolume", "CreateMachine"] {
        assert!(plan.stdout.contains(action), "{plan}");
    }
    let before = becomes(&world, &acme(json!({}), json!({}))).await?;
    assert!(!holds(&before, "Paused"), "{before:#}");

    // Paused again, with a change: what runs goes on running as it is.
    let (writes, image) = (world.calls().count().writes, json!({ "config": { "image": "box:2" } }));
    world.write_manifest("acme.yaml", acme(json!({ "reconcile": "Paused" }), image))?;
    let tenant = world
        .tenant_where("acme", "is Paused with a change", |tenant| {
            holds(tenant, "Paused") && !holds(tenant, "Ready")
        })
        .await?;
    assert_eq!(condition(&tenant, "Ready")["reason"], "Paused", "{tenant:#}");
    passes(&world, 3).await?;
    assert_eq!(world.calls().count().writes, writes);
    assert_eq!(machine(&world).await?["state"], "started");
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_is_suspended_stopped_and_started_again() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    let mut id = None;
    for (wanted, seen) in [
        ("Suspended", "suspended"),
        ("Started", "started"),
        ("Stopped", "stopped"),
        ("Started", "started"),
        ("Suspended", "suspended"),
        ("Stopped", "stopped"),
    ] {
        becomes(&world, &acme(json!({}), json!({ "state": wanted }))).await?;
        let machine = machine(&world).await?;
        assert_eq!(machine["state"], seen, "{wanted}");
        let first = id.get_or_insert_with(|| machine["id"].clone());
        assert_eq!(machine["id"], *first, "{wanted}");
    }
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_grows_and_never_shrinks() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    let sized = |gb: u32| json!({ "volumes": [{ "name": "data", "sizeGb": gb }] });
    becomes(&world, &acme(sized(1), json!({}))).await?;
    let before = world.lists().await?;
    becomes(&world, &acme(sized(3), json!({}))).await?;
    let after = world.lists().await?;
    assert_eq!(after.volumes[0]["size_gb"], 3);
    assert_eq!(after.volume_ids(), before.volume_ids());
    assert_eq!(after.machine_ids(), before.machine_ids());

    world.write_manifest("acme.yaml", acme(sized(2), json!({})))?;
    let tenant = world
        .tenant_where("acme", "refuses to shrink", |tenant| {
            condition(tenant, "Ready")["reason"] == "Invalid"
        })
        .await?;
    let message = condition(&tenant, "Ready")["message"].to_string();
    assert!(message.contains("never shrinks: write 3 GB"), "{message}");
    assert_eq!(world.lists().await?.volumes[0]["size_gb"], 3);
    world.finish().await
}

/// Which volume each machine of that index holds.
fn held(tenant: &Value) -> Vec<(String, String)> {
    let volumes = tenant["status"]["volumes"].as_array().expect("volumes");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    volumes.iter().map(|volume| (text(&volume["machine"]), text(&volume["id"]))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scaled_down_and_up_again_each_machine_takes_back_its_volume() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    let count = |count: u32| acme(json!({}), json!({ "count": count }));
    let three = held(&becomes(&world, &count(3)).await?);
    assert_eq!(three.len(), 3, "{three:?}");
    becomes(&world, &count(1)).await?;
    let lists = world.lists().await?;
    assert_eq!((lists.machines.len(), lists.volumes.len()), (1, 3), "volumes are kept");
    assert_eq!(lists.machines[0]["name"], "acme-box-0", "the highest index goes first");
    let again = held(&becomes(&world, &count(3)).await?);
    assert_eq!(again, three);
    assert_eq!(world.volumes_ever().await?.len(), 3);
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_mounts_make_the_machine_anew_and_keep_every_volume() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    becomes(&world, &acme(json!({}), json!({}))).await?;
    let (first, volume) = (machine(&world).await?, world.lists().await?.volume_ids());

    let mut without = json!({ "config": {} });
    without["config"]["mounts"] = json!([]);
    let mut spec = json!({});
    merge(&mut spec, json!({ "volumes": [] }));
    becomes(&world, &acme(spec, without)).await?;
    let second = machine(&world).await?;
    assert_ne!(second["id"], first["id"]);
    assert_eq!(second["config"]["mounts"].as_array().map_or(0, Vec::len), 0, "{second:#}");
    assert_eq!(world.lists().await?.volume_ids(), volume, "kept");

    becomes(&world, &acme(json!({}), json!({}))).await?;
    let third = machine(&world).await?;
    assert_ne!(third["id"], second["id"]);
    assert_eq!(third["config"]["mounts"][0]["volume"], volume[0].as_str(), "taken back");
    assert_eq!(world.volumes_ever().await?.len(), 1);

    // Another path is no other volume: an update will do.
    let path = json!({ "config": { "mounts": [{ "volume": "data", "path": "/srv" }] } });
    becomes(&world, &acme(json!({}), path)).await?;
    let fourth = machine(&world).await?;
    assert_eq!(
        (&fourth["id"], &fourth["config"]["mounts"][0]["path"]),
        (&third["id"], &json!("/srv"))
    );
    world.finish().await
}
