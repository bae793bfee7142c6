//! What became of intents whose effect has not been seen yet: settled by looking, never by
//! repeating.
//!
//! ```text
//!   planned ───────────────────────────────▶ aborted   (was never sent)
//!   sent, acked ── effect in the lists ────▶ verified
//!      │
//!      ├─ `settle_after` has not passed ───▶ stays open (and holds the tenant if doing it again
//!      │  or the lists are not whole            could leave two of something, or
//!      │                                        if it may have taken a machine down)
//!      └─ neither ─────────────────────────▶ aborted   (the next plan decides anew)
//! ```
//!
//! The extension of a volume and a snapshot are not looked for, and not waited for, because doing them
//! again does no harm: the planner does so unless it sees that there is no need. Secrets, which no list
//! shows, are waited for: one that is set late would outlive its tenant, and one that is removed late
//! would be missing where it was set again.

mod fallback;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use vault_plan::action::ActionKind;
use vault_plan::metadata;
use vault_plan::observed::{
    Gaps, Hold, HoldKind, ObservedMachine, ObservedOrganization, ObservedVolume, PlatformState,
    VolumeGap,
};
use vault_plan::time::UnixMillis;

use crate::store::{Intent, IntentState, Settlement};
pub use fallback::TakenDown;

/// How far the platform's clock may be from ours, in milliseconds. Both follow network time.
const CLOCK_SKEW_MAX_MS: i64 = 60_000;

/// What looking at the lists says about open intents.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// To be written to the journal.
    pub settlements: Vec<Settlement>,
    /// Tenants that must wait until an outcome is known.
    pub holds: BTreeMap<String, Hold>,
    /// Tenants with an intent that stays open: something may still appear under their names.
    pub open: BTreeSet<String>,
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
    let lists: HashMap<&str, Lists<'_>> = match intents {
        [] => HashMap::new(),
        _ => organizations.iter().map(|(slug, seen)| (slug.as_str(), Lists::new(seen))).collect(),
    };
    for intent in intents {
        if matches!(intent.kind, ActionKind::MintToken | ActionKind::CreateAccessKey) {
            mint(&mut settled, intent, wait_ms, now);
            continue;
        }
        if is_waited_for(intent.kind) {
            wait(&mut settled, intent, wait_ms, now);
            continue;
        }
        if is_harmless_twice(intent.kind) {
            settled.settlements.push(by_its_answer(intent));
            continue;
        }
        let until = intent.sent_at.unwrap_or(intent.planned_at).plus_ms(wait_ms);
        let (state, external_id, outcome) = match lists.get(intent.organization.as_str()) {
            _ if intent.state == IntentState::Planned => {
                (IntentState::Aborted, None, Some("it was never sent"))
            }
            None => {
                let until = until.max(now.plus_ms(1));
                hold(&mut settled, intent, until, "its organization could not be read");
                continue;
            }
            Some(lists) => match lists.seen(intent) {
                Some(id) => (IntentState::Verified, Some(id), None),
                None if now < until || !lists.are_whole() || lists.hide(intent) => {
                    settled.open.insert(intent.tenant.clone());
                    if must_be_seen(intent) || lists.have_anothers(intent) {
                        let until = until.max(now.plus_ms(1));
                        hold(&mut settled, intent, until, "its effect is not in the lists yet");
                    }
                    continue;
                }
                None => (IntentState::Aborted, None, Some("its effect is not in the lists")),
            },
        };
        let outcome = outcome.map(str::to_owned);
        settled.settlements.push(Settlement { id: intent.id, state, external_id, outcome });
    }
    settled
}

/// A token's question stays open in the store, by its number, until the list of tokens answers it;
/// the tenant is not held for it. The intent is closed when no call can act any more.
fn mint(settled: &mut Settled, intent: &Intent, wait_ms: i64, now: UnixMillis) {
    let until = intent.sent_at.unwrap_or(intent.planned_at).plus_ms(wait_ms);
    if intent.state == IntentState::Sent && now < until {
        settled.open.insert(intent.tenant.clone());
        return;
    }
    let mut settlement = by_its_answer(intent);
    if intent.state == IntentState::Sent {
        let outcome = "no answer came; what it made, if anything, is revoked by its name";
        settlement.outcome = Some(outcome.to_owned());
    }
    settled.settlements.push(settlement);
}

/// Whether doing it twice leaves what doing it once does, or at worst a snapshot too many.
fn is_harmless_twice(kind: ActionKind) -> bool {
    matches!(
        kind,
        ActionKind::ExtendVolume
            | ActionKind::SnapshotVolume
            | ActionKind::RevokeToken
            | ActionKind::RevokeAccessKey
    )
}

