//! `vaultctl diff --plan`: what the controller would do at Fly.io.

use std::collections::BTreeSet;

use serde_json::json;
use vault_api::plan::TenantPlan;

use crate::client::Client;
use crate::commands::apply::{is_same, merged};
use crate::input::Input;
use crate::object::{Object, Resource};
use crate::output::format::DataForm;
use crate::output::table::render;
use crate::output::{Output, json, yaml};

/// Prints the plans; `true` if any of them has an action.
pub(super) async fn run(
    client: &Client,
    input: &Input,
    all: bool,
    form: Option<DataForm>,
    output: &mut Output,
) -> anyhow::Result<bool> {
    let live = client.list(Resource::Tenant).await?.items;
    let documents: Vec<Object> =
        input.documents.iter().map(|document| document.object.clone()).collect();
    let tenants = if all {
        live.iter().map(|tenant| tenant.name().to_owned()).collect()
    } else {
        affected(&live, input, &changed_classes(client, input).await?)
    };
    let progress = output.progress("planning");
    let mut plans = Vec::new();
    for tenant in &tenants {
        progress.say(format!("planning tenant/{tenant}"));
        plans.push(if all {
            client.plan(tenant).await?
        } else {
            client.plan_with(tenant, &documents).await?
        });
    }
    drop(progress);
    match form {
        Some(form) => {
            let list = json!({
                "apiVersion": "v1", "kind": "List",
                "metadata": { "resourceVersion": "" }, "items": plans,
            });
            output.text(&match form {
                DataForm::Json => json(&list)?,
                DataForm::Yaml => yaml(&list)?,
            })?;
        }
        None => {
            output.text(&text(&plans))?;
            let idle = plans.iter().filter(|plan| plan.actions.is_empty()).count();
            if idle > 0 {
                output.note(&format!("Nothing to do for {idle} of {} tenants.", plans.len()));
            }
        }
    }
    Ok(plans.iter().any(|plan| !plan.actions.is_empty()))
}

/// The classes of the input that are new or say something else than before.
async fn changed_classes(client: &Client, input: &Input) -> anyhow::Result<BTreeSet<String>> {
    let mut changed = BTreeSet::new();
    for document in &input.documents {
        if document.reference.resource != Resource::TenantClass {
            continue;
        }
        let live = client.find(&document.reference).await?;
        if !live.is_some_and(|live| is_same(&live, &merged(&live, &document.object))) {
            changed.insert(document.reference.name.clone());
        }
    }
    Ok(changed)
}

/// The tenants of the input, and those that live with a changed class; each once, by name.
fn affected(live: &[Object], input: &Input, changed: &BTreeSet<String>) -> BTreeSet<String> {
    let named = input
        .documents
        .iter()
        .filter(|document| document.reference.resource == Resource::Tenant)
        .map(|document| document.reference.name.clone());
    let inheriting = live
        .iter()
        .filter(|tenant| tenant.text("/spec/class").is_some_and(|class| changed.contains(class)))
        .map(|tenant| tenant.name().to_owned());
    named.chain(inheriting).collect()
}

fn text(plans: &[TenantPlan]) -> String {
    let mut parts = Vec::new();
    for plan in plans {
        if plan.actions.is_empty() && plan.notes.is_empty() {
            continue;
        }
        let mut part = format!("tenant/{}\n", plan.tenant);
        if !plan.actions.is_empty() {
            let rows: Vec<Vec<String>> = plan
                .actions
                .iter()
                .map(|one| vec![one.action.clone(), one.target.clone(), one.reason.clone()])
                .collect();
            part.push_str(&render(&["ACTION", "TARGET", "WHY"], &rows));
        }
        for note in &plan.notes {
            part.push_str(&format!("note: {}: {}\n", note.reason, note.message));
        }
        parts.push(part);
    }
    parts.join("\n")
}

#[cfg(test)]
mod tests {
    use vault_api::plan::{PlanNote, PlannedAction};

    use super::*;

    fn plan(tenant: &str, actions: &[(&str, &str, &str)], notes: &[(&str, &str)]) -> TenantPlan {
        TenantPlan {
            api_version: "vaultctl.dev/v1".into(),
            kind: "TenantPlan".into(),
            tenant: tenant.into(),
            actions: actions
                .iter()
                .map(|(action, target, reason)| PlannedAction {
                    action: (*action).into(),
                    target: (*target).into(),
                    reason: (*reason).into(),
                })
                .collect(),
            notes: notes
                .iter()
                .map(|(reason, message)| PlanNote {
                    reason: (*reason).into(),
                    message: (*message).into(),
                })
                .collect(),
            held_until: None,
        }
    }

    #[test]
    fn plans_are_tables_with_notes() {
        let plans = [
            plan(
                "acme",
                &[
                    ("CreateApp", "app acme-7k2m9qxa", "It does not exist."),
                    ("CreateMachine", "machine acme-box-0", "It does not exist."),
                ],
                &[],
            ),
            plan("idle", &[], &[]),
            plan("stuck", &[], &[("Blocked", "The app's name is taken.")]),
        ];
        insta::assert_snapshot!(text(&plans), @r"
        tenant/acme
        ACTION          TARGET               WHY
        CreateApp       app acme-7k2m9qxa    It does not exist.
        CreateMachine   machine acme-box-0   It does not exist.

        tenant/stuck
        note: Blocked: The app's name is taken.
        ");
    }
}
