//! `vaultctl version`

use serde_json::{Map, Value, json};

use crate::cli::Globals;
use crate::error::Exit;
use crate::output::format::DataForm;
use crate::output::{Output, json, yaml};

/// Print the versions of vaultctl and of the controller
///
/// The controller's version is left out, with a note, if no controller can be asked.
///
/// EXAMPLES:
///   vaultctl version
///   vaultctl version --client -o json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Do not ask the controller
    #[arg(long)]
    client: bool,

    /// Print for programs
    #[arg(short, long, value_name = "FORM")]
    output: Option<DataForm>,
}

/// Prints what is known.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let client_version = concat!("v", env!("CARGO_PKG_VERSION"));
    let server = if args.client {
        None
    } else {
        match server_version(globals).await {
            Ok(found) => Some(found),
            Err(error) => {
                output.note(&format!("The controller's version is not known: {error:#}"));
                None
            }
        }
    };
    if let Some(form) = args.output {
        let mut document = Map::new();
        document.insert("clientVersion".to_owned(), json!({ "gitVersion": client_version }));
        if let Some((_, version)) = server {
            document.insert("serverVersion".to_owned(), version);
        }
        output.text(&match form {
            DataForm::Json => json(&document)?,
            DataForm::Yaml => yaml(&document)?,
        })?;
        return Ok(Exit::Success);
    }
    output.line(&format!("Client: {client_version}"))?;
    if let Some((address, version)) = server {
        let version = version.get("gitVersion").and_then(Value::as_str).unwrap_or("unknown");
        output.line(&format!("Server: {version} ({address})"))?;
    }
    Ok(Exit::Success)
}

async fn server_version(globals: &Globals) -> anyhow::Result<(String, Value)> {
    let client = globals.client()?;
    let version = client.version().await?;
    Ok((client.server().to_owned(), version))
}
