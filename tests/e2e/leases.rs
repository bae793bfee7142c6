//! Somebody else has a machine for themselves: it is neither stopped nor destroyed behind their back,
//! nor when nobody expects it any more.

use std::time::Duration;

use anyhow::Context;
use reqwest::Method;
use serde_json::{Value, json};
use vault_tests::eventually::eventually;
use vault_tests::manifests;
use vault_tests::world::{World, WorldOptions};

use crate::support::passes;

/// Long enough for everything that happens during a lease, on a machine that does a lot besides.
const LEASE_SECONDS: u32 = 12;

fn options() -> WorldOptions {
    WorldOptions { interval: Duration::from_millis(200), ..WorldOptions::default() }
}

/// The path of the only machine.
async fn machine(world: &World) -> anyhow::Result<String> {
    let lists = world.lists().await?;
    let machine = lists.machines.first().context("there is a machine")?;
    let (app, id) = (machine["app_name"].as_str(), machine["id"].as_str());
    Ok(format!("/v1/apps/{}/machines/{}", app.context("an app")?, id.context("an id")?))
}

/// Takes the lease on a machine as somebody else.
async fn lease(world: &World, machine: &str) -> anyhow::Result<()> {
    let body = json!({ "ttl": LEASE_SECONDS, "description": "a deploy of somebody's" });
    world.platform_call(Method::POST, &format!("{machine}/lease"), Some(&body)).await?.expect(201);
    Ok(())
}

/// Waits until the lease has ended by itself.
async fn ended(world: &World, machine: &str) -> anyhow::Result<()> {
    let path = format!("{machine}/lease");
    eventually("the lease ends", async || {
        let answer = world.platform_call(Method::GET, &path, None).await;
        let answer = answer.map_err(|error| format!("{error:#}"))?;
        if answer.status == 404 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await
}

/// Whether a tenant says that it waits, for whom, and until when.
fn says_so(tenant: &Value) -> bool {
    let status = tenant["status"].to_string();
    status.contains("has it for themselves until") && status.contains("@tokens.fly.io")
}

/// The calls that take a machine down, in order, with their answers' statuses.
fn deeds(world: &World, machine: &str) -> Vec<(String, u16)> {
    let all = world.calls().all().into_iter();
    let deeds = all.filter(|call| {
        let inside = call.path.strip_prefix(machine);
        matches!((call.method.as_str(), inside), ("POST", Some("/stop")) | ("DELETE", Some("")))
    });
    deeds.map(|call| (call.method, call.status)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_under_a_foreign_lease_is_deleted_after_it_and_says_why_it_waits()
-> anyhow::Result<()> {
    let world = World::start(options()).await?;
    let file = world.write_file("acme.yaml", manifests::idle("acme"))?;
    let file = file.to_str().context("a path in ASCII")?;
    drop(world.vaultctl(&["apply", "-f", file]).await?.expect(0));
    world.all_ready(1).await?;
    let machine = machine(&world).await?;
    lease(&world, &machine).await?;
    let deleting = ["delete", "tenant", "acme", "--yes", "--wait=false"];
    drop(world.vaultctl(&deleting).await?.expect(0));
    world.tenant_where("acme", "it says for whom it waits", says_so).await?;
    passes(&world, 2).await?;
    assert_eq!(deeds(&world, &machine), [], "nothing waits at the platform");
    assert_eq!(world.lists().await?.machines.len(), 1);

    eventually("the tenant is gone", async || {
        let output = world.vaultctl(&["get", "tenant", "acme"]).await;
        let output = output.map_err(|error| format!("{error:#}"))?;
        if output.code == Some(4) { Ok(()) } else { Err(output.to_string()) }
    })
    .await?;
    assert_eq!(world.lists().await?.machines.len(), 0);
    let deeds = deeds(&world, &machine);
    assert!(deeds.iter().all(|(_, status)| *status == 200) && deeds.len() == 2, "{deeds:?}");
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_done_under_a_foreign_lease_never_happens_later() -> anyhow::Result<()> {
    let world = World::start(options()).await?;
    let started = manifests::idle("acme");
    world.write_manifest("acme.yaml", &started)?;
    world.all_ready(1).await?;
    let machine = machine(&world).await?;
    lease(&world, &machine).await?;
    let stopped =
        started.replace("      region: ord\n", "      region: ord\n      state: Stopped\n");
    world.write_manifest("acme.yaml", stopped)?;
    world.tenant_where("acme", "it says for whom it waits", says_so).await?;
    // Nobody wants it stopped any more when the lease ends.
    world.write_manifest("acme.yaml", &started)?;
    world.all_ready(1).await?;
    ended(&world, &machine).await?;
    passes(&world, 3).await?;
    assert_eq!(deeds(&world, &machine), []);
    let lists = world.lists().await?;
    assert_eq!(lists.machines[0]["state"], "started");
    world.finish().await
}
