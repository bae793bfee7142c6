//! A first convergence, with the controller killed after every answer of the platform.

use futures_util::{StreamExt, TryStreamExt, stream};
use vault_tests::world::controller::{Crash, Moment};

use super::fleet::{THREE, Whole, journaled, made_once, prepare, settled};
use super::{SIDE_BY_SIDE, all, chosen};
use crate::support::say;

/// In CI every third answer; one of these moments each, in turn.
const STEP: usize = 3;
/// The moments of an answer, as they follow each other.
pub(super) const MOMENTS: [Moment; 3] = [Moment::Answered, Moment::Delivered, Moment::Requested];

/// The crashes to try after `last` answers at most, each relative to a start.
pub(super) fn crashes(last: u64, step: usize) -> Vec<Crash> {
    let numbers = chosen(last, step).into_iter();
    match all() {
        true => {
            numbers.flat_map(|answers| MOMENTS.map(|moment| Crash { answers, moment })).collect()
        }
        false => numbers
            .zip(MOMENTS.into_iter().cycle())
            .map(|(answers, moment)| Crash { answers, moment })
            .collect(),
    }
}

/// How many answers a phase has in which nothing goes wrong: up to its last write, and the pass
/// behind it, which reads three lists and finds that all is well.
pub(super) fn answers_of(world: &vault_tests::world::World, since: u64) -> anyhow::Result<u64> {
    let last = world.proxy()?.writes().last().map_or(0, |write| write.answer);
    Ok(last.saturating_sub(since) + 3)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_every_answer_of_a_first_convergence() -> anyhow::Result<()> {
    let mut world = prepare(None, &THREE).await?;
    world.start_controller().await?;
    settled(&world, THREE.len()).await?;
    made_once(&world).await?;
    let (reference, last) = (Whole::read(&world).await?, answers_of(&world, 0)?);
    let machines: u32 = THREE.iter().map(|tenant| tenant.machines).sum();
    assert_eq!(reference.inventory.machines.len(), usize::try_from(machines)?, "{reference:#?}");
    assert_eq!(reference.inventory.apps.len(), THREE.len(), "{reference:#?}");
    let key = std::fs::read(world.path("controller/master.key"))?;
    world.finish().await?;

    let crashes = crashes(last, STEP);
    let (total, reference, key) = (crashes.len(), &reference, &key);
    let runs = stream::iter(crashes).map(|crash| async move {
        let outcome = killed(crash, reference, key.clone()).await;
        outcome.map_err(|error| error.context(format!("{crash:?}")))
    });
    let () = runs.buffer_unordered(SIDE_BY_SIDE).try_collect().await?;
    say(&format!("a first convergence has {last} answers: {total} kills"));
    Ok(())
}

async fn killed(crash: Crash, reference: &Whole, key: Vec<u8>) -> anyhow::Result<()> {
    let mut world = prepare(Some(key), &THREE).await?;
    world.spawn_controller(Some(crash))?;
    world.crashed().await?;
    world.database_is_whole()?;
    world.start_controller().await?;
    settled(&world, THREE.len()).await?;
    made_once(&world).await?;
    journaled(&world)?;
    assert_eq!(Whole::read(&world).await?, *reference, "{crash:?}");
    world.kill_controller();
    world.database_is_whole()?;
    world.finish().await
}
