//! Buckets, access keys and policies: one account, which all controllers share.

use secrecy::SecretString;
use vault_cloud::error::CallError;
use vault_controller::platform::{
    AccessKey, BucketCreation, BucketDeletion, BucketOwner, Emptied, NewAccessKey, ObjectStorage,
};
use vault_emulator::world::storage::{
    Attributes, Conditions, Content, NewAccessKey as PlatformKey, NewObject, StorageRefusal,
};
use vault_emulator::world::{Refusal, SecretValue};

use super::{Call, SimPlatform};
use crate::fate::{Fate, no_entity};
use crate::universe::Universe;
use crate::verb::Verb;
use crate::workload::ORGANIZATIONS;

/// The organization whose account it is.
pub(crate) const ACCOUNT: &str = ORGANIZATIONS[0];
/// How many objects one call deletes.
const STEP: usize = 2;
/// How many objects a new bucket comes to hold: more than one call deletes.
const OBJECTS: usize = 3;

impl SimPlatform {
    async fn storage<T: Send + 'static>(
        &self,
        verb: Verb,
        subject: &str,
        act: impl FnMut(&mut Universe, &Call) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, CallError> {
        self.call(verb, ["", "", subject], act).await
    }
}

impl ObjectStorage for SimPlatform {
    fn has_storage(&self) -> bool {
        true
    }

    async fn buckets(&self) -> Result<Vec<String>, CallError> {
        self.storage(Verb::Buckets, "", |universe, call| {
            let listed = universe.world.buckets(ACCOUNT, None);
            let is_empty = call.fate == Fate::Empty;
            Ok(listed.filter(|_| !is_empty).map(|bucket| bucket.name.clone()).collect())
        })
        .await
    }

    async fn access_keys(&self) -> Result<Vec<AccessKey>, CallError> {
        self.storage(Verb::AccessKeys, "", |universe, call| {
            let listed = universe.world.access_keys(ACCOUNT, None, None);
            let is_empty = call.fate == Fate::Empty;
            let shown = |key: &vault_emulator::world::storage::AccessKey| AccessKey {
                id: key.id.clone(),
                name: key.name.clone().unwrap_or_else(|| key.id.clone()),
            };
            Ok(listed.filter(|_| !is_empty).map(shown).collect())
        })
        .await
    }

    async fn bucket(&self, name: &str) -> Result<BucketOwner, CallError> {
        self.storage(Verb::Bucket, name, |universe, call| {
            Ok(match universe.world.bucket(&call.subject) {
                Ok(bucket) if bucket.org == ACCOUNT => BucketOwner::Ours,
                Ok(_) => BucketOwner::SomebodyElse,
                Err(_) => BucketOwner::Nobody,
            })
        })
        .await
    }

    async fn create_bucket(&self, name: &str) -> Result<BucketCreation, CallError> {
        self.storage(Verb::CreateBucket, name, create_bucket).await
    }

    async fn empty_bucket(&self, name: &str) -> Result<Emptied, CallError> {
        self.storage(Verb::EmptyBucket, name, empty_bucket).await
    }

    async fn delete_bucket(&self, name: &str) -> Result<BucketDeletion, CallError> {
        self.storage(Verb::DeleteBucket, name, delete_bucket).await
    }

    async fn create_access_key(&self, name: &str) -> Result<NewAccessKey, CallError> {
        self.storage(Verb::CreateAccessKey, name, create_key).await
    }

    async fn delete_access_key(&self, id: &str) -> Result<(), CallError> {
        self.storage(Verb::DeleteAccessKey, id, |universe, call| {
            let now = universe.timestamp();
            if universe.world.access_key(&call.subject).is_some() {
                let now_ms = universe.now_ms();
                universe.oracles.touches_subject(now_ms, call);
            }
            // One that is gone is as good as deleted.
            drop(universe.world.delete_access_key(now, ACCOUNT, &call.subject));
            Ok(())
        })
        .await
    }

    async fn policy(&self, name: &str) -> Result<Option<String>, CallError> {
        self.storage(Verb::Policy, name, |universe, call| {
            let policy = universe.world.policy(ACCOUNT, &arn(&call.subject));
            Ok(policy.ok().map(|policy| policy.text.clone()))
        })
        .await
    }

    /// As the client of the real platform does: the policy, and then its attachment.
    async fn put_policy(&self, name: &str, document: &str, key: &str) -> Result<(), CallError> {
        let document = document.to_owned();
        let put = move |universe: &mut Universe, call: &Call| {
            put_policy(universe, call, &document);
            Ok(())
        };
        self.storage(Verb::PutPolicy, name, put).await?;
        let key = key.to_owned();
        let attach = move |universe: &mut Universe, call: &Call| {
            let now = universe.timestamp();
            let attached = universe.world.attach_policy(now, ACCOUNT, &arn(&call.subject), &key);
            Ok(attached.is_ok())
        };
        let attached = self.storage(Verb::AttachPolicy, name, attach).await;
        match attached.map_err(CallError::after_a_step)? {
            true => Ok(()),
            false => Err(no_entity(Verb::AttachPolicy).after_a_step()),
        }
    }