/// Whether doing it again, or undoing it, is right, but only once the first call cannot act any more: a
/// policy that comes late would open what a later one has closed, a secret would come back that was
/// removed, and a deletion would meet what was made anew.
fn is_waited_for(kind: ActionKind) -> bool {
    matches!(
        kind,
        ActionKind::SetSecret
            | ActionKind::RemoveSecret
            | ActionKind::CreateBucket
            | ActionKind::PutBucketPolicy
            | ActionKind::RemoveBucketPolicy
            | ActionKind::EmptyBucket
            | ActionKind::DeleteBucket
    )
}

/// The tenant waits until no call can act any more; what came of it, the lists say.
fn wait(settled: &mut Settled, intent: &Intent, wait_ms: i64, now: UnixMillis) {
    let until = intent.sent_at.unwrap_or(intent.planned_at).plus_ms(wait_ms);
    if intent.state == IntentState::Sent && now < until {
        hold(settled, intent, until, "its answer was lost");
        return;
    }
    settled.settlements.push(by_its_answer(intent));
}

/// What became of what may be done again: done if the platform said so, else to be decided anew.
fn by_its_answer(intent: &Intent) -> Settlement {
    let (state, outcome) = match intent.state {
        IntentState::Acked => (IntentState::Verified, None),
        IntentState::Planned => (IntentState::Aborted, Some("it was never sent")),
        _ => (IntentState::Aborted, Some("no answer came; doing it again does no harm")),
    };
    Settlement { id: intent.id, state, external_id: None, outcome: outcome.map(str::to_owned) }
}

/// Whether its tenant has to wait until its effect is seen, or cannot come any more.
///
/// Doing it again, while the first call may still act, could leave two of something or disturb what
/// the first call did. Creating an app or a machine by name cannot: the platform refuses the second.
/// It is waited for all the same once it was acknowledged, because then it exists and the list lags.
///
/// What takes a machine down is waited for because the lists still show it running: while its tenant
/// is held, its machines count as down, and the disruption budget is not spent a second time.
fn must_be_seen(intent: &Intent) -> bool {
    match intent.kind {
        ActionKind::CreateVolume
        | ActionKind::UpdateMachine
        | ActionKind::StopMachine
        | ActionKind::SuspendMachine => true,
        // Who wants back what may be going waits until it is known whether it went.
        ActionKind::DeleteVolume | ActionKind::DeleteApp => true,
        ActionKind::CreateApp | ActionKind::CreateMachine => intent.state == IntentState::Acked,
        ActionKind::SetSecret
        | ActionKind::RemoveSecret
        | ActionKind::ExtendVolume
        | ActionKind::SnapshotVolume
        | ActionKind::StartMachine
        | ActionKind::DeleteMachine => false,
        ActionKind::MintToken | ActionKind::RevokeToken => false,
        ActionKind::CreateBucket
        | ActionKind::CreateAccessKey
        | ActionKind::RevokeAccessKey
        | ActionKind::PutBucketPolicy
        | ActionKind::RemoveBucketPolicy
        | ActionKind::EmptyBucket
        | ActionKind::DeleteBucket => false,
    }
}

/// An organization's lists by what intents name: there may be as many open intents as machines.
struct Lists<'a> {
    gaps: &'a Gaps,
    apps: HashSet<&'a str>,
    /// By app and name.
    machines: HashMap<(&'a str, &'a str), &'a ObservedMachine>,
    machine_ids: HashSet<&'a str>,
    /// By app and name, which is not unique.
    volumes: HashMap<(&'a str, &'a str), Vec<&'a ObservedVolume>>,
}

impl<'a> Lists<'a> {
    fn new(organization: &'a ObservedOrganization) -> Self {
        let ObservedOrganization { apps, machines, volumes, gaps, .. } = organization;
        let mut lists = Self {
            gaps,
            apps: apps.iter().map(String::as_str).collect(),
            machines: machines.iter().map(|seen| ((&*seen.app, &*seen.name), seen)).collect(),
            machine_ids: machines.iter().map(|machine| &*machine.id).collect(),
            volumes: HashMap::new(),
        };
        for volume in volumes {
            lists.volumes.entry((&volume.app, &volume.name)).or_default().push(volume);
        }
        lists
    }

    /// Whether absence proves something. An intent does not say in which region its machine is.
    fn are_whole(&self) -> bool {
        self.gaps.unclear.is_none() && self.gaps.regions.is_empty()
    }

    /// Whether a volume that the intent made may be in its app although no list shows it: the app has
    /// not said which volumes it has.
    fn hide(&self, intent: &Intent) -> bool {
        let unread = matches!(self.gaps.volumes.get(&intent.app), Some(VolumeGap::Unread(_)));
        unread && intent.kind == ActionKind::CreateVolume
    }

