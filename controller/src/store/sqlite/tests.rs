use std::os::unix::fs::PermissionsExt;

use serde_json::{Map, json};
use tempfile::TempDir;
use vault_plan::action::ActionKind;
use vault_plan::observed::SecretState;

use super::super::{IntentTrace, Verdict};
use super::*;
use crate::events::Event;
use crate::record::CallRecord;
use crate::source::Source;
use crate::store::{ApiStore, IntentState, PageQuery};
use crate::testing::{NOW, open};

fn store() -> (TempDir, SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    (folder, store)
}

fn object(name: &str) -> StoredObject {
    StoredObject {
        kind: Kind::Tenant,
        name: name.to_owned(),
        uid: "uid".to_owned(),
        generation: 1,
        resource_version: 0,
        created_at: NOW,
        deleted_at: None,
        source: Source::Folder { file: "acme.yaml".to_owned() },
        metadata: Map::new(),
        spec: Map::from_iter([("class".to_owned(), json!("dev"))]),
        status: None,
    }
}

fn intent(id: Ulid) -> Intent {
    Intent {
        id,
        tenant: "acme".to_owned(),
        organization: "local".to_owned(),
        app: "acme-app".to_owned(),
        kind: ActionKind::CreateVolume,
        external_name: "v_data".to_owned(),
        external_id: None,
        state: IntentState::Planned,
        planned_at: NOW,
        sent_at: None,
        outcome: None,
        spec_hash: None,
    }
}

fn settlement(id: Ulid, state: IntentState) -> Settlement {
    Settlement { id, state, external_id: None, outcome: None }
}

#[tokio::test]
async fn an_object_is_put_only_over_the_version_that_was_read() {
    let (_folder, store) = store();
    let first = store.put_object(object("acme"), None).await.unwrap();
    assert_eq!(store.object(Kind::Tenant, "acme").await.unwrap().as_ref(), Some(&first));
    assert_eq!(store.object(Kind::TenantClass, "acme").await.unwrap(), None);
    for wrong in [None, Some(first.resource_version - 1), Some(first.resource_version + 1)] {
        let refused = store.put_object(object("acme"), wrong).await;
        assert!(matches!(refused, Err(StoreError::Conflict)), "{wrong:?}: {refused:?}");
    }
    assert!(matches!(store.put_object(object("new"), Some(1)).await, Err(StoreError::Conflict)));
    let second = store.put_object(first.clone(), Some(first.resource_version)).await.unwrap();
    assert!(second.resource_version > first.resource_version);

    let stale = store.remove_object(Kind::Tenant, "acme", first.resource_version).await;
    assert!(matches!(stale, Err(StoreError::Conflict)));
    store.remove_object(Kind::Tenant, "acme", second.resource_version).await.unwrap();
    assert_eq!(store.object(Kind::Tenant, "acme").await.unwrap(), None);
    assert!(store.resource_version().await.unwrap() > second.resource_version);
}

#[tokio::test]
async fn versions_begin_at_the_time_of_making_and_only_grow() {
    let (_folder, store) = store();
    let begin = NOW.0 << 16;
    assert_eq!(store.resource_version().await.unwrap(), begin);
    let mut last = begin;
    for name in ["a", "b", "c"] {
        let object = store.put_object(object(name), None).await.unwrap();
        assert_eq!(object.resource_version, last + 1);
        last = object.resource_version;
    }
    // A refused write gives no version out.
    store.put_object(object("a"), None).await.unwrap_err();
    assert_eq!(store.resource_version().await.unwrap(), last);
}

