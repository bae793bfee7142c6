//! A last look before an app is made that was there before, or forgotten because it is gone.
//!
//! ```text
//!   plan ─▶ CreateApp of an app that has secrets of ours ──┐
//!       └─▶ the end of a tombstone whose app is not listed ┴▶ asked by name ─▶ there: added, plan again
//!                                                              │           └▶ not there: made, or ended
//!                                                              └▶ no answer, or too many: its tenant waits
//! ```
//!
//! A list of apps that is wrongly empty is all that says so where no machine and no volume is listed
//! in the app: the tenant has none, or its region is left out. The platform refuses a second app of
//! one name, but to make an app is to forget the secrets of the one before: they would be set again.
//! An app whose tombstone ended too soon would stay for ever, and its tenant could not be taken back.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use vault_plan::action::{Action, AppPlace, Plan};
use vault_plan::observed::{Hold, HoldKind, Observed};
use vault_plan::time::UnixMillis;
use vault_plan::tombstone::{Tombstone, TombstoneKind, TombstoneState};

use super::LOOKS_MAX;
use crate::chain::chain;
use crate::in_turn::in_turn;
use crate::platform::{AppOwner, Platform};

/// Asks for the apps that this plan would make although we have set secrets in them, or takes for
/// gone, and adds those that are there. What cannot be learned now holds its tenant until the next pass. Whether
/// there was anything to ask.
pub(crate) async fn confirm_apps<P: Platform>(
    platform: &P,
    plan: &Plan,
    observed: &mut Observed,
    now: UnixMillis,
) -> bool {
    let doubted = doubted(plan, observed);
    let (turn, others) = in_turn(doubted.keys().collect(), LOOKS_MAX, now);
    let looks = turn.into_iter().map(|place| async move {
        let owner = platform.app_owner(&place.app).await.map_err(|error| chain(&error));
        (place, owner)
    });
    let mut waits: Vec<(&AppPlace, String)> = Vec::new();
    for (place, owner) in join_all(looks).await {
        match owner {
            Ok(AppOwner::Organization(owner)) if owner == *place.organization => {
                if let Some(organization) = observed.organizations.get_mut(&owner) {
                    organization.apps.push(place.app.clone());
                }
            }
            // It is gone, or somebody took its name: the plan says what comes of that.
            Ok(AppOwner::Organization(_) | AppOwner::SomebodyElse | AppOwner::Nobody) => {}
            Err(why) => waits.push((place, format!("asking for it did not help: {why}"))),
        }
    }
    waits.extend(
        others.into_iter().map(|place| (place, "other apps are asked for first".to_owned())),
    );
    for (place, why) in waits {
        let message = format!("app {} was there and is not listed, and {why}", place.app);
        // Past as soon as the next pass plans; an earlier reason to wait may last longer.
        let hold = Hold { until: now.plus_ms(1), message, kind: HoldKind::BackOff };
        let entry = observed.holds.entry(doubted[place].to_string());
        let entry = entry.or_insert_with(|| hold.clone());
        if entry.until < hold.until {
            *entry = hold;
        }
    }
    !doubted.is_empty()
}

/// The apps that are to be made and have secrets of ours, and those whose tombstones end because they
/// are not listed, with their tenants.
fn doubted(plan: &Plan, observed: &Observed) -> BTreeMap<AppPlace, Arc<str>> {
    let made = plan.actions.iter().filter(|planned| matches!(planned.action, Action::CreateApp));
    let known = made.filter(|planned| observed.secrets.contains_key(&planned.app));
    let known = known.map(|planned| {
        let organization = Arc::clone(&planned.organization);
        (AppPlace { organization, app: planned.app.clone() }, Arc::clone(&planned.tenant))
    });
    let is_listed = |tombstone: &Tombstone| {
        let lists = observed.organizations.get(&tombstone.organization);
        lists.is_some_and(|lists| lists.apps.contains(&tombstone.app))
    };
    let tombstones = plan.tombstones.written.iter().filter(|tombstone| {
        tombstone.kind == TombstoneKind::Tenant
            && tombstone.state == TombstoneState::Ended
            && !tombstone.app.is_empty()
            && !is_listed(tombstone)
    });
    let ended = tombstones.map(|tombstone| {
        let organization = tombstone.organization.as_str().into();
        let place = AppPlace { organization, app: tombstone.app.clone() };
        (place, tombstone.tenant.as_str().into())
    });
    known.chain(ended).collect()
}
