//! What a machine does to its files stays in the machine.

use std::fs;

use vault_tests::eventually::eventually;
use vault_tests::manifests;
use vault_tests::world::World;

use crate::support;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rm_in_a_machine_leaves_the_host_and_a_sibling_intact() -> anyhow::Result<()> {
    let world = World::start(support::processes()).await?;
    if !support::is_isolated(&world, "rm -rf in a machine leaves the host intact")? {
        return world.finish().await;
    }
    // Machines see their host's /var/tmp, but have a /tmp of their own.
    let scratch = tempfile::Builder::new().prefix("vault-scratch-").tempdir_in("/var/tmp")?;
    let folder = scratch.path().to_str().expect("a path in ASCII");
    fs::create_dir(scratch.path().join("deep"))?;
    fs::write(scratch.path().join("deep/file"), "of the host")?;

    // The sibling looks all the time and writes down what it sees.
    let sibling = format!(
        "while :; do cat {folder}/deep/file > /data/next && mv /data/next /data/seen; date +%s%N > /data/at; sleep 0.1; done"
    );
    world.write_manifest("sibling.yaml", manifests::tenant("sibling", &sibling))?;
    world.all_ready(1).await?;
    let volume = world.lists().await?.volume_ids().remove(0);
    let of_sibling = |file: &str| world.path(&format!("platform/volumes/{volume}/{file}"));
    sees(&of_sibling("seen"), "of the host").await?;

    let vandal = format!(
        "cat {folder}/deep/file > /data/before
rm -rf {folder}/deep {folder}/* && [ ! -e {folder}/deep/file ] && echo gone > /data/after
while :; do sleep 1000; done"
    );
    world.write_manifest("vandal.yaml", manifests::tenant("vandal", &vandal))?;
    world.all_ready(2).await?;
    let other = world.lists().await?.volume_ids().into_iter().find(|id| *id != volume);
    let of_vandal = |file: &str| {
        world.path(&format!("platform/volumes/{}/{file}", other.as_deref().unwrap_or_default()))
    };
    sees(&of_vandal("after"), "gone\n").await?;
    assert_eq!(fs::read_to_string(of_vandal("before"))?, "of the host", "it saw the folder");

    assert_eq!(fs::read_to_string(scratch.path().join("deep/file"))?, "of the host");
    // What the sibling sees from now on, not what it saw before.
    fs::remove_file(of_sibling("seen"))?;
    sees(&of_sibling("seen"), "of the host").await?;
    world.finish().await?;
    Ok(scratch.close()?)
}

async fn sees(file: &std::path::Path, text: &str) -> anyhow::Result<()> {
    eventually(&format!("{} says {text:?}", file.display()), async || {
        match fs::read_to_string(file) {
            Ok(found) if found == text => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}
