//! One call from its turn to its last attempt, and one list from its first page to its last.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::config::{ClientConfig, RateLimits};
use super::paging::{PAGE_LIMIT, Page, Walk, keep_latest};
use crate::backoff::Backoff;
use crate::counts::{Attempt, CallObserver, CallOutcome};
use crate::error::{CallError, NotSent, NotSentReason, UnknownCause};
use crate::http::{ClientError, Http, Request, Success};
use crate::limit::Limiter;
use crate::sleep::Sleep;

/// What all clones of a client share.
pub(crate) struct Caller {
    http: Http,
    limiter: Option<Limiter>,
    observer: Option<Arc<dyn CallObserver>>,
    sleep: Arc<dyn Sleep>,
}

/// All pages of a list.
pub(super) struct Pages<T> {
    pub(super) rows: Vec<T>,
    pub(super) error_regions: Vec<String>,
    pub(super) undecodable: Vec<String>,
}

impl Caller {
    /// # Errors
    /// [`ClientError`], see there.
    pub(crate) fn new(config: ClientConfig) -> Result<Self, ClientError> {
        let http = Http::new(&config.base_url, &config.token, &config.user_agent, config.timeout)?;
        let limiter = match config.rate_limits {
            RateLimits::Documented => Some(Limiter::new(Arc::clone(&config.sleep))),
            RateLimits::Off => None,
        };
        Ok(Self { http, limiter, observer: config.observer, sleep: config.sleep })
    }

    /// For calls whose rate nobody limits, over a connection that is given.
    pub(crate) fn unlimited(
        http: Http,
        observer: Option<Arc<dyn CallObserver>>,
        sleep: Arc<dyn Sleep>,
    ) -> Self {
        Self { http, limiter: None, observer, sleep }
    }

    /// Makes a call, again where that is harmless.
    pub(crate) async fn call(&self, request: &Request) -> Result<Success, CallError> {
        let mut backoff = Backoff::new(request.operation);
        let mut repeated = false;
        loop {
            let result = self.attempt(request, repeated).await;
            repeated = true;
            let error = match result {
                Ok(success) => return Ok(success),
                Err(error) => error,
            };
            let Some(pause) = backoff.pause_after(&error) else {
                return Err(error);
            };
            tracing::debug!(
                operation = request.operation.name(),
                ?pause,
                "the call will be made again"
            );
            if let (true, Some(limiter)) = (error.is_rate_limited(), &self.limiter) {
                // Others that are about to make the same call would be refused as well.
                limiter.drain(request.operation, &request.identifier, pause);
            }
            self.sleep.sleep(pause).await;
        }
    }

    /// Waits for its turn and makes the call once.
    async fn attempt(&self, request: &Request, repeated: bool) -> Result<Success, CallError> {
        let began = self.sleep.now();
        let admitted = match &self.limiter {
            Some(limiter) => limiter.admit(request.operation, &request.identifier).await,
            None => Ok(()),
        };
        let sent = self.sleep.now();
        let result = match admitted {
            Ok(()) => self.http.send(request).await,
            Err(full) => Err(self.not_sent(request, NotSentReason::Queue(full))),
        };
        if let Some(observer) = &self.observer {
            let (status, fly_request_id) = match &result {
                Ok(success) => (Some(success.status), success.fly_request_id.as_deref()),
                Err(error) => (error.status(), error.fly_request_id()),
            };
            observer.call(&Attempt {
                operation: request.operation,
                outcome: CallOutcome::of(&result),
                status,
                failure: result.as_ref().err().map(CallError::kind),
                fly_request_id,
                waited: sent.saturating_sub(began),
                took: self.sleep.now().saturating_sub(sent),
                repeated,
            });
        }
        result
    }

    /// Makes a call whose answer is one JSON value.
    pub(super) async fn object<T: DeserializeOwned>(
        &self,
        request: Request,
    ) -> Result<T, CallError> {
        self.call(&request).await?.decode(|body| serde_json::from_slice(body))
    }

    /// Makes a call whose success says nothing more.
    pub(super) async fn done(&self, request: Request) -> Result<(), CallError> {
        self.call(&request).await.map(drop)
    }

    /// Adds a body to a request.
    pub(crate) fn with_body(
        &self,
        request: Request,
        body: &impl Serialize,
    ) -> Result<Request, CallError> {
        match serde_json::to_vec(body) {
            Ok(json) => Ok(request.body(json)),
            Err(error) => Err(self.not_sent(&request, NotSentReason::Build(error.into()))),
        }
    }

    /// Reads all pages of a list whose rows stand under `member`.
    pub(super) async fn pages<T: DeserializeOwned>(
        &self,
        first: Request,
        member: &'static str,
        id: impl Fn(&T) -> &str,
    ) -> Result<Pages<T>, CallError> {
        let first = first.list().query("limit", PAGE_LIMIT.to_string());
        let mut request = first.clone();
        let mut walk = Walk::default();
        let mut all =
            Pages { rows: Vec::new(), error_regions: Vec::new(), undecodable: Vec::new() };
        loop {
            let success = self.call(&request).await?;
            let read = Page::of_member(member, &success.body)
                .and_then(|page: Page<T>| Ok((page.next_cursor()?, page.error_regions()?, page)));
            let (cursor, error_regions, page) = match read {
                Ok(read) => read,
                Err(error) => return Err(success.undecodable(&error)),
            };
            all.rows.extend(page.rows);
            all.undecodable.extend(page.undecodable);
            all.error_regions.extend(error_regions);
            let Some(cursor) = cursor else { break };
            if let Err(problem) = walk.step(&cursor) {
                return Err(success.unknown(UnknownCause::Pages(problem)));
            }
            request = first.clone().query("cursor", cursor);
        }
        all.error_regions.sort_unstable();
        all.error_regions.dedup();
        all.rows = keep_latest(all.rows, id);
        Ok(all)
    }

    pub(crate) fn not_sent(&self, request: &Request, reason: NotSentReason) -> CallError {
        CallError::NotSent(NotSent { request: self.http.request_line(request), reason })
    }
}
