//! One look at the platform: three lists per organization, and a second look at what is missing.
//!
//! ```text
//!   apps, machines, volumes ─▶ ObservedOrganization
//!            │
//!            └─ known, but not listed? ─▶ asked for by id ─▶ there after all: added
//!                                                        └▶ too many to ask: Gaps::unclear
//! ```
//!
//! Lists lag, leave regions out, and were once empty for everybody (28 April 2026). What we know by
//! id is gone only when the platform says so by id.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use thiserror::Error;
use vault_cloud::error::CallError;
use vault_plan::observed::{Gaps, ObservedOrganization, PlatformState};

use crate::platform::Platform;

/// How many missing resources are asked for by id in one pass. More than this missing at once is a
/// sign that the list is wrong; nothing is concluded then, and the next pass asks for others.
const CONFIRMATIONS_MAX: usize = 50;

/// What earlier passes knew of an organization, by id, with the app that it is in.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Machines.
    pub machines: BTreeMap<String, String>,
    /// Volumes.
    pub volumes: BTreeMap<String, String>,
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

/// Looks at each organization.
pub async fn observe<P: Platform>(
    platform: &P,
    organizations: &BTreeSet<String>,
    known: &BTreeMap<String, Known>,
) -> Look {
    let mut look = Look::default();
    let nothing = Known::default();
    for organization in organizations {
        let known = known.get(organization).unwrap_or(&nothing);
        match one(platform, organization, known, &mut look.gone).await {
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
) -> Result<ObservedOrganization, CallError> {
    let (apps, machines, volumes) = tokio::try_join!(
        platform.apps(organization),
        platform.machines(organization),
        platform.volumes(organization),
    )?;
    let mut observed = ObservedOrganization {
        apps: apps.names,
        machines: machines.machines,
        volumes: volumes.volumes,
        gaps: Gaps { regions: machines.error_regions, unclear: None },
    };
    let unreadable = machines.unreadable + volumes.unreadable;
    if unreadable > 0 {
        observed.gaps.unclear =
            Some(format!("{unreadable} rows of the platform's lists could not be read"));
    }
    if apps.partial {
        observed.gaps.unclear = Some("the platform's list of apps is not whole".to_owned());
    }
    confirm(platform, &mut observed, known, gone).await?;
    observed.machines.retain(|machine| machine.state != PlatformState::Destroyed);
    Ok(observed)
}

/// Asks by id for what is known and not listed.
async fn confirm<P: Platform>(
    platform: &P,
    observed: &mut ObservedOrganization,
    known: &Known,
    gone: &mut BTreeSet<String>,
) -> Result<(), CallError> {
    let listed: HashSet<&str> =
        observed.machines.iter().map(|machine| machine.id.as_str()).collect();
    let missing_machines: Vec<(String, String)> = missing(&known.machines, &listed);
    let listed: HashSet<&str> = observed.volumes.iter().map(|volume| volume.id.as_str()).collect();
    let missing_volumes = missing(&known.volumes, &listed);
    let missing = missing_machines.len() + missing_volumes.len();
    if missing > CONFIRMATIONS_MAX && observed.gaps.unclear.is_none() {
        observed.gaps.unclear =
            Some(format!("{missing} known machines and volumes are missing from the lists at once"));
    }
    for (id, app) in missing_machines.into_iter().take(CONFIRMATIONS_MAX) {
        match platform.machine(&app, &id).await? {
            Some(machine) => observed.machines.push(machine),
            None => drop(gone.insert(id)),
        }
    }
    let apps: BTreeSet<&String> = missing_volumes.iter().map(|(_, app)| app).collect();
    for app in apps.into_iter().take(CONFIRMATIONS_MAX) {
        let mut there = platform.app_volumes(app).await?.volumes;
        for (id, _) in missing_volumes.iter().filter(|(_, known_app)| known_app == app) {
            match there.iter().position(|volume| volume.id == *id) {
                Some(place) => observed.volumes.push(there.swap_remove(place)),
                None => drop(gone.insert(id.clone())),
            }
        }
    }
    Ok(())
}

fn missing(known: &BTreeMap<String, String>, listed: &HashSet<&str>) -> Vec<(String, String)> {
    known
        .iter()
        .filter(|(id, _)| !listed.contains(id.as_str()))
        .map(|(id, app)| (id.clone(), app.clone()))
        .collect()
}
