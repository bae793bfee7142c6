//! `vaultctl undelete`

use crate::cli::Globals;
use crate::commands::failed;
use crate::error::{Exit, Tally};
use crate::object::{Reference, Resource};
use crate::output::Output;

/// Bring deleted tenants back
///
/// A tenant comes back as it was: its spec and its labels, its app, and its volumes with what is on
/// them; its machines are made anew. That is possible until its grace period is over and something
/// of it was deleted (see the controller's --deletion-grace, and `vaultctl audit` for what is due
/// when). Afterwards you are told what is gone and which snapshots are left, and can apply its
/// manifest again.
///
/// Where the controller prunes its folder, the tenant belongs to the API from then on.
///
/// EXAMPLES:
///   vaultctl undelete acme
///   vaultctl undelete acme umbra && vaultctl wait tenant/acme tenant/umbra
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The tenants' names
    #[arg(required = true, value_name = "TENANT")]
    tenants: Vec<String>,
}

/// Asks for each, and says what came of it.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let client = globals.client()?;
    let mut tally = Tally::default();
    for name in args.tenants {
        let name = name.strip_prefix("tenant/").unwrap_or(&name).to_owned();
        let reference = Reference { resource: Resource::Tenant, name };
        match client.undelete(&reference.name).await {
            Ok(_) => {
                output.line(&format!("{reference} undeleted"))?;
                tally.done();
            }
            Err(error) => failed(&reference, &error.into(), output, &mut tally),
        }
    }
    Ok(tally.exit())
}
