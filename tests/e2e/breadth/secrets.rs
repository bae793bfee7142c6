//! Secrets: from a file of the operator into the environment of real machines, and nowhere else.

use std::fs;
use std::path::Path;

use vault_tests::eventually::eventually;
use vault_tests::manifests;
use vault_tests::world::{World, WorldOptions};

use crate::support;

const FIRST: &str = "f1rst-value-0f-the-database";
const SECOND: &str = "sec0nd-value-0f-the-database";
const OF_ENVIRONMENT: &str = "value-fr0m-the-environment";
/// A budget of 10 % of three machines is one machine.
const MACHINES: usize = 3;

const SCRIPT: &str = "printenv DATABASE_URL > /data/next || echo none > /data/next
printenv KEY >> /data/next
mv /data/next /data/seen
while :; do sleep 1000; done";

fn manifest(secrets: &str) -> String {
    manifests::tenant("acme", SCRIPT)
        .replace("region: ord", &format!("region: ord\n      count: {MACHINES}"))
        + secrets
}

const BOTH: &str = "  secrets:
    - { name: DATABASE_URL, from: { file: db } }
    - { name: KEY, from: { env: VAULTCTL_SECRET_KEY } }
";
const ONE: &str = "  secrets:
    - { name: KEY, from: { env: VAULTCTL_SECRET_KEY } }
";

/// Waits until every machine has started with these values; never more than one is down meanwhile,
/// if `within_budget`.
async fn all_see(world: &World, text: &str, within_budget: bool) -> anyhow::Result<()> {
    let volumes = world.lists().await?.volume_ids();
    assert_eq!(volumes.len(), MACHINES);
    let mut down_most = 0;
    eventually(&format!("every machine sees {text:?}"), async || {
        let lists = world.lists().await.map_err(|error| format!("{error:#}"))?;
        let down = lists.machines.iter().filter(|machine| machine["state"] != "started").count();
        down_most = down_most.max(down + MACHINES.saturating_sub(lists.machines.len()));
        let seen = volumes.iter().map(|volume| {
            fs::read_to_string(world.path(&format!("platform/volumes/{volume}/seen")))
        });
        let seen: Vec<String> = seen.map(Result::unwrap_or_default).collect();
        if seen.iter().all(|seen| seen == text) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await?;
    assert!(!within_budget || down_most <= 1, "{down_most} machines were down at once");
    world.all_ready(1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_set_rotated_within_the_budget_and_removed() -> anyhow::Result<()> {
    let environment = vec![("VAULTCTL_SECRET_KEY".to_owned(), OF_ENVIRONMENT.to_owned())];
    let world = World::start(WorldOptions { environment, ..support::processes() }).await?;
    if !support::is_isolated(&world, "secrets in the environment of machines")? {
        return world.finish().await;
    }
    world.write_file("secrets/db", FIRST)?;
    world.write_manifest("acme.yaml", manifest(BOTH))?;
    world.all_ready(1).await?;
    all_see(&world, &format!("{FIRST}\n{OF_ENVIRONMENT}\n"), false).await?;
    let ids = world.lists().await?.machine_ids();

    world.write_file("secrets/db", SECOND)?;
    all_see(&world, &format!("{SECOND}\n{OF_ENVIRONMENT}\n"), true).await?;

    world.write_manifest("acme.yaml", manifest(ONE))?;
    all_see(&world, &format!("none\n{OF_ENVIRONMENT}\n"), true).await?;
    assert_eq!(world.lists().await?.machine_ids(), ids, "all of it in place");
    nowhere(&world).await?;
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_shows_digests_of_a_secret_and_never_its_value() -> anyhow::Result<()> {
    let environment = vec![("VAULTCTL_SECRET_KEY".to_owned(), OF_ENVIRONMENT.to_owned())];
    let world = World::start(WorldOptions { environment, ..WorldOptions::default() }).await?;
    world.write_file("secrets/db", FIRST)?;
    world.write_manifest("acme.yaml", manifest(BOTH))?;
    world.all_ready(1).await?;
    world.write_manifest("acme.yaml", manifest(BOTH) + "  reconcile: Paused\n")?;
    world
        .tenant_where("acme", "is taken as paused", |tenant| {
            tenant["status"]["observedGeneration"] == 2
        })
        .await?;
    world.write_file("secrets/db", SECOND)?;
    let plan = world.vaultctl(&["diff", "--plan"]).await?.expect(1);
    let line = plan.stdout.lines().find(|line| line.contains("DATABASE_URL"));
    let digests: Vec<&str> = line
        .map(|line| line.split("*** (digest ").skip(1))
        .into_iter()
        .flatten()
        .filter_map(|rest| rest.split(')').next())
        .collect();
    let [before, after] = digests.as_slice() else { panic!("two digests: {plan}") };
    assert!(before != after && before.len() == 12 && after.len() == 12, "{plan}");
    assert!(plan.stdout.contains(" → "), "{plan}");

    // A file that is not there is named, and its value of before is not.
    fs::remove_file(world.path("secrets/db"))?;
    world.write_manifest("acme.yaml", manifest(BOTH))?;
    world
        .tenant_where("acme", "lacks its secret", |tenant| {
            tenant["status"]["conditions"].to_string().contains("file db beneath --secrets-dir")
        })
        .await?;
    nowhere(&world).await?;
    world.finish().await
}

/// No value stands in anything that is printed, logged or kept by the controller.
async fn nowhere(world: &World) -> anyhow::Result<()> {
    for arguments in [
        &["get", "tenant", "acme", "-o", "yaml"][..],
        &["get", "tenants", "-o", "json"],
        &["describe", "tenant", "acme"],
        &["events", "-o", "json"],
        &["audit-log", "-o", "json"],
        &["usage-facts"],
        &["diff", "--plan", "-o", "json"],
    ] {
        let output = world.vaultctl(arguments).await?;
        assert!(!output.stdout.is_empty(), "{arguments:?}: {output}");
        absent(output.to_string().as_bytes(), &format!("{arguments:?}"));
    }
    for path in ["/status", "/metrics", "/usage-facts", "/apis/vaultctl.dev/v1/tenants/acme/plan"] {
        let answer = world.client()?.get(path).await?;
        assert_eq!(answer.status, 200, "{path}");
        absent(answer.body.to_string().as_bytes(), path);
    }
    absent(world.controller_log()?.as_bytes(), "the controller's log");
    let files = files_of(&world.path("controller"))?;
    assert!(files.iter().any(|file| file.ends_with("controller.db")), "{files:?}");
    for file in files {
        absent(&fs::read(&file)?, &file.display().to_string());
    }
    Ok(())
}

fn absent(bytes: &[u8], of: &str) {
    for value in [FIRST, SECOND, OF_ENVIRONMENT] {
        let found = bytes.windows(value.len()).any(|window| window == value.as_bytes());
        assert!(!found, "{of} holds {value}");
    }
}

fn files_of(folder: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => files.extend(files_of(&path)?),
            false => files.push(path),
        }
    }
    Ok(files)
}
