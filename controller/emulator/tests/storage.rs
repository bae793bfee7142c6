//! S3 and IAM over HTTP: what lasts, who may what, and what an attacker tries.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jiff::SignedDuration;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use vault_emulator::faults::Fault;
use vault_emulator::{Emulator, EmulatorConfig};

#[path = "support/platform.rs"]
mod platform;
#[path = "support/signer.rs"]
mod signer;

use self::platform::{Platform, config, platform, start};
use self::signer::{Draft, Signer, element, hash};

fn admin(platform: &Platform) -> Signer {
    of(&platform.emulator, "local")
}

fn of(emulator: &Emulator, org: &str) -> Signer {
    Signer::new(emulator.storage(org).expect("an admin key"))
}

/// The code of an S3 error.
fn code((status, body): &(StatusCode, String)) -> (u16, String) {
    (status.as_u16(), element(body, "Code"))
}

fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

async fn ok(signer: &Signer, method: Method, path: &str, body: &[u8]) -> String {
    let (status, body) = signer.s3(method, path, body).await;
    assert!(status.is_success(), "{path}: {status} {body}");
    body
}

fn files(folder: &Path) -> usize {
    let folders = std::fs::read_dir(folder).expect("a folder");
    let inside = folders.map(|folder| std::fs::read_dir(folder.expect("one").path()).expect("one"));
    inside.map(Iterator::count).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_signatures_open_nothing() {
    let (platform, _directory) = platform().await;
    let admin = admin(&platform);
    ok(&admin, Method::PUT, "/bucket", b"").await;
    ok(&admin, Method::PUT, "/bucket/key", b"value").await;
    let get = || Draft::s3(Method::GET, "/bucket/key", b"");
    let put = || Draft::s3(Method::PUT, "/bucket/key", b"other");

    let liar = admin.as_key(&admin.key, "tsec_wrong");
    assert_eq!(code(&liar.send(liar.sign(get())).await), is(403, "SignatureDoesNotMatch"));
    let nobody = admin.as_key("tid_NOBODY", &admin.secret);
    assert_eq!(code(&nobody.send(nobody.sign(get())).await), is(403, "InvalidAccessKeyId"));

    let mut replayed = admin.sign(get());
    replayed.path = "/bucket/key2".to_owned();
    assert_eq!(code(&admin.send(replayed).await), is(403, "SignatureDoesNotMatch"));
    let mut other_method = admin.sign(get());
    other_method.method = Method::DELETE;
    assert_eq!(code(&admin.send(other_method).await), is(403, "SignatureDoesNotMatch"));
    let mut other_query = admin.sign(get());
    other_query.query = "versionId=1".to_owned();
    assert_eq!(code(&admin.send(other_query).await), is(403, "SignatureDoesNotMatch"));

    let mut changed = admin.sign(put().with("x-amz-meta-owner", "me"));
    changed.headers.iter_mut().filter(|(name, _)| name == "x-amz-meta-owner").for_each(|header| {
        header.1 = "you".to_owned();
    });
    assert_eq!(code(&admin.send(changed).await), is(403, "SignatureDoesNotMatch"));
    let mut unsigned = admin.sign(put());
    unsigned.headers.push(("x-amz-copy-source".to_owned(), "/bucket/key".to_owned()));
    assert_eq!(code(&admin.send(unsigned).await), is(403, "AccessDenied"));
    let mut missing = admin.sign(get().with("x-amz-meta-gone", "1"));
    missing.headers.retain(|(name, _)| name != "x-amz-meta-gone");
    assert_eq!(code(&admin.send(missing).await), is(400, "InvalidArgument"));

    for (minutes, status, wanted) in
        [(-16, 403, "RequestTimeTooSkewed"), (16, 403, "RequestTimeTooSkewed")]
    {
        let old = Draft { skew: SignedDuration::from_mins(minutes), ..get() };
        assert_eq!(code(&admin.send(admin.sign(old)).await), is(status, wanted), "{minutes}");
    }
    let wrong_service = Draft { service: "sts", ..get() };
    let refused = code(&admin.send(admin.sign(wrong_service)).await);
    assert_eq!(refused, is(400, "AuthorizationHeaderMalformed"));
    let mut anonymous = admin.sign(get());
    anonymous.headers.retain(|(name, _)| name != "authorization");
    assert_eq!(code(&admin.send(anonymous).await), is(403, "AccessDenied"));
    let mut old_version = admin.sign(get());
    old_version.headers.retain(|(name, _)| name != "authorization");
    old_version.headers.push(("authorization".to_owned(), format!("AWS {}:sig", admin.key)));
    assert_eq!(code(&admin.send(old_version).await), is(400, "InvalidRequest"));
    let (_, whole) = admin.s3(Method::GET, "/bucket/key", b"").await;
    assert_eq!(whole, "value");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_the_one_that_was_signed() {
    let (platform, directory) = platform().await;
    let admin = admin(&platform);
    ok(&admin, Method::PUT, "/bucket", b"").await;
    let put = || Draft::s3(Method::PUT, "/bucket/key", b"value");
    let mut other = admin.sign(put());
    other.body = b"vague".to_vec();
    assert_eq!(code(&admin.send(other).await), is(400, "XAmzContentSHA256Mismatch"));
    // Saying afterwards that the body was not signed breaks the signature.
    let mut unsigned = admin.sign(put());
    unsigned
        .headers
        .iter_mut()
        .filter(|(name, _)| name == "x-amz-content-sha256")
        .for_each(|header| header.1 = "UNSIGNED-PAYLOAD".to_owned());
    assert_eq!(code(&admin.send(unsigned).await), is(403, "SignatureDoesNotMatch"));
    let silent = Draft { headers: Vec::new(), ..put() };
    assert_eq!(code(&admin.send(admin.sign(silent)).await), is(400, "InvalidRequest"));
    let digest = data_encoding::BASE64.encode(&[7; 16]);
    let wrong = admin.sign(put().with("content-md5", &digest));
    assert_eq!(code(&admin.send(wrong).await), is(400, "BadDigest"));
    let wrong = admin.sign(put().with("x-amz-checksum-crc32", "AAAAAA=="));
    assert_eq!(code(&admin.send(wrong).await), is(400, "BadDigest"));
    assert_eq!(files(&directory.path().join("buckets")), 0, "nothing of that stays");
    let headers = vec![("x-amz-content-sha256".to_owned(), "UNSIGNED-PAYLOAD".to_owned())];
    let open = admin.sign(Draft { headers, ..put() });
    assert_eq!(admin.send(open).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn iam_is_for_admins_and_checks_signatures_too() {
    let (platform, _directory) = platform().await;
    let admin = admin(&platform);
    let list = || Draft::iam("Action=ListAccessKeys&Version=2010-05-08");
    assert_eq!(admin.send(admin.sign(list())).await.0, StatusCode::OK);
    let liar = admin.as_key(&admin.key, "tsec_wrong");
    assert_eq!(code(&liar.send(liar.sign(list())).await), is(403, "SignatureDoesNotMatch"));
    let nobody = admin.as_key("tid_NOBODY", &admin.secret);
    assert_eq!(code(&nobody.send(nobody.sign(list())).await), is(403, "InvalidClientTokenId"));
    let old = Draft { skew: SignedDuration::from_mins(-16), ..list() };
    assert_eq!(code(&admin.send(admin.sign(old)).await), is(403, "SignatureDoesNotMatch"));
    let s3 = Draft { service: "s3", ..list() };
    assert_eq!(code(&admin.send(admin.sign(s3)).await), is(403, "SignatureDoesNotMatch"));
    let mut other = admin.sign(list());
    other.body = b"Action=CreateAccessKey".to_vec();
    assert_eq!(code(&admin.send(other).await), is(403, "SignatureDoesNotMatch"));
    let mut told = admin.sign(list().with("x-amz-content-sha256", &hash(b"Action=ListAccessKeys")));
    told.body = b"Action=CreateAccessKey".to_vec();
    assert_eq!(code(&admin.send(told).await), is(403, "SignatureDoesNotMatch"));
    let mut anonymous = admin.sign(list());
    anonymous.headers.retain(|(name, _)| name != "authorization");
    assert_eq!(code(&admin.send(anonymous).await), is(403, "MissingAuthenticationToken"));
    for (form, status, wanted) in [
        ("Action=CreateUser&UserName=x", 400, "InvalidAction"),
        ("UserName=x", 400, "ValidationError"),
        ("Action=DeleteAccessKey", 400, "ValidationError"),
        ("Action=CreateAccessKey&Tags.member.1.Key=x", 400, "ValidationError"),
        ("Action=ListAccessKeys&Action=CreateAccessKey", 400, "MalformedInput"),
        ("Action=CreatePolicy&PolicyName=p&PolicyDocument=x", 400, "MalformedPolicyDocument"),
        ("Action=GetPolicy&PolicyArn=arn:aws:iam::other:policy/p", 404, "NoSuchEntity"),
        ("Action=ListAccessKeys&MaxItems=0", 400, "ValidationError"),
    ] {
        assert_eq!(code(&admin.iam(form).await), is(status, wanted), "{form}");
    }
    let own = format!("Action=DeleteAccessKey&AccessKeyId={}", admin.key);
    assert_eq!(code(&admin.iam(&own).await), is(403, "AccessDenied"));
    let statement = r#"{"Effect":"Allow","Action":"s3:*","Resource":"*"}"#;
    let tenant = admin.tenant("t", statement).await;
    assert_eq!(code(&tenant.iam("Action=CreateAccessKey").await), is(403, "AccessDenied"));
    // Another organization's admin sees nothing of it.
    let other = of(&platform.emulator, "other");
    let (_, listed) = other.iam("Action=ListAccessKeys").await;
    assert!(!listed.contains(&tenant.key) && listed.contains(&other.key), "{listed}");
    let foreign = format!("Action=DeleteAccessKey&AccessKeyId={}", tenant.key);
    assert_eq!(code(&other.iam(&foreign).await), is(404, "NoSuchEntity"));
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_keep_tenants_apart() {
    let (platform, _directory) = platform().await;
    let admin = admin(&platform);
    for bucket in ["/one", "/two", "/three"] {
        ok(&admin, Method::PUT, bucket, b"").await;
        ok(&admin, Method::PUT, &format!("{bucket}/key"), b"value").await;
    }
    let writes = r#"{"Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::one","arn:aws:s3:::one/*"]}"#;
    let reads = r#"{"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::two","arn:aws:s3:::two/*"]},
        {"Effect":"Deny","Action":"s3:GetObject","Resource":"arn:aws:s3:::two/secret/*"}"#;
    let one = admin.tenant("one", writes).await;
    let two = admin.tenant("two", reads).await;
    let everything = r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#;
    let stranger = of(&platform.emulator, "other").tenant("all", everything).await;
    let denied = StatusCode::FORBIDDEN;
    let (get, put, delete, head) = (Method::GET, Method::PUT, Method::DELETE, Method::HEAD);
    for (who, name, method, path, wanted) in [
        (&one, "one", &get, "/one/key", StatusCode::OK),
        (&one, "one", &put, "/one/new", StatusCode::OK),
        (&one, "one", &get, "/one?list-type=2", StatusCode::OK),
        (&one, "one", &get, "/two/key", denied),
        (&one, "one", &get, "/two?list-type=2", denied),
        (&one, "one", &head, "/two", denied),
        (&one, "one", &get, "/nowhere/key", denied),
        (&one, "one", &put, "/mine", denied),
        (&one, "one", &put, "/one", denied),
        (&two, "two", &get, "/two/key", StatusCode::OK),
        (&two, "two", &get, "/two/secret/key", denied),
        (&two, "two", &put, "/two/key", denied),
        (&two, "two", &delete, "/two/key", denied),
        (&two, "two", &delete, "/two", denied),
        (&two, "two", &get, "/one/key", denied),
        (&stranger, "stranger", &get, "/one/key", denied),
        (&stranger, "stranger", &delete, "/one", denied),
    ] {
        let (status, body) = who.s3(method.clone(), path, b"").await;
        assert_eq!(status, wanted, "{name} {method} {path}: {body}");
    }
    let copy =
        two.sign(Draft::s3(put.clone(), "/two/copy", b"").with("x-amz-copy-source", "/one/key"));
    assert_eq!(two.send(copy).await.0, denied);
    // The source counts as much as the target.
    let copy =
        one.sign(Draft::s3(put.clone(), "/one/copy", b"").with("x-amz-copy-source", "/two/key"));
    assert_eq!(one.send(copy).await.0, denied);
    let copy =
        one.sign(Draft::s3(put.clone(), "/one/copy", b"").with("x-amz-copy-source", "/one/key"));
    assert_eq!(one.send(copy).await.0, StatusCode::OK);
    let (_, listed) = two.s3(get.clone(), "/", b"").await;
    assert!(listed.contains("<Name>two</Name>") && !listed.contains("one"), "{listed}");
    let body = b"<Delete><Object><Key>key</Key></Object></Delete>";
    let (_, gone) = two.s3(Method::POST, "/two?delete=", body).await;
    assert!(gone.contains("AccessDenied") && !gone.contains("<Deleted>"), "{gone}");
    let (_, gone) = two.s3(Method::POST, "/one?delete=", body).await;
    assert!(gone.contains("AccessDenied"), "{gone}");
    ok(&admin, get.clone(), "/one/key", b"").await;
    // Names are global.
    let other = of(&platform.emulator, "other");
    assert_eq!(code(&other.s3(put.clone(), "/one", b"").await), is(409, "BucketAlreadyExists"));
    assert_eq!(code(&admin.s3(put, "/one", b"").await), is(409, "BucketAlreadyOwnedByYou"));
    assert_eq!(code(&other.s3(get, "/one/key", b"").await), is(403, "AccessDenied"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_outlives_the_emulator_and_no_key_leaves_its_folder() {
    let directory = tempfile::tempdir().expect("a folder");
    let platform = start(config(directory.path())).await;
    let admin = admin(&platform);
    ok(&admin, Method::PUT, "/bucket", b"").await;
    let keys = [
        "/bucket/..%2F..%2F..%2Foperator.token",
        "/bucket/%2Fetc%2Fpasswd",
        "/bucket/a%2F%2Fb",
        "/bucket/..%2F",
        "/bucket/a%00b",
    ];
    for (number, key) in keys.iter().enumerate() {
        ok(&admin, Method::PUT, key, number.to_string().as_bytes()).await;
    }
    let token = std::fs::read_to_string(directory.path().join("operator.token")).expect("a token");
    assert!(token.len() > 10, "the token is as it was");
    assert_eq!(files(&directory.path().join("buckets")), keys.len());
    let statement =
        r#"{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}"#;
    let tenant = admin.tenant("vault/u/1", statement).await;
    let begun = ok(&admin, Method::POST, "/bucket/parts?uploads=", b"").await;
    let upload = element(&begun, "UploadId");
    let part = format!("/bucket/parts?partNumber=1&uploadId={upload}");
    ok(&admin, Method::PUT, &part, b"first").await;
    platform.emulator.shutdown().await;
    // What a killed emulator had not finished is swept.
    let folder = std::fs::read_dir(directory.path().join("buckets")).expect("a folder");
    let folder = folder.map(|entry| entry.expect("an entry").path()).next().expect("a bucket");
    std::fs::write(folder.join("0123.part"), "half").expect("written");

    let platform = start(config(directory.path())).await;
    let again = self::admin(&platform);
    assert_eq!((&again.key, &again.endpoint), (&admin.key, &admin.endpoint), "all is where it was");
    assert_eq!(files(&directory.path().join("buckets")), keys.len() + 1);
    for (number, key) in keys.iter().enumerate() {
        assert_eq!(ok(&tenant, Method::GET, key, b"").await, number.to_string());
    }
    assert_eq!(tenant.s3(Method::PUT, "/bucket/x", b"").await.0, StatusCode::FORBIDDEN);
    let complete = format!("/bucket/parts?uploadId={upload}");
    let body = b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>";
    ok(&again, Method::POST, &complete, body).await;
    assert_eq!(ok(&tenant, Method::GET, "/bucket/parts", b"").await, "first");
    assert_eq!(files(&directory.path().join("buckets")), keys.len() + 1, "the part is no more");

    let path = directory.path().join("storage.json");
    let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let written: Value =
        serde_json::from_str(&std::fs::read_to_string(&path).expect("a file")).expect("JSON");
    let wanted = json!({
        "endpoint": again.endpoint, "accessKeyId": again.key, "secretAccessKey": again.secret,
        "region": "auto",
    });
    assert_eq!(written, wanted);
    let shown = format!("{:?}", platform.emulator.storage("local"));
    assert!(!shown.contains(&again.secret), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_hit_operations_by_name() {
    let directory = tempfile::tempdir().expect("a folder");
    let faults = Fault::read_yaml(
        "- { kind: lost-reply, operation: iam.CreateAccessKey, times: 1 }\n\
         - { kind: act-then-fail, operation: s3.CreateBucket, status: 503, times: 1 }\n\
         - { kind: fail, operation: 's3.Put*', status: 403, code: Frozen, times: 1 }\n\
         - { kind: lost-reply, operation: graphql.createLimitedAccessToken, times: 1 }\n\
         - { kind: delivered-twice, operation: iam.CreatePolicy, times: 1 }\n",
    );
    let config = EmulatorConfig { faults: faults.expect("faults"), ..config(directory.path()) };
    let platform = start(config).await;
    let admin = admin(&platform);
    let made = admin.sign(Draft::iam("Action=CreateAccessKey&UserName=lost"));
    assert!(admin.answer(made).await.is_err(), "the answer is lost");
    let (_, listed) = admin.iam("Action=ListAccessKeys&UserName=lost").await;
    assert_eq!(listed.matches("<AccessKeyId>").count(), 1, "{listed}");
    assert!(!listed.contains("tsec_"), "{listed}");
    assert_eq!(code(&admin.s3(Method::PUT, "/bucket", b"").await), is(503, "SlowDown"));
    let own = admin.s3(Method::PUT, "/bucket", b"").await;
    assert_eq!(code(&own), is(409, "BucketAlreadyOwnedByYou"));
    assert_eq!(code(&admin.s3(Method::PUT, "/bucket/k", b"").await), is(403, "Frozen"));
    ok(&admin, Method::PUT, "/bucket/k", b"").await;
    let document = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22s3%3A%2A%22%2C%22Resource%22%3A%22%2A%22%7D%7D";
    let twice = format!("Action=CreatePolicy&PolicyName=p&PolicyDocument={document}");
    assert_eq!(code(&admin.iam(&twice).await), is(409, "EntityAlreadyExists"));

    let mint = json!({
        "query": "mutation($input: CreateLimitedAccessTokenInput!) { createLimitedAccessToken(input: $input) { limitedAccessToken { id } } }",
        "variables": { "input": { "name": "n", "organizationId": "local", "profile": "deploy_organization" } },
    });
    let url = format!("{}/graphql", platform.emulator.url());
    let request = || platform.client.post(&url).header("authorization", &platform.token);
    assert!(request().body(mint.to_string()).send().await.is_err(), "the answer is lost");
    let (_, found) = platform
        .post("/graphql", json!({ "query": "{ organization(slug: \"local\") { limitedAccessTokens { nodes { name } } } }" }))
        .await;
    let nodes = &found["data"]["organization"]["limitedAccessTokens"]["nodes"];
    assert_eq!(*nodes, json!([{ "name": "n" }]), "{found}");

    for (text, wanted) in [
        ("- { kind: fail, operation: iam.CreateAccesKey }", "did you mean `iam.CreateAccessKey`"),
        ("- { kind: empty-list, operation: 's3.*' }", "does not happen to calls of S3"),
        ("- { kind: fail, operation: 's3.*', app: acme }", "`app` says nothing"),
    ] {
        let problem = Fault::read_yaml(text).expect_err("refused").to_string();
        assert!(problem.contains(wanted), "{problem}");
    }
}
