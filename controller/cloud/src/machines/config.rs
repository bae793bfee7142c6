//! What a client is made from.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::counts::CallObserver;
use crate::sleep::{Sleep, TokioSleep};

/// Time for one request without what the platform is asked to hold the answer back. Creating a
/// machine takes up to some ten seconds; stopping one under a foreign lease hangs for longer, and
/// then nobody should wait for it.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Whether the client keeps to the platform's documented rate limits by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RateLimits {
    /// It does.
    #[default]
    Documented,
    /// It does not: for a platform that has none, such as an emulator started without them.
    Off,
}

/// What a client is made from.
#[derive(Clone)]
pub struct ClientConfig {
    /// Where the API is: `https://HOST[:PORT]`, or `http://HOST[:PORT]` within a private network or
    /// one machine, because the token goes over it in clear.
    pub base_url: String,
    /// The token in any form that people paste, see [`crate::authorization`].
    pub token: SecretString,
    /// The name of this program for the platform's logs, such as `vault-controller/0.1.0`.
    pub user_agent: String,
    /// Time for one attempt at a request, connecting and reading the answer included.
    pub timeout: Duration,
    /// Whether calls wait for their turn.
    pub rate_limits: RateLimits,
    /// Who is told of every attempt.
    pub observer: Option<Arc<dyn CallObserver>>,
    /// How pauses between attempts are spent.
    pub sleep: Arc<dyn Sleep>,
}

impl ClientConfig {
    /// The usual: 30 seconds per attempt, documented rate limits, no observer, Tokio's timer.
    #[must_use]
    pub fn new(base_url: impl Into<String>, token: SecretString) -> Self {
        Self {
            base_url: base_url.into(),
            token,
            user_agent: concat!("vault-cloud/", env!("CARGO_PKG_VERSION")).to_owned(),
            timeout: DEFAULT_TIMEOUT,
            rate_limits: RateLimits::Documented,
            observer: None,
            sleep: Arc::new(TokioSleep::new()),
        }
    }
}
