//! A cold `vaultctl diff` of tenants that are as they should be, beside `terraform plan`.

use std::process::Stdio;
use std::time::Duration;

use anyhow::ensure;

use crate::fleet::{Fleet, now};
use crate::measure::{Figures, children_cpu_ms, cpu_ms, idle};
use crate::terraform::Terraform;
use crate::{Settings, skipped};

const TENANTS: usize = 5_000;
const ROUNDS: usize = 5;
/// No pass takes part: it would be counted.
const INTERVAL: Duration = Duration::from_secs(86_400);

/// Prints what both cost.
pub(crate) async fn run(settings: Settings) -> anyhow::Result<()> {
    let tenants = settings.size(TENANTS);
    println!("## diff-terraform: {tenants} tenants");
    let fleet = Fleet::converged(tenants, settings, INTERVAL).await?;
    let terraform = Terraform::new(tenants)?;
    if terraform.is_none() {
        skipped("terraform plan", "there is no terraform on this machine");
    }
    let mut ours = Ours::default();
    let mut theirs = Figures::default();
    for _ in 0..ROUNDS {
        ours.round(&fleet).await?;
        if let Some(terraform) = &terraform {
            let began = now();
            theirs.add(terraform.plan()? as f64);
            println!("  one terraform plan after {:.1?}", began.elapsed());
        }
    }
    println!("vaultctl diff, CPU ms: {}", ours.sum);
    println!("  of that the client: {}", ours.client);
    println!("  and the controller: {}", ours.controller);
    if terraform.is_some() {
        println!("terraform plan, CPU ms: {theirs}");
        println!("terraform by vaultctl: {}", theirs.over(&ours.sum));
    }
    fleet.world.finish().await
}

#[derive(Default)]
struct Ours {
    client: Figures,
    controller: Figures,
    sum: Figures,
}

impl Ours {
    async fn round(&mut self, fleet: &Fleet) -> anyhow::Result<()> {
        let controller = fleet.world.controller_id()?;
        idle(controller).await?;
        let before = (children_cpu_ms()?, cpu_ms(controller)?);
        let folder = fleet.world.path("manifests").display().to_string();
        let mut command = fleet.world.vaultctl_command(&["diff", "-f", &folder])?;
        let began = now();
        let output = command.stdin(Stdio::null()).output().await?;
        let took = began.elapsed();
        ensure!(
            output.status.code() == Some(0) && output.stdout.is_empty(),
            "{}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        // What the controller still does for the last answer is its part too.
        idle(controller).await?;
        let client = children_cpu_ms()? - before.0;
        let server = cpu_ms(controller)? - before.1;
        println!("  one vaultctl diff after {took:.1?}");
        self.client.add(client as f64);
        self.controller.add(server as f64);
        self.sum.add((client + server) as f64);
        Ok(())
    }
}
