//! What an agent says to connections of its earlier life.
//!
//! An agent that was killed left its clients without a word. With keys that outlive it, the next
//! one recognizes their packets, and answers with stateless resets that they believe (RFC 9000
//! §10.3): they learn within a round trip, and not from half a minute of silence.

use std::sync::Arc;

use quinn::EndpointConfig;
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;
use vault_protocol::key::TenantSecret;

/// The endpoint's keys: those of every agent with this secret in this machine, or random ones if
/// there is no secret.
pub(crate) fn endpoint_config(secret: Option<&TenantSecret>, machine_id: &str) -> EndpointConfig {
    let Some(secret) = secret else {
        return EndpointConfig::default();
    };
    let reset_key = secret.reset_key(machine_id);
    let mut config =
        EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, reset_key.as_slice())));
    // Only connection ids that carry this mark are answered. It is no secret worth one: whoever
    // makes one up gets a reset that fits no connection.
    let mark = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, reset_key.as_slice()), b"ids");
    let mark = mark.as_ref().first_chunk().copied().map_or(0, u64::from_be_bytes);
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(mark)));
    config
}
