use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;
use crate::store::SqliteStore;
use crate::testing::{class, controller, open, put, tenant};

struct Stage {
    manifests: TempDir,
    _data: TempDir,
    store: SqliteStore,
    folder: Folder,
    now: UnixMillis,
}

impl Stage {
    fn new(prune: bool) -> Self {
        let (manifests, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = open(data.path());
        let folder = Folder::new(manifests.path().to_owned(), prune);
        // Files are stamped by the system's clock: far later, none of them is fresh.
        let now = UnixMillis(4_000_000_000_000);
        Self { manifests, _data: data, store, folder, now }
    }

    fn write(&self, file: &str, documents: &[serde_json::Value]) {
        let texts: Vec<String> = documents.iter().map(ToString::to_string).collect();
        self.write_text(file, &texts.join("\n---\n"));
    }

    fn write_text(&self, file: &str, text: &str) {
        fs::write(self.manifests.path().join(file), text).unwrap();
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.manifests.path().join(file)).unwrap();
    }

    async fn sync(&mut self) -> Option<FolderReport> {
        self.now = self.now.plus_ms(10_000);
        self.folder.sync(&self.store, &controller(), self.now).await.unwrap().cloned()
    }

    async fn tenant(&self, name: &str) -> Option<StoredObject> {
        self.store.object(Kind::Tenant, name).await.unwrap()
    }
}

#[tokio::test]
async fn a_folder_is_taken_in_once_and_again_when_a_file_changes() {
    let mut stage = Stage::new(false);
    stage.write("a.yaml", &[tenant("acme", "nginx:1")]);
    assert_eq!(stage.sync().await.unwrap().changes, ["tenant/acme created"]);
    assert_eq!(stage.sync().await, None);
    // The same length: only the file's stamp tells.
    stage.write("a.yaml", &[tenant("acme", "nginx:2")]);
    assert_eq!(stage.sync().await.unwrap().changes, ["tenant/acme changed"]);
    assert_eq!(stage.tenant("acme").await.unwrap().generation, 2);
}

#[tokio::test]
async fn a_file_that_changed_just_now_is_read_again() {
    let mut stage = Stage::new(false);
    stage.now = UnixMillis(0);
    stage.write("a.yaml", &[tenant("acme", "nginx:1")]);
    assert!(stage.sync().await.is_some());
    assert_eq!(stage.sync().await.unwrap().changes, [""; 0]);
}

#[tokio::test]
async fn a_bad_document_hides_no_good_one_and_is_not_missing() {
    let mut stage = Stage::new(true);
    stage.write("a.yaml", &[tenant("acme", "nginx:1"), tenant("beta", "nginx:1")]);
    stage.sync().await.unwrap();
    let mut bad = tenant("acme", "nginx:2");
    bad["spec"]["regionn"] = "ord".into();
    stage.write("a.yaml", &[bad, tenant("beta", "nginx:2")]);
    let report = stage.sync().await.unwrap();
    assert_eq!(report.changes, ["tenant/beta changed"]);
    assert!(report.problems[0].contains("a.yaml:1:"), "{:?}", report.problems);
    assert!(report.missing.is_empty());
    let acme = stage.tenant("acme").await.unwrap();
    assert_eq!((acme.generation, acme.deleted_at), (1, None));
}

#[tokio::test]
async fn a_refused_class_leaves_its_tenants_as_they_are() {
    let mut stage = Stage::new(true);
    let mut member = tenant("acme", "nginx:1");
    member["spec"] = serde_json::json!({ "class": "dev" });
    stage.write("a.yaml", &[member]);
    stage.write("c.yaml", &[class("dev")]);
    assert_eq!(stage.sync().await.unwrap().problems, [""; 0]);
    let mut bad = class("dev");
    bad["spec"]["machines"][0]["region"] = "nowhere".into();
    stage.write("c.yaml", &[bad]);
    let report = stage.sync().await.unwrap();
    assert!(!report.problems.is_empty());
    assert!(report.missing.is_empty() && report.changes.is_empty(), "{report:?}");
    assert_eq!(stage.tenant("acme").await.unwrap().deleted_at, None);
}

