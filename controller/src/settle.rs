//! What became of intents whose effect has not been seen yet: settled by looking, never by
//! repeating.
//!
//! ```text
//!   planned ──────────────────────────────▶ aborted   (was never sent)
//!   sent, acked ── effect in the lists ───▶ verified
//!      │
//!      ├─ repeating it can do no harm ────▶ aborted   (the next plan decides anew)
//!      └─ it could be done twice ─ wait ──▶ aborted   (after `settle_after`; until then the tenant is held)
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use vault_plan::action::ActionKind;
use vault_plan::metadata;
use vault_plan::observed::{Hold, HoldKind, ObservedOrganization, PlatformState};
use vault_plan::time::UnixMillis;

use crate::store::{Intent, IntentState, Settlement};

/// What looking at the lists says about open intents.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// To be written to the journal.
    pub settlements: Vec<Settlement>,
    /// Tenants that must wait until an outcome is known.
    pub holds: BTreeMap<String, Hold>,
}

/// Decides what became of each open intent. `settle_after` is how long a call whose answer was
/// lost, or whose effect is not listed yet, may still take effect.
#[must_use]
pub fn settle(
    intents: &[Intent],
    organizations: &BTreeMap<String, ObservedOrganization>,
    settle_after: Duration,
    now: UnixMillis,
) -> Settled {
    let mut settled = Settled::default();
    let wait_ms = i64::try_from(settle_after.as_millis()).unwrap_or(i64::MAX);
    for intent in intents {
        let until = intent.sent_at.unwrap_or(intent.planned_at).plus_ms(wait_ms);
        let Some(organization) = organizations.get(&intent.organization) else {
            hold(&mut settled, intent, now.plus_ms(1), "its organization could not be read");
            continue;
        };
        let (state, outcome) = match (intent.state, seen(intent, organization)) {
            (IntentState::Planned, _) => (IntentState::Aborted, "it was never sent".to_owned()),
            (_, Some(id)) => {
                let settlement = Settlement {
                    id: intent.id,
                    state: IntentState::Verified,
                    external_id: Some(id),
                    outcome: None,
                };
                settled.settlements.push(settlement);
                continue;
            }
            (_, None) if may_double(intent) && now < until => {
                hold(&mut settled, intent, until, "its effect is not in the lists yet");
                continue;
            }
            (_, None) => (IntentState::Aborted, "its effect is not in the lists".to_owned()),
        };
        settled.settlements.push(Settlement {
            id: intent.id,
            state,
            external_id: None,
            outcome: Some(outcome),
        });
    }
    settled
}

/// Whether doing it again, while the first call may still act, could leave two of something or
/// disturb what the first call did. Creating an app or a machine by name cannot: the platform
/// refuses the second. It is waited for all the same once it was acknowledged, because then it
/// exists and the list lags.
fn may_double(intent: &Intent) -> bool {
    match intent.kind {
        ActionKind::CreateVolume => true,
        ActionKind::CreateApp | ActionKind::CreateMachine | ActionKind::UpdateMachine => {
            intent.state == IntentState::Acked
        }
        ActionKind::StartMachine | ActionKind::StopMachine | ActionKind::DeleteMachine => false,
    }
}

/// The id of the resource that shows the intent's effect.
fn seen(intent: &Intent, organization: &ObservedOrganization) -> Option<String> {
    let machine = || {
        organization
            .machines
            .iter()
            .find(|machine| machine.app == intent.app && machine.name == intent.external_name)
    };
    match intent.kind {
        ActionKind::CreateApp => {
            organization.apps.contains(&intent.app).then(|| intent.app.clone())
        }
        ActionKind::CreateVolume => organization
            .volumes
            .iter()
            .filter(|volume| volume.app == intent.app && volume.name == intent.external_name)
            .find(|volume| intent.external_id.as_ref().is_none_or(|id| *id == volume.id))
            .map(|volume| volume.id.clone()),
        ActionKind::CreateMachine => machine().map(|machine| machine.id.clone()),
        ActionKind::UpdateMachine => machine()
            .filter(|machine| {
                machine.metadata.get(metadata::INTENT) == Some(&intent.id.to_string())
            })
            .map(|machine| machine.id.clone()),
        ActionKind::StartMachine => machine()
            .filter(|machine| {
                matches!(machine.state, PlatformState::Starting | PlatformState::Started)
            })
            .map(|machine| machine.id.clone()),
        ActionKind::StopMachine => machine()
            .filter(|machine| {
                matches!(machine.state, PlatformState::Stopping | PlatformState::Stopped)
            })
            .map(|machine| machine.id.clone()),
        ActionKind::DeleteMachine => {
            let there = organization
                .machines
                .iter()
                .any(|machine| intent.external_id.as_ref() == Some(&machine.id));
            (!there).then(|| intent.external_id.clone()).flatten()
        }
    }
}

fn hold(settled: &mut Settled, intent: &Intent, until: UnixMillis, why: &str) {
    let message = format!("waiting for {} {}: {why}", intent.kind, intent.external_name);
    let hold = Hold { until, message, kind: HoldKind::Unsettled };
    let entry = settled.holds.entry(intent.tenant.clone()).or_insert_with(|| hold.clone());
    if entry.until < until {
        *entry = hold;
    }
}

#[cfg(test)]
mod tests;