#[tokio::test]
async fn a_status_moves_the_version_and_not_the_generation_and_wakes_no_removed_object() {
    let (_folder, store) = store();
    let before = store.put_object(object("acme"), None).await.unwrap();
    let statuses =
        vec![("acme".to_owned(), r#"{"a":1}"#.to_owned()), ("gone".to_owned(), "{}".to_owned())];
    store.put_statuses(statuses).await.unwrap();
    let after = store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
    assert_eq!(after.status, Some(json!({"a": 1})));
    assert_eq!((after.generation, &after.spec), (before.generation, &before.spec));
    assert!(after.resource_version > before.resource_version);
    let names: Vec<String> =
        store.objects(Kind::Tenant).await.unwrap().into_iter().map(|object| object.name).collect();
    assert_eq!(names, ["acme"]);
}

#[tokio::test]
async fn the_journal_allows_these_transitions_and_no_others() {
    use IntentState::{Aborted, Acked, Planned, Sent, Verified};
    let allowed = [
        (Planned, Sent),
        (Planned, Aborted),
        (Sent, Acked),
        (Sent, Verified),
        (Sent, Aborted),
        (Acked, Verified),
        (Acked, Aborted),
    ];
    let (_folder, store) = store();
    let mut random = 0;
    for from in IntentState::ALL {
        for to in IntentState::ALL {
            random += 1;
            let id = Ulid::from_parts(1, random);
            store.plan_intents(vec![intent(id)]).await.unwrap();
            let path: &[IntentState] = match from {
                Planned => &[],
                Sent => &[Sent],
                Acked => &[Sent, Acked],
                Verified => &[Sent, Verified],
                Aborted => &[Aborted],
            };
            for &step in path {
                match step {
                    Sent => store.send_intent(id, NOW).await.unwrap(),
                    step => store.settle_intents(vec![settlement(id, step)], NOW).await.unwrap(),
                }
            }
            let result = match to {
                Sent => store.send_intent(id, NOW).await,
                to => store.settle_intents(vec![settlement(id, to)], NOW).await,
            };
            match allowed.contains(&(from, to)) {
                true => result.unwrap(),
                false => assert!(
                    matches!(result, Err(StoreError::IllegalTransition { .. })),
                    "{from:?} to {to:?}: {result:?}"
                ),
            }
        }
    }
}

#[tokio::test]
async fn open_intents_come_oldest_first_with_all_that_is_known_of_them() {
    let (_folder, store) = store();
    let ids: Vec<Ulid> = (1..=4).map(|random| Ulid::from_parts(1, random)).collect();
    let shuffled = [ids[2], ids[0], ids[3], ids[1]];
    store.plan_intents(shuffled.into_iter().map(intent).collect()).await.unwrap();
    store.send_intent(ids[1], NOW.plus_ms(5)).await.unwrap();
    store.send_intent(ids[2], NOW).await.unwrap();
    let acked = Settlement {
        external_id: Some("vol_1".to_owned()),
        outcome: Some("made".to_owned()),
        ..settlement(ids[2], IntentState::Acked)
    };
    store.settle_intents(vec![acked, settlement(ids[3], IntentState::Aborted)], NOW).await.unwrap();
    let expected = [
        intent(ids[0]),
        Intent { state: IntentState::Sent, sent_at: Some(NOW.plus_ms(5)), ..intent(ids[1]) },
        Intent {
            state: IntentState::Acked,
            sent_at: Some(NOW),
            external_id: Some("vol_1".to_owned()),
            outcome: Some("made".to_owned()),
            ..intent(ids[2])
        },
    ];
    assert_eq!(store.open_intents().await.unwrap(), expected);
    // What is verified later keeps the id that was known.
    store.settle_intents(vec![settlement(ids[2], IntentState::Verified)], NOW).await.unwrap();
    assert_eq!(store.open_intents().await.unwrap(), expected[..2]);
}

#[tokio::test]
async fn a_doubted_intent_waits_from_then_on_and_a_settled_one_is_left_alone() {
    let (_folder, store) = store();
    let (sent, acked) = (Ulid::from_parts(1, 1), Ulid::from_parts(1, 2));
    store.plan_intents(vec![intent(sent), intent(acked)]).await.unwrap();
    for id in [sent, acked] {
        store.send_intent(id, NOW).await.unwrap();
    }
    store.settle_intents(vec![settlement(acked, IntentState::Acked)], NOW).await.unwrap();
    for id in [sent, acked] {
        let verdict = Verdict::Doubted { id, outcome: "lost".to_owned() };
        let answer = IntentAnswer { verdict, calls: Vec::new(), written: None };
        store.answer_intent(answer, NOW.plus_ms(30_000)).await.unwrap();
    }
    let open = store.open_intents().await.unwrap();
    assert_eq!(
        (open[0].sent_at, open[0].outcome.as_deref()),
        (Some(NOW.plus_ms(30_000)), Some("lost"))
    );
    assert_eq!((open[1].sent_at, open[1].outcome.as_deref()), (Some(NOW), None));
}

#[tokio::test]
async fn a_trace_tells_what_was_called_and_when_what_was_known() {
    let (_folder, store) = store();
    let ids: Vec<Ulid> = (1..=3).map(|random| Ulid::from_parts(1, random)).collect();
    let other = Intent { tenant: "umbra".to_owned(), ..intent(ids[2]) };
    let hashed = Intent { spec_hash: Some("00ff".to_owned()), ..intent(ids[0]) };
    store.plan_intents(vec![hashed.clone(), intent(ids[1]), other]).await.unwrap();
    store.send_intent(ids[0], NOW.plus_ms(1)).await.unwrap();
    let call = CallRecord {
        method: "POST".to_owned(),
        path: "/v1/apps/{app}/volumes".to_owned(),
        attempt: 1,
        status: None,
        failure: Some("timeout".to_owned()),
        fly_request_id: None,
        sent_at: NOW.plus_ms(2),
        took_ms: 7,
    };
    let verdict = Verdict::Doubted { id: ids[0], outcome: "lost".to_owned() };
    let answer = IntentAnswer { verdict, calls: vec![call.clone()], written: None };
    store.answer_intent(answer, NOW.plus_ms(9)).await.unwrap();
    let doubted = IntentTrace {
        intent: Intent {
            state: IntentState::Sent,
            sent_at: Some(NOW.plus_ms(9)),
            outcome: Some("lost".to_owned()),
            ..hashed
        },
        called_at: Some(NOW.plus_ms(1)),
        answered_at: Some(NOW.plus_ms(9)),
        closed_at: None,
        calls: vec![call],
    };
    let traces = store.trace("acme", 10).await.unwrap();
    assert_eq!(traces[0], doubted);
    assert_eq!((traces.len(), traces[1].called_at), (2, None), "others' intents are not told");
    let verified = settlement(ids[0], IntentState::Verified);
    store.settle_intents(vec![verified], NOW.plus_ms(20)).await.unwrap();
    let closed = &store.trace("acme", 10).await.unwrap()[0];
    assert_eq!((closed.closed_at, closed.calls.len()), (Some(NOW.plus_ms(20)), 1));
    let newest = store.trace("acme", 1).await.unwrap();
    assert_eq!(newest.iter().map(|trace| trace.intent.id).collect::<Vec<_>>(), [ids[1]]);
}

#[tokio::test]
async fn settling_is_all_or_nothing() {
    let (_folder, store) = store();
    let (one, other) = (Ulid::from_parts(1, 1), Ulid::from_parts(1, 2));
    store.plan_intents(vec![intent(one), intent(other)]).await.unwrap();
    let mixed =
        vec![settlement(one, IntentState::Aborted), settlement(other, IntentState::Verified)];
    store.settle_intents(mixed, NOW).await.unwrap_err();
    assert_eq!(store.open_intents().await.unwrap().len(), 2);
}

#[tokio::test]
async fn one_bad_request_of_a_group_undoes_nothing_of_the_others() {
    let (_folder, store) = store();
    let taken = store.put_object(object("taken"), None).await.unwrap();
    let writes = (0..100).map(|number| {
        let store = store.clone();
        async move {
            let name = match number % 10 {
                7 => "taken".to_owned(),
                _ => format!("tenant-{number:02}"),
            };
            (number, store.put_object(object(&name), None).await)
        }
    });
    for (number, result) in futures_util::future::join_all(writes).await {
        assert_eq!(result.is_err(), number % 10 == 7, "{number}: {result:?}");
    }
    assert_eq!(store.objects(Kind::Tenant).await.unwrap().len(), 91);
    assert_eq!(store.object(Kind::Tenant, "taken").await.unwrap(), Some(taken));
}

#[tokio::test]
async fn nobody_is_told_of_success_when_the_database_undid_the_group() {
    let (_folder, store) = store();
    // Ten writers that wait at once; the fourth makes SQLite undo the transaction, as a full disk
    // does. Whoever was told of success must be found.
    let writes = (0..10).map(|number| {
        let store = store.clone();
        async move {
            let put = move |connection: &Connection| {
                if number == 3 {
                    connection.execute_batch("ROLLBACK")?;
                }
                objects::put(connection, object(&format!("tenant-{number}")), None)
            };
            (number, store.writer.write(put).await)
        }
    });
    let mut told = Vec::new();
    for (number, result) in futures_util::future::join_all(writes).await {
        if result.is_ok() {
            told.push(format!("tenant-{number}"));
        }
    }
    let stored: Vec<String> =
        store.objects(Kind::Tenant).await.unwrap().into_iter().map(|object| object.name).collect();
    // The request that broke the group ran outside of any transaction; nobody was promised it.
    let promised: Vec<String> = stored.iter().filter(|name| *name != "tenant-3").cloned().collect();
    assert_eq!(told, promised);
    store.put_object(object("later"), None).await.unwrap();
}

#[tokio::test]
async fn a_cancelled_caller_harms_nobody() {
    let (_folder, store) = store();
    let write = store.put_object(object("acme"), None);
    tokio::select! {
        biased;
        () = std::future::ready(()) => {}
        _ = write => unreachable!("the ready arm is polled first"),
    }
    store.put_object(object("beta"), None).await.unwrap();
    assert!(store.object(Kind::Tenant, "beta").await.unwrap().is_some());
}

#[tokio::test]
async fn a_second_controller_is_locked_out_until_the_first_has_gone() {
    let (folder, store) = store();
    let path = folder.path().join("controller.db");
    let other = store.clone();
    store.put_object(object("acme"), None).await.unwrap();
    assert!(matches!(SqliteStore::open(&path, NOW), Err(StoreError::Locked(_))));
    drop(store);
    assert!(matches!(SqliteStore::open(&path, NOW), Err(StoreError::Locked(_))));
    let version = other.resource_version().await.unwrap();
    drop(other);

    // Opened a year later, the counter goes on from where it was.
    let again = SqliteStore::open(&path, NOW.plus_ms(31_536_000_000)).unwrap();
    assert!(again.object(Kind::Tenant, "acme").await.unwrap().is_some());
    assert_eq!(again.resource_version().await.unwrap(), version);
}

#[test]
fn the_files_are_private() {
    let (folder, _store) = store();
    for name in ["controller.db", "controller.db-wal", "controller.lock"] {
        let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let (folder, store) = store();
    drop(store);
    let path = folder.path().join("controller.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 999).unwrap();
    let refused = SqliteStore::open(&path, NOW);
    assert!(matches!(refused, Err(StoreError::TooNew { found: 999, .. })));
    let version: i64 = Connection::open(&path)
        .unwrap()
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, 999);
}

#[test]
fn migrating_twice_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut connection = Connection::open(folder.path().join("test.db")).unwrap();
    migrations::migrate(&mut connection, 1).unwrap();
    let schema = |connection: &Connection| -> Vec<String> {
        let mut rows = connection.prepare("SELECT sql FROM sqlite_schema ORDER BY name").unwrap();
        let rows = rows.query_map([], |row| row.get::<_, Option<String>>(0)).unwrap();
        rows.filter_map(Result::unwrap).collect()
    };
    let before = schema(&connection);
    migrations::migrate(&mut connection, 2).unwrap();
    assert_eq!(schema(&connection), before);
    assert!(!before.is_empty());
    let counters: Vec<i64> = connection
        .prepare("SELECT value FROM counter")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(counters, [1 << 16]);
}

#[tokio::test]
async fn the_oldest_events_go() {
    let (_folder, store) = store();
    for group in 0..22 {
        let events = (0..1_000)
            .map(|number| Event::normal(NOW, "acme", "Test", format!("{}", group * 1_000 + number)))
            .collect();
        store.append_events(events).await.unwrap();
    }
    let (count, first) = store
        .read(|connection| {
            Ok(connection.query_row(
                "SELECT count(*), (SELECT message FROM event ORDER BY id LIMIT 1) FROM event",
                [],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)),
            )?)
        })
        .await
        .unwrap();
    assert_eq!((count, first.as_str()), (20_000, "2000"));
}

