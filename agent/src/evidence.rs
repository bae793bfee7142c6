//! Evidence of which machine this is: a token from the platform, for one connection.

use std::error::Error;
use std::path::PathBuf;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::limits::{TOKEN_BYTES_MAX, TOKEN_PATIENCE, TOKEN_REQUESTS_MAX};

/// Why there is no token.
#[derive(Debug, Error)]
pub enum EvidenceError {
    /// The platform took longer than [`TOKEN_PATIENCE`], or too many requests waited for it.
    #[error("no token within {TOKEN_PATIENCE:?}")]
    TooSlow,
    /// The socket cannot be reached.
    #[error("could not connect to {path}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The request could not be made or sent, or no answer came.
    #[error("could not ask for a token")]
    Ask(#[source] Box<dyn Error + Send + Sync>),
    /// The answer is an error. Its body may hold anything, so it is not shown.
    #[error("the platform answered {0}")]
    Status(StatusCode),
    /// The answer broke off, or is longer than [`TOKEN_BYTES_MAX`].
    #[error("could not read the answer")]
    Answer(#[source] Box<dyn Error + Send + Sync>),
    /// The answer is not text of the kind that tokens are.
    #[error("the answer is not a token")]
    NotAToken,
}

/// Gets tokens over the machine's socket.
#[derive(Debug)]
pub struct EvidenceSource {
    socket: PathBuf,
    turns: Semaphore,
}

impl EvidenceSource {
    /// Asks at this socket.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, turns: Semaphore::new(TOKEN_REQUESTS_MAX) }
    }

    /// A token with this audience.
    ///
    /// # Errors
    /// The platform gives none.
    pub async fn token(&self, audience: &str) -> Result<String, EvidenceError> {
        let answer = timeout(TOKEN_PATIENCE, async {
            let turn = self.turns.acquire().await;
            let _turn = turn.map_err(|error| EvidenceError::Ask(error.into()))?;
            self.ask(audience).await
        });
        let body = answer.await.unwrap_or(Err(EvidenceError::TooSlow))?;
        let token = str::from_utf8(&body).map_err(|_| EvidenceError::NotAToken)?.trim();
        // A JWT is three parts of base64url (RFC 7515 §7.1).
        let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
        if token.is_empty() || !is_plain {
            return Err(EvidenceError::NotAToken);
        }
        Ok(token.to_owned())
    }

    async fn ask(&self, audience: &str) -> Result<Bytes, EvidenceError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| EvidenceError::Connect { path: self.socket.clone(), source })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| EvidenceError::Ask(error.into()))?;
        // Ends with this function.
        let mut tasks = JoinSet::new();
        tasks.spawn(connection);
        let request = request(audience).map_err(|error| EvidenceError::Ask(error.into()))?;
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| EvidenceError::Ask(error.into()))?;
        if response.status() != StatusCode::OK {
            return Err(EvidenceError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), TOKEN_BYTES_MAX).collect().await;
        Ok(body.map_err(EvidenceError::Answer)?.to_bytes())
    }
}

/// An audience is of our own making, base64url and a colon: it needs no escapes in JSON.
fn request(audience: &str) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    Request::post("/v1/tokens/oidc")
        .header(HOST, "localhost")
        .header(CONTENT_TYPE, "application/json")
        .header(CONNECTION, "close")
        .body(Full::from(format!(r#"{{"aud":"{audience}"}}"#)))
}
