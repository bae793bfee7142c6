//! Whether a token is evidence of the machine that was meant, on this very connection: a pure
//! function.
//!
//! Everything is pinned. An honest machine of another tenant has honest evidence too, so it is not
//! enough that a token is good: it has to be of *this* organization, app and machine, in *this*
//! version, for *this* connection.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, crypto};
use serde::Deserialize;
use serde::de::IgnoredAny;
use thiserror::Error;

use crate::issuer::SigningKeys;
use crate::text::printable;

/// The longest token that is looked at, in bytes; a token of Fly's is under 2 KiB.
pub const TOKEN_BYTES_MAX: usize = 16 << 10;

/// How far the clocks of the issuer and of this machine may be apart, in seconds.
pub const SKEW_SECONDS: i64 = 60;

/// The longest lifetime of a token that is believed, in seconds. Fly's live 10 to 15 minutes.
pub const LIFETIME_SECONDS_MAX: i64 = 3600;

/// What the evidence has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedIdentity {
    /// `iss`: the issuer's URL, with the organization. It also says where its keys are read.
    pub issuer: String,
    /// `org_name`: the organization's slug.
    pub org_name: String,
    /// `org_id`, if it is known.
    pub org_id: Option<String>,
    /// `app_name`.
    pub app_name: String,
    /// `app_id`, if it is known. Names can be taken again, ids cannot.
    pub app_id: Option<String>,
    /// `machine_id`: 14 hexadecimal digits.
    pub machine_id: String,
    /// `machine_version`: the `instance_id` of the config that the machine runs; one of these. None
    /// means any version of an image that is named.
    pub machine_versions: Vec<String>,
    /// `image_digest`: `sha256:…`; one of these. None means any image of a version that is named. Not
    /// both can be empty.
    pub image_digests: Vec<String>,
}

/// A claim that is not what it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What it has to be.
    pub expected: String,
    /// What the token says; empty if it says nothing.
    pub found: String,
}

