//! Credentials of tenants that are gone, and of which nothing else says so: revoked.
//!
//! ```text
//!   listed, and no tenant has its identity ─▶ explained by a bucket that is left? ─ no ─▶ left alone
//!                                              │ yes
//!                                              ▼
//!                   every organization read whole, and neither app nor machine of it ─ no ─▶ left alone
//!                                              │ yes
//!                                              ▼
//!                                     policy, keys and tokens go
//! ```
//!
//! When a database is lost, or an older one is put back, nobody remembers a tenant that was deleted
//! since, and its end was perhaps not complete. But nobody remembers one either whose manifest has not
//! been applied again yet, and whose machine uses what its environment names. They differ by the app:
//! a tenant that ended has none, and who still has one loses nothing. What a list might hide, be it a
//! machine whose host is away or all machines at once, is taken to be there.

use std::collections::{BTreeMap, BTreeSet};

use super::Planner;
use crate::action::{Action, PlannedAction};
use crate::bucket::{RemoveBucketPolicy, RevokeAccessKey, StorageLook, policy_name};
use crate::identity::TenantUid;
use crate::leftovers::suspects;
use crate::observed::{Hold, ObservedMachine, ObservedOrganization};
use crate::token::RevokeToken;

/// How many tenants' credentials go in one pass: there are seldom any, and the platform takes a few
/// calls a second.
const TENANTS_PER_PASS_MAX: usize = 20;

impl Planner<'_> {
    /// Plans the end of credentials of tenants that are no more, and answers the names of these.
    pub(super) fn leftovers(&mut self) -> BTreeSet<String> {
        let observed = self.observed;
        if !observed.all_organizations || !observed.organizations.values().all(shows_all) {
            return BTreeSet::new();
        }
        let mut suspects = suspects(self.controller, self.desired, observed);
        suspects.retain(|uid, tenant| self.is_gone(*uid, tenant));
        let free = suspects.iter().filter(|(_, tenant)| !self.waits(tenant));
        let free: Vec<(TenantUid, String)> =
            free.map(|(uid, tenant)| (*uid, tenant.clone())).take(TENANTS_PER_PASS_MAX).collect();
        for (uid, tenant) in free {
            self.revoke_all(uid, &tenant);
        }
        suspects.into_values().collect()
    }

    /// Whether nothing of a tenant runs or could run again.
    fn is_gone(&self, uid: TenantUid, tenant: &str) -> bool {
        let app = uid.app_name(tenant);
        let has_app = |lists: &ObservedOrganization| {
            lists.apps.contains(&app) || lists.machines.iter().any(|machine| machine.app == app)
        };
        self.index.tenant(tenant).is_none()
            && self.index.owned(tenant).is_empty()
            && !self.observed.organizations.values().any(has_app)
    }

    /// Whether something is under way for a tenant, or its last attempt failed.
    fn waits(&self, tenant: &str) -> bool {
        let is_held = |holds: &BTreeMap<String, Hold>| {
            holds.get(tenant).is_some_and(|hold| self.now < hold.until)
        };
        self.is_held(tenant)
            || is_held(&self.observed.storage.holds)
            || is_held(&self.observed.tokens.holds)
    }

    fn revoke_all(&mut self, uid: TenantUid, tenant: &str) {
        let storage = &self.observed.storage;
        let keys = storage.listed.get(&uid).filter(|_| storage.look == StorageLook::Done);
        let keys = keys.map_or(&[][..], Vec::as_slice);
        let tokens = self.observed.tokens.listed.get(&uid).map_or(&[][..], Vec::as_slice);
        let mut actions = Vec::new();
        if !keys.is_empty() {
            let remove = RemoveBucketPolicy { name: policy_name(uid), tenant_uid: uid };
            actions.push(Action::RemoveBucketPolicy(remove));
        }
        actions.extend(keys.iter().map(|key| {
            Action::RevokeAccessKey(RevokeAccessKey {
                id: key.id.clone(),
                platform_name: key.name.clone(),
                n: key.n,
                tenant_uid: uid,
            })
        }));
        actions.extend(tokens.iter().map(|token| {
            Action::RevokeToken(RevokeToken {
                id: token.id.clone(),
                platform_name: token.name.clone(),
                n: token.n,
                tenant_uid: uid,
            })
        }));
        // Credentials are of no organization's lists of machines; any that was read will do.
        let Some(organization) = self.observed.organizations.keys().next() else { return };
        for action in actions {
            self.buried.push(PlannedAction {
                tenant: tenant.into(),
                organization: organization.as_str().into(),
                app: uid.app_name(tenant),
                action,
                reason: "its tenant is gone, and nobody has its value".to_owned(),
            });
        }
    }
}

