//! The audit log: every write request leaves a record, whatever became of it.
//!
//! ```text
//!   request ─▶ keep ─▶ handler ─▶ store: change and record in one transaction
//!                │                     │
//!                └── no record yet? ◀──┘   (refused, or nothing to change)
//!                       └─▶ store: the record alone, before the answer leaves
//! ```

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{ConnectInfo, MatchedPath, Query, RawPathParams, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use vault_api::audit::{AuditMeta, AuditRecordList, KIND};
use vault_api::object::API_VERSION;
use vault_api::{audit as shown, operator};
use vault_plan::time::UnixMillis;

use super::App;
use super::caller::Caller;
use super::error::{ApiError, Outcome};
use super::roles;
use crate::audit::{AuditQuery, AuditRecord};
use crate::clock::{Clock, read_rfc3339};
use crate::platform::Platform;
use crate::store::{ApiStore, Kind};

/// How many records are shown if nobody says.
const RECORDS_DEFAULT: u32 = 1_000;
/// How many records are shown at once, at most: some megabytes.
const RECORDS_MAX: u32 = 10_000;

/// The record of the request that is being answered: an extension of every write.
#[derive(Clone)]
pub(super) struct Trail(Arc<Mutex<Draft>>);

struct Draft {
    record: AuditRecord,
    is_kept: bool,
}

impl Trail {
    /// Names the object, where only the body does.
    pub(super) fn about(&self, name: &str) {
        name.clone_into(&mut self.draft().record.name);
    }

    /// Nothing is to be kept.
    pub(super) fn dry_run(&self) {
        self.draft().record.dry_run = true;
    }

    /// Says what came of it.
    pub(super) fn note(&self, message: &str) {
        message.clone_into(&mut self.draft().record.message);
    }

    /// The record of a change that is about to be stored with it.
    pub(super) fn record(&self, now: UnixMillis, code: u16, message: &str) -> AuditRecord {
        let record = self.draft().record.clone();
        AuditRecord { at: now, code, message: message.to_owned(), ..record }.bounded()
    }

    /// The record has been stored.
    pub(super) fn kept(&self) {
        self.draft().is_kept = true;
    }

    /// The record of an answer, unless there is one already.
    fn rest(&self, now: UnixMillis, answer: &Response) -> Option<AuditRecord> {
        let draft = self.draft();
        if draft.is_kept {
            return None;
        }
        let told = answer.extensions().get::<Outcome>().map(|Outcome(message)| message.clone());
        let message = told.unwrap_or_else(|| draft.record.message.clone());
        drop(draft);
        Some(self.record(now, answer.status().as_u16(), &message))
    }

    fn draft(&self) -> MutexGuard<'_, Draft> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the record of every write that comes with a known token, and sees to it that the write goes
/// to its end even if whoever asked hangs up.
pub(super) async fn keep<P: Platform, S: ApiStore, C: Clock>(
    State(app): State<Arc<App<P, S, C>>>,
    Extension(caller): Extension<Caller>,
    path: Option<MatchedPath>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    let audited = path.as_ref().filter(|path| roles::rule(request.method(), path.as_str()).audited);
    let Some(path) = audited else { return next.run(request).await };
    let (kind, subresource) = target(path.as_str());
    let name = params.ok().and_then(|params| {
        params.iter().find(|(key, _)| *key == "name").map(|(_, name)| name.to_owned())
    });
    let source = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let record = AuditRecord {
        at: app.clock.now(),
        who: caller.name().to_owned(),
        role: caller.role(),
        source: source.map(|ConnectInfo(address)| address.ip().to_string()).unwrap_or_default(),
        verb: verb(request.method()).to_owned(),
        kind: kind.to_owned(),
        name: name.unwrap_or_default(),
        subresource: subresource.to_owned(),
        dry_run: false,
        code: 0,
        message: String::new(),
    };
    let trail = Trail(Arc::new(Mutex::new(Draft { record, is_kept: false })));
    request.extensions_mut().insert(trail.clone());
    let kept = Arc::clone(&app);
    let work = async move {
        let answer = next.run(request).await;
        let Some(record) = trail.rest(kept.clock.now(), &answer) else { return answer };
        match kept.store.append_audit(record).await {
            Ok(()) => answer,
            Err(error) => ApiError::Store(error).into_response(),
        }
    };
    app.writes.carry_out(work).await.unwrap_or_else(IntoResponse::into_response)
}

/// The kind and the subresource of a route.
fn target(path: &str) -> (&'static str, &str) {
    let mut parts = path.strip_prefix("/apis/vaultctl.dev/v1/").unwrap_or_default().split('/');
    let plural = parts.next().unwrap_or_default();
    let kinds = [
        (Kind::Tenant.plural(), Kind::Tenant.word()),
        (Kind::TenantClass.plural(), Kind::TenantClass.word()),
        (operator::RESOURCE, operator::KIND),
    ];
    let kind = kinds.iter().find(|(known, _)| *known == plural).map_or("", |(_, kind)| *kind);
    (kind, parts.nth(1).unwrap_or_default())
}

/// The verb as Kubernetes calls it.
fn verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
}

/// Options of `GET /audit-log`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ListOptions {
    limit: Option<u32>,
    since: String,
    tenant: Option<String>,
}

