//! Buckets as a whole.

use s3s::dto::{
    Bucket, BucketLocationConstraint, CreateBucketInput, CreateBucketOutput, DeleteBucketInput,
    DeleteBucketOutput, GetBucketLocationInput, GetBucketLocationOutput, HeadBucketInput,
    HeadBucketOutput, ListBucketsInput, ListBucketsOutput, Owner,
};
use s3s::{S3Request, S3Result, s3_error};

use super::{Buckets, time, unserved};
use crate::storage::REGION;
use crate::storage::access::{change, may, read};

/// Buckets on one page: S3's bound.
const PAGE_MAX: usize = 10_000;

impl Buckets {
    /// Those that the caller may list the objects of.
    pub(super) async fn list_buckets(
        &self,
        request: S3Request<ListBucketsInput>,
    ) -> S3Result<ListBucketsOutput> {
        let input = request.input;
        let key = may(&self.engine, request.credentials.as_ref(), None, None, None)?;
        let most = input.max_buckets.and_then(|most| usize::try_from(most).ok());
        let most = most.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
        let (after, prefix) = (input.continuation_token.as_deref(), input.prefix.as_deref());
        let mut found: Vec<Bucket> = read(&self.engine, |world| {
            let own = world.buckets(&key.org, after);
            let shown = own.filter(|bucket| {
                prefix.is_none_or(|prefix| bucket.name.starts_with(prefix))
                    && world.may(&key, "s3:ListBucket", &bucket.name, None)
            });
            let shown = shown.map(|bucket| Bucket {
                bucket_region: Some(REGION.to_owned()),
                creation_date: Some(time(bucket.created_at)),
                name: Some(bucket.name.clone()),
            });
            Ok(shown.take(most + 1).collect())
        })?;
        let more = found.len() > most;
        found.truncate(most);
        let last = found.last().and_then(|bucket| bucket.name.clone());
        Ok(ListBucketsOutput {
            buckets: Some(found),
            continuation_token: last.filter(|_| more),
            owner: Some(Owner { id: Some(key.org.clone()), display_name: Some(key.org) }),
            prefix: input.prefix,
        })
    }

    pub(super) async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<CreateBucketOutput> {
        let input = request.input;
        let private = input.acl.as_ref().is_none_or(|acl| acl.as_str() == "private");
        unserved(&[
            ("x-amz-acl", !private),
            (
                "x-amz-bucket-object-lock-enabled",
                input.object_lock_enabled_for_bucket == Some(true),
            ),
        ])?;
        let name = input.bucket;
        let key = may(
            &self.engine,
            request.credentials.as_ref(),
            Some("s3:CreateBucket"),
            Some(&name),
            None,
        )?;
        let made = change(&self.engine, |world, now| world.create_bucket(now, &key.org, &name))?;
        Ok(CreateBucketOutput { location: Some(format!("/{}", made.name)) })
    }

    pub(super) async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<HeadBucketOutput> {
        read(&self.engine, |world| world.bucket(&request.input.bucket).map(|_| ()))?;
        Ok(HeadBucketOutput { bucket_region: Some(REGION.to_owned()), ..Default::default() })
    }

    pub(super) async fn delete_bucket(
        &self,
        request: S3Request<DeleteBucketInput>,
    ) -> S3Result<DeleteBucketOutput> {
        let name = &request.input.bucket;
        let gone = change(&self.engine, |world, _| world.delete_bucket(name))?;
        let files = self.files.clone();
        let removed = tokio::task::spawn_blocking(move || files.remove_bucket(&gone.id)).await;
        removed.map_err(|error| s3_error!(error, InternalError))?;
        Ok(DeleteBucketOutput::default())
    }

    pub(super) async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<GetBucketLocationOutput> {
        read(&self.engine, |world| world.bucket(&request.input.bucket).map(|_| ()))?;
        let region = BucketLocationConstraint::from(REGION.to_owned());
        Ok(GetBucketLocationOutput { location_constraint: Some(region) })
    }
}
