//! A platform that is not there, and somebody else's names on it.

use vault_tests::client::TENANTS;
use vault_tests::manifests;
use vault_tests::world::looks::{condition, holds};
use vault_tests::world::{World, WorldOptions};

use crate::support::passes;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn down_at_start_it_waits_says_so_and_then_converges() -> anyhow::Result<()> {
    let mut world = World::with_platform(WorldOptions::default()).await?;
    // Its address refuses from now on, and is known.
    world.stop_platform().await;
    world.write_manifest("acme.yaml", manifests::idle("acme"))?;
    world.start_controller().await?;
    says_that_it_waits(&world).await?;
    // What needs no platform goes on.
    let tenants = world.client()?.get(TENANTS).await?.expect(200);
    assert_eq!(tenants["items"][0]["metadata"]["name"], "acme");
    let plan = world.client()?.get(&format!("{TENANTS}/acme/plan")).await?;
    drop(plan.expect(503));

    world.start_platform().await?;
    world.all_ready(1).await?;
    assert_eq!(world.status().await?["troubles"], serde_json::json!([]));
    drop(world.client()?.get("/readyz").await?.expect(200));
    assert_eq!(world.lists().await?.machines.len(), 1);
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn down_for_a_while_it_forgets_nothing_and_goes_on() -> anyhow::Result<()> {
    let mut world = World::start(WorldOptions::default()).await?;
    world.write_manifest("acme.yaml", manifests::idle("acme"))?;
    world.all_ready(1).await?;
    let before = (world.lists().await?, world.tenant("acme").await?);

    world.stop_platform().await;
    says_that_it_waits(&world).await?;
    world.write_manifest("umbra.yaml", manifests::idle("umbra"))?;
    passes(&world, 5).await?;
    let meanwhile = world.tenant("acme").await?;
    assert_eq!(meanwhile["status"]["machines"], before.1["status"]["machines"], "{meanwhile:#}");
    assert!(!holds(&world.tenant("umbra").await?, "Ready"));

    world.start_platform().await?;
    world.all_ready(2).await?;
    let after = world.lists().await?;
    assert_eq!(after.machines.len(), 2);
    assert!(after.machine_ids().contains(&before.0.machine_ids()[0]), "acme kept its machine");
    vault_tests::eventually::eventually("the log says that all is well again", async || {
        let log = world.controller_log().map_err(|error| format!("{error:#}"))?;
        let said = |reason: &str| log.matches(&format!("\"reason\":\"{reason}\"")).count();
        (said("Waiting") == 1 && said("Recovered") == 1).then_some(()).ok_or(log)
    })
    .await?;
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_name_of_somebody_else_stops_only_its_tenant() -> anyhow::Result<()> {
    let options =
        WorldOptions { organizations: vec!["other".to_owned()], ..WorldOptions::default() };
    let world = World::start(options).await?;
    let url = format!("{}/v1/apps", world.platform()?.url());
    let body = serde_json::json!({ "app_name": "taken", "org_slug": "other" });
    let created = reqwest::Client::builder()
        .tls_certs_only([])
        .no_proxy()
        .build()?
        .post(url)
        .bearer_auth(world.operator_token())
        .json(&body)
        .send()
        .await?;
    assert_eq!(created.status(), 201);

    let text = manifests::idle("acme").replace("spec:\n", "spec:\n  app: taken\n");
    world.write_manifest("acme.yaml", text)?;
    world.write_manifest("umbra.yaml", manifests::idle("umbra"))?;
    let tenant =
        world.tenant_where("acme", "its app's name is taken", |it| holds(it, "NameTaken")).await?;
    assert_eq!(condition(&tenant, "Ready")["reason"], "NameTaken", "{tenant:#}");
    world.tenant_where("umbra", "is Ready", |tenant| holds(tenant, "Ready")).await?;
    // The way out: another name.
    world.write_manifest("acme.yaml", manifests::idle("acme"))?;
    world.all_ready(2).await?;
    assert!(!holds(&world.tenant("acme").await?, "NameTaken"));
    world.finish().await
}

async fn says_that_it_waits(world: &World) -> anyhow::Result<()> {
    world
        .status_where("it says that the platform is out of reach", |status| {
            status["troubles"].as_array().is_some_and(|troubles| !troubles.is_empty())
        })
        .await?;
    drop(world.client()?.get("/livez").await?.expect(200));
    let ready = world.client()?.get("/readyz?verbose").await?.expect(503);
    assert!(ready.as_str().is_some_and(|text| text.contains("[-]platform")), "{ready}");
    vault_tests::eventually::eventually("the log says that it waits", async || {
        let log = world.controller_log().map_err(|error| format!("{error:#}"))?;
        let said = log.contains("\"reason\":\"Waiting\"") && log.contains("; waiting");
        said.then_some(()).ok_or(log)
    })
    .await
}
