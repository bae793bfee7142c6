//! Tenants of one app: each with its own machine, volume and secrets, and none with another's.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use reqwest::Method;
use serde_json::{Value, json};
use vault_client::protocol::key::ProofKey;
use vault_client::{Client, ConnectError, ExpectedIdentity, IssuerKeys, Target};
use vault_tests::client::TENANTS;
use vault_tests::manifests;
use vault_tests::world::World;
use vault_tests::world::looks::holds;

use crate::support;

const APP: &str = "vault-tenants";

fn shared(manifest: &str) -> String {
    manifest.replace("spec:\n", &format!("spec:\n  app: {{ name: {APP}, shared: true }}\n"))
}

/// Where a tenant's machine is, and what proves a caller to it.
struct Place {
    target: Target,
    keys: IssuerKeys,
    proof: ProofKey,
}

#[expect(clippy::disallowed_methods, reason = "evidence is checked against the time of day")]
fn seconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

async fn place(world: &World, tenant: &str) -> anyhow::Result<Place> {
    let request = json!({ "apiVersion": "vaultctl.dev/v1", "kind": "ConnectRequest" });
    let path = format!("{TENANTS}/{tenant}/connect");
    let answer = world.client()?.send(Method::POST, &path, Some(&request)).await?.expect(201);
    let status = &answer["status"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let texts = |list: &Value| list.as_array().into_iter().flatten().map(text).collect();
    let evidence = &status["evidence"];
    let issuer = text(&evidence["issuer"]);
    let keys = match &evidence["keys"] {
        Value::Null => IssuerKeys::new(),
        keys => IssuerKeys::seeded(&issuer, keys, seconds())?,
    };
    let identity = ExpectedIdentity {
        issuer,
        org_name: text(&evidence["orgName"]),
        org_id: evidence["orgId"].as_str().map(str::to_owned),
        app_name: text(&evidence["appName"]),
        app_id: evidence["appId"].as_str().map(str::to_owned),
        machine_id: text(&evidence["machineId"]),
        machine_versions: texts(&evidence["machineVersions"]),
        image_digests: texts(&evidence["imageDigests"]),
    };
    let address: SocketAddr = text(&status["address"]).parse().context("an address")?;
    let proof = ProofKey::read(&text(&status["credential"]["key"]))?;
    Ok(Place { target: Target { address, identity }, keys, proof })
}

/// Whether the agent at `place` accepts the proof of `caller`.
async fn accepts(place: &Place, caller: &Place) -> anyhow::Result<bool> {
    let client = Client::new()?;
    let attested = client.connect(&place.target, &place.keys, seconds).await?;
    match attested.prove(&caller.proof).await {
        Ok(_) => Ok(true),
        Err(ConnectError::ProofRefused) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tenants_of_one_app_are_reached_and_neither_can_use_the_others_secret()
-> anyhow::Result<()> {
    let world = World::start(support::processes()).await?;
    for tenant in ["acme", "bob"] {
        let manifest = shared(&manifests::agent(tenant, 1));
        world.write_manifest(&format!("{tenant}.yaml"), manifest)?;
    }
    world.all_ready(2).await?;
    for tenant in ["acme", "bob"] {
        let command = ["exec", tenant, "--", "sh", "-c", "echo $FLY_APP_NAME $FLY_MACHINE_ID"];
        let output = world.vaultctl(&command).await?.expect(0);
        assert!(output.stdout.starts_with(&format!("{APP} ")), "{output}");
    }
    let (acme, bob) = (place(&world, "acme").await?, place(&world, "bob").await?);
    assert_eq!(acme.target.identity.app_id, bob.target.identity.app_id);
    assert!(accepts(&acme, &acme).await? && accepts(&bob, &bob).await?);
    assert!(!accepts(&acme, &bob).await? && !accepts(&bob, &acme).await?);

    // The app holds a secret of each, under names of their own.
    let path = format!("/v1/apps/{APP}/secrets");
    let names = |body: &Value| -> Vec<String> {
        let secrets = body["secrets"].as_array().into_iter().flatten();
        secrets.filter_map(|secret| Some(secret["name"].as_str()?.to_owned())).collect()
    };
    let before = names(&world.platform_call(Method::GET, &path, None).await?.body);
    assert_eq!(before.len(), 2, "{before:?}");
    assert!(before.iter().all(|name| name.starts_with("VAULT_TENANT_SECRET_")), "{before:?}");

    world.remove_manifest("acme.yaml")?;
    world
        .tenant_where("acme", "its manifest is missed", |tenant| holds(tenant, "SourceMissing"))
        .await?;
    drop(world.vaultctl(&["delete", "tenant", "acme", "--yes"]).await?.expect(0));
    world.all_ready(1).await?;
    // Its secret went with it, and the other's stayed, with the app.
    let after = names(&world.platform_call(Method::GET, &path, None).await?.body);
    assert_eq!(after.len(), 1, "{after:?}");
    drop(world.vaultctl(&["exec", "bob", "--", "true"]).await?.expect(0));
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_finds_its_own_tenants_secret_and_no_siblings() -> anyhow::Result<()> {
    let world = World::start(support::processes()).await?;
    for tenant in ["acme", "bob"] {
        let script = "env | grep VAULT_TENANT_SECRET > /data/seen; while :; do sleep 1000; done";
        let manifest = shared(&manifests::tenant(tenant, script));
        world.write_manifest(&format!("{tenant}.yaml"), manifest)?;
    }
    world.all_ready(2).await?;
    let mut seen = Vec::new();
    for volume in world.lists().await?.volume_ids() {
        let path = world.path(&format!("platform/volumes/{volume}/seen"));
        let text =
            vault_tests::eventually::eventually("a machine wrote what it sees", async || {
                match std::fs::read_to_string(&path) {
                    Ok(text) if text.ends_with('\n') => Ok(text),
                    other => Err(format!("{other:?}")),
                }
            })
            .await?;
        assert_eq!(text.lines().count(), 1, "one variable, of its own");
        assert!(text.starts_with("VAULT_TENANT_SECRET="));
        seen.push(text);
    }
    assert_eq!(seen.len(), 2);
    assert_ne!(seen[0], seen[1]);
    world.finish().await
}
