//! Whether the controller lives, whether it does its work, and which version it is.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::App;
use crate::clock::Clock;
use crate::platform::Platform;
use crate::store::ApiStore;

/// Alive: the process answers. Deliberately independent of the platform.
pub(super) async fn live() -> &'static str {
    "ok"
}

/// Ready: the database answers, and a pass came to its end not long ago.
pub(super) async fn ready<P: Platform, S: ApiStore, C: Clock>(
    State(app): State<Arc<App<P, S, C>>>,
    RawQuery(query): RawQuery,
) -> Response {
    let verbose =
        query.is_some_and(|query| query.split('&').any(|part| part.starts_with("verbose")));
    let view = app.view.borrow().clone();
    let now = app.clock.now();
    let fresh = view.last_pass_at.is_some_and(|at| now.since_ms(at) <= app.stale_after_ms);
    let checks = [
        ("store", app.store.resource_version().await.is_ok(), "the database does not answer"),
        ("pass", fresh, "no pass has come to its end lately"),
        ("platform", view.passes > 0 && view.troubles.is_empty(), "see /status"),
    ];
    let all = checks.iter().all(|(_, passed, _)| *passed);
    let code = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if all && !verbose {
        return (code, "ok").into_response();
    }
    let mut text = String::new();
    for (name, passed, otherwise) in checks {
        text.push_str(&match passed {
            true => format!("[+]{name} ok\n"),
            false => format!("[-]{name} failed: {otherwise}\n"),
        });
    }
    text.push_str(if all { "readyz check passed\n" } else { "readyz check failed\n" });
    (code, text).into_response()
}

/// The version, in the form that Kubernetes clients expect.
pub(super) async fn version() -> Json<Value> {
    let version = env!("CARGO_PKG_VERSION");
    let mut numbers = version.split('.');
    Json(json!({
        "major": numbers.next(),
        "minor": numbers.next(),
        "gitVersion": format!("v{version}"),
        // Clients want these as strings; what is not known is empty.
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    }))
}
