//! Labels and annotations from two hands: a file's, and those of everyone else.
//!
//! ```text
//!   what the file set last ─┐
//!   what the file sets now ─┼─▶ over ─▶ what is stored now
//!   what is stored ─────────┘
//! ```
//!
//! A merge of three: what the file changed since it was read last changes here, and nothing else
//! does. So a label that somebody sets over the API survives every change of the file, until the
//! file itself says something new about that very label.

use serde_json::{Map, Value};

/// The member of an object's kept metadata that holds what its file set last. It is never shown.
pub(super) const KEY: &str = "setByFile";
/// What is merged.
const LAYERED: [&str; 2] = ["labels", "annotations"];

/// What a file says now, over what is stored.
pub(super) fn over(stored: &Map<String, Value>, written: Map<String, Value>) -> Map<String, Value> {
    let nothing = Map::new();
    let last = stored.get(KEY).and_then(Value::as_object).unwrap_or(&nothing);
    let mut merged = stored.clone();
    let mut set_by_file = Map::new();
    for (key, now) in &written {
        if !LAYERED.contains(&key.as_str()) {
            merged.insert(key.clone(), now.clone());
        }
    }
    for key in LAYERED {
        let members = |metadata: &Map<String, Value>| {
            metadata.get(key).and_then(Value::as_object).cloned().unwrap_or_default()
        };
        let (before, now, mut here) = (members(last), members(&written), members(stored));
        here.retain(|name, _| now.contains_key(name) || !before.contains_key(name));
        for (name, value) in &now {
            if before.get(name) != Some(value) {
                here.insert(name.clone(), value.clone());
            }
        }
        set(&mut merged, key, here);
        set(&mut set_by_file, key, now);
    }
    set(&mut merged, KEY, set_by_file);
    merged
}

/// What somebody else wrote, without losing what the file set last.
pub(super) fn kept(
    stored: &Map<String, Value>,
    mut written: Map<String, Value>,
) -> Map<String, Value> {
    if let Some(last) = stored.get(KEY) {
        written.insert(KEY.to_owned(), last.clone());
    }
    written
}

/// An empty mapping is the same as none.
fn set(metadata: &mut Map<String, Value>, key: &str, members: Map<String, Value>) {
    if members.is_empty() {
        metadata.remove(key);
    } else {
        metadata.insert(key.to_owned(), Value::Object(members));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels(pairs: &Value) -> Map<String, Value> {
        let mut metadata = Map::new();
        set(&mut metadata, "labels", pairs.as_object().unwrap().clone());
        metadata
    }

    #[test]
    fn only_what_the_file_changed_changes() {
        // What the file set last, what is stored, what the file sets now, what comes out.
        let table = [
            (json!({}), json!({}), json!({ "a": "1" }), json!({ "a": "1" })),
            (json!({ "a": "1" }), json!({ "a": "1" }), json!({}), json!({})),
            (json!({ "a": "1" }), json!({ "a": "1" }), json!({ "a": "2" }), json!({ "a": "2" })),
            // Foreign ones stay.
            (json!({}), json!({ "x": "1" }), json!({ "a": "1" }), json!({ "a": "1", "x": "1" })),
            (json!({ "a": "1" }), json!({ "a": "1", "x": "1" }), json!({}), json!({ "x": "1" })),
            // Somebody changed, or took away, what the file sets, and the file says nothing new.
            (json!({ "a": "1" }), json!({ "a": "9" }), json!({ "a": "1" }), json!({ "a": "9" })),
            (json!({ "a": "1" }), json!({}), json!({ "a": "1" }), json!({})),
            // And then it does.
            (json!({ "a": "1" }), json!({ "a": "9" }), json!({ "a": "2" }), json!({ "a": "2" })),
            (json!({ "a": "1" }), json!({}), json!({ "a": "2" }), json!({ "a": "2" })),
            (json!({ "a": "1" }), json!({ "a": "9" }), json!({}), json!({})),
        ];
        for (last, stored, now, expected) in table {
            let mut metadata = labels(&stored);
            set(&mut metadata, KEY, labels(&last));
            let merged = over(&metadata, labels(&now));
            assert_eq!(
                merged.get("labels").cloned().unwrap_or_else(|| json!({})),
                expected,
                "{last} {stored} {now}"
            );
            assert_eq!(
                merged.get(KEY).cloned(),
                Some(Value::Object(labels(&now))).filter(|_| now != json!({}))
            );
            assert_eq!(over(&merged, labels(&now)), merged, "a second reading changes nothing");
        }
    }
}
