//! Signatures of version 4: who signed, what was signed, and whether it is true.
//!
//! ```text
//!  method, path, query, headers, hash of the body ─▶ canonical request ─┐
//!  date, region, service ───────────────────────────────────────────────┴▶ text ─┐
//!  secret ─▶ date ─▶ region ─▶ service ─▶ aws4_request ─────────────────▶ key ───┴▶ signature
//! ```

use hmac::{Hmac, KeyInit, Mac};
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::SKEW_SECONDS_MAX;

/// The only algorithm.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// Headers in one signature: far above what clients sign.
const SIGNED_HEADERS_MAX: usize = 64;

/// Why a signature proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum SignatureProblem {
    /// None at all.
    #[error("Request is missing Authentication Token")]
    Missing,
    /// Not of the form that version 4 has.
    #[error("Authorization header requires 'Credential', 'SignedHeaders' and 'Signature'")]
    Malformed,
    /// Made for another service or another day.
    #[error("Credential should be scoped to the correct service and date")]
    Scope,
    /// Something that has to be signed is not.
    #[error("There were headers present in the request which were not signed")]
    Unsigned,
    /// Too far from now.
    #[error("Signature expired or not yet current")]
    Skewed,
    /// Not made with the key's secret, or of another request.
    #[error("The request signature we calculated does not match the signature you provided.")]
    Mismatch,
}

/// An `Authorization` header of version 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Authorization<'a> {
    /// Whose key it is.
    pub(super) access_key: &'a str,
    /// `20150830`
    pub(super) date: &'a str,
    /// Any.
    pub(super) region: &'a str,
    /// `s3` or `iam`.
    pub(super) service: &'a str,
    /// The names of the headers that are signed, with semicolons between.
    pub(super) signed_headers: &'a str,
    /// In hexadecimal digits.
    pub(super) signature: &'a str,
}

impl<'a> Authorization<'a> {
    /// Reads the header of a request.
    pub(super) fn of(headers: &'a HeaderMap) -> Result<Self, SignatureProblem> {
        let mut all = headers.get_all(http::header::AUTHORIZATION).iter();
        let header = all.next().ok_or(SignatureProblem::Missing)?;
        if all.next().is_some() {
            return Err(SignatureProblem::Malformed);
        }
        let text = header.to_str().map_err(|_| SignatureProblem::Malformed)?;
        Self::parse(text).ok_or(SignatureProblem::Malformed)
    }

    fn parse(text: &'a str) -> Option<Self> {
        let members = text.strip_prefix(ALGORITHM)?.strip_prefix(' ')?;
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for member in members.split(',') {
            let (name, value) = member.trim().split_once('=')?;
            let slot = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => return None,
            };
            if slot.replace(value).is_some() {
                return None;
            }
        }
        let mut scope = credential?.split('/');
        let (access_key, date) = (scope.next()?, scope.next()?);
        let (region, service) = (scope.next()?, scope.next()?);
        let ends = scope.next() == Some("aws4_request") && scope.next().is_none();
        let (signed_headers, signature) = (signed_headers?, signature?);
        ends.then_some(Self { access_key, date, region, service, signed_headers, signature })
    }

    /// Checks the whole of a request but its body, which is known by its hash.
    pub(super) fn verify(
        &self,
        parts: &Parts,
        body_hash: &str,
        secret: &str,
        now: Timestamp,
    ) -> Result<(), SignatureProblem> {
        check_signed(self.signed_headers, &parts.headers)?;
        let date = parts.headers.get("x-amz-date").and_then(|value| value.to_str().ok());
        let date = date.ok_or(SignatureProblem::Malformed)?;
        let at = time_of(date).ok_or(SignatureProblem::Malformed)?;
        if now.duration_since(at).unsigned_abs().as_secs() > u64::from(SKEW_SECONDS_MAX) {
            return Err(SignatureProblem::Skewed);
        }
        if !date.starts_with(self.date) || self.date.len() != 8 {
            return Err(SignatureProblem::Scope);
        }
        let mut canonical = format!("{}\n{}\n\n", parts.method, parts.uri.path());
        for name in self.signed_headers.split(';') {
            let values = parts.headers.get_all(name).iter();
            let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            let values: Vec<String> = values.map(|value| one_spaced(&value)).collect();
            canonical.push_str(&format!("{name}:{}\n", values.join(",")));
        }
        canonical.push_str(&format!("\n{}\n{body_hash}", self.signed_headers));
        let scope = format!("{}/{}/{}/aws4_request", self.date, self.region, self.service);
        let text = format!("{ALGORITHM}\n{date}\n{scope}\n{}", hash(canonical.as_bytes()));
        let parts = [self.date, self.region, self.service, "aws4_request"];
        let first = format!("AWS4{secret}").into_bytes();
        let key = parts.iter().fold(first, |key, part| mac(&key, part.as_bytes()));
        let wanted = data_encoding::HEXLOWER.encode(&mac(&key, text.as_bytes()));
        let same = wanted.as_bytes().ct_eq(self.signature.as_bytes());
        if bool::from(same) { Ok(()) } else { Err(SignatureProblem::Mismatch) }
    }
}

