//! `vaultctl build rootfs`

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use anyhow::Context;
use indicatif::{BinaryBytes, HumanCount};
use serde::Serialize;
use vault_rootfs::{Layers, Limits, PackOptions, PackSummary, pack};

use super::beside::{Interrupt, Place, interruptible};
use crate::error::{Exit, Failure};
use crate::image::{Digest, Image, Layer, Layout, Platform};
use crate::output::format::DataForm;
use crate::output::{Output, Progress, json, yaml};

/// Pack a root filesystem as an archive that machines unpack
///
/// SOURCE is a folder with a root filesystem, such as debootstrap makes, or an OCI image layout: a
/// folder with the files oci-layout and index.json, such as `skopeo copy … oci:DIR` makes. Of a layout
/// every blob is compared with its digest, and the layers are applied in order.
///
/// The archive is a tar with zstd. The same source gives the same bytes, wherever it is packed. The
/// sha256 that is printed is what a manifest says in rootfs.sha256.
///
/// Owners are kept. Those of a folder have to be readable; to unpack the layers of an image, run it as
/// root, or in a user namespace that has a range of ids.
///
/// EXAMPLES:
///   vaultctl build rootfs ./debian -o debian.tar.zst
///   skopeo copy docker://debian:13 oci:layout && vaultctl build rootfs layout -o debian.tar.zst
///   vaultctl build rootfs layout --platform linux/arm64 -o debian.tar.zst --form json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// A folder with a root filesystem, or an OCI image layout
    source: PathBuf,

    /// Where the archive is to be; what is there is replaced, once the new one is whole
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Of a layout with several images, the one for this platform; for linux/amd64 if absent
    #[arg(long, value_name = "OS/ARCHITECTURE")]
    platform: Option<Platform>,

    /// Print what was made in this form; a line of text if absent
    #[arg(long, value_name = "FORM")]
    form: Option<DataForm>,
}

/// What was made, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    file: PathBuf,
    sha256: String,
    bytes: u64,
    entries: u64,
    /// Of a layout, the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Origin>,
    /// Sockets, which mean nothing without whoever listens.
    left_out: Vec<PathBuf>,
}

/// An image that a root filesystem was made from.
#[derive(Serialize)]
struct Origin {
    digest: Digest,
    platform: String,
}

/// Packs, and prints what was made.
pub(super) async fn run(args: Args, output: &mut Output) -> anyhow::Result<Exit> {
    let form = args.form;
    let progress = output.progress(&format!("reading {}", args.source.display()));
    let made = interruptible(move |interrupt| make(&args, interrupt, &progress)).await?;
    for path in &made.left_out {
        output.note(&format!("left out: {} is a socket", path.display()));
    }
    match form {
        Some(DataForm::Json) => output.text(&json(&made)?)?,
        Some(DataForm::Yaml) => output.text(&yaml(&made)?)?,
        None => {
            let Made { file, sha256, bytes, entries, image, .. } = &made;
            let from = image.as_ref().map(|Origin { digest, platform }| {
                format!(", from the image {digest} for {platform}")
            });
            output.line(&format!(
                "{}: {entries} entries, {bytes} bytes, sha256 {sha256}{}",
                file.display(),
                from.unwrap_or_default(),
            ))?;
        }
    }
    Ok(Exit::Success)
}

