//! A thousand tenants from nothing, with the controller killed every hundred answers.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;
use vault_tests::world::controller::{Crash, Moment};
use vault_tests::world::{World, WorldOptions};

use crate::Settings;
use crate::calls::{Minimum, Tally};
use crate::fleet::{Fleet, now};

const TENANTS: usize = 1_000;
/// Answers of one life of the controller.
const LIFE: u64 = 100;
/// To every answer of the platform.
const LATENCY: Duration = Duration::from_millis(100);
/// From `starting` to `started`.
const BOOT: Duration = Duration::from_secs(1);
/// More lives than this mean that it does not get on.
const LIVES_MAX: u64 = 1_000;
/// Where a life ends, in turn: what is done and told, done and not told, asked and not done.
const MOMENTS: [Moment; 2] = [Moment::Answered, Moment::Requested];

/// Prints the figures.
///
/// # Errors
/// If anything is there twice, or leaks.
pub(crate) async fn run(settings: Settings) -> anyhow::Result<()> {
    let tenants = settings.size(TENANTS);
    println!(
        "## kills: {tenants} tenants, {LATENCY:?} to every answer, SIGKILL every {LIFE} answers"
    );
    let options = WorldOptions {
        interval: Duration::from_secs(1),
        rate_limits: true,
        boot_delay: BOOT,
        ..WorldOptions::default()
    };
    let world = World::with_platform(options).await?;
    let delay = format!("{}ms", LATENCY.as_millis());
    world.set_faults(json!([{ "kind": "latency", "delay": delay }])).await?;
    let mut fleet = Fleet { world, tenants };
    fleet.write(settings)?;
    let began = now();
    let mut lives = 0;
    while fleet.world.lists().await?.machines.len() < tenants {
        let moment = MOMENTS[usize::try_from(lives)? % MOMENTS.len()];
        let crash = Crash { answers: fleet.world.calls().answers() + LIFE, moment };
        fleet.world.spawn_controller(Some(crash))?;
        fleet.world.crashed().await.with_context(|| format!("in life {lives}"))?;
        fleet.world.database_is_whole()?;
        lives += 1;
        ensure!(lives < LIVES_MAX, "still not all there after {lives} lives");
    }
    fleet.world.start_controller().await?;
    fleet.ready().await?;
    let took = began.elapsed();
    println!("all Ready after {lives} kills and {took:.1?}; every database was whole");
    let minimum = Minimum {
        writes: 4 * tenants,
        sweeps: vec![0, tenants],
        changes: 0,
        formula: format!("{tenants} x (create app, set secret, create volume, create machine)"),
    };
    Tally::of(&fleet.world.calls().all()).print("calls of all lives", &minimum);
    leaks(&fleet).await?;
    fleet.world.finish().await
}

/// Prints what is there and ever was beside what is wanted.
async fn leaks(fleet: &Fleet) -> anyhow::Result<()> {
    let (world, wanted) = (&fleet.world, fleet.tenants);
    let lists = world.lists().await?;
    let (machines, volumes) =
        (world.machines_ever().await?.len(), world.volumes_ever().await?.len());
    let found = [
        ("apps", lists.apps.len()),
        ("machines", lists.machines.len()),
        ("volumes", lists.volumes.len()),
        ("machines that ever were", machines),
        ("volumes that ever were", volumes),
    ];
    for (what, count) in found {
        println!("  {count:7}  {what}");
    }
    for (what, count) in found {
        ensure!(count == wanted, "{count} {what}, and {wanted} are wanted");
    }
    println!("  0 leaks: {wanted} of each are wanted, and none was made twice");
    Ok(())
}
