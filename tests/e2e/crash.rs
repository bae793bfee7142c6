//! The controller killed at every answer of the platform, and started again.

use std::fmt::Write;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use vault_tests::eventually::eventually;
use vault_tests::inventory::Inventory;
use vault_tests::world::controller::{Crash, Moment};
use vault_tests::world::{World, WorldOptions};
use vault_tests::{manifests, processes};

use crate::support::say;

/// Worlds at once: they wait more than they work.
const SIDE_BY_SIDE: usize = 4;
const TENANTS: [&str; 3] = ["alpha", "beta", "gamma"];

/// What a first convergence without a crash makes, and after how many answers.
struct Reference {
    inventory: Inventory,
    answers: u64,
    master_key: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    crash: Crash,
    keeps_database: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_every_answer_it_makes_the_same_things_once() -> anyhow::Result<()> {
    let reference = reference(false).await?;
    let numbers: Vec<u64> = (1..=reference.answers).collect();
    all(&reference, &numbers, false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_every_tenth_answer_each_machine_has_one_process() -> anyhow::Result<()> {
    let reference = reference(true).await?;
    let numbers: Vec<u64> = (10..=reference.answers).step_by(10).collect();
    assert!(!numbers.is_empty(), "only {} answers", reference.answers);
    all(&reference, &numbers, true).await
}

fn options(processes: bool, master_key: Option<Vec<u8>>) -> WorldOptions {
    WorldOptions {
        processes,
        interval: Duration::from_millis(100),
        master_key,
        ..WorldOptions::default()
    }
}

async fn prepare(options: WorldOptions) -> anyhow::Result<World> {
    let world = World::with_platform(options).await?;
    for tenant in TENANTS {
        world.write_manifest(&format!("{tenant}.yaml"), manifests::idle(tenant))?;
    }
    Ok(world)
}

async fn reference(processes: bool) -> anyhow::Result<Reference> {
    let mut world = prepare(options(processes, None)).await?;
    world.start_controller().await?;
    eventually("all are Ready", async || {
        let status = world.status().await.map_err(|error| format!("{error:#}"))?;
        (status["tenants"]["ready"] == TENANTS.len())
            .then_some(())
            .ok_or_else(|| format!("{status:#}"))
    })
    .await?;
    let calls = world.calls().all();
    let last_write = calls.iter().rposition(|call| call.method != "GET").unwrap_or(0);
    // The pass that sees that all is well reads the three lists; what follows is more of the same.
    let answers = u64::try_from(last_write + 1 + 3)?;
    let inventory = world.lists().await?.inventory();
    assert_eq!(inventory.apps.len(), TENANTS.len(), "{inventory:#?}");
    assert_eq!(inventory.machines.len(), TENANTS.len(), "{inventory:#?}");
    assert_eq!(inventory.volumes.len(), TENANTS.len(), "{inventory:#?}");
    let master_key = std::fs::read(world.path("controller/master.key"))?;
    world.finish().await?;
    Ok(Reference { inventory, answers, master_key })
}

/// Both moments of each number, with the database kept and removed.
async fn all(reference: &Reference, numbers: &[u64], processes: bool) -> anyhow::Result<()> {
    let mut runs = Vec::new();
    for &answers in numbers {
        for moment in [Moment::Answered, Moment::Requested] {
            for keeps_database in [true, false] {
                runs.push(Run { crash: Crash { answers, moment }, keeps_database });
            }
        }
    }
    let total = runs.len();
    // The processes of two worlds could not be told apart by their tenants' names.
    let side_by_side = if processes { 1 } else { SIDE_BY_SIDE };
    let outcomes = stream::iter(runs).map(|run| async move {
        let outcome = crash(run, reference, processes).await;
        outcome.map_err(|error| error.context(format!("{run:?}")))
    });
    let outcomes: Vec<anyhow::Result<()>> = outcomes.buffer_unordered(side_by_side).collect().await;
    let mut failures = String::new();
    for error in outcomes.into_iter().filter_map(Result::err) {
        writeln!(failures, "{error:#}")?;
    }
    let kind = if processes { "processes" } else { "no processes" };
    say(&format!("killed after answer n = {numbers:?}: {total} restarts ({kind})"));
    assert!(failures.is_empty(), "{failures}");
    Ok(())
}

async fn crash(run: Run, reference: &Reference, processes: bool) -> anyhow::Result<()> {
    let mut world = prepare(options(processes, Some(reference.master_key.clone()))).await?;
    world.spawn_controller(Some(run.crash))?;
    world.crashed().await?;
    if !run.keeps_database {
        world.remove_database()?;
    }
    world.start_controller().await?;
    world.all_ready(TENANTS.len()).await?;
    eventually("the journal is settled", async || match world.open_intents() {
        Ok(0) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    let deleted: Vec<_> =
        world.calls().all().into_iter().filter(|call| call.method == "DELETE").collect();
    // What was made twice and then tidied up was made twice all the same.
    assert!(deleted.is_empty(), "{run:?}: {deleted:#?}");
    let lists = world.lists().await?;
    assert_eq!(lists.inventory(), reference.inventory, "{run:?}");
    if processes {
        for tenant in TENANTS {
            // A machine counts as started when its process is there; its program comes a moment later.
            eventually(&format!("{run:?}: one process of {tenant}"), async || {
                let running = processes::with_argument(&manifests::marker(tenant));
                let running = running.map_err(|error| format!("{error:#}"))?;
                if running.len() == 1 { Ok(()) } else { Err(format!("{running:?}")) }
            })
            .await?;
        }
    }
    world.finish().await
}
