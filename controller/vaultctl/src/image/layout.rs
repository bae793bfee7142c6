//! Reading a layout: from its index to the layers of one image.
//!
//! ```text
//!   index.json ─▶ every manifest, also of indexes beneath it ─▶ the one for the platform
//!              ─▶ configuration (its platform), layers (files to be opened)
//! ```
//!
//! Every document is read by its size and compared with its digest before it is looked at. A layer is
//! compared by whoever reads it, because it is read once for both.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use vault_rootfs::Compression;

use super::digest::{Digest, Hashed};
use super::documents::{Configuration, Descriptor, Index, Manifest, Marker, Meaning, Platform};
use super::limits::{DOCUMENT_BYTES, DOCUMENTS, INDEX_DEPTH, LAYERS};

/// What says that a folder is a layout.
const MARKER: &str = "oci-layout";

/// Why a layout cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayoutError {
    /// A file of it cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A document is none.
    #[error("{what} is not what an image layout has there")]
    Document {
        /// A file's name, or a digest.
        what: String,
        /// What is wrong with it.
        #[source]
        error: serde_json::Error,
    },
    /// Another version of layouts.
    #[error("its version is {0}, and only {version} is known", version = Marker::VERSION)]
    Version(String),
    /// A blob has not the size that its descriptor says.
    #[error("blob {digest} has {found} bytes and should have {size}")]
    Size {
        /// Of the descriptor.
        digest: Digest,
        /// Of the descriptor, in bytes.
        size: u64,
        /// The file's, in bytes.
        found: u64,
    },
    /// A blob is another one.
    #[error("blob {digest} has the digest {found}")]
    Digest {
        /// Of the descriptor.
        digest: Digest,
        /// Of what is there.
        found: Digest,
    },
    /// A document is larger than any that is known.
    #[error("document {digest} has {size} bytes; no more than {DOCUMENT_BYTES} are read")]
    DocumentSize {
        /// Of the descriptor.
        digest: Digest,
        /// Of the descriptor, in bytes.
        size: u64,
    },
    /// More documents, or deeper ones, than any image has.
    #[error("its indexes hold more than {DOCUMENTS} documents, or stand {INDEX_DEPTH} deep")]
    Indexes,
    /// More layers than any image has.
    #[error("image {digest} has {found} layers; no more than {LAYERS} are unpacked")]
    Layers {
        /// The image's manifest.
        digest: Digest,
        /// How many there are.
        found: usize,
    },
    /// Something of an image is of a kind that cannot be unpacked.
    #[error("{digest} is of type {media_type}, which cannot be used as {needed}")]
    MediaType {
        /// The blob.
        digest: Digest,
        /// What its descriptor says.
        media_type: String,
        /// What is needed.
        needed: &'static str,
    },
    /// A layer is compressed in another way than its descriptor says.
    #[error("layer {digest} says that its compression is {expected:?}, and it is {found:?}")]
    Compression {
        /// The layer.
        digest: Digest,
        /// By its media type.
        expected: Compression,
        /// By its bytes.
        found: Compression,
    },
    /// No image for the platform.
    #[error("it has no image for {wanted}; there are: {there}")]
    NoPlatform {
        /// What was asked for.
        wanted: Platform,
        /// The platforms of its images.
        there: String,
    },
    /// Several images for the platform.
    #[error("it has several images for {wanted}: {digests}")]
    Several {
        /// What was asked for.
        wanted: Platform,
        /// The digests of their manifests.
        digests: String,
    },
}

/// A folder that says it is a layout.
#[derive(Debug)]
pub(crate) struct Layout {
    folder: PathBuf,
}

/// One image of a layout.
#[derive(Debug)]
pub(crate) struct Image {
    /// Of its manifest.
    pub(crate) digest: Digest,
    /// What it is for.
    pub(crate) platform: Platform,
    /// The lowest first.
    pub(crate) layers: Vec<Layer>,
}

/// A layer's file, and what it has to be.
#[derive(Debug)]
pub(crate) struct Layer {
    /// Of its bytes as they are, compressed.
    pub(crate) digest: Digest,
    /// In bytes.
    pub(crate) size: u64,
    compression: Compression,
    path: PathBuf,
}

