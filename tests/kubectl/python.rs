//! The package `kubernetes` from PyPI: its dynamic client lists, creates, patches, watches, deletes.

use tokio::process::Command;
use vault_tests::program;
use vault_tests::world::{World, WorldOptions};

use crate::clients::{python, skipped};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dynamic_client_of_python_works() -> anyhow::Result<()> {
    let Some(python) = python() else {
        skipped("the dynamic client of Python: .ci/install-clients installs it");
        return Ok(());
    };
    let world = World::start(WorldOptions::default()).await?;
    let mut command = Command::new(python);
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/kubectl/dynamic_client.py"))
        .arg(world.path("controller/kubeconfig"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let output = program::run(&mut command).await?.expect(0);
    assert_eq!(output.stdout.lines().last(), Some("all steps done"), "{output}");
    assert_eq!(world.lists().await?.machines.len(), 0, "the tenant was deleted");
    world.finish().await
}
