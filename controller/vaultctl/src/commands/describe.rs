//! `vaultctl describe`

use crate::cli::Globals;
use crate::client::Client;
use crate::clock;
use crate::commands::select::{every, named};
use crate::error::{Exit, Failure};
use crate::object::{Object, Reference, Resource};
use crate::output::Output;
use crate::output::describe::describe;
use crate::output::events::in_order;
use crate::reference::{self, Targets};
use crate::selector::Selector;

/// Show all about tenants or tenant classes, for people to read
///
/// Conditions, machines and volumes stand beside what happened lately. The form may change from
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
    selector: Option<Selector>,
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
            let groups = every(&client, resources, args.selector.as_ref()).await?;
            for (resource, _) in groups.iter().filter(|(_, objects)| objects.is_empty()) {
                output.note(&format!("No {} found.", resource.plural()));
            }
            (groups, Exit::Success)
        }
        Targets::Named(references) => named(&client, references, output).await?,
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
    let now = clock::now();
    let texts: Vec<String> = objects
        .iter()
        .map(|(resource, object)| describe(*resource, object, events.as_deref(), now))
        .collect();
    output.text(&texts.join("\n\n"))?;
    Ok(if found == Exit::Success { read } else { found })
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