impl Layout {
    /// The layout that a folder is, or nothing.
    ///
    /// # Errors
    /// If it says so in a way that is not known.
    pub(crate) fn of(folder: &Path) -> Result<Option<Self>, LayoutError> {
        let layout = Self { folder: folder.to_owned() };
        let path = folder.join(MARKER);
        if !path.exists() {
            return Ok(None);
        }
        let marker: Marker = document(MARKER, &layout.file(&path)?)?;
        match marker.image_layout_version.as_str() {
            Marker::VERSION => Ok(Some(layout)),
            other => Err(LayoutError::Version(other.to_owned())),
        }
    }

    /// The image for a platform. Without one: the only image, or of several that for linux/amd64.
    ///
    /// # Errors
    /// If there is none, or more than one, or it cannot be used.
    pub(crate) fn image(&self, wanted: Option<&Platform>) -> Result<Image, LayoutError> {
        let path = self.folder.join("index.json");
        let index: Index = document("index.json", &self.file(&path)?)?;
        let mut candidates = Vec::new();
        self.collect(index, 0, &mut 0, &mut candidates)?;
        candidates.sort_by_key(|candidate| candidate.descriptor.digest);
        // One image may well stand there under several names.
        candidates.dedup_by_key(|candidate| candidate.descriptor.digest);
        let default = Platform { architecture: "amd64".into(), os: "linux".into(), variant: None };
        let is_only = candidates.len() == 1 && wanted.is_none();
        let wanted = wanted.unwrap_or(&default);
        let none = |there: Vec<String>| LayoutError::NoPlatform {
            wanted: wanted.clone(),
            there: if there.is_empty() { "none".to_owned() } else { there.join(", ") },
        };
        let platforms = candidates.iter().map(|candidate| candidate.platform.to_string());
        let platforms = platforms.collect();
        candidates.retain(|candidate| is_only || candidate.platform.is(wanted));
        match candidates.as_slice() {
            [] => Err(none(platforms)),
            [candidate] => {
                let image = self.image_of(&candidate.descriptor)?;
                // Whoever wrote the index may have been wrong; the image knows.
                match is_only || image.platform.is(wanted) {
                    true => Ok(image),
                    false => Err(none(vec![image.platform.to_string()])),
                }
            }
            several => {
                let digests = several.iter().map(|each| each.descriptor.digest.to_string());
                let digests = digests.collect::<Vec<_>>().join(", ");
                Err(LayoutError::Several { wanted: wanted.clone(), digests })
            }
        }
    }

    /// Every image of an index and of those beneath it. Of images for other platforms nothing may be
    /// there but their place in the index, so no more of them is read than has to be.
    fn collect(
        &self,
        index: Index,
        depth: usize,
        documents: &mut usize,
        candidates: &mut Vec<Candidate>,
    ) -> Result<(), LayoutError> {
        for descriptor in index.manifests {
            *documents += 1;
            if *documents > DOCUMENTS || depth == INDEX_DEPTH {
                return Err(LayoutError::Indexes);
            }
            match Meaning::of(&descriptor.media_type) {
                Some(Meaning::Index) => {
                    self.collect(self.blob(&descriptor)?, depth + 1, documents, candidates)?;
                }
                Some(Meaning::Manifest) => candidates.extend(self.candidate(descriptor)?),
                // Signatures and the like.
                _ => {}
            }
        }
        Ok(())
    }

    /// An image, unless the manifest is something else: builders store where an image came from in the
    /// same form, for the platform `unknown`.
    fn candidate(&self, descriptor: Descriptor) -> Result<Option<Candidate>, LayoutError> {
        let platform = match &descriptor.platform {
            Some(platform) if platform.os == "unknown" => return Ok(None),
            Some(platform) => platform.clone(),
            None => {
                let manifest: Manifest = self.blob(&descriptor)?;
                if Meaning::of(&manifest.config.media_type) != Some(Meaning::Configuration) {
                    return Ok(None);
                }
                self.blob::<Configuration>(&manifest.config)?.platform
            }
        };
        Ok(Some(Candidate { descriptor, platform }))
    }

