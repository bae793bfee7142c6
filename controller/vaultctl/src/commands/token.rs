//! `vaultctl token`

mod deploy;

use clap::{Args as ClapArgs, Subcommand};
use serde_json::{Value, json};
use vault_api::object::API_VERSION;
use vault_api::operator::{self, OperatorToken, Role};
use vault_api::selector::LabelSelector;

use crate::cli::Globals;
use crate::client::Client;
use crate::clock;
use crate::error::{Exit, Failure};
use crate::output::format::DataForm;
use crate::output::table::render;
use crate::output::tables::since;
use crate::output::{Output, json, yaml};

const COLUMNS: &[&str] = &["NAME", "ROLE", "SELECTOR", "AGE", "LAST USED", "EXPIRES"];

/// Fetch deploy tokens; make, list and revoke operator tokens
///
/// EXAMPLES:
///   FLY_API_TOKEN=$(vaultctl token get acme ci) fly deploy
///   vaultctl token list acme
///   vaultctl token operator create ci --role operate -l tier=pro --ttl 720h
///   vaultctl token operator list
///   vaultctl token operator revoke ci
#[derive(Debug, ClapArgs)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(subcommand)]
    of: Of,
}

#[derive(Debug, Subcommand)]
enum Of {
    Get(deploy::Get),
    List(deploy::List),
    Operator(OperatorArgs),
}

/// Tokens for the controller's API
///
/// A token has a role: read looks; operate also changes tenants and reaches their machines; admin
/// may do everything. With --selector it sees and changes no other tenants.
///
/// EXAMPLES:
///   vaultctl token operator create ci --role operate -l tier=pro --ttl 720h
///   vaultctl token operator list
///   vaultctl token operator revoke ci
#[derive(Debug, ClapArgs)]
#[command(verbatim_doc_comment)]
struct OperatorArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(Create),
    List(List),
    Revoke(Revoke),
}

/// Make a token, and print it once
///
/// The token stands alone on standard output. Nobody can show it again.
///
/// EXAMPLES:
///   vaultctl token operator create ci --role operate -l tier=pro --ttl 720h
///   vaultctl token operator create dashboard --role read -o json
#[derive(Debug, ClapArgs)]
#[command(verbatim_doc_comment)]
struct Create {
    /// Its name; the audit log names it
    name: String,

    /// What it may do: read, operate or admin
    #[arg(long, value_name = "ROLE", value_parser = role)]
    role: Role,

    /// The tenants that it may see and change, such as tier=pro; all if absent
    #[arg(short = 'l', long, value_name = "SELECTOR", value_parser = selector)]
    selector: Option<String>,

    /// How long it is good, such as 720h; for ever if absent
    #[arg(long, value_name = "SPAN")]
    ttl: Option<String>,

    /// Print the whole object, with the token in status.token
    #[arg(short, long, value_name = "FORM")]
    output: Option<DataForm>,
}

/// List tokens: their names and what they may do, never the tokens
///
/// EXAMPLES:
///   vaultctl token operator list
///   vaultctl token operator list -o json
#[derive(Debug, ClapArgs)]
#[command(verbatim_doc_comment)]
struct List {
    /// The form of the output; a table if absent
    #[arg(short, long, value_name = "FORM")]
    output: Option<DataForm>,
}

/// Revoke a token: from now on it opens nothing
///
/// On a terminal you are asked first; elsewhere pass --yes.
///
/// EXAMPLES:
///   vaultctl token operator revoke ci
///   vaultctl token operator revoke ci --yes
#[derive(Debug, ClapArgs)]
#[command(verbatim_doc_comment)]
struct Revoke {
    /// Its name
    name: String,

    /// Do not ask
    #[arg(short = 'y', long)]
    yes: bool,
}

fn role(text: &str) -> Result<Role, String> {
    Role::named(text).ok_or_else(|| {
        let words = Role::ALL.map(Role::word);
        let near = vault_api::names::nearest(text, words)
            .map(|near| format!("; did you mean {near}?"))
            .unwrap_or_default();
        format!("the roles are {}{near}", words.join(", "))
    })
}

