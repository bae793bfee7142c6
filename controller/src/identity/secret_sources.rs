//! Where the values of `spec.secrets` come from: environment variables and files that the operator
//! of the controller sets aside for manifests, and nothing else.
//!
//! ```text
//!   from.env   VAULTCTL_SECRET_…  ─▶ the environment as it was at start ─┐
//!                                                                        ├─▶ text, at most 64 KiB
//!   from.file  relative path ─▶ openat2(--secrets-dir, BENEATH) ─────────┘
//! ```
//!
//! A manifest is written by whoever may write the folder, who need not be allowed to read the
//! controller's own files: the kernel resolves the path beneath the folder and nowhere else,
//! whatever links stand in it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use secrecy::SecretString;
use thiserror::Error;
use vault_api::tenant::{SECRET_ENV_PREFIX, SecretFrom};
use zeroize::Zeroizing;

/// The longest value, in bytes: what a certificate chain with its key needs, many times over.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Why a value cannot be had. No message holds any of it.
#[derive(Debug, Error)]
pub enum SecretError {
    /// There is no such variable.
    #[error("environment variable {0} of the controller is not set")]
    NoVariable(String),
    /// A variable without our prefix.
    #[error("environment variable {0} does not begin with {SECRET_ENV_PREFIX}")]
    Prefix(String),
    /// The controller was started without `--secrets-dir`.
    #[error("file {0} cannot be read: the controller was started without --secrets-dir")]
    NoFolder(String),
    /// It leads out of the folder.
    #[error("file {0} does not lie beneath --secrets-dir")]
    Outside(String),
    /// It cannot be read.
    #[error("file {path} beneath --secrets-dir cannot be read")]
    Read {
        /// As it was written.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It is a folder, a pipe or the like.
    #[error("{0} beneath --secrets-dir is no file")]
    NoFile(String),
    /// It is too long, empty, or no text.
    #[error("{0} is no text of 1 to {VALUE_BYTES_MAX} bytes without a NUL")]
    Value(String),
    /// Neither or both of `env` and `file` are given.
    #[error("a secret comes from `env` or from `file`")]
    Unclear,
}

/// The places that manifests may name.
#[derive(Default)]
pub struct SecretSources {
    folder: Option<PathBuf>,
    environment: BTreeMap<String, SecretString>,
}

impl SecretSources {
    /// Takes over those variables that manifests may name; `folder` is `--secrets-dir`.
    pub fn new(
        folder: Option<PathBuf>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let named = environment.into_iter().filter(|(name, _)| name.starts_with(SECRET_ENV_PREFIX));
        let environment = named.map(|(name, value)| (name, SecretString::from(value))).collect();
        Self { folder, environment }
    }

    /// Reads a value now.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn read(&self, from: &SecretFrom) -> Result<SecretString, SecretError> {
        match (&from.env, &from.file) {
            (Some(name), None) => self.variable(name),
            (None, Some(path)) => self.file(path),
            (Some(_), Some(_)) | (None, None) => Err(SecretError::Unclear),
        }
    }

    fn variable(&self, name: &str) -> Result<SecretString, SecretError> {
        if !name.starts_with(SECRET_ENV_PREFIX) {
            return Err(SecretError::Prefix(name.to_owned()));
        }
        let value = self.environment.get(name);
        let value = value.ok_or_else(|| SecretError::NoVariable(name.to_owned()))?;
        let text = secrecy::ExposeSecret::expose_secret(value);
        check(text.as_bytes()).ok_or_else(|| SecretError::Value(name.to_owned()))
    }

    fn file(&self, path: &str) -> Result<SecretString, SecretError> {
        let folder = self.folder.as_ref().ok_or_else(|| SecretError::NoFolder(path.to_owned()))?;
        let failed = |source: Errno| SecretError::Read { path: path.into(), source: source.into() };
        let folder = File::open(folder)
            .map_err(|source| SecretError::Read { path: path.to_owned(), source })?;
        // Not blocking: a pipe that nobody writes would hold up every pass.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let file = match rustix::fs::openat2(&folder, path, flags, Mode::empty(), resolve) {
            Ok(file) => file,
            Err(Errno::XDEV | Errno::LOOP) => return Err(SecretError::Outside(path.to_owned())),
            Err(error) => return Err(failed(error)),
        };
        let status = rustix::fs::fstat(&file).map_err(failed)?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Err(SecretError::NoFile(path.to_owned()));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(VALUE_BYTES_MAX + 2));
        File::from(file)
            .take(VALUE_BYTES_MAX as u64 + 2)
            .read_to_end(&mut bytes)
            .map_err(|source| SecretError::Read { path: path.to_owned(), source })?;
        // Editors end a file with a line break that nobody means.
        let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        check(text).ok_or_else(|| SecretError::Value(path.to_owned()))
    }
}

