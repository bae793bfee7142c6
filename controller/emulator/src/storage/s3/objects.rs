//! Single objects: put, get, head, copy, delete.

use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, DeleteObjectInput,
    DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETagCondition,
    Error, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, MetadataDirective,
    PutObjectInput, PutObjectOutput, Range, StreamingBlob,
};
use s3s::{S3Request, S3Result, s3_error};
use tokio::fs::File;

use super::checksums::{Checksums, shown};
use super::{Buckets, attributes, broken, conditions, not_stored, signed, strong, time, unserved};
use crate::storage::access::{change, may, read};
use crate::storage::files::{Stored, bytes};
use crate::storage::front::PUT_BYTES_MAX;
use crate::world::storage::{Attributes, Conditions, Content, NewObject, StoredObject};

/// Keys of one DeleteObjects: S3's bound.
const DELETE_MAX: usize = 1_000;
/// How often a read looks again for a file that was replaced between looking and opening.
const OPEN_TRIES: usize = 16;

impl Buckets {
    pub(super) async fn put_object(
        &self,
        mut request: S3Request<PutObjectInput>,
    ) -> S3Result<PutObjectOutput> {
        let mut checksums = Checksums::of(&request)?;
        let body = request.input.body.take();
        let trailers = request.trailing_headers.take();
        let input = request.input;
        refuse_unserved(&input)?;
        let conditions = conditions(input.if_match, input.if_none_match);
        let said = Attributes {
            content_type: input.content_type,
            content_encoding: input.content_encoding.and_then(without_chunks),
            content_disposition: input.content_disposition,
            content_language: input.content_language,
            cache_control: input.cache_control,
            ..Attributes::default()
        };
        let said = attributes(input.metadata, said)?;
        let bucket_id = read(&self.engine, |world| Ok(world.bucket(&input.bucket)?.id.clone()))?;
        let body = body.unwrap_or_else(|| StreamingBlob::from(s3s::Body::empty()));
        let seen = |piece: &[u8]| checksums.update(piece);
        let stored = self.files.store(&bucket_id, body, PUT_BYTES_MAX, seen).await;
        let stored = stored.map_err(not_stored)?;
        check_md5(input.content_md5.as_deref(), &stored.md5)?;
        let content = Content {
            file: stored.file.clone(),
            size: stored.size,
            etag: data_encoding::HEXLOWER.encode(&stored.md5),
            checksums: checksums.finish(trailers.as_ref())?,
        };
        let (bucket, key) = (input.bucket, input.key);
        let new = NewObject { bucket, bucket_id, key, content, attributes: said };
        let object = self.take(stored, new, &conditions)?;
        let checksums = shown(&object.content.checksums);
        Ok(PutObjectOutput {
            e_tag: Some(strong(&object.content.etag)),
            size: Some(signed(object.content.size)?),
            checksum_crc32: checksums.checksum_crc32,
            checksum_crc32c: checksums.checksum_crc32c,
            checksum_crc64nvme: checksums.checksum_crc64nvme,
            checksum_sha1: checksums.checksum_sha1,
            checksum_sha256: checksums.checksum_sha256,
            ..PutObjectOutput::default()
        })
    }

    pub(super) async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<GetObjectOutput> {
        let input = request.input;
        unserved(&[
            ("versionId", input.version_id.is_some()),
            ("partNumber", input.part_number.is_some()),
        ])?;
        let conditions = conditions(input.if_match, input.if_none_match);
        let (object, file) = self.open(&input.bucket, &input.key, &conditions).await?;
        let (start, length, range) = span(input.range, object.content.size)?;
        let body = bytes(file, start, length).await.map_err(broken)?;
        // A checksum is of the whole.
        let checksums = range.is_none().then(|| shown(&object.content.checksums));
        let checksums = checksums.unwrap_or_default();
        Ok(GetObjectOutput {
            body: Some(StreamingBlob::wrap(body)),
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(signed(length)?),
            content_range: range,
            e_tag: Some(strong(&object.content.etag)),
            last_modified: Some(time(object.updated_at)),
            content_type: object.attributes.content_type,
            content_encoding: object.attributes.content_encoding,
            content_disposition: object.attributes.content_disposition,
            content_language: object.attributes.content_language,
            cache_control: object.attributes.cache_control,
            metadata: Some(object.attributes.metadata.into_iter().collect()),
            checksum_crc32: checksums.checksum_crc32,
            checksum_crc32c: checksums.checksum_crc32c,
            checksum_crc64nvme: checksums.checksum_crc64nvme,
            checksum_sha1: checksums.checksum_sha1,
            checksum_sha256: checksums.checksum_sha256,
            ..GetObjectOutput::default()
        })
    }

