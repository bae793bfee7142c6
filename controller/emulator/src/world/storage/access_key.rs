//! Access keys: an id that everybody may see and a secret that signs requests.
//!
//! Signatures are checked by making them again, so the secret itself is kept; it is in the journal,
//! whose mode is 0600, and is shown once, when the key is made.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StorageRefusal;
use crate::world::table::Row;
use crate::world::{SecretValue, World};

/// Keys of one organization: ten for each of the most tenants that this emulator is measured with.
const KEYS_MAX: usize = 100_000;
/// Characters of a key's name: AWS's bound for names of users.
const NAME_CHARS_MAX: usize = 64;

/// An access key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// `tid_…`
    pub id: String,
    /// What its maker calls it; others may be called the same.
    pub name: Option<String>,
    /// The organization's slug.
    pub org: String,
    /// `tsec_…`
    pub secret: SecretValue,
    /// Whether it may do everything in its organization, IAM included.
    pub admin: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What is asked for. Id and secret are drawn outside, where there is randomness.
#[derive(Clone, Debug)]
pub struct NewAccessKey {
    /// `tid_…`, never used before.
    pub id: String,
    /// What to call it.
    pub name: Option<String>,
    /// The organization's slug.
    pub org: String,
    /// `tsec_…`
    pub secret: SecretValue,
    /// Whether it may do everything in its organization.
    pub admin: bool,
}

impl Row for AccessKey {
    fn key(&self) -> &str {
        &self.id
    }

    fn org(&self) -> &str {
        &self.org
    }

    fn group(&self) -> &str {
        &self.org
    }

    fn updated_at(&self) -> Timestamp {
        self.created_at
    }
}

impl World {
    /// Takes a new key, which may do nothing until policies are attached to it.
    ///
    /// # Errors
    /// [`StorageRefusal::LimitExceeded`], a name that is too long or has characters that AWS does not
    /// take.
    pub fn add_access_key(
        &mut self,
        now: Timestamp,
        new: NewAccessKey,
    ) -> Result<AccessKey, StorageRefusal> {
        if let Some(name) = &new.name {
            check_name("UserName", name, NAME_CHARS_MAX)?;
        }
        if self.storage.keys.count(&new.org) >= KEYS_MAX {
            let text = format!("Cannot exceed quota for AccessKeys: {KEYS_MAX}");
            return Err(StorageRefusal::LimitExceeded(text));
        }
        let NewAccessKey { id, name, org, secret, admin } = new;
        let created_at = self.ids.stamp(now);
        let key = AccessKey { id, name, org, secret, admin, created_at };
        self.storage.keys.insert(key.clone());
        Ok(key)
    }

    /// A key, whatever it may do.
    pub fn access_key(&self, id: &str) -> Option<&AccessKey> {
        self.storage.keys.row(id)
    }

    /// The key of an organization that may do everything in it.
    pub fn admin_key(&self, org: &str) -> Option<&AccessKey> {
        self.storage.keys.group(org).find(|key| key.admin)
    }

    /// The keys of an organization after an id, in the order of their ids; those of one name, if one
    /// is given.
    pub fn access_keys<'a>(
        &'a self,
        org: &str,
        name: Option<&'a str>,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = &'a AccessKey> {
        self.storage
            .keys
            .group_after(org, after)
            .filter(move |key| name.is_none() || key.name.as_deref() == name)
    }

    /// Removes a key of an organization; the policies that were attached to it stay.
    ///
    /// # Errors
    /// [`StorageRefusal::NoSuchEntity`]; [`StorageRefusal::AccessDenied`] for the organization's
    /// admin key, without which nobody could make another one.
    pub fn delete_access_key(
        &mut self,
        now: Timestamp,
        org: &str,
        id: &str,
    ) -> Result<(), StorageRefusal> {
        if self.key_of(org, id)?.admin {
            return Err(StorageRefusal::AccessDenied);
        }
        for arn in self.attached_policies(org, id) {
            self.detach_policy(now, org, &arn, id)?;
        }
        self.storage.keys.remove(id);
        Ok(())
    }

    /// A key of an organization.
    pub(super) fn key_of(&self, org: &str, id: &str) -> Result<&AccessKey, StorageRefusal> {
        let key = self.storage.keys.row(id).filter(|key| key.org == org);
        key.ok_or_else(|| {
            StorageRefusal::NoSuchEntity(format!("The Access Key with id {id} cannot be found."))
        })
    }
}

/// AWS's rule for names, by which slashes are not taken; the platform's own is not documented, and
/// names with slashes are needed there, so they are taken here.
pub(super) fn check_name(member: &str, name: &str, most: usize) -> Result<(), StorageRefusal> {
    let known = |letter: char| letter.is_ascii_alphanumeric() || "+=,.@-_/".contains(letter);
    if name.is_empty() || name.chars().count() > most || !name.chars().all(known) {
        let text = format!("{member}: 1 to {most} letters, digits and + = , . @ - _ /");
        return Err(StorageRefusal::InvalidInput(text));
    }
    Ok(())
}