/// The newest records that are wanted.
pub(super) async fn list<P: Platform, S: ApiStore, C: Clock>(
    State(app): State<Arc<App<P, S, C>>>,
    Query(options): Query<ListOptions>,
) -> Result<Json<AuditRecordList>, ApiError> {
    let since = since(&options.since, app.clock.now()).map_err(ApiError::BadRequest)?;
    let limit = match options.limit {
        None => RECORDS_DEFAULT,
        Some(limit @ 1..=RECORDS_MAX) => limit,
        Some(other) => {
            let message = format!("limit is {other}; it is from 1 to {RECORDS_MAX}");
            return Err(ApiError::BadRequest(message));
        }
    };
    let tenant = options.tenant.filter(|tenant| !tenant.is_empty());
    let records = app.store.audit(AuditQuery { tenant, since, limit }).await?;
    Ok(Json(AuditRecordList {
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        metadata: AuditMeta { unknown_callers: app.operators.unknown() },
        items: records.into_iter().map(render).collect(),
    }))
}

/// An instant, or a span back from now.
fn since(text: &str, now: UnixMillis) -> Result<Option<UnixMillis>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    if let Some(instant) = read_rfc3339(text) {
        return Ok(Some(instant));
    }
    match text.parse::<SignedDuration>() {
        Ok(span) if !span.is_negative() => {
            let milliseconds = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
            Ok(Some(UnixMillis(now.0.saturating_sub(milliseconds))))
        }
        _ => Err(format!(
            "since is {text:?}; it is an instant such as 2026-01-01T00:00:00Z or a span such as 1h"
        )),
    }
}

fn render(record: AuditRecord) -> shown::AuditRecord {
    let at = Timestamp::from_millisecond(record.at.0).unwrap_or(Timestamp::UNIX_EPOCH);
    shown::AuditRecord {
        at: format!("{at:.3}"),
        who: record.who,
        role: record.role.word().to_owned(),
        source: record.source,
        verb: record.verb,
        kind: record.kind,
        name: record.name,
        subresource: record.subresource,
        dry_run: record.dry_run,
        code: record.code,
        message: record.message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::NOW;

    #[test]
    fn routes_are_told_as_kinds() {
        let base = "/apis/vaultctl.dev/v1";
        for (path, expected) in [
            ("tenants", ("Tenant", "")),
            ("tenants/{name}", ("Tenant", "")),
            ("tenants/{name}/status", ("Tenant", "status")),
            ("tenantclasses/{name}", ("TenantClass", "")),
            ("operatortokens", ("OperatorToken", "")),
            ("pods/{name}", ("", "")),
        ] {
            assert_eq!(target(&format!("{base}/{path}")), expected);
        }
    }

    #[test]
    fn a_beginning_is_an_instant_or_a_span() {
        assert_eq!(since("", NOW), Ok(None));
        assert_eq!(since("1h30m", NOW), Ok(Some(NOW.plus_ms(-5_400_000))));
        assert_eq!(since("2026-01-01T00:00:00Z", NOW), Ok(Some(NOW)));
        for text in ["yesterday", "-1h", "1"] {
            assert!(since(text, NOW).is_err(), "{text}");
        }
    }
}
