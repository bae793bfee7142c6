//! One look at the platform: three lists per organization, and a second look at what is missing.
//!
//! ```text
//!   apps, machines, volumes ─▶ ObservedOrganization
//!            │
//!            └─ known, but not listed? ─▶ asked for by id ─▶ there after all: added
//!                                              │         └▶ not there: gone
//!            │                                 └▶ too many, or no answer: Gaps::unclear
//!            └─ a volume asked for, and not listed? ─▶ its app is asked ─▶ no answer: Gaps::volumes
//! ```
//!
//! Lists lag, leave regions out, and were once empty for everybody (28 April 2026). What we know by
//! id is gone only when the platform says so by id.

mod delta;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use futures_util::future::join_all;
use thiserror::Error;
use vault_cloud::error::CallError;
use vault_plan::observed::{Gaps, ObservedOrganization, PlatformState, VolumeGap};
use vault_plan::time::UnixMillis;

use crate::chain::chain;
use crate::in_turn::in_turn;
use crate::platform::{Platform, VolumeList};
pub use delta::Seen;

/// How many missing resources are asked for by id in one pass. More than this missing at once is a
/// sign that the list is wrong; nothing is concluded then, and the next pass asks for others.
const CONFIRMATIONS_MAX: usize = 50;

/// How many apps are asked in one pass, side by side, for volumes whose creation was sent and has not been
/// seen. The others wait for a pass that follows, and hold nobody but their own tenants: a process that
/// dies may leave as many such calls as it had in flight, none of which may ever have taken effect. What
/// is learned of these is in the journal before the next ones are asked.
const EXPECTED_MAX: usize = 50;

/// What earlier passes and the journal know of an organization.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Machines by id.
    pub machines: BTreeMap<String, KnownMachine>,
    /// The apps of volumes, by the volumes' ids.
    pub volumes: BTreeMap<String, String>,
    /// Volumes, by app and name, whose creation was sent and has not been seen: their app is asked
    /// for them, because a second one would not be refused.
    pub expected_volumes: BTreeSet<(String, String)>,
}

/// Where a known machine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownMachine {
    /// The app's name.
    pub app: String,
    /// The region code, if it is known.
    pub region: Option<String>,
}

/// What one look yielded.
#[derive(Debug, Default)]
pub struct Look {
    /// Organizations that could be read.
    pub organizations: BTreeMap<String, ObservedOrganization>,
    /// Those that could not.
    pub failures: Vec<ObserveError>,
    /// Known ids of which the platform said, asked by id, that they are gone.
    pub gone: BTreeSet<String>,
}

/// An organization could not be read.
#[derive(Debug, Error)]
#[error("organization {organization} could not be read")]
pub struct ObserveError {
    /// Which.
    pub organization: String,
    /// Why.
    pub source: CallError,
}

/// Looks at each organization, at `now`.
pub async fn observe<P: Platform>(
    platform: &P,
    organizations: &BTreeSet<String>,
    known: &BTreeMap<String, Known>,
    now: UnixMillis,
) -> Look {
    let mut look = Look::default();
    let nothing = Known::default();
    for organization in organizations {
        let known = known.get(organization).unwrap_or(&nothing);
        match one(platform, organization, known, &mut look.gone, now).await {
            Ok(observed) => {
                look.organizations.insert(organization.clone(), observed);
            }
            Err(source) => {
                look.failures.push(ObserveError { organization: organization.clone(), source });
            }
        }
    }
    look
}

