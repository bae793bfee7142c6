//! The operations of S3, as `s3s` asks for them; each does its work in a room of its own.

mod buckets;
mod checksums;
mod listing;
mod objects;
mod uploads;

use std::sync::Arc;
use std::time::SystemTime;

use s3s::dto;
use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

pub(super) use self::listing::escaped;
use super::files::{Files, StoreError};
use crate::engine::Engine;
use crate::world::storage::object::Tag;
use crate::world::storage::{Attributes, Conditions};

/// The buckets of the world.
#[derive(Clone)]
pub(super) struct Buckets {
    engine: Arc<Engine>,
    files: Files,
}

impl Buckets {
    pub(super) const fn new(engine: Arc<Engine>, files: Files) -> Self {
        Self { engine, files }
    }
}

/// Hands operations over to the methods of the same name.
macro_rules! serve {
    ($($name:ident: $input:ident => $output:ident),* $(,)?) => {
        #[async_trait::async_trait]
        impl S3 for Buckets {
            $(async fn $name(
                &self,
                request: S3Request<dto::$input>,
            ) -> S3Result<S3Response<dto::$output>> {
                self.$name(request).await.map(S3Response::new)
            })*
        }
    };
}

serve! {
    list_buckets: ListBucketsInput => ListBucketsOutput,
    create_bucket: CreateBucketInput => CreateBucketOutput,
    head_bucket: HeadBucketInput => HeadBucketOutput,
    delete_bucket: DeleteBucketInput => DeleteBucketOutput,
    get_bucket_location: GetBucketLocationInput => GetBucketLocationOutput,
    list_objects: ListObjectsInput => ListObjectsOutput,
    list_objects_v2: ListObjectsV2Input => ListObjectsV2Output,
    put_object: PutObjectInput => PutObjectOutput,
    get_object: GetObjectInput => GetObjectOutput,
    head_object: HeadObjectInput => HeadObjectOutput,
    copy_object: CopyObjectInput => CopyObjectOutput,
    delete_object: DeleteObjectInput => DeleteObjectOutput,
    delete_objects: DeleteObjectsInput => DeleteObjectsOutput,
    create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput,
    upload_part: UploadPartInput => UploadPartOutput,
    list_parts: ListPartsInput => ListPartsOutput,
    list_multipart_uploads: ListMultipartUploadsInput => ListMultipartUploadsOutput,
    complete_multipart_upload: CompleteMultipartUploadInput => CompleteMultipartUploadOutput,
    abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput,
}

/// A time as `s3s` has it.
fn time(at: jiff::Timestamp) -> Timestamp {
    SystemTime::from(at).into()
}

fn strong(etag: &str) -> ETag {
    ETag::Strong(etag.to_owned())
}

/// A size as S3 writes it.
fn signed(size: u64) -> S3Result<i64> {
    i64::try_from(size).map_err(|error| s3_error!(error, InternalError))
}

fn conditions(matches: Option<ETagCondition>, matches_not: Option<ETagCondition>) -> Conditions {
    let tag = |condition: ETagCondition| match condition.into_etag() {
        None => Tag::Any,
        Some(etag) => Tag::Is(etag.into_value()),
    };
    Conditions { matches: matches.map(tag), matches_not: matches_not.map(tag) }
}

/// The most bytes of a key's own metadata: S3's bound.
const METADATA_BYTES_MAX: usize = 2 * 1024;

/// What is said of an object, within S3's bound.
fn attributes(metadata: Option<dto::Metadata>, rest: Attributes) -> S3Result<Attributes> {
    let metadata = metadata.unwrap_or_default();
    let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > METADATA_BYTES_MAX {
        return Err(s3_error!(MetadataTooLarge));
    }
    Ok(Attributes { metadata: metadata.into_iter().collect(), ..rest })
}

/// Refuses what is asked for and not served, rather than passing it over.
fn unserved(members: &[(&str, bool)]) -> S3Result<()> {
    match members.iter().find(|(_, asked)| *asked) {
        None => Ok(()),
        Some((name, _)) => Err(s3_error!(NotImplemented, "{name} is not served by this emulator")),
    }
}

/// Why bytes were not stored, in S3's words. What a body's stream says of itself comes as a text only.
fn not_stored(error: StoreError) -> S3Error {
    match error {
        StoreError::TooLarge => s3_error!(EntityTooLarge),
        StoreError::Body(error) => {
            let text = error.to_string();
            if text.contains("Sha256Mismatch") {
                mismatch()
            } else if text.contains("SignatureMismatch") {
                s3_error!(SignatureDoesNotMatch)
            } else {
                s3_error!(IncompleteBody)
            }
        }
        StoreError::Io(error) => broken(error),
    }
}

/// The body is not the one whose hash was signed.
fn mismatch() -> S3Error {
    let code = S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into());
    let text = "The provided 'x-amz-content-sha256' header does not match what was computed.";
    let mut error = S3Error::with_message(code, text);
    error.set_status_code(http::StatusCode::BAD_REQUEST);
    error
}

/// The disk's fault. It is said here: nobody hears what `s3s` logs.
fn broken(error: std::io::Error) -> S3Error {
    let text = error.to_string();
    // On a thread of its own, because this one's logs are silenced.
    drop(tokio::task::spawn_blocking(move || {
        tracing::error!(error = text, "a bucket on disk cannot be used");
    }));
    s3_error!(error, InternalError)
}
