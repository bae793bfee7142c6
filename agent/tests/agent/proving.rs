//! From a connection to a right proof, and where it ends otherwise.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quinn::ConnectionError;
use rustls::NamedGroup;
use rustls::client::Tls13ClientSessionValue;
use rustls::client::{ClientSessionStore, Resumption, Tls12ClientSessionValue};
use rustls::pki_types::{CertificateDer, ServerName};
use vault_agent::secret::SecretError;
use vault_protocol::SERVER_NAME;
use vault_protocol::binding::{EVIDENCE_LABEL, audience};
use vault_protocol::code::CloseCode;
use vault_protocol::message::{HealthRequest, Message, Proof, Refused, RefusedReason};

use crate::support::{
    Answer, Client, Fixture, ManualClock, client_config, client_endpoint, client_tls, exec, say,
    soon,
};

/// The SubjectPublicKeyInfo of a P-256 key begins so, and is 91 bytes long (RFC 5480).
const P256_KEY: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\
    \xce\x3d\x03\x01\x07\x03\x42\x00";

#[tokio::test]
async fn evidence_is_for_this_connection_and_this_key() {
    let fixture = Fixture::start();
    let mut client = fixture.client().await;
    let Some(Message::Evidence(evidence)) = client.hello().await else {
        panic!("no evidence");
    };
    let identity = client.connection.peer_identity().expect("a certificate");
    let chain = identity.downcast::<Vec<CertificateDer<'_>>>().expect("of rustls");
    let certificate = chain[0].as_ref();
    let start = certificate.windows(P256_KEY.len()).position(|part| part == P256_KEY);
    let start = start.expect("a P-256 key");
    let expected = audience(&client.exporter(EVIDENCE_LABEL), &certificate[start..start + 91]);
    assert_eq!(evidence.token, format!("header.{expected}.signature"));
    assert!(evidence.software.starts_with("vault-agent "));
}

#[tokio::test]
async fn health_tells_readiness_and_boot() {
    let fixture = Fixture::start();
    let mut boots = Vec::new();
    for fixture in [&fixture, &fixture, &Fixture::start()] {
        let mut client = fixture.client().await;
        client.hello().await;
        say(&mut client.control, HealthRequest {}).await;
        let Some(Message::Health(health)) = client.messages.next().await else {
            panic!("no health");
        };
        assert!(health.ready && health.message.is_none());
        assert_eq!(health.version, env!("CARGO_PKG_VERSION"));
        boots.push(health.boot_id);
    }
    assert_eq!(boots[0], boots[1]);
    assert_ne!(boots[0], boots[2]);
}

#[tokio::test]
async fn an_agent_without_a_secret_says_so_and_takes_no_proof() {
    let fixture =
        Fixture::with(Answer::Token, |config| config.secret = Err(SecretError::Malformed));
    let mut client = fixture.client().await;
    client.hello().await;
    say(&mut client.control, HealthRequest {}).await;
    let Some(Message::Health(health)) = client.messages.next().await else {
        panic!("no health");
    };
    assert!(!health.ready);
    let why = health.message.expect("a message");
    assert!(why.contains("VAULT_TENANT_SECRET"), "{why}");
    let proof = client.right_proof();
    say(&mut client.control, proof).await;
    let refused = client.messages.next().await;
    let expected = Refused { reason: RefusedReason::NotReady, message: why };
    assert_eq!(refused, Some(expected.into()));
    assert_eq!(client.closed().await, Some(CloseCode::Refused));
    assert_eq!(fixture.agent.counts().refused_proofs, 0, "nobody is to blame");
}

#[tokio::test]
async fn without_evidence_a_connection_goes_no_further() {
    for answer in [Answer::Error, Answer::TooLong] {
        let fixture = Fixture::with(answer, |_| {});
        let mut client = fixture.client().await;
        let Some(Message::Refused(refused)) = client.hello().await else {
            panic!("not refused");
        };
        assert_eq!(refused.reason, RefusedReason::NoEvidence);
        assert!(!refused.message.contains("internals"), "{}", refused.message);
        assert_eq!(client.closed().await, Some(CloseCode::Refused));
        assert_eq!(fixture.agent.counts().evidence_failures, 1);
    }
}

async fn refusal(fixture: &Fixture, change: impl FnOnce(&mut Proof)) -> Message {
    let mut client = fixture.client().await;
    client.hello().await;
    let mut proof = client.right_proof();
    change(&mut proof);
    say(&mut client.control, proof).await;
    let refusal = client.messages.next().await.expect("an answer");
    assert_eq!(client.closed().await, Some(CloseCode::Refused));
    refusal
}

#[tokio::test]
async fn a_wrong_proof_is_refused_with_one_answer_and_counted_per_source() {
    // Time stands far apart, so that no penalty adds up.
    let clock = Arc::new(ManualClock::default());
    let of_agent = Arc::clone(&clock);
    let fixture = Fixture::with(Answer::Token, |config| config.clock = of_agent);
    let expected = refusal(&fixture, |proof| proof.value[0] ^= 1).await;
    let Message::Refused(refused) = &expected else { panic!("{expected:?}") };
    assert_eq!(refused.reason, RefusedReason::Proof);
    let wrongs: [fn(&mut Proof); 5] = [
        |proof| proof.scheme = 9,
        |proof| proof.value.truncate(31),
        |proof| proof.value.clear(),
        |proof| proof.value.push(0),
        |proof| proof.value = vec![0; 8 << 10].into(),
    ];
    for wrong in wrongs {
        clock.advance(Duration::from_secs(5));
        assert_eq!(refusal(&fixture, wrong).await, expected);
    }
    assert_eq!(fixture.agent.counts().refused_proofs, 6);
    assert_eq!(fixture.agent.counts().accepted_proofs, 0);
    fixture.operator().await;
    assert_eq!(fixture.agent.counts().accepted_proofs, 1);
}

