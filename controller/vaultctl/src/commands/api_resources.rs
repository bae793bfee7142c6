//! `vaultctl api-resources`

use clap::ValueEnum;

use crate::cli::Globals;
use crate::error::Exit;
use crate::output::Output;
use crate::output::table::Columns;

/// Show the types of objects that the controller serves
///
/// EXAMPLES:
///   vaultctl api-resources
///   vaultctl api-resources -o wide
///   vaultctl api-resources -o name --no-headers
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// More columns, or names alone
    #[arg(short, long, value_name = "FORM")]
    output: Option<Form>,

    /// Leave out the names of the columns
    #[arg(long)]
    no_headers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// With verbs and categories
    Wide,
    /// `tenants.vaultctl.dev`, one a line
    Name,
}

/// Asks and prints.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let mut resources = globals.client()?.api_resources().await?;
    resources.sort_by(|one, other| one.name.cmp(&other.name));
    if args.output == Some(Form::Name) {
        for resource in &resources {
            output.line(&match resource.api_version.split_once('/') {
                Some((group, _)) => format!("{}.{group}", resource.name),
                None => resource.name.clone(),
            })?;
        }
        return Ok(Exit::Success);
    }
    let is_wide = args.output == Some(Form::Wide);
    let mut header = vec!["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"];
    if is_wide {
        header.extend(["VERBS", "CATEGORIES"]);
    }
    let rows = resources.into_iter().map(|resource| {
        let mut row = vec![
            resource.name,
            resource.short_names.join(","),
            resource.api_version,
            resource.namespaced.to_string(),
            resource.kind,
        ];
        if is_wide {
            row.extend([resource.verbs.join(","), resource.categories.join(",")]);
        }
        row
    });
    let header: Vec<String> = header.into_iter().map(str::to_owned).collect();
    let header = (!args.no_headers).then_some(header.as_slice());
    output.text(&Columns::default().render(header, &rows.collect::<Vec<_>>()))?;
    Ok(Exit::Success)
}