/// A selector that can be read; the controller gets its text.
fn selector(text: &str) -> Result<String, String> {
    match text.parse::<LabelSelector>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Does what was asked with tokens.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let client = globals.client()?;
    let verb = match args.of {
        Of::Get(get) => return deploy::get(&get, &client, output).await,
        Of::List(list) => return deploy::list(&list, &client, output).await,
        Of::Operator(OperatorArgs { verb }) => verb,
    };
    match verb {
        Verb::Create(create) => make(create, &client, output).await,
        Verb::List(list) => show(&list, &client, output).await,
        Verb::Revoke(revoke) => end(&revoke, &client, output).await,
    }
}

async fn make(args: Create, client: &Client, output: &mut Output) -> anyhow::Result<Exit> {
    let mut spec = json!({ "role": args.role });
    for (field, value) in [("selector", args.selector), ("ttl", args.ttl)] {
        if let Some(value) = value {
            spec[field] = Value::String(value);
        }
    }
    let body = json!({
        "apiVersion": API_VERSION,
        "kind": operator::KIND,
        "metadata": { "name": args.name },
        "spec": spec,
    });
    let made = client.create_operator_token(&body).await?;
    let token = made.status.as_ref().and_then(|status| status.token.as_deref());
    let Some(token) = token else {
        return Err(Failure::new(Exit::Platform, "the controller answered without a token").into());
    };
    match args.output {
        Some(DataForm::Json) => output.text(&json(&made)?)?,
        Some(DataForm::Yaml) => output.text(&yaml(&made)?)?,
        None => output.line(token)?,
    }
    let end = match &made.spec.expires_at {
        Some(end) => format!("it ends at {end}"),
        None => "it does not end by itself".to_owned(),
    };
    output.note(&format!(
        "operator token {} ({}) was made; {end}. This is the only time that it is shown.",
        made.metadata.name, made.spec.role
    ));
    Ok(Exit::Success)
}

async fn show(args: &List, client: &Client, output: &mut Output) -> anyhow::Result<Exit> {
    let list = client.operator_tokens().await?;
    match args.output {
        Some(DataForm::Json) => output.text(&json(&list)?)?,
        Some(DataForm::Yaml) => output.text(&yaml(&list)?)?,
        None if list.items.is_empty() => output.note("No operator tokens found."),
        None => {
            let rows: Vec<Vec<String>> = list.items.iter().map(row).collect();
            output.text(&render(COLUMNS, &rows))?;
        }
    }
    Ok(Exit::Success)
}

fn row(token: &OperatorToken) -> Vec<String> {
    let (spec, now) = (&token.spec, clock::now());
    let status = token.status.clone().unwrap_or_default();
    let end = match (status.expired, &spec.expires_at) {
        (true, _) => "expired".to_owned(),
        (false, end) => end.clone().unwrap_or_else(|| "never".to_owned()),
    };
    vec![
        token.metadata.name.clone(),
        spec.role.to_string(),
        spec.selector.clone().unwrap_or_else(|| "<all>".to_owned()),
        since(token.metadata.creation_timestamp.as_deref(), now),
        since(status.last_used_at.as_deref(), now),
        end,
    ]
}

async fn end(args: &Revoke, client: &Client, output: &mut Output) -> anyhow::Result<Exit> {
    if !args.yes {
        if !output.can_ask() {
            let failure = Failure::new(Exit::BadInput, "there is no terminal to ask on");
            return Err(failure.hint("pass --yes to revoke without being asked").into());
        }
        output.note(&format!("operator token {}: whoever uses it is locked out", args.name));
        let answer = output.ask("Revoke? [y/N]")?;
        if !matches!(answer.to_lowercase().as_str(), "y" | "yes") {
            return Err(Failure::new(Exit::BadInput, "nothing was revoked").into());
        }
    }
    client.revoke_operator_token(&args.name).await?;
    output.line(&format!("operatortoken/{} revoked", args.name))?;
    Ok(Exit::Success)
}
