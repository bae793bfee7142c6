//! One client's watch: where it stands, and the lines that it is sent.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures_util::FutureExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use vault_api::object::Status;
use vault_plan::identity::ControllerId;

use super::Topic;
use super::feed::Message;
use super::lines::{self, EventType};
use super::news::{Gap, News, Reading, Step};
use crate::accept::to_json;
use crate::clock::Clock;
use crate::http::caller::Caller;
use crate::http::events;
use crate::http::forms::Form;
use crate::select::{Selection, labels_of};
use crate::store::{ApiStore, Kind, PageQuery, StoreError};

/// How often a client that wants bookmarks gets one: losing a connection then costs it little.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// How many objects of those that exist are read at a time.
const ROWS_MAX: usize = 250;

/// What a client watches, and how it is told.
pub(super) struct Place {
    /// Who watches.
    pub(super) caller: Caller,
    /// What it watches.
    pub(super) topic: Topic,
    /// In which form.
    pub(super) form: Form,
    /// Which of it.
    pub(super) selection: Selection,
    /// Whether it wants bookmarks.
    pub(super) bookmarks: bool,
}

/// Where a watch begins.
pub(super) enum Begin {
    /// With what exists.
    Existing {
        /// The version of the whole when the watch was asked for.
        at: i64,
        /// Whether a bookmark tells when that was all.
        marked: bool,
    },
    /// After this version.
    After(i64),
}

type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs from now on, not from when somebody first waits for it.
fn timer<C: Clock>(clock: &C, duration: Duration) -> Timer {
    let until = clock.now().plus_ms(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX));
    let clock = clock.clone();
    Box::pin(async move {
        let left = until.since_ms(clock.now());
        clock.sleep(Duration::from_millis(u64::try_from(left).unwrap_or_default())).await;
    })
}

/// When a watch ends at the latest, and the seats that are free again after that.
pub(super) struct End {
    deadline: Timer,
    stop: CancellationToken,
    /// Whether the token that it was asked for with is no longer good.
    revoked: CancellationToken,
    _seats: Seats,
}

/// A watch's place among all watches, and among those of its token.
pub(super) struct Seats {
    pub(super) _all: OwnedSemaphorePermit,
    pub(super) _own: Option<OwnedSemaphorePermit>,
}

impl End {
    /// After `timeout`, with `stop`, or with the caller's token.
    pub(super) fn new<C: Clock>(
        clock: &C,
        timeout: Duration,
        stop: CancellationToken,
        caller: &Caller,
        seats: Seats,
    ) -> Self {
        let mut timeout = timeout;
        if let Some(end) = caller.lease().and_then(|lease| lease.expires_at) {
            let left = u64::try_from(end.since_ms(clock.now())).unwrap_or_default();
            timeout = timeout.min(Duration::from_millis(left));
        }
        let revoked = caller.lease().map(|lease| lease.revoked.clone()).unwrap_or_default();
        Self { deadline: timer(clock, timeout), stop, revoked, _seats: seats }
    }

    /// Whether not even what is ready may be told any more.
    fn is_revoked(&self) -> bool {
        self.revoked.is_cancelled()
    }

    /// Waits for it. Cancel-safe.
    pub(super) async fn reached(&mut self) {
        tokio::select! {
            () = &mut self.deadline => {}
            () = self.stop.cancelled() => {}
            () = self.revoked.cancelled() => {}
        }
    }
}

enum State {
    /// What exists is told first.
    Listing { after: Option<String>, marked: bool },
    /// The store has more than was told.
    CatchingUp,
    /// The ring tells what happens.
    Live,
    /// That was all.
    Ended,
}

/// A client's watch.
pub(super) struct Watcher<S, C> {
    place: Place,
    store: S,
    clock: C,
    controller: ControllerId,
    state: State,
    reading: Reading,
    ring: Receiver<Message>,
    end: End,
    bookmark: Timer,
    /// Lines that are ready: of one page or step at most.
    lines: VecDeque<Bytes>,
}

impl<S: ApiStore, C: Clock> Watcher<S, C> {
    /// A watch that has told nothing yet. The place in the ring must be older than what `begin`
    /// knows.
    pub(super) fn new(
        place: Place,
        store: S,
        clock: C,
        controller: ControllerId,
        begin: Begin,
        ring: Receiver<Message>,
        end: End,
    ) -> Self {
        let (state, version) = match begin {
            Begin::Existing { at, marked } => (State::Listing { after: None, marked }, at),
            Begin::After(version) => (State::CatchingUp, version),
        };
        Self {
            reading: Reading::new(place.topic, version),
            bookmark: timer(&clock, BOOKMARK_INTERVAL),
            place,
            store,
            clock,
            controller,
            state,
            ring,
            end,
            lines: VecDeque::new(),
        }
    }

