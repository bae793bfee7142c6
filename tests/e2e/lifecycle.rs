//! `vaultctl dev`: one command brings tenants up and keeps them true.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use vault_tests::client::TENANTS;
use vault_tests::dev::{self, Dev};
use vault_tests::eventually::eventually;
use vault_tests::manifests;
use vault_tests::world::looks::holds;

use crate::support::examples;

const EXAMPLE_TENANTS: [&str; 5] = ["acme", "alice", "bob", "carol", "globex"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_become_ready_and_the_next_start_goes_on() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data_dir = folder.path().join("data");
    let first = dev::once(&examples(), &data_dir, &[]).await?.expect(0);
    for tenant in EXAMPLE_TENANTS {
        assert!(first.stdout.contains(&format!("{tenant}: Ready")), "{tenant}: {first}");
    }
    let before = machines(&data_dir)?;
    assert_eq!(before.keys().map(String::as_str).collect::<Vec<_>>(), EXAMPLE_TENANTS);
    assert_eq!(before["acme"].len(), 1, "{before:?}");
    assert_eq!(before["globex"].len(), 3, "{before:?}");

    let second = dev::once(&examples(), &data_dir, &[]).await?.expect(0);
    assert!(!second.stdout.contains("created"), "nothing is new: {second}");
    assert_eq!(machines(&data_dir)?, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_bad_document_the_rest_becomes_ready_and_the_code_is_10() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let manifests = folder.path().join("manifests");
    fs::create_dir(&manifests)?;
    for entry in fs::read_dir(examples())? {
        let entry = entry?;
        fs::copy(entry.path(), manifests.join(entry.file_name()))?;
    }
    let bad = manifests.join("bad.yaml");
    fs::write(&bad, manifests::idle("umbra").replace("region: ord", "regoin: ord"))?;
    let data_dir = folder.path().join("data");
    let output = dev::once(&manifests, &data_dir, &["--machines", "none"]).await?.expect(10);
    let place = format!("{}:7:7: ", bad.display());
    let line =
        output.stdout.lines().chain(output.stderr.lines()).find(|line| line.starts_with(&place));
    assert!(line.is_some_and(|line| line.contains("`region`")), "{place}: {output}");
    for tenant in EXAMPLE_TENANTS {
        assert!(output.stdout.contains(&format!("{tenant}: Ready")), "{tenant}: {output}");
    }
    assert!(!machines(&data_dir)?.contains_key("umbra"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_does_not_become_ready_in_time_ends_it_with_5() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let manifests = folder.path().join("manifests");
    fs::create_dir(&manifests)?;
    fs::write(manifests.join("slow.yaml"), manifests::idle("slow"))?;
    let more = ["--machines", "none", "--boot-delay", "1h", "--timeout", "3s"];
    let output = dev::once(&manifests, &folder.path().join("data"), &more).await?.expect(5);
    assert!(output.stdout.contains("not Ready: slow"), "{output}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_not_there_ends_it_with_2() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let nowhere = folder.path().join("nowhere");
    let output = dev::once(&nowhere, &folder.path().join("data"), &[]).await?.expect(2);
    assert!(output.stderr.contains("nowhere"), "{output}");
    assert!(!folder.path().join("data").exists(), "nothing was made");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_is_converged_without_a_restart() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let manifests = folder.path().join("manifests");
    fs::create_dir(&manifests)?;
    let file = manifests.join("acme.yaml");
    fs::write(&file, manifests::idle("acme"))?;
    let more = ["--machines", "none", "--interval", "300ms"];
    let mut dev = Dev::start(&manifests, &folder.path().join("data"), &more)?;
    dev.says("The tenant is Ready.").await?;
    let client = dev.client()?;
    let path = format!("{TENANTS}/acme");
    let before = client.get(&path).await?.expect(200);

    fs::write(&file, manifests::idle("acme").replace("memory_mb: 256", "memory_mb: 512"))?;
    let after = eventually("the edit is converged", async || {
        let answer = client.get(&path).await.map_err(|error| format!("{error:#}"))?;
        let tenant = answer.body;
        let done = tenant["status"]["observedGeneration"] == 2 && holds(&tenant, "Ready");
        if done { Ok(tenant) } else { Err(format!("{tenant:#}")) }
    })
    .await?;
    let machine = |tenant: &Value| tenant["status"]["machines"][0].clone();
    assert_eq!(machine(&after)["id"], machine(&before)["id"], "updated in place");
    assert_ne!(machine(&after)["version"], machine(&before)["version"], "{after:#}");
    assert_eq!(dev.stop().await?, Some(0));
    Ok(())
}

/// The machines' ids of each Ready tenant, from the database of a controller that has ended.
fn machines(data_dir: &Path) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(data_dir.join("controller.db"), flags)?;
    let mut question = database
        .prepare("SELECT name, status FROM object WHERE kind LIKE 'tenant' ORDER BY name")?;
    let mut rows = question.query([])?;
    let mut machines = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (name, status): (String, String) = (row.get(0)?, row.get(1)?);
        let tenant = serde_json::json!({ "status": serde_json::from_str::<Value>(&status)? });
        assert!(holds(&tenant, "Ready"), "{name}: {tenant:#}");
        let all = tenant["status"]["machines"].as_array().cloned().unwrap_or_default();
        let ids = all.iter().map(|machine| machine["id"].as_str().unwrap_or("none").to_owned());
        machines.insert(name, ids.collect());
    }
    Ok(machines)
}