    pub(super) async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<HeadObjectOutput> {
        let input = request.input;
        unserved(&[
            ("versionId", input.version_id.is_some()),
            ("partNumber", input.part_number.is_some()),
        ])?;
        let conditions = conditions(input.if_match, input.if_none_match);
        let object = read(&self.engine, |world| {
            let object = world.object(&input.bucket, &input.key)?;
            conditions.check_read(object)?;
            Ok(object.clone())
        })?;
        let (_, length, range) = span(input.range, object.content.size)?;
        let checksums = range.is_none().then(|| shown(&object.content.checksums));
        let checksums = checksums.unwrap_or_default();
        Ok(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(signed(length)?),
            content_range: range,
            e_tag: Some(strong(&object.content.etag)),
            last_modified: Some(time(object.updated_at)),
            content_type: object.attributes.content_type,
            content_encoding: object.attributes.content_encoding,
            content_disposition: object.attributes.content_disposition,
            content_language: object.attributes.content_language,
            cache_control: object.attributes.cache_control,
            metadata: Some(object.attributes.metadata.into_iter().collect()),
            checksum_crc32: checksums.checksum_crc32,
            checksum_crc32c: checksums.checksum_crc32c,
            checksum_crc64nvme: checksums.checksum_crc64nvme,
            checksum_sha1: checksums.checksum_sha1,
            checksum_sha256: checksums.checksum_sha256,
            ..HeadObjectOutput::default()
        })
    }

    pub(super) async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<CopyObjectOutput> {
        let input = request.input;
        let CopySource::Bucket { bucket: from, key: source, version_id } = &input.copy_source
        else {
            return Err(s3_error!(NotImplemented, "access points are not served by this emulator"));
        };
        unserved(&[
            ("versionId", version_id.is_some()),
            ("x-amz-tagging", input.tagging.is_some()),
            ("encryption with a key of one's own", input.sse_customer_key.is_some()),
        ])?;
        let get = Some("s3:GetObject");
        may(&self.engine, request.credentials.as_ref(), get, Some(from), Some(source))?;
        let wanted = conditions(input.copy_source_if_match, input.copy_source_if_none_match);
        let (original, _opened) = self.open(from, source, &Conditions::default()).await?;
        // A source that is as it was is no answer here but a condition that fails.
        if wanted.check_read(&original).is_err() {
            return Err(s3_error!(PreconditionFailed));
        }
        let replaced = input.metadata_directive.as_ref();
        let replaced = replaced.is_some_and(|it| it.as_str() == MetadataDirective::REPLACE);
        if !replaced && **from == *input.bucket && **source == *input.key {
            let text = "This copy request is illegal because it is trying to copy an object to \
                        itself without changing the object's metadata.";
            return Err(s3_error!(InvalidRequest, "{text}"));
        }
        let said = if replaced {
            let said = Attributes {
                content_type: input.content_type,
                content_encoding: input.content_encoding,
                content_disposition: input.content_disposition,
                content_language: input.content_language,
                cache_control: input.cache_control,
                ..Attributes::default()
            };
            attributes(input.metadata, said)?
        } else {
            original.attributes.clone()
        };
        let bucket_id = read(&self.engine, |world| Ok(world.bucket(&input.bucket)?.id.clone()))?;
        let linked = (original.bucket_id.as_str(), original.content.file.as_str());
        let stored = self.files.link(linked, &bucket_id).map_err(not_stored)?;
        let content = Content { file: stored.file.clone(), ..original.content };
        let (bucket, key) = (input.bucket, input.key);
        let new = NewObject { bucket, bucket_id, key, content, attributes: said };
        let object = self.take(stored, new, &Conditions::default())?;
        let result = CopyObjectResult {
            e_tag: Some(strong(&object.content.etag)),
            last_modified: Some(time(object.updated_at)),
            ..CopyObjectResult::default()
        };
        Ok(CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() })
    }

    /// What is not there is deleted already.
    pub(super) async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<DeleteObjectOutput> {
        let input = request.input;
        unserved(&[("versionId", input.version_id.is_some())])?;
        self.delete(&input.bucket, &input.key, &conditions(input.if_match, None))?;
        Ok(DeleteObjectOutput::default())
    }

    /// Each key for itself: one that the caller may not delete does not keep the others.
    pub(super) async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<DeleteObjectsOutput> {
        let input = request.input;
        if input.delete.objects.len() > DELETE_MAX {
            return Err(s3_error!(MalformedXML, "at most {DELETE_MAX} keys"));
        }
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for named in input.delete.objects {
            let action = Some("s3:DeleteObject");
            let (bucket, key) = (Some(input.bucket.as_str()), Some(named.key.as_str()));
            let gone = unserved(&[("VersionId", named.version_id.is_some())])
                .and_then(|()| may(&self.engine, request.credentials.as_ref(), action, bucket, key))
                .and_then(|_| {
                    let matches = named.e_tag.map(ETagCondition::ETag);
                    self.delete(&input.bucket, &named.key, &conditions(matches, None))
                });
            match gone {
                Ok(()) => {
                    deleted
                        .push(DeletedObject { key: Some(named.key), ..DeletedObject::default() });
                }
                Err(error) => errors.push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    message: error.message().map(str::to_owned),
                    key: Some(named.key),
                    version_id: named.version_id,
                }),
            }
        }
        let quiet = input.delete.quiet == Some(true);
        Ok(DeleteObjectsOutput {
            deleted: Some(deleted).filter(|_| !quiet),
            errors: Some(errors),
            ..DeleteObjectsOutput::default()
        })
    }

    /// Has the world take an object whose bytes are stored, and removes those that it replaces.
    fn take(
        &self,
        stored: Stored,
        new: NewObject,
        conditions: &Conditions,
    ) -> S3Result<StoredObject> {
        let (object, before) =
            change(&self.engine, |world, now| world.put_object(now, new, conditions))?;
        stored.keep();
        if let Some(before) = before {
            self.files.remove(&before.bucket_id, &before.content.file);
        }
        Ok(object)
    }

    fn delete(&self, bucket: &str, key: &str, conditions: &Conditions) -> S3Result<()> {
        let gone = change(&self.engine, |world, _| world.delete_object(bucket, key, conditions))?;
        if let Some(gone) = gone {
            self.files.remove(&gone.bucket_id, &gone.content.file);
        }
        Ok(())
    }

    /// An object and its open file. Between looking and opening it may be replaced; then the new one
    /// is looked at.
    async fn open(
        &self,
        bucket: &str,
        key: &str,
        conditions: &Conditions,
    ) -> S3Result<(StoredObject, File)> {
        for _ in 0..OPEN_TRIES {
            let object = read(&self.engine, |world| {
                let object = world.object(bucket, key)?;
                conditions.check_read(object)?;
                Ok(object.clone())
            })?;
            match self.files.open(&object.bucket_id, &object.content.file).await {
                Ok(file) => return Ok((object, file)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(broken(error)),
            }
        }
        Err(broken(std::io::Error::other(format!(
            "the bytes of an object of {bucket} are missing"
        ))))
    }
}

