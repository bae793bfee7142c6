//! What was deleted comes back over the API, and what serves nobody is listed.

use vault_plan::tombstone::{TombstoneKind, TombstoneState};

use super::*;
use crate::store::StoredObject;

fn undelete() -> String {
    format!("{}/undelete", acme())
}

impl Stage {
    /// Makes a tenant and deletes it, until its object is gone.
    async fn deleted(&self, source: Source) -> StoredObject {
        let mut body = tenant("acme", "nginx:1");
        body["metadata"]["labels"] = json!({ "tier": "pro" });
        body["spec"]["volumes"][0]["deletionPolicy"] = json!("Delete");
        let made = put(&self.store, &body, source).await;
        let pass = async || {
            self.clock.advance(std::time::Duration::from_secs(1));
            let reconciler = self.app.reconciler.get().unwrap();
            reconciler.pass(&std::collections::BTreeSet::new()).await.unwrap();
        };
        pass().await;
        pass().await;
        let stored = self.store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
        let version = stored.resource_version;
        let deleted = crate::accept::finalizers::deleted(&stored, self.app.clock.now());
        self.store.put_object(deleted, Some(version)).await.unwrap();
        for _ in 0..9 {
            pass().await;
        }
        assert!(self.store.object(Kind::Tenant, "acme").await.unwrap().is_none());
        made
    }
}

#[tokio::test]
async fn a_deleted_tenant_comes_back_with_its_labels_and_its_owner() {
    let stage = Stage::new().await;
    assert_eq!(stage.ask(Method::POST, &undelete(), Value::Null).await.0, 404);
    let source = Source::Folder { file: "acme.yaml".to_owned() };
    let made = stage.deleted(source.clone()).await;
    let dry = format!("{}?dryRun=All", undelete());
    assert_eq!(stage.ask(Method::POST, &dry, Value::Null).await.0, 400);
    let (code, back) = stage.ask(Method::POST, &undelete(), Value::Null).await;
    assert_eq!((code, &back["metadata"]["labels"]), (200, &json!({ "tier": "pro" })), "{back}");
    assert_eq!(back["spec"], Value::Object(made.spec));
    assert_eq!(back["metadata"].get("deletionTimestamp"), None);
    let stored = stage.store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
    assert_eq!(stored.source, source);
    assert!(stage.store.tombstones().await.unwrap().is_empty());
    let (code, again) = stage.ask(Method::POST, &undelete(), Value::Null).await;
    let message = again["message"].as_str().unwrap();
    assert!(code == 409 && message.contains("acme.yaml"), "{again}");
    let audit = stage.get("/audit-log").await.1;
    let record = audit["items"].as_array().unwrap().iter().find(|one| one["code"] == 200).unwrap();
    assert_eq!(
        (&record["subresource"], &record["message"]),
        (&json!("undelete"), &json!("undeleted"))
    );
}

#[tokio::test]
async fn what_is_gone_does_not_come_back_and_it_is_said_what_that_is() {
    let stage = Stage::new().await;
    stage.deleted(Source::Api).await;
    let mut tombstones = stage.store.tombstones().await.unwrap();
    let volume = tombstones.iter_mut().find(|known| known.kind == TombstoneKind::Volume).unwrap();
    volume.state = TombstoneState::Ended;
    volume.snapshot = Some("vs_7".to_owned());
    volume.outcome = Some("it was deleted".to_owned());
    stage.store.change_tombstones(tombstones, Vec::new()).await.unwrap();
    let (code, status) = stage.ask(Method::POST, &undelete(), Value::Null).await;
    let message = status["message"].as_str().unwrap();
    assert_eq!((code, &status["reason"]), (410, &json!("Gone")), "{status}");
    assert!(message.contains("acme-box-0") && message.contains("snapshot vs_7"), "{message}");
    assert_eq!(stage.get(&acme()).await.0, 404);
}

#[tokio::test]
async fn orphans_are_listed_with_what_to_do_next() {
    let stage = Stage::new().await;
    let (code, list) = stage.get("/orphans").await;
    assert_eq!((code, &list["kind"], &list["items"]), (200, &json!("OrphanList"), &json!([])));
    stage.deleted(Source::Api).await;
    {
        let mut world = stage.platform.world();
        let uid = controller().tenant_uid("umbra");
        let app = uid.app_name("umbra");
        let mut stray = crate::testing::machine("00000000000aaa", "umbra-box-0", &app);
        stray.metadata.insert("vault_controller".to_owned(), controller().to_string());
        stray.metadata.insert("vault_tenant".to_owned(), "umbra".to_owned());
        world.machines.push(stray);
        let name = uid.volume_name("box", 0, "data");
        world.volumes.push(crate::testing::volume("vol_9", &name, &app));
        world.apps.push(app);
        // Of others: nothing proves that they are ours.
        world.apps.push("umbra-aaaaaaaa".to_owned());
        world.volumes.push(crate::testing::volume("vol_8", &name, "umbra-aaaaaaaa"));
        world.volumes.push(crate::testing::volume("vol_7", "data", "elsewhere"));
    }
    let (_, list) = stage.get("/orphans").await;
    let found: Vec<(String, String)> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
            assert!(!text("next").is_empty() && !text("message").is_empty(), "{item}");
            (format!("{} {}", text("kind"), text("reason")), text("tenant"))
        })
        .collect();
    let mut found: Vec<(&str, &str)> =
        found.iter().map(|(what, tenant)| (what.as_str(), tenant.as_str())).collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            ("App NoTenant", "umbra"),
            ("Machine NoTenant", "umbra"),
            ("Tenant Tombstone", "acme"),
            ("Volume NoTenant", "umbra"),
            ("Volume Tombstone", "acme"),
        ],
        "{list:#}"
    );
    stage.platform.world().error_regions.insert("iad".to_owned());
    let (_, list) = stage.get("/orphans").await;
    assert!(list["metadata"]["unread"][0].as_str().unwrap().contains("iad"), "{list}");
}
