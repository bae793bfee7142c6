//! The calls that stop and delete what runs, beside the least: leases are taken for both.

use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};
use vault_tests::eventually::within;
use vault_tests::inventory::Lists;
use vault_tests::world::{World, WorldOptions};

use crate::Settings;
use crate::calls::{Minimum, Tally};
use crate::fleet::{CLASS_FILE, Fleet, LAST_FILE, body, class};

const TENANTS: usize = 1_000;
const INTERVAL: Duration = Duration::from_secs(1);
const WITHIN: Duration = Duration::from_secs(600);

/// Prints the figures.
pub(crate) async fn run(settings: Settings) -> anyhow::Result<()> {
    ensure!(!settings.own, "this part changes a class: it has no form with --own");
    let tenants = settings.size(TENANTS);
    println!(
        "## down: {tenants} tenants with a machine and a volume each are stopped, then deleted"
    );
    let options = WorldOptions {
        interval: INTERVAL,
        prune: true,
        arguments: vec!["--allow-mass-delete".to_owned()],
        ..WorldOptions::default()
    };
    let world = World::start(options).await?;
    let fleet = Fleet { world, tenants };
    fleet.write(settings)?;
    fleet.ready().await?;
    stop(&fleet).await?;
    delete(&fleet).await?;
    fleet.world.finish().await
}

/// The calls from the class that says so to all machines stopped.
async fn stop(fleet: &Fleet) -> anyhow::Result<()> {
    let seen = fleet.seen();
    let mut stopped = body();
    stopped["machines"][0]["state"] = json!("Stopped");
    fleet.world.write_manifest(CLASS_FILE, class(stopped))?;
    within(WITHIN, "all are stopped and Ready", async || {
        let (lists, status) = look(fleet).await.map_err(|error| format!("{error:#}"))?;
        let up = lists.machines.iter().filter(|machine| machine["state"] != "stopped").count();
        let all = json!({ "total": fleet.tenants, "ready": fleet.tenants });
        match up == 0 && status["tenants"] == all && status["lastPass"]["actions"] == 0 {
            true => Ok(()),
            false => Err(format!("{up} machines are not stopped: {status:#}")),
        }
    })
    .await?;
    let minimum = Minimum {
        writes: 3 * fleet.tenants,
        sweeps: vec![fleet.tenants; 2],
        changes: 0,
        formula: format!("{} x (take lease, stop machine, end lease)", fleet.tenants),
    };
    Tally::of(&fleet.world.calls().since(seen)).print("calls of stopping all", &minimum);
    Ok(())
}

/// The calls from manifests that are gone to tenants that are gone; their volumes are kept.
async fn delete(fleet: &Fleet) -> anyhow::Result<()> {
    let seen = fleet.seen();
    fleet.world.remove_manifest(LAST_FILE)?;
    within(WITHIN, "all are gone", async || {
        let (lists, status) = look(fleet).await.map_err(|error| format!("{error:#}"))?;
        match lists.machines.is_empty() && status["tenants"]["total"] == 0 {
            true => Ok(()),
            false => Err(format!("{} machines: {status:#}", lists.machines.len())),
        }
    })
    .await?;
    let volumes = fleet.world.lists().await?.volumes.len();
    ensure!(volumes == fleet.tenants, "{volumes} volumes are left of {}", fleet.tenants);
    let minimum = Minimum {
        writes: 2 * fleet.tenants,
        sweeps: vec![fleet.tenants; 2],
        changes: 0,
        formula: format!("{} x (take lease, destroy machine)", fleet.tenants),
    };
    Tally::of(&fleet.world.calls().since(seen)).print("calls of deleting all", &minimum);
    println!("  a lease goes with its machine; {volumes} volumes are kept, as the policy says");
    Ok(())
}

/// What the platform has, and what the controller says of it.
async fn look(fleet: &Fleet) -> anyhow::Result<(Lists, Value)> {
    Ok((fleet.world.lists().await?, fleet.world.status().await?))
}
