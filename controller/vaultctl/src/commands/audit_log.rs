//! `vaultctl audit-log`

mod machine;

use std::time::Duration;

use vault_api::audit::AuditRecord;
use vault_client::protocol::audit::Head;

use crate::cli::Globals;
use crate::error::Exit;
use crate::output::format::DataForm;
use crate::output::table::render;
use crate::output::{Output, json, yaml};
use crate::poll::parse_limit;
use crate::reach::MachineName;

const COLUMNS: &[&str] = &["AT", "WHO", "FROM", "VERB", "OBJECT", "CODE", "MESSAGE"];

/// Show who wrote what, or who was in a machine
///
/// One line per write request, refused ones and dry runs included, the newest last. The controller
/// keeps the newest 20,000. Requests without a known token are only counted.
///
/// With a TENANT it shows what the agent of the tenant's machine wrote down on its volume: who came in
/// from where, which commands were run and how they ended, and which connections were forwarded. Each
/// record holds the SHA-256 of the one before it; it is an error (exit code 3) if one does not follow.
/// Whoever is root in the machine can write the whole log anew: --earlier compares with what it was.
///
/// EXAMPLES:
///   vaultctl audit-log
///   vaultctl audit-log --tenant acme --since 24h
///   vaultctl audit-log -o json
///   vaultctl audit-log acme --since 24h
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Show what the agent of this machine wrote down: the tenant, if it has one machine; else
    /// TENANT/GROUP-INDEX
    #[arg(value_name = "TENANT[/GROUP-INDEX]", conflicts_with = "tenant")]
    machine: Option<MachineName>,

    /// Of a machine: look whether this record, as an earlier run printed it, is still the same
    #[arg(long, value_name = "RECORD:SHA256", requires = "machine")]
    earlier: Option<Head>,

    /// Of a machine: how long to try to reach it; 0 tries once
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = parse_limit)]
    connect_timeout: Duration,

    /// Only writes to this tenant, of those that the controller keeps
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
    if let Some(machine) = &args.machine {
        let wanted = machine::Wanted {
            machine,
            since: args.since.as_deref(),
            limit: args.limit as usize,
            earlier: args.earlier,
            connect_timeout: args.connect_timeout,
            form: args.output,
        };
        return machine::show(wanted, globals, output).await;
    }
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
