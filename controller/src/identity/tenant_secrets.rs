//! The secrets of tenants: derived, never stored.
//!
//! ```text
//!   master key ──HKDF──┬─▶ the tenant's secret (32 bytes) ─▶ base64url ─▶ VAULT_TENANT_SECRET
//!                      │                                        │
//!                      └─▶ key of hashes ──HMAC over app, name, value─▶ keyed hash (16 bytes)
//! ```
//!
//! The platform never shows a value again, and its digests are opaque. Our keyed hash says what was
//! set; it stands in the database and in machines' metadata, where who lacks the key can neither
//! test a guess against it nor see that two values are equal.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use vault_api::tenant::{SecretEntry, SecretFrom};
use vault_plan::action::SetSecret;
use vault_plan::desired::{DesiredSecret, DesiredSecrets, SecretPlace, StorageValue};
use vault_plan::identity::TenantUid;
use vault_protocol::key::TenantSecret;
use zeroize::Zeroizing;

use super::{KEY_BYTES, Sealer, SecretFiles, SecretSources};
use crate::chain::chain;

/// The app secret, and so the environment variable in the machines, that holds a tenant's secret.
pub const TENANT_SECRET: &str = vault_protocol::SECRET_VARIABLE;

/// Where Tigris serves S3, as Fly writes it into the secrets of apps.
const S3_ENDPOINT: &str = "https://fly.storage.tigris.dev";
/// The region that Tigris's clients sign for.
const S3_REGION: &str = "auto";

const SECRET_PURPOSE: &[u8] = b"vaultctl tenant secret v1";
/// 128 bits: enough against accidents, and without the key nobody can search for a collision.
const HASH_BYTES: usize = 16;

/// Derives what tenants' app secrets are set to, and how that is told apart.
pub struct TenantSecrets {
    /// What HKDF extracts from the master key: deriving from it costs a pass over a fleet half as
    /// much as beginning with the master key each time.
    extracted: Zeroizing<[u8; KEY_BYTES]>,
    hash_key: Zeroizing<[u8; KEY_BYTES]>,
    variable: Arc<str>,
    sources: SecretSources,
    sealer: Sealer,
    endpoint: String,
    region: String,
}

impl TenantSecrets {
    pub(super) fn new(master_key: &[u8; KEY_BYTES], hash_key: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let (extracted, _) = Hkdf::<Sha256>::extract(None, master_key);
        let extracted = Zeroizing::new(extracted.into());
        let sources = SecretSources::default();
        let sealer = Sealer::new(master_key);
        let (endpoint, region) = (S3_ENDPOINT.to_owned(), S3_REGION.to_owned());
        let variable = TENANT_SECRET.into();
        Self { extracted, hash_key, variable, sources, sealer, endpoint, region }
    }

    /// With the address of S3 and the region to sign for, as machines are to find them.
    #[must_use]
    pub fn with_storage(mut self, endpoint: String, region: String) -> Self {
        (self.endpoint, self.region) = (endpoint, region);
        self
    }

    /// The keyed hash of what a secret holds of a tenant's storage. That of an access key's secret is
    /// made from the key's id: with another secret it has another one.
    #[must_use]
    pub fn storage_hash(&self, app: &str, name: &str, value: &StorageValue, key: &str) -> String {
        match self.storage_value(value) {
            Some(text) => self.hash(app, name, text),
            None => self.hash(app, name, &format!("the secret of access key {key}")),
        }
    }

    /// What a secret holds of a tenant's storage; `None` for what is sealed in the store.
    #[must_use]
    pub fn storage_value<'a>(&'a self, value: &'a StorageValue) -> Option<&'a str> {
        match value {
            StorageValue::KeyId(id) => Some(id),
            StorageValue::KeySecret(_) => None,
            StorageValue::Endpoint => Some(&self.endpoint),
            StorageValue::Region => Some(&self.region),
            StorageValue::Bucket(bucket) => Some(bucket),
        }
    }

    /// With the places that manifests may name in `spec.secrets`.
    #[must_use]
    pub fn with_sources(mut self, sources: SecretSources) -> Self {
        self.sources = sources;
        self
    }

    /// What seals values that cannot be derived.
    #[must_use]
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// The secrets for one pass.
    #[must_use]
    pub fn pass(&self) -> PassSecrets<'_> {
        PassSecrets { secrets: self, read: RefCell::default() }
    }

    /// Whether files that a pass read hold what they held then.
    #[must_use]
    pub fn are_same(&self, files: &SecretFiles) -> bool {
        files.are_same(|from| self.read(from))
    }

    fn read(&self, from: &SecretFrom) -> Result<SecretString, String> {
        self.sources.read(from).map_err(|error| chain(&error))
    }

    /// What an action asks to be set, read again at the moment of the call.
    ///
    /// # Errors
    /// If it cannot be had, or is no longer what the action was planned with; no message holds any
    /// of it.
    pub fn value_to_set(&self, app: &str, set: &SetSecret) -> Result<SecretString, String> {
        let Some(from) = &set.from else {
            return self
                .value(set.tenant_uid, &set.variable)
                .ok_or_else(|| format!("nobody knows what secret {} should be", set.name));
        };
        let value = self.read(from)?;
        if self.hash(app, &set.name, value.expose_secret()) != set.hash {
            return Err(format!("the value of secret {} has just changed", set.name));
        }
        Ok(value)
    }

    /// What the controller and the tenant's machines share.
    #[must_use]
    pub fn tenant_secret(&self, tenant: TenantUid) -> TenantSecret {
        let mut secret = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::from_prk(&*self.extracted)
            .expect("the extracted key is as long as the hash")
            .expand_multi_info(&[SECRET_PURPOSE, tenant.0.as_bytes()], &mut *secret)
            .expect("HKDF-SHA256 yields up to 8160 bytes, and far fewer are asked for");
        TenantSecret::new(*secret)
    }

    /// What an app secret of a tenant is set to that machines find as `variable` in their
    /// environment; `None` for one that we do not manage.
    #[must_use]
    pub fn value(&self, tenant: TenantUid, variable: &str) -> Option<SecretString> {
        let text = || self.tenant_secret(tenant).text();
        (variable == TENANT_SECRET).then(|| SecretString::from(text().as_str()))
    }

    /// The keyed hash of a value: 32 hexadecimal digits.
    fn hash(&self, app: &str, name: &str, value: &str) -> String {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&*self.hash_key)
            .expect("HMAC takes a key of any length");
        for part in [app, name, value] {
            // With its length before it, no part can pass for the end of another.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        HEXLOWER.encode(&mac.finalize().into_bytes()[..HASH_BYTES])
    }
}

