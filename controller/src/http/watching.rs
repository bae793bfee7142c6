//! Watches: who asks is told what happens, from a version on, until it leaves or its time is up.
//!
//! ```text
//!   store ── a commit is told ─▶ feed (one task per topic) ── each change read once,
//!     ▲                            │                          each line written once
//!     │                            ▼ a bounded ring of shared changes
//!     └── who fell behind ◀── watcher ─▶ lines of one client ─▶ its connection
//!         catches up here
//! ```
//!
//! A watcher holds a place in the ring, a version and its selection, and nothing that grows. What is
//! ADDED, MODIFIED and DELETED is told from where the watcher stood: an object that was made since is
//! ADDED, one that leaves the selection is DELETED.

mod feed;
mod lines;
mod news;
mod watcher;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use vault_api::object::Status;
use vault_plan::identity::ControllerId;

use super::App;
use super::caller::Caller;
use super::error::ApiError;
use super::forms::Form;
use super::options::{ListOptions, Start};
use super::resources::{EVENTS, Resource};
use crate::clock::Clock;
use crate::store::{ApiStore, Kind};
use feed::Feed;
use news::{Gap, Reading};
use watcher::{Begin, Seats, Watcher};

/// How many watches there may be at once: a watcher's place takes some kilobytes, and its
/// connection some tens of them.
const WATCHES_MAX: usize = 512;
/// How long a watch takes if the client does not say: then it asks again, from where it was.
const TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// The longest that a client may ask for.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What can be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Tenants or classes.
    Objects(Kind),
    /// Events.
    Events,
}

impl Topic {
    const ALL: [Self; 3] =
        [Self::Objects(Kind::Tenant), Self::Objects(Kind::TenantClass), Self::Events];

    fn resource(self) -> &'static Resource {
        match self {
            Self::Objects(kind) => Resource::of(kind),
            Self::Events => &EVENTS,
        }
    }
}

/// All that is needed to answer watches: a feed per topic, room for watchers, and the end.
pub struct Feeds {
    feeds: [Arc<Feed>; 3],
    room: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Feeds {
    /// Feeds that nobody reads yet. `stop` ends them and all watches.
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        let feeds = Topic::ALL.map(|topic| Arc::new(Feed::new(topic)));
        Self { feeds, room: Arc::new(Semaphore::new(WATCHES_MAX)), stop }
    }

    /// The tasks that read what changes, one per topic; each ends with `stop` or with the store.
    pub fn tasks<S: ApiStore>(
        &self,
        store: &S,
        controller: ControllerId,
    ) -> Vec<impl Future<Output = ()> + Send + 'static> {
        let task =
            |feed: &Arc<Feed>| Arc::clone(feed).run(store.clone(), controller, self.stop.clone());
        self.feeds.iter().map(task).collect()
    }

    /// A place for one more watch of this caller.
    fn seats(&self, caller: &Caller) -> Result<Seats, ApiError> {
        let take = |room: &Arc<Semaphore>| {
            Arc::clone(room).try_acquire_owned().map_err(|_| ApiError::TooManyWatches)
        };
        // Its own first: whoever has none left takes nothing from the others, not even for a moment.
        let own = caller.lease().map(|lease| take(&lease.watches)).transpose()?;
        Ok(Seats { _own: own, _all: take(&self.room)? })
    }

    fn of(&self, topic: Topic) -> &Arc<Feed> {
        let found = self.feeds.iter().find(|feed| feed.topic() == topic);
        found.unwrap_or_else(|| unreachable!("there is a feed for every topic"))
    }
}

