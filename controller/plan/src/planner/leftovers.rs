//! Credentials of tenants that are gone, and of which nothing else says so: revoked.
//!
//! ```text
//!   listed, and no tenant has its identity ─▶ explained by a name that is left? ─ no ─▶ left alone
//!                                              │ yes
//!                                              ▼
//!                           lists whole, and no machine of it there? ─ no ─▶ left for later
//!                                              │ yes
//!                                              ▼
//!                                     policy, keys and tokens go
//! ```
//!
//! When a database is lost, or an older one is put back, nobody remembers a tenant that was deleted
//! since, and its end was perhaps not complete. While a machine of it is there, its manifest may only
//! not have been applied again, and the machine uses what its environment names; after that nobody has
//! the values, and the tenant, should it come again, is given others.

use std::collections::{BTreeMap, BTreeSet};

use super::Planner;
use crate::action::{Action, PlannedAction};
use crate::bucket::{RemoveBucketPolicy, RevokeAccessKey, StorageLook, policy_name};
use crate::identity::TenantUid;
use crate::leftovers::explained;
use crate::observed::Hold;
use crate::token::RevokeToken;

/// How many tenants' credentials go in one pass: there are seldom any, and the platform takes a few
/// calls a second.
const TENANTS_PER_PASS_MAX: usize = 20;

impl Planner<'_> {
    /// Plans the end of credentials of tenants that are no more.
    pub(super) fn leftovers(&mut self) {
        let uids = self.of_nobody();
        let observed = self.observed;
        if uids.is_empty()
            || observed.organizations.values().any(|lists| lists.gaps.any().is_some())
        {
            return;
        }
        let apps = observed.organizations.values().flat_map(|lists| &lists.apps);
        let names = observed.storage.buckets.iter().chain(apps).map(String::as_str);
        let explained = explained(self.controller, &uids, names);
        let gone = explained.into_iter().filter(|(uid, tenant)| self.is_gone(*uid, tenant));
        let gone: BTreeMap<TenantUid, String> = gone.take(TENANTS_PER_PASS_MAX).collect();
        for (uid, tenant) in gone {
            self.revoke_all(uid, &tenant);
        }
    }

    /// The identities that are listed and that no tenant has.
    fn of_nobody(&self) -> BTreeSet<TenantUid> {
        let keys = match self.observed.storage.look {
            StorageLook::Done => Some(self.observed.storage.listed.keys()),
            _ => None,
        };
        let listed = keys.into_iter().flatten().chain(self.observed.tokens.listed.keys());
        let mut uids: BTreeSet<TenantUid> = listed.copied().collect();
        if !uids.is_empty() {
            for tenant in self.desired {
                uids.remove(&tenant.uid);
            }
        }
        uids
    }

    /// Whether nothing of a tenant runs or could run again, and nothing is under way for it.
    fn is_gone(&self, uid: TenantUid, tenant: &str) -> bool {
        let app = uid.app_name(tenant);
        let mut lists = self.observed.organizations.keys();
        let has_machines = |slug: &String| {
            let places = self.index.organization(slug);
            places.is_some_and(|places| !places.machines(&app).is_empty())
        };
        let is_held = |holds: &BTreeMap<String, Hold>| {
            holds.get(tenant).is_some_and(|hold| self.now < hold.until)
        };
        self.index.tenant(tenant).is_none()
            && self.index.owned(tenant).is_empty()
            && !lists.any(has_machines)
            && !self.is_held(tenant)
            && !is_held(&self.observed.storage.holds)
            && !is_held(&self.observed.tokens.holds)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::{ListedKey, ObservedStorage};
    use crate::desired::Desired;
    use crate::identity::ControllerId;
    use crate::metadata;
    use crate::observed::{Gaps, Observed, ObservedMachine, ObservedOrganization, PlatformState};
    use crate::planner::plan;
    use crate::policy::Policy;
    use crate::testing::{CONTROLLER, NOW, machine, tenant};
    use crate::token::{ListedToken, ObservedTokens, platform_name};

    fn controller() -> ControllerId {
        ControllerId::from_bytes([7; 16])
    }

    /// What is left of tenant `gone`: a bucket and an app, a key and a token.
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
        let lists = ObservedOrganization {
            apps: vec![uid.app_name("gone")],
            ..ObservedOrganization::default()
        };
        let organizations = [("local".to_owned(), lists)].into();
        Observed { organizations, storage, tokens, ..Observed::default() }
    }

    /// What a plan does for a tenant that nobody wants.
    fn planned(observed: &Observed) -> Vec<&'static str> {
        let desired = Desired {
            controller: controller(),
            controller_mark: CONTROLLER.to_owned(),
            tenants: vec![tenant()],
            contested: BTreeMap::new(),
        };
        let plan = plan(&desired, observed, &Policy::default(), NOW);
        let its = plan.actions.iter().filter(|action| &*action.tenant == "gone");
        its.map(|action| action.action.kind().word()).collect()
    }

    #[test]
    fn what_a_lost_database_forgot_is_revoked_where_a_name_explains_it() {
        let all = ["RemoveBucketPolicy", "RevokeAccessKey", "RevokeToken"];
        assert_eq!(planned(&observed()), all);
        // The app alone explains it, and so does the bucket alone.
        let mut app = observed();
        app.storage.buckets.clear();
        assert_eq!(planned(&app), all);
        let mut bucket = observed();
        bucket.organizations.get_mut("local").unwrap().apps.clear();
        assert_eq!(planned(&bucket), all);
        bucket.storage.buckets = ["gone-state-abcdefgh".to_owned()].into();
        assert_eq!(planned(&bucket), all, "the digest of the whole name is what counts");
        bucket.storage.buckets = ["strangers-state-abcdefgh".to_owned()].into();
        assert_eq!(planned(&bucket), [""; 0], "perhaps another controller's");
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
        let mut gap = observed();
        let gaps = Gaps { unclear: Some("rows".to_owned()), ..Gaps::default() };
        gap.organizations.get_mut("local").unwrap().gaps = gaps;
        assert_eq!(planned(&gap), [""; 0], "a machine may be hidden");
        let mut failed = observed();
        failed.storage.look = StorageLook::Failed("no answer".to_owned());
        assert_eq!(
            planned(&failed),
            ["RevokeToken"],
            "buckets are not known, and the app explains it"
        );
    }
}
