//! What a pass costs when there is nothing to do.

use std::fmt::Write;

use rusqlite::Connection;
use serde_json::json;
use vault_tests::world::calls::Count;
use vault_tests::world::{World, WorldOptions};

use crate::support::SLOW;

const TENANTS: usize = 1_000;
/// A tenant that has nothing and is to have nothing done for it.
const PAUSED: &str = "apiVersion: vaultctl.dev/v1
kind: Tenant
metadata: { name: paused }
spec: { class: small, reconcile: Paused }
";
/// Passes that are counted.
const PASSES: u64 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_over_1000_tenants_with_nothing_to_do_makes_one_read() -> anyhow::Result<()> {
    let options = WorldOptions { interval: SLOW, ..WorldOptions::default() };
    let world = World::start(options).await?;
    world.write_manifest("fleet.yaml", fleet())?;
    world.all_ready(TENANTS).await?;
    // Read before the moment that counts, because it is a call itself.
    let lists = world.lists().await?;
    assert_eq!(
        (lists.apps.len(), lists.machines.len(), lists.volumes.len()),
        (1_000, 1_000, 1_000)
    );

    // One that never becomes Ready costs the others nothing.
    world.write_manifest("paused.yaml", PAUSED)?;
    world
        .status_where("the paused tenant is known", |status| {
            status["tenants"] == json!({ "total": TENANTS + 1, "ready": TENANTS })
        })
        .await?;
    world
        .status_where("passes ask for changes only", |status| status["lastPass"]["reads"] == 1)
        .await?;
    let database = world.database()?;
    let before = Moment::right_after_a_pass(&world, &database, 0).await?;
    let after = Moment::right_after_a_pass(&world, &database, before.passes + PASSES).await?;
    let passes = usize::try_from(after.passes - before.passes)?;
    let Count { reads, writes } = after.calls - before.calls;
    // One of twelve passes looks whole, and makes three.
    assert!((passes..=passes + 2).contains(&reads), "{reads} reads in {passes} passes");
    assert_eq!(writes, 0);
    assert_eq!(after.resource_version, before.resource_version);
    assert_eq!(after.data_version, before.data_version, "the database was written");
    let pass = &world.status().await?["lastPass"];
    assert_eq!((&pass["writes"], &pass["actions"]), (&0.into(), &0.into()));
    world.finish().await
}

/// What is counted, at a moment when no pass runs.
struct Moment {
    passes: u64,
    calls: Count,
    resource_version: serde_json::Value,
    data_version: i64,
}

impl Moment {
    /// The moment after a pass has ended, which at this interval is far from the next one.
    async fn right_after_a_pass(
        world: &World,
        database: &Connection,
        at_least: u64,
    ) -> anyhow::Result<Self> {
        let count = |status: &serde_json::Value| status["passes"].as_u64().unwrap_or(0);
        loop {
            let last = count(&world.status().await?);
            let ended = world
                .status_where("a pass ends", |status| count(status) > last.max(at_least))
                .await?;
            let calls = world.calls().count();
            let tenants = world.client()?.get(vault_tests::client::TENANTS).await?.expect(200);
            let data_version = data_version(database)?;
            // Another pass that began or ended meanwhile would blur the counts: once more then.
            if count(&world.status().await?) == count(&ended) && world.calls().count() == calls {
                return Ok(Self {
                    passes: count(&ended),
                    calls,
                    resource_version: tenants["metadata"]["resourceVersion"].clone(),
                    data_version,
                });
            }
        }
    }
}

/// Changes with each commit of another connection.
fn data_version(database: &Connection) -> anyhow::Result<i64> {
    Ok(database.pragma_query_value(None, "data_version", |row| row.get(0))?)
}

/// A class and its tenants, in one file.
fn fleet() -> String {
    let mut text = "apiVersion: vaultctl.dev/v1
kind: TenantClass
metadata: { name: small }
spec:
  machines:
    - name: box
      region: ord
      config:
        image: debian:bookworm-slim
        mounts: [{ volume: data, path: /data }]
  volumes: [{ name: data, sizeGb: 1 }]
"
    .to_owned();
    for number in 0..TENANTS {
        write!(
            text,
            "---\napiVersion: vaultctl.dev/v1\nkind: Tenant\nmetadata: {{ name: t{number:04} }}\n\
             spec: {{ class: small }}\n"
        )
        .expect("a text takes all");
    }
    text
}
