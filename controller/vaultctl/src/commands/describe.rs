//! `vaultctl describe`

use crate::cli::Globals;
use crate::client::{CHUNK_SIZE, Client, Selection};
use crate::clock;
use crate::commands::select::{every, named};
use crate::error::{Exit, Failure};
use crate::object::{Object, Reference, Resource};
use crate::output::Output;
use crate::output::describe::{Trouble, describe};
use crate::output::events::in_order;
use crate::reference::{self, Targets};

/// Each diagnosis makes the controller read logs at Fly.io, which limits such reads; more of them
/// than this would also be more than anyone reads.
const MAX_DIAGNOSES: usize = 10;

/// Show all about tenants or tenant classes, for people to read
///
/// Conditions, machines and volumes stand beside what happened lately. A machine that is not as
/// wanted is told with how it ended and with the tail of its log. The form may change from
/// version to version: programs use `get -o json` and `events -o json`.
///
/// EXAMPLES:
///   vaultctl describe tenant acme
///   vaultctl describe tenant/acme tenantclass/dev-box
///   vaultctl describe tenants -l tier=pro
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// TYPE, TYPE NAME… or TYPE/NAME…
    #[arg(required = true, value_name = "WHAT")]
    what: Vec<String>,

    /// Only objects with these labels: key=value, key!=value, key, !key, 'key in (a,b)'; all of
    /// them must hold
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
}

/// Reads and prints.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let targets = reference::parse(&args.what)?;
    if args.selector.is_some() && matches!(targets, Targets::Named(_)) {
        let failure = Failure::new(Exit::BadInput, "names and a selector do not go together");
        return Err(failure.into());
    }
    let client = globals.client()?;
    let (groups, found) = match &targets {
        Targets::Every(resources) => {
            let selection = Selection::labelled(args.selector.as_deref());
            let groups = every(&client, resources, &selection, CHUNK_SIZE).await?;
            for (resource, _) in groups.iter().filter(|(_, objects)| objects.is_empty()) {
                output.note(&format!("No {} found.", resource.plural()));
            }
            (groups, Exit::Success)
        }
        Targets::Named(references) => named(&client, references, false, output).await?,
    };
    let objects: Vec<(Resource, Object)> = groups
        .into_iter()
        .flat_map(|(resource, objects)| objects.into_iter().map(move |object| (resource, object)))
        .collect();
    if objects.is_empty() {
        return Ok(found);
    }
    let (events, read) = match events(&client, &objects).await {
        Ok(events) => (Some(events), Exit::Success),
        Err(error) => {
            // The rest is worth showing when something is wrong, then above all.
            output.note(&format!("The events are not known: {error:#}"));
            (None, Exit::Partly)
        }
    };
    let mut texts = Vec::new();
    let mut left = MAX_DIAGNOSES;
    for (resource, object) in &objects {
        let trouble = match resource {
            Resource::Tenant => diagnose(&client, object, &mut left).await,
            Resource::TenantClass | Resource::Event => Trouble::None,
        };
        texts.push(describe(*resource, object, &trouble, events.as_deref(), clock::now()));
    }
    output.text(&texts.join("\n\n"))?;
    Ok(if found == Exit::Success { read } else { found })
}

/// Asks about the machines of a tenant if one of them is not as wanted.
async fn diagnose(client: &Client, tenant: &Object, left: &mut usize) -> Trouble {
    let status = tenant.tenant_status().unwrap_or_default();
    if tenant.is_being_deleted() || status.machines.iter().all(|machine| machine.ready) {
        return Trouble::None;
    }
    let Some(fewer) = left.checked_sub(1) else {
        return Trouble::Unknown("describe this tenant alone to see it".to_owned());
    };
    *left = fewer;
    match client.diagnosis(tenant.name()).await {
        Ok(mut diagnosis) => {
            let is_ready = |name: &str| {
                status.machines.iter().any(|machine| machine.name == name && machine.ready)
            };
            diagnosis.machines.retain(|machine| !is_ready(&machine.name));
            Trouble::Known(diagnosis)
        }
        Err(error) if matches!(error.code(), Some(404 | 405)) => Trouble::Unknown(
            "this controller does not serve it: it is older than vaultctl".to_owned(),
        ),
        Err(error) => Trouble::Unknown(format!("{:#}", anyhow::Error::from(error))),
    }
}

/// The events of one object, or, in one request, those of all.
async fn events(client: &Client, objects: &[(Resource, Object)]) -> anyhow::Result<Vec<Object>> {
    let one = match objects {
        [(resource, object)] => {
            Some(Reference { resource: *resource, name: object.name().to_owned() })
        }
        _ => None,
    };
    Ok(in_order(client.events(one.as_ref()).await?.items))
}