/// Whether the headers that a signature names are there, and those that have to be signed are named:
/// the host, and all that tell storage what to do.
pub(super) fn check_signed(names: &str, headers: &HeaderMap) -> Result<(), SignatureProblem> {
    let names: Vec<&str> = names.split(';').collect();
    if names.len() > SIGNED_HEADERS_MAX {
        return Err(SignatureProblem::Malformed);
    }
    let is_there = |name: &&str| {
        // Names are compared as they are written, and a signature writes them small.
        let known = name.parse::<HeaderName>().is_ok_and(|known| known.as_str() == *name);
        known && headers.contains_key(*name)
    };
    if !names.iter().all(is_there) {
        return Err(SignatureProblem::Malformed);
    }
    let named = |name: &str| names.contains(&name);
    let all = headers.keys().filter(|name| name.as_str().starts_with("x-amz-"));
    if named("host") && all.into_iter().all(|name| named(name.as_str())) {
        Ok(())
    } else {
        Err(SignatureProblem::Unsigned)
    }
}

/// The SHA-256 in hexadecimal digits.
pub(super) fn hash(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// `20150830T123600Z`
fn time_of(text: &str) -> Option<Timestamp> {
    let parsed = DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    parsed.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// Without spaces around, and with one for each run of them inside.
fn one_spaced(text: &str) -> String {
    text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn signed(signature: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature={signature}"
        )
    }

    fn request(method: &str, authorization: &str) -> Parts {
        let request = http::Request::builder()
            .method(method)
            .uri("/")
            .header("host", "example.amazonaws.com")
            .header("x-amz-date", "20150830T123600Z")
            .header("authorization", authorization)
            .body(())
            .expect("a request");
        request.into_parts().0
    }

    fn verify(
        parts: &Parts,
        seconds: i64,
        body: &[u8],
        secret: &str,
    ) -> Result<(), SignatureProblem> {
        let at: Timestamp = "2015-08-30T12:36:00Z".parse().expect("a time");
        let now = at + jiff::SignedDuration::from_secs(seconds);
        Authorization::of(&parts.headers)?.verify(parts, &hash(body), secret, now)
    }

    /// `get-vanilla` and `post-vanilla` of AWS's published test suite.
    #[test]
    fn the_published_vectors_hold_and_everything_else_does_not() {
        let get = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        let post = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b";
        assert_eq!(verify(&request("GET", &signed(get)), 0, b"", SECRET), Ok(()));
        assert_eq!(verify(&request("POST", &signed(post)), 899, b"", SECRET), Ok(()));
        use SignatureProblem as Is;
        let right = request("POST", &signed(post));
        assert_eq!(verify(&right, 901, b"", SECRET), Err(Is::Skewed));
        assert_eq!(verify(&right, -901, b"", SECRET), Err(Is::Skewed));
        assert_eq!(verify(&right, 0, b"x", SECRET), Err(Is::Mismatch));
        assert_eq!(verify(&right, 0, b"", "another"), Err(Is::Mismatch));
        assert_eq!(verify(&request("POST", &signed(get)), 0, b"", SECRET), Err(Is::Mismatch));
        let mut changed = request("POST", &signed(post));
        changed.headers.insert("host", "elsewhere".parse().expect("a value"));
        assert_eq!(verify(&changed, 0, b"", SECRET), Err(Is::Mismatch));
        let mut more = request("POST", &signed(post));
        more.headers.insert("x-amz-target", "more".parse().expect("a value"));
        assert_eq!(verify(&more, 0, b"", SECRET), Err(Is::Unsigned));
        let mut less = request("POST", &signed(post));
        less.headers.remove("x-amz-date");
        assert_eq!(verify(&less, 0, b"", SECRET), Err(Is::Malformed));
        let mut twice = request("POST", &signed(post));
        twice.headers.append("authorization", signed(get).parse().expect("a value"));
        assert_eq!(verify(&twice, 0, b"", SECRET), Err(Is::Malformed));
        let other_day = signed(post).replace("/20150830/", "/20150829/");
        assert_eq!(verify(&request("POST", &other_day), 0, b"", SECRET), Err(Is::Scope));
    }

    #[test]
    fn headers_of_another_form_are_refused() {
        let right = signed("5f");
        for wrong in [
            "",
            "Bearer x",
            "AWS4-HMAC-SHA256",
            "AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request",
            &right.replace("aws4_request", "aws5_request"),
            &right.replace("/service", ""),
            &format!("{right}, Signature=5f"),
            &format!("{right}, More=1"),
        ] {
            assert_eq!(Authorization::parse(wrong), None, "{wrong}");
        }
        let unsigned_host = right.replace("host;", "");
        let found = verify(&request("GET", &unsigned_host), 0, b"", SECRET);
        assert_eq!(found, Err(SignatureProblem::Unsigned));
    }
}