/// Why a token is not believed. Never shows the token.
#[derive(Debug, Error)]
pub enum EvidenceError {
    /// Longer than [`TOKEN_BYTES_MAX`].
    #[error("the evidence has {0} bytes, and at most {TOKEN_BYTES_MAX} are looked at")]
    TooLong(usize),
    /// Not three parts in base64url with a JSON header.
    #[error("the evidence is not a signed token (JWT)")]
    NotAToken,
    /// Signed otherwise than by RS256.
    #[error("the evidence is signed by {found:?}, expected \"RS256\"")]
    Algorithm {
        /// What its header says.
        found: String,
    },
    /// The header has extensions that must be understood (RFC 7515 §4.1.11). None is.
    #[error("the evidence's header has critical extensions")]
    CriticalExtension,
    /// The header does not say which key signed.
    #[error("the evidence does not say which key signed it")]
    NoKeyId,
    /// No key of the issuer's has this id.
    #[error("the evidence is signed by the key {key_id:?}, which is none of {issuer}'s")]
    UnknownKey {
        /// What the header says.
        key_id: String,
        /// The issuer whose keys were looked at.
        issuer: String,
    },
    /// The signature is not by that key over this token.
    #[error("the evidence's signature is wrong")]
    Signature,
    /// A claim is missing, or not of its type.
    #[error("the evidence's claims cannot be read")]
    Claims(#[source] serde_json::Error),
    /// `iss`.
    #[error("the evidence is of another issuer: {0}")]
    Issuer(Mismatch),
    /// `aud`: made for another connection, or for something else.
    #[error("the evidence is not for this connection: {0}")]
    Audience(Mismatch),
    /// `exp` has passed.
    #[error("the evidence expired at {expired_at}, and it is {now} (Unix seconds)")]
    Expired {
        /// What it says, in Unix seconds.
        expired_at: i64,
        /// When it was looked at, in Unix seconds.
        now: i64,
    },
    /// `nbf` is in the future.
    #[error("the evidence is valid from {not_before}, and it is {now} (Unix seconds)")]
    NotYetValid {
        /// What it says, in Unix seconds.
        not_before: i64,
        /// When it was looked at, in Unix seconds.
        now: i64,
    },
    /// `iat` is in the future.
    #[error("the evidence was issued at {issued_at}, and it is {now} (Unix seconds)")]
    IssuedLater {
        /// What it says, in Unix seconds.
        issued_at: i64,
        /// When it was looked at, in Unix seconds.
        now: i64,
    },
    /// It lives longer than [`LIFETIME_SECONDS_MAX`], or ends before it begins.
    #[error("the evidence lives {seconds} s, expected 0 to {LIFETIME_SECONDS_MAX}")]
    Lifetime {
        /// From `iat` to `exp`.
        seconds: i64,
    },
    /// `org_name`.
    #[error("the evidence is of another organization: {0}")]
    Organization(Mismatch),
    /// `org_id`.
    #[error("the evidence is of an organization with another id: {0}")]
    OrganizationId(Mismatch),
    /// `app_name`.
    #[error("the evidence is of another app: {0}")]
    App(Mismatch),
    /// `app_id`.
    #[error("the evidence is of an app with another id: {0}")]
    AppId(Mismatch),
    /// `machine_id`.
    #[error("the evidence is of another machine: {0}")]
    Machine(Mismatch),
    /// `machine_version`; everything before it in this list was right, so it is the right machine,
    /// before or after an update.
    #[error("the evidence is of another version of the machine: {0}")]
    MachineVersion(Mismatch),
    /// `image_digest`.
    #[error("the evidence is of another image: {0}")]
    Image(Mismatch),
    /// Neither versions nor digests are expected, so that whatever ran there would be believed.
    #[error("nothing says which version of the machine, or which image, is expected")]
    Unpinned,
}

impl EvidenceError {
    /// Another attempt may find it right: the machine is just being updated.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::MachineVersion(_))
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "expected {:?}, found {:?}", self.expected, self.found)
    }
}

/// Whether `token` is signed by one of `keys` and says everything that is `expected`, for
/// `audience` ([`vault_protocol::binding::audience`] of the connection), at `now` in Unix seconds.
///
/// # Errors
/// The first thing that is wrong with it, in the order of [`EvidenceError`].
pub fn verify(
    token: &str,
    keys: &SigningKeys,
    expected: &ExpectedIdentity,
    audience: &str,
    now: i64,
) -> Result<(), EvidenceError> {
    let claims = verified_claims(token, keys, &expected.issuer)?;
    claims.check_source(expected, audience)?;
    claims.check_times(now)?;
    claims.check_identity(expected)
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

/// What is read of the claims; others may be there.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    exp: i64,
    nbf: i64,
    iat: i64,
    org_name: Option<String>,
    org_id: Option<String>,
    app_name: Option<String>,
    app_id: Option<String>,
    machine_id: Option<String>,
    machine_version: Option<String>,
    image_digest: Option<String>,
}

/// RFC 7519 §4.1.3 allows both forms.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// The claims of a token that a key of the issuer's has signed.
fn verified_claims(token: &str, keys: &SigningKeys, issuer: &str) -> Result<Claims, EvidenceError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(EvidenceError::TooLong(token.len()));
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(EvidenceError::NotAToken)?;
    let (header, claims) = signed.split_once('.').ok_or(EvidenceError::NotAToken)?;
    let header: Header =
        serde_json::from_slice(&part(header)?).map_err(|_| EvidenceError::NotAToken)?;
    // The algorithm is ours to choose. Were it the token's, a public key could serve as the secret
    // of an HMAC, and "none" would do.
    if header.alg != "RS256" {
        return Err(EvidenceError::Algorithm { found: printable(&header.alg) });
    }
    if header.crit.is_some() {
        return Err(EvidenceError::CriticalExtension);
    }
    let key_id = header.kid.ok_or(EvidenceError::NoKeyId)?;
    let key = keys.find(&key_id).ok_or_else(|| EvidenceError::UnknownKey {
        key_id: printable(&key_id),
        issuer: issuer.to_owned(),
    })?;
    if !crypto::verify(signature, signed.as_bytes(), key, Algorithm::RS256).unwrap_or(false) {
        return Err(EvidenceError::Signature);
    }
    serde_json::from_slice(&part(claims)?).map_err(EvidenceError::Claims)
}

