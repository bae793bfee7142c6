//! Usage facts: when each machine of ours ran, kept beyond its end.
//!
//! ```text
//!   previous facts ─┐
//!   lists ──────────┼─▶ fold ─▶ the facts that changed ─▶ store ─▶ GET /usage-facts
//!   now ────────────┘
//!
//!   listed ──▶ absent once (confirmed by id) ──▶ absent twice: deleted ──▶ forgotten after
//!     ▲                │                               │                   the retention
//!     └────────────────┴──────── listed again ◀────────┘
//! ```
//!
//! Absence counts only where it proves something: see [`Gaps`](vault_plan::observed::Gaps).

use std::collections::{BTreeMap, HashMap, HashSet};

use vault_api::usage::UsageVolume;
use vault_plan::metadata::Marks;
use vault_plan::observed::{ObservedMachine, ObservedOrganization, ObservedVolume, PlatformState};
use vault_plan::time::UnixMillis;

use crate::clock::rfc3339;

/// What is known of one machine's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageFact {
    /// Fly's id.
    pub machine_id: String,
    /// The tenant that its metadata names; empty if it names none.
    pub tenant: String,
    /// The organization's slug.
    pub organization: String,
    /// The app's name.
    pub app: String,
    /// Fly's word for its state; `destroyed` once it is deleted.
    pub state: String,
    /// The region code.
    pub region: String,
    /// Fly's `instance_id`.
    pub instance_id: Option<String>,
    /// When it last began to run: the platform's own time of the change (`updated_at`) if it told
    /// one, else when we saw it.
    pub started_at: Option<UnixMillis>,
    /// When it last ceased to run, likewise; `None` while it runs.
    pub stopped_at: Option<UnixMillis>,
    /// When it was first missing; the platform does not tell when it was destroyed.
    pub deleted_at: Option<UnixMillis>,
    /// When it was missing once, and not yet twice.
    pub absent_since: Option<UnixMillis>,
    /// The metadata of its config, as last shown.
    pub metadata: BTreeMap<String, String>,
    /// The volumes attached to it, in the order of their ids, as last shown.
    pub volumes: Vec<UsageVolume>,
}

impl UsageFact {
    /// The fact as people and programs read it.
    #[must_use]
    pub fn into_document(self) -> vault_api::usage::UsageFact {
        vault_api::usage::UsageFact {
            machine_id: self.machine_id,
            state: self.state,
            region: self.region,
            instance_id: self.instance_id,
            started_at: self.started_at.map(rfc3339),
            stopped_at: self.stopped_at.map(rfc3339),
            deleted_at: self.deleted_at.map(rfc3339),
            metadata: self.metadata,
            volumes: self.volumes,
        }
    }

    fn runs(&self) -> bool {
        self.started_at.is_some() && self.stopped_at.is_none() && self.deleted_at.is_none()
    }
}

/// Whether a machine carries the mark of `controller`.
#[must_use]
pub fn is_marked(machine: &ObservedMachine, controller: &str) -> bool {
    Marks::read(&machine.metadata).controller == Some(controller)
}

/// Folds one look at the platform into what was known; answers the facts that changed, and none if
/// nothing is new. `previous` holds by id all facts that are not deleted, and those deleted ones
/// whose machines are listed again.
///
/// A machine is ours if it carries the mark of `controller`, or was ours before: an id is never
/// given out twice, and a host that is out of reach shows no marks.
#[must_use]
pub fn fold(
    previous: &BTreeMap<String, UsageFact>,
    organizations: &BTreeMap<String, ObservedOrganization>,
    controller: &str,
    now: UnixMillis,
) -> Vec<UsageFact> {
    let mut changes = Vec::new();
    let mut present = HashSet::new();
    for (slug, organization) in organizations {
        let volumes = by_machine(&organization.volumes);
        let whole = organization.gaps.unclear.is_none();
        for machine in &organization.machines {
            let before = previous.get(&machine.id);
            if before.is_none() && !is_marked(machine, controller) {
                continue;
            }
            present.insert(machine.id.as_str());
            let attached = volumes.get(machine.id.as_str()).map_or(&[][..], Vec::as_slice);
            if before.is_some_and(|before| is_as_before(before, slug, machine, attached)) {
                continue;
            }
            let fact = follow(before, slug, machine, attached, whole, now);
            if before != Some(&fact) {
                changes.push(fact);
            }
        }
    }
    let missing = previous
        .values()
        .filter(|fact| fact.deleted_at.is_none() && !present.contains(fact.machine_id.as_str()));
    for fact in missing {
        let Some(organization) = organizations.get(&fact.organization) else { continue };
        if organization.gaps.hides(&fact.region).is_none() {
            changes.push(without(fact, now));
        }
    }
    changes
}

/// Whether a machine is listed just as its fact has it, so that nothing follows from it: of nearly all
/// machines that is said without a copy of what is known.
fn is_as_before(
    before: &UsageFact,
    organization: &str,
    machine: &ObservedMachine,
    attached: &[&ObservedVolume],
) -> bool {
    let is_same_volume = |(known, seen): (&UsageVolume, &&ObservedVolume)| {
        known.volume_id == seen.id && known.size_gib == seen.size_gb
    };
    before.deleted_at.is_none()
        && before.absent_since.is_none()
        && before.organization == organization
        && before.app == machine.app
        && before.region == machine.region
        && before.state == machine.state.word()
        && runs(&machine.state).is_none_or(|runs| runs == before.runs())
        && before.instance_id == machine.version
        && before.metadata == machine.metadata
        && Marks::read(&machine.metadata).tenant.is_none_or(|tenant| tenant == before.tenant)
        && before.volumes.len() == attached.len()
        && before.volumes.iter().zip(attached).all(is_same_volume)
}