async fn one<P: Platform>(
    platform: &P,
    organization: &str,
    known: &Known,
    gone: &mut BTreeSet<String>,
    now: UnixMillis,
) -> Result<ObservedOrganization, CallError> {
    let (apps, machines, volumes) = tokio::try_join!(
        platform.apps(organization),
        platform.machines(organization),
        platform.volumes(organization),
    )?;
    let mut observed = ObservedOrganization {
        id: apps.organization_id,
        apps: apps.names,
        app_ids: apps.ids,
        machines: machines.machines,
        volumes: volumes.volumes,
        gaps: Gaps { regions: machines.error_regions, ..Gaps::default() },
    };
    let unreadable = machines.unreadable + volumes.unreadable;
    if unreadable > 0 {
        observed.gaps.unclear =
            Some(format!("{unreadable} rows of the platform's lists could not be read"));
    }
    if apps.partial {
        observed.gaps.unclear = Some("the platform's list of apps is not whole".to_owned());
    }
    confirm(platform, &mut observed, known, gone, now).await;
    let unread = std::mem::take(&mut observed.gaps.volumes);
    observed.gaps.volumes = uncounted(apps.volume_counts, &observed, volumes.departing);
    observed.gaps.volumes.extend(unread);
    observed.machines.retain(|machine| machine.state != PlatformState::Destroyed);
    Ok(observed)
}

/// Asks by id for what is known and not listed. What cannot be learned makes the lists unclear.
async fn confirm<P: Platform>(
    platform: &P,
    observed: &mut ObservedOrganization,
    known: &Known,
    gone: &mut BTreeSet<String>,
    now: UnixMillis,
) {
    let Missing { machines, apps, expected } = missing(observed, known);
    let asked = machines.len() + apps.len();
    let mut unclear = observed.gaps.unclear.take();
    let mut lost_volumes: Vec<(String, String)> = Vec::new();
    if asked > CONFIRMATIONS_MAX {
        unclear.get_or_insert_with(|| {
            format!("{asked} known machines and volumes are missing from the lists at once")
        });
    }
    let looks = machines.into_iter().take(CONFIRMATIONS_MAX).map(|(id, app)| async move {
        let machine = platform.machine(&app, &id).await;
        (id, machine)
    });
    for (id, machine) in join_all(looks).await {
        match machine {
            Ok(Some(machine)) => observed.machines.push(machine),
            Ok(None) => drop(gone.insert(id)),
            Err(error) => {
                unclear.get_or_insert_with(|| {
                    format!("machine {id} is not listed, and asking for it did not help: {error}")
                });
            }
        }
    }
    for (app, list) in ask_for_volumes(platform, apps.into_iter().take(CONFIRMATIONS_MAX)).await {
        let there = match list {
            Ok(there) if there.unreadable == 0 => there.volumes,
            Ok(_) => {
                unclear.get_or_insert_with(|| format!("volumes of app {app} could not be read"));
                continue;
            }
            Err(error) => {
                unclear.get_or_insert_with(|| {
                    format!("volumes of app {app} are not listed, and asking did not help: {error}")
                });
                continue;
            }
        };
        let in_app = known.volumes.iter().filter(|(_, known_app)| **known_app == app);
        let lost = in_app.filter(|(id, _)| there.iter().all(|volume| volume.id != **id));
        lost_volumes.extend(lost.map(|(id, _)| (id.clone(), app.clone())));
        observed.volumes.retain(|volume| volume.app != app);
        observed.volumes.extend(there);
    }
    confirm_volumes(platform, lost_volumes, observed, gone, &mut unclear).await;
    observed.gaps.unclear = unclear;
    look_for_expected(platform, expected, observed, now).await;
}

/// Asks apps for volumes whose creation was sent. An app that does not say what it has is a gap of
/// its own: whoever waits for that volume goes on waiting, and nobody else.
async fn look_for_expected<P: Platform>(
    platform: &P,
    apps: BTreeSet<String>,
    observed: &mut ObservedOrganization,
    now: UnixMillis,
) {
    let (turn, others) = in_turn(apps.into_iter().collect(), EXPECTED_MAX, now);
    let answers = ask_for_volumes(platform, turn).await;
    let mut gap = |app, why| drop(observed.gaps.volumes.insert(app, VolumeGap::Unread(why)));
    for app in others {
        gap(app, "other apps are asked first".to_owned());
    }
    for (app, list) in answers {
        match list {
            Ok(there) if there.unreadable == 0 => {
                observed.volumes.retain(|volume| volume.app != app);
                observed.volumes.extend(there.volumes);
            }
            Ok(there) => gap(app, format!("{} rows could not be read", there.unreadable)),
            Err(error) => gap(app, chain(&error)),
        }
    }
}

