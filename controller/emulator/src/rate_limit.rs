//! The platform's rate limits: a token bucket per (action, identifier). Pure; `now` is an argument.

use std::collections::HashMap;

use jiff::Timestamp;

/// Buckets are swept when there are this many at least; a full bucket is the same as none.
const SWEEP_AT: usize = 20_000;
/// How much of an identifier counts, in characters: names of apps and ids of machines have fewer, and
/// a path may have thousands, each kept in a bucket.
const IDENTIFIER_CHARS_MAX: usize = 64;

/// What is limited, each on its own. Organization-wide lists are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// `POST /v1/apps`, per name.
    CreateApp,
    /// `GET /v1/apps/{app}`.
    ReadApp,
    /// `DELETE /v1/apps/{app}`, per token: 100 per minute.
    DeleteApp,
    /// `GET …/machines`, per app.
    ListMachines,
    /// `POST …/machines`, per app.
    CreateMachine,
    /// `GET …/machines/{id}`: five per second.
    ReadMachine,
    /// `POST …/machines/{id}`.
    UpdateMachine,
    /// `DELETE …/machines/{id}`.
    DestroyMachine,
    /// `POST …/start`.
    StartMachine,
    /// `POST …/stop`.
    StopMachine,
    /// `POST …/restart`.
    RestartMachine,
    /// `GET …/wait`.
    WaitMachine,
    /// `GET …/events`.
    ListEvents,
    /// `GET …/metadata` and below.
    ReadMetadata,
    /// Writes of metadata.
    WriteMetadata,
    /// `GET …/secrets`, per app.
    ListSecrets,
    /// `GET …/secrets/{name}`, per app.
    ReadSecret,
    /// `POST …/secrets` and below, per app.
    WriteSecret,
    /// `DELETE …/secrets/{name}`, per app.
    DeleteSecret,
    /// `GET …/volumes`, per app.
    ListVolumes,
    /// `POST …/volumes`, per app.
    CreateVolume,
    /// `GET …/volumes/{id}`, per app.
    ReadVolume,
    /// `PUT …/volumes/{id}/extend`, per app.
    ExtendVolume,
    /// `DELETE …/volumes/{id}`, per app.
    DeleteVolume,
    /// `PUT …/volumes/{id}`, per app.
    UpdateVolume,
    /// `GET …/volumes/{id}/snapshots`, per app.
    ListSnapshots,
    /// `POST …/volumes/{id}/snapshots`, per app.
    CreateSnapshot,
    /// `GET …/lease`.
    ReadLease,
    /// `POST …/lease`.
    AcquireLease,
    /// `DELETE …/lease`.
    ReleaseLease,
    /// `POST …/suspend`.
    SuspendMachine,
    /// `POST …/signal`.
    SignalMachine,
    /// `POST …/cordon` and `…/uncordon`.
    CordonMachine,
    /// `GET …/memory`.
    ReadMemory,
    /// Writes of memory limits.
    WriteMemory,
    /// `GET …/versions`.
    ListVersions,
    /// `POST …/exec`.
    ExecMachine,
    /// `GET …/ps`.
    ListProcesses,
    /// `GET /api/v1/apps/{app}/logs`, per machine or app.
    ReadLogs,
    /// Reads of what else belongs to an app.
    ReadBelongings,
    /// Writes of what else belongs to an app.
    WriteBelongings,
}

