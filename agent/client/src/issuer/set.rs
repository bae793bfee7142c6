//! A JWK set (RFC 7517 §5), as far as evidence needs it: RSA keys that sign by RS256.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

/// The shortest modulus that is believed, in bytes (RFC 7518 §3.3: 2,048 bits).
const MODULUS_BYTES_MIN: usize = 256;

/// The longest, 4,096 bits: verifying gets dearer with the length, and the library takes no more.
const MODULUS_BYTES_MAX: usize = 512;

/// Why a document is no set of keys.
#[derive(Debug, Error)]
pub enum KeySetError {
    /// Not of the form of RFC 7517.
    #[error("not a JWK set")]
    Form(#[source] serde_json::Error),
    /// Not one of its keys is of use.
    #[error("none of its {0} keys is an RSA key with an id, of 2048 to 4096 bits, for RS256")]
    NoUsableKey(usize),
}

/// The public keys of one issuer.
#[derive(Clone)]
pub struct SigningKeys {
    keys: Vec<(String, DecodingKey)>,
    document: Value,
}

impl SigningKeys {
    /// Reads a JWK set. Keys of other kinds and for other uses are passed over, as RFC 7517 §5
    /// wants it.
    ///
    /// # Errors
    /// It is no such set, or not one of its keys is of use.
    pub fn read(document: &Value) -> Result<Self, KeySetError> {
        let set = KeySet::deserialize(document).map_err(KeySetError::Form)?;
        let keys: Vec<_> = set.keys.iter().filter_map(usable).collect();
        if keys.is_empty() {
            return Err(KeySetError::NoUsableKey(set.keys.len()));
        }
        Ok(Self { keys, document: document.clone() })
    }

    /// The document as it was read.
    #[must_use]
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// The key of this id.
    pub(crate) fn find(&self, key_id: &str) -> Option<&DecodingKey> {
        self.keys.iter().find(|(id, _)| id == key_id).map(|(_, key)| key)
    }
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct RsaKey {
    kty: String,
    kid: String,
    n: String,
    e: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
}

fn usable(key: &Value) -> Option<(String, DecodingKey)> {
    let key = RsaKey::deserialize(key).ok()?;
    let signs = key.purpose.is_none_or(|purpose| purpose == "sig")
        && key.alg.is_none_or(|algorithm| algorithm == "RS256");
    if key.kty != "RSA" || !signs {
        return None;
    }
    let modulus = BASE64URL_NOPAD.decode(key.n.as_bytes()).ok()?;
    let exponent = BASE64URL_NOPAD.decode(key.e.as_bytes()).ok()?;
    let length = modulus.iter().skip_while(|byte| **byte == 0).count();
    if !(MODULUS_BYTES_MIN..=MODULUS_BYTES_MAX).contains(&length) {
        return None;
    }
    Some((key.kid, DecodingKey::from_rsa_raw_components(&modulus, &exponent)))
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.keys.iter().map(|(id, _)| id).collect();
        formatter.debug_struct("SigningKeys").field("ids", &ids).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(changes: &Value) -> Value {
        let modulus = BASE64URL_NOPAD.encode(&[0xc5; MODULUS_BYTES_MIN]);
        let mut key = json!({"kty": "RSA", "kid": "one", "n": modulus, "e": "AQAB"});
        for (name, value) in changes.as_object().expect("an object") {
            key[name] = value.clone();
        }
        key
    }

    #[test]
    fn usable_keys_are_found_among_others() {
        let document = json!({"keys": [
            {"kty": "EC", "kid": "two", "crv": "P-256", "x": "AA", "y": "AA"},
            key(&json!({})),
            "what is this",
        ], "more": 1});
        let keys = SigningKeys::read(&document).expect("one usable key");
        assert!(keys.find("one").is_some());
        assert!(keys.find("two").is_none());
        assert_eq!(keys.document(), &document);
    }

    #[test]
    fn keys_for_other_things_and_weak_keys_are_none() {
        let long = BASE64URL_NOPAD.encode(&[0xc5; MODULUS_BYTES_MAX + 1]);
        let mut padded = vec![0; MODULUS_BYTES_MIN];
        padded.extend([0xc5; 128]);
        for changes in [
            json!({"use": "enc"}),
            json!({"alg": "RS512"}),
            json!({"alg": "HS256"}),
            json!({"kty": "oct"}),
            json!({"kid": null}),
            json!({"n": "AQAB"}),
            json!({"n": BASE64URL_NOPAD.encode(&padded)}),
            json!({"n": long}),
            json!({"e": "not base64url"}),
        ] {
            let read = SigningKeys::read(&json!({"keys": [key(&changes)]}));
            assert!(matches!(read, Err(KeySetError::NoUsableKey(1))), "{changes}");
        }
        for document in [json!(null), json!([]), json!({}), json!({"keys": 1})] {
            assert!(matches!(SigningKeys::read(&document), Err(KeySetError::Form(_))));
        }
    }
}
