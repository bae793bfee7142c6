//! From desired, observed and report to the status that people read: a pure fold.

use vault_api::object::{Condition, ConditionStatus};
use vault_api::status::{MachineStatus, TenantStatus, VolumeStatus, condition};
use vault_plan::desired::{DesiredMachine, DesiredTenant};
use vault_plan::observed::ObservedOrganization;
use vault_plan::report::{MachineReport, Note, NoteReason, TenantReport};
use vault_plan::time::UnixMillis;

use crate::clock::rfc3339;

/// What is folded into one tenant's status.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// What should exist.
    pub desired: &'a DesiredTenant,
    /// What the planner found.
    pub report: &'a TenantReport,
    /// The lists of its organization, if they could be read.
    pub organization: Option<&'a ObservedOrganization>,
    /// How many actions the plan has for it.
    pub actions: usize,
    /// The generation of its spec.
    pub generation: i64,
    /// Who owns the spec, for people.
    pub source: &'a str,
    /// The manifest that it came from is gone.
    pub source_missing: bool,
    /// The status before.
    pub before: Option<&'a TenantStatus>,
}

/// Folds a tenant's status.
#[must_use]
pub fn fold(facts: &Facts<'_>, now: UnixMillis) -> TenantStatus {
    let before = facts.before;
    // What cannot be seen is not forgotten: the ids are needed to ask for it.
    let blind = facts.organization.is_none_or(|seen| seen.gaps.unclear.is_some());
    let (machines, volumes) = match before {
        Some(before) if blind => (before.machines.clone(), before.volumes.clone()),
        Some(before) if facts.desired.deleting => (remaining(facts, before), Vec::new()),
        _ => (machines(facts), volumes(facts)),
    };
    TenantStatus {
        observed_generation: facts.generation,
        conditions: conditions(facts, now),
        source: Some(facts.source.to_owned()),
        org: Some(facts.desired.organization.to_string()),
        app: Some(facts.desired.app.clone()),
        machines,
        volumes,
    }
}

/// Whether a status says that the tenant is Ready at this generation.
#[must_use]
pub fn is_ready(status: &TenantStatus, generation: i64) -> bool {
    status.observed_generation == generation
        && status.conditions.iter().any(|known| {
            known.r#type == condition::READY && known.status == ConditionStatus::True
        })
}

fn conditions(facts: &Facts<'_>, now: UnixMillis) -> Vec<Condition> {
    let notes = &facts.report.notes;
    let ready = facts.actions == 0 && !facts.desired.deleting && facts.report.ready();
    let first = |wanted: fn(NoteReason) -> bool| notes.iter().find(|note| wanted(note.reason));
    let mut conditions = Conditions { facts, now, list: Vec::new() };

    let obstacle = first(|reason| !reason.harmless());
    match (ready, obstacle) {
        (true, _) => conditions.add(condition::READY, true, "Ready", ready_message(facts)),
        (false, _) if facts.desired.deleting => {
            conditions.add(condition::READY, false, "Deleting", "the tenant is being deleted");
        }
        (false, Some(note)) => conditions.add_note(condition::READY, false, note),
        (false, None) => conditions.add(
            condition::READY,
            false,
            "Changing",
            format!("{} actions to be carried out", facts.actions),
        ),
    }
    let unsynced = first(|reason| {
        reason.needs_a_person() || matches!(reason, NoteReason::Unobserved | NoteReason::BackOff)
    });
    match unsynced {
        Some(note) => conditions.add_note(condition::SYNCED, false, note),
        None => conditions.add(condition::SYNCED, true, "Synced", "the platform was read"),
    }
    let waiting = first(|reason| {
        matches!(
            reason,
            NoteReason::Waiting | NoteReason::Unsettled | NoteReason::BudgetExhausted
        )
    });
    match waiting {
        Some(note) => conditions.add_note(condition::PROGRESSING, true, note),
        None if facts.actions > 0 => {
            conditions.add(condition::PROGRESSING, true, "Changing", "actions are carried out");
        }
        None => conditions.add(condition::PROGRESSING, false, "Idle", "nothing is being changed"),
    }
    match first(|reason| reason.needs_a_person() || reason == NoteReason::BackOff) {
        Some(note) => conditions.add_note(condition::DEGRADED, true, note),
        None => conditions.add(condition::DEGRADED, false, "AsExpected", "nothing is wrong"),
    }
    if let Some(note) = first(|reason| reason == NoteReason::NameTaken) {
        conditions.add_note(condition::NAME_TAKEN, true, note);
    }
    if facts.source_missing {
        let message = format!("{} no longer holds this tenant; nothing is deleted", facts.source);
        conditions.add(condition::SOURCE_MISSING, true, "SourceMissing", message);
    }
    conditions.list
}

