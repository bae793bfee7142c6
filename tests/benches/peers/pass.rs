//! What a full sweep costs the controller, and how many calls it makes beside the least.

use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use vault_emulator::DEFAULT_ORG;

use crate::Settings;
use crate::calls::{Minimum, Tally, sweep};
use crate::fleet::Fleet;
use crate::measure::{Figures, cpu_ms, forget_peak, freeze, idle, resident_kb, thaw};

const TENANTS: usize = 10_000;
/// Sweeps whose CPU time is measured, with the passes between them: one of four plans although nothing
/// differs, and is the dearest.
const ROUNDS: usize = 8;
/// Of so many passes one sweeps while nothing moves: see the controller's `main_loop.rs`.
const SWEEP_EVERY: usize = 12;
/// How many sweeps come before the first that is measured. What was done last stands in lists of
/// changes for two minutes: see the controller's `observe/delta.rs`.
const SWEEPS_BEFORE: usize = 5;
/// How often the platform's record is looked at, which costs the controller nothing.
const WATCH: Duration = Duration::from_millis(20);
/// From one pass to the next.
const INTERVAL: Duration = Duration::from_secs(3);
/// Of so many machines one is changed behind the controller's back.
const DRIFT: usize = 100;
/// What it is changed to.
const DRIFTED_MB: u64 = 4_096;

/// Prints the figures.
pub(crate) async fn run(settings: Settings) -> anyhow::Result<()> {
    let tenants = settings.size(TENANTS);
    println!("## pass: {tenants} tenants, specs of their own: {}", settings.own);
    let fleet = Fleet::converged(tenants, settings, INTERVAL).await?;
    cold(&fleet);
    quiet(&fleet).await?;
    drift(&fleet).await?;
    fleet.world.finish().await
}

/// The calls from nothing to all Ready.
fn cold(fleet: &Fleet) {
    let tenants = fleet.tenants;
    let tally = Tally::of(&fleet.world.calls().all());
    let minimum = Minimum {
        writes: 4 * tenants + 1,
        sweeps: vec![0, tenants],
        changes: 0,
        formula: format!(
            "{tenants} x (create app, set secret, create volume, create machine) + the token once"
        ),
    };
    tally.print("calls of cold convergence", &minimum);
}

/// CPU time and calls of passes with nothing to do.
async fn quiet(fleet: &Fleet) -> anyhow::Result<()> {
    let id = fleet.world.controller_id()?;
    let mut seen = fleet.seen();
    // The first ones after so much work tidy up, and lists of changes still tell of the work.
    for _ in 0..SWEEPS_BEFORE {
        seen = fleet.next_sweep(seen).await?;
    }
    idle(id).await?;
    forget_peak(id)?;
    let first = fleet.seen();
    let (mut between, mut sweeps) = (Figures::default(), Figures::default());
    for _ in 0..ROUNDS {
        let before = cpu_ms(id)?;
        let lists = fleet.seen() + SWEEP_EVERY - 1;
        while fleet.seen() < lists {
            tokio::time::sleep(WATCH).await;
        }
        idle(id).await?;
        let rested = cpu_ms(id)?;
        between.add((rested - before) as f64 / (SWEEP_EVERY - 1) as f64);
        fleet.next_sweep(lists).await?;
        idle(id).await?;
        sweeps.add((cpu_ms(id)? - rested) as f64);
    }
    let (resident, most) = resident_kb(id)?;
    println!("a full sweep with nothing to do, CPU ms: {sweeps}; {} calls", sweep(fleet.tenants));
    println!("  the most are those that plan, one of four");
    println!("a pass in between, CPU ms: {between:.1}; 1 call");
    println!("  resident {resident} kB, at most {most} kB");
    let tally = Tally::of(&fleet.world.calls().since(first));
    let changes = ROUNDS * (SWEEP_EVERY - 1);
    let sweeps = vec![fleet.tenants; ROUNDS];
    let minimum = Minimum { writes: 0, sweeps, changes, formula: "nothing".to_owned() };
    let passes = ROUNDS + changes;
    tally.print(&format!("calls of {passes} passes with nothing to do"), &minimum);
    Ok(())
}

/// The calls that put 1 % of the machines right.
async fn drift(fleet: &Fleet) -> anyhow::Result<()> {
    let id = fleet.world.controller_id()?;
    idle(id).await?;
    freeze(id)?;
    let changed = change(fleet).await?;
    let passes = |status: &Value| status["passes"].as_u64().unwrap_or(0);
    let seen = fleet.seen();
    thaw(id)?;
    let first = passes(&fleet.world.status().await?);
    fleet
        .until("the drift is put right", |status| {
            let quiet = status["lastPass"]["actions"] == 0;
            let acted = fleet.world.calls().since(seen).iter().any(|one| one.method != "GET");
            let all = json!({ "total": fleet.tenants, "ready": fleet.tenants });
            acted && quiet && passes(status) > first && status["tenants"] == all
        })
        .await?;
    let tally = Tally::of(&fleet.world.calls().since(seen));
    let minimum = Minimum {
        writes: changed,
        sweeps: vec![fleet.tenants; 2],
        changes: 1,
        formula: format!("{changed} x update machine, with its version"),
    };
    tally.print("calls from drift in 1 % of the machines to all Ready", &minimum);
    println!("  the sweeps are the one that sees it and the one that sees it gone");
    Ok(())
}

/// Changes the memory of one machine in a hundred; how many that were.
async fn change(fleet: &Fleet) -> anyhow::Result<usize> {
    let world = &fleet.world;
    let mut changed = 0;
    let list = format!("/v1/orgs/{DEFAULT_ORG}/machines");
    // The first page is enough: it has a tenth of them at least.
    let page = world.platform_call(Method::GET, &list, None).await?;
    let rows = page.body["machines"].as_array().context("a list of machines")?;
    for row in rows.iter().take(fleet.tenants / DRIFT) {
        let text = |member: &str| row[member].as_str().with_context(|| format!("a {member}"));
        let path = format!("/v1/apps/{}/machines/{}", text("app_name")?, text("id")?);
        let mut machine = world.platform_call(Method::GET, &path, None).await?.body;
        let mut config = machine["config"].take();
        config["guest"]["memory_mb"] = DRIFTED_MB.into();
        let update = json!({ "config": config });
        let answer = world.platform_call(Method::POST, &path, Some(&update)).await?;
        ensure!(answer.status == 200, "{:#}", answer.body);
        changed += 1;
    }
    Ok(changed)
}