fn make(args: &Args, interrupt: &Interrupt, progress: &Progress) -> anyhow::Result<Made> {
    let Args { source, output, platform, .. } = args;
    let bad = |message: String| Failure::new(Exit::BadInput, message);
    let from = source.canonicalize();
    let from = from.map_err(|error| bad(format!("cannot read {}: {error}", source.display())))?;
    if !from.is_dir() {
        let hint = "an image as one file (docker save, oci-archive) has to be unpacked first";
        return Err(bad(format!("{} is no folder", source.display())).hint(hint).into());
    }
    let place = Place::new(output)?;
    if place.path().is_dir() {
        return Err(bad(format!("cannot write {}: it is a folder", output.display())).into());
    }
    if place.path().starts_with(&from) {
        let hint = "the archive would become a part of itself; write it elsewhere";
        let message = format!("{} is inside {}", output.display(), source.display());
        return Err(bad(message).hint(hint).into());
    }
    let layout = Layout::of(&from).with_context(|| source.display().to_string())?;
    let (packed, image) = match layout {
        Some(layout) => {
            let image = layout.image(platform.as_ref());
            let image = image.with_context(|| source.display().to_string())?;
            // In a folder of ours alone, so that nobody else can start what has set-user-ID meanwhile.
            let scratch = place.scratch()?;
            let root = scratch.folder("root")?;
            unpack(&image, &root, interrupt, progress)?;
            let packed = store(&root, &place, interrupt, progress)?;
            let Image { digest, platform, .. } = image;
            (packed, Some(Origin { digest, platform: platform.to_string() }))
        }
        None if platform.is_some() => {
            let message =
                format!("{} is no OCI image layout: it has no oci-layout", source.display());
            return Err(bad(message).hint("--platform chooses an image of a layout").into());
        }
        None => (store(&from, &place, interrupt, progress)?, None),
    };
    Ok(Made {
        file: output.clone(),
        sha256: Digest::from(packed.sha256).hex(),
        bytes: packed.bytes_out,
        entries: packed.entries,
        image,
        left_out: packed.left_out,
    })
}

/// The layers of an image, one over the other.
fn unpack(
    image: &Image,
    root: &Path,
    interrupt: &Interrupt,
    progress: &Progress,
) -> anyhow::Result<()> {
    let folder = File::open(root).context("cannot open the folder to unpack into")?;
    let limits = Limits::default();
    let mut layers = Layers::new(folder.as_fd(), &limits)?;
    let count = image.layers.len();
    for (index, layer) in image.layers.iter().enumerate() {
        let number = index + 1;
        progress.say(format!("unpacking layer {number} of {count}"));
        let unpacked = unpack_one(layer, &mut layers, interrupt, &mut |entries| {
            let entries = HumanCount(entries);
            progress.say(format!("unpacking layer {number} of {count}: {entries} entries"));
        });
        unpacked.with_context(|| format!("layer {}", layer.digest))?;
    }
    layers.finish()?;
    Ok(())
}

fn unpack_one(
    layer: &Layer,
    layers: &mut Layers<'_>,
    interrupt: &Interrupt,
    say: &mut impl FnMut(u64),
) -> anyhow::Result<()> {
    // Whether it is there and has its size is told by an error of its own kind.
    drop(layer.open()?);
    let open = || layer.open().map(|file| interrupt.watch(file)).map_err(std::io::Error::other);
    match layers.unpack(open, &mut |progress| say(progress.entries)) {
        Ok(summary) => {
            layer.check(summary.sha256.into(), summary.bytes_in, summary.compression)?;
            Ok(())
        }
        // A blob that was damaged on its way fails somehow; that it is damaged says more.
        Err(error) => {
            interrupt.check()?;
            layer.verify()?;
            Err(error.into())
        }
    }
}

/// Packs a folder into its place.
fn store(
    root: &Path,
    place: &Place,
    interrupt: &Interrupt,
    progress: &Progress,
) -> anyhow::Result<PackSummary> {
    let file = place.file()?;
    let threads = available_parallelism().map_or(1, |threads| threads.get());
    let options = PackOptions { threads: u32::try_from(threads)?, ..PackOptions::default() };
    let counted = Counted { inner: file, bytes: 0, progress };
    let mut writer = BufWriter::new(interrupt.watch(counted));
    let packed = pack(root, &mut writer, &options)?;
    let watched = writer.into_inner().map_err(|error| error.into_error())?;
    progress.say("bringing it to the disk".to_owned());
    place.take_file(watched.into_inner().inner)?;
    Ok(packed)
}

/// Tells how much was written.
struct Counted<'run, W> {
    inner: W,
    bytes: u64,
    progress: &'run Progress,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bytes += written as u64;
        self.progress.say(format!("packing: {} written", BinaryBytes(self.bytes)));
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}
