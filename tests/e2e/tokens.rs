//! Deploy tokens: minted, fetched, used, and revoked with their tenant.

use anyhow::Context;
use reqwest::Method;
use serde_json::{Value, json};
use vault_emulator::DEFAULT_ORG;
use vault_tests::eventually::eventually;
use vault_tests::manifests;
use vault_tests::world::{World, WorldOptions};

const LIST: &str = "query($slug: String!) { organization(slug: $slug) { \
     limitedAccessTokens(first: 500) { nodes { id name revokedAt } } } }";

/// A tenant with the deploy token `ci`.
fn with_token(name: &str) -> String {
    format!("{}  tokens: {{ deploy: [{{ name: ci, ttl: 24h }}] }}\n", manifests::idle(name))
}

/// The names of the tokens of ours that open something.
pub(crate) async fn open_tokens(world: &World) -> anyhow::Result<Vec<String>> {
    let body = json!({ "query": LIST, "variables": { "slug": DEFAULT_ORG } });
    let answer = world.platform_call(Method::POST, "/graphql", Some(&body)).await?.expect(200);
    let nodes = answer["data"]["organization"]["limitedAccessTokens"]["nodes"].as_array();
    let nodes = nodes.with_context(|| format!("{answer:#}"))?;
    let open = nodes.iter().filter(|node| node["revokedAt"].is_null());
    let names = open.filter_map(|node| node["name"].as_str());
    Ok(names.filter(|name| name.starts_with("vault/")).map(str::to_owned).collect())
}

async fn one_token(world: &World) -> anyhow::Result<String> {
    eventually("one token is open", async || {
        let open = open_tokens(world).await.map_err(|error| format!("{error:#}"))?;
        match open.as_slice() {
            [only] => Ok(only.clone()),
            several => Err(format!("{several:?}")),
        }
    })
    .await
}

pub(crate) async fn fetch(world: &World, tenant: &str) -> anyhow::Result<String> {
    let output = world.vaultctl(&["token", "get", tenant, "ci"]).await?.expect(0);
    assert_eq!(output.stderr, "", "only the token is printed");
    let token = output.stdout.strip_suffix('\n').context("the token ends its line")?;
    assert_eq!(token.lines().count(), 1, "one line");
    Ok(token.to_owned())
}

/// The status of a look at an app's machines with a token.
pub(crate) async fn look(world: &World, app: &str, token: &str) -> anyhow::Result<u16> {
    let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?;
    let url = format!("{}/v1/apps/{app}/machines", world.platform()?.url());
    let header = if token.contains(' ') { token.to_owned() } else { format!("Bearer {token}") };
    let answer = http.get(url).header("authorization", header).send().await?;
    Ok(answer.status().as_u16())
}

/// The name of a tenant's app.
pub(crate) fn app(tenant: &Value) -> String {
    tenant["status"]["app"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetched_token_opens_its_tenants_app_until_the_tenant_goes() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    let file = world.write_file("acme.yaml", with_token("acme"))?;
    let other = world.write_file("umbra.yaml", with_token("umbra"))?;
    for file in [&file, &other] {
        let file = file.to_str().context("a path in ASCII")?;
        drop(world.vaultctl(&["apply", "-f", file]).await?.expect(0));
    }
    world.all_ready(2).await?;
    let (acme, umbra) = (world.tenant("acme").await?, world.tenant("umbra").await?);
    let token = fetch(&world, "acme").await?;
    assert_eq!(fetch(&world, "acme").await?, token, "the same until it is replaced");
    assert_eq!(look(&world, &app(&acme), &token).await?, 200);
    assert!(matches!(look(&world, &app(&umbra), &token).await?, 403 | 404), "a sibling's app");
    let listed = world.vaultctl(&["token", "list", "acme"]).await?.expect(0);
    assert!(listed.stdout.contains("ci") && !listed.stdout.contains(&token), "{listed}");
    let missing = world.vaultctl(&["token", "get", "acme", "cii"]).await?.expect(4);
    assert!(missing.stderr.contains("did you mean `ci`?"), "{missing}");
    let log = world.vaultctl(&["audit-log"]).await?.expect(0);
    assert!(log.stdout.contains("gave out deploy token ci (1)"), "{log}");
    for told in [world.controller_log()?, acme.to_string(), log.stdout] {
        assert!(!told.contains(&token), "a token is told: {told}");
    }

    drop(world.vaultctl(&["delete", "tenant", "acme", "--yes"]).await?.expect(0));
    drop(world.vaultctl(&["get", "tenant", "acme"]).await?.expect(4));
    assert_ne!(look(&world, &app(&acme), &token).await?, 200, "it is revoked");
    one_token(&world).await?;
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_database_means_a_new_token_and_the_old_one_goes() -> anyhow::Result<()> {
    let mut world = World::with_platform(WorldOptions::default()).await?;
    world.write_manifest("acme.yaml", with_token("acme"))?;
    world.start_controller().await?;
    world.all_ready(1).await?;
    let before = fetch(&world, "acme").await?;
    world.kill_controller();
    world.remove_database()?;
    world.start_controller().await?;
    world.all_ready(1).await?;
    let name = one_token(&world).await?;
    assert!(name.ends_with("/2"), "{name}: a number is used once");
    let after = fetch(&world, "acme").await?;
    assert_ne!(after, before);
    let app = app(&world.tenant("acme").await?);
    assert_eq!(look(&world, &app, &after).await?, 200);
    assert_ne!(look(&world, &app, &before).await?, 200, "the old one is revoked");
    world.finish().await
}
