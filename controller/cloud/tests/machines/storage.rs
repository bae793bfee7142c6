//! Storage on the wire: what goes over it, and what an answer that is none comes to.

use vault_cloud::storage::{BucketDeletion, StorageAccess, StorageClient, StorageConfig};

use super::*;
use crate::platform::WrittenDown;

const SECRET: &str = "tsec_never_told";

fn storage(platform: &Platform) -> StorageClient {
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut config = StorageConfig::new(StorageAccess {
        s3: platform.url(),
        iam: platform.url(),
        region: "auto".to_owned(),
        access_key_id: "tid_admin".to_owned(),
        secret_access_key: SECRET.into(),
    });
    config.sleep = Arc::new(WrittenDown::default());
    config.clock = Arc::new(|| "2026-01-02T03:04:05Z".parse().unwrap());
    StorageClient::new(config).unwrap()
}

#[tokio::test]
async fn requests_are_signed_and_say_nothing_of_the_secret() {
    let platform = Platform::start().await;
    platform.answers([
        Answer::text(200, "<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>"),
        Answer::text(200, "<DeleteAccessKeyResponse/>"),
    ]);
    let client = storage(&platform);
    assert!(client.buckets().await.unwrap().is_empty());
    client.delete_access_key("tid_1").await.unwrap();
    let form = "Action=DeleteAccessKey&Version=2010-05-08&AccessKeyId=tid_1";
    assert_eq!(
        platform.requests(),
        ["GET /?max-buckets=1000 ".to_owned(), format!("POST / {form}")]
    );
    for (index, service) in ["s3", "iam"].into_iter().enumerate() {
        let headers = platform.headers(index);
        let signed = headers["authorization"].to_str().unwrap();
        let scope = format!("Credential=tid_admin/20260102/auto/{service}/aws4_request");
        assert!(signed.starts_with("AWS4-HMAC-SHA256 ") && signed.contains(&scope), "{signed}");
        assert_eq!(headers["x-amz-date"], "20260102T030405Z");
        assert!(!format!("{headers:?}").contains(SECRET));
    }
    assert!(!format!("{client:?}").contains(SECRET));
}

#[tokio::test]
async fn what_is_no_list_is_no_empty_list() {
    let platform = Platform::start().await;
    let client = storage(&platform);
    for page in [
        "",
        "<html><body/></html>",
        "<Error><Code>InternalError</Code></Error>",
        "<ListAllMyBucketsResult/>",
        "<ListAllMyBucketsResult><Buckets><Bucket><Name>a</Name></Bucket>",
        "<ListAllMyBucketsResult><Buckets><Bucket/></Buckets></ListAllMyBucketsResult>",
    ] {
        platform.answers([Answer::text(200, page)]);
        let error = client.buckets().await.unwrap_err();
        assert!(matches!(error, CallError::Unknown(_)), "{page}: {error}");
    }
    // Pages that come back do not go on for ever, and half a list is none.
    let page = "<ListAllMyBucketsResult><Buckets/><ContinuationToken>t</ContinuationToken>\
                </ListAllMyBucketsResult>";
    platform.answers([Answer::text(200, page), Answer::text(200, page)]);
    assert!(client.buckets().await.is_err());
    let keys = "<ListAccessKeysResponse><ListAccessKeysResult><AccessKeyMetadata/>\
                <IsTruncated>true</IsTruncated></ListAccessKeysResult></ListAccessKeysResponse>";
    platform.answers([Answer::text(200, keys)]);
    assert!(client.access_keys().await.is_err());
}

#[tokio::test]
async fn a_key_is_made_once_and_its_secret_is_in_no_error() {
    let platform = Platform::start().await;
    let client = storage(&platform);
    platform.answers([Answer::text(503, "<Error><Code>SlowDown</Code></Error>")]);
    let error = client.create_access_key("vault/u/1").await.unwrap_err();
    assert!(matches!(error, CallError::Unknown(_)), "{error}");
    assert_eq!(platform.requests().len(), 1, "a second one would be made too");
    let answer = |secret: &str| {
        format!(
            "<CreateAccessKeyResponse><CreateAccessKeyResult><AccessKey><AccessKeyId>tid_1\
             </AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey></AccessKey>\
             </CreateAccessKeyResult></CreateAccessKeyResponse>"
        )
    };
    platform.answers([
        Answer::text(200, &answer("tsec_shown with a blank")),
        Answer::text(200, &answer("tsec_shown").replace("tid_1", "")),
        Answer::text(200, &answer("tsec_shown")[..150]),
    ]);
    for _ in 0..3 {
        let error = client.create_access_key("vault/u/1").await.unwrap_err();
        assert!(matches!(error, CallError::Unknown(_)), "{error}");
        assert!(!format!("{error:?} {error}").contains("tsec_shown"), "{error:?}");
    }
    // Looks are repeated.
    platform.answers([
        Answer::text(503, ""),
        Answer::text(404, "<Error><Code>NoSuchBucket</Code></Error>"),
        Answer::text(404, "<html>no such page</html>"),
    ]);
    assert!(client.bucket("b").await.is_ok());
    let gone = client.delete_bucket("b").await;
    assert!(gone.is_err(), "a page of something else is no word about a bucket: {gone:?}");
    platform.answers([Answer::text(404, "<Error><Code>NoSuchBucket</Code></Error>")]);
    assert_eq!(client.delete_bucket("b").await.unwrap(), BucketDeletion::Absent);
}
