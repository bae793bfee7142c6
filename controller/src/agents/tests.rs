use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::sync::Semaphore;

use super::*;
use crate::testing::NOW;

const ISSUER: &str = "https://oidc.example/local";

fn question(id: &str, version: &str) -> Question {
    let text = str::to_owned;
    Question {
        address: SocketAddr::from(([127, 0, 9, 1], 8443)),
        identity: ExpectedIdentity {
            issuer: text(ISSUER),
            org_name: text("local"),
            org_id: None,
            app_name: text("acme-app"),
            app_id: None,
            machine_id: text(id),
            machine_versions: vec![text(version)],
            image_digests: Vec::new(),
        },
    }
}

fn ready(version: &str) -> AgentStatus {
    let version = Some(version.to_owned());
    AgentStatus { ready: true, version, boot_id: None, message: None }
}

/// How many requests wait.
fn waiting(requests: &mut mpsc::Receiver<Request>) -> usize {
    std::iter::from_fn(|| requests.try_recv().ok()).count()
}

#[test]
fn one_look_at_a_machine_at_a_time_and_not_too_often() {
    let (agents, mut requests) = Agents::new();
    let asked = question("m1", "v1");
    agents.ask(asked.clone(), NOW);
    agents.ask(asked.clone(), NOW.plus_ms(LOOK_INTERVAL_MS * 10));
    assert_eq!(waiting(&mut requests), 1, "the first has not ended");
    assert_eq!(agents.said("m1", "v1"), None);
    assert!(agents.learn(&asked.identity, ready("1"), NOW));
    assert_eq!(agents.said("m1", "v1"), Some(ready("1")));
    agents.ask(asked.clone(), NOW.plus_ms(LOOK_INTERVAL_MS - 1));
    assert_eq!(waiting(&mut requests), 0);
    agents.ask(asked.clone(), NOW.plus_ms(LOOK_INTERVAL_MS));
    assert_eq!(waiting(&mut requests), 1);
    // What was said before stands while it is asked again, and is no news when it is said again.
    assert_eq!(agents.said("m1", "v1"), Some(ready("1")));
    assert!(!agents.learn(&asked.identity, ready("1"), NOW));
    // A new version is another program: what the old one said does not count, nor when it was asked.
    assert_eq!(agents.said("m1", "v2"), None);
    agents.ask(question("m1", "v2"), NOW);
    assert_eq!(waiting(&mut requests), 1);
    assert!(!agents.learn(&asked.identity, ready("1"), NOW), "an answer of the old version");
    assert_eq!(agents.said("m1", "v2"), None);
}

#[test]
fn what_wakes_a_pass_is_whether_an_agent_serves_and_not_its_words() {
    let (agents, _requests) = Agents::new();
    let asked = question("m1", "v1");
    agents.ask(asked.clone(), NOW);
    // The reason holds the present time: it is another one with each look.
    let at = |second: u32| silent(format!("the evidence expired at 5, and it is {second}"));
    assert!(agents.learn(&asked.identity, at(7), NOW));
    assert!(!agents.learn(&asked.identity, at(9), NOW));
    assert_eq!(agents.said("m1", "v1"), Some(at(9)));
    assert!(agents.learn(&asked.identity, ready("1"), NOW));
    assert!(!agents.learn(&asked.identity, ready("2"), NOW));
}

#[test]
fn what_does_not_fit_into_the_queue_is_asked_later() {
    let (agents, mut requests) = Agents::new();
    for number in 0..=QUEUE_LENGTH_MAX {
        agents.ask(question(&format!("m{number}"), "v1"), NOW);
    }
    assert_eq!(waiting(&mut requests), QUEUE_LENGTH_MAX);
    agents.ask(question(&format!("m{QUEUE_LENGTH_MAX}"), "v1"), NOW);
    assert_eq!(waiting(&mut requests), 1);
    // What was said before stands, though there is no room to ask again.
    let (known, later) = (question("m0", "v1"), NOW.plus_ms(LOOK_INTERVAL_MS));
    agents.learn(&known.identity, ready("1"), NOW);
    for number in 1..=QUEUE_LENGTH_MAX {
        agents.ask(question(&format!("m{number}"), "v2"), later);
    }
    for number in 0..QUEUE_LENGTH_MAX {
        agents.ask(question(&format!("n{number}"), "v1"), later);
    }
    agents.ask(known, later);
    assert_eq!(agents.said("m0", "v1"), Some(ready("1")));
}

