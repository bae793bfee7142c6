//! An image that holds the agent and nothing else.
//!
//! ```text
//!   vault-agent ─▶ is it a static program, and for which processor? ─▶ one layer: /usr/bin/vault-agent
//!               ─▶ configuration, manifest, index ─▶ folder
//! ```
//!
//! Nothing in it tells of this computer or of the time, so the same binary has the same digest
//! everywhere. There are no certificates in it: all that the agent asks is answered by the socket
//! `/.fly/api`, and who it talks to is proved otherwise.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use object::elf::{DT_NEEDED, EM_AARCH64, EM_X86_64, FileHeader64, PT_INTERP};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};
use object::{Endianness, elf};
use serde::Serialize;
use tar::{EntryType, Header};

use super::digest::{Digest, Hashed};
use super::documents::{
    CONFIGURATION, Configuration, Descriptor, Differences, INDEX, Index, LAYER_GZIP, MANIFEST,
    Manifest, Marker, Platform, Start,
};
use super::limits::AGENT_BYTES;

/// Where the agent stands in a machine, without the slash before it.
const PLACE: &str = "usr/bin/vault-agent";

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentImageError {
    /// The binary cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The binary.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Larger than any agent.
    #[error("{} is larger than {AGENT_BYTES} bytes, and so not the agent", .0.display())]
    Large(PathBuf),
    /// No program for Linux.
    #[error("{} is no program for Linux (no 64-bit ELF file that can be executed)", .0.display())]
    NoProgram(PathBuf),
    /// A program for a processor that no machine has.
    #[error("{} is for a processor that is not known (machine type {machine})", path.display())]
    Machine {
        /// The binary.
        path: PathBuf,
        /// The field `e_machine`.
        machine: u16,
    },
    /// It would not start where nothing else is.
    #[error("{} is not static: it needs libraries that the image does not have", .0.display())]
    Dynamic(PathBuf),
    /// The layout cannot be written.
    #[error("cannot write the image")]
    Write(#[from] io::Error),
}

/// The agent's binary, fit for an image.
#[derive(Debug)]
pub(crate) struct AgentImage {
    binary: Vec<u8>,
    platform: Platform,
}

/// What was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// Of the manifest: what the image is named by when it is pushed as it is.
    pub(crate) digest: Digest,
    /// All blobs, in bytes.
    pub(crate) bytes: u64,
}

impl AgentImage {
    /// Reads a binary and looks whether it can be the only file of an image.
    ///
    /// # Errors
    /// If it cannot be read, or is no static program for a known processor.
    pub(crate) fn read(path: &Path) -> Result<Self, AgentImageError> {
        let mut binary = Vec::new();
        File::open(path)
            .and_then(|file| file.take(AGENT_BYTES + 1).read_to_end(&mut binary))
            .map_err(|error| AgentImageError::Read { path: path.to_owned(), error })?;
        if binary.len() as u64 > AGENT_BYTES {
            return Err(AgentImageError::Large(path.to_owned()));
        }
        let program = Program::of(&binary)
            .map_err(|_| AgentImageError::NoProgram(path.to_owned()))?
            .ok_or_else(|| AgentImageError::NoProgram(path.to_owned()))?;
        let architecture = match program.machine {
            EM_X86_64 => "amd64",
            EM_AARCH64 => "arm64",
            elf::Machine(machine) => {
                return Err(AgentImageError::Machine { path: path.to_owned(), machine });
            }
        };
        if !program.is_static {
            return Err(AgentImageError::Dynamic(path.to_owned()));
        }
        let platform =
            Platform { architecture: architecture.into(), os: "linux".into(), variant: None };
        Ok(Self { binary, platform })
    }