/// The fact of a machine that is listed.
fn follow(
    before: Option<&UsageFact>,
    organization: &str,
    machine: &ObservedMachine,
    attached: &[&ObservedVolume],
    whole: bool,
    now: UnixMillis,
) -> UsageFact {
    let mut fact = before.cloned().unwrap_or_else(|| first(machine));
    if let Some(deleted_at) = fact.deleted_at.take() {
        // It was never away: nor had it ceased to run because of that.
        fact.stopped_at.take_if(|at| *at == deleted_at);
    }
    fact.absent_since = None;
    if is_overtaken(&fact, machine) {
        return fact;
    }
    let restarted = fact.instance_id.is_some()
        && machine.version.is_some()
        && fact.instance_id != machine.version;
    let at = time_of_change(&fact, machine, now);
    match runs(&machine.state) {
        Some(true) if !fact.runs() || restarted => {
            fact.started_at = Some(at);
            fact.stopped_at = None;
        }
        Some(false) if fact.runs() => fact.stopped_at = Some(at),
        // It stopped before we came; only the platform can know when.
        Some(false) if before.is_none() && has_ended(&machine.state) => {
            fact.stopped_at = machine.updated_at.map(|_| at);
        }
        _ => {}
    }
    machine.state.word().clone_into(&mut fact.state);
    machine.region.clone_into(&mut fact.region);
    machine.app.clone_into(&mut fact.app);
    organization.clone_into(&mut fact.organization);
    if machine.version.is_some() {
        fact.instance_id.clone_from(&machine.version);
    }
    if !machine.is_blank() {
        fact.metadata.clone_from(&machine.metadata);
    }
    if let Some(tenant) = Marks::read(&machine.metadata).tenant {
        tenant.clone_into(&mut fact.tenant);
    }
    fact.volumes = volumes(&fact.volumes, attached, whole);
    fact
}

fn first(machine: &ObservedMachine) -> UsageFact {
    UsageFact {
        machine_id: machine.id.clone(),
        tenant: String::new(),
        organization: String::new(),
        app: String::new(),
        state: String::new(),
        region: String::new(),
        instance_id: None,
        started_at: None,
        stopped_at: None,
        deleted_at: None,
        absent_since: None,
        metadata: BTreeMap::new(),
        volumes: Vec::new(),
    }
}

/// Whether a list that lags behind shows a machine running as it did before the stop that is already
/// known. Followed, it would seem to have run on its volume until it is missed, and whoever looks for
/// the volume that was in use last would take one that has been copied since.
fn is_overtaken(fact: &UsageFact, machine: &ObservedMachine) -> bool {
    let told = machine.updated_at.zip(fact.stopped_at);
    runs(&machine.state) == Some(true) && told.is_some_and(|(shown, stopped)| shown < stopped)
}

/// The platform's own time if it told one, else ours; never in the future, and never before what is
/// known to have happened earlier.
fn time_of_change(fact: &UsageFact, machine: &ObservedMachine, now: UnixMillis) -> UnixMillis {
    let told = machine.updated_at.map_or(now, |at| at.min(now));
    fact.started_at.into_iter().chain(fact.stopped_at).fold(told, UnixMillis::max)
}

/// Whether a machine in this state runs; `None` if the state does not say, and it is as before.
fn runs(state: &PlatformState) -> Option<bool> {
    match state {
        PlatformState::Started => Some(true),
        PlatformState::Created
        | PlatformState::Starting
        | PlatformState::Stopped
        | PlatformState::Suspended
        | PlatformState::Failed
        | PlatformState::Destroyed => Some(false),
        PlatformState::Stopping
        | PlatformState::Suspending
        | PlatformState::Replacing
        | PlatformState::Destroying
        | PlatformState::Other(_) => None,
    }
}

/// Whether a machine in this state has run before.
fn has_ended(state: &PlatformState) -> bool {
    matches!(state, PlatformState::Stopped | PlatformState::Suspended | PlatformState::Failed)
}

/// The fact of a machine that is missing from a list that would show it.
fn without(fact: &UsageFact, now: UnixMillis) -> UsageFact {
    let mut fact = fact.clone();
    let Some(since) = fact.absent_since.take() else {
        fact.absent_since = Some(now);
        return fact;
    };
    if fact.runs() {
        fact.stopped_at = Some(since);
    }
    fact.deleted_at = Some(since);
    PlatformState::Destroyed.word().clone_into(&mut fact.state);
    fact
}

fn by_machine(volumes: &[ObservedVolume]) -> HashMap<&str, Vec<&ObservedVolume>> {
    let mut by_machine: HashMap<&str, Vec<&ObservedVolume>> = HashMap::new();
    for volume in volumes {
        if let Some(machine) = &volume.attached_machine {
            by_machine.entry(machine).or_default().push(volume);
        }
    }
    by_machine
}

/// The volumes that are attached; in a list that is not whole, those of before as well.
fn volumes(before: &[UsageVolume], attached: &[&ObservedVolume], whole: bool) -> Vec<UsageVolume> {
    let kept = before.iter().filter(|_| !whole);
    let mut sizes: BTreeMap<&str, u32> =
        kept.map(|volume| (volume.volume_id.as_str(), volume.size_gib)).collect();
    sizes.extend(attached.iter().map(|volume| (volume.id.as_str(), volume.size_gb)));
    let volume = |(id, size_gib): (&str, u32)| UsageVolume { volume_id: id.to_owned(), size_gib };
    sizes.into_iter().map(volume).collect()
}

#[cfg(test)]
mod tests;
