//! Following objects as they change: a list, then a watch, for as long as one likes.
//!
//! ```text
//!   list ──version──▶ watch ──▶ changes …
//!    ▲                  │ ▲
//!    └── 410: too old ──┘ └── ended or broke off: again from the newest version seen
//! ```

use crate::client::{CHUNK_SIZE, Client, ClientError, Selection, Watch, WatchEvent};
use crate::object::{Object, Resource};
use crate::poll::Pauses;

/// The code for "this version is too long ago".
const GONE: u16 = 410;

/// What a follower learns.
#[derive(Debug)]
pub(crate) enum Change {
    /// All that there is now: at first, and whenever what happened in between is not known.
    Listed(Vec<Object>),
    /// An object is new.
    Added(Object),
    /// An object is different.
    Modified(Object),
    /// An object is gone; its last state.
    Deleted(Object),
    /// The controller does not answer for now; whoever goes on asking goes on trying.
    Broken {
        /// What is wrong.
        error: ClientError,
        /// How many tries in a row have failed; the first one is 1.
        tries: u32,
    },
}

/// The selected objects of one resource, followed.
pub(crate) struct Follow<'c> {
    client: &'c Client,
    resource: Resource,
    selection: Selection,
    stage: Stage,
    pauses: Pauses,
    must_pause: bool,
    tries: u32,
    has_listed: bool,
}

enum Stage {
    List,
    Watch { version: String },
    Stream { version: String, watch: Box<Watch>, is_idle: bool },
}

impl<'c> Follow<'c> {
    /// Prepares to follow; sends nothing yet.
    pub(crate) fn new(client: &'c Client, resource: Resource, selection: Selection) -> Self {
        Self {
            client,
            resource,
            selection,
            stage: Stage::List,
            pauses: Pauses::new(),
            must_pause: false,
            tries: 0,
            has_listed: false,
        }
    }

    /// The next change. Waiting for it may be broken off: nothing is lost then.
    ///
    /// # Errors
    /// What trying again will not mend, and whatever keeps the first list from being read.
    pub(crate) async fn next(&mut self) -> Result<Change, ClientError> {
        loop {
            if self.must_pause {
                self.pauses.sleep().await;
                self.must_pause = false;
            }
            let outcome = match &mut self.stage {
                Stage::List => self.list().await,
                Stage::Watch { version } => {
                    let version = version.clone();
                    self.open(version).await
                }
                Stage::Stream { .. } => self.read().await,
            };
            match outcome {
                Ok(Some(change)) => return Ok(change),
                Ok(None) => {}
                Err(error) if error.code() == Some(GONE) && !matches!(self.stage, Stage::List) => {
                    // With a pause, lest a controller that forgets at once be asked in a circle.
                    self.must_pause = true;
                    self.stage = Stage::List;
                }
                Err(error) if error.is_passing() && self.has_listed => {
                    self.must_pause = true;
                    self.tries += 1;
                    return Ok(Change::Broken { error, tries: self.tries });
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn list(&mut self) -> Result<Option<Change>, ClientError> {
        let listed = self.client.select(self.resource, &self.selection, CHUNK_SIZE).await?;
        self.stage = Stage::Watch { version: listed.version };
        self.has_listed = true;
        self.tries = 0;
        Ok(Some(Change::Listed(listed.items)))
    }

    async fn open(&mut self, version: String) -> Result<Option<Change>, ClientError> {
        let watch = self.client.watch(self.resource, &self.selection, &version).await?;
        self.stage = Stage::Stream { version, watch: Box::new(watch), is_idle: true };
        Ok(None)
    }

    async fn read(&mut self) -> Result<Option<Change>, ClientError> {
        let Stage::Stream { version, watch, is_idle } = &mut self.stage else {
            return Ok(None);
        };
        match watch.next().await {
            Ok(Some(event)) => {
                let (WatchEvent::Added(object)
                | WatchEvent::Modified(object)
                | WatchEvent::Deleted(object)
                | WatchEvent::Bookmark(object)) = &event;
                if let Some(seen) = object.text("/metadata/resourceVersion") {
                    seen.clone_into(version);
                }
                *is_idle = false;
                self.tries = 0;
                self.pauses = Pauses::new();
                Ok(match event {
                    WatchEvent::Added(object) => Some(Change::Added(object)),
                    WatchEvent::Modified(object) => Some(Change::Modified(object)),
                    WatchEvent::Deleted(object) => Some(Change::Deleted(object)),
                    WatchEvent::Bookmark(_) => None,
                })
            }
            Ok(None) => {
                // A controller that ends every watch at once must not be asked without a pause.
                self.must_pause = *is_idle;
                self.stage = Stage::Watch { version: std::mem::take(version) };
                Ok(None)
            }
            Err(error) => {
                self.stage = Stage::Watch { version: std::mem::take(version) };
                Err(error)
            }
        }
    }
}