#[tokio::test]
async fn what_is_known_of_secrets_is_read_back_replaced_and_forgotten() {
    let (_folder, store) = store();
    assert_eq!(store.secrets().await.unwrap(), []);
    let secret = |app: &str, state, version| StoredSecret {
        app: app.to_owned(),
        name: "KEY".to_owned(),
        state,
        digest: Some("d1".to_owned()),
        version,
        read_at: NOW,
    };
    let set = SecretState::Set { hash: "h1".to_owned() };
    let first = secret("a", set.clone(), Some(7));
    let others =
        [secret("b", SecretState::Changed, None), secret("c", SecretState::Missing, Some(1))];
    store.put_secrets([&others[..], std::slice::from_ref(&first)].concat()).await.unwrap();
    let all = [std::slice::from_ref(&first), &others[..]].concat();
    assert_eq!(store.secrets().await.unwrap(), all);
    let missing = StoredSecret { digest: None, ..secret("a", SecretState::Missing, None) };
    store.put_secrets(vec![missing.clone()]).await.unwrap();
    store.remove_secrets(vec!["b".to_owned(), "c".to_owned(), "nobody".to_owned()]).await.unwrap();
    assert_eq!(store.secrets().await.unwrap(), [missing]);
    // What SQLite cannot count is not told as something else.
    store.put_secrets(vec![secret("a", set.clone(), Some(u64::MAX))]).await.unwrap();
    assert_eq!(store.secrets().await.unwrap(), [secret("a", set, None)]);
}

