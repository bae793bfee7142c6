//! From desired, observed and report to the status that people read: a pure fold.

mod storage;
mod tokens;
mod volumes;

use vault_api::object::{Condition, ConditionStatus};
use vault_api::status::{DeletionStage, DeletionStatus, MachineStatus, TenantStatus, condition};
use vault_plan::desired::{DesiredMachine, DesiredTenant};
use vault_plan::observed::ObservedOrganization;
use vault_plan::report::{MachineReport, Note, NoteReason, TenantReport};
use vault_plan::time::UnixMillis;

use crate::clock::rfc3339;

/// How many of the things that a deletion waits for are told in its message.
const NOTES_SHOWN: usize = 3;

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
    /// What changes with each change of its spec or its class's.
    pub revision: i64,
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
    // What cannot be seen, or was not looked for, is not forgotten: its id is needed to ask for it.
    let decided = wanted(facts).count() == facts.report.machines.len();
    let (machines, volumes) = match facts.before {
        Some(before) if facts.organization.is_none() => {
            (before.machines.clone(), before.volumes.clone())
        }
        Some(before) if facts.desired.deleting => (remaining_machines(facts, before), Vec::new()),
        Some(before) if facts.desired.machines.is_err() || !decided => {
            (remaining_machines(facts, before), volumes::remaining(facts, before))
        }
        _ => (machines(facts), volumes::volumes(facts)),
    };
    TenantStatus {
        observed_generation: facts.generation,
        conditions: conditions(facts, now),
        source: Some(facts.source.to_owned()),
        org: Some(facts.desired.organization.to_string()),
        org_id: org_id(facts),
        app: Some(facts.desired.app.clone()),
        app_id: app_id(facts),
        machines,
        volumes,
        tokens: tokens::tokens(facts),
        buckets: storage::buckets(facts),
        access_key: storage::access_key(facts),
        deletion: facts.report.deletion.map(|stage| deletion(facts, stage)),
        reached_revision: reached(facts),
    }
}

/// How far the deletion has come, in words.
fn deletion(facts: &Facts<'_>, stage: DeletionStage) -> DeletionStatus {
    let notes = facts.report.notes.iter().filter(|note| !note.reason.harmless());
    let waits: Vec<&str> = notes.map(|note| note.message.as_str()).take(NOTES_SHOWN).collect();
    let what = match stage {
        DeletionStage::StoppingMachines => "its machines are stopped",
        DeletionStage::Snapshotting => "snapshots of its volumes are made",
        DeletionStage::RemovingMachines => "its machines are destroyed",
        DeletionStage::Tombstoned => "its machines are gone",
    };
    let message = match waits.is_empty() {
        true => what.to_owned(),
        false => format!("{what}: {}", waits.join("; ")),
    };
    DeletionStatus { stage, message }
}

/// The revision that the tenant was Ready at, if it is needed.
fn reached(facts: &Facts<'_>) -> Option<i64> {
    if !facts.desired.reports_drift {
        return None;
    }
    match is_ready_now(facts) {
        true => Some(facts.revision),
        false => facts.before?.reached_revision,
    }
}

fn is_ready_now(facts: &Facts<'_>) -> bool {
    facts.actions == 0 && !facts.desired.deleting && facts.report.ready()
}

/// The organization's id; what was told of it stands, for an organization keeps its id.
fn org_id(facts: &Facts<'_>) -> Option<String> {
    let told = facts.organization.and_then(|lists| lists.id.clone());
    let same = |before: &&TenantStatus| before.org.as_deref() == Some(&facts.desired.organization);
    told.or_else(|| facts.before.filter(same)?.org_id.clone())
}

/// The app's id; the known one stands only while the lists could hide that app.
fn app_id(facts: &Facts<'_>) -> Option<String> {
    let DesiredTenant { organization, app, .. } = facts.desired;
    let before = facts.before.filter(|before| {
        before.app.as_ref() == Some(app) && before.org.as_deref() == Some(organization)
    });
    let Some(lists) = facts.organization else { return before?.app_id.clone() };
    match lists.app_ids.get(app) {
        None if lists.gaps.unclear.is_some() => before?.app_id.clone(),
        told => told.cloned(),
    }
}

