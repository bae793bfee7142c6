//! What is known of app secrets, and the looks that keep it true: pure, but for [`look`].
//!
//! ```text
//!   our set's answer ─┐                                   ┌─▶ the same digest ─▶ Set
//!                     ├─▶ StoredSecret ─▶ due? ─▶ look ───┼─▶ another ─────────▶ Changed ─▶ set again
//!   a machine's mark ─┘   (digest)        a few apps      └─▶ none ────────────▶ Missing ─▶ set again
//! ```
//!
//! No list of the platform shows secrets: each look is a call for one app, so a pass makes a few at
//! most. Digests are opaque. The first one that is seen without one to compare it with (the
//! database was lost, and machines' marks say that the secret is set) is what later ones are
//! compared with.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::future::join_all;
use vault_cloud::error::CallError;
use vault_plan::desired::{Desired, DesiredTenant};
use vault_plan::metadata::Marks;
use vault_plan::observed::{ObservedOrganization, ObservedSecrets, SecretState};
use vault_plan::time::UnixMillis;

use crate::platform::{Platform, SecretList};
use crate::slices::LOOK_VALID_MS;
use crate::store::StoredSecret;

/// How many apps one slice looks at per interval since the one before. Side by side they
/// take no longer than one call; at this a thousand apps are seen in twenty minutes.
pub const SLICE_APPS_MAX: usize = 8;
/// How many apps are looked at side by side: few enough that the rest of the pass has connections left.
const LOOKS_AT_ONCE: usize = 96;

/// In the planner's words.
#[must_use]
pub fn observed(stored: &[StoredSecret]) -> BTreeMap<String, ObservedSecrets> {
    let mut apps: BTreeMap<String, ObservedSecrets> = BTreeMap::new();
    for app in stored.chunk_by(|one, next| one.app == next.app) {
        let states = app.iter().map(|secret| (secret.name.clone(), secret.state.clone()));
        let version = app.iter().filter_map(|secret| secret.version).max();
        let known = ObservedSecrets { version, states: states.collect() };
        apps.insert(app[0].app.clone(), known);
    }
    apps
}

/// What is known of apps that no tenant has.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OfNobody {
    /// Apps that are gone: nothing of them matters any more.
    pub gone: Vec<String>,
    /// Secrets that we set in apps which are still there, and for which nobody answers from now on.
    pub unsure: Vec<StoredSecret>,
}

/// Finds what is known of apps that no tenant has. An app that is there keeps its secrets, because it
/// keeps a volume, or waits for its end: a tenant that comes again finds them in it, sets what it wants,
/// and has to know which of them are ours, to take away what it does not want any more.
#[must_use]
pub fn of_nobody(
    stored: &[StoredSecret],
    desired: &Desired,
    is_there: impl Fn(&str) -> bool,
) -> OfNobody {
    let wanted: HashSet<&str> = desired.tenants.iter().map(|tenant| tenant.app.as_str()).collect();
    let mut found = OfNobody::default();
    for app in stored.chunk_by(|one, next| one.app == next.app) {
        let name = app[0].app.as_str();
        if wanted.contains(name) {
            continue;
        }
        if !is_there(name) {
            found.gone.push(name.to_owned());
            continue;
        }
        let set = app.iter().filter(|known| matches!(known.state, SecretState::Set { .. }));
        found.unsure.extend(set.map(|known| StoredSecret {
            state: SecretState::Unsure,
            digest: None,
            version: None,
            ..known.clone()
        }));
    }
    found
}

/// The tenants whose secrets are to be looked at now, one per app: those whose last look lies back
/// longest, and at most `apps_max`. `failed` are apps that could not be looked at, and when.
#[must_use]
pub fn due<'a>(
    desired: &'a Desired,
    stored: &[StoredSecret],
    organizations: &BTreeMap<String, ObservedOrganization>,
    failed: &BTreeMap<String, UnixMillis>,
    apps_max: usize,
    now: UnixMillis,
) -> Vec<&'a DesiredTenant> {
    let index = Index::new(stored, organizations);
    let is_old = |at: &UnixMillis| now.since_ms(*at) >= LOOK_VALID_MS;
    let mut due: Vec<(Option<UnixMillis>, &DesiredTenant)> = desired
        .tenants
        .iter()
        .filter(|tenant| is_converged(tenant))
        .filter(|tenant| failed.get(&tenant.app).is_none_or(is_old))
        .filter_map(|tenant| Some((index.last_look(tenant)?, tenant)))
        .filter(|(last, _)| last.as_ref().is_none_or(is_old))
        .collect();
    due.sort_unstable_by_key(|(last, tenant)| (*last, tenant.app.as_str()));
    // One look at a shared app shows the secrets of all its tenants.
    let mut apps = HashSet::new();
    due.retain(|(_, tenant)| apps.insert(tenant.app.as_str()));
    due.truncate(apps_max);
    due.into_iter().map(|(_, tenant)| tenant).collect()
}