impl DesiredSecrets for TenantSecrets {
    fn of(&self, place: SecretPlace<'_>) -> Vec<DesiredSecret> {
        let variable = Arc::clone(&self.variable);
        let name = place.name(&variable);
        let hash = self.hash(place.app, &name, &self.tenant_secret(place.tenant).text());
        vec![DesiredSecret { name, variable, hash, from: None, storage: None }]
    }

    fn of_manifest(&self, app: &str, name: &str, secret: &SecretEntry) -> Result<String, String> {
        let value = self.read(&secret.from)?;
        Ok(self.hash(app, name, value.expose_secret()))
    }
}

/// What one pass sees of secrets: every source is read once, and looks the same to all tenants.
pub struct PassSecrets<'a> {
    secrets: &'a TenantSecrets,
    read: RefCell<BTreeMap<SecretFrom, Result<SecretString, String>>>,
}

impl PassSecrets<'_> {
    /// What was found in files.
    #[must_use]
    pub fn files(&self) -> SecretFiles {
        SecretFiles::of(&*self.read.borrow())
    }
}

impl DesiredSecrets for PassSecrets<'_> {
    fn of(&self, place: SecretPlace<'_>) -> Vec<DesiredSecret> {
        self.secrets.of(place)
    }

    fn of_manifest(&self, app: &str, name: &str, secret: &SecretEntry) -> Result<String, String> {
        let mut read = self.read.borrow_mut();
        let value = match read.get(&secret.from) {
            Some(value) => value,
            None => {
                let value = self.secrets.read(&secret.from);
                read.entry(secret.from.clone()).or_insert(value)
            }
        };
        let value = value.as_ref().map_err(Clone::clone)?;
        Ok(self.secrets.hash(app, name, value.expose_secret()))
    }
}

impl fmt::Debug for TenantSecrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TenantSecrets").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{controller, tenant_secrets};
    use data_encoding::BASE64URL_NOPAD;

    #[test]
    fn a_secret_is_of_one_tenant_and_of_one_master_key() {
        let (acme, bob) = (controller().tenant_uid("acme"), controller().tenant_uid("bob"));
        let secrets = tenant_secrets();
        let text = |secrets: &TenantSecrets, uid| secrets.tenant_secret(uid).text().to_string();
        let secret = text(&secrets, acme);
        assert_eq!(secret, text(&tenant_secrets(), acme));
        assert_ne!(secret, text(&secrets, bob));
        let other = TenantSecrets::new(&[8; KEY_BYTES], Zeroizing::new([9; KEY_BYTES]));
        assert_ne!(secret, text(&other, acme));
        assert_eq!(BASE64URL_NOPAD.decode(secret.as_bytes()).unwrap().len(), 32);
        assert_eq!(secret.len(), 43);
        let value = secrets.value(acme, TENANT_SECRET).unwrap();
        assert_eq!(value.expose_secret(), secret);
        assert!(secrets.value(acme, "DATABASE_URL").is_none());
    }

    #[test]
    fn the_derivation_of_version_1_never_changes() {
        // A changed derivation would set every secret anew and restart every machine.
        let acme = controller().tenant_uid("acme");
        let secrets = tenant_secrets();
        let secret = secrets.tenant_secret(acme);
        // HKDF as RFC 5869 writes it: extract with a salt of zeros, one block of expansion.
        let hmac = |key: &[u8], parts: &[&[u8]]| {
            let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap();
            parts.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes()
        };
        let extracted = hmac(&[0; 32], &[&[7; KEY_BYTES]]);
        let expanded = hmac(&extracted, &[SECRET_PURPOSE, acme.0.as_bytes(), &[1]]);
        assert_eq!(*secret.text(), BASE64URL_NOPAD.encode(&expanded));
    }

    #[test]
    fn a_hash_is_of_the_app_the_name_and_the_value_and_of_the_key() {
        let secrets = tenant_secrets();
        let hash = |app: &str, name: &str, value: &str| secrets.hash(app, name, value);
        let one = hash("ab", "c", "d");
        assert_eq!(one.len(), 2 * HASH_BYTES);
        for other in [hash("a", "bc", "d"), hash("ab", "cd", ""), hash("ab", "c", "e")] {
            assert_ne!(one, other);
        }
        let other = TenantSecrets::new(&[7; KEY_BYTES], Zeroizing::new([9; KEY_BYTES]));
        assert_ne!(one, other.hash("ab", "c", "d"));
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", tenant_secrets()), "TenantSecrets { .. }");
    }
}
