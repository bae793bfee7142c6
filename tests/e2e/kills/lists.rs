//! Lists that do not show what is there, for as many passes as five minutes have by default.

use serde_json::json;
use vault_tests::world::World;

use super::fleet::{THREE, Whole, prepare, settled};
use crate::support::passes;

/// Five minutes at the default interval of ten seconds; a controller that starts again in between
/// sees half of them each.
const PASSES: u64 = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_lists_for_five_minutes() -> anyhow::Result<()> {
    let mut world = prepare(None, &THREE).await?;
    world.start_controller().await?;
    settled(&world, THREE.len()).await?;
    let (whole, ids) = (Whole::read(&world).await?, world.lists().await?.machine_ids());
    let writes = world.proxy()?.writes();

    for faults in [
        json!([{ "kind": "empty-list" }]),
        json!([{ "kind": "partial-list", "regions": ["ord"] }]),
        // Both by turns, and good lists between them: nothing is believed because it changed.
        json!([
            { "kind": "empty-list", "probability": 0.4, "seed": 1 },
            { "kind": "partial-list", "regions": ["ord"], "probability": 0.4, "seed": 2 },
        ]),
    ] {
        world.set_faults(faults.clone()).await?;
        passes(&world, PASSES / 2).await?;
        world.restart_controller().await?;
        passes(&world, PASSES / 2).await?;
        met(&world, PASSES / 2).await?;
        let written = &world.proxy()?.writes()[writes.len()..];
        assert!(written.is_empty(), "under {faults}: {written:#?}");
    }
    world.end_faults().await?;
    settled(&world, THREE.len()).await?;
    assert_eq!(world.proxy()?.writes(), writes, "nothing was written afterwards either");
    assert_eq!(Whole::read(&world).await?, whole);
    assert_eq!(world.lists().await?.machine_ids(), ids);
    world.finish().await
}

/// The faults happened: in half of the passes at least, by three lists each.
async fn met(world: &World, at_least: u64) -> anyhow::Result<()> {
    let fired: u64 = world.fired().await?.iter().sum();
    assert!(fired >= at_least, "the lists were wrong {fired} times only");
    Ok(())
}
