//! A client of storage that signs as version 4 says, and can be told to sign wrongly.

#![allow(dead_code, reason = "each test program uses its own part")]

use hmac::{Hmac, KeyInit, Mac};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, Method, Response, StatusCode};
use sha2::{Digest, Sha256};
use vault_emulator::StorageAccess;
use vault_emulator::clock::{Clock, SystemClock};

/// Whose signature it is, and where it goes.
#[derive(Clone)]
pub(crate) struct Signer {
    pub(crate) client: Client,
    pub(crate) endpoint: String,
    pub(crate) key: String,
    pub(crate) secret: String,
}

/// A request that is not signed yet.
pub(crate) struct Draft {
    pub(crate) method: Method,
    /// As it is sent, already escaped.
    pub(crate) path: String,
    /// In the order of the names, already escaped.
    pub(crate) query: String,
    /// In small letters.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) service: &'static str,
    /// How far the date is from now.
    pub(crate) skew: SignedDuration,
}

/// A request that is signed, to be sent or changed before.
pub(crate) struct Signed {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Draft {
    pub(crate) fn s3(method: Method, path: &str, body: &[u8]) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Self {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: vec![("x-amz-content-sha256".to_owned(), hash(body))],
            body: body.to_vec(),
            service: "s3",
            skew: SignedDuration::ZERO,
        }
    }

    pub(crate) fn iam(form: &str) -> Self {
        let kind = ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned());
        let draft = Self::s3(Method::POST, "/", form.as_bytes());
        Self { service: "iam", headers: vec![kind], ..draft }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl Signer {
    pub(crate) fn new(access: &StorageAccess) -> Self {
        Self {
            client: Client::new(),
            endpoint: access.endpoint.clone(),
            key: access.access_key_id.clone(),
            secret: access.secret_access_key.expose().to_owned(),
        }
    }

    pub(crate) fn as_key(&self, key: &str, secret: &str) -> Self {
        Self { key: key.to_owned(), secret: secret.to_owned(), ..self.clone() }
    }

    pub(crate) fn sign(&self, draft: Draft) -> Signed {
        let Draft { method, path, query, mut headers, body, service, skew } = draft;
        let at: Timestamp = SystemClock.now() + skew;
        let date = at.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
        let host = self.endpoint.trim_start_matches("http://").to_owned();
        headers.push(("host".to_owned(), host));
        headers.push(("x-amz-date".to_owned(), date.clone()));
        headers.sort();
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        let told = headers.iter().find(|(name, _)| name == "x-amz-content-sha256");
        let payload = told.map_or_else(|| hash(&body), |(_, value)| value.clone());
        let lines: String =
            headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        // A slash in a key is a slash, however it is sent.
        let canonical_path = path.replace("%2F", "/");
        let canonical = format!("{method}\n{canonical_path}\n{query}\n{lines}\n{names}\n{payload}");
        let scope = format!("{}/auto/{service}/aws4_request", &date[..8]);
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hash(canonical.as_bytes()));
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for part in scope.split('/') {
            key = mac(&key, part.as_bytes());
        }
        let signature = data_encoding::HEXLOWER.encode(&mac(&key, text.as_bytes()));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.key
        );
        headers.push(("authorization".to_owned(), authorization));
        Signed { method, path, query, headers, body }
    }

    pub(crate) async fn send(&self, signed: Signed) -> (StatusCode, String) {
        let answer = self.answer(signed).await.expect("an answer");
        let status = answer.status();
        (status, answer.text().await.expect("a body"))
    }

    pub(crate) async fn answer(&self, signed: Signed) -> reqwest::Result<Response> {
        let Signed { method, path, query, headers, body } = signed;
        let mark = if query.is_empty() { "" } else { "?" };
        let url = format!("{}{path}{mark}{query}", self.endpoint);
        let mut request = self.client.request(method, url).body(body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.send().await
    }

    pub(crate) async fn s3(&self, method: Method, path: &str, body: &[u8]) -> (StatusCode, String) {
        self.send(self.sign(Draft::s3(method, path, body))).await
    }

    pub(crate) async fn iam(&self, form: &str) -> (StatusCode, String) {
        self.send(self.sign(Draft::iam(form))).await
    }

    /// Makes a key with one policy over IAM; a signer with it.
    pub(crate) async fn tenant(&self, name: &str, statement: &str) -> Self {
        let (status, made) = self.iam(&format!("Action=CreateAccessKey&UserName={name}")).await;
        assert_eq!(status, StatusCode::OK, "{made}");
        let key = element(&made, "AccessKeyId");
        let document = format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#);
        let document: String = document.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let form = format!("Action=CreatePolicy&PolicyName={name}&PolicyDocument={document}");
        let (status, policy) = self.iam(&form).await;
        assert_eq!(status, StatusCode::OK, "{policy}");
        let arn = element(&policy, "Arn");
        let form = format!("Action=AttachUserPolicy&UserName={key}&PolicyArn={arn}");
        let (status, attached) = self.iam(&form).await;
        assert_eq!(status, StatusCode::OK, "{attached}");
        self.as_key(&key, &element(&made, "SecretAccessKey"))
    }
}

/// The text of the first element of a name.
pub(crate) fn element(xml: &str, name: &str) -> String {
    let (_, rest) = xml.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("{name}: {xml}"));
    rest.split_once('<').expect("it ends").0.to_owned()
}

pub(crate) fn hash(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}
