//! `vaultctl label`

use crate::cli::Globals;
use crate::commands::marks::{self, Mark, MarkArgs};
use crate::error::Exit;
use crate::output::Output;

/// Set or remove labels of tenants and tenant classes
///
/// Labels are what selectors select by. A label that has another value is replaced only with
/// --overwrite.
///
/// EXAMPLES:
///   vaultctl label tenant acme tier=pro
///   vaultctl label tenant/acme tier=free canary- --overwrite
///   vaultctl label tenants --all region-checked=yes --dry-run=server
///   vaultctl label tenant acme --list
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(flatten)]
    common: MarkArgs,
}

/// Changes labels.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    marks::run(Mark::Label, args.common, globals, output).await
}
