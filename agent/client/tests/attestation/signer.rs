//! Keys that sign evidence, and the tokens that they sign.

use std::sync::LazyLock;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::rand_core::OsRng;
use rsa::traits::PublicKeyParts;
use rsa::{RsaPrivateKey, RsaPublicKey};
use serde_json::{Value, json};
use vault_client::ExpectedIdentity;

/// When all tests take place, in Unix seconds.
pub(crate) const NOW: i64 = 1_800_000_000;

/// The issuer's key, and one that nobody vouches for.
pub(crate) static ISSUERS: LazyLock<Signer> = LazyLock::new(|| Signer::new("key-1"));
pub(crate) static NOBODYS: LazyLock<Signer> = LazyLock::new(|| Signer::new("key-2"));

/// A key pair, made new.
pub(crate) struct Signer {
    id: &'static str,
    public: RsaPublicKey,
    key: EncodingKey,
}

impl Signer {
    fn new(id: &'static str) -> Self {
        let key = RsaPrivateKey::new(&mut OsRng, 2048).expect("a key");
        let public = key.to_public_key();
        let key = EncodingKey::from_rsa_der(key.to_pkcs1_der().expect("encodes").as_bytes());
        Self { id, public, key }
    }

    /// A token as Fly signs it.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_as(self.id, claims)
    }

    /// A token that claims to be signed by the key of this id.
    pub(crate) fn sign_as(&self, id: &str, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(id.to_owned());
        jsonwebtoken::encode(&header, claims, &self.key).expect("signs")
    }

    /// A token whose signature is right, under any header.
    pub(crate) fn sign_with_header(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &self.key, Algorithm::RS256);
        format!("{signed}.{}", signature.expect("signs"))
    }

    /// A token with an HMAC whose secret is the public key, in the form that it has in the set.
    pub(crate) fn confuse(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(self.id.to_owned());
        let modulus = BASE64URL_NOPAD.encode(&self.public.n().to_bytes_be());
        let key = EncodingKey::from_secret(modulus.as_bytes());
        jsonwebtoken::encode(&header, claims, &key).expect("signs")
    }

    /// The public key as a JWK.
    pub(crate) fn jwk(&self) -> Value {
        json!({
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.id,
            "n": BASE64URL_NOPAD.encode(&self.public.n().to_bytes_be()),
            "e": BASE64URL_NOPAD.encode(&self.public.e().to_bytes_be()),
        })
    }
}

/// A token that is not signed at all.
pub(crate) fn unsigned(claims: &Value) -> String {
    format!("{}.{}.", encode(&json!({"alg": "none", "kid": "key-1"})), encode(claims))
}

/// What is expected in all tests.
pub(crate) fn identity(issuer: &str) -> ExpectedIdentity {
    ExpectedIdentity {
        issuer: issuer.to_owned(),
        org_name: "acme-org".to_owned(),
        org_id: Some("29873298".to_owned()),
        app_name: "acme-vault".to_owned(),
        app_id: Some("10481048".to_owned()),
        machine_id: "7811d2b4c90e38".to_owned(),
        machine_versions: vec!["01JVERSION1".to_owned()],
        image_digests: vec!["sha256:1d1d".to_owned()],
    }
}

/// The claims of that machine's token.
pub(crate) fn claims(issuer: &str, audience: &str) -> Value {
    json!({
        "iss": issuer,
        "aud": audience,
        "sub": "acme-org:acme-vault:acme-box-0",
        "iat": NOW - 5, "nbf": NOW - 5, "exp": NOW + 595,
        "jti": "3c3c3c3c",
        "org_name": "acme-org", "org_id": "29873298",
        "app_name": "acme-vault", "app_id": "10481048",
        "machine_name": "acme-box-0",
        "machine_id": "7811d2b4c90e38", "machine_version": "01JVERSION1",
        "image": "registry.fly.io/vault-tenants/agent:1", "image_digest": "sha256:1d1d",
        "region": "ord",
    })
}

fn encode(value: &Value) -> String {
    BASE64URL_NOPAD.encode(value.to_string().as_bytes())
}
