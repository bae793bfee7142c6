//! Lists: written out while they are read, a hundred rows at a time, so that ten thousand
//! objects take no more memory than some hundred.
//!
//! ```text
//!   first rows ──▶ status line and headers
//!   more rows  ──▶ a piece of the body each ──▶ … ──▶ metadata: resourceVersion, continue
//! ```
//!
//! What later pages and later pieces show may be newer than the version that the list names, never
//! older: a watch from that version tells whatever happened between.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64URL_NOPAD;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vault_plan::time::UnixMillis;

use super::App;
use super::caller::Caller;
use super::error::ApiError;
use super::forms::Form;
use super::options::{Freshness, ListOptions};
use super::resources::Resource;
use crate::accept::to_json;
use crate::clock::Clock;
use crate::select::{Selection, labels_of};
use crate::store::{ApiStore, Kind, Page, PageQuery, StoreError};

/// How many rows are read at a time: decoded, they take ten times the memory of their text.
const ROWS_MAX: usize = 100;
/// How long a token may be: the name in it has at most 63 letters.
const TOKEN_BYTES_MAX: usize = 1_024;

/// Answers one page of the objects of a kind.
pub(super) async fn objects<P, S: ApiStore, C: Clock>(
    app: &Arc<App<P, S, C>>,
    caller: &Caller,
    kind: Kind,
    headers: &HeaderMap,
    options: &ListOptions,
) -> Result<Response, ApiError> {
    let resource = Resource::of(kind);
    let form = Form::choose(headers, &options.include_object)?;
    let selection = caller.narrow(kind, options.selection(resource)?);
    let freshness = options.freshness()?;
    let limit = options.limit()?;
    let token = options.continuation().map(|text| Token::read(text, kind)).transpose()?;
    let mut listing = Listing {
        store: app.store.clone(),
        kind,
        resource,
        form,
        now: app.clock.now(),
        left: limit.unwrap_or(usize::MAX),
        counts: selection.is_everything() && limit.is_some(),
        selection,
        after: token.as_ref().map(|token| token.after.clone()),
        version: token.as_ref().map(|token| token.version),
        written: 0,
    };
    let first = listing.read().await?;
    check(&first, freshness, listing.version)?;
    listing.version.get_or_insert(first.version);
    let start = listing.head();
    let body = stream::try_unfold(Step::Rows(Box::new((listing, first)), start), next);
    Ok(([(CONTENT_TYPE, "application/json")], Body::from_stream(body)).into_response())
}

/// Answers a list that is small enough to be made at once.
pub(super) fn whole(
    resource: &'static Resource,
    headers: &HeaderMap,
    options: &ListOptions,
    version: i64,
    objects: impl Iterator<Item = Value>,
    now: UnixMillis,
) -> Result<Response, ApiError> {
    let form = Form::choose(headers, &options.include_object)?;
    let selection = options.selection(resource)?;
    match options.freshness()? {
        Freshness::NotOlderThan(wanted) | Freshness::Exact(wanted) if wanted > version => {
            return Err(ApiError::TooLargeVersion { wanted, newest: version });
        }
        Freshness::Exact(wanted) if wanted < version => return Err(expired()),
        Freshness::Newest | Freshness::NotOlderThan(_) | Freshness::Exact(_) => {}
    }
    let selected = objects.filter(|object| selection.matches(labels_of(object), object));
    let items: Vec<Value> = selected.map(|object| form.item(resource, object, now)).collect();
    let mut list = form.empty(resource);
    list["metadata"] = json!({ "resourceVersion": version.to_string() });
    list[form.items()] = items.into();
    Ok(Json(list).into_response())
}

/// Answers one object.
pub(super) fn single(
    resource: &'static Resource,
    headers: &HeaderMap,
    options: &ListOptions,
    object: Value,
    now: UnixMillis,
) -> Result<Response, ApiError> {
    let form = Form::choose(headers, &options.include_object)?;
    Ok(Json(form.single(resource, object, now)).into_response())
}

/// Whether what was read is what was asked for. `begun` is the version of an earlier page.
fn check(page: &Page, freshness: Freshness, begun: Option<i64>) -> Result<(), ApiError> {
    let newest = page.version;
    match freshness {
        Freshness::NotOlderThan(wanted) | Freshness::Exact(wanted) if wanted > newest => {
            return Err(ApiError::TooLargeVersion { wanted, newest });
        }
        // Nothing of this kind has changed since: what there was is what there is.
        Freshness::Exact(wanted) if wanted < page.changed_at.max(page.horizon) => {
            return Err(expired());
        }
        Freshness::Newest | Freshness::NotOlderThan(_) | Freshness::Exact(_) => {}
    }
    match begun {
        Some(begun) if begun < page.horizon || begun > newest => {
            Err(ApiError::Expired("the continue token is too old: list from the beginning"))
        }
        _ => Ok(()),
    }
}

fn expired() -> ApiError {
    ApiError::Expired("the resourceVersion is too old: what was then is not known any more")
}