    async fn delete_policy(&self, name: &str) -> Result<(), CallError> {
        self.storage(Verb::DeletePolicy, name, |universe, call| {
            remove_policy(universe, &arn(&call.subject));
            Ok(())
        })
        .await
    }

    async fn attached_policies(&self, key: &str) -> Result<Option<Vec<String>>, CallError> {
        self.storage(Verb::AttachedPolicies, key, |universe, call| {
            if universe.world.access_key(&call.subject).is_none() {
                return Ok(None);
            }
            let attached = universe.world.attached_policies(ACCOUNT, &call.subject);
            let before = arn("");
            let name = |arn: &String| arn.strip_prefix(&before).unwrap_or(arn).to_owned();
            Ok(Some(attached.iter().map(name).collect()))
        })
        .await
    }
}

fn arn(policy: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:policy/{policy}")
}

/// Somebody's programs write into it at once.
fn create_bucket(universe: &mut Universe, call: &Call) -> Result<BucketCreation, Refusal> {
    let now = universe.timestamp();
    let name = call.subject.as_str();
    let made = match universe.world.create_bucket(now, ACCOUNT, name) {
        Ok(made) => made,
        Err(StorageRefusal::BucketAlreadyOwnedByYou) => return Ok(BucketCreation::Ours),
        Err(_) => return Ok(BucketCreation::SomebodyElses),
    };
    universe.oracles.made_bucket(call);
    for number in 0..OBJECTS {
        let key = format!("object-{number}");
        let object = NewObject {
            bucket: name.to_owned(),
            bucket_id: made.id.clone(),
            content: Content { file: key.clone(), ..Content::default() },
            key,
            attributes: Attributes::default(),
        };
        let put = universe.world.put_object(now, object, &Conditions::default());
        put.expect("a new bucket takes objects");
    }
    Ok(BucketCreation::Ours)
}

fn empty_bucket(universe: &mut Universe, call: &Call) -> Result<Emptied, Refusal> {
    let now_ms = universe.now_ms();
    universe.oracles.touches_subject(now_ms, call);
    let keys: Vec<String> = (0..OBJECTS).map(|number| format!("object-{number}")).collect();
    let is_there =
        |universe: &Universe, key: &String| universe.world.object(&call.subject, key).is_ok();
    let there: Vec<&String> = keys.iter().filter(|key| is_there(universe, key)).collect();
    for key in there.iter().take(STEP) {
        drop(universe.world.delete_object(&call.subject, key, &Conditions::default()));
    }
    let deleted = there.len().min(STEP);
    Ok(Emptied { deleted: deleted as u64, more: there.len() > deleted })
}

fn delete_bucket(universe: &mut Universe, call: &Call) -> Result<BucketDeletion, Refusal> {
    let now_ms = universe.now_ms();
    if universe.world.bucket(&call.subject).is_ok() {
        universe.oracles.touches_subject(now_ms, call);
    }
    Ok(match universe.world.delete_bucket(&call.subject) {
        Err(StorageRefusal::BucketNotEmpty) => BucketDeletion::NotEmpty,
        Ok(_) | Err(_) => BucketDeletion::Gone,
    })
}

fn create_key(universe: &mut Universe, call: &Call) -> Result<NewAccessKey, Refusal> {
    let now = universe.timestamp();
    // What opens nothing here need not be hard to guess, only be another each time.
    let drawn = format!("{:032x}", universe.chance.u128(..));
    let (id, secret) = (format!("tid_{drawn}"), format!("tsec_{drawn}"));
    let key = PlatformKey {
        id: id.clone(),
        name: Some(call.subject.clone()),
        org: ACCOUNT.to_owned(),
        secret: SecretValue::new(secret.clone()),
        admin: false,
    };
    universe.world.add_access_key(now, key).expect("keys of these names are taken");
    universe.oracles.made_access_key(universe.now_ms(), call, &id);
    Ok(NewAccessKey { id, secret: SecretString::from(secret) })
}

/// It is made, or says this from now on and is attached to nothing.
fn put_policy(universe: &mut Universe, call: &Call, document: &str) {
    let now = universe.timestamp();
    let before = universe.world.policy(ACCOUNT, &arn(&call.subject));
    if before.is_ok_and(|policy| policy.text == document) {
        return;
    }
    remove_policy(universe, &arn(&call.subject));
    let made = universe.world.create_policy(now, ACCOUNT, &call.subject, document);
    made.expect("a document of ours is understood");
}

fn remove_policy(universe: &mut Universe, arn: &str) {
    let now = universe.timestamp();
    let policy = universe.world.policy(ACCOUNT, arn);
    let attached = policy.map(|policy| policy.attached.clone()).unwrap_or_default();
    for key in attached {
        drop(universe.world.detach_policy(now, ACCOUNT, arn, &key));
    }
    drop(universe.world.delete_policy(ACCOUNT, arn));
}
