//! Tenants whose turns hang while other tenants' passes go on.
//!
//! ```text
//!   a turn that no pass waits for any more ─▶ its intents are its own: nobody settles them
//!                                          ─▶ its tenant is held; its machines count as down
//!                                          ─▶ whatever a plan has for the tenant is left out
//! ```

use std::collections::{BTreeMap, BTreeSet};

use vault_plan::action::Plan;
use vault_plan::observed::{Hold, HoldKind};
use vault_plan::time::UnixMillis;

use super::{Objects, Reconciler};
use crate::clock::Clock;
use crate::execute::Turns;
use crate::platform::Platform;
use crate::store::{Store, StoreError};

/// What a tenant's status says meanwhile.
const UNDER_WAY: &str = "a call for it is under way and takes long";

impl<P: Platform, S: Store, C: Clock> Reconciler<P, S, C> {
    /// Notes what came of turns that ended after their passes, and which go on; how many failed.
    pub(super) fn take_in(
        &self,
        objects: &Objects,
        turns: &mut Turns,
    ) -> Result<usize, StoreError> {
        let ended = turns.take_ended()?;
        self.memory().under_way = turns.tenants();
        Ok(self.remember(objects, &ended))
    }

    /// Waits until a turn ends that no pass waits for: what came of it is worth a pass. Cancel-safe.
    pub async fn late_turn(&self) {
        self.turns.lock().await.one_ended().await;
    }

    /// Waits until all turns have ended, because what was sent has an answer that is worth keeping.
    pub async fn finish(&self) {
        self.turns.lock().await.finish().await;
    }
}

/// Holds these tenants until the next pass. What may be down by their turns counts as down.
pub(super) fn hold(
    holds: &mut BTreeMap<String, Hold>,
    under_way: &BTreeSet<String>,
    now: UnixMillis,
) {
    for tenant in under_way {
        let (until, message) = (now.plus_ms(1), UNDER_WAY.to_owned());
        holds.insert(tenant.clone(), Hold { until, message, kind: HoldKind::Unsettled });
    }
}

/// Leaves out of a plan what it has for these tenants; there is little, since they are held.
pub(super) fn leave_out(plan: &mut Plan, under_way: &BTreeSet<String>) {
    if !under_way.is_empty() {
        plan.actions.retain(|planned| !under_way.contains(&*planned.tenant));
    }
}
