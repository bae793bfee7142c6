//! Lists that fall back: what one showed, the next one may not show yet.
//!
//! ```text
//!   a list shows a machine taken down by us ─▶ for `settle_after`: does the next list still show it?
//!        ├─ yes, or somebody has changed it since, or it is gone ─▶ nothing
//!        └─ no, its row is older than the call ───────────────────▶ its tenant is held, as before
//! ```
//!
//! Without this, a machine that went down would count as running once more, and the disruption budget
//! would be spent a second time. That holds as well after the machine's deletion was asked for: a list that
//! falls back behind both shows it running.

use super::*;

/// How far the platform's clock may be from ours for a row to be taken for older than a call, in
/// milliseconds. Where it is further away, such a list is believed, or a tenant waits, for no longer
/// than `settle_after`.
const ROW_SKEW_MS: i64 = 2_000;

/// Calls that took machines down, and whose effect a list has shown lately. All of it may be lost: the
/// journal has it too.
#[derive(Clone, Debug, Default)]
pub struct TakenDown(Vec<(Intent, UnixMillis)>);

impl TakenDown {
    /// What the journal tells: these were verified within `settle_after` before `now`.
    #[must_use]
    pub fn of(verified: Vec<Intent>, settle_after: Duration, now: UnixMillis) -> Self {
        let until = now.plus_ms(milliseconds(settle_after));
        let verified = verified.into_iter().filter(|intent| takes_down(intent.kind));
        Self(verified.map(|intent| (intent, until)).collect())
    }

    /// Takes in what was settled at `now` of the open intents, and forgets what is too old to matter,
    /// or was followed by another call that takes the same machine down, whose effect is looked for
    /// instead.
    pub fn follow(
        &mut self,
        open: &[Intent],
        settlements: &[Settlement],
        settle_after: Duration,
        now: UnixMillis,
    ) {
        let until = now.plus_ms(milliseconds(settle_after));
        let taking_down = open.iter().filter(|intent| takes_down(intent.kind));
        let taking_down: HashMap<_, _> = taking_down.map(|intent| (intent.id, intent)).collect();
        let verified = settlements.iter().filter(|one| one.state == IntentState::Verified);
        let verified = verified.filter_map(|one| taking_down.get(&one.id));
        self.0.extend(verified.map(|intent| ((*intent).clone(), until)));
        if self.0.is_empty() {
            return;
        }
        // The last of several: what is open comes in the order of its ids.
        let again = open.iter().filter(|intent| takes_down(intent.kind));
        let last: HashMap<_, _> = again.map(|intent| (named(intent), intent.id)).collect();
        let is_followed =
            |intent: &Intent| last.get(&named(intent)).is_some_and(|later| *later > intent.id);
        self.0.retain(|(intent, until)| now < *until && !is_followed(intent));
    }

    /// Holds the tenants whose machines these lists show as they were before.
    pub fn hold(
        &self,
        settled: &mut Settled,
        organizations: &BTreeMap<String, ObservedOrganization>,
    ) {
        if self.0.is_empty() {
            return;
        }
        // By id: what is made under the name of one that was destroyed is another machine.
        let machines = organizations.values().flat_map(|lists| &lists.machines);
        let machines: HashMap<&str, _> = machines.map(|machine| (&*machine.id, machine)).collect();
        for (intent, until) in &self.0 {
            let Some(machine) = intent.external_id.as_deref().and_then(|id| machines.get(id))
            else {
                continue;
            };
            let sent_at = intent.sent_at.unwrap_or(intent.planned_at);
            let is_older = machine.updated_at.is_some_and(|at| at < sent_at.plus_ms(ROW_SKEW_MS));
            if is_older && effect(intent, machine) == Some(false) {
                hold(settled, intent, *until, "a list shows its machine as it was before");
            }
        }
    }
}

/// Whether an intent's effect is that a machine which runs is down, for a moment at least.
fn takes_down(kind: ActionKind) -> bool {
    matches!(kind, ActionKind::UpdateMachine | ActionKind::StopMachine | ActionKind::SuspendMachine)
}

