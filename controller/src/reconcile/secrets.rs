//! The part of a pass that keeps what is known of secrets true: a slice of apps at a time.

use std::collections::{BTreeMap, HashSet};

use vault_plan::desired::Desired;
use vault_plan::observed::ObservedOrganization;
use vault_plan::time::UnixMillis;
use vault_plan::tombstone::Tombstone;

use super::Reconciler;
use crate::chain::chain;
use crate::clock::Clock;
use crate::events::Event;
use crate::platform::Platform;
use crate::secrets::{self, OfNobody, SLICE_APPS_MAX};
use crate::store::{Store, StoreError, StoredSecret};

impl<P: Platform, S: Store, C: Clock> Reconciler<P, S, C> {
    /// Looks at the secrets of a few apps, if it is time to, and brings `stored` up to date.
    pub(super) async fn look_at_secrets(
        &self,
        desired: &Desired,
        (organizations, all_read): (&BTreeMap<String, ObservedOrganization>, bool),
        tombstones: &[Tombstone],
        stored: &mut Vec<StoredSecret>,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let slice = self.memory().looks.begin(SLICE_APPS_MAX, now);
        let Some((apps_max, failed)) = slice else { return Ok(()) };
        let listed = organizations.values().flat_map(|lists| &lists.apps);
        let ending = tombstones.iter().filter(|known| known.is_open()).map(|known| &known.app);
        let there: HashSet<&str> = listed.chain(ending).map(String::as_str).collect();
        // Where an app is, is not known of apps that nobody has: one list that was not read whole
        // may be the one that shows it.
        let is_whole = |lists: &ObservedOrganization| lists.gaps.unclear.is_none();
        let all_whole = all_read && organizations.values().all(is_whole);
        let OfNobody { gone, unsure } =
            secrets::of_nobody(stored, desired, |app| !all_whole || there.contains(app));
        stored.retain(|secret| !gone.contains(&secret.app));
        self.store.remove_secrets(gone).await?;
        let due = secrets::due(desired, stored, organizations, &failed, apps_max, now);
        let mut learned = unsure;
        for (tenant, looked) in secrets::look(&*self.platform, due).await {
            match looked {
                Ok(seen) => {
                    for tenant in secrets::seen_with(tenant, desired, stored, organizations) {
                        let news = secrets::compare(tenant, stored, &seen, now);
                        for finding in news.findings {
                            let what = "SecretChanged";
                            (self.tell)(Event::warning(now, &tenant.name, what, finding));
                        }
                        if news.secrets.len() < tenant.secrets.len() {
                            self.memory().looks.failed(tenant.app.clone(), now);
                        }
                        learned.extend(news.secrets);
                    }
                }
                Err(error) => {
                    tracing::warn!(
                        app = tenant.app,
                        error = chain(&error),
                        "the secrets of an app could not be read"
                    );
                    self.memory().looks.failed(tenant.app.clone(), now);
                }
            }
        }
        for news in &learned {
            stored.retain(|known| (&known.app, &known.name) != (&news.app, &news.name));
        }
        stored.extend(learned.iter().cloned());
        stored.sort_unstable_by(|one, other| (&one.app, &one.name).cmp(&(&other.app, &other.name)));
        self.store.put_secrets(learned).await
    }
}