    /// Whether another call has made the machine that an intent without an answer was to make. The
    /// platform refuses a second one of the name, but only for as long as the first one is there: its
    /// deletion has to wait until nothing can come in its place.
    fn have_anothers(&self, intent: &Intent) -> bool {
        intent.kind == ActionKind::CreateMachine
            && self.machine(intent).is_some_and(|machine| !is_marked(machine, intent))
    }

    fn machine(&self, intent: &Intent) -> Option<&'a ObservedMachine> {
        self.machines.get(&(&*intent.app, &*intent.external_name)).copied()
    }

    /// The id of the resource that shows the intent's effect.
    fn seen(&self, intent: &Intent) -> Option<String> {
        let named = (&*intent.app, &*intent.external_name);
        let machine = self.machine(intent);
        match intent.kind {
            ActionKind::SetSecret
            | ActionKind::RemoveSecret
            | ActionKind::ExtendVolume
            | ActionKind::SnapshotVolume => None,
            ActionKind::MintToken | ActionKind::RevokeToken => None,
            ActionKind::CreateBucket
            | ActionKind::CreateAccessKey
            | ActionKind::RevokeAccessKey
            | ActionKind::PutBucketPolicy
            | ActionKind::RemoveBucketPolicy
            | ActionKind::EmptyBucket
            | ActionKind::DeleteBucket => None,
            ActionKind::CreateApp => self.apps.contains(&*intent.app).then(|| intent.app.clone()),
            ActionKind::CreateVolume => {
                let volumes = self.volumes.get(&named)?.iter();
                let mut made = volumes.filter(|volume| match &intent.external_id {
                    Some(expected) => volume.id == *expected,
                    // An older one of the name was left behind by a move to another region, or is
                    // still held by the machine that moves. Before the answer is in the journal,
                    // no machine is given the new one.
                    None => {
                        volume.attached_machine.is_none()
                            && volume.created_at.is_none_or(|at| at >= oldest(intent))
                    }
                });
                made.next().map(|volume| volume.id.clone())
            }
            // Without an answer only the mark tells whose a machine of that name is. After one, a later
            // update may have put its own mark there.
            ActionKind::CreateMachine => machine
                .filter(|machine| intent.state == IntentState::Acked || is_marked(machine, intent))
                .map(|machine| machine.id.clone()),
            ActionKind::UpdateMachine
            | ActionKind::StartMachine
            | ActionKind::StopMachine
            | ActionKind::SuspendMachine => machine
                .filter(|machine| effect(intent, machine) == Some(true))
                .map(|machine| machine.id.clone()),
            ActionKind::DeleteMachine => {
                let id = intent.external_id.as_ref()?;
                let there = self.machine_ids.contains(&**id);
                (!there && self.are_whole()).then(|| id.clone())
            }
            ActionKind::DeleteVolume => {
                let id = intent.external_id.as_ref()?;
                let there = self.volumes.get(&named);
                let there = there.is_some_and(|known| known.iter().any(|seen| seen.id == *id));
                (!there && self.are_whole()).then(|| id.clone())
            }
            ActionKind::DeleteApp => {
                let there = self.apps.contains(&*intent.app);
                (!there && self.are_whole()).then(|| intent.app.clone())
            }
        }
    }
}

/// Whether a machine shows the effect of an intent to change it; `None` for other intents.
fn effect(intent: &Intent, machine: &ObservedMachine) -> Option<bool> {
    let in_state = |states: [PlatformState; 2]| Some(states.contains(&machine.state));
    match intent.kind {
        ActionKind::UpdateMachine => Some(is_marked(machine, intent)),
        ActionKind::StartMachine => in_state([PlatformState::Starting, PlatformState::Started]),
        ActionKind::StopMachine => in_state([PlatformState::Stopping, PlatformState::Stopped]),
        ActionKind::SuspendMachine => {
            in_state([PlatformState::Suspending, PlatformState::Suspended])
        }
        _ => None,
    }
}

/// Whether a machine is as this intent made it: updates put their own mark over that of the creation.
fn is_marked(machine: &ObservedMachine, intent: &Intent) -> bool {
    machine.metadata.get(metadata::INTENT) == Some(&intent.id.to_string())
}

/// What is older than this was there before the intent, whatever the platform's clock says.
fn oldest(intent: &Intent) -> UnixMillis {
    intent.sent_at.unwrap_or(intent.planned_at).plus_ms(-CLOCK_SKEW_MAX_MS)
}

fn hold(settled: &mut Settled, intent: &Intent, until: UnixMillis, why: &str) {
    let message = format!("waiting for {} {}: {why}", intent.kind, intent.external_name);
    let hold = Hold { until, message, kind: HoldKind::Unsettled };
    settled.open.insert(intent.tenant.clone());
    let entry = settled.holds.entry(intent.tenant.clone()).or_insert_with(|| hold.clone());
    if entry.until < until {
        *entry = hold;
    }
}

#[cfg(test)]
mod tests;
