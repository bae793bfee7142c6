//! Where a one-way stream and the command that it belongs to meet: either may come first.
//!
//! Bounded by the streams that a client may open, and by the commands that may run: each one waits
//! here at most once, and who stops waiting leaves nothing behind.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

/// Pairs those who bring a `V` with those who want it, by key.
#[derive(Debug)]
pub(crate) struct Rendezvous<K, V> {
    waiting: Mutex<HashMap<K, Waiting<V>>>,
}

#[derive(Debug)]
enum Waiting<V> {
    /// Somebody has brought it; the sender tells them that it was taken.
    Brought(V, oneshot::Sender<()>),
    Wanted(oneshot::Sender<V>),
}

impl<K: Eq + Hash + Copy, V> Rendezvous<K, V> {
    /// Nobody is here.
    pub(crate) fn new() -> Self {
        Self { waiting: Mutex::new(HashMap::new()) }
    }

    /// Brings something, and waits until it is taken; gives it back if nobody wants it in time, or
    /// somebody has brought the same.
    pub(crate) async fn bring(&self, key: K, value: V, patience: Duration) -> Result<(), V> {
        let taken = {
            let mut waiting = self.lock();
            match waiting.remove(&key) {
                // Who wanted it may have gone meanwhile, and gives it back.
                Some(Waiting::Wanted(wanted)) => return wanted.send(value),
                Some(first @ Waiting::Brought(..)) => {
                    waiting.insert(key, first);
                    return Err(value);
                }
                None => {
                    let (tell, taken) = oneshot::channel();
                    waiting.insert(key, Waiting::Brought(value, tell));
                    taken
                }
            }
        };
        // Cancel-safe: what matters is whether it still lies here.
        if timeout(patience, taken).await.is_ok_and(|taken| taken.is_ok()) {
            return Ok(());
        }
        match self.lock().entry(key) {
            Entry::Occupied(entry) if matches!(entry.get(), Waiting::Brought(..)) => {
                match entry.remove() {
                    Waiting::Brought(value, _) => Err(value),
                    Waiting::Wanted(_) => unreachable!("it was looked at a line ago"),
                }
            }
            Entry::Occupied(_) | Entry::Vacant(_) => Ok(()),
        }
    }

    /// Takes what was brought, if it was.
    pub(crate) fn take(&self, key: K) -> Option<V> {
        taken(&mut self.lock(), key)
    }

    /// Waits for something to be brought. Cancel-safe: who brings it after that keeps it.
    pub(crate) async fn want(&self, key: K) -> Option<V> {
        let brought = {
            let mut waiting = self.lock();
            if let Some(value) = taken(&mut waiting, key) {
                return Some(value);
            }
            let (wanted, brought) = oneshot::channel();
            waiting.insert(key, Waiting::Wanted(wanted));
            brought
        };
        let _forgotten = Forget { rendezvous: self, key };
        brought.await.ok()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Waiting<V>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn taken<K: Eq + Hash, V>(waiting: &mut HashMap<K, Waiting<V>>, key: K) -> Option<V> {
    match waiting.remove(&key)? {
        Waiting::Brought(value, tell) => {
            // They may have stopped waiting a moment ago, and see that it is gone.
            let _too_late = tell.send(());
            Some(value)
        }
        other @ Waiting::Wanted(_) => {
            waiting.insert(key, other);
            None
        }
    }
}

/// Forgets who wanted something, once they do not any more.
struct Forget<'a, K: Eq + Hash + Copy, V> {
    rendezvous: &'a Rendezvous<K, V>,
    key: K,
}

impl<K: Eq + Hash + Copy, V> Drop for Forget<'_, K, V> {
    fn drop(&mut self) {
        let mut waiting = self.rendezvous.lock();
        if matches!(waiting.get(&self.key), Some(Waiting::Wanted(_))) {
            waiting.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn they_meet_whoever_comes_first() {
        let rendezvous = Rendezvous::new();
        let (brought, got) = tokio::join!(rendezvous.bring(1, "a", LONG), rendezvous.want(1));
        assert_eq!((brought, got), (Ok(()), Some("a")));
        let (got, brought) = tokio::join!(rendezvous.want(2), rendezvous.bring(2, "b", LONG));
        assert_eq!((brought, got), (Ok(()), Some("b")));
        assert!(rendezvous.lock().is_empty());
    }

    #[tokio::test]
    async fn who_is_alone_leaves_nothing_behind() {
        let rendezvous = Rendezvous::new();
        assert_eq!(rendezvous.bring(1, "a", SHORT).await, Err("a"));
        timeout(SHORT, rendezvous.want(1)).await.expect_err("nobody brings it");
        assert_eq!(rendezvous.take(1), None);
        assert!(rendezvous.lock().is_empty());
    }

    #[tokio::test]
    async fn the_same_is_not_brought_twice() {
        let rendezvous = Rendezvous::new();
        let (first, second, got) =
            tokio::join!(rendezvous.bring(1, "a", LONG), rendezvous.bring(1, "b", LONG), async {
                tokio::task::yield_now().await;
                rendezvous.want(1).await
            });
        assert_eq!((first, second, got), (Ok(()), Err("b"), Some("a")));
    }
}
