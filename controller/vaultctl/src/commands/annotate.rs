//! `vaultctl annotate`

use crate::cli::Globals;
use crate::commands::marks::{self, Mark, MarkArgs};
use crate::error::Exit;
use crate::output::Output;

/// Set or remove annotations of tenants and tenant classes
///
/// Annotations are free text for tools and people; nothing selects by them. One that has another
/// value is replaced only with --overwrite.
///
/// EXAMPLES:
///   vaultctl annotate tenant acme owner='Ada, second floor'
///   vaultctl annotate tenant/acme owner- --list
///   vaultctl annotate tenants -l tier=pro audited=2026 --overwrite
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(flatten)]
    common: MarkArgs,
}

/// Changes annotations.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    marks::run(Mark::Annotation, args.common, globals, output).await
}
