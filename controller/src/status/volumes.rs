//! What a status says of volumes: those that are in use, and those that must not be forgotten.
//!
//! ```text
//!   seen by the planner ─▶ a row          moved, and the old machine may go ─▶ a row for the copy too
//!   not seen, known before: may still be there ─▶ its row stays      gone by its id ─▶ a row without id
//! ```
//!
//! What a status names by id is asked for by id when lists leave it out. Between the end of one
//! machine and the next one's beginning nothing else knows which volume has the data.

use vault_api::status::{TenantStatus, VolumeStatus};
use vault_plan::desired::{DesiredMachine, DesiredVolume};
use vault_plan::observed::ObservedVolume;
use vault_plan::report::MachineReport;

use super::{Facts, hidden, wanted};

/// The volumes of a tenant that is converged now.
pub(super) fn volumes(facts: &Facts<'_>) -> Vec<VolumeStatus> {
    wanted(facts)
        .filter_map(|(machine, report)| Some((machine, machine.volume.as_ref()?, report)))
        .flat_map(|(machine, volume, report)| of_machine(facts, machine, volume, report))
        .collect()
}

/// The known volumes of a tenant that is not converged now, as far as they are still there.
pub(super) fn remaining(facts: &Facts<'_>, before: &TenantStatus) -> Vec<VolumeStatus> {
    let known = before.volumes.iter().filter(|known| known.id.is_some());
    known.filter(|known| is_there(facts, known)).cloned().collect()
}

fn of_machine(
    facts: &Facts<'_>,
    machine: &DesiredMachine,
    volume: &DesiredVolume,
    report: Option<&MachineReport>,
) -> Vec<VolumeStatus> {
    let row = |seen: Option<&ObservedVolume>| VolumeStatus {
        template: volume.template.to_string(),
        name: volume.name.clone(),
        id: seen.map(|volume| volume.id.clone()),
        state: seen.map(|volume| volume.state.clone()),
        machine: machine.name.clone(),
        size_gb: seen.map_or(volume.size_gb, |volume| volume.size_gb),
        deletion_policy: facts.desired.slots.policy(&volume.template).unwrap_or_default(),
    };
    let at = |place: usize| Some(&facts.organization?.volumes[place]);
    let seen = report.and_then(|report| report.volume).and_then(at);
    if seen.is_some() {
        let copy = report.and_then(|report| report.copy).and_then(at);
        return std::iter::once(row(seen)).chain(copy.map(|copy| row(Some(copy)))).collect();
    }
    let before = facts.before.map_or(&[][..], |before| &before.volumes);
    let known = before.iter().filter(|known| known.name == volume.name && known.id.is_some());
    let known: Vec<VolumeStatus> = known
        .filter(|known| hidden(facts, &machine.region) || is_there(facts, known))
        .cloned()
        .collect();
    match known.is_empty() {
        true => vec![row(None)],
        false => known,
    }
}

/// Whether a known volume is there, or may be.
fn is_there(facts: &Facts<'_>, known: &VolumeStatus) -> bool {
    facts.organization.is_none_or(|lists| {
        lists.gaps.unclear.is_some()
            || lists.volumes.iter().any(|volume| Some(&volume.id) == known.id.as_ref())
    })
}
