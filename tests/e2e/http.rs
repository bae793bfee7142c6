//! The resource API as scripts and stock clients use it.

use reqwest::Method;
use serde_json::{Value, json};
use vault_tests::client::{Answer, CLASSES, Client, TENANTS};
use vault_tests::program;
use vault_tests::world::{World, WorldOptions};

use crate::support::skipped;

/// Every method and path that needs the token.
const GUARDED: [(Method, &str); 11] = [
    (Method::GET, "/status"),
    (Method::GET, "/version"),
    (Method::GET, TENANTS),
    (Method::POST, TENANTS),
    (Method::GET, "/apis/vaultctl.dev/v1/tenants/acme"),
    (Method::PUT, "/apis/vaultctl.dev/v1/tenants/acme"),
    (Method::PATCH, "/apis/vaultctl.dev/v1/tenants/acme"),
    (Method::DELETE, "/apis/vaultctl.dev/v1/tenants/acme"),
    (Method::GET, "/apis/vaultctl.dev/v1/tenants/acme/plan"),
    (Method::POST, "/apis/vaultctl.dev/v1/tenants/acme/plan"),
    (Method::GET, CLASSES),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_but_health_needs_the_token() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    create(&world, TENANTS, &tenant("acme")).await?;
    world.all_ready(1).await?;
    let before = world.tenant("acme").await?;
    let body = tenant("acme");
    for token in ["", "wrong", "Bearer"] {
        let stranger = world.client()?.with_token(token);
        for (method, path) in GUARDED {
            let body = (method != Method::GET).then_some(&body);
            let answer = stranger.send(method.clone(), path, body).await?;
            assert_eq!(answer.status, 401, "{method} {path} with {token:?}: {:#}", answer.body);
            assert_eq!(answer.body["kind"], "Status", "{method} {path}");
        }
        for open in ["/livez", "/readyz", "/healthz"] {
            drop(stranger.get(open).await?.expect(200));
        }
    }
    assert_eq!(world.tenant("acme").await?, before);
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_changes_nothing() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    create(&world, TENANTS, &tenant("acme")).await?;
    world.all_ready(1).await?;
    let client = world.client()?;
    let before = (client.get(TENANTS).await?.expect(200), world.lists().await?.inventory());
    let acme = format!("{TENANTS}/acme");

    let created = client
        .send(Method::POST, &format!("{TENANTS}?dryRun=All"), Some(&tenant("umbra")))
        .await?
        .expect(201);
    assert_eq!(created["metadata"]["name"], "umbra");
    let mut changed = tenant("acme");
    changed["spec"]["machines"][0]["count"] = json!(3);
    let replaced =
        client.send(Method::PUT, &format!("{acme}?dryRun=All"), Some(&changed)).await?.expect(200);
    assert_eq!(replaced["spec"]["machines"][0]["count"], 3, "it answers what would be");
    // A rehearsal numbers nothing: `kubectl diff` would show it as a change.
    assert_eq!(replaced["metadata"]["generation"], 1);
    let patch = json!({ "metadata": { "labels": { "tier": "pro" } } });
    let patched =
        client.send(Method::PATCH, &format!("{acme}?dryRun=All"), Some(&patch)).await?.expect(200);
    assert_eq!(patched["metadata"]["labels"]["tier"], "pro");
    drop(client.send(Method::DELETE, &format!("{acme}?dryRun=All"), None).await?.expect(200));
    // kubectl says it in the body.
    let in_body = json!({ "kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"] });
    drop(client.send(Method::DELETE, &acme, Some(&in_body)).await?.expect(200));
    // Anything else than All would be a run that is not dry.
    drop(client.send(Method::DELETE, &format!("{acme}?dryRun=yes"), None).await?.expect(400));

    crate::support::passes(&world, 4).await?;
    let client = world.client()?;
    let after = (client.get(TENANTS).await?.expect(200), world.lists().await?.inventory());
    assert_eq!(after, before);
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_do_not_overwrite_each_other() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    create(&world, TENANTS, &tenant("acme")).await?;
    world.all_ready(1).await?;
    let client = world.client()?;
    let url = format!("{TENANTS}/acme");
    let read = world.tenant("acme").await?;

    let mut mine = read.clone();
    mine["metadata"]["labels"] = json!({ "writer": "one" });
    let written = client.send(Method::PUT, &url, Some(&mine)).await?.expect(200);
    assert_ne!(written["metadata"]["resourceVersion"], read["metadata"]["resourceVersion"]);
    let mut theirs = read.clone();
    theirs["metadata"]["labels"] = json!({ "writer": "two" });
    let refused = client.send(Method::PUT, &url, Some(&theirs)).await?.expect(409);
    assert_eq!(refused["reason"], "Conflict", "{refused:#}");
    assert_eq!(world.tenant("acme").await?["metadata"]["labels"]["writer"], "one");
    let again = client.send(Method::POST, TENANTS, Some(&tenant("acme"))).await?.expect(409);
    assert_eq!(again["reason"], "AlreadyExists", "{again:#}");

    // A merge patch: null removes, a list is replaced, the rest stays.
    let patch = json!({ "metadata": { "labels": { "writer": null, "tier": "pro" } } });
    let patched = client.send(Method::PATCH, &url, Some(&patch)).await?.expect(200);
    assert_eq!(patched["metadata"]["labels"], json!({ "tier": "pro" }));
    assert_eq!(patched["metadata"]["generation"], 1, "labels are not the spec");
    let mut machines = read["spec"]["machines"].clone();
    machines[0]["count"] = json!(2);
    let patch = json!({ "spec": { "machines": machines } });
    let patched = client.send(Method::PATCH, &url, Some(&patch)).await?.expect(200);
    assert_eq!(patched["metadata"]["generation"], 2);
    world.all_ready(1).await?;
    assert_eq!(world.lists().await?.machines.len(), 2);
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plan_tells_what_would_be_done() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    create(&world, TENANTS, &tenant("acme")).await?;
    world.all_ready(1).await?;
    let client = world.client()?;
    let url = format!("{TENANTS}/acme/plan");
    let nothing = client.get(&url).await?.expect(200);
    assert_eq!(nothing["kind"], "TenantPlan");
    assert_eq!(nothing["actions"], json!([]), "{nothing:#}");

    let mut more = tenant("acme");
    more["spec"]["machines"][0]["count"] = json!(2);
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [more] });
    let planned = client.send(Method::POST, &url, Some(&list)).await?.expect(200);
    let actions = planned["actions"].as_array().expect("actions");
    let machines: Vec<_> =
        actions.iter().filter(|action| action["action"] == "CreateMachine").collect();
    assert_eq!(machines.len(), 1, "{planned:#}");
    assert!(machines[0]["target"].as_str().is_some_and(|target| target.contains("acme-box-1")));
    // One that does not exist yet can be asked about as well.
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [tenant("umbra")] });
    let url = format!("{TENANTS}/umbra/plan");
    let planned = client.send(Method::POST, &url, Some(&list)).await?.expect(200);
    assert_eq!(planned["actions"][0]["action"], "CreateApp", "{planned:#}");
    drop(client.get(&url).await?.expect(404));
    assert_eq!(world.lists().await?.machines.len(), 1, "nothing was done");
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_class_that_is_used_stays() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    let mut class = tenant("small");
    class["kind"] = json!("TenantClass");
    create(&world, CLASSES, &class).await?;
    let user = json!({
        "apiVersion": "vaultctl.dev/v1",
        "kind": "Tenant",
        "metadata": { "name": "acme" },
        "spec": { "class": "small" },
    });
    create(&world, TENANTS, &user).await?;
    world.all_ready(1).await?;
    let client = world.client()?;
    let url = format!("{CLASSES}/small");
    let refused = client.send(Method::DELETE, &url, None).await?.expect(409);
    assert!(refused["message"].as_str().is_some_and(|text| text.contains("acme")), "{refused}");
    let refused = world.vaultctl(&["delete", "tenantclass", "small", "--yes"]).await?.expect(3);
    assert!(refused.stderr.contains("acme"), "{refused}");

    drop(world.vaultctl(&["delete", "tenant", "acme", "--yes"]).await?.expect(0));
    drop(world.client()?.send(Method::DELETE, &url, None).await?.expect(200));
    drop(world.client()?.get(&url).await?.expect(404));
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_kubectl_reads_tenants() -> anyhow::Result<()> {
    let mut version = tokio::process::Command::new("kubectl");
    if version.args(["version", "--client"]).output().await.is_err() {
        skipped("stock kubectl reads tenants: kubectl is not installed");
        return Ok(());
    }
    let world = World::start(WorldOptions::default()).await?;
    create(&world, TENANTS, &tenant("acme")).await?;
    world.all_ready(1).await?;
    let mut command = tokio::process::Command::new("kubectl");
    command
        .arg("--kubeconfig")
        .arg(world.path("controller/kubeconfig"))
        .args(["get", "--raw", TENANTS])
        .env("HOME", world.path(""));
    let list = program::run(&mut command).await?.expect(0).json()?;
    assert_eq!(list["kind"], "TenantList", "{list:#}");
    assert_eq!(list["items"][0]["metadata"]["name"], "acme");
    world.finish().await
}

async fn create(world: &World, path: &str, object: &Value) -> anyhow::Result<()> {
    let client: &Client = world.client()?;
    let answer: Answer = client.send(Method::POST, path, Some(object)).await?;
    drop(answer.expect(201));
    Ok(())
}

/// One tenant with one machine and a volume.
fn tenant(name: &str) -> Value {
    json!({
        "apiVersion": "vaultctl.dev/v1",
        "kind": "Tenant",
        "metadata": { "name": name },
        "spec": {
            "machines": [{
                "name": "box",
                "region": "ord",
                "config": {
                    "image": "debian:bookworm-slim",
                    "mounts": [{ "volume": "data", "path": "/data" }],
                },
            }],
            "volumes": [{ "name": "data", "sizeGb": 1 }],
        },
    })
}
