//! Whose turn comes first when more tenants are to be served than there are places: pure.
//!
//! ```text
//!   what a person changed  >  what drifted  >  upkeep;   within each: those that failed lately last
//! ```
//!
//! A tenant that fails again and again therefore never stands before one that waits for its first
//! attempt, and a rotation of ten thousand tokens never before somebody's new tenant.

use std::collections::BTreeSet;

use vault_plan::action::{Action, PlannedAction};

/// What is known of the tenants whose turns are put in order.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Those that were not Ready yet since somebody changed what they should be.
    pub changed: BTreeSet<String>,
    /// Those whose last turn failed.
    pub failed: BTreeSet<String>,
}

/// Why a tenant is acted for, the most urgent reason first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    /// A person changed something and waits.
    Change,
    /// The platform is not as it was.
    Drift,
    /// Nobody would notice if it came later.
    Upkeep,
}

/// The turns in the order in which they get their places. What is alike keeps its order.
#[must_use]
pub(super) fn in_order(
    mut turns: Vec<Vec<PlannedAction>>,
    standing: &Standing,
) -> Vec<Vec<PlannedAction>> {
    turns.sort_by_key(|actions| {
        let tenant = &*actions[0].tenant;
        (urgency(actions, standing), standing.failed.contains(tenant))
    });
    turns
}

fn urgency(actions: &[PlannedAction], standing: &Standing) -> Urgency {
    if actions.iter().all(|planned| is_upkeep(&planned.action)) {
        return Urgency::Upkeep;
    }
    match standing.changed.contains(&*actions[0].tenant) {
        true => Urgency::Change,
        false => Urgency::Drift,
    }
}

/// What is done on a schedule of ours, and not because something is wrong.
fn is_upkeep(action: &Action) -> bool {
    matches!(
        action,
        Action::RevokeToken(_)
            | Action::DeleteVolume(_)
            | Action::DeleteApp
            | Action::RevokeAccessKey(_)
            | Action::EmptyBucket(_)
            | Action::DeleteBucket(_)
    )
}

#[cfg(test)]
mod tests {
    use vault_plan::action::MachineRef;

    use super::*;

    fn planned(tenant: &str, action: Action) -> PlannedAction {
        PlannedAction {
            tenant: tenant.into(),
            organization: "local".into(),
            app: format!("{tenant}-app"),
            action,
            reason: "a test wants it".to_owned(),
        }
    }

    fn start(tenant: &str) -> Vec<PlannedAction> {
        let name = format!("{tenant}-box-0");
        let machine = MachineRef { id: "1".to_owned(), name, version: None };
        vec![planned(tenant, Action::StartMachine(machine))]
    }

    fn upkeep(tenant: &str) -> Vec<PlannedAction> {
        vec![planned(tenant, Action::DeleteApp)]
    }

    fn names(tenants: &[&str]) -> BTreeSet<String> {
        tenants.iter().map(|&tenant| tenant.to_owned()).collect()
    }

    fn order(turns: Vec<Vec<PlannedAction>>, standing: &Standing) -> Vec<String> {
        let turns = in_order(turns, standing);
        turns.iter().map(|actions| actions[0].tenant.to_string()).collect()
    }

    #[test]
    fn changes_come_before_drift_and_drift_before_upkeep() {
        let standing = Standing { changed: names(&["a-upkeep", "y", "z"]), ..Standing::default() };
        let turns = vec![upkeep("a-upkeep"), start("b"), start("c"), start("y"), start("z")];
        assert_eq!(order(turns, &standing), ["y", "z", "b", "c", "a-upkeep"]);
    }

    #[test]
    fn who_failed_stands_behind_those_with_the_same_reason_and_no_further_behind() {
        let standing = Standing { changed: names(&["a", "b"]), failed: names(&["a", "c"]) };
        let turns = vec![start("a"), start("b"), start("c"), start("d"), upkeep("e")];
        assert_eq!(order(turns, &standing), ["b", "a", "d", "c", "e"]);
    }

    #[test]
    fn a_turn_with_more_than_upkeep_is_no_upkeep() {
        let mut turn = upkeep("a");
        turn.extend(start("a"));
        let turns = vec![upkeep("0"), turn];
        assert_eq!(order(turns, &Standing::default()), ["a", "0"]);
    }
}
