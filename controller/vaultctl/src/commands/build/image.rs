//! `vaultctl build image`

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use super::beside::{Place, interruptible};
use crate::error::{Exit, Failure};
use crate::image::{AgentImage, Digest};
use crate::output::format::DataForm;
use crate::output::{Output, json, yaml};

/// Make the image that tenants' machines run: the agent, and nothing else
///
/// Writes an OCI image layout with one layer, which holds the static agent at /usr/bin/vault-agent.
/// The image is for the processor that the agent was built for. The same agent gives the same image,
/// with the same digest, which is printed: a manifest may name the image by it.
///
/// EXAMPLES:
///   vaultctl build image -o agent-image
///   vaultctl build image --agent ./vault-agent -o agent-image --form json
///   skopeo copy --preserve-digests oci:agent-image docker://registry.fly.io/my-app/agent:1
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Where the layout is to be: a folder that is empty, or not there yet
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// The agent's static binary; the vault-agent beside this program if absent
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,

    /// Print what was made in this form; a line of text if absent
    #[arg(long, value_name = "FORM")]
    form: Option<DataForm>,
}

/// What was made, for programs.
#[derive(Serialize)]
struct Made {
    folder: PathBuf,
    digest: Digest,
    platform: String,
    bytes: u64,
}

/// Writes the layout, and prints what was made.
pub(super) async fn run(args: Args, output: &mut Output) -> anyhow::Result<Exit> {
    let form = args.form;
    let progress = output.progress("making the image");
    let made = interruptible(move |_| make(&args)).await?;
    drop(progress);
    match form {
        Some(DataForm::Json) => output.text(&json(&made)?)?,
        Some(DataForm::Yaml) => output.text(&yaml(&made)?)?,
        None => {
            let Made { folder, digest, platform, bytes } = &made;
            let folder = folder.display();
            output.line(&format!("{folder}: {bytes} bytes for {platform}, {digest}"))?;
        }
    }
    Ok(Exit::Success)
}

fn make(args: &Args) -> anyhow::Result<Made> {
    let agent = match &args.agent {
        Some(agent) => agent.clone(),
        None => beside_us()?,
    };
    let image = AgentImage::read(&agent)?;
    let place = Place::new(&args.output)?;
    require_free(place.path(), &args.output)?;
    let scratch = place.scratch()?;
    let folder = scratch.folder("layout")?;
    let written = image.write(&folder)?;
    place.take_folder(&scratch, Path::new("layout"))?;
    Ok(Made {
        folder: args.output.clone(),
        digest: written.digest,
        platform: image.platform().to_string(),
        bytes: written.bytes,
    })
}

/// The agent that was installed with us.
fn beside_us() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe().context("cannot find this program")?;
    let agent = this.with_file_name("vault-agent");
    if agent.exists() {
        return Ok(agent);
    }
    let message = format!("there is no {}", agent.display());
    let hint = "--agent FILE names the agent's static binary";
    Err(Failure::new(Exit::BadInput, message).hint(hint).into())
}

/// A layout is not mixed with what is there.
fn require_free(path: &Path, shown: &Path) -> anyhow::Result<()> {
    let bad = |why: &str| {
        let message = format!("cannot write {}: {why}", shown.display());
        anyhow::Error::from(Failure::new(Exit::BadInput, message))
    };
    match std::fs::read_dir(path) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(bad("it is a folder that is not empty")),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(bad(&error.to_string())),
    }
}
