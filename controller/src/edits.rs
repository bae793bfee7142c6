//! Edits by others, seen by a machine's version: pure.
//!
//! ```text
//!   a list shows            and we know              so
//!   version V               V                        nothing happened
//!   version W, intent J     V, intent I              our own write made W: known from now on
//!   version W, intent I     V, intent I              somebody else made W: read the machine whole
//!   version W               nothing                  known from now on: there is nothing to compare
//! ```
//!
//! The platform gives a machine a new version (`instance_id`) with each write of its config, and
//! our own writes leave their intent in its metadata. So a version that moved while the intent
//! stayed is somebody else's. What it changed the organization's list may not show; the machine is
//! read by its id then, once per version.

use std::collections::HashMap;

use vault_plan::desired::{Desired, DesiredMachine, DesiredTenant};
use vault_plan::metadata;
use vault_plan::observed::{ObservedMachine, ObservedOrganization};

/// How many machines are read whole in one pass, side by side. Somebody's script may edit a whole
/// fleet; the pass must not wait for that, and the others come with the next ones.
pub const LOOKS_MAX: usize = 16;
/// How long a machine that could not be read whole is left alone, in milliseconds: what its host
/// does not show now it will not show a moment later.
pub const LOOK_AGAIN_MS: i64 = 30_000;

/// What is known of a machine's version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineVersion {
    /// Fly's machine id.
    pub machine_id: String,
    /// The version that we wrote, or looked at last.
    pub version: String,
    /// The intent that the machine's metadata named then; empty if it named none.
    pub intent: String,
    /// The members of ours that somebody else had changed in that version.
    pub edited: Vec<String>,
}

/// What is known of all machines' versions, by the machines' ids.
pub type Versions = HashMap<String, MachineVersion>;

/// A machine that somebody else wrote, with what it should be.
#[derive(Clone, Copy, Debug)]
pub struct Edited<'a> {
    /// Whose it is.
    pub tenant: &'a DesiredTenant,
    /// What it should be.
    pub wanted: &'a DesiredMachine,
    /// As it is listed.
    pub machine: &'a ObservedMachine,
}

/// What the lists say of versions.
#[derive(Debug, Default)]
pub struct Sight<'a> {
    /// Versions to be known from now on.
    pub learned: Vec<MachineVersion>,
    /// Machines to be read whole, in the order of the lists.
    pub edited: Vec<Edited<'a>>,
}

/// Compares the lists with what is known.
#[must_use]
pub fn sight<'a>(
    known: &Versions,
    desired: &'a Desired,
    organizations: impl IntoIterator<Item = &'a ObservedOrganization>,
) -> Sight<'a> {
    let mut sight = Sight::default();
    for machine in organizations.into_iter().flat_map(|lists| &lists.machines) {
        let Some(version) = &machine.version else { continue };
        let metadata = |key| machine.metadata.get(key).map_or("", String::as_str);
        if metadata(metadata::CONTROLLER) != desired.controller_mark {
            continue;
        }
        let intent = metadata(metadata::INTENT);
        match known.get(&machine.id) {
            Some(known) if known.version == *version => {}
            Some(known) if known.intent == intent => {
                sight.edited.extend(wanted(desired, machine, metadata(metadata::TENANT)));
            }
            _ => sight.learned.push(MachineVersion {
                machine_id: machine.id.clone(),
                version: version.clone(),
                intent: intent.to_owned(),
                edited: Vec::new(),
            }),
        }
    }
    sight
}

/// The machine as its manifest wants it; `None` while it is changing, or is not wanted.
fn wanted<'a>(
    desired: &'a Desired,
    machine: &'a ObservedMachine,
    tenant: &str,
) -> Option<Edited<'a>> {
    let place = desired.tenants.binary_search_by(|one| (*one.name).cmp(tenant)).ok()?;
    let tenant = &desired.tenants[place];
    if tenant.deleting || machine.state.is_passing() || machine.is_blank() {
        return None;
    }
    let machines = tenant.machines.as_deref().ok()?;
    let wanted = machines.iter().find(|wanted| wanted.name == machine.name)?;
    Some(Edited { tenant, wanted, machine })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use vault_plan::desired::TenantInput;

    use super::*;
    use crate::testing::{controller, document, machine, tenant, tenant_secrets};

    fn desired() -> Desired {
        let vault_api::check::Document::Tenant(acme) = document(&tenant("acme", "nginx:1")) else {
            panic!("a tenant")
        };
        let input = TenantInput { name: "acme", spec: &acme.spec, deleting: false };
        let secrets = tenant_secrets();
        Desired::resolve(controller(), "local", &BTreeMap::new(), &secrets.pass(), [input])
    }

    fn listed(version: &str, intent: &str) -> ObservedOrganization {
        let mut seen = machine("1", "acme-box-0", "acme");
        seen.version = Some(version.to_owned());
        seen.image = Some("nginx:1".to_owned());
        for (key, value) in [
            (metadata::CONTROLLER, controller().to_string()),
            (metadata::TENANT, "acme".to_owned()),
            (metadata::INTENT, intent.to_owned()),
        ] {
            seen.metadata.insert(key.to_owned(), value);
        }
        ObservedOrganization { machines: vec![seen], ..ObservedOrganization::default() }
    }

    #[test]
    fn only_a_version_that_moved_without_an_intent_of_ours_is_read() {
        let known = MachineVersion {
            machine_id: "1".to_owned(),
            version: "V".to_owned(),
            intent: "I".to_owned(),
            edited: Vec::new(),
        };
        let desired = desired();
        let table = [
            (Some("V"), "V", "I", (0, 0)),
            (Some("V"), "W", "J", (1, 0)),
            (Some("V"), "W", "I", (0, 1)),
            (None, "W", "I", (1, 0)),
        ];
        for (before, version, intent, expected) in table {
            let known = before.map(|_| ("1".to_owned(), known.clone()));
            let lists = listed(version, intent);
            let sight = sight(&known.into_iter().collect(), &desired, [&lists]);
            let found = (sight.learned.len(), sight.edited.len());
            assert_eq!(found, expected, "{before:?} {version} {intent}");
        }
    }

    #[test]
    fn who_is_foreign_passing_or_unwanted_is_not_read() {
        type Change = fn(&mut ObservedMachine);
        let known = MachineVersion {
            machine_id: "1".to_owned(),
            version: "V".to_owned(),
            intent: "I".to_owned(),
            edited: Vec::new(),
        };
        let known = Versions::from([("1".to_owned(), known)]);
        let desired = desired();
        let changes: [Change; 5] = [
            |machine| drop(machine.metadata.insert(metadata::CONTROLLER.into(), "x".into())),
            |machine| drop(machine.metadata.insert(metadata::TENANT.into(), "umbra".into())),
            |machine| machine.state = vault_plan::observed::PlatformState::Starting,
            |machine| "acme-box-7".clone_into(&mut machine.name),
            |machine| machine.version = None,
        ];
        for (place, change) in changes.into_iter().enumerate() {
            let mut lists = listed("W", "I");
            change(&mut lists.machines[0]);
            assert!(sight(&known, &desired, [&lists]).edited.is_empty(), "{place}");
        }
    }
}
