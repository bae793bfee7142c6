//! `vaultctl token get` and `vaultctl token list`: the deploy tokens of a tenant.

use clap::Args as ClapArgs;
use vault_api::tokens::TokenStatus;

use crate::client::Client;
use crate::error::{Exit, Failure};
use crate::object::{Reference, Resource};
use crate::output::format::DataForm;
use crate::output::table::render;
use crate::output::{Output, json, yaml};

const COLUMNS: &[&str] = &["NAME", "N", "EXPIRES", "NEXT ROTATION"];

/// Print a deploy token of a tenant
///
/// The token stands alone on standard output, with a line break. It is good until the controller
/// revokes it: some time after the next one has been minted. The audit log tells who asked for it.
///
/// EXAMPLES:
///   FLY_API_TOKEN=$(vaultctl token get acme ci) fly deploy
///   vaultctl token get acme ci -o json
#[derive(Debug, ClapArgs)]
#[command(verbatim_doc_comment)]
pub(super) struct Get {
    /// The tenant
    #[arg(value_name = "TENANT")]
    tenant: String,

    /// The token's name, as in spec.tokens.deploy
    #[arg(value_name = "NAME")]
    name: String,

    /// Print the token with its name and its end
    #[arg(short, long, value_name = "FORM")]
    output: Option<DataForm>,
}

/// List the deploy tokens of a tenant: names and times, never the tokens
///
/// EXAMPLES:
///   vaultctl token list acme
///   vaultctl token list acme -o json
#[derive(Debug, ClapArgs)]
#[command(verbatim_doc_comment)]
pub(super) struct List {
    /// The tenant
    #[arg(value_name = "TENANT")]
    tenant: String,

    /// The form of the output; a table if absent
    #[arg(short, long, value_name = "FORM")]
    output: Option<DataForm>,
}

/// Fetches a token, and prints it.
pub(super) async fn get(args: &Get, client: &Client, output: &mut Output) -> anyhow::Result<Exit> {
    let fetched = client.deploy_token(&args.tenant, &args.name).await?;
    match args.output {
        Some(DataForm::Json) => output.text(&json(&fetched)?)?,
        Some(DataForm::Yaml) => output.text(&yaml(&fetched)?)?,
        None => output.line(&fetched.token)?,
    }
    Ok(Exit::Success)
}

/// Prints what the tenant's status says of its tokens.
pub(super) async fn list(
    args: &List,
    client: &Client,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let reference = Reference { resource: Resource::Tenant, name: args.tenant.clone() };
    let tenant = client.read(&reference).await?;
    let Some(status) = tenant.tenant_status() else {
        let message = format!("nothing is known of tenant {} yet", args.tenant);
        return Err(Failure::new(Exit::Platform, message).into());
    };
    let tokens = status.tokens;
    match args.output {
        Some(DataForm::Json) => output.text(&json(&tokens)?)?,
        Some(DataForm::Yaml) => output.text(&yaml(&tokens)?)?,
        None if tokens.is_empty() => output.note("No deploy tokens found."),
        None => {
            let rows: Vec<Vec<String>> = tokens.iter().map(row).collect();
            output.text(&render(COLUMNS, &rows))?;
        }
    }
    Ok(Exit::Success)
}

fn row(token: &TokenStatus) -> Vec<String> {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "<none>".to_owned());
    vec![
        token.name.clone(),
        or_none(token.n.map(|n| n.to_string())),
        or_none(token.expires_at.clone()),
        or_none(token.next_rotation.clone()),
    ]
}