/// Asks these apps for their volumes, side by side.
async fn ask_for_volumes<P: Platform>(
    platform: &P,
    apps: impl IntoIterator<Item = String>,
) -> Vec<(String, Result<VolumeList, CallError>)> {
    let looks = apps.into_iter().map(|app| async move {
        let list = platform.app_volumes(&app).await;
        (app, list)
    });
    join_all(looks).await
}

/// Asks by id for volumes that their apps do not list either: an app's own list is a list as well,
/// and no better than the others.
async fn confirm_volumes<P: Platform>(
    platform: &P,
    lost: Vec<(String, String)>,
    observed: &mut ObservedOrganization,
    gone: &mut BTreeSet<String>,
    unclear: &mut Option<String>,
) {
    if lost.len() > CONFIRMATIONS_MAX {
        unclear.get_or_insert_with(|| {
            format!("{} known volumes are missing from their apps at once", lost.len())
        });
    }
    let looks = lost.into_iter().take(CONFIRMATIONS_MAX).map(|(id, app)| async move {
        let volume = platform.volume(&app, &id).await;
        (id, volume)
    });
    for (id, volume) in join_all(looks).await {
        match volume {
            Ok(Some(volume)) => observed.volumes.push(volume),
            Ok(None) => drop(gone.insert(id)),
            Err(error) => {
                unclear.get_or_insert_with(|| {
                    format!("volume {id} is not listed, and asking for it did not help: {error}")
                });
            }
        }
    }
}

/// What has to be asked for because no list shows it.
struct Missing {
    /// Known machines by id, with their apps.
    machines: Vec<(String, String)>,
    /// The apps of known volumes.
    apps: BTreeSet<String>,
    /// The other apps of volumes whose creation was sent.
    expected: BTreeSet<String>,
}

/// What is known, or was sent for, and is not listed. What is missing because its region is has
/// nothing to be asked about.
fn missing(observed: &ObservedOrganization, known: &Known) -> Missing {
    let listed: HashSet<&str> =
        observed.machines.iter().map(|machine| machine.id.as_str()).collect();
    let hidden = |machine: &KnownMachine| {
        machine.region.as_ref().is_some_and(|region| observed.gaps.regions.contains(region))
    };
    let machines = known
        .machines
        .iter()
        .filter(|(id, machine)| !listed.contains(id.as_str()) && !hidden(machine))
        .map(|(id, machine)| (id.clone(), machine.app.clone()))
        .collect();
    let listed: HashSet<&str> = observed.volumes.iter().map(|volume| volume.id.as_str()).collect();
    let lost = known.volumes.iter().filter(|(id, _)| !listed.contains(id.as_str()));
    let apps: BTreeSet<String> = lost.map(|(_, app)| app.clone()).collect();
    let mut expected = BTreeSet::new();
    if !known.expected_volumes.is_empty() {
        let listed: HashSet<(&str, &str)> =
            observed.volumes.iter().map(|volume| (&*volume.app, &*volume.name)).collect();
        let unseen = known
            .expected_volumes
            .iter()
            .filter(|(app, name)| !listed.contains(&(app.as_str(), name.as_str())));
        expected.extend(unseen.map(|(app, _)| app).filter(|app| !apps.contains(*app)).cloned());
    }
    Missing { machines, apps, expected }
}

/// The apps of which the list of apps counts more volumes than are shown.
fn uncounted(
    mut counts: BTreeMap<String, u64>,
    observed: &ObservedOrganization,
    departing: Vec<String>,
) -> BTreeMap<String, VolumeGap> {
    let mut shown: HashMap<&str, u64> = HashMap::with_capacity(counts.len());
    let apps = observed.volumes.iter().map(|volume| volume.app.as_str());
    for app in apps.chain(departing.iter().map(String::as_str)) {
        *shown.entry(app).or_default() += 1;
    }
    counts.retain(|app, count| shown.get(app.as_str()).is_none_or(|shown| *shown < *count));
    counts.into_iter().map(|(app, count)| (app, VolumeGap::Counted(count))).collect()
}

#[cfg(test)]
mod tests;
