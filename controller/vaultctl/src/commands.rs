//! One file per command: `Args`, whose doc comment is the help text, and `run`.

pub(crate) mod annotate;
pub(crate) mod api_resources;
pub(crate) mod apply;
pub(crate) mod audit;
pub(crate) mod audit_log;
pub(crate) mod build;
pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod connect;
pub(crate) mod cp;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod describe;
#[cfg(feature = "dev")]
pub(crate) mod dev;
pub(crate) mod diff;
pub(crate) mod edit;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod explain;
pub(crate) mod forward;
pub(crate) mod get;
mod known;
pub(crate) mod label;
mod marks;
pub(crate) mod patch;
pub(crate) mod plugin;
pub(crate) mod profile;
pub(crate) mod provision;
pub(crate) mod replace;
mod select;
pub(crate) mod sessions;
pub(crate) mod token;
pub(crate) mod trace;
pub(crate) mod undelete;
pub(crate) mod usage_facts;
pub(crate) mod version;
pub(crate) mod wait;
pub(crate) mod why;

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

use crate::cli::Globals;
use crate::client::Client;
use crate::error::{Exit, Failure, Tally, describe, exit_of};
use crate::object::Reference;
use crate::output::Output;
use vault_api::names::nearest;

/// The commands, in the order of the help text.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[cfg(feature = "dev")]
    Dev(dev::Args),
    Apply(apply::Args),
    Diff(diff::Args),
    Create(create::Args),
    Replace(replace::Args),
    Edit(edit::Args),
    Patch(patch::Args),
    Label(label::Args),
    Annotate(annotate::Args),
    Get(get::Args),
    Describe(describe::Args),
    Events(events::Args),
    Why(why::Args),
    Trace(trace::Args),
    Exec(exec::Args),
    Connect(connect::Args),
    Sessions(sessions::Args),
    Forward(forward::Args),
    Cp(cp::Args),
    Provision(provision::Args),
    Profile(profile::Args),
    Delete(delete::Args),
    Undelete(undelete::Args),
    Audit(audit::Args),
    Wait(wait::Args),
    Build(build::Args),
    Token(token::Args),
    AuditLog(audit_log::Args),
    UsageFacts(usage_facts::Args),
    Explain(explain::Args),
    ApiResources(api_resources::Args),
    Config(config::Args),
    Plugin(plugin::Args),
    Completion(completion::Args),
    Version(version::Args),
}

impl Command {
    /// Runs the command.
    ///
    /// # Errors
    /// What kept it from ending in an orderly way; the caller prints it.
    pub(crate) async fn run(
        self,
        globals: &Globals,
        output: &mut Output,
    ) -> anyhow::Result<ExitCode> {
        let exit = match self {
            // The command's own code, which may be any.
            Self::Exec(args) => return Ok(exec::run(args, globals, output).await),
            Self::Cp(args) => return cp::run(args, globals, output).await,
            Self::Sessions(args) => return Ok(sessions::run(args, globals, output).await),
            Self::Connect(args) => return Ok(connect::run(args, globals, output).await),
            #[cfg(feature = "dev")]
            Self::Dev(args) => dev::run(args, output).await,
            Self::Apply(args) => apply::run(args, globals, output).await,
            Self::Diff(args) => diff::run(args, globals, output).await,
            Self::Create(args) => create::run(args, globals, output).await,
            Self::Replace(args) => replace::run(args, globals, output).await,
            Self::Edit(args) => edit::run(args, globals, output).await,
            Self::Patch(args) => patch::run(args, globals, output).await,
            Self::Label(args) => label::run(args, globals, output).await,
            Self::Annotate(args) => annotate::run(args, globals, output).await,
            Self::Get(args) => get::run(args, globals, output).await,
            Self::Describe(args) => describe::run(args, globals, output).await,
            Self::Events(args) => events::run(args, globals, output).await,
            Self::Why(args) => why::run(args, globals, output).await,
            Self::Trace(args) => trace::run(args, globals, output).await,
            Self::Forward(args) => forward::run(args, globals, output).await,
            Self::Provision(args) => provision::run(args, globals, output).await,
            Self::Delete(args) => delete::run(args, globals, output).await,
            Self::Undelete(args) => undelete::run(args, globals, output).await,
            Self::Audit(args) => audit::run(args, globals, output).await,
            Self::Wait(args) => wait::run(args, globals, output).await,
            Self::Build(args) => build::run(args, output).await,
            Self::Token(args) => token::run(args, globals, output).await,
            Self::AuditLog(args) => audit_log::run(args, globals, output).await,
            Self::UsageFacts(args) => usage_facts::run(args, globals, output).await,
            Self::Explain(args) => explain::run(&args, output),
            Self::ApiResources(args) => api_resources::run(args, globals, output).await,
            Self::Config(args) => config::run(args, globals, output),
            Self::Profile(args) => profile::run(args, globals, output).await,
            Self::Plugin(args) => plugin::run(&args, output),
            Self::Completion(args) => completion::run(&args, output),
            Self::Version(args) => version::run(args, globals, output).await,
        };
        exit.map(ExitCode::from)
    }
}

/// Whether a command only says what it would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DryRun {
    /// Do it
    None,
    /// Say what would be done; the controller is only read
    Client,
    /// Let the controller check and answer, but keep nothing
    Server,
}

impl DryRun {
    /// What follows the line about an object.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Client => " (dry run)",
            Self::Server => " (server dry run)",
        }
    }
}

/// The error for an object that is not there, with the name that was perhaps meant.
pub(crate) async fn not_found(client: &Client, reference: &Reference) -> Failure {
    let failure = Failure::new(Exit::NotFound, format!("{reference} not found"));
    // The suggestion is a courtesy: without the list there is none.
    let Ok(list) = client.list(reference.resource).await else {
        return failure;
    };
    match nearest(&reference.name, list.items.iter().map(|object| object.name())) {
        Some(near) => failure.hint(format!("did you mean {near}?")),
        None => failure,
    }
}

/// Says why one object was not dealt with, and counts it.
fn failed(reference: &Reference, error: &anyhow::Error, output: &mut Output, tally: &mut Tally) {
    let text = describe(error);
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    // What is not found names its object already.
    let subject = format!("{reference} ");
    match text.starts_with(&subject) {
        true => output.note(&format!("error: {text}")),
        false => output.note(&format!("error: {reference}: {text}")),
    }
    tally.failed(exit_of(error));
}
