//! The journal as people see it: what was done, what is in the way, and what others changed.

use anyhow::Context;
use reqwest::Method;
use serde_json::{Value, json};
use vault_tests::eventually::eventually;
use vault_tests::world::looks::{condition, holds};
use vault_tests::world::{World, WorldOptions};

use crate::support::passes;

/// A tenant with an environment, which no organization-wide list shows.
fn manifest(plan: &str, policy: &str) -> String {
    format!(
        "apiVersion: vaultctl.dev/v1
kind: Tenant
metadata: {{ name: acme }}
spec:
  driftPolicy: {policy}
  machines:
    - name: box
      region: ord
      config:
        image: debian:bookworm-slim
        guest: {{ cpu_kind: shared, cpus: 1, memory_mb: 256 }}
        env: {{ PLAN: {plan} }}
"
    )
}

async fn with_acme(policy: &str) -> anyhow::Result<World> {
    let world = World::start(WorldOptions::default()).await?;
    world.write_manifest("acme.yaml", manifest("pro", policy))?;
    world.all_ready(1).await?;
    Ok(world)
}

/// The path of the tenant's only machine.
async fn machine_path(world: &World) -> anyhow::Result<String> {
    let machine = world.lists().await?.machines.into_iter().next().context("a machine")?;
    let text = |member: &str| machine[member].as_str().unwrap_or_default().to_owned();
    Ok(format!("/v1/apps/{}/machines/{}", text("app_name"), text("id")))
}

/// Edits the machine as somebody with a tool of their own does: all of its config, changed.
async fn edit(world: &World, change: impl FnOnce(&mut Value)) -> anyhow::Result<()> {
    let path = machine_path(world).await?;
    let mut config =
        world.platform_call(Method::GET, &path, None).await?.expect(200)["config"].take();
    change(&mut config);
    let body = json!({ "config": config });
    world.platform_call(Method::POST, &path, Some(&body)).await?.expect(200);
    Ok(())
}

async fn plan_in_env(world: &World) -> anyhow::Result<Value> {
    let path = machine_path(world).await?;
    let mut machine = world.platform_call(Method::GET, &path, None).await?.expect(200);
    Ok(machine["config"]["env"]["PLAN"].take())
}

