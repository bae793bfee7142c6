//! Whose change is waited for: tenants that were not Ready yet since what they should be changed.

use std::collections::{BTreeSet, HashMap};

/// What is remembered of changes. All of it may be lost: after a restart what waits for a change of
/// its class counts as drift.
#[derive(Debug, Default)]
pub(super) struct Changes {
    waiting: BTreeSet<String>,
    /// The generations of classes as the last pass saw them.
    classes: HashMap<String, i64>,
}

impl Changes {
    /// Notes how a pass found a tenant: whether its spec, or its class, is another than its last
    /// status knew, and whether it is Ready.
    pub(super) fn note(&mut self, tenant: &str, is_new: bool, is_ready: bool) {
        if is_ready {
            self.waiting.remove(tenant);
        } else if is_new && !self.waiting.contains(tenant) {
            self.waiting.insert(tenant.to_owned());
        }
    }

    /// The classes that changed since the last pass; what they are now is remembered.
    pub(super) fn classes(&mut self, generations: &HashMap<String, i64>) -> BTreeSet<String> {
        let known = std::mem::replace(&mut self.classes, generations.clone());
        let is_changed = |(name, generation): &(&String, &i64)| {
            known.get(*name).is_some_and(|before| before != *generation)
        };
        generations.iter().filter(is_changed).map(|(name, _)| name.clone()).collect()
    }

    /// Whether a person waits for this tenant.
    pub(super) fn is_waited_for(&self, tenant: &str) -> bool {
        self.waiting.contains(tenant)
    }

    /// Forgets tenants that are no more.
    pub(super) fn keep_only(&mut self, tenants: &BTreeSet<&str>) {
        self.waiting.retain(|tenant| tenants.contains(tenant.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_waited_for_until_its_tenant_is_ready() {
        let mut changes = Changes::default();
        changes.note("acme", true, false);
        changes.note("other", false, false);
        assert!(changes.is_waited_for("acme") && !changes.is_waited_for("other"));
        // The next pass finds it known, and still under way.
        changes.note("acme", false, false);
        assert!(changes.is_waited_for("acme"));
        changes.note("acme", false, true);
        assert!(!changes.is_waited_for("acme"));
        changes.note("acme", true, false);
        changes.keep_only(&BTreeSet::from(["other"]));
        assert!(!changes.is_waited_for("acme"));
    }

    #[test]
    fn a_class_that_changed_is_told_once() {
        let mut changes = Changes::default();
        let generations =
            |one, other| HashMap::from([("one".to_owned(), one), ("other".to_owned(), other)]);
        assert!(changes.classes(&generations(1, 1)).is_empty(), "a restart changes nothing");
        assert_eq!(changes.classes(&generations(2, 1)), BTreeSet::from(["one".to_owned()]));
        assert!(changes.classes(&generations(2, 1)).is_empty());
    }
}
