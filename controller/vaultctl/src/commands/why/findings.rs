//! What stands between a tenant and Ready, from what the controller says: pure.
//!
//! ```text
//!   status, spec ─┐
//!   plan ─────────┼─▶ findings, each with a rank ─▶ the most important first
//!   open intents ─┤
//!   machines ─────┘
//! ```

use serde::Serialize;
use vault_api::object::ConditionStatus;
use vault_api::plan::TenantPlan;
use vault_api::status::{TenantStatus, condition};
use vault_api::trace::TracedIntent;

use crate::client::{MachineDiagnosis, MachineExit};
use crate::object::Object;

/// How many actions of a plan, and how many intents, are told one by one; more fill the screen.
const MAX_TOLD: usize = 5;

/// One thing that is in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    /// What comes first is what keeps all else from being done.
    #[serde(skip)]
    rank: u8,
    /// What is in the way.
    pub(super) what: String,
    /// What to do about it, or that nothing is to be done.
    pub(super) next: String,
    /// When the controller tries again by itself, if it waits for a time. RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retry_at: Option<String>,
}

/// What is known of the tenant.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) ready: bool,
    name: String,
    generation: i64,
    deleting: bool,
    reports_drift: bool,
    status: TenantStatus,
    pub(super) plan: Option<TenantPlan>,
    /// Intents whose effect is still to be seen.
    pub(super) open: Vec<TracedIntent>,
    pub(super) machines: Vec<MachineDiagnosis>,
}

impl Facts {
    /// What the tenant itself says.
    pub(super) fn of(tenant: &Object) -> Self {
        let status = tenant.tenant_status().unwrap_or_default();
        let generation =
            tenant.0.pointer("/metadata/generation").and_then(serde_json::Value::as_i64);
        let mut facts = Self {
            name: tenant.name().to_owned(),
            generation: generation.unwrap_or(0),
            deleting: tenant.is_being_deleted(),
            // Kept only where it is so, also if the tenant's class says it.
            reports_drift: status.reached_revision.is_some(),
            status,
            ..Self::default()
        };
        facts.ready = facts.is_fresh() && facts.holds(condition::READY).is_some();
        facts
    }

