//! Who calls S3, and whether it may.

use std::sync::Arc;

use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{Credentials, S3Auth, SecretKey};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use crate::engine::{Engine, EngineError};
use crate::world::World;
use crate::world::storage::{AccessKey, StorageRefusal};

/// The keys and policies of the world, as `s3s` asks for them.
pub(super) struct Gate {
    engine: Arc<Engine>,
}

impl Gate {
    pub(super) const fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

#[async_trait::async_trait]
impl S3Auth for Gate {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let found = self.engine.read(|world| {
            Ok(world.access_key(access_key).map(|key| SecretKey::from(key.secret.expose())))
        });
        found.map_err(unavailable)?.ok_or_else(|| s3_error!(InvalidAccessKeyId))
    }
}

#[async_trait::async_trait]
impl S3Access for Gate {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let path = context.s3_path();
        let action = action_of(context.s3_op().name());
        let (bucket, key) = (path.get_bucket_name(), path.get_object_key());
        may(&self.engine, context.credentials(), action, bucket, key).map(|_| ())
    }
}

/// The caller, if it may do something to a bucket or an object in it; without an action, whoever it is.
pub(super) fn may(
    engine: &Engine,
    credentials: Option<&Credentials>,
    action: Option<&str>,
    bucket: Option<&str>,
    object: Option<&str>,
) -> S3Result<AccessKey> {
    let credentials = credentials.ok_or_else(|| s3_error!(AccessDenied))?;
    let allowed = engine.read(|world| {
        let key = world.access_key(&credentials.access_key).cloned();
        let allowed = |key: &AccessKey| match (action, bucket) {
            (Some(action), Some(bucket)) => world.may(key, action, bucket, object),
            _ => true,
        };
        Ok(key.filter(allowed))
    });
    allowed.map_err(unavailable)?.ok_or_else(|| s3_error!(AccessDenied))
}

/// Looks at the world, and turns its refusals into S3's.
pub(super) fn read<R>(
    engine: &Engine,
    look: impl FnOnce(&World) -> Result<R, StorageRefusal>,
) -> S3Result<R> {
    engine.read(|world| Ok(look(world))).map_err(unavailable)?.map_err(|refusal| said(&refusal))
}

/// Changes the world, and turns its refusals into S3's.
pub(super) fn change<R>(
    engine: &Engine,
    change: impl FnOnce(&mut World, jiff::Timestamp) -> Result<R, StorageRefusal>,
) -> S3Result<R> {
    let changed = engine.change(|world, now| Ok(change(world, now)));
    changed.map_err(unavailable)?.map_err(|refusal| said(&refusal))
}

/// The action of a policy for an operation. `None` where each row is checked by itself later; what is
/// not served is for those who may do everything.
fn action_of(operation: &str) -> Option<&'static str> {
    Some(match operation {
        "CreateBucket" => "s3:CreateBucket",
        "DeleteBucket" => "s3:DeleteBucket",
        "HeadBucket" | "ListObjects" | "ListObjectsV2" => "s3:ListBucket",
        "GetBucketLocation" => "s3:GetBucketLocation",
        "ListMultipartUploads" => "s3:ListBucketMultipartUploads",
        "GetObject" | "HeadObject" => "s3:GetObject",
        "PutObject"
        | "CopyObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload" => "s3:PutObject",
        "DeleteObject" => "s3:DeleteObject",
        "AbortMultipartUpload" => "s3:AbortMultipartUpload",
        "ListParts" => "s3:ListMultipartUploadParts",
        "ListBuckets" | "DeleteObjects" => return None,
        _ => "s3:*",
    })
}

fn unavailable(error: EngineError) -> S3Error {
    s3_error!(error, ServiceUnavailable)
}

/// A refusal in S3's words.
pub(super) fn said(refusal: &StorageRefusal) -> S3Error {
    use StorageRefusal as Is;
    let code = match refusal {
        Is::AccessDenied => S3ErrorCode::AccessDenied,
        Is::BucketAlreadyExists => S3ErrorCode::BucketAlreadyExists,
        Is::BucketAlreadyOwnedByYou => S3ErrorCode::BucketAlreadyOwnedByYou,
        Is::TooManyBuckets => S3ErrorCode::TooManyBuckets,
        Is::NoSuchBucket => S3ErrorCode::NoSuchBucket,
        Is::BucketNotEmpty => S3ErrorCode::BucketNotEmpty,
        Is::NoSuchKey => S3ErrorCode::NoSuchKey,
        Is::NoSuchUpload => S3ErrorCode::NoSuchUpload,
        Is::InvalidPart => S3ErrorCode::InvalidPart,
        Is::InvalidPartOrder => S3ErrorCode::InvalidPartOrder,
        Is::EntityTooSmall => S3ErrorCode::EntityTooSmall,
        Is::EntityTooLarge => S3ErrorCode::EntityTooLarge,
        Is::PreconditionFailed => S3ErrorCode::PreconditionFailed,
        Is::NotModified => S3ErrorCode::NotModified,
        Is::LimitExceeded(_)
        | Is::InvalidInput(_)
        | Is::MalformedPolicyDocument(_)
        | Is::NoSuchEntity(_)
        | Is::EntityAlreadyExists(_)
        | Is::DeleteConflict => S3ErrorCode::InvalidRequest,
    };
    S3Error::with_message(code, refusal.to_string())
}
