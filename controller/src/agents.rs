//! How agents are: asked beside the passes, while their tenants are not Ready.
//!
//! ```text
//!   pass ────────▶ Agents::ask ──┐                                ┌─▶ agent: evidence, health
//!   connect ─────▶ Agents::keys ─┴─▶ queue ─▶ serve, a few at once ┴─▶ issuer: keys
//!     ▲                                            │
//!     └── Agents::said, keys ◀── what is known ◀───┘ (and a wake-up, if it is news)
//! ```
//!
//! Nobody waits for an agent: a pass asks, and a later pass finds what came of it. What an agent
//! says informs people and decides nothing.

mod client;

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use vault_api::status::AgentStatus;
use vault_client::ExpectedIdentity;
use vault_plan::time::UnixMillis;

pub use client::AgentClient;

/// How many requests may wait. One that finds no room is made again by the next pass.
const QUEUE_LENGTH_MAX: usize = 256;
/// How many agents and issuers are asked at once: enough that a few that do not answer do not hold
/// up the rest, and few beside the calls of a pass.
const LOOKS_AT_ONCE: usize = 8;
/// How long one look may take. A healthy agent needs well below a second; a cold one waits for the
/// platform's token.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// How soon the same agent, or issuer, is asked again, in milliseconds.
const LOOK_INTERVAL_MS: i64 = 2_000;
/// How long what an agent said is kept here, in milliseconds. The tenant's status has it by then.
const SAID_KEPT_MS: i64 = 600_000;
/// How old keys may be before they are read again, in milliseconds. Clients that miss a key in them
/// ask the issuer themselves.
const KEYS_FRESH_MS: i64 = 600_000;
/// The longest text of an agent's that goes into a status, in characters: it is the tenant's word.
const TEXT_LENGTH_MAX: usize = 256;

/// A look at one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Where it listens.
    pub address: SocketAddr,
    /// What its evidence has to say; the machine's id and version tell looks apart.
    pub identity: ExpectedIdentity,
}

/// What is to be found out.
#[derive(Debug)]
pub enum Request {
    /// How an agent is.
    Agent(Question),
    /// An issuer's keys.
    Keys(String),
}

/// Finds out. The seam behind which the network stands.
pub trait Asker: Send + Sync + 'static {
    /// How an agent is; a failure is an answer too.
    fn health(&self, question: &Question) -> impl Future<Output = AgentStatus> + Send;

    /// The JWK set of an issuer, if it can be had.
    fn keys(&self, issuer: &str) -> impl Future<Output = Option<Value>> + Send;

    /// The present instant.
    fn now(&self) -> UnixMillis;
}

/// What is known of agents and of issuers' keys. All of it may be lost.
#[derive(Debug)]
pub struct Agents {
    queue: mpsc::Sender<Request>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By the machine's id. No more than machines that were asked lately: see [`SAID_KEPT_MS`].
    agents: HashMap<String, Look<AgentStatus>>,
    /// By issuer, of which there is one per organization.
    keys: HashMap<String, Look<Value>>,
    /// Grows with each piece of news.
    news: u64,
}

/// The last look at something.
#[derive(Debug)]
struct Look<T> {
    /// The machine's versions that it was about; none for issuers.
    versions: Vec<String>,
    asked_at: UnixMillis,
    under_way: bool,
    found: Option<T>,
}

impl<T> Look<T> {
    fn may_be_repeated(&self, versions: &[String], now: UnixMillis) -> bool {
        let is_old = now.since_ms(self.asked_at) >= LOOK_INTERVAL_MS;
        !self.under_way && (is_old || self.versions != versions)
    }
}

impl Agents {
    /// The board, and the requests that somebody has to [`serve`].
    #[must_use]
    pub fn new() -> (Arc<Self>, mpsc::Receiver<Request>) {
        let (queue, requests) = mpsc::channel(QUEUE_LENGTH_MAX);
        (Arc::new(Self { queue, known: Mutex::default() }), requests)
    }

    /// Asks how an agent is, unless that is being asked or was asked a moment ago.
    pub fn ask(&self, question: Question, now: UnixMillis) {
        let (id, versions) = (&question.identity.machine_id, &question.identity.machine_versions);
        let mut known = self.known();
        let last = known.agents.get(id);
        if last.is_some_and(|look| !look.may_be_repeated(versions, now)) {
            return;
        }
        let found = last.filter(|look| look.versions == *versions);
        let found = found.and_then(|look| look.found.clone());
        let look = Look { versions: versions.clone(), asked_at: now, under_way: true, found };
        let id = id.clone();
        // A full queue: a later pass asks again.
        if self.queue.try_send(Request::Agent(question)).is_ok() {
            let is_kept = |at: UnixMillis| now.since_ms(at) < SAID_KEPT_MS;
            known.agents.retain(|_, look| look.under_way || is_kept(look.asked_at));
            known.agents.insert(id, look);
        }
    }