    /// What machines it is for.
    pub(crate) fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Writes the layout into an empty folder, and brings it to the disk.
    ///
    /// # Errors
    /// If that cannot be written.
    pub(crate) fn write(&self, folder: &Path) -> Result<Written, AgentImageError> {
        let blobs = folder.join("blobs").join("sha256");
        fs::create_dir_all(&blobs)?;
        let mut store = Store { blobs: &blobs, bytes: 0 };
        let (layer, difference) = self.layer()?;
        let layer = store.put(LAYER_GZIP, &layer)?;
        let config = store.document(
            CONFIGURATION,
            &Configuration {
                platform: self.platform.clone(),
                config: Start { entrypoint: Some(vec![format!("/{PLACE}")]) },
                rootfs: Differences { kind: "layers".into(), diff_ids: vec![difference] },
            },
        )?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(MANIFEST.into()),
            config,
            layers: vec![layer],
        };
        let mut manifest = store.document(MANIFEST, &manifest)?;
        manifest.platform = Some(self.platform.clone());
        let written = Written { digest: manifest.digest, bytes: store.bytes };
        let index =
            Index { schema_version: 2, media_type: Some(INDEX.into()), manifests: vec![manifest] };
        let marker = Marker { image_layout_version: Marker::VERSION.into() };
        save(&folder.join("index.json"), &json(&index)?)?;
        save(&folder.join("oci-layout"), &json(&marker)?)?;
        for folder in [&blobs, &folder.join("blobs"), folder] {
            File::open(folder)?.sync_all()?;
        }
        Ok(written)
    }

    /// The only layer, compressed, and the digest of what it was before.
    fn layer(&self) -> io::Result<(Vec<u8>, Digest)> {
        // Neither a name nor a time stands in the header of gzip.
        let encoder = GzEncoder::new(Vec::new(), Compression::best());
        let mut archive = tar::Builder::new(Hashed::new(encoder));
        for (at, _) in PLACE.match_indices('/') {
            archive.append(&header(&PLACE[..=at], EntryType::Directory, 0)?, io::empty())?;
        }
        let size = self.binary.len() as u64;
        archive.append(&header(PLACE, EntryType::Regular, size)?, self.binary.as_slice())?;
        let (encoder, difference, _) = archive.into_inner()?.finish();
        Ok((encoder.finish()?, difference))
    }
}

/// Root's, to be read and started by everybody, from 1970.
fn header(name: &str, kind: EntryType, size: u64) -> io::Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    Ok(header)
}

/// Where blobs are written.
struct Store<'run> {
    blobs: &'run Path,
    bytes: u64,
}

impl Store<'_> {
    fn put(&mut self, media_type: &str, bytes: &[u8]) -> io::Result<Descriptor> {
        let digest = Digest::of(bytes);
        save(&self.blobs.join(digest.hex()), bytes)?;
        let size = bytes.len() as u64;
        self.bytes += size;
        Ok(Descriptor { media_type: media_type.to_owned(), digest, size, platform: None })
    }

    fn document(&mut self, media_type: &str, value: &impl Serialize) -> io::Result<Descriptor> {
        self.put(media_type, &json(value)?)
    }
}

fn json(value: &impl Serialize) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(value)?)
}

fn save(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// What an ELF file says of itself.
struct Program {
    machine: elf::Machine,
    is_static: bool,
}

impl Program {
    /// Nothing, if it is a file that cannot be executed, such as a part of a program.
    fn of(bytes: &[u8]) -> object::Result<Option<Self>> {
        let header = FileHeader64::<Endianness>::parse(bytes)?;
        let endian = header.endian()?;
        if !matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN) {
            return Ok(None);
        }
        let mut is_static = true;
        let mut is_loaded = false;
        for segment in header.program_headers(endian, bytes)? {
            is_loaded |= segment.p_type(endian) == elf::PT_LOAD;
            is_static &= segment.p_type(endian) != PT_INTERP;
            // A static program may well be relocated, by itself; then it has this table, and needs
            // nothing by it.
            let dynamic = segment.dynamic(endian, bytes)?.unwrap_or_default();
            is_static &= !dynamic.iter().any(|entry| entry.d_tag(endian) == DT_NEEDED);
        }
        Ok(is_loaded.then(|| Self { machine: header.e_machine(endian), is_static }))
    }
}