#[test]
fn a_database_of_the_first_version_gets_the_table_of_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("controller.db");
    let connection = Connection::open(&path).unwrap();
    let first = include_str!("../migrations/0001_objects_journal_events.sql");
    connection.execute_batch(first).unwrap();
    connection.execute("INSERT INTO counter (value) VALUES (5)", []).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    drop(connection);
    drop(SqliteStore::open(&path, NOW).unwrap());
    let connection = Connection::open(&path).unwrap();
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM secret"), 0);
    assert_eq!(count("SELECT value FROM counter"), 5);
}

fn labelled(name: &str, tier: &str) -> StoredObject {
    let labels = json!({ "tier": tier });
    StoredObject { metadata: Map::from_iter([("labels".to_owned(), labels)]), ..object(name) }
}

#[tokio::test]
async fn changes_tell_what_was_written_and_what_went() {
    let (_folder, store) = store();
    let acme = store.put_object(labelled("acme", "pro"), None).await.unwrap();
    let start = acme.resource_version;
    let umbra = store.put_object(labelled("umbra", "pro"), None).await.unwrap();
    let relabelled = store.put_object(labelled("acme", "free"), Some(start)).await.unwrap();
    store.remove_object(Kind::Tenant, "umbra", umbra.resource_version).await.unwrap();
    store.put_statuses(vec![("acme".to_owned(), "{}".to_owned())]).await.unwrap();

    let found = store.changes(Kind::Tenant, start, start, 10).await.unwrap();
    assert!(found.complete && found.horizon <= start);
    let told: Vec<_> = found
        .changes
        .iter()
        .map(|change| (change.object.name.as_str(), change.removed, change.created_version > start))
        .collect();
    assert_eq!(told, [("umbra", true, true), ("acme", false, false)]);
    let before = json!({ "tier": "pro" }).as_object().unwrap().clone();
    assert_eq!(found.changes[1].relabelled, [(relabelled.resource_version, before)]);
    assert_eq!(found.changes[0].object.metadata["labels"]["tier"], "pro");
    assert_eq!(found.changes[0].object.resource_version, found.changes[0].version);
    assert_eq!(found.newest, found.changes[1].version);

    // In steps of one: labels that were replaced long before the last status are still told.
    let first = store.changes(Kind::Tenant, start, start, 1).await.unwrap();
    assert_eq!((first.complete, &first.changes[..]), (false, &found.changes[..1]));
    let next = store.changes(Kind::Tenant, start, first.changes[0].version, 2).await.unwrap();
    assert_eq!((next.complete, &next.changes[..]), (true, &found.changes[1..]));
    assert_eq!(store.changes(Kind::TenantClass, 0, 0, 10).await.unwrap().changes, []);
}

