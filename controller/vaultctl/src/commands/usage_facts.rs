//! `vaultctl usage-facts`

mod serve;

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::cli::Globals;
use crate::error::{Exit, Failure};
use crate::output::Output;

/// Where the bearer token may stand instead of on the command line.
const TOKEN_VARIABLE: &str = "VAULTCTL_USAGE_BEARER_TOKEN";
/// The longest token that is read from a file: more is the wrong file.
const TOKEN_BYTES_MAX: u64 = 4_096;

/// Show when machines ran, or serve it to a billing system
///
/// Prints a JSON array with one row per machine, running or deleted: machine_id, state, region,
/// instance_id, started_at, stopped_at, deleted_at, metadata and volumes. Deleted machines stay in
/// it for as long as the controller retains them (its --usage-retention).
///
/// With --listen, serves the same at GET /usage-facts to whoever shows the bearer token, and
/// GET /healthz to everybody, until it is interrupted. Every request reads from the controller; while
/// that cannot be reached the answer is 502. The listener speaks plain http: keep it on this machine
/// or behind something that speaks TLS.
///
/// EXAMPLES:
///   vaultctl usage-facts
///   vaultctl usage-facts --tenant acme
///   vaultctl usage-facts --listen 127.0.0.1:9100 --bearer-token-file /run/secrets/usage-token
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Only machines of this tenant, which may be long gone
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,

    /// Serve it at this address instead of printing it
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,

    /// What clients of --listen have to show; everybody on this machine can read it with `ps`, so
    /// prefer the file or the environment variable VAULTCTL_USAGE_BEARER_TOKEN
    #[arg(long, value_name = "TOKEN", requires = "listen", conflicts_with = "bearer_token_file")]
    bearer_token: Option<SecretString>,

    /// The same, read from a file when it is started
    #[arg(long, value_name = "FILE", requires = "listen")]
    bearer_token_file: Option<PathBuf>,
}

/// Reads and prints, or serves.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let client = globals.client()?;
    let Some(address) = args.listen else {
        let facts = client.usage_facts(args.tenant.as_deref()).await?;
        output.line(&serde_json::to_string_pretty(&facts)?)?;
        return Ok(Exit::Success);
    };
    let token = token(args.bearer_token, args.bearer_token_file.as_deref())?;
    serve::serve(address, client, args.tenant, &token, output).await
}

/// The token from the flag, the file or the environment; the first of them that is there.
fn token(given: Option<SecretString>, file: Option<&Path>) -> anyhow::Result<SecretString> {
    use secrecy::ExposeSecret as _;

    let token = match (given, file) {
        (Some(token), _) => token,
        (None, Some(path)) => read(path)?,
        (None, None) => match std::env::var(TOKEN_VARIABLE) {
            Ok(token) => token.into(),
            Err(_) => {
                let message = "--listen needs a bearer token: usage facts are not for everybody";
                let hint = format!("give --bearer-token-file FILE, or set {TOKEN_VARIABLE}");
                return Err(Failure::new(Exit::BadInput, message).hint(hint).into());
            }
        },
    };
    let text = token.expose_secret();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = "the bearer token is empty, or has characters that no header may have";
        return Err(Failure::new(Exit::BadInput, message).into());
    }
    Ok(token)
}

/// The token of a file; an end of line behind it is no part of it.
fn read(path: &Path) -> Result<SecretString, Failure> {
    let failed = |error: std::io::Error| {
        let message = format!("cannot read the bearer token file {}: {error}", path.display());
        Failure::new(Exit::BadInput, message)
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    file.take(TOKEN_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(text.trim_end_matches(['\r', '\n']).into())
}
