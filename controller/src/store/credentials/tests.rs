use tempfile::TempDir;
use vault_plan::action::ActionKind;

use super::*;
use crate::record::CallRecord;
use crate::store::{ApiStore, Intent, IntentState, Settlement, SqliteStore, Store, Verdict};
use crate::testing::{NOW, ORG, controller, open};

fn store() -> (TempDir, SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    (folder, store)
}

fn key(n: u64) -> CredentialKey {
    let tenant_uid = controller().tenant_uid("acme");
    CredentialKey { kind: CredentialKind::DeployToken, tenant_uid, n }
}

fn new(n: u64) -> NewCredential {
    NewCredential {
        key: key(n),
        tenant: "acme".to_owned(),
        name: "ci".to_owned(),
        organization: ORG.to_owned(),
        app: "acme-app".to_owned(),
    }
}

fn shown(n: u64) -> ShownCredential {
    ShownCredential {
        key: key(n),
        id: format!("id-{n}"),
        live_at: NOW.plus_ms(1),
        expires_at: Some(NOW.plus_ms(1_000)),
        sealed: vec![1, 2, 3],
    }
}

async fn planned(store: &SqliteStore, random: u128) -> Ulid {
    let id = Ulid::from_parts(1, random);
    let intent = Intent {
        id,
        tenant: "acme".to_owned(),
        organization: ORG.to_owned(),
        app: "acme-app".to_owned(),
        kind: ActionKind::MintToken,
        external_name: "vault/u/1".to_owned(),
        external_id: None,
        state: IntentState::Planned,
        planned_at: NOW,
        sent_at: None,
        outcome: None,
        spec_hash: None,
    };
    store.plan_intents(vec![intent]).await.unwrap();
    id
}

fn settled(id: Ulid, state: IntentState) -> IntentAnswer {
    let settlement = Settlement { id, state, external_id: None, outcome: None };
    IntentAnswer { verdict: Verdict::Settled(settlement), calls: vec![call()], written: None }
}

fn doubted(id: Ulid) -> IntentAnswer {
    let verdict = Verdict::Doubted { id, outcome: "lost".to_owned() };
    IntentAnswer { verdict, calls: vec![call()], written: None }
}

fn call() -> CallRecord {
    CallRecord {
        method: "POST".to_owned(),
        path: "/graphql".to_owned(),
        attempt: 1,
        status: None,
        failure: Some("timeout".to_owned()),
        fly_request_id: None,
        sent_at: NOW,
        took_ms: 40,
    }
}

async fn rows(store: &SqliteStore) -> Vec<(u64, CredentialState)> {
    let stored = store.credentials(CredentialKind::DeployToken).await.unwrap();
    stored.rows.into_iter().map(|row| (row.of.key.n, row.state)).collect()
}

async fn intents(store: &SqliteStore) -> Vec<IntentState> {
    store.open_intents().await.unwrap().into_iter().map(|intent| intent.state).collect()
}

#[tokio::test]
async fn a_credential_goes_with_its_intent_from_sent_to_acked() {
    let (_folder, store) = store();
    let id = planned(&store, 1).await;
    store.begin_credential(new(1), id, NOW).await.unwrap();
    assert_eq!(rows(&store).await, [(1, CredentialState::Minting)]);
    assert_eq!(intents(&store).await, [IntentState::Sent]);
    assert_eq!(store.sealed_credential(key(1)).await.unwrap(), None);
    store.doubt_credential(key(1), doubted(id), NOW.plus_ms(9)).await.unwrap();
    let stored = store.credentials(CredentialKind::DeployToken).await.unwrap();
    assert_eq!(stored.rows[0].sent_at, NOW.plus_ms(9));
    store.keep_credential(shown(1), settled(id, IntentState::Acked), NOW).await.unwrap();
    let live = CredentialState::Live {
        id: "id-1".to_owned(),
        live_at: NOW.plus_ms(1),
        expires_at: Some(NOW.plus_ms(1_000)),
    };
    assert_eq!(rows(&store).await, [(1, live)]);
    assert_eq!(intents(&store).await, [IntentState::Acked]);
    // The journal shows the call as it shows every other, and nothing of the value.
    let traces = store.trace("acme", 10).await.unwrap();
    assert_eq!(traces[0].calls, [call()]);
    assert_eq!(store.sealed_credential(key(1)).await.unwrap(), Some(vec![1, 2, 3]));
    // Another kind, another tenant and another number are none of its business.
    let other = CredentialKey { kind: CredentialKind::AccessKey, ..key(1) };
    assert_eq!(store.sealed_credential(other).await.unwrap(), None);
    assert_eq!(store.credentials(CredentialKind::AccessKey).await.unwrap(), Credentials::default());
    store.remove_credentials(vec![key(1)], None, NOW).await.unwrap();
    assert_eq!(rows(&store).await, []);
}

