//! Buckets, access keys and policies over S3 and IAM, in the controller's words.

use vault_cloud::error::CallError;
use vault_cloud::storage::{
    self, BucketCreation as Made, BucketDeletion as Deleted, BucketLook, StorageClient,
};

use super::FlyPlatform;
use crate::platform::{
    AccessKey, BucketCreation, BucketDeletion, BucketOwner, Emptied, NewAccessKey, ObjectStorage,
};

/// What stands before a policy's name in its ARN.
const BEFORE_NAME: &str = ":policy/";

impl FlyPlatform {
    /// The client; whoever asks for storage has asked whether there is one.
    fn client_of_storage(&self) -> &StorageClient {
        self.storage.as_ref().expect("no call is made to storage without a key to it")
    }
}

impl ObjectStorage for FlyPlatform {
    fn has_storage(&self) -> bool {
        self.storage.is_some()
    }

    async fn buckets(&self) -> Result<Vec<String>, CallError> {
        let list = self.client_of_storage().buckets().await?;
        Ok(list.into_iter().map(|bucket| bucket.name).collect())
    }

    async fn access_keys(&self) -> Result<Vec<AccessKey>, CallError> {
        let list = self.client_of_storage().access_keys().await?;
        Ok(list.into_iter().map(|key| AccessKey { id: key.id, name: key.name }).collect())
    }

    async fn bucket(&self, name: &str) -> Result<BucketOwner, CallError> {
        Ok(match self.client_of_storage().bucket(name).await? {
            BucketLook::Ours => BucketOwner::Ours,
            BucketLook::Absent => BucketOwner::Nobody,
            BucketLook::SomebodyElses => BucketOwner::SomebodyElse,
        })
    }

    async fn create_bucket(&self, name: &str) -> Result<BucketCreation, CallError> {
        Ok(match self.client_of_storage().create_bucket(name).await? {
            Made::Created | Made::AlreadyOurs => BucketCreation::Ours,
            Made::SomebodyElses => BucketCreation::SomebodyElses,
        })
    }

    async fn empty_bucket(&self, name: &str) -> Result<Emptied, CallError> {
        let storage::Emptied { removed, refused, more } =
            self.client_of_storage().empty_bucket(name).await?;
        if refused > 0 {
            tracing::warn!(bucket = name, refused, "storage does not remove some objects");
        }
        Ok(Emptied { deleted: removed as u64, more })
    }

    async fn delete_bucket(&self, name: &str) -> Result<BucketDeletion, CallError> {
        Ok(match self.client_of_storage().delete_bucket(name).await? {
            Deleted::Deleted | Deleted::Absent => BucketDeletion::Gone,
            Deleted::NotEmpty => BucketDeletion::NotEmpty,
        })
    }

    async fn create_access_key(&self, name: &str) -> Result<NewAccessKey, CallError> {
        let made = self.client_of_storage().create_access_key(name).await?;
        Ok(NewAccessKey { id: made.id, secret: made.secret })
    }

    async fn delete_access_key(&self, id: &str) -> Result<(), CallError> {
        self.client_of_storage().delete_access_key(id).await
    }

    async fn policy(&self, name: &str) -> Result<Option<String>, CallError> {
        let found = self.client_of_storage().policy(name).await?;
        Ok(found.map(|policy| policy.document))
    }

    async fn put_policy(&self, name: &str, document: &str, key_id: &str) -> Result<(), CallError> {
        let storage = self.client_of_storage();
        let arn = storage.put_policy(name, document).await?;
        // By now the policy may say something else than before, attached or not.
        storage.attach_policy(key_id, &arn).await.map_err(CallError::after_a_step)
    }

    async fn delete_policy(&self, name: &str) -> Result<(), CallError> {
        self.client_of_storage().delete_policy(name).await
    }

    async fn attached_policies(&self, key_id: &str) -> Result<Option<Vec<String>>, CallError> {
        match self.client_of_storage().attached_policies(key_id).await {
            Err(error) if error.is_not_found() => Ok(None),
            attached => Ok(Some(attached?.iter().map(|arn| name_of(arn).to_owned()).collect())),
        }
    }
}

/// `arn:aws:iam::ORG:policy/NAME`
fn name_of(arn: &str) -> &str {
    arn.split_once(BEFORE_NAME).map_or(arn, |(_, name)| name)
}
