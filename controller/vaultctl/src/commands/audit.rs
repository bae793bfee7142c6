//! `vaultctl audit`

use vault_api::orphan::Orphan;

use crate::cli::Globals;
use crate::error::Exit;
use crate::output::format::DataForm;
use crate::output::table::render;
use crate::output::{Output, json, yaml};

const COLUMNS: &[&str] =
    &["KIND", "NAME", "ID", "WHY", "TENANT", "APP", "REGION", "SIZE", "STATE", "DUE", "NEXT"];

/// Show what is yours at Fly.io and serves no tenant
///
/// Machines, apps and volumes that carry this controller's mark or a name that it derived, and that
/// no tenant wants any more; volumes of which there are two; and what has a tombstone: when it goes,
/// and how to keep it. The platform is asked anew. Nothing is changed.
///
/// Exits with 0 if there is nothing, with 1 if there is something, and above that on errors.
///
/// EXAMPLES:
///   vaultctl audit
///   vaultctl audit -o json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The form of the output; a table if absent
    #[arg(short, long, value_name = "FORM")]
    output: Option<DataForm>,
}

/// Reads and prints.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let list = globals.client()?.orphans().await?;
    match args.output {
        Some(DataForm::Json) => output.text(&json(&list)?)?,
        Some(DataForm::Yaml) => output.text(&yaml(&list)?)?,
        None if list.items.is_empty() => output.note("No orphans found."),
        None => {
            let rows: Vec<Vec<String>> = list.items.iter().map(row).collect();
            output.text(&render(COLUMNS, &rows))?;
        }
    }
    for reason in &list.metadata.unread {
        output.note(&format!("There may be more: {reason}"));
    }
    Ok(if list.items.is_empty() { Exit::Success } else { Exit::Different })
}

fn row(orphan: &Orphan) -> Vec<String> {
    let or_none = |value: &Option<String>| value.clone().unwrap_or_default();
    let size = orphan.size_gb.map(|size| format!("{size} GB")).unwrap_or_default();
    vec![
        orphan.kind.clone(),
        orphan.name.clone(),
        or_none(&orphan.id),
        orphan.reason.clone(),
        or_none(&orphan.tenant),
        orphan.app.clone(),
        or_none(&orphan.region),
        size,
        or_none(&orphan.state),
        or_none(&orphan.due_at),
        orphan.next.clone(),
    ]
}
