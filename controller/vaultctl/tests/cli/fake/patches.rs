//! PATCH, in the two forms that controllers take.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path as UrlPath, Query, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse as _;
use serde_json::Value;

use super::{Answer, Options, Shared, not_found, status};

/// The fields of a spec, for strict validation.
const FIELDS: [&str; 5] = ["class", "org", "app", "machines", "volumes"];

/// Changes an object.
pub(super) async fn patch(
    State(world): State<Shared>,
    UrlPath(key): UrlPath<(String, String)>,
    Query(options): Options,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let mut world = world.lock().unwrap();
    let before = world.objects.get(&key).cloned().ok_or_else(|| not_found(&key))?;
    let form = headers["content-type"].to_str().unwrap();
    let mut after = before.clone();
    match form {
        "application/merge-patch+json" => {
            let change: Value = serde_json::from_slice(&body).unwrap();
            json_patch::merge(&mut after, &change);
        }
        "application/json-patch+json" => {
            let change: json_patch::Patch = serde_json::from_slice(&body).unwrap();
            json_patch::patch(&mut after, &change)
                .map_err(|error| status(422, "Invalid", &error.to_string(), &[]))?;
        }
        other => return Err(status(415, "UnsupportedMediaType", other, &[])),
    }
    world.writes.push(format!("PATCH {}/{} {}", key.0, key.1, String::from_utf8_lossy(&body)));
    let changes_spec = after["spec"] != before["spec"];
    if options.get("fieldValidation").is_some_and(|mode| mode == "Strict") {
        let unknown = after["spec"]
            .as_object()
            .into_iter()
            .flatten()
            .find(|(name, _)| !FIELDS.contains(&name.as_str()));
        if let Some((name, _)) = unknown {
            let message = format!("strict decoding error: unknown field \"spec.{name}\"");
            return Err(status(400, "BadRequest", &message, &[]));
        }
    }
    if world.owned_by_file.contains(&key.1)
        && changes_spec
        && !options.contains_key("takeOwnership")
        && !options.contains_key("dryRun")
    {
        let message = format!("{} is owned by folder {}.yaml", key.1, key.1);
        return Err(status(409, "Conflict", &message, &[]));
    }
    if let Some(left) = world.refused_patches.checked_sub(1) {
        world.refused_patches = left;
        let causes = [("spec.class", "it is not to my liking")];
        return Err(status(422, "Invalid", "the tenant is invalid", &causes));
    }
    if let Some(refusal) = world.refusal(&after) {
        return Err(refusal);
    }
    let version = world.version;
    let stored = world.stamped(after, Some(&before));
    if options.contains_key("dryRun") {
        world.version = version;
    } else {
        world.put(key, stored.clone());
    }
    Ok(Json(stored).into_response())
}
