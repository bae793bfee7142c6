//! What the agent of a machine wrote down, fetched and followed: `vaultctl audit-log TENANT`.

use serde_json::Value;
use vault_tests::manifests;
use vault_tests::world::World;

use crate::support;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_in_a_machine_is_told_and_what_was_changed_is_found() -> anyhow::Result<()> {
    let world = World::start(support::processes()).await?;
    if !support::is_isolated(&world, "a machine keeps its audit log on its volume")? {
        return world.finish().await;
    }
    world.write_manifest("acme.yaml", manifests::agent_with_volume("acme"))?;
    world.write_manifest("bare.yaml", manifests::agent("bare", 1))?;
    world.all_ready(2).await?;
    drop(world.vaultctl(&["exec", "acme", "--", "sh", "-c", "exit 7 # hidden"]).await?.expect(7));
    let table = world.vaultctl(&["audit-log", "acme", "--since", "1h"]).await?.expect(0);
    let row = |event: &str| table.stdout.lines().find(|line| line.contains(event));
    assert!(
        row("CommandEnded")
            .is_some_and(|row| row.contains("sh, process") && row.contains("code 7")),
        "{table}"
    );
    assert!(
        row("CommandStarted").is_some_and(|row| row.contains("sh with 2 arguments")),
        "{table}"
    );
    assert!(!table.stdout.contains("hidden"), "{table}");
    let (_, earlier) = table.stderr.trim_end().rsplit_once("--earlier ").expect("the head");
    let listed = world.vaultctl(&["audit-log", "acme", "-o", "json"]).await?.expect(0);
    let listed: Vec<Value> = serde_json::from_str(&listed.stdout)?;
    assert_eq!((&listed[0]["event"], &listed[0]["sequence"]), (&"AgentStarted".into(), &1.into()));
    drop(world.vaultctl(&["audit-log", "acme", "--earlier", earlier]).await?.expect(0));
    let other = earlier.replace(|digit: char| digit.is_ascii_hexdigit(), "0");
    drop(
        world.vaultctl(&["audit-log", "acme", "--earlier", &format!("2{other}")]).await?.expect(3),
    );

    // Root in the machine changes a record.
    let forge = "sed -i 's/code\":7/code\":0/' /data/audit/*.jsonl";
    drop(world.vaultctl(&["exec", "acme", "--", "sh", "-c", forge]).await?.expect(0));
    let found = world.vaultctl(&["audit-log", "acme"]).await?.expect(3);
    assert!(found.stderr.contains("the audit log of acme was changed"), "{found}");
    assert!(found.stdout.contains("CommandStarted"), "what stands before it is shown: {found}");

    let none = world.vaultctl(&["audit-log", "bare"]).await?.expect(6);
    assert!(none.stderr.contains("the machine has no audit log"), "{none}");
    world.finish().await
}
