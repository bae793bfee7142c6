//! What a controller must survive: a story per quirk of the platform, each named after it.
//!
//! Every story asserts that the controller says what is wrong while it lasts, converges when it is
//! over, and made and removed exactly what it should have.

mod acting;
mod creating;
mod seeing;

use serde_json::{Value, json};
use vault_tests::eventually::eventually;
use vault_tests::manifests;
use vault_tests::world::looks::{condition, holds};
use vault_tests::world::{World, WorldOptions};

/// A world with one Ready tenant, `acme`.
async fn with_acme(options: WorldOptions) -> anyhow::Result<World> {
    let world = World::start(options).await?;
    world.write_manifest("acme.yaml", manifests::idle("acme"))?;
    world.all_ready(1).await?;
    Ok(world)
}

/// Each tenant has one app, one machine that runs, and one volume on it; and nothing else was ever
/// made but `replaced` machines that are destroyed.
async fn exactly(world: &World, tenants: &[&str], replaced: usize) -> anyhow::Result<()> {
    let inventory = world.lists().await?.inventory();
    let of = |tenant: &str, texts: &[String]| {
        let own = texts.iter().filter(|text| text.starts_with(&format!("{tenant}-")));
        own.cloned().collect::<Vec<_>>()
    };
    for tenant in tenants {
        let (apps, machines) = (of(tenant, &inventory.apps), of(tenant, &inventory.machines));
        let volumes = of(tenant, &inventory.volumes);
        assert_eq!([apps.len(), machines.len(), volumes.len()], [1; 3], "{tenant}: {inventory:#?}");
        assert!(machines[0].ends_with(&format!("/{tenant}-box-0 ord started")), "{inventory:#?}");
        assert!(volumes[0].ends_with(&format!(" ord 1 on {tenant}-box-0")), "{inventory:#?}");
    }
    assert_eq!(inventory.apps.len(), tenants.len(), "{inventory:#?}");
    let (machines, volumes) = (world.machines_ever().await?, world.volumes_ever().await?);
    assert_eq!(machines.len(), tenants.len() + replaced, "{machines:#?}");
    let destroyed = machines.iter().filter(|machine| machine["state"] == "destroyed").count();
    assert_eq!(destroyed, replaced, "{machines:#?}");
    assert_eq!(volumes.len(), tenants.len(), "{volumes:#?}");
    Ok(())
}

/// How many calls of this form the platform answered with this status.
fn answered(world: &World, method: &str, path_ends: &str, status: u16) -> usize {
    let calls = world.calls().all();
    let fits = calls.iter().filter(|call| {
        call.method == method && call.path.ends_with(path_ends) && call.status == status
    });
    fits.count()
}

/// Waits until the tenant is not Ready and a condition has this text.
async fn says(world: &World, tenant: &str, text: &str) -> anyhow::Result<Value> {
    world
        .tenant_where(tenant, &format!("says {text:?}"), |tenant| {
            let conditions = tenant["status"]["conditions"].as_array();
            let said = conditions.into_iter().flatten().any(|condition| {
                condition["message"].as_str().is_some_and(|message| message.contains(text))
            });
            said && !holds(tenant, "Ready")
        })
        .await
}

/// Waits until an event of the tenant has this text.
async fn tells(world: &World, tenant: &str, text: &str) -> anyhow::Result<()> {
    let path = format!("/api/v1/events?fieldSelector=involvedObject.name={tenant}");
    eventually(&format!("an event of {tenant} says {text:?}"), async || {
        let client = world.client().map_err(|error| format!("{error:#}"))?;
        let answer = client.get(&path).await.map_err(|error| format!("{error:#}"))?;
        let events = answer.body["items"].as_array().cloned().unwrap_or_default();
        let told = events
            .iter()
            .any(|event| event["message"].as_str().is_some_and(|message| message.contains(text)));
        told.then_some(()).ok_or_else(|| format!("{:#}", answer.body))
    })
    .await
}

/// Waits until the faults have happened as often as `enough` wants.
async fn fired(world: &World, what: &str, enough: impl Fn(&[u64]) -> bool) -> anyhow::Result<()> {
    eventually(what, async || {
        let fired = world.fired().await.map_err(|error| format!("{error:#}"))?;
        if enough(&fired) { Ok(()) } else { Err(format!("{fired:?}")) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_everything_passes_and_leaves_what_was_wanted() -> anyhow::Result<()> {
    let tenants = ["alpha", "beta", "delta", "gamma"];
    let world = World::start(WorldOptions::default()).await?;
    let writes = ["POST", "PUT", "DELETE"];
    world
        .set_faults(json!([
            { "kind": "latency", "delay": "50ms", "probability": 0.3, "seed": 1, "for": "4s" },
            { "kind": "rate-limit", "probability": 0.05, "seed": 2, "for": "4s" },
            { "kind": "token-trouble", "probability": 0.05, "seed": 3, "for": "4s" },
            { "kind": "fail", "probability": 0.05, "seed": 4, "for": "4s" },
            { "kind": "lost-request", "probability": 0.05, "seed": 5, "for": "4s" },
            { "kind": "lost-reply", "method": writes, "probability": 0.2, "seed": 6, "for": "4s" },
            { "kind": "act-then-fail", "probability": 0.2, "seed": 7, "for": "4s" },
            { "kind": "empty-list", "probability": 0.1, "seed": 8, "for": "4s" },
            { "kind": "stale-list", "age": "500ms", "probability": 0.1, "seed": 9, "for": "4s" },
            { "kind": "wire-drift", "probability": 0.5, "seed": 10 },
        ]))
        .await?;
    for tenant in tenants {
        world.write_manifest(&format!("{tenant}.yaml"), manifests::idle(tenant))?;
    }
    world.all_ready(tenants.len()).await?;
    exactly(&world, &tenants, 0).await?;
    let fired = world.fired().await?;
    assert!(fired.iter().sum::<u64>() > 10, "{fired:?}");
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_fails_for_a_while_stops_nothing_that_runs() -> anyhow::Result<()> {
    let world = with_acme(WorldOptions::default()).await?;
    let before = world.lists().await?;
    world.set_faults(json!([{ "kind": "token-trouble" }])).await?;
    let status = world
        .status_where("it says what is in the way", |status| {
            status["troubles"].as_array().is_some_and(|troubles| !troubles.is_empty())
        })
        .await?;
    assert!(status["troubles"].to_string().contains("token validation error"), "{status:#}");
    world.end_faults().await?;
    world.all_ready(1).await?;
    assert_eq!(world.lists().await?.machine_ids(), before.machine_ids());
    assert_eq!(condition(&world.tenant("acme").await?, "Degraded")["status"], "False");
    exactly(&world, &["acme"], 0).await?;
    world.finish().await
}
