//! The package `kubernetes` from PyPI: its dynamic client lists, creates, patches, watches, deletes.

use tokio::process::Command;
use vault_tests::program;
use vault_tests::world::{World, WorldOptions};

use crate::clients::{python_packages, skipped};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dynamic_client_of_python_works() -> anyhow::Result<()> {
    let packages = python_packages();
    if !packages.join("kubernetes").is_dir() {
        skipped("the dynamic client of Python: run .ci/install-clients");
        return Ok(());
    }
    let world = World::start(WorldOptions::default()).await?;
    let mut command = Command::new("python3");
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/kubectl/dynamic_client.py"))
        .arg(world.path("controller/kubeconfig"))
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let output = program::run(&mut command).await?.expect(0);
    assert_eq!(output.stdout.lines().last(), Some("all steps done"), "{output}");
    assert_eq!(world.lists().await?.machines.len(), 0, "the tenant was deleted");
    world.finish().await
}
