//! What people are told: why a machine ended, when it ran, who wrote what, and of files that vanish.

use serde_json::json;
use vault_tests::eventually::eventually;
use vault_tests::manifests;
use vault_tests::world::{World, WorldOptions};

use super::{acme, becomes};
use crate::support::{self, passes};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn describe_shows_the_exit_and_the_last_words_of_a_machine() -> anyhow::Result<()> {
    let world = World::start(support::processes()).await?;
    let script = "echo looking for the database\necho the database is not there >&2\nexit 1";
    let restart = "config:\n        restart: { policy: \"no\" }";
    let text = manifests::tenant("acme", script).replace("config:", restart);
    world.write_manifest("acme.yaml", text)?;
    let output = eventually("describe tells why the machine is down", async || {
        let output = world.vaultctl(&["describe", "tenant", "acme"]).await;
        let output = output.map_err(|error| format!("{error:#}"))?;
        let told = ["EXIT", "CODE", "LOG", "looking for the database", "the database is not there"];
        let is_told = told.iter().all(|text| output.stdout.contains(text));
        if output.code == Some(0) && is_told { Ok(output) } else { Err(output.to_string()) }
    })
    .await?;
    let mut lines = output.stdout.lines().skip_while(|line| !line.contains("EXIT"));
    let exit = lines.nth(1).expect("a row").split_whitespace().collect::<Vec<_>>();
    assert_eq!(exit[1..3], ["ago", "1"], "{output}");
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_facts_outlive_a_machine_and_its_tenant() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    becomes(&world, &acme(json!({}), json!({ "count": 2 }))).await?;
    let lists = world.lists().await?;
    becomes(&world, &acme(json!({}), json!({ "count": 1 }))).await?;
    let facts = async |arguments: &[&str]| {
        let output = world.vaultctl(arguments).await.map_err(|error| format!("{error:#}"))?;
        output.expect(0).json().map_err(|error| format!("{error:#}"))
    };
    let rows = eventually("one machine is deleted in the facts", async || {
        let rows = facts(&["usage-facts", "--tenant", "acme"]).await?;
        let all = rows.as_array().cloned().unwrap_or_default();
        let deleted = all.iter().filter(|row| row["deleted_at"].is_string()).count();
        if deleted == 1 { Ok(all) } else { Err(format!("{rows:#}")) }
    })
    .await?;
    let mut ids: Vec<&str> = rows.iter().filter_map(|row| row["machine_id"].as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, lists.machine_ids());
    for row in &rows {
        assert!(row["started_at"].is_string(), "{row:#}");
        assert_eq!(row["metadata"]["vault_tenant"], "acme");
        assert_eq!(row["volumes"][0]["size_gib"], 1, "{row:#}");
    }

    world.remove_manifest("acme.yaml")?;
    world
        .tenant_where("acme", "has lost its file", |tenant| {
            tenant["status"]["conditions"].to_string().contains("SourceMissing")
        })
        .await?;
    drop(world.vaultctl(&["delete", "tenant", "acme", "--yes"]).await?.expect(0));
    eventually("both are deleted in the facts, and the tenant is gone", async || {
        let rows = facts(&["usage-facts", "--tenant", "acme"]).await?;
        let all = rows.as_array().cloned().unwrap_or_default();
        let ended = all.iter().filter(|row| row["stopped_at"].is_string());
        let deleted = ended.filter(|row| row["deleted_at"].is_string()).count();
        let gone = world.tenant("acme").await.is_err();
        if deleted == 2 && gone { Ok(()) } else { Err(format!("{rows:#}")) }
    })
    .await?;
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_log_names_who_wrote_what_and_how_it_ended() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    let made = world
        .vaultctl(&["token", "operator", "create", "ci", "--role", "operate", "-o", "json"])
        .await?
        .expect(0);
    let token = made.json()?["status"]["token"].as_str().expect("a token").to_owned();
    let ci = world.client()?.with_token(&token);
    let tenant = |name: &str| {
        json!({
            "apiVersion": "vaultctl.dev/v1", "kind": "Tenant", "metadata": { "name": name },
            "spec": { "machines": [{ "name": "box", "region": "ord", "config": { "image": "box:1" } }] },
        })
    };
    let send = async |client: &vault_tests::client::Client, name: &str| {
        let path = vault_tests::client::TENANTS;
        client.send(reqwest::Method::POST, path, Some(&tenant(name))).await
    };
    send(&ci, "umbra").await?.expect(201);
    assert_eq!(send(&ci, "umbra").await?.status, 409);
    send(world.client()?, "nimbus").await?.expect(201);
    drop(world.vaultctl(&["delete", "tenant", "umbra", "--yes"]).await?.expect(0));

    let log = world.vaultctl(&["audit-log", "-o", "json"]).await?.expect(0);
    let records = log.json()?["items"].as_array().expect("records").clone();
    let told: Vec<String> = records
        .iter()
        .map(|record| {
            let text = |member: &str| record[member].as_str().unwrap_or_default().to_owned();
            let [who, verb, name] = ["who", "verb", "name"].map(text);
            format!("{who} {verb} {name} {}", record["code"])
        })
        .collect();
    assert_eq!(
        told,
        [
            "controller create ci 201",
            "ci create umbra 201",
            "ci create umbra 409",
            "controller create nimbus 201",
            "controller delete umbra 200",
        ],
        "{log}"
    );
    assert!(!log.stdout.contains(&token), "the token itself is in no record");
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_vanish_while_they_are_read_hurt_nobody() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    becomes(&world, &acme(json!({}), json!({}))).await?;
    let (machines, generation) = (
        world.lists().await?.machine_ids(),
        world.tenant("acme").await?["metadata"]["generation"].clone(),
    );
    let begun = world.status().await?["passes"].as_u64().unwrap_or(0);
    // A dozen files come and go all the while the folder is read.
    let names: Vec<String> = (0..12).map(|number| format!("flicker-{number}.yaml")).collect();
    let mut rounds = 0_u32;
    while rounds <= 10 || world.status().await?["passes"].as_u64() < Some(begun + 15) {
        for name in &names {
            world.write_manifest(name, "# nothing yet\n")?;
        }
        for name in &names {
            world.remove_manifest(name)?;
        }
        rounds += 1;
    }
    passes(&world, 2).await?;
    world.all_ready(1).await?;
    assert_eq!(world.lists().await?.machine_ids(), machines);
    assert_eq!(world.tenant("acme").await?["metadata"]["generation"], generation);
    let log = world.controller_log()?;
    assert!(!log.contains("panicked"), "{log}");
    world.finish().await
}
