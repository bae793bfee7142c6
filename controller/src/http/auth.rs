//! Who may use the API at all: bearers of a known operator token.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;

use super::App;
use super::error::ApiError;
use super::operators::Found;
use crate::clock::Clock;
use crate::platform::Platform;
use crate::store::ApiStore;

/// Lets a request through if it carries a known token, and says whose it is in a
/// [`Caller`](super::Caller); its body is not read before.
pub(super) async fn authenticate<P: Platform, S: ApiStore, C: Clock>(
    State(app): State<Arc<App<P, S, C>>>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let presented = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let Some(presented) = presented else {
        app.operators.count_unknown();
        return Err(ApiError::Unauthorized("send an operator token as Authorization: Bearer …"));
    };
    let now = app.clock.now();
    match app.operators.find(presented.trim(), now) {
        Found::Known { caller, stale_use } => {
            if stale_use && let Err(error) = app.store.touch_operator(caller.name(), now).await {
                // Worth less than the request itself.
                tracing::warn!(error = &error as &dyn std::error::Error, "a use is not noted");
            }
            request.extensions_mut().insert(caller);
            Ok(next.run(request).await)
        }
        Found::Expired => Err(ApiError::Unauthorized("the token has expired")),
        Found::Unknown => Err(ApiError::Unauthorized("the token is not one of this controller's")),
    }
}