/// What an intent is about: its app, and the name there.
fn named(intent: &Intent) -> (&str, &str) {
    (&intent.app, &intent.external_name)
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use ulid::Ulid;

    use super::*;
    use crate::testing::{NOW, ORG, machine};

    const WAIT: Duration = Duration::from_secs(10);

    fn stop() -> Intent {
        Intent {
            id: Ulid::from_parts(5, 1),
            tenant: "acme".to_owned(),
            organization: ORG.to_owned(),
            app: "acme-app".to_owned(),
            kind: ActionKind::StopMachine,
            external_name: "acme-box-0".to_owned(),
            external_id: Some("m1".to_owned()),
            state: IntentState::Sent,
            planned_at: NOW,
            sent_at: Some(NOW),
            outcome: None,
            spec_hash: None,
        }
    }

    fn verified(intent: &Intent) -> TakenDown {
        let mut known = TakenDown::default();
        let settlement = Settlement {
            id: intent.id,
            state: IntentState::Verified,
            external_id: None,
            outcome: None,
        };
        known.follow(std::slice::from_ref(intent), &[settlement], WAIT, NOW.plus_ms(4_000));
        known
    }

    /// Until when acme is held if its machine is in that state since then.
    fn held(known: &TakenDown, state: PlatformState, updated_ms: i64) -> Option<i64> {
        let mut seen = machine("m1", "acme-box-0", "acme-app");
        (seen.state, seen.updated_at) = (state, Some(NOW.plus_ms(updated_ms)));
        let lists = ObservedOrganization { machines: vec![seen], ..Default::default() };
        let mut settled = Settled::default();
        known.hold(&mut settled, &BTreeMap::from([(ORG.to_owned(), lists)]));
        let hold = settled.holds.get("acme")?;
        assert!(hold.kind == HoldKind::Unsettled && settled.open.contains("acme"));
        Some(hold.until.since_ms(NOW))
    }

    #[test]
    fn a_list_that_falls_back_behind_a_stop_holds_the_tenant_for_a_while() {
        let known = verified(&stop());
        assert_eq!(held(&known, PlatformState::Started, -60_000), Some(14_000));
        assert_eq!(held(&known, PlatformState::Stopped, 1_000), None, "it shows");
        assert_eq!(held(&known, PlatformState::Started, 3_000), None, "started by somebody since");
        let mut later = known.clone();
        later.follow(&[], &[], WAIT, NOW.plus_ms(14_000));
        assert_eq!(held(&later, PlatformState::Started, -60_000), None, "too long ago");
        let mut followed = known;
        let next = Intent { id: Ulid::from_parts(6, 1), ..stop() };
        followed.follow(&[next], &[], WAIT, NOW.plus_ms(5_000));
        assert_eq!(held(&followed, PlatformState::Started, -60_000), None, "the next one says");
    }

    #[test]
    fn a_list_that_falls_back_behind_a_stop_and_a_start_holds_the_tenant_too() {
        let mut known = verified(&stop());
        let next = Intent { id: Ulid::from_parts(6, 1), kind: ActionKind::StartMachine, ..stop() };
        let settlement = Settlement {
            id: next.id,
            state: IntentState::Verified,
            external_id: None,
            outcome: None,
        };
        // That it runs, as before the stop, passes for the effect of the start.
        known.follow(&[next], &[settlement], WAIT, NOW.plus_ms(5_000));
        assert_eq!(held(&known, PlatformState::Started, -60_000), Some(14_000));
        assert_eq!(held(&known, PlatformState::Starting, 5_000), None, "it is on its way");
        assert_eq!(held(&known, PlatformState::Started, 6_000), None, "it runs again");
    }

    #[test]
    fn a_list_that_falls_back_behind_a_stop_and_a_deletion_holds_the_tenant_too() {
        for kind in [ActionKind::DeleteMachine, ActionKind::CreateMachine] {
            let mut known = verified(&stop());
            let next = Intent { id: Ulid::from_parts(6, 1), kind, ..stop() };
            known.follow(&[next], &[], WAIT, NOW.plus_ms(5_000));
            assert_eq!(held(&known, PlatformState::Started, -60_000), Some(14_000), "{kind}");
        }
        let mut known = verified(&stop());
        known.0[0].0.external_id = Some("m0".to_owned());
        assert_eq!(held(&known, PlatformState::Started, 1_000), None, "another one of its name");
    }

    #[test]
    fn the_journal_tells_it_after_a_restart_and_what_takes_nothing_down_does_not_count() {
        let start = Intent { kind: ActionKind::StartMachine, ..stop() };
        let known = TakenDown::of(vec![start, stop()], WAIT, NOW);
        assert_eq!(held(&known, PlatformState::Started, -60_000), Some(10_000));
        let start = Intent { kind: ActionKind::StartMachine, ..stop() };
        assert_eq!(held(&verified(&start), PlatformState::Stopped, -60_000), None);
        let aborted = TakenDown::of(Vec::new(), WAIT, NOW);
        assert_eq!(held(&aborted, PlatformState::Started, -60_000), None);
    }
}
