//! The watched folder: its manifests, read together, become objects.
//!
//! ```text
//!   *.yaml ─▶ read_manifest (each) ─▶ check_folder (all) ─▶ decide (each) ─▶ Store
//!                    │                      │                   │
//!                    └── located problems ──┴───── refusals ────┴─▶ FolderReport
//! ```
//!
//! A document with a problem changes nothing: what is stored under its name stays. A document that
//! is gone deletes nothing, unless the controller runs with `--prune`; then it has to stay away for
//! a while, because git and editors replace a file by removing it and writing it anew, and no more
//! than a share of the tenants goes at once ([`pruning`]).

mod pruning;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use futures_util::{StreamExt, stream};
use thiserror::Error;
use vault_api::check::{Document, DocumentKind};
use vault_api::manifest::{MANIFEST_BYTES_MAX, ManifestReading, check_folder, read_manifest};
use vault_plan::identity::ControllerId;
use vault_plan::time::UnixMillis;

use crate::accept::{Decision, Refusal, Writer, decide, to_document};
use crate::source::Source;
use crate::store::{Kind, Store, StoreError, StoredObject};
use pruning::Pruning;

/// More files than this are no folder of manifests but a mistake in the path.
const FILES_MAX: usize = 20_000;
/// More bytes than this are no manifests either; ten thousand tenants take a few megabytes.
const BYTES_MAX: u64 = 256 * 1024 * 1024;
/// A file that changed less than this before it was read may change again without looking
/// different: its time has the grain of the kernel's tick, which is 10 ms at most.
const RACY_MS: i64 = 100;
/// How many objects are written side by side; they share commits.
const WRITES_IN_FLIGHT_MAX: usize = 64;

/// Why the folder could not be taken in.
#[derive(Debug, Error)]
pub enum FolderError {
    /// The folder, or a file in it, could not be read.
    #[error("could not read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There are more files than any folder of manifests has.
    #[error("{path} holds more than {FILES_MAX} manifests")]
    TooMany {
        /// Which.
        path: PathBuf,
    },
    /// There is more text than any folder of manifests has.
    #[error("the manifests in {path} hold more than {} MiB", BYTES_MAX / 1024 / 1024)]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// What was read could not be stored.
    #[error("could not store what the manifests say")]
    Store(#[from] StoreError),
}

/// What taking the folder in yielded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FolderReport {
    /// `FILE:LINE:COLUMN: message`, with a picture on further lines; and refusals.
    pub problems: Vec<String>,
    /// Objects that were made, changed or marked for deletion, as `tenant/acme created`.
    pub changes: Vec<String>,
    /// Tenants and classes that came from the folder and no longer stand in it.
    pub missing: BTreeSet<(Kind, String)>,
    /// The names of the tenants that stand in it, without problems.
    pub tenants: BTreeSet<String>,
}

/// The folder, and what was last seen of it.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// `None` if tenants outlive their documents.
    pruning: Option<Pruning>,
    seen: Option<Fingerprint>,
    /// A refusal may pass by itself, so the folder is taken in again though no file changed.
    retry: bool,
    /// Since when each missing object has been missing.
    missing_since: BTreeMap<(Kind, String), UnixMillis>,
    report: FolderReport,
}

/// What a change of any file changes.
type Fingerprint = BTreeMap<PathBuf, Stamp>;

/// The state of one file. The time of its last change cannot be set back, unlike that of its last
/// modification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn changed_at(&self) -> UnixMillis {
        let (seconds, nanoseconds) = self.changed;
        UnixMillis(seconds.saturating_mul(1_000)).plus_ms(nanoseconds / 1_000_000)
    }
}

impl Folder {
    /// Names the folder; nothing is read yet.
    #[must_use]
    pub fn new(path: PathBuf, prune: bool) -> Self {
        Self {
            path,
            pruning: prune.then(Pruning::default),
            seen: None,
            retry: false,
            missing_since: BTreeMap::new(),
            report: FolderReport::default(),
        }
    }

    /// Lets more tenants go at once than may by themselves; used up by the first time.
    #[must_use]
    pub fn allow_mass_delete(mut self, allow: bool) -> Self {
        if let Some(pruning) = &mut self.pruning {
            pruning.allow_once = allow;
        }
        self
    }