fn refuse_unserved(input: &PutObjectInput) -> S3Result<()> {
    let private = input.acl.as_ref().is_none_or(|acl| acl.as_str() == "private");
    unserved(&[
        ("x-amz-acl", !private),
        ("x-amz-tagging", input.tagging.is_some()),
        ("x-amz-object-lock-mode", input.object_lock_mode.is_some()),
        ("x-amz-write-offset-bytes", input.write_offset_bytes.is_some()),
        ("encryption with a key of one's own", input.sse_customer_key.is_some()),
    ])
}

/// `Content-MD5`, in base 64.
pub(super) fn check_md5(told: Option<&str>, found: &[u8; 16]) -> S3Result<()> {
    let Some(told) = told else { return Ok(()) };
    let told = data_encoding::BASE64.decode(told.as_bytes());
    match told.map_err(|_| s3_error!(InvalidDigest))? == found.as_slice() {
        true => Ok(()),
        false => Err(s3_error!(BadDigest)),
    }
}

/// How the body came is not how the object is encoded.
fn without_chunks(encoding: String) -> Option<String> {
    let rest = encoding.split(',').map(str::trim).filter(|word| *word != "aws-chunked");
    let rest = rest.collect::<Vec<_>>().join(",");
    Some(rest).filter(|rest| !rest.is_empty())
}

/// Where a read begins, how many bytes it has, and what to say of it if it is not the whole.
fn span(range: Option<Range>, size: u64) -> S3Result<(u64, u64, Option<String>)> {
    let Some(range) = range else { return Ok((0, size, None)) };
    let span = range.check(size)?;
    let said = format!("bytes {}-{}/{size}", span.start, span.end - 1);
    Ok((span.start, span.end - span.start, Some(said)))
}
