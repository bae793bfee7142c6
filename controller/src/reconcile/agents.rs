//! The part of a pass that tells how agents are, and has those asked whose tenants are not Ready.

use vault_api::status::TenantStatus;
use vault_plan::desired::DesiredTenant;
use vault_plan::time::UnixMillis;

use super::Reconciler;
use crate::agents::Question;
use crate::clock::Clock;
use crate::connect::{may_run_agent, place};
use crate::platform::Platform;
use crate::store::Store;

impl<P: Platform, S: Store, C: Clock> Reconciler<P, S, C> {
    /// Adds what agents said last to a status, and asks again while the tenant `is_ready` not. It
    /// never waits, and never changes whether the tenant is Ready.
    pub(super) fn add_agents(
        &self,
        desired: &DesiredTenant,
        before: Option<&TenantStatus>,
        status: &mut TenantStatus,
        is_ready: bool,
        now: UnixMillis,
    ) {
        let agents = &self.config.agents;
        if !is_ready && !desired.deleting {
            let machines = desired.machines.as_deref().unwrap_or_default().iter();
            for wanted in machines.filter(|wanted| may_run_agent(&wanted.config)) {
                match place(desired, wanted, Some(status), &self.config.oidc_issuer) {
                    Ok(place) if place.runs_agent => agents.ask(Question::from(place), now),
                    // It does not run, or runs something else: there is nobody to ask.
                    Ok(_) | Err(_) => {}
                }
            }
        }
        for machine in &mut status.machines {
            let (Some(id), Some(version)) = (&machine.id, &machine.version) else { continue };
            let earlier = || {
                let known = before?.machines.iter().find(|known| known.id == machine.id)?;
                known.agent.clone().filter(|_| known.version == machine.version)
            };
            machine.agent = agents.said(id, version).or_else(earlier);
        }
    }
}