#[test]
fn machines_that_nobody_asks_about_are_forgotten() {
    let (agents, _requests) = Agents::new();
    let asked = question("m1", "v1");
    agents.ask(asked.clone(), NOW);
    agents.learn(&asked.identity, ready("1"), NOW);
    agents.ask(question("m2", "v1"), NOW.plus_ms(SAID_KEPT_MS));
    assert_eq!(agents.said("m1", "v1"), None);
    assert_eq!(agents.known().agents.len(), 1);
}

#[test]
fn keys_are_told_as_last_read_and_read_again_when_they_are_old() {
    let (agents, mut requests) = Agents::new();
    assert_eq!(agents.keys(ISSUER, NOW), None);
    assert_eq!(agents.keys(ISSUER, NOW.plus_ms(LOOK_INTERVAL_MS)), None);
    assert_eq!(waiting(&mut requests), 1, "they are being read");
    agents.learn_keys(ISSUER, None, NOW);
    assert_eq!(agents.keys(ISSUER, NOW.plus_ms(LOOK_INTERVAL_MS)), None);
    assert_eq!(waiting(&mut requests), 1, "the first try failed");
    agents.learn_keys(ISSUER, Some(json!(1)), NOW);
    assert_eq!(agents.keys(ISSUER, NOW.plus_ms(KEYS_FRESH_MS - 1)), Some(json!(1)));
    assert_eq!(waiting(&mut requests), 0);
    assert_eq!(agents.keys(ISSUER, NOW.plus_ms(KEYS_FRESH_MS)), Some(json!(1)));
    assert_eq!(waiting(&mut requests), 1);
    agents.learn_keys(ISSUER, None, NOW);
    assert_eq!(agents.keys(ISSUER, NOW), Some(json!(1)), "a failure forgets nothing");
}

/// Answers when it may, and counts how many wait at once.
struct Gate {
    open: Arc<Semaphore>,
    inside: Arc<AtomicUsize>,
}

impl Asker for Gate {
    async fn health(&self, question: &Question) -> AgentStatus {
        self.inside.fetch_add(1, Ordering::SeqCst);
        let _permit = self.open.acquire().await.unwrap();
        let mut said = ready(&question.identity.machine_id);
        said.message = Some(format!("\u{1b}[31m{}", "x".repeat(1_000)));
        said
    }

    async fn keys(&self, _: &str) -> Option<Value> {
        Some(json!({ "keys": [] }))
    }

    fn now(&self) -> UnixMillis {
        NOW
    }
}

#[tokio::test]
async fn a_few_are_asked_at_once_and_news_wakes_the_pass() {
    let (agents, requests) = Agents::new();
    let gate = Gate { open: Arc::new(Semaphore::new(0)), inside: Arc::default() };
    let (open, inside) = (Arc::clone(&gate.open), Arc::clone(&gate.inside));
    let (wake, stop) = (Arc::new(Notify::new()), CancellationToken::new());
    let mut tasks = JoinSet::new();
    tasks.spawn(serve(Arc::clone(&agents), gate, requests, Arc::clone(&wake), stop.clone()));
    for number in 0..LOOKS_AT_ONCE + 2 {
        agents.ask(question(&format!("m{number}"), "v1"), NOW);
    }
    let deadline = Duration::from_secs(10);
    let until = async |count: usize| {
        let reached = async {
            while inside.load(Ordering::SeqCst) < count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(deadline, reached).await.unwrap();
    };
    until(LOOKS_AT_ONCE).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(inside.load(Ordering::SeqCst), LOOKS_AT_ONCE, "the others wait");
    open.add_permits(1);
    until(LOOKS_AT_ONCE + 2).await;
    tokio::time::timeout(deadline, wake.notified()).await.unwrap();
    let last = format!("m{}", LOOKS_AT_ONCE + 1);
    let told = async {
        while agents.said(&last, "v1").is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(deadline, told).await.unwrap();
    let said = agents.said(&last, "v1").unwrap();
    assert_eq!(said.version, Some(last));
    let message = said.message.unwrap();
    assert_eq!(message.chars().count(), TEXT_LENGTH_MAX);
    assert!(message.starts_with(" [31mx"), "{message}");
    stop.cancel();
    tokio::time::timeout(deadline, tasks.join_all()).await.unwrap();
}
