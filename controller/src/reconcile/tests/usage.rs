use super::*;
use crate::store::UsagePage;
use crate::usage::UsageFact;

const DAY_MS: i64 = 86_400_000;

impl Stage {
    async fn usage(&self) -> Vec<UsageFact> {
        let page = UsagePage {
            tenant: None,
            after: String::new(),
            limit: 100,
            deleted_since: UnixMillis(0),
        };
        self.store.usage_page(page).await.unwrap()
    }
}

#[tokio::test]
async fn a_pass_keeps_the_facts_of_its_machines_with_their_volumes() {
    let stage = Stage::converged().await;
    let facts = stage.usage().await;
    let [fact] = facts.as_slice() else { panic!("{facts:?}") };
    assert_eq!((fact.tenant.as_str(), fact.state.as_str()), ("acme", "started"));
    assert_eq!(fact.volumes.len(), 1);
    assert!(fact.started_at.is_some() && fact.deleted_at.is_none());
}

/// A stray has no status that names it: only its usage fact knows that it was there.
#[tokio::test]
async fn a_machine_that_nobody_names_is_asked_for_by_id_before_it_counts_as_absent() {
    let stage = Stage::converged().await;
    let mut stray = stage.platform.world().machines[0].clone();
    stray.id = "0000000000beef".to_owned();
    stray.name = "old-box-0".to_owned();
    stray.metadata.insert("vault_tenant".to_owned(), "old".to_owned());
    stage.platform.world().machines.push(stray);
    stage.pass().await;
    assert_eq!(stage.usage().await.len(), 2);
    // The list leaves it out, but it is there.
    stage.platform.world().unlisted.insert("0000000000beef".to_owned());
    for _ in 0..3 {
        stage.pass().await;
        assert!(stage.usage().await.iter().all(|fact| fact.deleted_at.is_none()));
    }
    stage.platform.world().machines.retain(|machine| machine.name != "old-box-0");
    stage.platform.world().calls.clear();
    stage.pass().await;
    assert!(stage.usage().await.iter().all(|fact| fact.deleted_at.is_none()));
    stage.pass().await;
    let deleted: Vec<_> =
        stage.usage().await.into_iter().filter(|fact| fact.deleted_at.is_some()).collect();
    assert_eq!(deleted.len(), 1);
    assert_eq!(deleted[0].tenant, "old");
    let asked =
        stage.platform.world().calls.iter().filter(|call| call.starts_with("machine ")).count();
    assert_eq!(asked, 1, "once it is known to be gone it is not asked for again");
    // It comes back after all.
    let mut returned = stage.platform.world().machines[0].clone();
    returned.id = "0000000000beef".to_owned();
    stage.platform.world().unlisted.clear();
    stage.platform.world().machines.push(returned);
    stage.pass().await;
    assert!(stage.usage().await.iter().all(|fact| fact.deleted_at.is_none()));
}

#[tokio::test]
async fn a_deleted_machine_is_forgotten_after_the_retention_by_a_pass_with_nothing_new() {
    let stage = Stage::converged().await;
    let object = stage.store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
    let version = object.resource_version;
    let deleted = StoredObject { deleted_at: Some(stage.clock.now()), ..object };
    stage.store.put_object(deleted, Some(version)).await.unwrap();
    for _ in 0..6 {
        stage.pass().await;
    }
    let facts = stage.usage().await;
    assert!(facts.len() == 1 && facts[0].deleted_at.is_some(), "{facts:?}");
    stage.clock.advance(89 * DAY_MS);
    stage.pass().await;
    assert_eq!(stage.usage().await.len(), 1);
    stage.clock.advance(DAY_MS);
    stage.pass().await;
    assert_eq!(stage.usage().await, []);
}

/// More than are asked for by id in one pass, and no status names them.
#[tokio::test]
async fn many_that_vanish_at_once_are_believed_after_some_passes_and_block_nobody_for_ever() {
    let stage = Stage::converged().await;
    let own = stage.platform.world().machines[0].clone();
    let stray = |number: usize| {
        let mut stray = own.clone();
        stray.id = format!("00000000beef{number:02x}");
        stray.name = format!("old-box-{number}");
        stray.metadata.insert("vault_tenant".to_owned(), "old".to_owned());
        stray
    };
    stage.platform.world().machines.extend((0..120).map(stray));
    stage.pass().await;
    stage.platform.world().machines.truncate(1);
    let live = async || stage.store.live_usage().await.unwrap().facts.len();
    stage.pass().await;
    assert_eq!(live().await, 121, "so many at once are first taken for a list that lies");
    for _ in 0..4 {
        stage.pass().await;
    }
    assert_eq!(live().await, 1);
    stage.platform.world().calls.clear();
    let pass = stage.pass().await;
    assert_eq!(pass.calls, Calls { reads: 3, secret_reads: 0, writes: 0 });
    assert!(pass.ready.contains("acme"));
}