/// Answers a watch.
pub(super) async fn answer<P, S: ApiStore, C: Clock>(
    app: &Arc<App<P, S, C>>,
    caller: &Caller,
    topic: Topic,
    headers: &HeaderMap,
    options: &ListOptions,
) -> Result<Response, ApiError> {
    let resource = topic.resource();
    let form = Form::choose(headers, &options.include_object)?;
    let selection = options.selection(resource)?;
    let selection = match topic {
        Topic::Objects(kind) => caller.narrow(kind, selection),
        // Whose tenant an event is about can change while it is on its way.
        Topic::Events if caller.limit().is_some() => return Err(limited()),
        Topic::Events => selection,
    };
    let start = options.start()?;
    let not_older_than = options.not_older_than()?;
    let seats = app.feeds.seats(caller)?;
    // Before anything is read: what happens between is in the ring or in the store.
    let ring = app.feeds.of(topic).subscribe();
    let newest = app.store.resource_version().await?;
    let begin = match start {
        Start::Existing { .. } if not_older_than > newest => {
            return Err(ApiError::TooLargeVersion { wanted: not_older_than, newest });
        }
        Start::Existing { marked } => Begin::Existing { at: newest, marked },
        Start::After(version) => {
            must_be_known(app, topic, version, newest).await?;
            Begin::After(version)
        }
    };
    let watcher = Watcher::new(
        watcher::Place {
            caller: caller.clone(),
            topic,
            form,
            selection,
            bookmarks: options.bookmarks()?,
        },
        app.store.clone(),
        app.clock.clone(),
        app.controller,
        begin,
        ring,
        watcher::End::new(&app.clock, timeout(options)?, app.feeds.stop.clone(), caller, seats),
    );
    Ok(stream_of(watcher))
}

/// The refusal of a watch that cannot be limited.
fn limited() -> ApiError {
    let message = "a token that is limited to some tenants cannot watch events: list them";
    ApiError::Refused(Box::new(Status::failure(403, "Forbidden", message)))
}

/// Answers a watch of something that nothing ever happens to.
pub(super) async fn silence<P, S: ApiStore, C: Clock>(
    app: &Arc<App<P, S, C>>,
    caller: &Caller,
    topic: Topic,
    headers: &HeaderMap,
    options: &ListOptions,
) -> Result<Response, ApiError> {
    let form = Form::choose(headers, &options.include_object)?;
    options.selection(topic.resource())?;
    let seats = app.feeds.seats(caller)?;
    let marked = matches!(options.start()?, Start::Existing { marked: true });
    let at = app.store.resource_version().await?;
    let end =
        watcher::End::new(&app.clock, timeout(options)?, app.feeds.stop.clone(), caller, seats);
    let first = marked.then(|| lines::initial_end(topic.resource(), form, at));
    let stream = stream::unfold((first, end), async |(mut first, mut end)| {
        if let Some(line) = first.take() {
            return Some((Ok::<_, std::convert::Infallible>(line), (first, end)));
        }
        end.reached().await;
        None
    });
    Ok(response(Body::from_stream(stream)))
}

fn stream_of<S: ApiStore, C: Clock>(watcher: Watcher<S, C>) -> Response {
    let lines = stream::unfold(watcher, async |mut watcher| {
        let line = watcher.next().await?;
        Some((Ok::<_, std::convert::Infallible>(line), watcher))
    });
    response(Body::from_stream(lines))
}

fn response(body: Body) -> Response {
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache, private")];
    (headers, body).into_response()
}

fn timeout(options: &ListOptions) -> Result<Duration, ApiError> {
    let asked = options.timeout_seconds()?.map(Duration::from_secs);
    Ok(asked.unwrap_or(TIMEOUT).min(TIMEOUT_MAX))
}

/// Whether everything since a version can still be told. A version that was never given out comes
/// from another database: that client, too, has to list anew.
async fn must_be_known<P, S: ApiStore, C>(
    app: &App<P, S, C>,
    topic: Topic,
    version: i64,
    newest: i64,
) -> Result<(), ApiError> {
    let expired = ApiError::Expired("too old resource version: list again");
    if version > newest {
        return Err(expired);
    }
    match Reading::new(topic, version).probe(&app.store).await? {
        Ok(()) => Ok(()),
        Err(Gap) => Err(expired),
    }
}
