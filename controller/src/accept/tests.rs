use serde_json::json;

use super::*;
use crate::testing::{NOW, controller, document, tenant};

fn folder(file: &str) -> Source {
    Source::Folder { file: file.to_owned() }
}

fn stored(source: Source) -> StoredObject {
    let writer = Writer { source: &source, take_ownership: false, rehearsal: false };
    let made = decide(&document(&tenant("acme", "nginx:1")), None, writer, &controller(), NOW);
    let Ok(Decision::Create(object)) = made else { panic!("{made:?}") };
    StoredObject { resource_version: 5, ..object }
}

fn write(
    object: &StoredObject,
    value: &Value,
    source: &Source,
    take_ownership: bool,
    rehearsal: bool,
) -> Result<Decision, Refusal> {
    let writer = Writer { source, take_ownership, rehearsal };
    decide(&document(value), Some(object), writer, &controller(), NOW)
}

#[test]
fn only_the_owner_changes_the_spec_unless_it_is_taken_or_only_asked() {
    let changed = tenant("acme", "nginx:2");
    for (owner, other) in [(Source::Api, folder("a.yaml")), (folder("a.yaml"), Source::Api)] {
        let object = stored(owner.clone());
        let refused = write(&object, &changed, &other, false, false).unwrap_err();
        assert!(matches!(refused, Refusal::Owned { owner: named, .. } if named == owner));
        for (source, take, ask) in
            [(&owner, false, false), (&other, true, false), (&other, false, true)]
        {
            let Ok(Decision::Change(after)) = write(&object, &changed, source, take, ask) else {
                panic!("{source} {take} {ask}");
            };
            assert_eq!(after.generation, 2);
            let owner = if take { &other } else { &owner };
            assert_eq!(after.source, *owner);
        }
    }
}

#[test]
fn what_leaves_the_spec_alone_is_never_refused_and_takes_nothing() {
    let object = stored(folder("a.yaml"));
    let same = tenant("acme", "nginx:1");
    assert_eq!(
        write(&object, &same, &Source::Api, false, false),
        Ok(Decision::Keep(object.clone()))
    );
    let mut labelled = same;
    labelled["metadata"]["labels"] = json!({ "tier": "pro" });
    let Ok(Decision::Change(after)) = write(&object, &labelled, &Source::Api, false, false) else {
        panic!();
    };
    assert_eq!((after.generation, &after.source), (1, &object.source));
    assert_eq!(after.metadata["labels"]["tier"], "pro");
}

#[test]
fn a_document_may_move_from_one_file_to_another() {
    let object = stored(folder("a.yaml"));
    let moved = write(&object, &tenant("acme", "nginx:1"), &folder("b.yaml"), false, false);
    let Ok(Decision::Change(after)) = moved else { panic!("{moved:?}") };
    assert_eq!((after.source, after.generation), (folder("b.yaml"), 1));
}

#[test]
fn what_is_being_deleted_keeps_its_spec() {
    let object = StoredObject { deleted_at: Some(NOW), ..stored(Source::Api) };
    let refused = write(&object, &tenant("acme", "nginx:2"), &Source::Api, true, false);
    assert!(matches!(refused, Err(Refusal::Deleting { .. })));
    let kept = write(&object, &tenant("acme", "nginx:1"), &Source::Api, false, false);
    assert_eq!(kept, Ok(Decision::Keep(object.clone())));
    // The deletion of a paused tenant goes on once somebody says so.
    let mut resumed = tenant("acme", "nginx:1");
    resumed["spec"]["reconcile"] = json!("Active");
    let change = write(&object, &resumed, &Source::Api, false, false);
    assert!(matches!(change, Ok(Decision::Change(after)) if after.deleted_at == Some(NOW)));
    resumed["spec"]["app"] = json!("another");
    let refused = write(&object, &resumed, &Source::Api, false, false);
    assert!(matches!(refused, Err(Refusal::Deleting { .. })));
}

#[test]
fn an_object_is_shown_and_read_back_the_same() {
    let object = stored(Source::Api);
    let json = to_json(&object);
    assert_eq!(json["metadata"]["resourceVersion"], "5");
    assert_eq!(json["metadata"]["creationTimestamp"], "2026-01-01T00:00:00Z");
    assert_eq!(json["metadata"]["uid"], controller().tenant_uid("acme").to_string());
    assert_eq!(document(&json), to_document(&object).unwrap());
    let never_stored = to_json(&StoredObject { resource_version: 0, ..object });
    assert!(never_stored["metadata"].get("resourceVersion").is_none());
}