#[tokio::test]
async fn the_past_is_bounded_and_says_where_it_begins() {
    let (_folder, store) = store();
    let first = store.put_object(labelled("acme", "a"), None).await.unwrap().resource_version;
    assert!(store.changes(Kind::Tenant, first, first, 1).await.unwrap().horizon <= first);
    let mut last = first;
    for number in 0..4_200 {
        let object = labelled("acme", &number.to_string());
        last = store.put_object(object, Some(last)).await.unwrap().resource_version;
    }
    let found = store.changes(Kind::Tenant, first, first, 10).await.unwrap();
    assert!(found.horizon > first && found.horizon < last, "{}", found.horizon);
    assert_eq!(found.changes[0].relabelled.len(), 4_096);
}

#[tokio::test]
async fn pages_hold_what_was_asked_for_and_tell_what_follows() {
    let (_folder, store) = store();
    for (name, tier) in [("a", "pro"), ("b", "free"), ("c", "pro"), ("d", "pro"), ("e", "free")] {
        store.put_object(labelled(name, tier), None).await.unwrap();
    }
    let pro: crate::select::LabelSelector = "tier=pro".parse().unwrap();
    let everything = PageQuery { limit: 2, count: true, ..PageQuery::default() };
    let selected = PageQuery { labels: pro, ..everything.clone() };
    let after =
        |query: &PageQuery, name: &str| PageQuery { after: Some(name.to_owned()), ..query.clone() };
    let table = [
        (everything.clone(), "ab", Some(3)),
        (after(&everything, "b"), "cd", Some(1)),
        (after(&everything, "d"), "e", None),
        (selected.clone(), "ac", Some(2)),
        (after(&selected, "c"), "d", None),
        (PageQuery { name: Some("c".to_owned()), ..everything.clone() }, "c", None),
    ];
    for (query, names, remaining) in table {
        let page = store.page(Kind::Tenant, query.clone()).await.unwrap();
        let found: String = page.objects.iter().map(|object| object.name.as_str()).collect();
        assert_eq!((found.as_str(), page.more), (names, remaining.is_some()), "{query:?}");
        assert_eq!(page.remaining, remaining, "{query:?}");
        assert_eq!(page.version, page.changed_at);
    }
}

