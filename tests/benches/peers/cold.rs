//! A thousand tenants from nothing, as far from the platform as the real one is.

use std::time::Duration;

use serde_json::json;
use vault_tests::world::{World, WorldOptions};

use crate::Settings;
use crate::calls::{Minimum, Tally};
use crate::fleet::{Fleet, now};
use crate::measure::{Figures, cpu_ms};

const TENANTS: usize = 1_000;
const ROUNDS: usize = 3;
/// To every answer of the platform.
const LATENCY: Duration = Duration::from_millis(100);
/// From `starting` to `started`.
const BOOT: Duration = Duration::from_secs(1);
/// Calls in a tenant's chain that wait for each other: sweep, app, secret, volume, machine, sweep.
const CHAIN_CALLS: u32 = 6;
/// What the goal allows at once, which is what this controller does: see `execute.rs`.
const IN_FLIGHT: [f64; 1] = [64.0];

/// Prints the figures.
pub(crate) async fn run(settings: Settings) -> anyhow::Result<()> {
    let tenants = settings.size(TENANTS);
    println!("## cold: {tenants} tenants, {LATENCY:?} to every answer, rate limits, boot {BOOT:?}");
    let mut took = Figures::default();
    let mut used = Figures::default();
    let mut calls = 0;
    for _ in 0..ROUNDS {
        let options = WorldOptions {
            interval: Duration::from_secs(10),
            rate_limits: true,
            boot_delay: BOOT,
            ..WorldOptions::default()
        };
        let mut world = World::with_platform(options).await?;
        let delay = format!("{}ms", LATENCY.as_millis());
        world.set_faults(json!([{ "kind": "latency", "delay": delay }])).await?;
        world.start_controller().await?;
        let fleet = Fleet { world, tenants };
        fleet.until("a first pass", |status| status["passes"].as_u64() > Some(0)).await?;
        let (seen, before) = (fleet.seen(), cpu_ms(fleet.world.controller_id()?)?);
        let began = now();
        fleet.write(settings)?;
        fleet.ready().await?;
        took.add(began.elapsed().as_secs_f64());
        used.add((cpu_ms(fleet.world.controller_id()?)? - before) as f64);
        let tally = Tally::of(&fleet.world.calls().since(seen));
        let minimum = Minimum {
            writes: 4 * tenants,
            sweeps: vec![0, tenants],
            changes: 0,
            formula: format!("{tenants} x (create app, set secret, create volume, create machine)"),
        };
        calls = tally.beside_sweeps();
        tally.print("calls", &minimum);
        fleet.world.finish().await?;
    }
    println!("from the manifests to all Ready, s: {took:.2}; CPU ms {used:.0}");
    let chain = (LATENCY * CHAIN_CALLS + BOOT).as_secs_f64();
    for in_flight in IN_FLIGHT {
        let calls = calls as f64 * LATENCY.as_secs_f64() / in_flight;
        let floor = calls.max(chain);
        println!(
            "  max(calls x RTT / {in_flight} = {calls:.2} s, chain + boot = {chain:.2} s): {:.2} times",
            took.median() / floor
        );
    }
    Ok(())
}