/// The tenants of whose secrets a look at `looked`'s app tells: that tenant, or all that share the app
/// and whose secrets are known to have been set.
#[must_use]
pub fn seen_with<'a>(
    looked: &'a DesiredTenant,
    desired: &'a Desired,
    stored: &[StoredSecret],
    organizations: &BTreeMap<String, ObservedOrganization>,
) -> Vec<&'a DesiredTenant> {
    if !looked.app_is_shared {
        return vec![looked];
    }
    let index = Index::new(stored, organizations);
    let sharing = desired.tenants.iter().filter(|tenant| tenant.app == looked.app);
    sharing.filter(|tenant| is_converged(tenant) && index.last_look(tenant).is_some()).collect()
}

fn is_converged(tenant: &DesiredTenant) -> bool {
    !tenant.deleting && tenant.machines.is_ok()
}

/// Where to find what is known of an app.
struct Index<'a> {
    stored: HashMap<(&'a str, &'a str), &'a StoredSecret>,
    apps: HashSet<&'a str>,
    /// The marks of secrets that machines carry, by app.
    marks: HashSet<(&'a str, &'a str)>,
}

impl<'a> Index<'a> {
    fn new(
        stored: &'a [StoredSecret],
        organizations: &'a BTreeMap<String, ObservedOrganization>,
    ) -> Self {
        let lists = || organizations.values();
        let machines = lists().flat_map(|list| &list.machines);
        let marks = machines.filter_map(|machine| {
            Some((machine.app.as_str(), Marks::read(&machine.metadata).secret_hash?))
        });
        Self {
            stored: stored.iter().map(|known| ((&*known.app, &*known.name), known)).collect(),
            apps: lists().flat_map(|list| &list.apps).map(String::as_str).collect(),
            marks: marks.collect(),
        }
    }

    /// When a tenant's secrets were last looked at, `Some(None)` for never; `None` if there is
    /// nothing to look at, because they will be set anyway.
    fn last_look(&self, tenant: &DesiredTenant) -> Option<Option<UnixMillis>> {
        if tenant.secrets.is_empty() || !self.apps.contains(tenant.app.as_str()) {
            return None;
        }
        let mut last = None;
        for wanted in &tenant.secrets {
            let known = self.stored.get(&(&*tenant.app, &*wanted.name));
            match known.map(|known| (&known.state, known.read_at)) {
                Some((SecretState::Set { hash }, at)) if *hash == wanted.hash => {
                    last = Some(last.map_or(at, |last: UnixMillis| last.min(at)));
                }
                Some(_) => return None,
                None if self.marks.contains(&(&*tenant.app, &*tenant.secrets_mark())) => {
                    return Some(None);
                }
                None => return None,
            }
        }
        Some(last)
    }
}

/// Looks at the secrets of these tenants' apps, a number of them side by side.
pub async fn look<'a, P: Platform>(
    platform: &P,
    tenants: Vec<&'a DesiredTenant>,
) -> Vec<(&'a DesiredTenant, Result<SecretList, CallError>)> {
    let mut looked = Vec::with_capacity(tenants.len());
    for some in tenants.chunks(LOOKS_AT_ONCE) {
        let looks =
            some.iter().map(|tenant| async { (*tenant, platform.secrets(&tenant.app).await) });
        looked.extend(join_all(looks).await);
    }
    looked
}

/// What a look taught.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// What is known from now on.
    pub secrets: Vec<StoredSecret>,
    /// What somebody else did, as sentences.
    pub findings: Vec<String>,
}

/// Compares what is wanted in one app, what is known of it, and what a look at it showed.
#[must_use]
pub fn compare(
    tenant: &DesiredTenant,
    stored: &[StoredSecret],
    seen: &SecretList,
    now: UnixMillis,
) -> Learned {
    let mut learned = Learned::default();
    for wanted in &tenant.secrets {
        let known =
            stored.iter().find(|known| known.app == tenant.app && *known.name == *wanted.name);
        if known.is_none() && wanted.storage.is_some() {
            // It is set anyway: see the planner.
            continue;
        }
        let expected = known.and_then(|known| known.digest.as_deref());
        let digest = seen.digests.get(&*wanted.name);
        let (state, what) = match (digest, expected) {
            // In a list that is not whole, absence proves nothing.
            (None, _) if seen.unreadable > 0 => continue,
            (None, _) => (SecretState::Missing, Some("removed")),
            (Some(digest), Some(expected)) if digest != expected => {
                (SecretState::Changed, Some("changed"))
            }
            (Some(_), _) => (SecretState::Set { hash: wanted.hash.clone() }, None),
        };
        learned.findings.extend(what.map(|what| {
            let (name, app) = (&wanted.name, &tenant.app);
            format!("somebody else {what} secret {name} of app {app}; it is set again")
        }));
        learned.secrets.push(StoredSecret {
            app: tenant.app.clone(),
            name: wanted.name.to_string(),
            state,
            digest: digest.cloned(),
            // By now every host knows our write. And if the app was replaced by one whose secrets
            // began anew, no host would ever reach the old version.
            version: None,
            read_at: now,
        });
    }
    learned
}

#[cfg(test)]
mod tests;
