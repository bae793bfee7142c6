//! Buckets as a whole. Their names are global: one that is taken may be anybody's.

use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;

use super::StorageClient;
use super::iam::bounded;
use crate::error::{CallError, UnknownCause};
use crate::http::Request;
use crate::machines::Walk;
use crate::operation::Operation;

/// Buckets asked for per page.
const PAGE_LIMIT: &str = "1000";

/// A bucket of the organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedBucket {
    /// Unique among all organizations.
    pub name: String,
    /// When it was made, if that can be read.
    pub created_at: Option<Timestamp>,
}

/// What stands behind a bucket's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketLook {
    /// A bucket that our key may look into. One of somebody else's that is open to all is answered
    /// so too: whether it is in our organization, [`StorageClient::buckets`] says.
    Ours,
    /// No bucket.
    Absent,
    /// A bucket that our key may not look into.
    SomebodyElses,
}

/// How the making of a bucket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketCreation {
    /// It is made. Some storages say so of a bucket that was ours before, too.
    Created,
    /// We had it already.
    AlreadyOurs,
    /// The name is taken.
    SomebodyElses,
}

/// How the removal of a bucket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketDeletion {
    /// It is gone.
    Deleted,
    /// There was none.
    Absent,
    /// It holds objects, and stays.
    NotEmpty,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BucketPage {
    buckets: BucketRows,
    continuation_token: Option<String>,
}

#[derive(Deserialize)]
struct BucketRows {
    #[serde(rename = "Bucket", default)]
    rows: Vec<BucketRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BucketRow {
    name: String,
    creation_date: Option<String>,
}

impl StorageClient {
    /// The buckets of the organization, all pages.
    ///
    /// # Errors
    /// [`CallError`], also if only one page or one row could not be read.
    pub async fn buckets(&self) -> Result<Vec<ListedBucket>, CallError> {
        let first = Request::new(Operation::ListBuckets, &[], "").list();
        let first = first.query("max-buckets", PAGE_LIMIT);
        let (mut request, mut walk, mut all) = (first.clone(), Walk::default(), Vec::new());
        loop {
            let success = self.s3.call(&request).await?;
            let line = success.request.clone();
            let page: BucketPage = success.decode_xml("ListAllMyBucketsResult")?;
            for row in page.buckets.rows {
                let name = bounded(row.name, &line)?;
                let created_at = row.creation_date.and_then(|text| text.parse().ok());
                all.push(ListedBucket { name, created_at });
            }
            let Some(token) = page.continuation_token.filter(|token| !token.is_empty()) else {
                return Ok(all);
            };
            walk.step(&token)
                .map_err(|problem| CallError::of_answer(line, UnknownCause::Pages(problem)))?;
            request = first.clone().query("continuation-token", token);
        }
    }

    /// What stands behind a bucket's name (`HeadBucket`).
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn bucket(&self, name: &str) -> Result<BucketLook, CallError> {
        match self.s3.call(&Request::new(Operation::HeadBucket, &[name], name)).await {
            Ok(_) => Ok(BucketLook::Ours),
            // Without a body the status is all that there is.
            Err(error) if error.is_not_found() => Ok(BucketLook::Absent),
            Err(error) if error.is_forbidden() => Ok(BucketLook::SomebodyElses),
            Err(error) => Err(error),
        }
    }

    /// Makes a bucket, private and without options.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn create_bucket(&self, name: &str) -> Result<BucketCreation, CallError> {
        match self.s3.call(&Request::new(Operation::CreateBucket, &[name], name)).await {
            Ok(_) => Ok(BucketCreation::Created),
            Err(error) => match error.storage_code(StatusCode::CONFLICT) {
                Some("BucketAlreadyOwnedByYou") => Ok(BucketCreation::AlreadyOurs),
                Some("BucketAlreadyExists") => Ok(BucketCreation::SomebodyElses),
                _ => Err(error),
            },
        }
    }

    /// Removes a bucket that holds nothing.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete_bucket(&self, name: &str) -> Result<BucketDeletion, CallError> {
        match self.s3.call(&Request::new(Operation::DeleteBucket, &[name], name)).await {
            Ok(_) => Ok(BucketDeletion::Deleted),
            Err(error) => {
                let code = |status| error.storage_code(status);
                if code(StatusCode::NOT_FOUND) == Some("NoSuchBucket") {
                    Ok(BucketDeletion::Absent)
                } else if code(StatusCode::CONFLICT) == Some("BucketNotEmpty") {
                    Ok(BucketDeletion::NotEmpty)
                } else {
                    Err(error)
                }
            }
        }
    }
}
