//! The issuer of evidence: which ones are accepted, and their public keys.

mod cache;
mod fetch;
mod set;

use reqwest::Url;
use thiserror::Error;

pub use cache::{
    ISSUERS_MAX, IssuerKeys, KEYS_FRESH_SECONDS, SECONDS_BETWEEN_LOOKS_FOR_UNKNOWN_KEYS,
};
pub use fetch::{BODY_BYTES_MAX, FETCH_TIMEOUT, KeysError};
pub use set::{KeySetError, SigningKeys};

/// Why an issuer is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IssuerError {
    /// Not a URL.
    #[error("{0:?} is not a URL")]
    NotAUrl(String),
    /// Whoever is on the way could name keys of its own.
    #[error("{0:?} is plain http, which is accepted on this machine's loopback address only")]
    PlainHttp(String),
    /// Another scheme than http and https.
    #[error("{0:?} is neither https nor, on a loopback address, http")]
    Scheme(String),
    /// An issuer has neither user, query nor fragment (OpenID Connect Discovery §3).
    #[error("{0:?} has a user, a query or a fragment, which an issuer cannot have")]
    Parts(String),
}

/// An issuer that may be asked.
#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    text: String,
    url: Url,
}

impl Issuer {
    /// Reads an issuer's URL.
    ///
    /// # Errors
    /// [`IssuerError`], see there.
    pub(crate) fn read(text: &str) -> Result<Self, IssuerError> {
        let url = Url::parse(text).map_err(|_| IssuerError::NotAUrl(text.to_owned()))?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            "http" => return Err(IssuerError::PlainHttp(text.to_owned())),
            _ => return Err(IssuerError::Scheme(text.to_owned())),
        }
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || url.query().is_some() || url.fragment().is_some() {
            return Err(IssuerError::Parts(text.to_owned()));
        }
        Ok(Self { text: text.to_owned(), url })
    }

    /// As it stands in `iss`.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Where its discovery document is.
    pub(crate) fn discovery(&self) -> Url {
        let mut url = self.url.clone();
        let path = format!("{}/.well-known/openid-configuration", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url
    }

    /// The address of its keys, if it is on the issuer's own scheme, host and port: a discovery
    /// document cannot send us elsewhere.
    pub(crate) fn own(&self, address: &str) -> Option<Url> {
        Url::parse(address).ok().filter(|url| url.origin() == self.url.origin())
    }
}

/// The URL parser makes `127.1` and `0x7f000001` addresses too, so the kinds are all there are.
fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<std::net::IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_are_https_or_on_loopback() {
        for good in [
            "https://oidc.fly.io/acme-org",
            "http://127.0.0.1:4280/oidc/local",
            "http://127.8.7.6/oidc/local",
            "http://[::1]:4280/oidc/local",
            "http://localhost:4280/oidc/local",
        ] {
            assert_eq!(Issuer::read(good).expect(good).text(), good);
        }
        let owned = str::to_owned;
        for bad in [
            "http://oidc.fly.io/acme-org",
            "http://10.0.0.1/oidc",
            "http://[::ffff:10.0.0.1]/oidc",
            "http://localhost.example/oidc",
            "http://127.0.0.1.example/oidc",
        ] {
            assert_eq!(Issuer::read(bad).err(), Some(IssuerError::PlainHttp(owned(bad))));
        }
        assert_eq!(Issuer::read("acme").err(), Some(IssuerError::NotAUrl(owned("acme"))));
        let file = "file:///etc/passwd";
        assert_eq!(Issuer::read(file).err(), Some(IssuerError::Scheme(owned(file))));
        for bad in ["https://u@h/", "https://:p@h/", "https://h/?q", "https://h/#f"] {
            assert_eq!(Issuer::read(bad).err(), Some(IssuerError::Parts(owned(bad))));
        }
    }

    #[test]
    fn keys_are_read_from_the_issuer_itself() {
        let issuer = Issuer::read("https://oidc.fly.io/acme-org").expect("an issuer");
        let discovery = "https://oidc.fly.io/acme-org/.well-known/openid-configuration";
        assert_eq!(issuer.discovery().as_str(), discovery);
        assert!(issuer.own("https://oidc.fly.io/acme-org/.well-known/jwks").is_some());
        assert!(issuer.own("https://oidc.fly.io:443/keys").is_some());
        for elsewhere in [
            "https://keys.example/acme-org",
            "https://oidc.fly.io:8443/keys",
            "http://oidc.fly.io/keys",
            "https://oidc.fly.io@keys.example/",
            "/keys",
        ] {
            assert!(issuer.own(elsewhere).is_none(), "{elsewhere}");
        }
    }
}