fn ready_message(facts: &Facts<'_>) -> String {
    match facts.report.machines.len() {
        0 => "the app exists; no machines are wanted".to_owned(),
        1 => "its machine is as wanted".to_owned(),
        count => format!("all {count} machines are as wanted"),
    }
}

struct Conditions<'a> {
    facts: &'a Facts<'a>,
    now: UnixMillis,
    list: Vec<Condition>,
}

impl Conditions<'_> {
    fn add_note(&mut self, kind: &str, holds: bool, note: &Note) {
        self.add(kind, holds, note.reason.word(), note.message.clone());
    }

    fn add(&mut self, kind: &str, holds: bool, reason: &str, message: impl Into<String>) {
        let status = if holds { ConditionStatus::True } else { ConditionStatus::False };
        let known = self
            .facts
            .before
            .and_then(|before| before.conditions.iter().find(|known| known.r#type == kind));
        // The time moves only when the status flips.
        let since = known.filter(|known| known.status == status);
        self.list.push(Condition {
            r#type: kind.to_owned(),
            status,
            observed_generation: self.facts.generation,
            last_transition_time: since
                .map_or_else(|| rfc3339(self.now), |known| known.last_transition_time.clone()),
            reason: reason.to_owned(),
            message: message.into(),
        });
    }
}

fn wanted<'a>(
    facts: &'a Facts<'_>,
) -> impl Iterator<Item = (&'a DesiredMachine, Option<&'a MachineReport>)> {
    let machines = facts.desired.machines.as_deref().unwrap_or_default();
    machines
        .iter()
        .enumerate()
        .map(|(place, machine)| (machine, facts.report.machines.get(place)))
}

fn machines(facts: &Facts<'_>) -> Vec<MachineStatus> {
    wanted(facts)
        .map(|(wanted, report)| {
            let place = report.and_then(|report| report.machine);
            let seen = facts.organization.zip(place).map(|(lists, at)| &lists.machines[at]);
            MachineStatus {
                name: wanted.name.clone(),
                id: seen.map(|machine| machine.id.clone()),
                state: seen.map(|machine| machine.state.word().to_owned()),
                region: wanted.region.to_string(),
                private_ip: seen.and_then(|machine| machine.private_ip.clone()),
                version: seen.and_then(|machine| machine.version.clone()),
                ready: report.is_some_and(|report| report.ready),
            }
        })
        .collect()
}

/// The machines of a tenant that is being deleted, as far as they are still there.
fn remaining(facts: &Facts<'_>, before: &TenantStatus) -> Vec<MachineStatus> {
    let listed = facts.organization.map_or(&[][..], |lists| &lists.machines);
    before
        .machines
        .iter()
        .filter_map(|known| {
            let seen = listed.iter().find(|machine| Some(&machine.id) == known.id.as_ref())?;
            let state = Some(seen.state.word().to_owned());
            Some(MachineStatus { state, ready: false, ..known.clone() })
        })
        .collect()
}

fn volumes(facts: &Facts<'_>) -> Vec<VolumeStatus> {
    wanted(facts)
        .filter_map(|(machine, report)| Some((machine, machine.volume.as_ref()?, report)))
        .map(|(machine, volume, report)| {
            let place = report.and_then(|report| report.volume);
            let seen = facts.organization.zip(place).map(|(lists, at)| &lists.volumes[at]);
            VolumeStatus {
                template: volume.template.to_string(),
                name: volume.name.clone(),
                id: seen.map(|volume| volume.id.clone()),
                state: seen.map(|volume| volume.state.clone()),
                machine: machine.name.clone(),
                size_gb: seen.map_or(volume.size_gb, |volume| volume.size_gb),
            }
        })
        .collect()
}
