//! `vaultctl config view`, `get-contexts`, `current-context`

use vault_api::context::ContextFile;

use crate::cli::Globals;
use crate::context::{self, Found};
use crate::error::{Exit, Failure};
use crate::output::format::DataForm;
use crate::output::table::Columns;
use crate::output::{Output, json, yaml};
use vault_api::names::nearest;

/// What stands in place of a token.
const REDACTED: &str = "REDACTED";

/// Print the context file, and why it is this one
///
/// EXAMPLES:
///   vaultctl config view
///   vaultctl config view --minify -o json
///   vaultctl config view --raw > backup.yaml
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ViewArgs {
    /// With the tokens, which are secrets
    #[arg(long)]
    raw: bool,

    /// Only the context that is used
    #[arg(long)]
    minify: bool,

    /// The form of the output
    #[arg(short, long, value_name = "FORM", default_value = "yaml")]
    output: DataForm,
}

/// List the contexts
///
/// EXAMPLES:
///   vaultctl config get-contexts
///   vaultctl config get-contexts -o name
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct GetContextsArgs {
    /// Only this one
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// Names alone
    #[arg(short, long, value_name = "FORM", value_parser = ["name"])]
    output: Option<String>,

    /// Leave out the names of the columns
    #[arg(long)]
    no_headers: bool,
}

/// Prints the file. What won, and over what, is said beside it.
pub(super) fn view(
    args: &ViewArgs,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let Found { path, mut file } = context::find(&globals.context_files())?;
    let (name, by) = match globals.context_name() {
        Some(name) => (name.to_owned(), "--context"),
        None => (file.current_context.clone(), "the file's currentContext"),
    };
    if args.minify {
        known(&file, &name)?;
        file.contexts.retain(|one| one.name == name);
        file.current_context.clone_from(&name);
    }
    if !args.raw {
        for context in &mut file.contexts {
            REDACTED.clone_into(&mut context.token);
        }
    }
    output.note(&format!("file:    {} (by {})", path.display(), globals.file_source(&path)));
    output.note(&format!("context: {name} (by {by})"));
    output.text(&match args.output {
        DataForm::Json => json(&file)?,
        DataForm::Yaml => yaml(&file)?,
    })?;
    Ok(Exit::Success)
}

/// Prints a line per context, the one that is used with a star.
pub(super) fn contexts(
    args: &GetContextsArgs,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let Found { mut file, .. } = context::find(&globals.context_files())?;
    if let Some(name) = &args.name {
        known(&file, name)?;
        file.contexts.retain(|one| one.name == *name);
    }
    if args.output.is_some() {
        for context in &file.contexts {
            output.line(&context.name)?;
        }
        return Ok(Exit::Success);
    }
    let used = globals.context_name().unwrap_or(&file.current_context);
    let header = ["CURRENT", "NAME", "SERVER"].map(str::to_owned);
    let rows: Vec<Vec<String>> = file
        .contexts
        .iter()
        .map(|context| {
            let star = if context.name == used { "*" } else { " " };
            vec![star.to_owned(), context.name.clone(), context.server.clone()]
        })
        .collect();
    let header = (!args.no_headers).then_some(header.as_slice());
    output.text(&Columns::default().render(header, &rows))?;
    Ok(Exit::Success)
}

/// Prints the name of the context that is used.
pub(super) fn current(globals: &Globals, output: &mut Output) -> anyhow::Result<Exit> {
    let Found { file, .. } = context::find(&globals.context_files())?;
    let name = globals.context_name().unwrap_or(&file.current_context).to_owned();
    known(&file, &name)?;
    output.line(&name)?;
    Ok(Exit::Success)
}

/// That a file has a context.
///
/// # Errors
/// It does not; with the name that was perhaps meant.
pub(super) fn known(file: &ContextFile, name: &str) -> Result<(), Failure> {
    if file.contexts.iter().any(|one| one.name == name) {
        return Ok(());
    }
    let names = file.contexts.iter().map(|one| one.name.as_str());
    let failure = Failure::new(Exit::NotFound, format!("there is no context {name:?}"));
    Err(match nearest(name, names.clone()) {
        Some(near) => failure.hint(format!("did you mean {near}?")),
        None => failure.hint(format!("there are {}", names.collect::<Vec<_>>().join(", "))),
    })
}
