//! Reading an issuer's keys: its discovery document, and the set that it names.

use std::error::Error;
use std::time::Duration;

use reqwest::{Certificate, Client, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::{Issuer, IssuerError, KeySetError, SigningKeys};
use crate::text::printable;

/// The longest document that is read, in bytes. Real ones are a few KiB.
pub const BODY_BYTES_MAX: usize = 64 << 10;

/// How long one of the two requests may take.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Why an issuer's keys are not known.
#[derive(Debug, Error)]
pub enum KeysError {
    /// This issuer is not asked at all.
    #[error("the issuer of the evidence is not accepted")]
    Issuer(#[source] IssuerError),
    /// The process has not chosen its cryptography.
    #[error(
        "no provider of cryptography is installed for TLS: the program installs one when it starts"
    )]
    NoCryptoProvider,
    /// The HTTP library could not be set up; perhaps this system has no root certificates.
    #[error("the HTTP client could not be set up")]
    Setup(#[source] Box<dyn Error + Send + Sync>),
    /// No answer, or not a whole one.
    #[error("{url} cannot be read")]
    Request {
        /// What was asked for.
        url: String,
        /// Why it failed.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// An answer that is no success. Redirections are not followed.
    #[error("{url} answers {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The answer's status.
        status: StatusCode,
    },
    /// An answer of more than [`BODY_BYTES_MAX`].
    #[error("{url} is longer than {BODY_BYTES_MAX} bytes")]
    TooLong {
        /// What was asked for.
        url: String,
    },
    /// An answer that is not the JSON document that belongs there.
    #[error("{url} is not the document that belongs there")]
    Document {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A discovery document that is another issuer's (OpenID Connect Discovery §4.3).
    #[error("the discovery document of {expected} is of the issuer {found:?}")]
    OtherIssuer {
        /// Who was asked.
        expected: String,
        /// What the document says.
        found: String,
    },
    /// A discovery document that sends us to another host.
    #[error("{issuer} has its keys elsewhere, at {address:?}: only its own host is asked")]
    Elsewhere {
        /// Who was asked.
        issuer: String,
        /// `jwks_uri`.
        address: String,
    },
    /// The set of keys is of no use.
    #[error("the keys of {issuer} cannot be used")]
    Set {
        /// Whose keys.
        issuer: String,
        /// What is wrong with them.
        #[source]
        source: KeySetError,
    },
}

impl KeysError {
    /// Another attempt may go better: the network or the issuer failed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Request { .. } => true,
            Self::Status { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            _ => false,
        }
    }
}

/// What is read of a discovery document.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Asks the issuer for its keys: two requests.
pub(crate) async fn fetch(issuer: &Issuer) -> Result<SigningKeys, KeysError> {
    let client = client(issuer)?;
    let discovery: Discovery = document(&client, issuer.discovery()).await?;
    if discovery.issuer != issuer.text() {
        let (expected, found) = (issuer.text().to_owned(), printable(&discovery.issuer));
        return Err(KeysError::OtherIssuer { expected, found });
    }
    let address = issuer.own(&discovery.jwks_uri).ok_or_else(|| KeysError::Elsewhere {
        issuer: issuer.text().to_owned(),
        address: printable(&discovery.jwks_uri),
    })?;
    let set: Value = document(&client, address).await?;
    SigningKeys::read(&set)
        .map_err(|source| KeysError::Set { issuer: issuer.text().to_owned(), source })
}

fn client(issuer: &Issuer) -> Result<Client, KeysError> {
    // The library panics without one.
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        return Err(KeysError::NoCryptoProvider);
    }
    let builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .timeout(FETCH_TIMEOUT);
    // Plain http is for this machine alone: no proxy can reach it, and a system without root
    // certificates must not stop it.
    let builder = if issuer.discovery().scheme() == "http" {
        builder.no_proxy().tls_certs_only(std::iter::empty::<Certificate>())
    } else {
        builder.https_only(true)
    };
    builder.build().map_err(|error| KeysError::Setup(error.into()))
}

async fn document<T: for<'de> Deserialize<'de>>(client: &Client, url: Url) -> Result<T, KeysError> {
    let shown = url.to_string();
    let failed = |error: reqwest::Error| KeysError::Request {
        url: shown.clone(),
        source: error.without_url().into(),
    };
    let response = client.get(url).send().await.map_err(failed)?;
    let status = response.status();
    if status != StatusCode::OK {
        return Err(KeysError::Status { url: shown, status });
    }
    let Some(body) = read_whole(response).await.map_err(failed)? else {
        return Err(KeysError::TooLong { url: shown });
    };
    serde_json::from_slice(&body).map_err(|source| KeysError::Document { url: shown, source })
}

/// The body; `None` if it is too long.
async fn read_whole(mut response: Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}
