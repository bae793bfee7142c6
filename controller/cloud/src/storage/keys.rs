//! Access keys.

use std::fmt;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;

use super::StorageClient;
use super::iam::{Continuation, bounded};
use crate::error::{CallError, UnknownCause};
use crate::operation::Operation;

/// The longest id and the longest secret that are taken, in bytes; Tigris's have about 70.
const KEY_BYTES_MAX: usize = 256;

/// A new key with its secret, which nobody shows again.
#[derive(Clone)]
pub struct NewAccessKey {
    /// Its id, `tid_…` at Tigris.
    pub id: String,
    /// Its secret, `tsec_…` at Tigris.
    pub secret: SecretString,
}

/// A key as a list shows it: without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedAccessKey {
    /// Its id.
    pub id: String,
    /// Its name, which is not unique; its id, if it has none.
    pub name: String,
    /// When it was made, if that can be read.
    pub created_at: Option<Timestamp>,
}

/// Without the secret.
impl fmt::Debug for NewAccessKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NewAccessKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Created {
    #[serde(rename = "CreateAccessKeyResult")]
    result: CreatedResult,
}

#[derive(Deserialize)]
struct CreatedResult {
    #[serde(rename = "AccessKey")]
    key: CreatedKey,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreatedKey {
    access_key_id: String,
    secret_access_key: String,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "ListAccessKeysResult")]
    result: ListedResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedResult {
    access_key_metadata: Keys,
    #[serde(default)]
    is_truncated: bool,
    marker: Option<String>,
}

#[derive(Deserialize)]
struct Keys {
    #[serde(rename = "member", default)]
    rows: Vec<KeyRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyRow {
    access_key_id: String,
    user_name: Option<String>,
    create_date: Option<String>,
}

impl StorageClient {
    /// Makes a key of this name. Never repeated: a second key of that name would be made too.
    ///
    /// # Errors
    /// [`CallError`]; unknown if a key may be there whose secret nobody has.
    pub async fn create_access_key(&self, name: &str) -> Result<NewAccessKey, CallError> {
        let (line, made) =
            self.ask::<Created>(Operation::CreateAccessKey, &[("UserName", name)]).await?;
        let CreatedKey { access_key_id: id, secret_access_key } = made.result.key;
        let secret = SecretString::from(secret_access_key);
        let sound = |text: &str| {
            (1..=KEY_BYTES_MAX).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if sound(&id) && sound(secrecy::ExposeSecret::expose_secret(&secret)) {
            return Ok(NewAccessKey { id, secret });
        }
        let why = "it holds no access key that a signature takes".to_owned();
        Err(CallError::of_answer(line, UnknownCause::Undecodable(why)))
    }

    /// All keys of the organization, admins' among them.
    ///
    /// # Errors
    /// [`CallError`], also if only one page or one row could not be read.
    pub async fn access_keys(&self) -> Result<Vec<ListedAccessKey>, CallError> {
        let mut all = Vec::new();
        self.pages(Operation::ListAccessKeys, &[], |page: Listed, line| {
            for row in page.result.access_key_metadata.rows {
                let id = bounded(row.access_key_id, line)?;
                let name = row.user_name.map_or_else(|| Ok(id.clone()), |it| bounded(it, line))?;
                let created_at = row.create_date.and_then(|text| text.parse().ok());
                all.push(ListedAccessKey { id, name, created_at });
            }
            let (is_truncated, marker) = (page.result.is_truncated, page.result.marker);
            Ok(Some(Continuation { is_truncated, marker }))
        })
        .await?;
        Ok(all)
    }

    /// Deletes a key; whoever has it may do nothing any more. One that is gone already is fine.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete_access_key(&self, id: &str) -> Result<(), CallError> {
        match self.tell(Operation::DeleteAccessKey, &[("AccessKeyId", id)]).await {
            Err(error) if error.is_no_entity() => Ok(()),
            done => done,
        }
    }
}