    /// Whether it can be read at all; asked once at start, so that a wrong path is told at once.
    ///
    /// # Errors
    /// If it cannot.
    pub fn must_exist(&self) -> Result<(), FolderError> {
        list(&self.path).map(|_| ())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether tenants are deleted when their documents stay away.
    #[must_use]
    pub fn prunes(&self) -> bool {
        self.pruning.is_some()
    }

    /// What was last found in it.
    #[must_use]
    pub fn report(&self) -> &FolderReport {
        &self.report
    }

    /// Takes the folder in, if a file changed. Answers the report if it is a new one.
    ///
    /// # Errors
    /// If the folder cannot be read or the store refuses; what was known stays.
    pub async fn sync<S: Store>(
        &mut self,
        store: &S,
        controller: &ControllerId,
        now: UnixMillis,
    ) -> Result<Option<&FolderReport>, FolderError> {
        let (fingerprint, files) = list(&self.path)?;
        if self.seen.as_ref() == Some(&fingerprint) && !self.retry {
            return Ok(None);
        }
        let files = read(&files)?;
        let stored = Stored::load(store).await?;
        let mut intake =
            Intake { controller, now, stored: &stored, report: FolderReport::default() };
        let (mut changes, refused) = intake.decide(&files);
        intake.find_missing(&files);
        let mut missing_since = BTreeMap::new();
        for key in &intake.report.missing {
            let since = self.missing_since.get(key).copied().unwrap_or(now);
            missing_since.insert(key.clone(), since);
        }
        let mut again =
            refused || fingerprint.values().any(|stamp| stamp.changed_at().plus_ms(RACY_MS) > now);
        if let Some(pruning) = &mut self.pruning {
            let (pruned, later) = intake.prune(&files, &missing_since, pruning);
            changes.extend(pruned);
            again |= later;
        }
        let mut report = intake.report;
        again |= write(store, &stored, changes, &mut report).await?;
        self.seen = Some(fingerprint);
        self.retry = again;
        self.missing_since = missing_since;
        self.report = report;
        Ok(Some(&self.report))
    }
}

/// An object to be written, and what happens to it in a word.
type Change = (StoredObject, &'static str);

/// What is stored, by kind and name.
struct Stored(HashMap<(Kind, String), StoredObject>);

impl Stored {
    async fn load<S: Store>(store: &S) -> Result<Self, StoreError> {
        let mut objects = store.objects(Kind::TenantClass).await?;
        objects.extend(store.objects(Kind::Tenant).await?);
        let by_name =
            objects.into_iter().map(|object| ((object.kind, object.name.clone()), object));
        Ok(Self(by_name.collect()))
    }
}

struct Intake<'a> {
    controller: &'a ControllerId,
    now: UnixMillis,
    stored: &'a Stored,
    report: FolderReport,
}

impl Intake<'_> {
    /// Decides about every document; classes come first, because tenants need them.
    fn decide(&mut self, files: &Files) -> (Vec<Change>, bool) {
        let known: Vec<Document> =
            self.stored.0.values().filter_map(|object| to_document(object).ok()).collect();
        let known: Vec<&Document> = known.iter().collect();
        let together = check_folder(&files.readings, &known);
        let bad: BTreeSet<(usize, usize)> =
            together.iter().map(|found| (found.reading, found.document)).collect();
        for reading in &files.readings {
            self.report.problems.extend(reading.problems.iter().map(ToString::to_string));
        }
        self.report.problems.extend(together.iter().map(|found| found.problem.to_string()));
        let mut writes = Vec::new();
        let mut refused = false;
        for wanted in [DocumentKind::TenantClass, DocumentKind::Tenant] {
            for (at, (file, reading)) in files.iter().enumerate() {
                for (place, located) in reading.documents.iter().enumerate() {
                    let document = &located.document;
                    if document.document_kind() != wanted || bad.contains(&(at, place)) {
                        continue;
                    }
                    match self.one(file, document) {
                        Ok(Some(object)) => writes.push(object),
                        Ok(None) => {}
                        Err(refusal) => {
                            refused = true;
                            let start = located.start();
                            self.report.problems.push(format!(
                                "{}:{}:{}: {refusal}",
                                located.file(),
                                start.line,
                                start.column
                            ));
                        }
                    }
                }
            }
        }
        (writes, refused)
    }

    fn one(&mut self, file: &str, document: &Document) -> Result<Option<Change>, Refusal> {
        let kind = kind_of(document.document_kind());
        let stored = self.stored.0.get(&(kind, document.name().to_owned()));
        let source = Source::Folder { file: file.to_owned() };
        let writer = Writer { source: &source, take_ownership: false, rehearsal: false };
        let decision = decide(document, stored, writer, self.controller, self.now)?;
        if kind == Kind::Tenant {
            self.report.tenants.insert(document.name().to_owned());
        }
        Ok(match decision {
            Decision::Keep(_) => None,
            Decision::Create(object) => Some((object, "created")),
            Decision::Change(object) => Some((object, "changed")),
        })
    }

