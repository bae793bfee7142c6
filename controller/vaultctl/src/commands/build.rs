//! `vaultctl build`

mod beside;
mod image;
mod rootfs;

use clap::{Args as ClapArgs, Subcommand};

use crate::error::Exit;
use crate::output::Output;

/// Make what machines are made of: root filesystems, and the agent's image
///
/// Neither needs a controller, Docker or the network.
///
/// EXAMPLES:
///   vaultctl build rootfs ./debian -o debian.tar.zst
///   vaultctl build image -o agent-image
#[derive(Debug, ClapArgs)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Rootfs(rootfs::Args),
    Image(image::Args),
}

/// Makes what was asked for.
pub(crate) async fn run(args: Args, output: &mut Output) -> anyhow::Result<Exit> {
    match args.what {
        What::Rootfs(args) => rootfs::run(args, output).await,
        What::Image(args) => image::run(args, output).await,
    }
}
