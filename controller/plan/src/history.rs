//! Several free volumes of one name: which of them has the data is told by which was in use last.
//!
//! ```text
//!   moved, and the move was taken back:     old ──runs── stop ─────────────── runs ── deleted
//!                                                          └─ copy (younger, and stale)
//!   moved for good:                         old ──runs── stop
//!                                                          └─ copy ── runs ── deleted
//! ```
//!
//! A copy is younger than what it was copied from, but that may be written again after it; and
//! whoever forks a volume by hand makes one of the same name. The lists do not show which volume ran
//! last, so for these few tenants it has to be remembered.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::desired::Desired;
use crate::observed::{Observed, ObservedVolume};
use crate::time::UnixMillis;

/// When a machine last ran on each volume, by the volumes' ids, as far as is remembered.
pub type LastUsed = BTreeMap<String, UnixMillis>;

/// The tenants that may have to choose among free volumes of one name, and so need
/// [`Observed::last_used`].
#[must_use]
pub fn needs_history(desired: &Desired, observed: &Observed) -> BTreeSet<Arc<str>> {
    let mut rivals: HashMap<(&str, &str), Rivals, FixedState> = HashMap::default();
    for volume in observed.organizations.values().flat_map(|lists| &lists.volumes) {
        rivals.entry((&volume.app, &volume.name)).or_default().add(volume);
    }
    rivals.retain(|_, known| known.free > 1 && !known.any_held);
    if rivals.is_empty() {
        return BTreeSet::new();
    }
    let chooses = desired.tenants.iter().filter(|tenant| {
        let machines = tenant.machines.as_deref().unwrap_or_default().iter();
        let mut volumes = machines.filter_map(|machine| machine.volume.as_ref());
        volumes.any(|volume| rivals.contains_key(&(tenant.app.as_str(), volume.name.as_str())))
    });
    chooses.map(|tenant| Arc::clone(&tenant.name)).collect()
}

/// What is known of the volumes of one name in an app.
#[derive(Default)]
struct Rivals {
    free: usize,
    any_held: bool,
}

impl Rivals {
    fn add(&mut self, volume: &ObservedVolume) {
        match volume.attached_machine {
            Some(_) => self.any_held = true,
            None => self.free += 1,
        }
    }
}

/// When what is on a volume was written, as far as is known: when it was last in use, or else made.
pub(crate) fn written_at(volume: &ObservedVolume, last_used: &LastUsed) -> Option<UnixMillis> {
    volume.created_at.max(last_used.get(&volume.id).copied())
}

#[cfg(test)]
mod tests {
    use vault_api::tenant::MachineState;

    use super::*;
    use crate::observed::ObservedOrganization;
    use crate::testing::{self, tenant, volume, wanted};

    #[test]
    fn history_is_needed_where_a_tenant_may_have_to_choose_among_free_volumes() {
        let mut tenant = tenant();
        tenant.machines = Ok(vec![wanted(MachineState::Started)]);
        let desired = testing::desired(tenant);
        let needed = |volumes: &[ObservedVolume]| {
            let volumes = volumes.to_vec();
            let lists = ObservedOrganization { volumes, ..ObservedOrganization::default() };
            !needs_history(&desired, &testing::observed(lists)).is_empty()
        };
        let (one, two) = (volume("vol_1", "ord", None), volume("vol_2", "ord", None));
        let held = volume("vol_3", "ord", Some("machine"));
        let elsewhere = ObservedVolume { app: "elsewhere".to_owned(), ..two.clone() };
        assert!(!needed(&[]));
        assert!(!needed(std::slice::from_ref(&one)), "there is no other");
        assert!(needed(&[one.clone(), two.clone()]));
        assert!(!needed(&[one.clone(), two, held]), "the one that is held has the data");
        assert!(!needed(&[one, elsewhere]), "that is another app");
    }
}