#[tokio::test]
async fn a_source_with_many_wrong_proofs_is_turned_away() {
    let clock = Arc::new(ManualClock::default());
    let of_agent = Arc::clone(&clock);
    let fixture = Fixture::with(Answer::Token, |config| config.clock = of_agent);
    for _ in 0..3 {
        refusal(&fixture, |proof| proof.value[0] ^= 1).await;
    }
    let connect = || client_endpoint().connect(fixture.agent.local_address(), SERVER_NAME);
    let refused = soon(connect().expect("an address")).await.expect_err("turned away");
    assert!(matches!(refused, ConnectionError::ConnectionClosed(_)), "{refused:?}");
    assert_eq!(fixture.agent.counts().turned_away, 1);
    // Another address of this computer is another source.
    let other = quinn::Endpoint::client(([127, 0, 0, 2], 0).into()).expect("an endpoint");
    let config = client_config(client_tls());
    let connecting = other.connect_with(config, fixture.agent.local_address(), SERVER_NAME);
    let connection = soon(connecting.expect("an address")).await.expect("connected");
    Client::on(other, connection).await.prove().await;
    clock.advance(Duration::from_secs(15));
    fixture.operator().await;
}

#[tokio::test]
async fn who_shares_a_proven_source_cannot_lock_its_operators_out() {
    let fixture = Fixture::start();
    fixture.operator().await;
    for _ in 0..10 {
        refusal(&fixture, |proof| proof.value[0] ^= 1).await;
    }
    fixture.operator().await;
    let counts = fixture.agent.counts();
    assert_eq!((counts.refused_proofs, counts.turned_away), (10, 0));
}

#[tokio::test]
async fn no_stream_but_the_control_stream_before_the_proof() {
    let fixture = Fixture::start();
    let mut client = fixture.client().await;
    let connection = client.connection.clone();
    let second = connection.open_bi();
    let one_way = connection.open_uni();
    tokio::pin!(second, one_way);
    // As many messages as it takes for the agent to grant streams, if it ever did.
    let evidence = tokio::select! {
        biased;
        _ = &mut second => panic!("a second stream"),
        _ = &mut one_way => panic!("a one-way stream"),
        evidence = client.messages_after_hello() => evidence,
    };
    assert!(matches!(evidence, Some(Message::Evidence(_))));
    let proof = client.right_proof();
    say(&mut client.control, proof).await;
    assert!(matches!(client.messages.next().await, Some(Message::Ready(_))));
    soon(second).await.expect("granted");
    soon(one_way).await.expect("granted");
}

impl Client {
    /// Says hello and asks for health: three round trips in all.
    async fn messages_after_hello(&mut self) -> Option<Message> {
        let evidence = self.hello().await;
        for _ in 0..2 {
            say(&mut self.control, HealthRequest {}).await;
            self.messages.next().await;
        }
        evidence
    }
}

#[tokio::test]
async fn who_says_nothing_is_closed_in_time() {
    let fixture = Fixture::start();
    let silent = fixture.client().await;
    let mut halfway = fixture.client().await;
    halfway.hello().await;
    assert_eq!(silent.closed().await, Some(CloseCode::TooSlow));
    assert_eq!(halfway.closed().await, Some(CloseCode::TooSlow));
    assert_eq!(fixture.agent.counts().too_slow, 2);
}

#[tokio::test]
async fn a_message_out_of_turn_closes_the_connection() {
    let fixture = Fixture::start();
    let mut client = fixture.client().await;
    let proof = client.right_proof();
    say(&mut client.control, proof).await;
    assert_eq!(client.closed().await, Some(CloseCode::Protocol));
    let mut client = fixture.operator().await;
    say(&mut client.control, exec(&["true"])).await;
    assert_eq!(client.closed().await, Some(CloseCode::Protocol));
    assert_eq!(fixture.agent.counts().commands, 0);
}

/// Counts what a server gives out for later connections.
#[derive(Default)]
struct Tickets(AtomicUsize);

impl fmt::Debug for Tickets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Tickets")
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: Tls13ClientSessionValue) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }
}

#[tokio::test]
async fn no_early_data_and_no_tickets() {
    let fixture = Fixture::start();
    let tickets = Arc::new(Tickets::default());
    let mut tls = client_tls();
    tls.enable_early_data = true;
    tls.resumption = Resumption::store(Arc::clone(&tickets) as Arc<dyn ClientSessionStore>);
    let mut endpoint = client_endpoint();
    endpoint.set_default_client_config(client_config(tls));
    for _ in 0..2 {
        let connecting = endpoint.connect(fixture.agent.local_address(), SERVER_NAME);
        // There is nothing to resume, so there is nothing to send early.
        let connecting = connecting.expect("an address").into_0rtt().err().expect("no early data");
        let connection = soon(connecting).await.expect("connected");
        // Tickets would have come with or before what follows.
        let mut client = Client::on(endpoint.clone(), connection).await;
        client.prove().await;
        assert_eq!(client.run(exec(&["true"])).await.exit, crate::support::code(0));
    }
    assert_eq!(tickets.0.load(Ordering::Relaxed), 0);
}
