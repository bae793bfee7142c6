//! Watches as Kubernetes defines them: a line of JSON per change after a version.

use std::convert::Infallible;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::unfold;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Shared;
use super::lists::Query;

/// What has happened.
#[derive(Default)]
pub(super) struct Log {
    entries: Vec<Entry>,
    newest: watch::Sender<u64>,
}

struct Entry {
    version: u64,
    resource: String,
    kind: &'static str,
    object: Value,
}

impl Log {
    /// Keeps a change and wakes the watches.
    pub(super) fn tell(
        &mut self,
        version: u64,
        resource: &str,
        kind: &'static str,
        object: &Value,
    ) {
        let (resource, object) = (resource.to_owned(), object.clone());
        self.entries.push(Entry { version, resource, kind, object });
        self.newest.send_replace(version);
    }

    fn after(&self, version: u64, watcher: &Watcher) -> Option<&Entry> {
        self.entries.iter().find(|entry| {
            entry.version > version
                && entry.resource == watcher.resource
                && watcher.query.selects(&entry.object)
        })
    }
}

struct Watcher {
    world: Shared,
    resource: String,
    query: Query,
    seen: u64,
    ends: bool,
}

/// Answers a watch.
pub(super) fn answer(shared: &Shared, resource: &str, query: Query) -> Response {
    let mut world = shared.lock().unwrap();
    if let Some(left) = world.forgotten.checked_sub(1) {
        world.forgotten = left;
        let gone = json!({ "type": "ERROR", "object": { "apiVersion": "v1", "kind": "Status",
            "metadata": {}, "status": "Failure", "reason": "Expired", "code": 410,
            "message": "too old resource version" } });
        return format!("{gone}\n").into_response();
    }
    // Whoever watches sees the life of what is there go on to where it stands still.
    let keys: Vec<_> = world
        .objects
        .iter()
        .filter(|((of, _), object)| of == resource && query.selects(object))
        .map(|(key, _)| key.clone())
        .collect();
    for key in keys {
        while world.objects.contains_key(&key) && world.is_moving(&key) {
            world.look(&key);
        }
    }
    let ends = world.short_watches > 0;
    world.short_watches = world.short_watches.saturating_sub(1);
    drop(world);
    let watcher = Watcher {
        world: Shared::clone(shared),
        resource: resource.to_owned(),
        seen: query.version(),
        query,
        ends,
    };
    Body::from_stream(unfold(watcher, next)).into_response()
}

async fn next(mut watcher: Watcher) -> Option<(Result<String, Infallible>, Watcher)> {
    loop {
        let mut newest = {
            let world = watcher.world.lock().unwrap();
            if let Some(entry) = world.log.after(watcher.seen, &watcher) {
                let line = json!({ "type": entry.kind, "object": entry.object });
                watcher.seen = entry.version;
                drop(world);
                return Some((Ok(format!("{line}\n")), watcher));
            }
            if watcher.ends {
                return None;
            }
            let mut newest = world.log.newest.subscribe();
            newest.mark_unchanged();
            newest
        };
        newest.changed().await.ok()?;
    }
}

impl super::World {
    fn is_moving(&self, key: &(String, String)) -> bool {
        let is_going = self.objects[key]["metadata"].get("deletionTimestamp").is_some();
        if is_going { self.reads_until_gone < u32::MAX } else { self.reads_until_ready > 0 }
    }
}