    /// What a machine's agent said last, if that was in this version of the machine.
    #[must_use]
    pub fn said(&self, machine_id: &str, version: &str) -> Option<AgentStatus> {
        let known = self.known();
        let look = known.agents.get(machine_id).filter(|look| look.versions == [version])?;
        look.found.clone()
    }

    /// How much news there was so far: who remembers this number knows whether there was more.
    #[must_use]
    pub fn news(&self) -> u64 {
        self.known().news
    }

    /// The keys of an issuer as last read, if they were. If that is long ago, they are read again.
    #[must_use]
    pub fn keys(&self, issuer: &str, now: UnixMillis) -> Option<Value> {
        let mut known = self.known();
        let last = known.keys.get(issuer);
        let keys = last.and_then(|look| look.found.clone());
        let is_fresh =
            keys.is_some() && last.is_some_and(|look| now.since_ms(look.asked_at) < KEYS_FRESH_MS);
        let may_ask = last.is_none_or(|look| look.may_be_repeated(&[], now));
        if !is_fresh && may_ask && self.queue.try_send(Request::Keys(issuer.to_owned())).is_ok() {
            let (versions, found) = (Vec::new(), keys.clone());
            let look = Look { versions, asked_at: now, under_way: true, found };
            known.keys.insert(issuer.to_owned(), look);
        }
        keys
    }

    /// Keeps what an agent said; whether that is news: the first that is heard of it, or whether it
    /// serves. Its words are the tenant's, and may be others each time.
    fn learn(&self, identity: &ExpectedIdentity, said: AgentStatus, now: UnixMillis) -> bool {
        let mut known = self.known();
        let look = known.agents.get_mut(&identity.machine_id);
        let Some(look) = look.filter(|look| look.versions == identity.machine_versions) else {
            return false;
        };
        look.under_way = false;
        look.asked_at = now;
        let is_ready = said.ready;
        let is_news = look.found.replace(said).is_none_or(|last| last.ready != is_ready);
        known.news += u64::from(is_news);
        is_news
    }

    fn learn_keys(&self, issuer: &str, keys: Option<Value>, now: UnixMillis) {
        if let Some(look) = self.known().keys.get_mut(issuer) {
            look.under_way = false;
            look.asked_at = now;
            // Keys that cannot be read now are still the ones that were read before.
            if keys.is_some() {
                look.found = keys;
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves requests until `stop`, and wakes whoever is to tell of news.
pub async fn serve<A: Asker>(
    agents: Arc<Agents>,
    asker: A,
    mut requests: mpsc::Receiver<Request>,
    wake: Arc<Notify>,
    stop: CancellationToken,
) {
    let asker = Arc::new(asker);
    let mut looks = JoinSet::new();
    loop {
        // All arms are cancel-safe: a request is taken out only when its arm wins.
        tokio::select! {
            () = stop.cancelled() => return,
            Some(ended) = looks.join_next() => {
                if let Err(error) = ended {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
            request = requests.recv(), if looks.len() < LOOKS_AT_ONCE => {
                let Some(request) = request else { return };
                let (agents, asker, wake) =
                    (Arc::clone(&agents), Arc::clone(&asker), Arc::clone(&wake));
                looks.spawn(async move { answer(&agents, &*asker, request, &wake).await });
            }
        }
    }
}

async fn answer<A: Asker>(agents: &Agents, asker: &A, request: Request, wake: &Notify) {
    match request {
        Request::Agent(question) => {
            let looked = tokio::time::timeout(LOOK_TIMEOUT, asker.health(&question)).await;
            let said = looked.unwrap_or_else(|_| {
                silent(format!("it did not answer within {} s", LOOK_TIMEOUT.as_secs()))
            });
            if agents.learn(&question.identity, bounded(said), asker.now()) {
                wake.notify_one();
            }
        }
        Request::Keys(issuer) => {
            let read = tokio::time::timeout(LOOK_TIMEOUT, asker.keys(&issuer)).await;
            agents.learn_keys(&issuer, read.ok().flatten(), asker.now());
        }
    }
}

/// An agent that could not be asked.
fn silent(message: String) -> AgentStatus {
    AgentStatus { ready: false, version: None, boot_id: None, message: Some(message) }
}

/// The agent's own words, cut to what a status can hold and a terminal can show.
fn bounded(said: AgentStatus) -> AgentStatus {
    let text = |text: String| -> String {
        let shown = text.chars().map(|one| if one.is_control() { ' ' } else { one });
        shown.take(TEXT_LENGTH_MAX).collect()
    };
    AgentStatus {
        ready: said.ready,
        version: said.version.map(text),
        boot_id: said.boot_id.map(text),
        message: said.message.map(text),
    }
}

#[cfg(test)]
mod tests;