    /// Finds what came from the folder and is no longer there. A document that is there but has
    /// problems, or whose file has, is not missing.
    fn find_missing(&mut self, files: &Files) {
        let mut there: BTreeSet<(Kind, &str)> = BTreeSet::new();
        let mut unclear_files: BTreeSet<&str> = BTreeSet::new();
        for (file, reading) in files.iter() {
            for located in &reading.documents {
                let document = &located.document;
                there.insert((kind_of(document.document_kind()), document.name()));
            }
            for refused in &reading.refused {
                there.insert((kind_of(refused.kind), &refused.name));
            }
            if !reading.problems.is_empty() {
                unclear_files.insert(file);
            }
        }
        for ((kind, name), object) in &self.stored.0 {
            let Source::Folder { file } = &object.source else { continue };
            let is_there = there.contains(&(*kind, name.as_str()));
            if !is_there && !unclear_files.contains(file.as_str()) {
                self.report.missing.insert((*kind, name.clone()));
            }
        }
    }
}

/// Writes what changed and reports it; whether something has to be looked at again.
async fn write<S: Store>(
    store: &S,
    stored: &Stored,
    changes: Vec<Change>,
    report: &mut FolderReport,
) -> Result<bool, StoreError> {
    let mut writes = Vec::with_capacity(changes.len());
    for (object, word) in changes {
        let key = (object.kind, object.name.clone());
        let expected = stored.0.get(&key).map(|stored| stored.resource_version);
        let store = store.clone();
        writes.push(async move { (key, word, store.put_object(object, expected).await) });
    }
    let mut again = false;
    let mut results = stream::iter(writes).buffered(WRITES_IN_FLIGHT_MAX);
    while let Some(((kind, name), word, result)) = results.next().await {
        let object = format!("{}/{name}", kind.word().to_lowercase());
        match result {
            Ok(_) => report.changes.push(format!("{object} {word}")),
            // Somebody, or a pass, wrote it between our look and now.
            Err(StoreError::Conflict) => {
                again = true;
                report.problems.push(format!(
                    "{object} was changed by somebody else at the same moment: it is looked at again"
                ));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(again)
}

fn kind_of(kind: DocumentKind) -> Kind {
    match kind {
        DocumentKind::Tenant => Kind::Tenant,
        DocumentKind::TenantClass => Kind::TenantClass,
    }
}

/// The manifests of a folder, flat, in the order of their names, and what tells a change of them.
fn list(folder: &Path) -> Result<(Fingerprint, Vec<PathBuf>), FolderError> {
    let failed = |source| FolderError::Read { path: folder.to_owned(), source };
    let mut fingerprint = Fingerprint::new();
    let mut bytes = 0_u64;
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_manifest =
            path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        // Editors leave hidden files beside the one that they write.
        let is_hidden =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_manifest || is_hidden {
            continue;
        }
        // Follows links: config management often links manifests into place.
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            // Gone since the folder was read. A link into nowhere is another thing: what it should
            // hold is not known, so it must not count as missing.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && fs::symlink_metadata(&path).is_err() =>
            {
                continue;
            }
            Err(source) => return Err(FolderError::Read { path, source }),
        };
        if metadata.is_file() {
            bytes = bytes.saturating_add(metadata.len());
            fingerprint.insert(path, Stamp::of(&metadata));
        }
        if fingerprint.len() > FILES_MAX {
            return Err(FolderError::TooMany { path: folder.to_owned() });
        }
        if bytes > BYTES_MAX {
            return Err(FolderError::TooLarge { path: folder.to_owned() });
        }
    }
    let files = fingerprint.keys().cloned().collect();
    Ok((fingerprint, files))
}

/// The manifests of the folder: names inside it, and what each says.
#[derive(Default)]
struct Files {
    names: Vec<String>,
    readings: Vec<ManifestReading>,
}

impl Files {
    fn iter(&self) -> impl Iterator<Item = (&str, &ManifestReading)> {
        self.names.iter().map(String::as_str).zip(&self.readings)
    }
}

/// Reads each file; what is above the cap is cut there, and the reader says so.
fn read(files: &[PathBuf]) -> Result<Files, FolderError> {
    let mut found = Files::default();
    for path in files {
        let failed = |source| FolderError::Read { path: path.clone(), source };
        let limit = u64::try_from(MANIFEST_BYTES_MAX).unwrap_or(u64::MAX) + 1;
        let mut text = Vec::new();
        match fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut text)) {
            Ok(_) => {}
            // Gone between the listing and now: the next pass sees a folder without it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        found.names.push(name);
        found.readings.push(read_manifest(&path.display().to_string(), &text));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
