//! Objects in parts.

use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput,
    ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput,
    MultipartUpload, Part as ShownPart, StreamingBlob, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Request, S3Result, s3_error};

use super::checksums::{Checksums, shown};
use super::objects::check_md5;
use super::{Buckets, attributes, conditions, not_stored, signed, strong, time, unserved};
use crate::storage::access::{change, read};
use crate::storage::front::PUT_BYTES_MAX;
use crate::world::storage::upload::PART_NUMBER_MAX;
use crate::world::storage::{Attributes, Content, NewObject, Part, StorageRefusal};

/// Parts on one page: S3's bound.
const PARTS_PAGE_MAX: usize = 1_000;
/// The largest object, in bytes: S3's bound.
const OBJECT_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024 * 1024;

impl Buckets {
    pub(super) async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<CreateMultipartUploadOutput> {
        let input = request.input;
        unserved(&[
            ("x-amz-tagging", input.tagging.is_some()),
            ("encryption with a key of one's own", input.sse_customer_key.is_some()),
        ])?;
        let said = Attributes {
            content_type: input.content_type,
            content_encoding: input.content_encoding,
            content_disposition: input.content_disposition,
            content_language: input.content_language,
            cache_control: input.cache_control,
            ..Attributes::default()
        };
        let said = attributes(input.metadata, said)?;
        let upload = change(&self.engine, |world, now| {
            world.create_upload(now, &input.bucket, &input.key, said)
        })?;
        Ok(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(upload.id),
            checksum_algorithm: input.checksum_algorithm,
            ..CreateMultipartUploadOutput::default()
        })
    }

    pub(super) async fn upload_part(
        &self,
        mut request: S3Request<UploadPartInput>,
    ) -> S3Result<UploadPartOutput> {
        let mut checksums = Checksums::of(&request)?;
        let body = request.input.body.take();
        let trailers = request.trailing_headers.take();
        let input = request.input;
        let number = number(input.part_number)?;
        let (bucket, key, id) = (&input.bucket, &input.key, &input.upload_id);
        let bucket_id =
            read(&self.engine, |world| Ok(world.upload(bucket, key, id)?.bucket_id.clone()))?;
        let body = body.unwrap_or_else(|| StreamingBlob::from(s3s::Body::empty()));
        let seen = |piece: &[u8]| checksums.update(piece);
        let stored = self.files.store(&bucket_id, body, PUT_BYTES_MAX, seen).await;
        let stored = stored.map_err(not_stored)?;
        check_md5(input.content_md5.as_deref(), &stored.md5)?;
        let etag = data_encoding::HEXLOWER.encode(&stored.md5);
        let checksums = checksums.finish(trailers.as_ref())?;
        let answer = shown(&checksums);
        let content =
            Content { file: stored.file.clone(), size: stored.size, etag: etag.clone(), checksums };
        let before = change(&self.engine, |world, now| {
            world.put_part(now, (bucket, key, id), number, content)
        })?;
        stored.keep();
        if let Some(before) = before {
            self.files.remove(&bucket_id, &before.content.file);
        }
        Ok(UploadPartOutput {
            e_tag: Some(strong(&etag)),
            checksum_crc32: answer.checksum_crc32,
            checksum_crc32c: answer.checksum_crc32c,
            checksum_crc64nvme: answer.checksum_crc64nvme,
            checksum_sha1: answer.checksum_sha1,
            checksum_sha256: answer.checksum_sha256,
            ..UploadPartOutput::default()
        })
    }

    pub(super) async fn list_parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<ListPartsOutput> {
        let input = request.input;
        let after = input.part_number_marker.and_then(|marker| u32::try_from(marker).ok());
        let most = input.max_parts.and_then(|most| usize::try_from(most).ok());
        let most = most.unwrap_or(PARTS_PAGE_MAX).clamp(1, PARTS_PAGE_MAX);
        let mut page: Vec<(u32, Part)> = read(&self.engine, |world| {
            let upload = world.upload(&input.bucket, &input.key, &input.upload_id)?;
            let parts = upload.parts.range(after.map_or(0, |after| after.saturating_add(1))..);
            Ok(parts.take(most + 1).map(|(number, part)| (*number, part.clone())).collect())
        })?;
        let more = page.len() > most;
        page.truncate(most);
        let last = page.last().and_then(|(number, _)| i32::try_from(*number).ok());
        let parts = page.into_iter().map(|(number, part)| {
            Ok(ShownPart {
                part_number: i32::try_from(number).ok(),
                e_tag: Some(strong(&part.content.etag)),
                size: Some(signed(part.content.size)?),
                last_modified: Some(time(part.updated_at)),
                ..ShownPart::default()
            })
        });
        Ok(ListPartsOutput {
            parts: Some(parts.collect::<S3Result<_>>()?),
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            is_truncated: Some(more),
            max_parts: i32::try_from(most).ok(),
            part_number_marker: input.part_number_marker,
            next_part_number_marker: last.filter(|_| more),
            ..ListPartsOutput::default()
        })
    }

    /// All of them on one page: a bucket has fewer than one may hold.
    pub(super) async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<ListMultipartUploadsOutput> {
        let input = request.input;
        unserved(&[
            ("delimiter", input.delimiter.is_some()),
            ("key-marker", input.key_marker.is_some()),
        ])?;
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let uploads = read(&self.engine, |world| {
            let uploads = world.uploads(&input.bucket)?.into_iter();
            let uploads = uploads.filter(|upload| upload.key.starts_with(prefix));
            let mut shown: Vec<MultipartUpload> = uploads
                .map(|upload| MultipartUpload {
                    key: Some(upload.key.clone()),
                    upload_id: Some(upload.id.clone()),
                    initiated: Some(time(upload.created_at)),
                    ..MultipartUpload::default()
                })
                .collect();
            shown.sort_by(|one, other| one.key.cmp(&other.key));
            Ok(shown)
        })?;
        Ok(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: input.prefix,
            uploads: Some(uploads),
            is_truncated: Some(false),
            ..ListMultipartUploadsOutput::default()
        })
    }

    pub(super) async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let input = request.input;
        let conditions = conditions(input.if_match, input.if_none_match);
        let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let named = parts.into_iter().map(|part| {
            let number = part.part_number.ok_or_else(|| s3_error!(MalformedXML))?;
            let number = u32::try_from(number).map_err(|_| s3_error!(InvalidPart))?;
            Ok((number, part.e_tag.map(s3s::dto::ETag::into_value)))
        });
        let named: Vec<(u32, Option<String>)> = named.collect::<S3Result<_>>()?;
        let (bucket, key, id) = (&input.bucket, &input.key, &input.upload_id);
        let (upload, parts) = read(&self.engine, |world| {
            let upload = world.upload(bucket, key, id)?;
            let chosen = upload.chosen(&named)?;
            let size: u64 = chosen.iter().map(|part| part.content.size).sum();
            if size > OBJECT_BYTES_MAX {
                return Err(StorageRefusal::EntityTooLarge);
            }
            Ok((upload.clone(), chosen))
        })?;
        let files: Vec<String> = parts.iter().map(|part| part.content.file.clone()).collect();
        let stored = self.files.join(&upload.bucket_id, &files).await.map_err(not_stored)?;
        let content = Content {
            file: stored.file.clone(),
            size: stored.size,
            etag: joined_etag(&parts)?,
            ..Content::default()
        };
        let new = NewObject {
            bucket: upload.bucket,
            bucket_id: upload.bucket_id,
            key: upload.key,
            content,
            attributes: upload.attributes,
        };
        let (object, before, gone) =
            change(&self.engine, |world, now| world.complete_upload(now, id, new, &conditions))?;
        stored.keep();
        if let Some(before) = before {
            self.files.remove(&before.bucket_id, &before.content.file);
        }
        for part in gone.parts.values() {
            self.files.remove(&gone.bucket_id, &part.content.file);
        }
        Ok(CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", object.bucket, super::escaped(&object.key))),
            bucket: Some(object.bucket),
            key: Some(object.key),
            e_tag: Some(strong(&object.content.etag)),
            ..CompleteMultipartUploadOutput::default()
        })
    }

    pub(super) async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<AbortMultipartUploadOutput> {
        let input = request.input;
        let gone = change(&self.engine, |world, _| {
            world.abort_upload(&input.bucket, &input.key, &input.upload_id)
        })?;
        for part in gone.parts.values() {
            self.files.remove(&gone.bucket_id, &part.content.file);
        }
        Ok(AbortMultipartUploadOutput::default())
    }
}

fn number(part: i32) -> S3Result<u32> {
    let number = u32::try_from(part).ok().filter(|part| (1..=PART_NUMBER_MAX).contains(part));
    let text = "Part number must be an integer between 1 and 10000, inclusive";
    number.ok_or_else(|| s3_error!(InvalidArgument, "{text}"))
}

/// The MD5 of the parts' MD5s, and how many they are.
fn joined_etag(parts: &[Part]) -> S3Result<String> {
    let mut md5 = Md5::new();
    for part in parts {
        let one = data_encoding::HEXLOWER.decode(part.content.etag.as_bytes());
        md5.update(&one.map_err(|error| s3_error!(error, InternalError))?);
    }
    Ok(format!("{}-{}", data_encoding::HEXLOWER.encode(&md5.finalize()), parts.len()))
}
