//! `vaultctl why`

mod findings;

use std::fmt::Write as _;

use serde::Serialize;
use vault_api::object::API_VERSION;

use crate::cli::Globals;
use crate::client::{Client, ClientError};
use crate::commands::not_found;
use crate::error::Exit;
use crate::object::{Reference, Resource};
use crate::output::format::DataForm;
use crate::output::table::clean;
use crate::output::{Output, json, yaml};
use findings::{Facts, Finding, find};

/// How many intents are looked through for those whose effect is still to be seen: a tenant has a
/// handful of actions in a pass, and the open ones are the newest.
const INTENTS: u32 = 50;

/// Say what stands between a tenant and Ready
///
/// One screen in plain sentences, the most important first: what is in the way, what to do about
/// it, and when the controller tries again by itself. It is put together from the tenant's
/// status, its plan, its trace and the diagnosis of its machines.
///
/// Ends with 0 if the tenant is Ready, and with 1 if it is not.
///
/// EXAMPLES:
///   vaultctl why acme
///   vaultctl why acme -o json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The tenant
    #[arg(value_name = "TENANT")]
    tenant: String,

    /// The form of the output; sentences if absent
    #[arg(short, long, value_name = "FORM")]
    output: Option<DataForm>,
}

/// The answer, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Why {
    api_version: &'static str,
    kind: &'static str,
    tenant: String,
    ready: bool,
    message: String,
    findings: Vec<Finding>,
}

/// Reads and prints.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let client = globals.client()?;
    let reference = Reference { resource: Resource::Tenant, name: args.tenant };
    let Some(tenant) = client.find(&reference).await? else {
        return Err(not_found(&client, &reference).await.into());
    };
    let mut facts = Facts::of(&tenant);
    if !facts.ready {
        learn(&client, &reference.name, &mut facts, output).await;
    }
    let why = Why {
        api_version: API_VERSION,
        kind: "TenantWhy",
        tenant: reference.name,
        ready: facts.ready,
        message: facts.message(),
        findings: find(&facts),
    };
    match args.output {
        Some(DataForm::Json) => output.text(&json(&why)?)?,
        Some(DataForm::Yaml) => output.text(&yaml(&why)?)?,
        None => output.text(&sentences(&why))?,
    }
    Ok(if why.ready { Exit::Success } else { Exit::Different })
}

/// Asks for the rest. What cannot be had is said, and does not hide what is known.
async fn learn(client: &Client, tenant: &str, facts: &mut Facts, output: &mut Output) {
    let (plan, trace, diagnosis) =
        tokio::join!(client.plan(tenant), client.trace(tenant, INTENTS), client.diagnosis(tenant));
    let mut known = |what: &str, error: ClientError| {
        let why = anyhow::Error::from(error);
        output.note(&format!("{what} is not known: {why:#}"));
    };
    match plan {
        Ok(plan) => facts.plan = Some(plan),
        Err(error) => known("The plan", error),
    }
    match trace {
        Ok(trace) => facts.open = trace.intents.into_iter().filter(|one| one.is_open()).collect(),
        Err(error) => known("What is under way", error),
    }
    match diagnosis {
        Ok(diagnosis) => facts.machines = diagnosis.machines,
        Err(error) => known("How its machines ended", error),
    }
}

fn sentences(why: &Why) -> String {
    let is = if why.ready { "is Ready" } else { "is not Ready" };
    let mut text = format!("tenant {} {is}: {}\n", why.tenant, clean(&why.message));
    for (place, finding) in why.findings.iter().enumerate() {
        // Writing into a string cannot fail.
        writeln!(text, "\n{}. {}", place + 1, clean(&finding.what)).ok();
        writeln!(text, "   next: {}", clean(&finding.next)).ok();
        if let Some(at) = &finding.retry_at {
            writeln!(text, "   tried again: {}", clean(at)).ok();
        }
    }
    text
}
