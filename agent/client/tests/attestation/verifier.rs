//! The verifier as a table: every claim, every way to be wrong.

use serde_json::{Value, json};
use vault_client::evidence::{TOKEN_BYTES_MAX, verify};
use vault_client::issuer::SigningKeys;
use vault_client::{EvidenceError as E, ExpectedIdentity};

use crate::signer::{ISSUERS, NOW, claims, identity};

const ISSUER: &str = "https://oidc.fly.io/acme-org";

fn keys() -> SigningKeys {
    SigningKeys::read(&json!({"keys": [ISSUERS.jwk()]})).expect("keys")
}

fn check(token: &str) -> Result<(), E> {
    verify(token, &keys(), &identity(ISSUER), "vaultctl:here", NOW)
}

/// What becomes of a token with these claims changed; `null` takes one away.
fn changed(changes: &Value) -> Result<(), E> {
    let mut claims = claims(ISSUER, "vaultctl:here");
    for (name, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => drop(claims.as_object_mut().expect("an object").remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    check(&ISSUERS.sign(&claims))
}

#[test]
fn tokens_as_they_should_be_are_believed() {
    for changes in [
        json!({}),
        json!({"aud": ["vaultctl:here"]}),
        json!({"more": {"than": ["is", "known"]}}),
        json!({"image": null, "region": null, "sub": null, "jti": null}),
        // The skew, to the second.
        json!({"iat": NOW - 600, "nbf": NOW - 600, "exp": NOW - 59}),
        json!({"nbf": NOW + 60}),
        json!({"iat": NOW + 60}),
        json!({"iat": NOW, "exp": NOW + 3600}),
    ] {
        if let Err(error) = changed(&changes) {
            panic!("{changes}: {error}");
        }
    }
}

#[test]
fn each_claim_that_is_wrong_is_named_with_what_was_expected() {
    for (changes, named) in [
        (json!({"iss": "https://oidc.fly.io/other-org"}), "other-org"),
        (json!({"iss": format!("{ISSUER}/")}), "another issuer"),
        (json!({"aud": "vaultctl:there"}), "vaultctl:there"),
        (json!({"aud": ["vaultctl:here", "vaultctl:there"]}), "not for this connection"),
        (json!({"aud": []}), "not for this connection"),
        (json!({"aud": ""}), "not for this connection"),
        (json!({"exp": NOW - 60}), "expired"),
        (json!({"nbf": NOW + 61}), "valid from"),
        (json!({"iat": NOW + 61}), "was issued at"),
        (json!({"iat": NOW, "exp": NOW + 3601}), "lives 3601 s"),
        (json!({"iat": NOW + 10, "exp": NOW + 9}), "lives -1 s"),
        (json!({"exp": i64::MAX}), "lives"),
        (json!({"exp": i64::MIN}), "expired"),
        (json!({"iat": i64::MIN}), "lives"),
        (json!({"nbf": i64::MAX}), "valid from"),
        (json!({"org_name": "other-org"}), "another organization: expected \"acme-org\""),
        (json!({"org_name": null}), "found \"\""),
        (json!({"org_id": "1"}), "an organization with another id: expected \"29873298\""),
        (json!({"org_id": null}), "found \"\""),
        (json!({"app_name": "other"}), "another app: expected \"acme-vault\", found \"other\""),
        (json!({"app_name": null}), "another app"),
        (json!({"app_id": "1"}), "an app with another id"),
        (json!({"app_id": null}), "an app with another id"),
        (json!({"machine_id": "7811d2b4c90e39"}), "another machine"),
        (json!({"machine_id": "7811D2B4C90E38"}), "another machine"),
        (json!({"machine_id": null}), "another machine"),
        (json!({"machine_version": "01J"}), "another version of the machine"),
        (json!({"machine_version": null}), "another version of the machine"),
        (json!({"image_digest": "sha256:2e2e"}), "another image"),
        (json!({"image_digest": null}), "another image"),
        (json!({"exp": null}), "claims cannot be read"),
        (json!({"nbf": null}), "claims cannot be read"),
        (json!({"iat": null}), "claims cannot be read"),
        (json!({"iss": null}), "claims cannot be read"),
        (json!({"aud": null}), "claims cannot be read"),
        (json!({"exp": "1800000595"}), "claims cannot be read"),
        (json!({"exp": 1e300}), "claims cannot be read"),
        (json!({"machine_id": 7}), "claims cannot be read"),
    ] {
        let error = changed(&changes).expect_err("is refused");
        assert!(error.to_string().contains(named), "{changes}: {error}");
        let of_version = matches!(error, E::MachineVersion(_));
        assert_eq!(error.is_retryable(), of_version, "{changes}: {error}");
    }
}

#[test]
fn one_of_several_versions_and_images_is_enough_and_none_at_all_is_not() {
    let verify = |versions: &[&str], digests: &[&str]| {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let (machine_versions, image_digests) = (owned(versions), owned(digests));
        let expected = ExpectedIdentity { machine_versions, image_digests, ..identity(ISSUER) };
        let token = ISSUERS.sign(&claims(ISSUER, "vaultctl:here"));
        verify(&token, &keys(), &expected, "vaultctl:here", NOW)
    };
    verify(&["01JVERSION0", "01JVERSION1"], &[]).expect("is believed");
    verify(&[], &["sha256:0c0c", "sha256:1d1d"]).expect("is believed");
    let error = verify(&["01JVERSION0", "01JVERSION2"], &["sha256:1d1d"]).expect_err("another");
    assert!(error.to_string().contains("\"01JVERSION0 or 01JVERSION2\""), "{error}");
    let error = verify(&["01JVERSION1"], &["sha256:0c0c"]).expect_err("another");
    assert!(matches!(error, E::Image(_)), "{error}");
    let error = verify(&[], &[]).expect_err("whatever runs there");
    assert!(matches!(error, E::Unpinned) && !error.is_retryable(), "{error}");
}

#[test]
fn what_is_not_expected_is_not_asked_for() {
    let mut expected = identity(ISSUER);
    (expected.org_id, expected.app_id) = (None, None);
    expected.image_digests.clear();
    let mut claims = claims(ISSUER, "vaultctl:here");
    for name in ["org_id", "app_id", "image_digest"] {
        claims.as_object_mut().expect("an object").remove(name);
    }
    let token = ISSUERS.sign(&claims);
    verify(&token, &keys(), &expected, "vaultctl:here", NOW).expect("is believed");
}

#[test]
fn the_header_chooses_neither_algorithm_nor_key() {
    let claims = claims(ISSUER, "vaultctl:here");
    for algorithm in ["none", "None", "HS256", "RS384", "PS256", "ES256", "rs256", ""] {
        let header = json!({"alg": algorithm, "kid": "key-1"});
        let error = check(&ISSUERS.sign_with_header(&header, &claims)).expect_err("is refused");
        assert!(matches!(&error, E::Algorithm { found } if found == algorithm), "{error}");
    }
    let with = |header: Value| check(&ISSUERS.sign_with_header(&header, &claims));
    with(json!({"alg": "RS256", "kid": "key-1"})).expect("is believed");
    let error = with(json!({"alg": "RS256"})).expect_err("is refused");
    assert!(matches!(error, E::NoKeyId), "{error}");
    let error = with(json!({"alg": "RS256", "kid": "key-9"})).expect_err("is refused");
    assert!(matches!(&error, E::UnknownKey { key_id, .. } if key_id == "key-9"), "{error}");
    // A key that the token brings along is not looked at.
    let own = json!({"alg": "RS256", "kid": "key-9", "jwk": ISSUERS.jwk()});
    assert!(matches!(with(own), Err(E::UnknownKey { .. })));
    let critical = json!({"alg": "RS256", "kid": "key-1", "crit": ["b64"], "b64": false});
    assert!(matches!(with(critical), Err(E::CriticalExtension)));
}

#[test]
fn what_is_no_token_is_refused_and_not_shown() {
    let token = ISSUERS.sign(&claims(ISSUER, "vaultctl:here"));
    check(&token).expect("is believed");
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let other = ISSUERS.sign(&claims(ISSUER, "vaultctl:there"));
    let (_, other_signature) = other.rsplit_once('.').expect("three parts");
    for bad in ["", ".", "..", "...", "a.b.c", signed, &token[1..]] {
        assert!(matches!(check(bad), Err(E::NotAToken)), "{bad}");
    }
    for bad in [
        format!("{signed}."),
        format!("{token}.x"),
        format!("{signed}.{other_signature}"),
        format!("{signed}.{}", &signature[1..]),
        format!("{signed}.!{}", &signature[1..]),
    ] {
        assert!(matches!(check(&bad), Err(E::Signature)), "{bad}");
    }
    let long = "a".repeat(TOKEN_BYTES_MAX + 1);
    assert!(matches!(check(&long), Err(E::TooLong(_))));
    // Steering characters and endless names do not reach a terminal.
    let name = format!("\u{1b}[2J{}", "x".repeat(1000));
    let shown = changed(&json!({"machine_id": name})).expect_err("is refused").to_string();
    assert!(!shown.contains('\u{1b}') && shown.len() < 600, "{shown}");
}
