//! `vaultctl config use-context`, `set-context`, `delete-context`

use std::path::PathBuf;

use vault_api::context::{Context, ContextFile};
use vault_api::object::API_VERSION;

use super::view::known;
use crate::cli::Globals;
use crate::client::Client;
use crate::context::{self, ContextError, Found};
use crate::error::{Exit, Failure};
use crate::input;
use crate::output::Output;

/// Make a context the current one
///
/// EXAMPLES:
///   vaultctl config use-context production
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct UseContextArgs {
    /// The context
    #[arg(value_name = "NAME")]
    name: String,
}

/// Add a context, or change one
///
/// The token is read from a file, or with - from standard input, never from the command line, which
/// other users of a machine can see. Without a context file, ~/.config/vaultctl/config.yaml is made.
///
/// EXAMPLES:
///   vaultctl config set-context staging --server https://vault.example --token-file token
///   pass show vault | vaultctl config set-context staging --token-file - --current
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct SetContextArgs {
    /// The context
    #[arg(value_name = "NAME")]
    name: String,

    /// The controller's address: https://HOST:PORT
    #[arg(long, value_name = "URL")]
    server: Option<String>,

    /// A file with the operator token, or - for standard input
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// A file with the certificate, in PEM, that signs the controller's
    #[arg(long, value_name = "FILE")]
    certificate_authority: Option<PathBuf>,

    /// Make it the current one
    #[arg(long)]
    current: bool,
}

/// Remove a context
///
/// EXAMPLES:
///   vaultctl config delete-context staging
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct DeleteContextArgs {
    /// The context
    #[arg(value_name = "NAME")]
    name: String,
}

/// Makes a context the current one.
pub(super) fn use_context(
    args: &UseContextArgs,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let Found { path, mut file } = context::find(&globals.context_files())?;
    known(&file, &args.name)?;
    file.current_context.clone_from(&args.name);
    context::write(&path, &file)?;
    output.line(&format!("context {:?} is the current one now", args.name))?;
    Ok(Exit::Success)
}

/// Adds or changes a context. Nothing is written that could not be used.
pub(super) fn set_context(
    args: SetContextArgs,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let bad = |message: String| Failure::new(Exit::BadInput, message);
    let files = globals.context_files();
    let Found { path, mut file } = match context::find(&files) {
        Ok(found) => found,
        Err(ContextError::NotFound { .. }) => Found {
            // The last one is the one in the home folder, or the one that was asked for.
            path: files.last().cloned().unwrap_or_default(),
            file: ContextFile {
                api_version: API_VERSION.to_owned(),
                kind: "Config".to_owned(),
                current_context: args.name.clone(),
                contexts: Vec::new(),
            },
        },
        Err(error) => return Err(error.into()),
    };
    let read = |path: &PathBuf| {
        input::text(path).map_err(|error| bad(format!("cannot read {}: {error}", path.display())))
    };
    let token = args.token_file.as_ref().map(read).transpose()?;
    let token = token.map(|text| text.trim().to_owned());
    let authority = args.certificate_authority.as_ref().map(read).transpose()?;
    let position = file.contexts.iter().position(|one| one.name == args.name);
    let verb = if position.is_some() { "modified" } else { "created" };
    let context = match position.map(|position| file.contexts.remove(position)) {
        Some(old) => Context {
            name: old.name,
            server: args.server.unwrap_or(old.server),
            certificate_authority: authority.or(old.certificate_authority),
            token: token.unwrap_or(old.token),
        },
        None => match (args.server, token) {
            (Some(server), Some(token)) => {
                Context { name: args.name.clone(), server, certificate_authority: authority, token }
            }
            _ => {
                let message = format!("there is no context {:?} to change", args.name);
                return Err(bad(message).hint("a new one needs --server and --token-file").into());
            }
        },
    };
    if context.token.is_empty() {
        return Err(bad("the token is empty".to_owned()).into());
    }
    // It checks address, certificate and token, and sends nothing.
    Client::new(&context)?;
    file.contexts.insert(position.unwrap_or(file.contexts.len()), context);
    if args.current {
        file.current_context.clone_from(&args.name);
    }
    context::write(&path, &file)?;
    output.line(&format!("context {:?} {verb}", args.name))?;
    output.note(&format!("written to {}", path.display()));
    Ok(Exit::Success)
}

/// Removes a context.
pub(super) fn delete_context(
    args: &DeleteContextArgs,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let Found { path, mut file } = context::find(&globals.context_files())?;
    known(&file, &args.name)?;
    file.contexts.retain(|one| one.name != args.name);
    context::write(&path, &file)?;
    output.line(&format!("context {:?} deleted from {}", args.name, path.display()))?;
    if file.current_context == args.name {
        output.note("it was the current context; choose another by `vaultctl config use-context`");
    }
    Ok(Exit::Success)
}
