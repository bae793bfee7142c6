//! The places that a tenant's volumes have: group, index and template, from which their names are
//! derived.
//!
//! A volume's name does not tell its slot, but there are few slots, so it is found by deriving the
//! names of all.

use std::sync::Arc;

use vault_api::tenant::{COUNT_MAX, DeletionPolicy};

use crate::identity::{TenantUid, machine_name};

/// The machine groups and volume templates of one tenant, mounted or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// The groups by name, with how many machines are wanted of each.
    pub groups: Vec<(Arc<str>, u32)>,
    /// The volume templates by name, with what happens to their volumes.
    pub templates: Vec<(Arc<str>, DeletionPolicy)>,
}

/// Where a volume belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The name of the machine that it is for.
    pub machine: String,
    /// The volume template's name.
    pub template: Arc<str>,
    /// What happens to it when its machine goes for good.
    pub policy: DeletionPolicy,
}

impl Slots {
    /// Whether every volume is kept, so that there is nothing to look for.
    #[must_use]
    pub fn all_retained(&self) -> bool {
        self.templates.iter().all(|(_, policy)| *policy == DeletionPolicy::Retain)
    }

    /// What the manifest says of a template now; `None` if it has none of that name.
    #[must_use]
    pub fn policy(&self, template: &str) -> Option<DeletionPolicy> {
        let mut templates = self.templates.iter();
        templates.find(|(name, _)| **name == *template).map(|(_, policy)| *policy)
    }

    /// The slot of the volume `name` that a machine of the tenant holds; the machine's group need
    /// not be wanted any more.
    #[must_use]
    pub fn held(&self, tenant: &str, uid: TenantUid, machine: &str, name: &str) -> Option<Slot> {
        let (group, index) = group_and_index(tenant, machine)?;
        let is_named = |template: &&(Arc<str>, DeletionPolicy)| {
            uid.volume_name(group, index, &template.0) == name
        };
        let (template, policy) = self.templates.iter().find(is_named)?;
        Some(Slot { machine: machine.to_owned(), template: Arc::clone(template), policy: *policy })
    }

    /// The slot of the volume `name`, among all that its tenant may have had of its groups.
    #[must_use]
    pub fn find(&self, tenant: &str, uid: TenantUid, name: &str) -> Option<Slot> {
        for (template, policy) in &self.templates {
            for (group, _) in &self.groups {
                let mut indices = 0..COUNT_MAX;
                if let Some(index) =
                    indices.find(|&index| uid.volume_name(group, index, template) == name)
                {
                    return Some(Slot {
                        machine: machine_name(tenant, group, index),
                        template: Arc::clone(template),
                        policy: *policy,
                    });
                }
            }
        }
        None
    }

    /// Whether the manifest asks for a machine of this name.
    #[must_use]
    pub fn wants_machine(&self, tenant: &str, machine: &str) -> bool {
        group_and_index(tenant, machine).is_some_and(|(group, index)| {
            self.groups.iter().any(|(known, count)| **known == *group && index < *count)
        })
    }
}

/// The group and the index in a machine's name, which is `TENANT-GROUP-INDEX`.
pub(crate) fn group_and_index<'m>(tenant: &str, machine: &'m str) -> Option<(&'m str, u32)> {
    let rest = machine.strip_prefix(tenant)?.strip_prefix('-')?;
    let (group, index) = rest.rsplit_once('-')?;
    let number: u32 = index.parse().ok()?;
    // `07` is no index of ours.
    (number.to_string() == index).then_some((group, number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::ControllerId;

    fn slots() -> Slots {
        Slots {
            groups: vec![("box".into(), 1)],
            templates: vec![
                ("data".into(), DeletionPolicy::Delete),
                ("logs".into(), DeletionPolicy::Retain),
            ],
        }
    }

    #[test]
    fn a_volume_is_found_by_deriving_the_names_of_all_slots() {
        let (slots, uid) = (slots(), ControllerId::from_bytes([7; 16]).tenant_uid("acme"));
        for (index, template) in [(0, "data"), (99, "data"), (3, "logs")] {
            let name = uid.volume_name("box", index, template);
            let slot = slots.find("acme", uid, &name).unwrap();
            assert_eq!(slot.machine, format!("acme-box-{index}"));
            assert_eq!(&*slot.template, template);
            assert_eq!(slots.held("acme", uid, &slot.machine, &name), Some(slot));
        }
        for name in [
            uid.volume_name("box", COUNT_MAX, "data"),
            uid.volume_name("web", 0, "data"),
            uid.volume_name("box", 0, "other"),
            "data".to_owned(),
        ] {
            assert_eq!(slots.find("acme", uid, &name), None, "{name}");
        }
        let removed = uid.volume_name("web", 0, "data");
        assert!(slots.held("acme", uid, "acme-web-0", &removed).is_some(), "a removed group");
        assert!(slots.held("acme", uid, "acme-box-0", &removed).is_none());
    }

    #[test]
    fn nothing_is_looked_for_where_every_volume_is_kept() {
        let mut slots = slots();
        assert!(!slots.all_retained());
        slots.templates.remove(0);
        assert!(slots.all_retained());
    }

    #[test]
    fn machines_are_read_by_their_names() {
        for (machine, wanted) in [
            ("acme-box-0", true),
            ("acme-box-1", false),
            ("acme-web-0", false),
            ("acme-box-00", false),
            ("acme-box-x", false),
            ("bob-box-0", false),
            ("acme", false),
        ] {
            assert_eq!(slots().wants_machine("acme", machine), wanted, "{machine}");
        }
        assert_eq!(group_and_index("acme", "acme-my-box-7"), Some(("my-box", 7)));
    }
}
