//! Who may use the API: bearers of the operator token.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::App;
use super::error::ApiError;

/// The digest of a token: comparing digests in constant time tells nothing about the token, not
/// even its length.
#[derive(Clone)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Digests a token.
    #[must_use]
    pub fn of(token: &SecretString) -> Self {
        Self(Sha256::digest(token.expose_secret().as_bytes()).into())
    }

    fn matches(&self, presented: &str) -> bool {
        let presented: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        self.0.ct_eq(&presented).into()
    }
}

/// Lets a request through if it carries the operator token; its body is not read before.
pub(super) async fn require_operator<P, S, C>(
    State(app): State<Arc<App<P, S, C>>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError>
where
    P: Send + Sync + 'static,
    S: Send + Sync + 'static,
    C: Send + Sync + 'static,
{
    let presented = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    match presented {
        Some(token) if app.operator.matches(token.trim()) => Ok(next.run(request).await),
        Some(_) => Err(ApiError::Unauthorized("the token is not this controller's")),
        None => Err(ApiError::Unauthorized("send the operator token as Authorization: Bearer …")),
    }
}
