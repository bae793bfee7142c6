//! `vaultctl get`

use crate::cli::Globals;
use crate::clock;
use crate::commands::select::{Groups, every, named};
use crate::error::{Exit, Failure};
use crate::object::Object;
use crate::output::format::Format;
use crate::output::tables::{TableOptions, table};
use crate::output::{Output, Shape};
use crate::reference::{self, Targets};
use crate::selector::Selector;

/// Show tenants and tenant classes
///
/// Without a name all objects of a type are shown. The types are `tenants` and `tenantclasses`,
/// singular or plural; `all` means both.
///
/// `-o json` and `-o yaml` give the object itself if one was named, else a List. JSONPath templates
/// are kubectl's, without `range`.
///
/// EXAMPLES:
///   vaultctl get tenants
///   vaultctl get tenants -l tier=pro,'region in (ord,lhr)' -o wide
///   vaultctl get tenant acme -o yaml
///   vaultctl get tenant/acme tenantclass/dev-box -o name
///   vaultctl get tenants -o jsonpath='{.items[*].metadata.name}{"\n"}'
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// TYPE, TYPE NAME… or TYPE/NAME…
    #[arg(required = true, value_name = "WHAT")]
    what: Vec<String>,

    /// The form of the output: table, wide, json, yaml, name or jsonpath=TEMPLATE
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    output: Format,

    /// Only objects with these labels: key=value, key!=value, key, !key, 'key in (a,b)'; all of
    /// them must hold
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<Selector>,

    /// Leave out the names of the columns
    #[arg(long)]
    no_headers: bool,
}

/// Reads and prints.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    match reference::parse(&args.what)? {
        Targets::Every(resources) => {
            let groups = every(&globals.client()?, &resources, args.selector.as_ref()).await?;
            print(&args, output, groups, Shape::Many)?;
            Ok(Exit::Success)
        }
        Targets::Named(_) if args.selector.is_some() => {
            Err(Failure::new(Exit::BadInput, "names and a selector do not go together").into())
        }
        Targets::Named(references) => {
            let shape = match references.len() {
                1 => Shape::One,
                _ => Shape::Many,
            };
            let (groups, exit) = named(&globals.client()?, &references, output).await?;
            // What was found is shown even if something else is missing.
            if groups.iter().any(|(_, objects)| !objects.is_empty()) {
                print(&args, output, groups, shape)?;
            }
            Ok(exit)
        }
    }
}

fn print(args: &Args, output: &mut Output, groups: Groups, shape: Shape) -> anyhow::Result<()> {
    let wide = match &args.output {
        Format::Data(format) => {
            let objects: Vec<Object> =
                groups.into_iter().flat_map(|(_, objects)| objects).collect();
            return output.objects(format, &objects, shape);
        }
        Format::Table { wide } => *wide,
    };
    let options = TableOptions { wide, no_headers: args.no_headers, with_kind: groups.len() > 1 };
    let now = clock::now();
    let mut separator = "";
    for (resource, objects) in groups {
        if objects.is_empty() {
            output.note(&format!("No {} found.", resource.plural()));
            continue;
        }
        let text = table(resource, &objects, options, now);
        output.text(&format!("{separator}{text}"))?;
        separator = "\n";
    }
    Ok(())
}
