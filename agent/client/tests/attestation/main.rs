//! Who is believed, and what a connection does, against a small agent of the same protocol.

mod agent;
mod connections;
mod issuer;
mod keys;
mod process;
mod relay;
mod signer;
mod verifier;

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value;
use vault_client::protocol::code::CloseCode;
use vault_client::protocol::message::RefusedReason;
use vault_client::{Attested, Client, ConnectError, EvidenceError, IssuerKeys, Target};

use agent::{Behaviour, TestAgent, honest, honest_but, minting, secret};
use issuer::TestIssuer;
use relay::Relay;
use signer::{ISSUERS, NOBODYS, NOW, claims, identity, unsigned};

/// The longest that anything may take here.
const DEADLINE: Duration = Duration::from_secs(30);

fn install_cryptography() {
    // Whoever comes second finds it done.
    drop(rustls::crypto::ring::default_provider().install_default());
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("ends in time")
}

async fn connect(target: &Target) -> Result<Attested, ConnectError> {
    let client = Client::new().expect("a client");
    soon(client.connect(target, &IssuerKeys::new(), || NOW)).await
}

/// Why evidence like this is refused, by whom it is expected to be believed.
async fn refused(issuer: &TestIssuer, behaviour: Behaviour) -> EvidenceError {
    let agent = TestAgent::start(behaviour);
    let error = connect(&agent.target(&issuer.url())).await.expect_err("is refused");
    assert_eq!(agent.seen(), ["Hello"], "nothing is said after evidence that is not believed");
    match error {
        ConnectError::Evidence(error) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn evidence_of_the_machine_is_accepted() {
    let issuer = TestIssuer::start().await;
    let agent = TestAgent::start(honest(&issuer.url()));
    let attested = connect(&agent.target(&issuer.url())).await.expect("is believed");
    assert_eq!(attested.software(), "test \u{fffd}agent");
    let connection = soon(attested.prove(&secret().proof_key("7811d2b4c90e38"))).await;
    assert!(!connection.expect("is accepted").is_closed());
    assert_eq!(agent.seen(), ["Hello", "Proof"]);
}

#[tokio::test]
async fn evidence_is_accepted_with_the_keys_that_the_controller_has_read() {
    let issuer = TestIssuer::start().await;
    let agent = TestAgent::start(honest(&issuer.url()));
    let document = IssuerKeys::new().current(&issuer.url(), NOW).await.expect("reads");
    let keys = IssuerKeys::seeded(&issuer.url(), &document, NOW).expect("keys");
    let client = Client::new().expect("a client");
    let target = agent.target(&issuer.url());
    soon(client.connect(&target, &keys, || NOW)).await.expect("is believed");
    assert_eq!(issuer.reads(), 1, "only the controller has read them");
}

#[tokio::test]
async fn a_relay_that_forwards_evidence_under_its_own_key_is_refused_before_any_proof() {
    let issuer = TestIssuer::start().await;
    let agent = TestAgent::start(honest(&issuer.url()));
    let relay = Relay::start(agent.address);
    let target = Target { address: relay.address, identity: identity(&issuer.url()) };
    let error = connect(&target).await.expect_err("is refused");
    let ConnectError::Evidence(EvidenceError::Audience(_)) = &error else { panic!("{error:?}") };
    assert!(!error.is_retryable());
    let (from_client, from_agent) = soon(relay.finish()).await;
    assert_eq!((from_client, from_agent), (vec![0x01], vec![0x02]), "Hello, Evidence, no more");
    assert_eq!(agent.seen(), ["Hello"]);
}

#[tokio::test]
async fn a_siblings_evidence_is_refused() {
    let issuer = TestIssuer::start().await;
    let sibling = honest_but(&issuer.url(), |claims| {
        claims["machine_id"] = "0000000000000f".into();
        claims["machine_version"] = "01JVERSION9".into();
    });
    let error = refused(&issuer, sibling).await;
    let EvidenceError::Machine(mismatch) = &error else { panic!("{error:?}") };
    assert_eq!(mismatch.found, "0000000000000f");
    assert!(!ConnectError::Evidence(error).is_retryable());
}

#[tokio::test]
async fn expired_evidence_is_refused() {
    let issuer = TestIssuer::start().await;
    let expired = honest_but(&issuer.url(), |claims| {
        claims["iat"] = (NOW - 900).into();
        claims["nbf"] = (NOW - 900).into();
        claims["exp"] = (NOW - 300).into();
    });
    let error = refused(&issuer, expired).await;
    assert!(matches!(error, EvidenceError::Expired { .. }), "{error:?}");
    assert!(!ConnectError::Evidence(error).is_retryable());
}

#[tokio::test]
async fn evidence_of_another_app_is_refused() {
    let issuer = TestIssuer::start().await;
    let other = honest_but(&issuer.url(), |claims| claims["app_name"] = "other-vault".into());
    let error = refused(&issuer, other).await;
    assert!(matches!(error, EvidenceError::App(_)), "{error:?}");
    // The name was given up and taken again by someone else.
    let other = honest_but(&issuer.url(), |claims| claims["app_id"] = "20482048".into());
    let error = refused(&issuer, other).await;
    assert!(matches!(error, EvidenceError::AppId(_)), "{error:?}");
}

#[tokio::test]
async fn another_version_of_the_machine_is_worth_another_attempt() {
    let issuer = TestIssuer::start().await;
    let updated = honest_but(&issuer.url(), |claims| {
        claims["machine_version"] = "01JVERSION2".into();
        claims["image_digest"] = "sha256:2e2e".into();
    });
    let error = refused(&issuer, updated).await;
    assert!(matches!(error, EvidenceError::MachineVersion(_)), "{error:?}");
    assert!(ConnectError::Evidence(error).is_retryable());
}

#[tokio::test]
async fn a_swapped_key_with_the_right_certificate_fails_the_tls_handshake() {
    let issuer = TestIssuer::start().await;
    let (certificate, _) = agent::certificate();
    let (_, key) = agent::certificate();
    let agent = TestAgent::start_with(honest(&issuer.url()), certificate, key);
    let error = connect(&agent.target(&issuer.url())).await.expect_err("is refused");
    let ConnectError::Tls { source, .. } = &error else { panic!("{error:?}") };
    assert!(format!("{source:?}").contains("BadSignature"), "{source:?}");
    assert!(!error.is_retryable());
    assert!(agent.seen().is_empty());
}

#[tokio::test]
async fn without_a_version_in_common_nothing_is_said_and_trying_again_is_no_use() {
    let issuer = TestIssuer::start().await;
    let agent = TestAgent::start(Behaviour { version: b"vaultctl/9", ..honest(&issuer.url()) });
    let error = connect(&agent.target(&issuer.url())).await.expect_err("is refused");
    let ConnectError::Version { address } = &error else { panic!("{error:?}") };
    assert_eq!(*address, agent.address);
    assert!(error.to_string().ends_with("which speaks vaultctl/1"), "{error}");
    assert!(!error.is_retryable());
    assert!(agent.seen().is_empty());
}

#[tokio::test]
async fn evidence_of_another_connection_is_refused() {
    let issuer = TestIssuer::start().await;
    let (url, first) = (issuer.url(), OnceLock::new());
    let replaying = minting(move |audience| {
        first.get_or_init(|| ISSUERS.sign(&claims(&url, audience))).clone()
    });
    let agent = TestAgent::start(replaying);
    let target = agent.target(&issuer.url());
    connect(&target).await.expect("is believed the first time");
    let error = connect(&target).await.expect_err("is refused the second time");
    let audience = matches!(error, ConnectError::Evidence(EvidenceError::Audience(_)));
    assert!(audience, "{error:?}");
    assert_eq!(agent.seen(), ["Hello", "Hello"]);
}

#[tokio::test]
async fn a_token_signed_by_nobody_is_refused() {
    let issuer = TestIssuer::start().await;
    let minting_with = |mint: fn(&Value) -> String| {
        let url = issuer.url();
        minting(move |audience| mint(&claims(&url, audience)))
    };
    let none = refused(&issuer, minting_with(unsigned)).await;
    assert!(matches!(&none, EvidenceError::Algorithm { found } if found == "none"), "{none:?}");
    let confused = refused(&issuer, minting_with(|claims| ISSUERS.confuse(claims))).await;
    let hmac = matches!(&confused, EvidenceError::Algorithm { found } if found == "HS256");
    assert!(hmac, "{confused:?}");
    let unknown = refused(&issuer, minting_with(|claims| NOBODYS.sign(claims))).await;
    assert!(matches!(unknown, EvidenceError::UnknownKey { .. }), "{unknown:?}");
    let forged = refused(&issuer, minting_with(|claims| NOBODYS.sign_as("key-1", claims))).await;
    assert!(matches!(forged, EvidenceError::Signature), "{forged:?}");
}

#[tokio::test]
async fn another_issuer_is_refused() {
    let issuer = TestIssuer::start().await;
    // Signed by the right key, as an issuer with a key for all organizations might.
    let other = honest_but(&issuer.url_of("other-org"), |_| {});
    let error = refused(&issuer, other).await;
    assert!(matches!(error, EvidenceError::Issuer(_)), "{error:?}");
}

#[tokio::test]
async fn plain_http_issuers_are_taken_on_loopback_only() {
    let issuer = TestIssuer::start().await;
    let agent = TestAgent::start(honest(&issuer.url()));
    for url in ["http://oidc.fly.io/acme-org", "http://192.0.2.1/oidc/acme-org"] {
        let error = connect(&agent.target(url)).await.expect_err("is not accepted");
        assert!(matches!(error, ConnectError::Issuer(_)), "{error:?}");
        // Nor with keys that came from elsewhere.
        let set = serde_json::json!({"keys": [ISSUERS.jwk()]});
        IssuerKeys::seeded(url, &set, NOW).expect_err("is not accepted");
        IssuerKeys::new().current(url, NOW).await.expect_err("is not accepted");
    }
    assert!(agent.seen().is_empty());
    connect(&agent.target(&issuer.url())).await.expect("loopback is accepted");
}

#[tokio::test]
async fn health_is_told_before_any_proof() {
    let issuer = TestIssuer::start().await;
    let agent = TestAgent::start(honest(&issuer.url()));
    let mut attested = connect(&agent.target(&issuer.url())).await.expect("is believed");
    for _ in 0..2 {
        let health = soon(attested.health()).await.expect("is told");
        assert_eq!((health.version.as_str(), health.ready), ("9.9.9", false));
        assert_eq!(*health.boot_id, [3; 16]);
        assert_eq!(health.message.as_deref(), Some("still \u{fffd}[31munpacking"));
    }
    assert_eq!(agent.seen(), ["Hello", "HealthRequest", "HealthRequest"]);
}

#[tokio::test]
async fn a_refused_proof_is_final() {
    let issuer = TestIssuer::start().await;
    let agent = TestAgent::start(honest(&issuer.url()));
    let attested = connect(&agent.target(&issuer.url())).await.expect("is believed");
    let wrong = secret().proof_key("0000000000000f");
    let error = soon(attested.prove(&wrong)).await.expect_err("is refused");
    assert!(matches!(error, ConnectError::ProofRefused), "{error:?}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn an_agent_that_cannot_serve_now_is_worth_another_attempt() {
    let issuer = TestIssuer::start().await;
    let url = issuer.url();
    for (reason, retryable) in [
        (RefusedReason::NotReady, true),
        (RefusedReason::NoEvidence, true),
        (RefusedReason::Other(200), false),
    ] {
        let refusing = Behaviour { refusal: Some((reason, "so\u{7}")), ..honest(&url) };
        let agent = TestAgent::start(refusing);
        let error = connect(&agent.target(&url)).await.expect_err("is refused");
        assert_eq!(error.is_retryable(), retryable, "{error:?}");
        assert!(error.to_string().ends_with(": so\u{fffd}"), "{error}");
    }
    for (code, retryable) in [
        (CloseCode::Busy, true),
        (CloseCode::ShuttingDown, true),
        (CloseCode::TooSlow, true),
        (CloseCode::Refused, true),
        (CloseCode::Protocol, false),
    ] {
        let agent = TestAgent::start(Behaviour { close: Some(code), ..honest(&url) });
        let error = connect(&agent.target(&url)).await.expect_err("is closed");
        assert!(matches!(error, ConnectError::Closed { code: told, .. } if told == code));
        assert_eq!(error.is_retryable(), retryable, "{error:?}");
    }
    // A bound socket that nobody reads from.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = silent.local_addr().expect("an address");
    let error = connect(&Target { address, identity: identity(&url) }).await.expect_err("silence");
    assert!(matches!(error, ConnectError::Timeout { .. }) && error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn an_agent_that_breaks_the_protocol_is_refused() {
    let issuer = TestIssuer::start().await;
    let ready = agent::bytes(vault_client::protocol::message::Ready { root: None });
    for raw in [ready, vec![0x02, 0xff, 0xff, 0xff], vec![0xee, 0, 0, 0], vec![0x02, 0, 0, 1, 0]] {
        let agent = TestAgent::start(Behaviour { raw: Some(raw), ..honest(&issuer.url()) });
        let error = connect(&agent.target(&issuer.url())).await.expect_err("is refused");
        let broken = matches!(error, ConnectError::Protocol(_) | ConnectError::Turn(_));
        assert!(broken && !error.is_retryable(), "{error:?}");
    }
}

#[test]
fn errors_can_be_carried_between_threads() {
    fn carried<T: Send + Sync + 'static>() {}
    carried::<ConnectError>();
    carried::<Arc<vault_client::ExecError>>();
    carried::<vault_client::Connection>();
    carried::<Client>();
}
