//! `vaultctl audit-log`

use vault_api::audit::AuditRecord;

use crate::cli::Globals;
use crate::error::Exit;
use crate::output::format::DataForm;
use crate::output::table::render;
use crate::output::{Output, json, yaml};

const COLUMNS: &[&str] = &["AT", "WHO", "FROM", "VERB", "OBJECT", "CODE", "MESSAGE"];

/// Show who wrote what
///
/// One line per write request, refused ones and dry runs included, the newest last. The controller
/// keeps the newest 20,000. Requests without a known token are only counted.
///
/// EXAMPLES:
///   vaultctl audit-log
///   vaultctl audit-log --tenant acme --since 24h
///   vaultctl audit-log -o json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Only writes to this tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,

    /// Only writes from then on: a span such as 1h, or an instant such as 2026-01-01T00:00:00Z
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,

    /// Show the newest so many
    #[arg(long, value_name = "COUNT", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,

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
    let client = globals.client()?;
    let limit = args.limit.to_string();
    let wanted = [
        ("tenant", args.tenant.as_deref()),
        ("since", args.since.as_deref()),
        ("limit", Some(limit.as_str())),
    ];
    let list = client.audit_log(&wanted).await?;
    match args.output {
        Some(DataForm::Json) => output.text(&json(&list)?)?,
        Some(DataForm::Yaml) => output.text(&yaml(&list)?)?,
        None if list.items.is_empty() => output.note("No writes found."),
        None => {
            let rows: Vec<Vec<String>> = list.items.iter().map(row).collect();
            output.text(&render(COLUMNS, &rows))?;
        }
    }
    if list.metadata.unknown_callers > 0 {
        output.note(&format!(
            "{} requests came without a known token since the controller started",
            list.metadata.unknown_callers
        ));
    }
    Ok(Exit::Success)
}

fn row(record: &AuditRecord) -> Vec<String> {
    let subresource = match record.subresource.as_str() {
        "" => String::new(),
        subresource => format!("/{subresource}"),
    };
    let dry_run = if record.dry_run { " (dry run)" } else { "" };
    vec![
        record.at.clone(),
        record.who.clone(),
        record.source.clone(),
        record.verb.clone(),
        format!("{}/{}{subresource}", record.kind.to_lowercase(), record.name),
        record.code.to_string(),
        format!("{}{dry_run}", record.message).trim_start().to_owned(),
    ]
}