    /// The next line; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.end.is_revoked() {
                return None;
            }
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            if self.end.reached().now_or_never().is_some() {
                return None;
            }
            let worked = match &mut self.state {
                State::Ended => return None,
                State::Listing { after, marked } => {
                    let (after, marked) = (after.take(), *marked);
                    self.list(after, marked).await
                }
                State::CatchingUp => self.catch_up().await,
                State::Live => {
                    self.listen().await;
                    Ok(())
                }
            };
            if let Err(error) = worked {
                tracing::error!(error = &error as &dyn std::error::Error, "a watch ends");
                let message = "the controller's database refused";
                self.give_up(&Status::failure(500, "InternalError", message));
            }
        }
    }

    /// Tells some of what exists.
    async fn list(&mut self, after: Option<String>, marked: bool) -> Result<(), StoreError> {
        let next = match self.place.topic {
            Topic::Objects(kind) => self.list_objects(kind, after).await?,
            Topic::Events => self.list_events().await?,
        };
        match next {
            Some(after) => self.state = State::Listing { after: Some(after), marked },
            None => {
                if marked {
                    let (resource, knows) = (self.place.topic.resource(), self.reading.knows());
                    self.lines.push_back(lines::initial_end(resource, self.place.form, knows));
                }
                self.state = State::CatchingUp;
            }
        }
        Ok(())
    }

    /// The name after which there are more.
    async fn list_objects(
        &mut self,
        kind: Kind,
        after: Option<String>,
    ) -> Result<Option<String>, StoreError> {
        let query = PageQuery {
            after,
            name: self.place.selection.name().map(str::to_owned),
            limit: ROWS_MAX,
            ..PageQuery::default()
        };
        let page = self.store.page(kind, query).await?;
        let last = page.objects.last().map(|object| object.name.clone());
        for object in &page.objects {
            // It may have changed since the watch began: what is told now is not told again.
            self.reading.told(object.name.as_str().into(), object.resource_version);
            self.tell_existing(to_json(object));
        }
        Ok(last.filter(|_| page.more))
    }

    async fn list_events(&mut self) -> Result<Option<String>, StoreError> {
        for series in self.store.events(None).await? {
            let event = events::to_json(&self.controller, &series);
            let name = event["metadata"]["name"].as_str().unwrap_or_default();
            self.reading.told(name.into(), series.version);
            self.tell_existing(event);
        }
        Ok(None)
    }

    fn tell_existing(&mut self, object: serde_json::Value) {
        if self.place.selection.matches(labels_of(&object), &object) {
            let (resource, form) = (self.place.topic.resource(), self.place.form);
            let now = self.clock.now();
            self.lines.push_back(lines::object(resource, EventType::Added, form, object, now));
        }
    }

    /// Tells some of what happened while the ring was not listened to.
    async fn catch_up(&mut self) -> Result<(), StoreError> {
        let knows = self.reading.knows();
        match self.reading.step(&self.store, &self.controller).await? {
            Ok(Step { news, complete }) => {
                for one in &news {
                    self.tell(one, knows);
                }
                if complete {
                    self.state = State::Live;
                }
            }
            Err(Gap) => {
                let message = "too old resource version: list again";
                self.give_up(&Status::failure(410, "Expired", message));
            }
        }
        Ok(())
    }

    /// Waits for what happens next.
    async fn listen(&mut self) {
        // All arms are cancel-safe: a message is taken out only when its arm is chosen.
        tokio::select! {
            () = self.end.reached() => self.state = State::Ended,
            message = self.ring.recv() => match message {
                Ok(Message::News(news)) => {
                    self.tell(&news, self.reading.knows());
                    // Until the round is over: whoever falls behind within it reads it again.
                    self.reading.told(Arc::clone(&news.name), news.version);
                }
                Ok(Message::UpTo(version)) => {
                    if version > self.reading.knows() {
                        self.reading = Reading::new(self.place.topic, version);
                    }
                }
                Ok(Message::Gap) | Err(RecvError::Lagged(_)) => self.state = State::CatchingUp,
                Err(RecvError::Closed) => self.state = State::Ended,
            },
            () = &mut self.bookmark, if self.place.bookmarks => {
                let (resource, knows) = (self.place.topic.resource(), self.reading.knows());
                self.lines.push_back(lines::bookmark(resource, self.place.form, knows));
                self.bookmark = timer(&self.clock, BOOKMARK_INTERVAL);
            }
        }
    }

    fn tell(&mut self, news: &News, knows: i64) {
        if let Some(told) = news.means(knows, &self.place.selection) {
            let (form, now) = (self.place.form, self.clock.now());
            let is_lost = self.place.topic == Topic::Objects(Kind::Tenant)
                && !self.place.caller.may_see(news.labels());
            self.lines.push_back(match is_lost {
                true => news.parting(told, form, now),
                false => news.line(told, form, now),
            });
        }
    }

    fn give_up(&mut self, status: &Status) {
        self.lines.push_back(lines::error(status));
        self.state = State::Ended;
    }
}