    fn image_of(&self, descriptor: &Descriptor) -> Result<Image, LayoutError> {
        let digest = descriptor.digest;
        let Manifest { config, layers, .. } = self.blob(descriptor)?;
        if Meaning::of(&config.media_type) != Some(Meaning::Configuration) {
            let Descriptor { digest, media_type, .. } = config;
            return Err(LayoutError::MediaType { digest, media_type, needed: "a configuration" });
        }
        let configuration: Configuration = self.blob(&config)?;
        if layers.len() > LAYERS {
            return Err(LayoutError::Layers { digest, found: layers.len() });
        }
        let layers = layers.into_iter().map(|descriptor| {
            let Descriptor { media_type, digest, size, .. } = descriptor;
            match Meaning::of(&media_type) {
                Some(Meaning::Layer(compression)) => {
                    Ok(Layer { digest, size, compression, path: self.path(digest) })
                }
                _ => Err(LayoutError::MediaType { digest, media_type, needed: "a layer" }),
            }
        });
        let layers = layers.collect::<Result<_, _>>()?;
        Ok(Image { digest, platform: configuration.platform, layers })
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join("blobs").join("sha256").join(digest.hex())
    }

    /// A document that is a blob.
    fn blob<T: DeserializeOwned>(&self, descriptor: &Descriptor) -> Result<T, LayoutError> {
        let Descriptor { digest, size, .. } = *descriptor;
        if size > DOCUMENT_BYTES {
            return Err(LayoutError::DocumentSize { digest, size });
        }
        let bytes = self.file(&self.path(digest))?;
        check(digest, size, Digest::of(&bytes), bytes.len() as u64)?;
        document(&digest.to_string(), &bytes)
    }

    /// A small file; of a larger one than any document is, its beginning.
    fn file(&self, path: &Path) -> Result<Vec<u8>, LayoutError> {
        let mut bytes = Vec::new();
        let file = open(path)?;
        let read = file.take(DOCUMENT_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|error| LayoutError::Read { path: path.to_owned(), error })?;
        Ok(bytes)
    }
}

/// What may be the image.
struct Candidate {
    /// Of its manifest.
    descriptor: Descriptor,
    platform: Platform,
}

impl Layer {
    /// Its bytes as they are, from the beginning.
    ///
    /// # Errors
    /// If it cannot be opened, or has another size than it should.
    pub(crate) fn open(&self) -> Result<File, LayoutError> {
        let file = open(&self.path)?;
        let Self { digest, size, .. } = *self;
        let metadata = file.metadata();
        let found =
            metadata.map_err(|error| LayoutError::Read { path: self.path.clone(), error })?.len();
        if found != size {
            return Err(LayoutError::Size { digest, size, found });
        }
        Ok(file)
    }

    /// Compares with what was read of it.
    ///
    /// # Errors
    /// If it is another blob, or compressed in another way than it says.
    pub(crate) fn check(
        &self,
        digest: Digest,
        size: u64,
        compression: Compression,
    ) -> Result<(), LayoutError> {
        check(self.digest, self.size, digest, size)?;
        if compression != self.compression {
            return Err(LayoutError::Compression {
                digest: self.digest,
                expected: self.compression,
                found: compression,
            });
        }
        Ok(())
    }

    /// Reads it for its digest alone.
    ///
    /// # Errors
    /// If it cannot be read, or is another blob.
    pub(crate) fn verify(&self) -> Result<(), LayoutError> {
        let mut hashed = Hashed::new(io::sink());
        io::copy(&mut self.open()?, &mut hashed)
            .map_err(|error| LayoutError::Read { path: self.path.clone(), error })?;
        let (_, digest, size) = hashed.finish();
        check(self.digest, self.size, digest, size)
    }
}

fn check(digest: Digest, size: u64, found: Digest, length: u64) -> Result<(), LayoutError> {
    if length != size {
        return Err(LayoutError::Size { digest, size, found: length });
    }
    if found != digest {
        return Err(LayoutError::Digest { digest, found });
    }
    Ok(())
}

/// Opens a file of the layout. Some tools link to blobs elsewhere; what is there is compared with its
/// digest. What is no file, such as a FIFO that nobody writes to, would keep us for ever.
fn open(path: &Path) -> Result<File, LayoutError> {
    let failed = |error| LayoutError::Read { path: path.to_owned(), error };
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(failed)?;
    match file.metadata().map_err(failed)?.is_file() {
        true => Ok(file),
        false => Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"))),
    }
}

fn document<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, LayoutError> {
    serde_json::from_slice(bytes)
        .map_err(|error| LayoutError::Document { what: what.to_owned(), error })
}
