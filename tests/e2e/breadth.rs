//! What a manifest can say, each thing a story from the file to the machine and back.

mod changing;
mod config;
mod doubt;
mod moving;
mod secrets;
mod telling;

use reqwest::Method;
use serde_json::{Value, json};
use vault_tests::world::World;
use vault_tests::world::looks::holds;

/// A tenant `acme` with one group `box` in `ord` that mounts a volume; `more` is merged over its
/// spec, and `group` over the group.
fn acme(more: Value, group: Value) -> String {
    let mut spec = json!({
        "machines": [{
            "name": "box",
            "region": "ord",
            "config": {
                "image": "debian:bookworm-slim",
                "guest": { "cpu_kind": "shared", "cpus": 1, "memory_mb": 256 },
                "mounts": [{ "volume": "data", "path": "/data" }],
            },
        }],
        "volumes": [{ "name": "data", "sizeGb": 1 }],
    });
    merge(&mut spec["machines"][0], group);
    merge(&mut spec, more);
    manifest(&spec)
}

/// The text of tenant `acme`: JSON is YAML too.
fn manifest(spec: &Value) -> String {
    let metadata = json!({ "name": "acme" });
    json!({ "apiVersion": "vaultctl.dev/v1", "kind": "Tenant", "metadata": metadata, "spec": spec })
        .to_string()
}

/// A merge patch, as far as it is needed here.
fn merge(target: &mut Value, patch: Value) {
    match patch {
        Value::Object(members) => {
            for (name, value) in members {
                merge(&mut target[name.as_str()], value);
            }
        }
        other => *target = other,
    }
}

/// Writes the file of `acme` and waits until the controller has taken it and the tenant is Ready.
async fn becomes(world: &World, text: &str) -> anyhow::Result<Value> {
    let before = world.tenant("acme").await.ok();
    let generation = |tenant: &Value| tenant["metadata"]["generation"].as_i64().unwrap_or(0);
    let next = before.as_ref().map_or(0, generation) + 1;
    world.write_manifest("acme.yaml", text)?;
    if before.is_none() {
        world.all_ready(1).await?;
    }
    world
        .tenant_where("acme", &format!("is Ready at generation {next}"), |tenant| {
            tenant["status"]["observedGeneration"] == next && holds(tenant, "Ready")
        })
        .await
}

/// The only machine of the platform, whole, as the platform shows it.
async fn machine(world: &World) -> anyhow::Result<Value> {
    let machines = world.lists().await?.machines;
    let [machine] = machines.as_slice() else { panic!("one machine: {machines:#?}") };
    let text = |member: &str| machine[member].as_str().expect("a text").to_owned();
    let path = format!("/v1/apps/{}/machines/{}", text("app_name"), text("id"));
    Ok(world.platform_call(Method::GET, &path, None).await?.expect(200))
}