impl fmt::Debug for SecretSources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SecretSources").finish_non_exhaustive()
    }
}

fn check(bytes: &[u8]) -> Option<SecretString> {
    let fits = (1..=VALUE_BYTES_MAX).contains(&bytes.len()) && !bytes.contains(&0);
    let text = std::str::from_utf8(bytes).ok()?;
    fits.then(|| SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use secrecy::ExposeSecret;

    use super::*;

    fn env(name: &str) -> SecretFrom {
        SecretFrom { env: Some(name.to_owned()), file: None }
    }

    fn file(path: &str) -> SecretFrom {
        SecretFrom { env: None, file: Some(path.to_owned()) }
    }

    #[test]
    fn only_variables_with_our_prefix_are_seen() {
        let pairs = [("VAULTCTL_SECRET_A", "one"), ("FLY_API_TOKEN", "token")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let sources = SecretSources::new(None, pairs);
        assert_eq!(sources.read(&env("VAULTCTL_SECRET_A")).unwrap().expose_secret(), "one");
        let no = |from: &SecretFrom| sources.read(from).unwrap_err().to_string();
        assert!(no(&env("FLY_API_TOKEN")).contains("does not begin with VAULTCTL_SECRET_"));
        assert!(no(&env("VAULTCTL_SECRET_B")).contains("is not set"));
        assert!(no(&file("x")).contains("without --secrets-dir"));
        assert!(no(&SecretFrom { env: None, file: None }).contains("`env` or from `file`"));
        assert_eq!(format!("{sources:?}"), "SecretSources { .. }");
    }

    #[test]
    fn a_file_is_read_beneath_the_folder_and_nowhere_else() {
        let outside = tempfile::tempdir().unwrap();
        let folder = outside.path().join("secrets");
        fs::create_dir_all(folder.join("acme")).unwrap();
        fs::write(outside.path().join("master.key"), "the crown").unwrap();
        fs::write(folder.join("acme/db"), "s3cret\n").unwrap();
        fs::write(folder.join("two-lines"), "a\nb\n\n").unwrap();
        fs::write(folder.join("empty"), "\n").unwrap();
        fs::write(folder.join("binary"), [0xff, 0xfe]).unwrap();
        fs::write(folder.join("large"), "x".repeat(VALUE_BYTES_MAX + 1)).unwrap();
        fs::write(folder.join("largest"), "x".repeat(VALUE_BYTES_MAX)).unwrap();
        symlink("acme/db", folder.join("inside")).unwrap();
        symlink("../master.key", folder.join("up")).unwrap();
        symlink(outside.path().join("master.key"), folder.join("absolute")).unwrap();
        symlink("..", folder.join("acme/parent")).unwrap();
        symlink("/proc/self/environ", folder.join("magic")).unwrap();
        let sources = SecretSources::new(Some(folder.clone()), []);
        let value = |path: &str| {
            let read = sources.read(&file(path));
            read.map(|value| value.expose_secret().to_owned()).map_err(|error| error.to_string())
        };
        assert_eq!(value("acme/db").unwrap(), "s3cret");
        assert_eq!(value("inside").unwrap(), "s3cret");
        assert_eq!(value("acme/parent/acme/db").unwrap(), "s3cret");
        assert_eq!(value("two-lines").unwrap(), "a\nb\n");
        assert_eq!(value("largest").unwrap().len(), VALUE_BYTES_MAX);
        for path in
            ["up", "absolute", "magic", "../master.key", "acme/../../master.key", "/etc/hostname"]
        {
            let error = value(path).unwrap_err();
            assert!(error.contains("does not lie beneath"), "{path}: {error}");
        }
        let key = outside.path().join("master.key").display().to_string();
        assert!(value(&key).unwrap_err().contains("does not lie beneath"));
        for path in ["empty", "binary", "large"] {
            assert!(value(path).unwrap_err().contains("is no text"), "{path}");
        }
        assert!(value("acme").unwrap_err().contains("is no file"));
        assert!(value("absent").unwrap_err().contains("cannot be read"));
        // What changes is seen at the next look.
        fs::write(folder.join("acme/db"), "another").unwrap();
        assert_eq!(value("acme/db").unwrap(), "another");
    }
}
