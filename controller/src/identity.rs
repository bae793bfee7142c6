//! The master key, and all that follows from it.
//!
//! ```text
//!   master.key (32 random bytes, mode 0600) ──HKDF-SHA256──┬─▶ controller id (16 bytes)
//!                                                          ├─▶ operator token
//!                                                          ├─▶ tenants' secrets, and a key of hashes
//!                                                          └─▶ key of sealed values
//! ```
//!
//! Who keeps the key keeps the identity: a controller with the key and an empty database finds all
//! that it made. Who loses it has a new controller, to which the old machines are foreign.

mod seal;
mod secret_files;
mod secret_sources;
mod tenant_secrets;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use data_encoding::{BASE32_NOPAD, HEXLOWER_PERMISSIVE};
use hkdf::Hkdf;
use secrecy::SecretString;
use sha2::Sha256;
use thiserror::Error;
use vault_plan::identity::ControllerId;
use zeroize::Zeroizing;

pub use seal::{SealError, SealedFor, Sealer};
pub use secret_files::SecretFiles;
pub use secret_sources::{SecretError, SecretSources, VALUE_BYTES_MAX};
pub use tenant_secrets::{TENANT_SECRET, TenantSecrets};

const KEY_BYTES: usize = 32;

/// Why there is no master key.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The file could not be read.
    #[error("could not read the master key {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file could not be written.
    #[error("could not write the master key {path}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not a key.
    #[error("{path} is not a master key: it must hold 64 hexadecimal digits")]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
    /// The file can be read by others.
    #[error("the master key {path} can be read by others (mode {mode:04o}): run chmod 600 on it")]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// The key from which the controller's identity and secrets are derived.
pub struct MasterKey(Zeroizing<[u8; KEY_BYTES]>);

impl MasterKey {
    /// Reads the key, or makes one where there is no file.
    ///
    /// A new key is written to a file beside `path` and then given its name, so that a crash leaves
    /// either no key or a whole one.
    ///
    /// # Errors
    /// If the file cannot be read or written, is not a key, or can be read by others.
    pub fn load_or_create(path: &Path) -> Result<Self, IdentityError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &Zeroizing::new(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(path),
            Err(source) => Err(IdentityError::Read { path: path.into(), source }),
        }
    }

    /// The identity that goes into names and metadata.
    #[must_use]
    pub fn controller_id(&self) -> ControllerId {
        let mut id = [0; 16];
        self.derive("vaultctl controller id v1", &mut id);
        ControllerId::from_bytes(id)
    }

    /// The operator token of this controller: it may do everything.
    #[must_use]
    pub fn operator_token(&self) -> SecretString {
        let mut token = Zeroizing::new([0; 32]);
        self.derive("vaultctl operator token v1", &mut *token);
        let text = BASE32_NOPAD.encode(&*token).to_ascii_lowercase();
        SecretString::from(format!("vop1_{text}"))
    }

    /// What derives the secrets of tenants.
    #[must_use]
    pub fn tenant_secrets(&self) -> TenantSecrets {
        let mut hash_key = Zeroizing::new([0; KEY_BYTES]);
        self.derive("vaultctl secret hash key v1", &mut *hash_key);
        TenantSecrets::new(&self.0, hash_key)
    }

    /// A key that is not kept in a file of ours.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    fn derive(&self, purpose: &str, output: &mut [u8]) {
        Hkdf::<Sha256>::new(None, &*self.0)
            .expand(purpose.as_bytes(), output)
            .expect("HKDF-SHA256 yields up to 8160 bytes, and far fewer are asked for");
    }

    fn parse(path: &Path, text: &str) -> Result<Self, IdentityError> {
        let mode = fs::metadata(path)
            .map_err(|source| IdentityError::Read { path: path.into(), source })?
            .permissions()
            .mode()
            & 0o7777;
        if mode & 0o077 != 0 {
            return Err(IdentityError::Exposed { path: path.into(), mode });
        }
        let malformed = || IdentityError::Malformed { path: path.into() };
        let bytes = HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).map_err(|_| malformed())?;
        let bytes = Zeroizing::new(bytes);
        let key: [u8; KEY_BYTES] = bytes.as_slice().try_into().map_err(|_| malformed())?;
        Ok(Self(Zeroizing::new(key)))
    }

    fn create(path: &Path) -> Result<Self, IdentityError> {
        let failed = |source| IdentityError::Write { path: path.into(), source };
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(&mut *key).map_err(|error| failed(io::Error::other(error.to_string())))?;
        let text = Zeroizing::new(HEXLOWER_PERMISSIVE.encode(&*key));
        write_private(path, text.as_bytes()).map_err(failed)?;
        Ok(Self(key))
    }
}

/// Writes a file that only its owner may read, whole or not at all.
///
/// # Errors
/// If a file beside `path` cannot be written, or cannot be given its name.
pub fn write_private(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    // What a crash left behind may have another mode or be a link: never written into.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => fs::File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn the_same_key_gives_the_same_identity_and_another_key_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let made = MasterKey::load_or_create(&path).unwrap();
        let read = MasterKey::load_or_create(&path).unwrap();
        assert_eq!(made.controller_id(), read.controller_id());
        assert_eq!(made.operator_token().expose_secret(), read.operator_token().expose_secret());
        let other = MasterKey::load_or_create(&folder.path().join("other.key")).unwrap();
        assert_ne!(made.controller_id(), other.controller_id());
    }

    #[test]
    fn the_file_is_private_and_a_public_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        MasterKey::load_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            MasterKey::load_or_create(&path),
            Err(IdentityError::Exposed { mode: 0o644, .. })
        ));
    }

    #[test]
    fn a_file_that_is_no_key_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        write_private(&path, b"not a key").unwrap();
        assert!(matches!(MasterKey::load_or_create(&path), Err(IdentityError::Malformed { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"not a key");
    }
}