/// A list that is being written.
struct Listing<S> {
    store: S,
    kind: Kind,
    resource: &'static Resource,
    form: Form,
    now: UnixMillis,
    selection: Selection,
    /// How many objects may still come.
    left: usize,
    /// Whether the rest has to be counted at the end.
    counts: bool,
    /// The name of the last object.
    after: Option<String>,
    /// The version of the whole list, over all its pages.
    version: Option<i64>,
    /// How many items were written.
    written: usize,
}

enum Step<S> {
    /// These rows are to be written, after this text.
    Rows(Box<(Listing<S>, Page)>, Vec<u8>),
    /// More is to be read.
    Read(Box<Listing<S>>),
    End,
}

/// The next piece of the body.
async fn next<S: ApiStore>(step: Step<S>) -> Result<Option<(Bytes, Step<S>)>, StoreError> {
    let (mut listing, page, mut text) = match step {
        Step::End => return Ok(None),
        Step::Rows(work, text) => (work.0, work.1, text),
        Step::Read(mut listing) => {
            let page = listing.read().await?;
            (*listing, page, Vec::new())
        }
    };
    let more = page.more;
    let remaining = page.remaining;
    listing.left -= page.objects.len();
    for object in page.objects {
        if listing.written > 0 {
            text.push(b',');
        }
        listing.written += 1;
        let item = listing.form.item(listing.resource, to_json(&object), listing.now);
        serde_json::to_writer(&mut text, &item)?;
    }
    if more && listing.left > 0 {
        return Ok(Some((text.into(), Step::Read(Box::new(listing)))));
    }
    text.extend(listing.tail(more, remaining));
    Ok(Some((text.into(), Step::End)))
}

impl<S: ApiStore> Listing<S> {
    async fn read(&mut self) -> Result<Page, StoreError> {
        let limit = self.left.min(ROWS_MAX);
        let query = PageQuery {
            after: self.after.clone(),
            name: self.selection.name().map(str::to_owned),
            labels: self.selection.labels.clone(),
            limit,
            count: self.counts && limit == self.left,
        };
        let mut page = self.store.page(self.kind, query).await?;
        if let Some(last) = page.objects.last() {
            self.after = Some(last.name.clone());
        }
        let fields = &self.selection.fields;
        if !fields.is_everything() {
            // At most a page, and nearly always the one row that the name has chosen.
            page.objects
                .retain(|object| fields.matches(&json!({ "metadata": { "name": object.name } })));
        }
        Ok(page)
    }

    /// What stands before the first item.
    fn head(&self) -> Vec<u8> {
        let mut text = self.form.empty(self.resource).to_string().into_bytes();
        text.pop();
        text.extend_from_slice(format!(",\"{}\":[", self.form.items()).as_bytes());
        text
    }

    /// What stands after the last item.
    fn tail(&self, more: bool, remaining: Option<u64>) -> Vec<u8> {
        let version = self.version.unwrap_or_default();
        let mut metadata = json!({ "resourceVersion": version.to_string() });
        if let (true, Some(after)) = (more, &self.after) {
            let token = Token { form: FORM, kind: self.kind, version, after: after.clone() };
            metadata["continue"] = token.write().into();
            if let Some(remaining) = remaining {
                metadata["remainingItemCount"] = remaining.into();
            }
        }
        format!("],\"metadata\":{metadata}}}").into_bytes()
    }
}

/// The version of the token's form.
const FORM: u8 = 1;

/// Where the next page begins. Opaque to clients; a made-up one shows nothing that could not be
/// listed anyway.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    #[serde(rename = "f")]
    form: u8,
    #[serde(rename = "k")]
    kind: Kind,
    /// The version of the first page.
    #[serde(rename = "v")]
    version: i64,
    /// The last name of the page before.
    #[serde(rename = "a")]
    after: String,
}

impl Token {
    fn write(&self) -> String {
        BASE64URL_NOPAD.encode(json!(self).to_string().as_bytes())
    }

    fn read(text: &str, kind: Kind) -> Result<Self, ApiError> {
        let refused = || ApiError::BadRequest("continue is no token of this list".to_owned());
        if text.len() > TOKEN_BYTES_MAX {
            return Err(refused());
        }
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| refused())?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|_| refused())?;
        if token.form != FORM || token.kind != kind {
            return Err(refused());
        }
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_of_one_list_and_one_form() {
        let token = Token { form: FORM, kind: Kind::Tenant, version: 7, after: "acme".to_owned() };
        let text = token.write();
        assert_eq!(Token::read(&text, Kind::Tenant).unwrap(), token);
        assert!(Token::read(&text, Kind::TenantClass).is_err());
        let other = Token { form: FORM + 1, ..token };
        for text in [other.write(), "x".to_owned(), "=".to_owned(), "a".repeat(2_000)] {
            assert!(Token::read(&text, Kind::Tenant).is_err(), "{text}");
        }
    }
}