#[tokio::test]
async fn a_document_that_moves_to_another_file_is_neither_missing_nor_new() {
    let mut stage = Stage::new(true);
    stage.write("a.yaml", &[tenant("acme", "nginx:1"), tenant("beta", "nginx:1")]);
    stage.sync().await.unwrap();
    stage.write("a.yaml", &[tenant("beta", "nginx:1")]);
    stage.write("b.yaml", &[tenant("acme", "nginx:1")]);
    let report = stage.sync().await.unwrap();
    assert!(report.missing.is_empty());
    let acme = stage.tenant("acme").await.unwrap();
    assert_eq!((acme.source, acme.generation), (Source::Folder { file: "b.yaml".to_owned() }, 1));
}

#[tokio::test]
async fn what_is_gone_is_told_and_deleted_only_with_prune_and_after_a_while() {
    for prune in [false, true] {
        let mut stage = Stage::new(prune);
        stage.write("a.yaml", &[tenant("acme", "nginx:1")]);
        stage.write("b.yaml", &[tenant("beta", "nginx:1")]);
        stage.sync().await.unwrap();
        stage.remove("a.yaml");
        let missing = BTreeSet::from([(Kind::Tenant, "acme".to_owned())]);
        assert_eq!(stage.sync().await.unwrap().missing, missing);
        assert_eq!(stage.tenant("acme").await.unwrap().deleted_at, None);
        let later = stage.sync().await;
        assert_eq!(stage.tenant("acme").await.unwrap().deleted_at.is_some(), prune);
        assert_eq!(
            later.map(|report| report.changes),
            prune.then(|| vec!["tenant/acme pruned".to_owned()])
        );
        assert_eq!(stage.tenant("beta").await.unwrap().deleted_at, None);
    }
}

#[tokio::test]
async fn an_empty_folder_or_one_with_problems_prunes_nothing() {
    for text in [None, Some("a: [")] {
        let mut stage = Stage::new(true);
        stage.write("a.yaml", &[tenant("acme", "nginx:1")]);
        if text.is_some() {
            stage.write("b.yaml", &[tenant("beta", "nginx:1")]);
        }
        stage.sync().await.unwrap();
        stage.remove("a.yaml");
        if let Some(text) = text {
            stage.write_text("c.yaml", text);
        }
        for _ in 0..2 {
            let report = stage.sync().await;
            let told = report.is_none_or(|report| {
                report.problems.iter().any(|problem| problem.contains("refusing to prune"))
            });
            assert!(told);
        }
        assert_eq!(stage.tenant("acme").await.unwrap().deleted_at, None);
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_stops_the_intake() {
    let mut stage = Stage::new(true);
    stage.write("a.yaml", &[tenant("acme", "nginx:1")]);
    stage.write("b.yaml", &[tenant("beta", "nginx:1")]);
    stage.sync().await.unwrap();
    stage.remove("a.yaml");
    symlink("/nowhere/a.yaml", stage.manifests.path().join("a.yaml")).unwrap();
    for step in 1..4 {
        let now = stage.now.plus_ms(step * 10_000);
        let result = stage.folder.sync(&stage.store, &controller(), now).await;
        assert!(matches!(result, Err(FolderError::Read { .. })), "{result:?}");
    }
    assert_eq!(stage.tenant("acme").await.unwrap().deleted_at, None);
}

#[tokio::test]
async fn somebody_elses_tenant_is_refused_with_the_place_and_tried_again() {
    let mut stage = Stage::new(false);
    put(&stage.store, &tenant("acme", "nginx:1"), Source::Api).await;
    stage.write("a.yaml", &[tenant("acme", "nginx:2")]);
    for _ in 0..2 {
        let report = stage.sync().await.unwrap();
        assert!(
            report.problems[0].contains("a.yaml:1:1: Tenant acme is owned by API"),
            "{report:?}"
        );
        assert!(report.tenants.is_empty());
    }
}
