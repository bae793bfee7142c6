//! What a token says; pure.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use ulid::Ulid;

use crate::world::Identity;

/// The largest audience, in bytes: a URL, or a digest in hexadecimal digits.
pub(crate) const AUDIENCE_BYTES_MAX: usize = 512;

/// How long a token holds, in seconds, as the platform's own.
const LIFETIME_SECONDS: i64 = 600;

/// The names of all claims, for discovery.
pub(super) const NAMES: [&str; 17] = [
    "iss",
    "aud",
    "sub",
    "exp",
    "iat",
    "nbf",
    "jti",
    "app_id",
    "app_name",
    "image",
    "image_digest",
    "machine_id",
    "machine_name",
    "machine_version",
    "org_id",
    "org_name",
    "region",
];

/// What the asking machine may choose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// For whom the token is; the organization's page at Fly if `None`.
    pub(crate) audience: Option<String>,
    /// Whether the token carries session tags for AWS.
    pub(crate) aws_principal_tags: bool,
}

/// A token's claims. Ids are decimal texts, as on the platform.
#[derive(Debug, Serialize)]
pub(super) struct Claims<'a> {
    iss: String,
    aud: String,
    sub: String,
    exp: i64,
    iat: i64,
    nbf: i64,
    jti: String,
    app_id: String,
    app_name: &'a str,
    image: &'a str,
    image_digest: &'a str,
    machine_id: &'a str,
    machine_name: &'a str,
    machine_version: &'a str,
    org_id: String,
    org_name: &'a str,
    region: &'a str,
    /// The claim that AWS reads session tags from.
    #[serde(rename = "https://aws.amazon.com/tags", skip_serializing_if = "Option::is_none")]
    aws_tags: Option<Value>,
}

impl<'a> Claims<'a> {
    pub(super) fn new(
        issuer: String,
        identity: &'a Identity,
        wish: Wish,
        now: Timestamp,
        id: Ulid,
    ) -> Self {
        let Identity { org, app, machine_name, .. } = identity;
        let iat = now.as_second();
        Self {
            iss: issuer,
            aud: wish.audience.unwrap_or_else(|| format!("https://fly.io/{org}")),
            sub: format!("{org}:{app}:{machine_name}"),
            exp: iat + LIFETIME_SECONDS,
            iat,
            nbf: iat,
            jti: id.to_string(),
            app_id: identity.app_number.to_string(),
            app_name: app,
            image: &identity.image,
            image_digest: &identity.image_digest,
            machine_id: &identity.machine_id,
            machine_name,
            machine_version: &identity.machine_version,
            org_id: identity.org_number.to_string(),
            org_name: org,
            region: &identity.region,
            aws_tags: wish.aws_principal_tags.then(|| aws_tags(identity)),
        }
    }
}

/// AWS wants each value in a list of its own.
fn aws_tags(identity: &Identity) -> Value {
    json!({
        "principal_tags": {
            "app_name": [identity.app],
            "machine_id": [identity.machine_id],
            "machine_name": [identity.machine_name],
            "org_name": [identity.org],
            "region": [identity.region],
        },
        "transitive_tag_keys": ["app_name", "machine_id", "machine_name", "org_name", "region"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        let text = str::to_owned;
        Identity {
            org: text("local"),
            org_number: 4_000_000_000,
            app: text("web"),
            app_number: 7,
            machine_id: text("7811d2b4c90e38"),
            machine_name: text("one"),
            machine_version: text("01K4Z8Q2V7M3N9T5R1X6W0YBCD"),
            image: text("nginx:1.29"),
            image_digest: text("sha256:0f"),
            region: text("ams"),
        }
    }

    fn claims(wish: Wish) -> Value {
        let now = Timestamp::from_millisecond(1_800_000_000_999).expect("a time");
        let issuer = "http://127.0.0.1:1/oidc/local".to_owned();
        json!(Claims::new(issuer, &identity(), wish, now, Ulid::from_parts(0, 0)))
    }

    #[test]
    fn a_token_says_who_the_machine_is_and_for_whom() {
        let wanted = json!({
            "iss": "http://127.0.0.1:1/oidc/local", "aud": "https://fly.io/local",
            "sub": "local:web:one",
            "exp": 1_800_000_600, "iat": 1_800_000_000, "nbf": 1_800_000_000,
            "jti": "00000000000000000000000000",
            "app_id": "7", "app_name": "web", "image": "nginx:1.29", "image_digest": "sha256:0f",
            "machine_id": "7811d2b4c90e38", "machine_name": "one",
            "machine_version": "01K4Z8Q2V7M3N9T5R1X6W0YBCD",
            "org_id": "4000000000", "org_name": "local", "region": "ams",
        });
        let made = claims(Wish::default());
        assert_eq!(made, wanted);
        let names = made.as_object().expect("an object").keys();
        assert_eq!(names.collect::<Vec<_>>(), {
            let mut names = NAMES;
            names.sort_unstable();
            names
        });
    }

    #[test]
    fn the_machine_may_choose_the_audience_and_tags() {
        let wish = Wish { audience: Some("abc".to_owned()), aws_principal_tags: true };
        let made = claims(wish);
        assert_eq!(made["aud"], "abc");
        let tags = &made["https://aws.amazon.com/tags"]["principal_tags"];
        assert_eq!(tags["machine_id"], json!(["7811d2b4c90e38"]));
    }
}