impl Action {
    /// Requests per minute, and how many may come at once.
    const fn rate(self) -> (u32, u32) {
        match self {
            // Logs are another service, which clients poll.
            Self::ReadMachine | Self::ReadLogs => (300, 10),
            Self::DeleteApp => (100, 100),
            _ => (60, 3),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Timestamp,
}

impl Bucket {
    fn refilled(self, action: Action, now: Timestamp) -> Self {
        let (per_minute, burst) = action.rate();
        let passed = now.duration_since(self.at).as_secs_f64().max(0.0);
        let left = (self.left + passed * f64::from(per_minute) / 60.0).min(f64::from(burst));
        Self { left, at: now.max(self.at) }
    }
}

/// All buckets.
#[derive(Debug)]
pub struct RateLimiter {
    buckets: HashMap<(Action, String), Bucket>,
    /// The next sweep is due at this many buckets.
    sweep_at: usize,
}

impl Default for RateLimiter {
    fn default() -> Self {
        Self { buckets: HashMap::new(), sweep_at: SWEEP_AT }
    }
}

impl RateLimiter {
    /// Takes one request from its bucket; false if the bucket is empty.
    pub fn admit(&mut self, now: Timestamp, action: Action, identifier: &str) -> bool {
        if self.buckets.len() >= self.sweep_at {
            self.buckets.retain(|(action, _), bucket| {
                bucket.refilled(*action, now).left < f64::from(action.rate().1)
            });
            // Twice what is in use, or thousands of busy machines would have each call sweep.
            self.sweep_at = SWEEP_AT.max(2 * self.buckets.len());
        }
        let identifier: String = identifier.chars().take(IDENTIFIER_CHARS_MAX).collect();
        let full = Bucket { left: f64::from(action.rate().1), at: now };
        let bucket = self.buckets.entry((action, identifier)).or_insert(full);
        *bucket = bucket.refilled(action, now);
        let admitted = bucket.left >= 1.0;
        if admitted {
            bucket.left -= 1.0;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + millisecond).expect("a time")
    }

    fn admitted(
        limiter: &mut RateLimiter,
        action: Action,
        millisecond: i64,
        tries: usize,
    ) -> usize {
        (0..tries).filter(|_| limiter.admit(at(millisecond), action, "one")).count()
    }

    #[test]
    fn bursts_and_rates_are_the_documented_ones() {
        // (action, burst, admitted one second later)
        for (action, burst, later) in [
            (Action::CreateMachine, 3, 1),
            (Action::ReadMachine, 10, 5),
            (Action::DeleteApp, 100, 1),
        ] {
            let mut limiter = RateLimiter::default();
            assert_eq!(admitted(&mut limiter, action, 0, 200), burst, "{action:?}");
            assert_eq!(admitted(&mut limiter, action, 1000, 200), later, "{action:?}");
            assert_eq!(admitted(&mut limiter, action, 500, 5), 0, "{action:?}: time ran back");
            assert_eq!(admitted(&mut limiter, action, 120_000, 200), burst, "{action:?}");
        }
    }

    #[test]
    fn actions_and_identifiers_do_not_share_a_bucket() {
        let mut limiter = RateLimiter::default();
        assert_eq!(admitted(&mut limiter, Action::StopMachine, 0, 9), 3);
        assert_eq!(admitted(&mut limiter, Action::StartMachine, 0, 9), 3);
        assert!(limiter.admit(at(0), Action::StopMachine, "two"));
    }

    #[test]
    fn the_table_of_buckets_is_bounded() {
        let mut limiter = RateLimiter::default();
        for number in 0..SWEEP_AT {
            limiter.admit(at(0), Action::CreateApp, &number.to_string());
        }
        // All are in use, so the next sweep is put off.
        limiter.admit(at(0), Action::CreateApp, "busy");
        assert_eq!((limiter.buckets.len(), limiter.sweep_at), (SWEEP_AT + 1, 2 * SWEEP_AT));
        for number in 0..SWEEP_AT {
            limiter.admit(at(10_000), Action::ReadApp, &number.to_string());
        }
        assert_eq!(limiter.buckets.len(), SWEEP_AT, "what was full again is gone");
        assert_eq!(limiter.sweep_at, 2 * (SWEEP_AT - 1), "and the sweeps follow what is in use");
    }

    #[test]
    fn of_long_identifiers_only_the_beginning_is_kept() {
        let mut limiter = RateLimiter::default();
        let long = "ü".repeat(IDENTIFIER_CHARS_MAX);
        for end in ["", "x", "y"] {
            assert!(limiter.admit(at(0), Action::ReadApp, &format!("{long}{end}")));
        }
        assert!(!limiter.admit(at(0), Action::ReadApp, &format!("{long}z")));
        assert_eq!(limiter.buckets.len(), 1);
    }
}