#[tokio::test]
async fn an_audited_write_is_told_as_any_other() {
    let (_folder, store) = store();
    let record = crate::audit::AuditRecord {
        at: NOW,
        who: "ops".to_owned(),
        role: vault_api::operator::Role::Admin,
        source: String::new(),
        verb: "create".to_owned(),
        kind: "Tenant".to_owned(),
        name: "acme".to_owned(),
        subresource: String::new(),
        dry_run: false,
        code: 201,
        message: "created".to_owned(),
    };
    let mut commits = store.commits();
    commits.mark_unchanged();
    let made = store.put_object_audited(object("acme"), None, record.clone()).await.unwrap();
    assert!(commits.has_changed().unwrap());
    commits.mark_unchanged();
    let version = made.resource_version;
    store.remove_object_audited(Kind::Tenant, "acme", version, record).await.unwrap();
    assert!(commits.has_changed().unwrap());
}

#[tokio::test]
async fn a_commit_is_told_after_it_can_be_read() {
    let (_folder, store) = store();
    let mut commits = store.commits();
    commits.mark_unchanged();
    store.plan_intents(vec![intent(Ulid::from_parts(1, 1))]).await.unwrap();
    assert!(!commits.has_changed().unwrap(), "intents are not watched");
    store.put_object(object("acme"), None).await.unwrap();
    assert!(commits.has_changed().unwrap());
    commits.mark_unchanged();
    assert!(store.put_object(object("acme"), None).await.is_err());
    assert!(!commits.has_changed().unwrap(), "nothing changed");
    let event = Event::normal(NOW, "acme", "Made", "it is there");
    store.append_events(vec![event.clone(), event]).await.unwrap();
    assert!(commits.has_changed().unwrap());
    let found = store.event_changes(0, 10).await.unwrap();
    assert_eq!((found.series.len(), found.series[0].count, found.complete), (1, 2, true));
    assert_eq!(found.series[0].version, found.newest);
    assert_eq!(found.series[0].first_version, found.newest - 1);
    assert_eq!(store.event_changes(found.newest, 10).await.unwrap().series, []);
}
