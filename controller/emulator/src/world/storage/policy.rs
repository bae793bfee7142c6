//! Policies, and the keys to which they are attached.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StorageRefusal;
use super::access_key::{AccessKey, check_name};
use super::document::{self, Document};
use crate::world::World;
use crate::world::table::Row;

/// Policies of one organization: ten for each of the most tenants that this emulator is measured with.
const POLICIES_MAX: usize = 100_000;
/// Policies attached to one key: AWS's quota for a user.
const ATTACHED_MAX: usize = 10;
/// Characters of a policy's name: AWS's bound.
const NAME_CHARS_MAX: usize = 128;

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// `arn:aws:iam::ORG:policy/NAME`
    pub arn: String,
    /// Opaque.
    pub id: String,
    /// Unique within the organization.
    pub name: String,
    /// The organization's slug.
    pub org: String,
    /// The document as it was written.
    pub text: String,
    /// The document as it is understood.
    pub document: Document,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last attached or detached.
    pub updated_at: Timestamp,
    /// The ids of the keys that it is attached to.
    pub attached: BTreeSet<String>,
}

impl Row for Policy {
    fn key(&self) -> &str {
        &self.arn
    }

    fn org(&self) -> &str {
        &self.org
    }

    fn group(&self) -> &str {
        &self.org
    }

    fn updated_at(&self) -> Timestamp {
        self.updated_at
    }
}

impl World {
    /// Makes a policy, attached to nothing.
    ///
    /// # Errors
    /// [`StorageRefusal::EntityAlreadyExists`], [`StorageRefusal::MalformedPolicyDocument`],
    /// [`StorageRefusal::InvalidInput`] for the name, [`StorageRefusal::LimitExceeded`].
    pub fn create_policy(
        &mut self,
        now: Timestamp,
        org: &str,
        name: &str,
        text: &str,
    ) -> Result<Policy, StorageRefusal> {
        check_name("PolicyName", name, NAME_CHARS_MAX)?;
        let document = Document::read(text)?;
        let arn = format!("arn:aws:iam::{org}:policy/{name}");
        if self.storage.policies.row(&arn).is_some() {
            return Err(StorageRefusal::EntityAlreadyExists(name.to_owned()));
        }
        if self.storage.policies.count(org) >= POLICIES_MAX {
            let text = format!("Cannot exceed quota for Policies: {POLICIES_MAX}");
            return Err(StorageRefusal::LimitExceeded(text));
        }
        let (id, created_at) = (format!("ANPA{}", self.ids.ulid(now)), self.ids.stamp(now));
        let (name, org, text) = (name.to_owned(), org.to_owned(), text.to_owned());
        let attached = BTreeSet::new();
        let policy = Policy {
            arn,
            id,
            name,
            org,
            text,
            document,
            created_at,
            updated_at: created_at,
            attached,
        };
        self.storage.policies.insert(policy.clone());
        Ok(policy)
    }

    /// A policy of an organization.
    ///
    /// # Errors
    /// [`StorageRefusal::NoSuchEntity`].
    pub fn policy(&self, org: &str, arn: &str) -> Result<&Policy, StorageRefusal> {
        let policy = self.storage.policies.row(arn).filter(|policy| policy.org == org);
        policy.ok_or_else(|| {
            StorageRefusal::NoSuchEntity(format!(
                "Policy {arn} does not exist or is not attachable."
            ))
        })
    }

    /// The policies of an organization after an ARN, by ARN.
    pub fn policies<'a>(
        &'a self,
        org: &str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Policy> {
        self.storage.policies.group_after(org, after)
    }

    /// Removes a policy that is attached to nothing.
    ///
    /// # Errors
    /// [`StorageRefusal::NoSuchEntity`], [`StorageRefusal::DeleteConflict`].
    pub fn delete_policy(&mut self, org: &str, arn: &str) -> Result<(), StorageRefusal> {
        if !self.policy(org, arn)?.attached.is_empty() {
            return Err(StorageRefusal::DeleteConflict);
        }
        self.storage.policies.remove(arn);
        Ok(())
    }

    /// Attaches a policy to a key; once more changes nothing.
    ///
    /// # Errors
    /// [`StorageRefusal::NoSuchEntity`], [`StorageRefusal::LimitExceeded`].
    pub fn attach_policy(
        &mut self,
        now: Timestamp,
        org: &str,
        arn: &str,
        key: &str,
    ) -> Result<(), StorageRefusal> {
        self.key_of(org, key)?;
        if self.policy(org, arn)?.attached.contains(key) {
            return Ok(());
        }
        if self.attached_policies(org, key).len() >= ATTACHED_MAX {
            let text = format!("Cannot exceed quota for PoliciesPerUser: {ATTACHED_MAX}");
            return Err(StorageRefusal::LimitExceeded(text));
        }
        let stamp = self.ids.stamp(now);
        self.storage.policies.change(arn, |policy| {
            policy.attached.insert(key.to_owned());
            policy.updated_at = stamp;
        });
        self.storage.attachments.entry(key.to_owned()).or_default().insert(arn.to_owned());
        Ok(())
    }

    /// Detaches a policy from a key.
    ///
    /// # Errors
    /// [`StorageRefusal::NoSuchEntity`], also if it was not attached.
    pub fn detach_policy(
        &mut self,
        now: Timestamp,
        org: &str,
        arn: &str,
        key: &str,
    ) -> Result<(), StorageRefusal> {
        self.key_of(org, key)?;
        if !self.policy(org, arn)?.attached.contains(key) {
            let text = format!("Policy {arn} was not found.");
            return Err(StorageRefusal::NoSuchEntity(text));
        }
        let stamp = self.ids.stamp(now);
        self.storage.policies.change(arn, |policy| {
            policy.attached.remove(key);
            policy.updated_at = stamp;
        });
        self.storage.forget_attachment(key, arn);
        Ok(())
    }

    /// The ARNs of the policies that are attached to a key of an organization, in order.
    pub fn attached_policies(&self, org: &str, key: &str) -> Vec<String> {
        let attached = self.storage.attachments.get(key).into_iter().flatten();
        attached.filter(|arn| self.policy(org, arn).is_ok()).cloned().collect()
    }

    /// Whether a key may do something (`s3:…`) to a bucket, or to an object in it. Its admin may do
    /// everything in an organization; nobody may do anything in another one's bucket; buckets are
    /// made by admins only.
    pub fn may(&self, key: &AccessKey, action: &str, bucket: &str, object: Option<&str>) -> bool {
        let is_making = action == "s3:CreateBucket";
        let foreign = self.bucket(bucket).is_ok_and(|bucket| bucket.org != key.org);
        if key.admin {
            // Whoever asks for a name that is taken is told so, not that it may not ask.
            return is_making || !foreign;
        }
        if foreign || is_making {
            return false;
        }
        let resource = match object {
            Some(object) => format!("arn:aws:s3:::{bucket}/{object}"),
            None => format!("arn:aws:s3:::{bucket}"),
        };
        let attached = self.storage.attachments.get(&key.id).into_iter().flatten();
        let policies = attached.filter_map(|arn| self.storage.policies.row(arn));
        document::allow(policies.map(|policy| &policy.document), action, &resource)
    }
}
