//! Answers of writes that are lost: the platform acts, and the controller does not hear of it.

use futures_util::{StreamExt, TryStreamExt, stream};
use vault_tests::eventually::eventually;

use super::fleet::{Form, Tenant, Whole, made_once, prepare, settled};
use super::{SIDE_BY_SIDE, chosen};
use crate::support::say;

/// In CI the answer of every seventh write.
const STEP: usize = 7;
/// Of so many numbers one also loses the database.
const REMOVED_EVERY: u64 = 3;

const NAMES: [&str; 12] = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa",
    "lambda", "mu",
];

/// Twelve tenants: four of each form, of which the last form shares one app.
fn twelve() -> Vec<Tenant<'static>> {
    let forms = [Form::Volume, Form::Plain, Form::Shared].into_iter().cycle();
    let tenants = NAMES.into_iter().zip(forms).map(|(name, form)| {
        let machines = if form == Form::Plain { 2 } else { 1 };
        Tenant { name, form, machines, image: 1, secret: form == Form::Shared }
    });
    tenants.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answer_of_each_write_dropped() -> anyhow::Result<()> {
    let mut world = prepare(None, &twelve()).await?;
    world.start_controller().await?;
    settled(&world, NAMES.len()).await?;
    made_once(&world).await?;
    let (reference, writes) = (Whole::read(&world).await?, world.proxy()?.writes().len());
    assert_eq!(reference.inventory.machines.len(), 16, "{reference:#?}");
    assert_eq!(reference.inventory.volumes.len(), 4, "{reference:#?}");
    assert_eq!(reference.inventory.apps.len(), 9, "{reference:#?}");
    let key = std::fs::read(world.path("controller/master.key"))?;
    world.finish().await?;

    let numbers = chosen(u64::try_from(writes)?, STEP);
    let (total, reference, key) = (numbers.len(), &reference, &key);
    let runs = stream::iter(numbers).map(|number| async move {
        let outcome = dropped(number, reference, key.clone()).await;
        outcome.map_err(|error| error.context(format!("the answer of write {number} was lost")))
    });
    let () = runs.buffer_unordered(SIDE_BY_SIDE).try_collect().await?;
    say(&format!("twelve tenants take {writes} writes: the answers of {total} were lost"));
    Ok(())
}

async fn dropped(number: u64, reference: &Whole, key: Vec<u8>) -> anyhow::Result<()> {
    let mut world = prepare(Some(key), &twelve()).await?;
    world.proxy()?.lose_write(usize::try_from(number)?);
    world.start_controller().await?;
    let lost = eventually("the answer is lost", async || {
        let proxy = world.proxy().map_err(|error| format!("{error:#}"))?;
        proxy.lost().ok_or_else(|| format!("{:#?}", proxy.writes()))
    })
    .await?;
    if number.is_multiple_of(REMOVED_EVERY) {
        world.kill_controller();
        world.database_is_whole()?;
        world.remove_database()?;
        world.start_controller().await?;
    }
    settled(&world, NAMES.len()).await?;
    made_once(&world).await.map_err(|error| error.context(format!("{lost:?}")))?;
    assert_eq!(Whole::read(&world).await?, *reference, "{lost:?}");
    world.kill_controller();
    world.database_is_whole()?;
    world.finish().await
}
