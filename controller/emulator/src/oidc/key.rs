//! The issuer's key: RSA with 2048 bits, in `oidc.key` of the data folder.

use std::io::Write;
use std::path::{Path, PathBuf};

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use rsa::traits::PublicKeyParts;
use rsa::{RsaPrivateKey, rand_core::OsRng};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

/// The key's size, which is also the least that RS256 verifiers take.
const BITS: usize = 2048;
/// The key's file in the data folder.
const FILE: &str = "oidc.key";

/// Why there is no key.
#[derive(Debug, Error)]
pub(crate) enum KeyError {
    /// The file system refused.
    #[error("{action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// The key's file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A key could not be made.
    #[error("making a key")]
    Make(#[source] rsa::Error),
    /// A key that was made could not be written as text.
    #[error("encoding a new key")]
    Encode(#[source] rsa::pkcs8::Error),
    /// The file holds no key.
    #[error("reading the key in {}; remove the file to get a new one", path.display())]
    Malformed {
        /// The key's file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: rsa::pkcs8::Error,
    },
    /// The file holds a key of another size.
    #[error("the key in {} has {bits} bits and not {BITS}", path.display())]
    Size {
        /// The key's file.
        path: PathBuf,
        /// Its key's size.
        bits: usize,
    },
    /// The library that signs does not take the key.
    #[error("preparing to sign")]
    Refused(#[source] jsonwebtoken::errors::Error),
}

/// The private key, ready to sign. No `Debug`: it is one.
pub(crate) struct SigningKey {
    private: EncodingKey,
    id: String,
    modulus: String,
    exponent: String,
}

impl SigningKey {
    /// The key of this text, the folder's if a malformed one is to be told.
    fn of(text: &str, directory: &Path) -> Result<Self, KeyError> {
        let path = directory.join(FILE);
        let malformed = |source| KeyError::Malformed { path: path.clone(), source };
        let key = RsaPrivateKey::from_pkcs8_pem(text).map_err(malformed)?;
        let bits = key.n().bits();
        if bits != BITS {
            return Err(KeyError::Size { path, bits });
        }
        let modulus = BASE64URL_NOPAD.encode(&key.n().to_bytes_be());
        let exponent = BASE64URL_NOPAD.encode(&key.e().to_bytes_be());
        let private = EncodingKey::from_rsa_pem(text.as_bytes()).map_err(KeyError::Refused)?;
        Ok(Self { private, id: thumbprint(&modulus, &exponent), modulus, exponent })
    }

    /// The public half, as a JSON Web Key.
    pub(super) fn public(&self) -> Value {
        json!({
            "kty": "RSA", "use": "sig", "alg": "RS256",
            "kid": self.id, "n": self.modulus, "e": self.exponent,
        })
    }

    /// A signed token of these claims.
    ///
    /// # Errors
    /// The library's refusal.
    pub(super) fn sign(
        &self,
        claims: &impl Serialize,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(self.id.clone());
        jsonwebtoken::encode(&header, claims, &self.private)
    }
}

fn read(path: &Path) -> Result<Option<Zeroizing<String>>, KeyError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(KeyError::Io { action: "reading", path: path.to_owned(), source }),
    }
}

/// A folder's key, read or made; see [`prepare`].
pub(super) struct Prepared {
    text: Zeroizing<String>,
    is_new: bool,
}

/// Reads the folder's key, or makes one if there is none yet, and writes nothing. Blocks; making
/// takes about a second.
///
/// # Errors
/// See [`KeyError`].
pub(super) fn prepare(directory: &Path) -> Result<Prepared, KeyError> {
    if let Some(text) = read(&directory.join(FILE))? {
        return Ok(Prepared { text, is_new: false });
    }
    let key = RsaPrivateKey::new(&mut OsRng, BITS).map_err(KeyError::Make)?;
    let text = key.to_pkcs8_pem(LineEnding::LF).map_err(KeyError::Encode)?;
    Ok(Prepared { text, is_new: true })
}

impl Prepared {
    /// The key, kept in the folder if it is new. Takes milliseconds. It is a step of its own so
    /// that an emulator that has ended meanwhile does not write into a folder that is no longer its.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub(super) fn keep(self, directory: &Path) -> Result<SigningKey, KeyError> {
        let text = if self.is_new { write(directory, self.text)? } else { self.text };
        SigningKey::of(&text, directory)
    }
}

/// Puts a key where it belongs, whole or not at all and with mode 0600. One that came to be there
/// in the meantime stays and is taken: it may have signed already.
fn write(directory: &Path, text: Zeroizing<String>) -> Result<Zeroizing<String>, KeyError> {
    let path = &directory.join(FILE);
    let failed = |source| KeyError::Io { action: "writing", path: path.to_owned(), source };
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(text),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
            read(path)?.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))
        }
        Err(error) => Err(failed(error.error)),
    }
}

/// The key's id: the hash of its public half in the one form that RFC 7638 gives it.
fn thumbprint(modulus: &str, exponent: &str) -> String {
    let canonical = format!(r#"{{"e":"{exponent}","kty":"RSA","n":"{modulus}"}}"#);
    BASE64URL_NOPAD.encode(&Sha256::digest(canonical.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_thumbprint_is_that_of_the_rfc() {
        // RFC 7638, section 3.1.
        let modulus = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        assert_eq!(thumbprint(modulus, "AQAB"), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn a_key_is_made_once_and_is_private() {
        let directory = tempfile::tempdir().expect("a folder");
        let open = || prepare(directory.path()).and_then(|key| key.keep(directory.path()));
        let made = prepare(directory.path()).expect("made");
        assert_eq!(std::fs::read_dir(directory.path()).expect("a folder").count(), 0);
        let first = made.keep(directory.path()).expect("kept");
        let path = directory.path().join(FILE);
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = open().expect("read");
        assert_eq!(first.public(), again.public());
        // A second one that was made at the same time gives way.
        let kept = write(directory.path(), Zeroizing::default()).expect("read");
        assert_eq!(kept.as_str(), std::fs::read_to_string(&path).expect("read"));
        assert_eq!(std::fs::read_dir(directory.path()).expect("a folder").count(), 1);

        std::fs::write(&path, "no key").expect("written");
        let error = open().err().expect("refused");
        assert!(matches!(error, KeyError::Malformed { .. }), "{error}");
    }
}