/// Whether a status says that the tenant is Ready at this generation.
#[must_use]
pub fn is_ready(status: &TenantStatus, generation: i64) -> bool {
    status.observed_generation == generation
        && status
            .conditions
            .iter()
            .any(|known| known.r#type == condition::READY && known.status == ConditionStatus::True)
}

fn conditions(facts: &Facts<'_>, now: UnixMillis) -> Vec<Condition> {
    let notes = &facts.report.notes;
    let ready = is_ready_now(facts);
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
            NoteReason::Waiting
                | NoteReason::Unsettled
                | NoteReason::BudgetExhausted
                | NoteReason::Relocating
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
    match first(|reason| reason == NoteReason::NameTaken) {
        Some(note) => conditions.add_note(condition::NAME_TAKEN, true, note),
        None => conditions.add(condition::NAME_TAKEN, false, "AsExpected", "no name is taken"),
    }
    if facts.desired.paused {
        let paused = first(|reason| reason == NoteReason::Paused);
        let message =
            paused.map_or("reconcile is Paused; nothing is left undone", |note| &note.message);
        conditions.add(condition::PAUSED, true, "Paused", message);
    }
    if let Some(note) = first(|reason| reason == NoteReason::Relocating) {
        conditions.add_note(condition::RELOCATING, true, note);
    }
    if let Some(note) = first(|reason| reason == NoteReason::DriftDetected) {
        conditions.add_note(condition::DRIFT_DETECTED, true, note);
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
    machines.iter().enumerate().map(|(place, machine)| (machine, facts.report.machines.get(place)))
}

fn machines(facts: &Facts<'_>) -> Vec<MachineStatus> {
    wanted(facts)
        .map(|(wanted, report)| {
            let place = report.and_then(|report| report.machine);
            let seen = facts.organization.zip(place).map(|(lists, at)| &lists.machines[at]);
            if seen.is_none()
                && let Some(known) = facts.before.and_then(|before| {
                    before.machines.iter().find(|known| known.name == wanted.name)
                })
                && hidden(facts, &known.region)
            {
                return MachineStatus { ready: false, ..known.clone() };
            }
            MachineStatus {
                name: wanted.name.clone(),
                id: seen.map(|machine| machine.id.clone()),
                state: seen.map(|machine| machine.state.word().to_owned()),
                region: wanted.region.to_string(),
                private_ip: seen.and_then(|machine| machine.private_ip.clone()),
                version: seen.and_then(|machine| machine.version.clone()),
                ready: report.is_some_and(|report| report.ready),
                replacing: report.is_some_and(|report| {
                    report.replacing || !report.ready && was_replacing(facts, &wanted.name)
                }),
                agent: None,
            }
        })
        .collect()
}

/// Whether an earlier pass took the machine down in order to make it anew.
fn was_replacing(facts: &Facts<'_>, machine: &str) -> bool {
    let mut before = facts.before.into_iter().flat_map(|before| &before.machines);
    before.any(|known| known.name == machine && known.replacing)
}

/// The known machines of a tenant that is not converged now, as far as they are still there; and those
/// that were taken down in order to be made anew, which nothing else remembers until they are.
fn remaining_machines(facts: &Facts<'_>, before: &TenantStatus) -> Vec<MachineStatus> {
    let listed = facts.organization.map_or(&[][..], |lists| &lists.machines);
    let awaited = |known: &MachineStatus| known.replacing && !facts.desired.deleting;
    let known = before.machines.iter().filter(|known| known.id.is_some() || awaited(known));
    known
        .filter_map(|known| {
            let known = MachineStatus { ready: false, ..known.clone() };
            let seen = listed.iter().find(|machine| Some(&machine.id) == known.id.as_ref());
            match seen {
                Some(seen) => {
                    Some(MachineStatus { state: Some(seen.state.word().to_owned()), ..known })
                }
                None if hidden(facts, &known.region) => Some(known),
                None if awaited(&known) => {
                    let (id, state, private_ip, version) = (None, None, None, None);
                    Some(MachineStatus { id, state, private_ip, version, ..known })
                }
                None => None,
            }
        })
        .collect()
}

/// Whether a machine of this region may be there though the lists do not show it.
fn hidden(facts: &Facts<'_>, region: &str) -> bool {
    facts.organization.is_none_or(|lists| lists.gaps.hides(region).is_some())
}