#[tokio::test]
async fn no_number_is_used_twice_whatever_became_of_the_first() {
    let (_folder, store) = store();
    let first = planned(&store, 1).await;
    store.begin_credential(new(3), first, NOW).await.unwrap();
    let aborted = settled(first, IntentState::Aborted);
    store.remove_credentials(vec![key(3)], Some(aborted), NOW).await.unwrap();
    assert_eq!(rows(&store).await, []);
    let second = planned(&store, 2).await;
    for used in [3, 2, 1] {
        let refused = store.begin_credential(new(used), second, NOW).await;
        assert!(matches!(refused, Err(StoreError::Conflict)), "{used}: {refused:?}");
    }
    assert_eq!(intents(&store).await, [IntentState::Planned], "both or neither");
    store.begin_credential(new(4), second, NOW).await.unwrap();
    let stored = store.credentials(CredentialKind::DeployToken).await.unwrap();
    assert_eq!(stored.last_n.values().copied().collect::<Vec<_>>(), [4]);
}

#[tokio::test]
async fn a_value_is_kept_only_with_its_intent_and_only_once() {
    let (_folder, store) = store();
    let id = planned(&store, 1).await;
    // Not begun: there is nothing to keep a value for.
    let early = store.keep_credential(shown(1), settled(id, IntentState::Acked), NOW).await;
    assert!(matches!(early, Err(StoreError::Conflict)));
    store.begin_credential(new(1), id, NOW).await.unwrap();
    // An intent that may not be acked takes the value with it.
    let planned_again = settled(id, IntentState::Planned);
    assert!(store.keep_credential(shown(1), planned_again, NOW).await.is_err());
    assert_eq!(rows(&store).await, [(1, CredentialState::Minting)]);
    store.keep_credential(shown(1), settled(id, IntentState::Acked), NOW).await.unwrap();
    let again = store.keep_credential(shown(1), settled(id, IntentState::Verified), NOW).await;
    assert!(matches!(again, Err(StoreError::Conflict)));
}

#[tokio::test]
async fn credentials_outlive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    {
        let store = open(folder.path());
        let id = planned(&store, 1).await;
        store.begin_credential(new(1), id, NOW).await.unwrap();
        store.keep_credential(shown(1), settled(id, IntentState::Acked), NOW).await.unwrap();
    }
    let store = open(folder.path());
    assert_eq!(store.sealed_credential(key(1)).await.unwrap(), Some(vec![1, 2, 3]));
}

#[tokio::test]
async fn the_credentials_of_one_tenant_are_told_alone_and_in_the_order_of_their_numbers() {
    let (_folder, store) = store();
    let bob = controller().tenant_uid("bob");
    let (token, access) = (CredentialKind::DeployToken, CredentialKind::AccessKey);
    let acme = key(1).tenant_uid;
    let keys = [(token, acme, 1), (token, acme, 2), (token, bob, 7), (access, acme, 3)];
    for (place, (kind, tenant_uid, n)) in (1_u128..).zip(keys) {
        let intent = planned(&store, place).await;
        let new = NewCredential { key: CredentialKey { kind, tenant_uid, n }, ..new(n) };
        store.begin_credential(new, intent, NOW).await.unwrap();
    }
    for (kind, tenant_uid, expected) in [
        (token, acme, vec![1, 2]),
        (token, bob, vec![7]),
        (access, acme, vec![3]),
        (access, bob, vec![]),
    ] {
        let found = store.credentials_of(kind, tenant_uid).await.unwrap();
        let numbers: Vec<u64> = found.iter().map(|row| row.of.key.n).collect();
        assert_eq!(numbers, expected, "{kind:?}");
        let all = store.credentials(kind).await.unwrap();
        let its = all.rows.into_iter().filter(|row| row.of.key.tenant_uid == tenant_uid);
        assert_eq!(found, its.collect::<Vec<_>>());
    }
}