/// Whether an organization's lists show each machine and whose it is. Apps without a single machine
/// look as they did when lists were empty for everybody (28 April 2026).
fn shows_all(lists: &ObservedOrganization) -> bool {
    let is_empty = lists.machines.is_empty() && !lists.apps.is_empty();
    lists.gaps.any().is_none() && !is_empty && !lists.machines.iter().any(ObservedMachine::is_blank)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Plan;
    use crate::bucket::{ListedKey, ObservedStorage};
    use crate::identity::ControllerId;
    use crate::metadata;
    use crate::observed::{Gaps, HoldKind, Observed, PlatformState};
    use crate::planner::plan;
    use crate::policy::Policy;
    use crate::testing::{self, CONTROLLER, NOW, machine, tenant};
    use crate::token::{ListedToken, ObservedTokens, platform_name};

    fn controller() -> ControllerId {
        ControllerId::from_bytes([7; 16])
    }

    /// What is left of tenant `gone`: a bucket, a key and a token.
    fn observed() -> Observed {
        let uid = controller().tenant_uid("gone");
        let name = platform_name(uid, 3);
        let key = ListedKey { id: "tid_3".to_owned(), name: name.clone(), n: Some(3) };
        let token = ListedToken { id: "t3".to_owned(), name, n: Some(3) };
        let storage = ObservedStorage {
            look: StorageLook::Done,
            buckets: [uid.bucket_name("gone", "state")].into(),
            listed: [(uid, vec![key])].into(),
            ..ObservedStorage::default()
        };
        let listed = [(uid, vec![token])].into();
        let tokens = ObservedTokens { listed, ..ObservedTokens::default() };
        let organizations = [("local".to_owned(), ObservedOrganization::default())].into();
        Observed { organizations, storage, tokens, all_organizations: true, ..Observed::default() }
    }

    fn whole(observed: &Observed) -> Plan {
        plan(&testing::desired(tenant()), observed, &Policy::default(), NOW)
    }

    /// What a plan does for a tenant that nobody wants.
    fn planned(observed: &Observed) -> Vec<&'static str> {
        let plan = whole(observed);
        let its = plan.actions.iter().filter(|action| &*action.tenant == "gone");
        its.map(|action| action.action.kind().word()).collect()
    }

    #[test]
    fn what_a_lost_database_forgot_is_revoked_where_a_bucket_explains_it() {
        assert_eq!(planned(&observed()), ["RemoveBucketPolicy", "RevokeAccessKey", "RevokeToken"]);
        let mut bucket = observed();
        bucket.storage.buckets = ["strangers-state-abcdefgh".to_owned()].into();
        assert_eq!(planned(&bucket), [""; 0], "perhaps another controller's");
    }

    #[test]
    fn one_that_is_refused_waits_and_is_still_named() {
        type Holds = fn(&mut Observed) -> &mut BTreeMap<String, Hold>;
        let all: [Holds; 3] = [
            |observed| &mut observed.holds,
            |observed| &mut observed.storage.holds,
            |observed| &mut observed.tokens.holds,
        ];
        for holds in all {
            let held = |until| {
                let mut refused = observed();
                let hold = Hold { until, kind: HoldKind::BackOff, message: "no".to_owned() };
                holds(&mut refused).insert("gone".to_owned(), hold);
                let plan = whole(&refused);
                assert_eq!(plan.leftovers, BTreeSet::from(["gone".to_owned()]));
                plan.actions.iter().all(|action| &*action.tenant != "gone")
            };
            assert!(held(NOW.plus_ms(1)) && !held(NOW));
        }
    }

    #[test]
    fn nothing_is_revoked_that_somebody_may_use() {
        let uid = controller().tenant_uid("gone");
        let marks = |metadata: &mut BTreeMap<String, String>| {
            metadata.insert(metadata::CONTROLLER.to_owned(), CONTROLLER.to_owned());
            metadata.insert(metadata::TENANT.to_owned(), "gone".to_owned());
        };
        let mut runs = ObservedMachine {
            id: "m9".to_owned(),
            name: "gone-box-0".to_owned(),
            app: "elsewhere".to_owned(),
            ..machine(PlatformState::Stopped, 0)
        };
        runs.metadata.clear();
        let mut unmarked = runs.clone();
        unmarked.app = uid.app_name("gone");
        marks(&mut runs.metadata);
        for there in [runs, unmarked] {
            let mut observed = observed();
            observed.organizations.get_mut("local").unwrap().machines.push(there.clone());
            assert_eq!(planned(&observed), [""; 0], "{there:?}");
        }
        let lists = |change: &dyn Fn(&mut ObservedOrganization)| {
            let mut observed = observed();
            change(observed.organizations.get_mut("local").unwrap());
            planned(&observed)
        };
        let stranger =
            || ObservedMachine { id: "m8".to_owned(), ..machine(PlatformState::Started, 0) };
        let its_app = || uid.app_name("gone");
        let with_app = |lists: &mut ObservedOrganization| {
            lists.apps.push(its_app());
            lists.machines.push(stranger());
        };
        assert_eq!(lists(&with_app), [""; 0], "its manifest may only not have been applied again");
        let empty = |lists: &mut ObservedOrganization| lists.apps.push("another-app".to_owned());
        assert_eq!(lists(&empty), [""; 0], "a list of machines that is wrongly empty");
        let blank = |lists: &mut ObservedOrganization| {
            let mut away = stranger();
            (away.image, away.guest, away.metadata) =
                (None, serde_json::Map::new(), BTreeMap::new());
            lists.machines.push(away);
        };
        assert_eq!(lists(&blank), [""; 0], "nobody knows whose it is");
        let gaps = Gaps { unclear: Some("rows".to_owned()), ..Gaps::default() };
        let gap = |lists: &mut ObservedOrganization| lists.gaps = gaps.clone();
        assert_eq!(lists(&gap), [""; 0], "a machine may be hidden");
        let mut partial = observed();
        partial.all_organizations = false;
        assert_eq!(planned(&partial), [""; 0], "it may be in an organization that was not read");
        let mut failed = observed();
        failed.storage.look = StorageLook::Failed("no answer".to_owned());
        assert_eq!(planned(&failed), [""; 0], "buckets are not known");
    }
}
