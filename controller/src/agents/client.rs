//! Asking for real: over QUIC, by the same client that `vaultctl` uses.

use data_encoding::HEXLOWER;
use serde_json::Value;
use vault_api::status::AgentStatus;
use vault_client::protocol::message::Health;
use vault_client::{Client, ClientError, ConnectError, IssuerKeys, Target};
use vault_plan::time::UnixMillis;

use super::{Asker, Question, silent};
use crate::chain::chain;
use crate::clock::Clock;

/// Asks agents and issuers. It proves nothing to an agent and sends it nothing secret.
pub struct AgentClient<C> {
    client: Client,
    keys: IssuerKeys,
    clock: C,
}

impl<C: Clock> AgentClient<C> {
    /// Opens a UDP socket; inside a tokio runtime.
    ///
    /// # Errors
    /// If there is no socket.
    pub fn new(clock: C) -> Result<Self, ClientError> {
        Ok(Self { client: Client::new()?, keys: IssuerKeys::new(), clock })
    }

    fn unix_seconds(&self) -> i64 {
        self.clock.now().0.div_euclid(1_000)
    }

    async fn look(&self, question: &Question) -> Result<Health, ConnectError> {
        let target = Target { address: question.address, identity: question.identity.clone() };
        let now = || self.unix_seconds();
        self.client.connect(&target, &self.keys, now).await?.health().await
    }
}

impl<C: Clock> Asker for AgentClient<C> {
    async fn health(&self, question: &Question) -> AgentStatus {
        match self.look(question).await {
            Ok(health) => AgentStatus {
                ready: health.ready,
                version: Some(health.version),
                boot_id: Some(HEXLOWER.encode(health.boot_id.as_slice())),
                message: health.message,
            },
            Err(error) => silent(chain(&error)),
        }
    }

    async fn keys(&self, issuer: &str) -> Option<Value> {
        match self.keys.current(issuer, self.unix_seconds()).await {
            Ok(keys) => Some(keys),
            Err(error) => {
                tracing::debug!(issuer, error = chain(&error), "the issuer's keys were not read");
                None
            }
        }
    }

    fn now(&self) -> UnixMillis {
        self.clock.now()
    }
}
