//! `GET /usage-facts`: one flat JSON array, streamed page by page out of the store.
//!
//! ```text
//!   [ ─▶ 500 facts ─▶ 500 facts ─▶ … ─▶ ]        memory: one page, however many machines
//! ```
//!
//! Each machine comes once, in the order of ids. It is not one snapshot: the store is never held
//! while a slow reader reads. If the store fails on the way the connection is cut, so that nobody
//! takes half a list for all of it.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream::try_unfold;
use serde::Deserialize;

use super::App;
use super::error::ApiError;
use crate::clock::Clock;
use crate::platform::Platform;
use crate::reconcile::retained_since;
use crate::store::{ApiStore, StoreError, UsagePage};
use crate::usage::UsageFact;

/// How many facts are read and written at once: about 250 kB, some milliseconds of SQLite.
const PAGE: u32 = 500;

/// Which facts. An option that there is not is refused: a slip in `tenant` would show everybody's.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Options {
    /// Only of this tenant; of all if it is empty, as selectors are read.
    tenant: Option<String>,
}

/// The facts of all machines, or of one tenant's; a tenant that is long gone has facts as well.
pub(super) async fn list<P: Platform, S: ApiStore, C: Clock>(
    State(app): State<Arc<App<P, S, C>>>,
    Query(options): Query<Options>,
) -> Result<Response, ApiError> {
    let page = UsagePage {
        tenant: options.tenant.filter(|tenant| !tenant.is_empty()),
        after: String::new(),
        limit: PAGE,
        deleted_since: retained_since(app.clock.now(), app.usage_retention),
    };
    // The first page is read before the answer begins, so that a store that refuses is a 500.
    let (first, rest) = next(app.store.clone(), page, true).await?;
    let waiting = VecDeque::from([first]);
    let stream = try_unfold((waiting, rest), async |(mut waiting, rest)| {
        if let Some(bytes) = waiting.pop_front() {
            return Ok::<_, StoreError>(Some((bytes, (waiting, rest))));
        }
        let Some((store, page)) = rest else { return Ok(None) };
        let (bytes, rest) = next(store, page, false).await.inspect_err(|error| {
            tracing::error!(error = error as &dyn std::error::Error, "usage facts broke off");
        })?;
        Ok(Some((bytes, (waiting, rest))))
    });
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(stream)).into_response())
}

/// One page as a piece of the array, and where the next one begins.
async fn next<S: ApiStore>(
    store: S,
    mut page: UsagePage,
    is_first: bool,
) -> Result<(Bytes, Option<(S, UsagePage)>), StoreError> {
    let facts = store.usage_page(page.clone()).await?;
    let is_last = facts.len() < page.limit as usize;
    if let Some(last) = facts.last() {
        page.after.clone_from(&last.machine_id);
    }
    let mut text = Vec::new();
    for (place, fact) in facts.into_iter().map(UsageFact::into_document).enumerate() {
        let opening: &[u8] = if is_first && place == 0 { b"[\n" } else { b",\n" };
        text.extend_from_slice(opening);
        serde_json::to_writer(&mut text, &fact)?;
    }
    if is_last {
        let closing: &[u8] = if is_first && text.is_empty() { b"[]\n" } else { b"\n]\n" };
        text.extend_from_slice(closing);
    }
    Ok((Bytes::from(text), (!is_last).then_some((store, page))))
}
