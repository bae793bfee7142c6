//! `apply --prune`: removing tenants that an applied set had before and has no more.
//!
//! ```text
//!   tenants labelled with the set, applied through the API ──┐
//!                                                            ├──▶ those not in the input ──▶ ask ──▶ delete
//!   the input ───────────────────────────────────────────────┘
//! ```

use std::collections::BTreeSet;

use vault_api::names::check_label_value;

use super::{WRITE_ATTEMPTS, version};
use crate::client::{CHUNK_SIZE, Client, Selection};
use crate::commands::{DryRun, failed};
use crate::error::{Exit, Failure, Tally};
use crate::input::InputDocument;
use crate::object::{Object, Reference, Resource};
use crate::output::Output;

/// The label that records which set a tenant was applied with.
pub(super) const LABEL: &str = "vaultctl.dev/applied-set";
/// How the controller names the owner of what was applied through its API.
const SOURCE: &str = "API";

/// The name of a set, which is the value of a label.
///
/// # Errors
/// It cannot be one.
pub(super) fn parse_set(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("the name of a set is not empty".to_owned());
    }
    check_label_value(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

/// Writes the set's name into every tenant of the input.
pub(super) fn mark(documents: &mut [InputDocument], set: &str) {
    for document in documents {
        if document.reference.resource == Resource::Tenant {
            document.object.0["metadata"]["labels"][LABEL] = set.into();
        }
    }
}

/// That a live object is not of another set: two sets that share a tenant would each prune what the
/// other one applies.
///
/// # Errors
/// It is, and nobody said to take it.
pub(super) fn check_set(
    live: &Object,
    document: &InputDocument,
    take_ownership: bool,
) -> Result<(), Failure> {
    let wanted = document.object.labels().get(LABEL).copied().map(str::to_owned);
    match (live.labels().get(LABEL), wanted) {
        (Some(found), Some(wanted)) if *found != wanted && !take_ownership => {
            let message = format!("it belongs to the applied set {found:?}, not to {wanted:?}");
            let failure = Failure::new(Exit::Conflict, message);
            Err(failure.hint("pass --take-ownership to move it into this set"))
        }
        _ => Ok(()),
    }
}

/// The tenants of the set that are not in the input.
///
/// # Errors
/// The list cannot be read, or the input has so few of the set's tenants that it is rather a
/// mistake.
pub(super) async fn superfluous(
    client: &Client,
    set: &str,
    documents: &[InputDocument],
    allow_mass_delete: bool,
) -> anyhow::Result<Vec<Object>> {
    let selection = Selection::labelled(Some(&format!("{LABEL}={set}")));
    let mut members = client.select(Resource::Tenant, &selection, CHUNK_SIZE).await?.items;
    // What is deleted is not left to how well a controller selects.
    members.retain(|tenant| is_member(tenant, set));
    let wanted: BTreeSet<&str> = documents
        .iter()
        .filter(|document| document.reference.resource == Resource::Tenant)
        .map(|document| document.reference.name.as_str())
        .collect();
    let count = members.len();
    members.retain(|tenant| !wanted.contains(tenant.name()));
    if members.len() * 2 > count && !allow_mass_delete {
        let message = format!(
            "{} of the {count} tenants of the set {set:?} would be deleted, more than half",
            members.len()
        );
        return Err(Failure::new(Exit::BadInput, message)
            .hint("pass --allow-mass-delete if that is meant; nothing was done")
            .into());
    }
    Ok(members)
}

/// Shows what goes, and asks unless that was answered on the command line.
///
/// # Errors
/// The answer is no, or there is nobody to ask.
pub(super) fn confirm(tenants: &[Object], yes: bool, output: &mut Output) -> anyhow::Result<()> {
    if tenants.is_empty() {
        return Ok(());
    }
    for tenant in tenants {
        let machines = tenant.tenant_status().map_or(0, |status| status.machines.len());
        output.note(&format!("{} goes, with {machines} machine(s)", tenant.reference()));
    }
    if yes {
        return Ok(());
    }
    if !output.can_ask() {
        let failure = Failure::new(Exit::BadInput, "there is no terminal to ask on");
        return Err(failure.hint("pass --yes to prune without being asked").into());
    }
    let answer = output.ask(&format!("Delete {} tenant(s)? [y/N]", tenants.len()))?;
    if matches!(answer.to_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure::new(Exit::BadInput, "nothing was applied or deleted").into())
}

/// Deletes them, each one only if it is still the very object that was shown, and still of the set.
/// With `beside` the lines about it are no part of the result.
pub(super) async fn prune(
    client: &Client,
    set: &str,
    tenants: &[Object],
    (dry_run, beside): (DryRun, bool),
    output: &mut Output,
    tally: &mut Tally,
) -> anyhow::Result<usize> {
    let mut pruned = 0;
    for tenant in tenants {
        let name = tenant.name().to_owned();
        let reference = Reference { resource: Resource::Tenant, name };
        match one(client, set, &reference, tenant, dry_run).await {
            Ok(true) => {
                tally.done();
                pruned += 1;
                let line = format!("{reference} pruned{}", dry_run.suffix());
                match beside {
                    true => output.note(&line),
                    false => output.line(&line)?,
                }
            }
            Ok(false) => {}
            Err(error) => failed(&reference, &error, output, tally),
        }
    }
    Ok(pruned)
}

async fn one(
    client: &Client,
    set: &str,
    reference: &Reference,
    shown: &Object,
    dry_run: DryRun,
) -> anyhow::Result<bool> {
    if dry_run == DryRun::Client {
        return Ok(true);
    }
    let mut tries = WRITE_ATTEMPTS;
    loop {
        let Some(live) = client.find(reference).await? else { return Ok(false) };
        if !is_member(&live, set) || !is_same_tenant(&live, shown) {
            return Ok(false);
        }
        tries -= 1;
        match client.delete(reference, Some(&live), dry_run == DryRun::Server).await {
            Ok(_) => return Ok(true),
            Err(error) if error.code() == Some(404) => return Ok(false),
            // Someone wrote between our look and our deletion: the controller its status, or a
            // person who moved the tenant out of the set. Only another look can tell.
            Err(error) if error.code() == Some(409) && tries > 0 => {
                let newer = client.find(reference).await?;
                if version(newer.as_ref()) == version(Some(&live)) {
                    return Err(error.into());
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether these are states of one tenant. The uid follows from the name, so a tenant that was
/// created anew meanwhile is known by when that was.
fn is_same_tenant(live: &Object, shown: &Object) -> bool {
    let same = |pointer| live.text(pointer) == shown.text(pointer);
    same("/metadata/uid") && same("/metadata/creationTimestamp")
}

/// Whether a tenant is of the set, was applied through the API, and is not going already.
fn is_member(tenant: &Object, set: &str) -> bool {
    tenant.labels().get(LABEL) == Some(&set)
        && tenant.text("/status/source") == Some(SOURCE)
        && !tenant.is_being_deleted()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_the_set_applied_itself_is_ever_pruned() {
        let tenant = |set: &str, source: &str| {
            Object(json!({ "kind": "Tenant", "metadata": { "name": "a", "labels": { LABEL: set } },
                "status": { "source": source } }))
        };
        assert!(is_member(&tenant("prod", "API"), "prod"));
        assert!(!is_member(&tenant("test", "API"), "prod"));
        assert!(!is_member(&tenant("prod", "folder a.yaml"), "prod"));
        let mut going = tenant("prod", "API");
        going.0["metadata"]["deletionTimestamp"] = json!("2026-03-01T12:00:00Z");
        assert!(!is_member(&going, "prod"));
        let bare = Object(json!({ "metadata": { "labels": { LABEL: "prod" } } }));
        assert!(!is_member(&bare, "prod"), "nobody has looked at it yet");
    }

    #[test]
    fn the_name_of_a_set_is_the_value_of_a_label() {
        assert_eq!(parse_set("prod-eu").as_deref(), Ok("prod-eu"));
        for text in ["", "a b", "a,b", &"a".repeat(64)] {
            assert!(parse_set(text).is_err(), "{text}");
        }
    }
}
