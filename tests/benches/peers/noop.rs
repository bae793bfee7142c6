//! A pass with nothing to do, beside a resync of a kube-rs controller that compares the same.
//!
//! All have one platform, and the kube-rs controllers have the tenants from our controller's API.
//! Whose turn it is not is stopped, after it has come to rest.

use std::time::Duration;

use crate::fleet::{Fleet, now};
use crate::kube_rs::{self, KubeRs};
use crate::measure::{Figures, cpu_ms, forget_peak, freeze, idle, resident_kb, thaw};
use crate::{Settings, skipped};

const SMALL: usize = 1_000;
const LARGE: usize = 10_000;
const ROUNDS: usize = 5;
/// From one pass to the next: longer than any of the contestants takes.
const INTERVAL: Duration = Duration::from_secs(5);
/// Passes of each round: from one sweep of ours to the next, so that each round has its share of both
/// kinds of passes. A contestant that sweeps in each pass ends within one of it.
const PASSES: u32 = 12;

/// Prints what all cost.
pub(crate) async fn run(settings: Settings) -> anyhow::Result<()> {
    let program = match kube_rs::build() {
        Ok(program) => Some(program),
        Err(error) => {
            skipped("kube-rs", &format!("{error:#}"));
            None
        }
    };
    let program = program.as_deref();
    let small = contest(settings.size(SMALL), settings, program).await?;
    let large = contest(settings.size(LARGE), settings, program).await?;
    let more = (settings.size(LARGE) - settings.size(SMALL)) as f64;
    let per_object =
        |small: &Figures, large: &Figures| (large.median() - small.median()) * 1_024.0 / more;
    for (small, large) in small.iter().zip(&large) {
        println!("{}:", large.name);
        println!("  CPU ms per pass: {:.1}", large.cpu);
        println!(
            "  resident bytes per tenant: {:.0} at rest, {:.0} at most",
            per_object(&small.resident, &large.resident),
            per_object(&small.peak, &large.peak)
        );
    }
    if let Some((ours, others)) = large.split_first() {
        for other in others {
            println!("CPU of {} by ours: {}", other.name, other.cpu.over(&ours.cpu));
        }
    }
    if let Some(((ours_small, others_small), (ours, others))) =
        small.split_first().zip(large.split_first())
    {
        let at_rest = per_object(&ours_small.resident, &ours.resident);
        let at_most = per_object(&ours_small.peak, &ours.peak);
        for (small, large) in others_small.iter().zip(others) {
            println!(
                "memory per tenant of {} by ours: {:.2} at rest, {:.2} at most",
                large.name,
                per_object(&small.resident, &large.resident) / at_rest,
                per_object(&small.peak, &large.peak) / at_most
            );
        }
    }
    Ok(())
}

/// What one contestant used.
struct Used {
    name: &'static str,
    cpu: Figures,
    resident: Figures,
    peak: Figures,
}

async fn contest(
    tenants: usize,
    settings: Settings,
    program: Option<&std::path::Path>,
) -> anyhow::Result<Vec<Used>> {
    println!("## noop-kube-rs: {tenants} tenants, specs of their own: {}", settings.own);
    let fleet = Fleet::converged(tenants, settings, INTERVAL).await?;
    let mut peers = Vec::new();
    if let Some(program) = program {
        for (name, compare) in [("kube-rs", "plan"), ("kube-rs that compares nothing", "nothing")] {
            let seconds = INTERVAL.as_secs();
            let peer = KubeRs::start(program, &fleet.world, tenants, seconds, compare).await?;
            println!("  {name} runs");
            idle(peer.id()?).await?;
            freeze(peer.id()?)?;
            peers.push((name, peer));
        }
    }
    let told: Vec<usize> = peers.iter().map(|(_, peer)| peer.resyncs()).collect();
    let ours = fleet.world.controller_id()?;
    idle(ours).await?;
    freeze(ours)?;
    let mut contestants = vec![("ours", ours)];
    for (name, peer) in &peers {
        contestants.push((*name, peer.id()?));
    }
    let mut used: Vec<Used> = contestants
        .iter()
        .map(|&(name, _)| Used {
            name,
            cpu: Figures::default(),
            resident: Figures::default(),
            peak: Figures::default(),
        })
        .collect();
    for _ in 0..ROUNDS {
        for (&(_, id), used) in contestants.iter().zip(&mut used) {
            turn(&fleet, id, used).await?;
        }
    }
    for ((_, peer), told) in peers.iter().zip(told) {
        peer.was_whole(tenants, told)?;
    }
    for &(_, id) in &contestants {
        // A stopped process would not hear that it is to end.
        thaw(id)?;
    }
    fleet.world.finish().await?;
    Ok(used)
}

/// Some passes of one contestant, while the others are stopped.
async fn turn(fleet: &Fleet, id: u32, used: &mut Used) -> anyhow::Result<()> {
    forget_peak(id)?;
    let seen = fleet.seen();
    thaw(id)?;
    // Its timer is overdue, so a pass begins at once.
    let mut seen = fleet.next_sweep(seen).await?;
    let (began, before) = (now(), cpu_ms(id)?);
    // A moment less, so that the sweep which ends the round is not missed by a hair.
    let whole = INTERVAL * PASSES - INTERVAL / 2;
    while began.elapsed() < whole {
        seen = fleet.next_sweep(seen).await?;
        let (resident, _) = resident_kb(id)?;
        used.resident.add(resident as f64);
    }
    let passes = began.elapsed().as_secs_f64() / INTERVAL.as_secs_f64();
    used.cpu.add((cpu_ms(id)? - before) as f64 / passes);
    used.peak.add(resident_kb(id)?.1 as f64);
    idle(id).await?;
    freeze(id)
}