fn part(text: &str) -> Result<Vec<u8>, EvidenceError> {
    BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| EvidenceError::NotAToken)
}

impl Claims {
    fn check_source(
        &self,
        expected: &ExpectedIdentity,
        audience: &str,
    ) -> Result<(), EvidenceError> {
        pin(Some(&self.iss), &expected.issuer).map_err(EvidenceError::Issuer)?;
        let found = match &self.aud {
            Audience::One(found) => found.clone(),
            Audience::Several(several) => match several.as_slice() {
                [found] => found.clone(),
                several => several.join(", "),
            },
        };
        pin(Some(&found), audience).map_err(EvidenceError::Audience)
    }

    fn check_times(&self, now: i64) -> Result<(), EvidenceError> {
        if now >= self.exp.saturating_add(SKEW_SECONDS) {
            return Err(EvidenceError::Expired { expired_at: self.exp, now });
        }
        let latest = now.saturating_add(SKEW_SECONDS);
        if self.nbf > latest {
            return Err(EvidenceError::NotYetValid { not_before: self.nbf, now });
        }
        if self.iat > latest {
            return Err(EvidenceError::IssuedLater { issued_at: self.iat, now });
        }
        let seconds = self.exp.saturating_sub(self.iat);
        if !(0..=LIFETIME_SECONDS_MAX).contains(&seconds) {
            return Err(EvidenceError::Lifetime { seconds });
        }
        Ok(())
    }

    fn check_identity(&self, expected: &ExpectedIdentity) -> Result<(), EvidenceError> {
        use EvidenceError as E;
        pin(self.org_name.as_ref(), &expected.org_name).map_err(E::Organization)?;
        pin_known(self.org_id.as_ref(), expected.org_id.as_ref()).map_err(E::OrganizationId)?;
        pin(self.app_name.as_ref(), &expected.app_name).map_err(E::App)?;
        pin_known(self.app_id.as_ref(), expected.app_id.as_ref()).map_err(E::AppId)?;
        pin(self.machine_id.as_ref(), &expected.machine_id).map_err(E::Machine)?;
        // An update changes the version, and often the image with it: the version is asked first,
        // because a wrong version is a reason to try again and a wrong image is not.
        let ExpectedIdentity { machine_versions, image_digests, .. } = expected;
        pin_one_of(self.machine_version.as_ref(), machine_versions).map_err(E::MachineVersion)?;
        pin_one_of(self.image_digest.as_ref(), image_digests).map_err(E::Image)?;
        match machine_versions.is_empty() && image_digests.is_empty() {
            true => Err(E::Unpinned),
            false => Ok(()),
        }
    }
}

fn pin_known(found: Option<&String>, expected: Option<&String>) -> Result<(), Mismatch> {
    expected.map_or(Ok(()), |expected| pin(found, expected))
}

fn pin_one_of(found: Option<&String>, expected: &[String]) -> Result<(), Mismatch> {
    match found {
        _ if expected.is_empty() => Ok(()),
        Some(found) if expected.contains(found) => Ok(()),
        found => pin(found, &expected.join(" or ")),
    }
}

fn pin(found: Option<&String>, expected: &str) -> Result<(), Mismatch> {
    match found {
        Some(found) if found == expected => Ok(()),
        found => Err(Mismatch {
            expected: expected.to_owned(),
            found: printable(found.map_or("", String::as_str)),
        }),
    }
}