    /// What the condition Ready says.
    pub(super) fn message(&self) -> String {
        if !self.is_fresh() {
            return "the controller has not looked at it since it changed".to_owned();
        }
        let ready = self.status.conditions.iter().find(|known| known.r#type == condition::READY);
        ready.map_or_else(|| "nothing is said of it yet".to_owned(), |ready| ready.message.clone())
    }

    fn is_fresh(&self) -> bool {
        self.status.observed_generation >= self.generation
    }

    /// The message of a condition that holds.
    fn holds(&self, kind: &str) -> Option<&str> {
        let mut known = self.status.conditions.iter();
        let known = known.find(|known| known.r#type == kind)?;
        (known.status == ConditionStatus::True).then_some(known.message.as_str())
    }
}

/// Everything that is in the way, the most important first.
pub(super) fn find(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    of_the_tenant(facts, &mut found);
    if let Some(plan) = &facts.plan {
        of_the_plan(facts, plan, &mut found);
    }
    let told = facts.open.iter().rev().take(MAX_TOLD);
    found.extend(told.map(of_an_intent));
    found.extend(facts.machines.iter().filter_map(|machine| of_a_machine(machine, &facts.name)));
    found.sort_by_key(|finding| finding.rank);
    found
}

fn of_the_tenant(facts: &Facts, found: &mut Vec<Finding>) {
    if facts.deleting {
        found.push(finding(
            0,
            "somebody asked for its deletion",
            "nothing: it is carried out; `vaultctl events --for tenant/NAME` tells how far it is",
        ));
    }
    if !facts.ready && !facts.is_fresh() {
        let what = format!(
            "the controller has looked at generation {} of it, and it is at {}",
            facts.status.observed_generation, facts.generation
        );
        found.push(finding(1, &what, "nothing: the next pass looks; if none comes, see /status"));
    }
    if let Some(message) = facts.holds(condition::SOURCE_MISSING) {
        let next = "put the manifest back, or delete the tenant by name";
        found.push(finding(40, message, next));
    }
    if facts.plan.is_none()
        && let Some(message) = facts.holds(condition::DEGRADED)
    {
        found.push(finding(2, message, "read the tenant's events"));
    }
}

fn of_the_plan(facts: &Facts, plan: &TenantPlan, found: &mut Vec<Finding>) {
    for note in &plan.notes {
        let (rank, next) = advice(&note.reason, facts.reports_drift);
        let waits =
            matches!(note.reason.as_str(), "BackOff" | "Unsettled" | "NameTaken" | "Refused");
        let retry_at = plan.held_until.clone().filter(|_| waits);
        found.push(Finding { retry_at, ..finding(rank, &note.message, next) });
    }
    // A note says already why actions that are held, paused or withheld are not done.
    let is_told = |target: &str| plan.notes.iter().any(|note| note.message.contains(target));
    let stands_still = plan
        .notes
        .iter()
        .any(|note| matches!(note.reason.as_str(), "Paused" | "BackOff" | "Unsettled"));
    let actions = plan.actions.iter().filter(|action| !is_told(&action.target));
    for action in actions.take(MAX_TOLD) {
        let what =
            format!("{} of {} is to be done: {}", action.action, action.target, action.reason);
        let next = match stands_still {
            true => "it is done when what stands above is over",
            false => "nothing: the next pass does it",
        };
        found.push(finding(30, &what, next));
    }
}

/// How important a note is, and what to do about it.
fn advice(reason: &str, reports_drift: bool) -> (u8, &'static str) {
    match reason {
        "Paused" => (3, "set spec.reconcile to Active when it may go on"),
        "Invalid" => (4, "mend the manifest and apply it"),
        "NameTaken" => {
            (5, "name another app in spec.app, or free the name; then it goes on by itself")
        }
        "Refused" => (6, "read what Fly.io says, and change the manifest or the account"),
        "NotSupported" => (7, "take that part of the manifest back: this version cannot do it"),
        "Stuck" => (8, "look at it at Fly.io, as the controller will not force it"),
        "DriftDetected" if reports_drift => (
            9,
            "take the change over into the manifest, undo it, or set spec.driftPolicy to Correct",
        ),
        "DriftDetected" => {
            (9, "nothing: it is corrected; find out who edits what the manifest owns")
        }
        "Unsettled" => (10, "nothing: its outcome is looked for, and it is never blindly repeated"),
        "BackOff" => (11, "it is tried again by itself; a changed manifest is tried at once"),
        "BudgetExhausted" => (12, "nothing: it goes on when other machines are up again"),
        "Unobserved" => (13, "nothing: it goes on when Fly.io shows all of it again"),
        "Relocating" => (20, "nothing: it is on its way"),
        "Waiting" => (21, "nothing: Fly.io is at it"),
        "Kept" => (50, "nothing: it is kept on purpose"),
        // A word of a newer controller.
        _ => (14, "read the tenant's events"),
    }
}

fn of_an_intent(intent: &TracedIntent) -> Finding {
    let how = match intent.state.as_str() {
        "acked" => "Fly.io said yes, and its lists do not show it yet",
        "sent" => "it was sent, and no answer is known",
        _ => "it is journaled and was not sent",
    };
    let what = format!("{} of {} is under way: {how}", intent.action, intent.target);
    finding(22, &what, "nothing: it is settled by looking; `vaultctl trace` shows its calls")
}

/// A machine that ended by itself; one that was asked to stop has nothing wrong with it.
fn of_a_machine(machine: &MachineDiagnosis, tenant: &str) -> Option<Finding> {
    let ends: Vec<&MachineExit> =
        machine.exits.iter().filter(|exit| !exit.requested_stop).collect();
    let last = ends.last()?;
    let how = match (last.oom_killed, last.exit_code, last.signal) {
        (true, ..) => "ran out of memory".to_owned(),
        (false, _, Some(signal)) if signal != 0 => format!("was ended by signal {signal}"),
        (false, Some(code), _) => format!("ended with code {code}"),
        (false, None, _) => "ended".to_owned(),
    };
    let times = match ends.len() {
        1 => "once".to_owned(),
        count => format!("{count} times lately"),
    };
    let what = format!(
        "machine {} is {}: its program ended {times}, and at last {how}",
        machine.name, machine.state
    );
    let next = format!("read the end of its log: vaultctl describe tenant {tenant}");
    Some(finding(15, &what, &next))
}

fn finding(rank: u8, what: &str, next: &str) -> Finding {
    Finding { rank, what: what.to_owned(), next: next.to_owned(), retry_at: None }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use vault_api::plan::{PlanNote, PlannedAction};

    use super::*;

    fn tenant(conditions: Value) -> Object {
        Object(json!({
            "kind": "Tenant",
            "metadata": { "name": "acme", "generation": 2 },
            "spec": {},
            "status": {
                "observedGeneration": 2, "reachedRevision": 2, "conditions": conditions,
            },
        }))
    }

    fn condition(kind: &str, status: &str, message: &str) -> Value {
        json!({
            "type": kind, "status": status, "observedGeneration": 2,
            "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "R", "message": message,
        })
    }

    fn plan(notes: &[(&str, &str)], actions: &[&str], held_until: Option<&str>) -> TenantPlan {
        let note = |(reason, message): &(&str, &str)| PlanNote {
            reason: (*reason).to_owned(),
            message: (*message).to_owned(),
        };
        let action = |target: &&str| PlannedAction {
            action: "StartMachine".to_owned(),
            target: (*target).to_owned(),
            reason: "it should run and is stopped".to_owned(),
        };
        TenantPlan {
            api_version: "vaultctl.dev/v1".to_owned(),
            kind: "TenantPlan".to_owned(),
            tenant: "acme".to_owned(),
            actions: actions.iter().map(action).collect(),
            notes: notes.iter().map(note).collect(),
            held_until: held_until.map(str::to_owned),
        }
    }

    fn not_ready() -> Facts {
        Facts::of(&tenant(json!([condition("Ready", "False", "no")])))
    }

    fn whats(facts: &Facts) -> Vec<String> {
        find(facts).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_tenant_that_is_ready_has_nothing_in_the_way() {
        let facts = Facts::of(&tenant(json!([condition("Ready", "True", "as wanted")])));
        assert!(facts.ready);
        assert_eq!((facts.message(), whats(&facts).len()), ("as wanted".to_owned(), 0));
    }

    #[test]
    fn ready_at_an_older_generation_is_not_ready() {
        let mut object = tenant(json!([condition("Ready", "True", "as wanted")]));
        object.0["metadata"]["generation"] = json!(3);
        let facts = Facts::of(&object);
        assert!(!facts.ready);
        assert!(whats(&facts)[0].contains("generation 2"), "{:?}", whats(&facts));
    }

    #[test]
    fn what_needs_a_person_comes_before_what_passes() {
        let mut facts = not_ready();
        let notes = [
            ("Waiting", "machine b is starting"),
            ("BudgetExhausted", "machine c waits"),
            ("Invalid", "spec.machines[0]: no"),
            ("DriftDetected", "machine d: edited"),
            ("Novel", "a newer word"),
        ];
        facts.plan = Some(plan(&notes, &["machine e"], None));
        let expected = [
            "spec.machines[0]: no",
            "machine d: edited",
            "machine c waits",
            "a newer word",
            "machine b is starting",
            "StartMachine of machine e is to be done: it should run and is stopped",
        ];
        assert_eq!(whats(&facts), expected);
        let drift = &find(&facts)[1];
        assert!(drift.next.contains("driftPolicy to Correct"), "{drift:?}");
    }

    #[test]
    fn a_wait_says_until_when_and_actions_stand_behind_it() {
        let mut facts = not_ready();
        let until = "2026-01-01T00:05:00Z";
        facts.plan = Some(plan(&[("BackOff", "Fly.io said 503")], &["machine e"], Some(until)));
        let found = find(&facts);
        assert_eq!(found[0].retry_at.as_deref(), Some(until));
        assert_eq!(found[1].next, "it is done when what stands above is over");
        assert_eq!(found[1].retry_at, None);
    }

    #[test]
    fn a_machine_tells_how_it_ended_unless_it_was_asked_to() {
        let exit = |oom_killed, requested_stop| MachineExit {
            exit_code: Some(137),
            oom_killed,
            requested_stop,
            ..MachineExit::default()
        };
        let mut facts = not_ready();
        facts.machines = vec![
            MachineDiagnosis {
                name: "acme-box-0".to_owned(),
                state: "stopped".to_owned(),
                exits: vec![exit(false, false), exit(true, false)],
                ..MachineDiagnosis::default()
            },
            MachineDiagnosis { exits: vec![exit(false, true)], ..MachineDiagnosis::default() },
        ];
        let expected = "machine acme-box-0 is stopped: its program ended 2 times lately, and at \
                        last ran out of memory";
        assert_eq!(whats(&facts), [expected]);
    }

    #[test]
    fn a_deletion_and_a_pause_come_first() {
        let mut object = tenant(json!([condition("Ready", "False", "no")]));
        object.0["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let mut facts = Facts::of(&object);
        let notes = [("Kept", "volumes are kept"), ("Paused", "its deletion waits")];
        facts.plan = Some(plan(&notes, &[], None));
        let expected =
            ["somebody asked for its deletion", "its deletion waits", "volumes are kept"];
        assert_eq!(whats(&facts), expected);
    }
}