async fn told(world: &World, reason: &str) -> anyhow::Result<Vec<String>> {
    let events = world.vaultctl(&["events", "--for", "tenant/acme", "-o", "json"]).await?;
    let events = events.expect(0).json()?;
    let items = events["items"].as_array().context("a list")?.iter();
    let of = items.filter(|event| event["reason"] == reason);
    Ok(of.filter_map(|event| event["message"].as_str().map(str::to_owned)).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_shows_each_call_with_its_answer_and_no_secret() -> anyhow::Result<()> {
    let world = with_acme("Correct").await?;
    let trace = world.vaultctl(&["trace", "acme", "-o", "json"]).await?.expect(0);
    let document = trace.json()?;
    let intents = document["intents"].as_array().context("intents")?;
    let actions: Vec<&str> = intents.iter().filter_map(|one| one["action"].as_str()).collect();
    assert_eq!(actions, ["CreateApp", "SetSecret", "CreateMachine"], "{document:#}");
    for intent in intents {
        assert_eq!(intent["state"], "verified", "{intent:#}");
        let call = &intent["calls"][0];
        assert!(call["flyRequestId"].is_string(), "{intent:#}");
        assert!(matches!(call["status"].as_u64(), Some(200..=299)), "{intent:#}");
        for at in ["plannedAt", "sentAt", "answeredAt", "closedAt"] {
            assert!(intent[at].is_string(), "{at}: {intent:#}");
        }
    }
    assert_eq!(intents[2]["calls"][0]["path"], "/v1/apps/{app}/machines");
    assert_eq!(intents[2]["specHash"].as_str().map(str::len), Some(32));
    assert!(!trace.stdout.contains("debian"), "bodies are not kept");
    let table = world.vaultctl(&["trace", "acme"]).await?.expect(0).stdout;
    let last = table.lines().last().context("a line")?;
    for part in ["CreateMachine", "acme-box-0", "POST /v1/apps/{app}/machines", "200", "verified"] {
        assert!(last.contains(part), "{part}: {table}");
    }
    let newest = world.vaultctl(&["trace", "acme", "--limit", "1", "-o", "wide"]).await?.expect(0);
    assert_eq!(newest.stdout.lines().count(), 2, "{newest}");
    let slip = world.vaultctl(&["trace", "acmee"]).await?.expect(4);
    assert!(slip.stderr.contains("did you mean acme?"), "{slip}");
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_that_no_list_shows_is_found_and_corrected() -> anyhow::Result<()> {
    let world = with_acme("Correct").await?;
    edit(&world, |config| config["env"]["PLAN"] = json!("hunter2")).await?;
    eventually("the environment is the manifest's again", async || {
        let plan = plan_in_env(&world).await.map_err(|error| format!("{error:#}"))?;
        if plan == "pro" { Ok(()) } else { Err(plan.to_string()) }
    })
    .await?;
    world.all_ready(1).await?;
    let found = told(&world, "EditedElsewhere").await?;
    assert!(found.len() == 1 && found[0].contains("config.env.PLAN"), "{found:?}");
    assert!(!found[0].contains("hunter2"), "{found:?}");
    // What is not the manifest's is theirs.
    edit(&world, |config| config["env"]["THEIRS"] = json!("x")).await?;
    eventually("it is told", async || {
        let found = told(&world, "EditedElsewhere").await.map_err(|error| format!("{error:#}"))?;
        let nothing = found.iter().any(|found| found.ends_with("nothing of ours changed"));
        nothing.then_some(()).ok_or_else(|| format!("{found:?}"))
    })
    .await?;
    world.all_ready(1).await?;
    let before = world.calls().count();
    passes(&world, 3).await?;
    assert_eq!(world.calls().count().writes, before.writes, "and left alone");
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_reported_where_the_manifest_says_so_and_why_tells_it() -> anyhow::Result<()> {
    let mut world = with_acme("Report").await?;
    let why = world.vaultctl(&["why", "acme"]).await?.expect(0);
    assert!(why.stdout.starts_with("tenant acme is Ready"), "{why}");
    // That it was Ready stands in its status after one more pass.
    passes(&world, 2).await?;
    edit(&world, |config| config["env"]["PLAN"] = json!("free")).await?;
    let drifted = |tenant: &Value| holds(tenant, "DriftDetected") && !holds(tenant, "Ready");
    let tenant = world.tenant_where("acme", "drift is detected", drifted).await?;
    let message = condition(&tenant, "DriftDetected")["message"].to_string();
    assert!(message.contains("config.env.PLAN"), "{message}");
    let before = world.calls().count();
    passes(&world, 3).await?;
    // What is remembered outlives the controller.
    world.kill_controller();
    world.start_controller().await?;
    world.tenant_where("acme", "drift is detected still", drifted).await?;
    passes(&world, 3).await?;
    assert_eq!(world.calls().count().writes, before.writes, "nothing is corrected");
    assert_eq!(plan_in_env(&world).await?, "free");

    let why = world.vaultctl(&["why", "acme"]).await?.expect(1);
    for part in ["tenant acme is not Ready", "config.env.PLAN", "driftPolicy to Correct"] {
        assert!(why.stdout.contains(part), "{part}: {why}");
    }
    let why = world.vaultctl(&["why", "acme", "-o", "json"]).await?.expect(1).json()?;
    assert_eq!((&why["kind"], &why["ready"]), (&json!("TenantWhy"), &json!(false)));
    assert!(why["findings"][0]["what"].as_str().is_some_and(|what| what.contains("PLAN")));

    world.write_manifest("acme.yaml", manifest("team", "Report"))?;
    world.all_ready(1).await?;
    assert_eq!(plan_in_env(&world).await?, "team");
    assert!(world.vaultctl(&["why", "umbra"]).await?.code == Some(4));
    world.finish().await
}
