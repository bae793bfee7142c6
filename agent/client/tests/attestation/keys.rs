//! Reading an issuer's keys.

use vault_client::{ConnectError, EvidenceError, IssuerKeys, KeysError};

use crate::agent::{TestAgent, minting};
use crate::issuer::TestIssuer;
use crate::signer::{ISSUERS, NOBODYS, NOW, claims};
use crate::{Client, soon};

#[tokio::test]
async fn the_issuers_keys_are_read_again_for_an_unknown_key_at_most_once_a_minute() {
    let issuer = TestIssuer::start().await;
    let url = issuer.url();
    let agent = TestAgent::start(minting(move |audience| NOBODYS.sign(&claims(&url, audience))));
    let (target, keys) = (agent.target(&issuer.url()), IssuerKeys::new());
    let client = Client::new().expect("a client");
    let attempt = |after: i64| {
        let (client, target, keys) = (&client, &target, &keys);
        async move { soon(client.connect(target, keys, || NOW + after)).await.map(drop) }
    };
    let unknown = |result: Result<(), ConnectError>| {
        let error = result.expect_err("is refused");
        let unknown = matches!(error, ConnectError::Evidence(EvidenceError::UnknownKey { .. }));
        assert!(unknown, "{error:?}");
    };
    for (after, reads) in [(0, 1), (1, 1), (59, 1), (60, 2), (61, 2)] {
        unknown(attempt(after).await);
        assert_eq!(issuer.reads(), reads, "after {after} s");
    }
    issuer.publish(vec![ISSUERS.jwk(), NOBODYS.jwk()]);
    unknown(attempt(119).await);
    attempt(120).await.expect("is believed now");
    assert_eq!(issuer.reads(), 3);
    attempt(121).await.expect("is believed still");
    assert_eq!(issuer.reads(), 3);
}

#[tokio::test]
async fn seeded_keys_do_not_keep_a_new_key_from_being_read() {
    let issuer = TestIssuer::start().await;
    issuer.publish(vec![NOBODYS.jwk()]);
    let url = issuer.url();
    let agent = TestAgent::start(minting(move |audience| NOBODYS.sign(&claims(&url, audience))));
    let old = serde_json::json!({"keys": [ISSUERS.jwk()]});
    let keys = IssuerKeys::seeded(&issuer.url(), &old, NOW).expect("keys");
    let target = agent.target(&issuer.url());
    let client = Client::new().expect("a client");
    soon(client.connect(&target, &keys, || NOW)).await.expect("is believed");
    assert_eq!(issuer.reads(), 1);
}

#[tokio::test]
async fn keys_are_read_once_an_hour() {
    let issuer = TestIssuer::start().await;
    let keys = IssuerKeys::new();
    for (after, reads) in [(0, 1), (3599, 1), (3600, 2), (3601, 2)] {
        let document = keys.current(&issuer.url(), NOW + after).await.expect("reads");
        assert_eq!(document, serde_json::json!({"keys": [ISSUERS.jwk()]}));
        assert_eq!(issuer.reads(), reads, "after {after} s");
    }
}

#[tokio::test]
async fn an_issuers_documents_are_checked_and_bounded() {
    let issuer = TestIssuer::start().await;
    let read = async |org: &str| {
        let result = soon(IssuerKeys::new().current(&issuer.url_of(org), NOW)).await;
        result.expect_err("is not accepted")
    };
    assert!(matches!(read("elsewhere").await, KeysError::Elsewhere { .. }));
    assert!(matches!(read("another").await, KeysError::OtherIssuer { .. }));
    let redirecting = read("redirecting").await;
    assert!(matches!(redirecting, KeysError::Status { status, .. } if status.as_u16() == 307));
    assert!(!redirecting.is_retryable());
    assert!(read("failing").await.is_retryable());
    assert!(matches!(read("endless").await, KeysError::TooLong { .. }));
    assert!(matches!(read("silly").await, KeysError::Document { .. }));
    assert_eq!(issuer.reads(), 0, "no keys were asked for by now");
    assert!(matches!(read("keyless").await, KeysError::Set { .. }));
    // A port that was just given back.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr();
    let gone = format!("http://{}/oidc/acme-org", free.expect("an address"));
    let error = IssuerKeys::new().current(&gone, NOW).await.expect_err("nobody is there");
    assert!(matches!(error, KeysError::Request { .. }) && error.is_retryable(), "{error:?}");
}
