//! Events as lines, in the columns of `kubectl events`.

use jiff::Timestamp;
use serde_json::Value;

use super::tables::since;
use crate::object::Object;

/// The columns of an event.
pub(crate) const COLUMNS: &[&str] = &["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"];
/// More columns of it.
pub(crate) const WIDE: &[&str] = &["SOURCE", "FIRST SEEN", "COUNT", "NAME"];

/// The events, the one that happened last at the end.
pub(crate) fn in_order(mut events: Vec<Object>) -> Vec<Object> {
    // Stable, so that what happened within one second stays in the controller's order. An instant
    // that cannot be read counts as old.
    events.sort_by_key(|event| instant(event, "/lastTimestamp"));
    events
}

/// The cells of one event, those of [`COLUMNS`] and then those of [`WIDE`].
pub(crate) fn row(event: &Object, now: Timestamp) -> Vec<String> {
    let text = |pointer| event.text(pointer).unwrap_or_default().to_owned();
    let kind = text("/involvedObject/kind").to_lowercase();
    let count = event.0.get("count").and_then(Value::as_u64).unwrap_or(1);
    vec![
        last_seen(event, now),
        text("/type"),
        text("/reason"),
        format!("{kind}/{}", text("/involvedObject/name")),
        text("/message"),
        text("/source/component"),
        since(event.text("/firstTimestamp"), now),
        count.to_string(),
        event.name().to_owned(),
    ]
}

/// When an event happened last, and how often since when: `12s (x3 over 5m)`.
pub(crate) fn last_seen(event: &Object, now: Timestamp) -> String {
    let last = since(event.text("/lastTimestamp"), now);
    let count = event.0.get("count").and_then(Value::as_u64).unwrap_or(1);
    let first = since(event.text("/firstTimestamp"), now);
    match count {
        0 | 1 => last,
        count => format!("{last} (x{count} over {first})"),
    }
}

fn instant(event: &Object, pointer: &str) -> Option<Timestamp> {
    event.text(pointer)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::object::Resource;
    use crate::output::tables::{TableOptions, table};

    fn event(reason: &str, first: &str, last: &str, count: u64) -> Object {
        Object(json!({
            "kind": "Event", "type": "Normal", "reason": reason, "message": "something\nhappened",
            "count": count, "firstTimestamp": first, "lastTimestamp": last,
            "involvedObject": { "kind": "Tenant", "name": "acme" },
        }))
    }

    #[test]
    fn events_are_lines_with_the_newest_last() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let events = in_order(vec![
            event("Often", "2026-03-01T11:55:00Z", "2026-03-01T11:59:48Z", 3),
            event("First", "2026-03-01T09:00:00Z", "2026-03-01T09:00:00Z", 1),
            event("Same", "2026-03-01T11:59:48Z", "2026-03-01T11:59:48Z", 1),
            Object(json!({ "reason": "Bare" })),
        ]);
        let text = table(Resource::Event, &events, &TableOptions::default(), now);
        insta::assert_snapshot!(text, @r"
        LAST SEEN          TYPE     REASON   OBJECT        MESSAGE
        -                  -        Bare     /             -
        3h                 Normal   First    tenant/acme   something happened
        12s (x3 over 5m)   Normal   Often    tenant/acme   something happened
        12s                Normal   Same     tenant/acme   something happened
        ");
    }
}
