//! Failures, remembered per tenant: each one makes the next attempt wait longer.
//!
//! Kept in memory on purpose: after a restart everything may be tried once more at once.

use std::collections::BTreeMap;

use vault_plan::observed::{Hold, HoldKind};
use vault_plan::time::UnixMillis;

/// The wait after the first failure.
const DELAY_MIN_MS: i64 = 1_000;
/// The wait after many: what a person who mends something is willing to wait for.
const DELAY_MAX_MS: i64 = 300_000;
/// The longest wait for somebody else's lease before it is asked for again.
const LEASE_LOOK_MS: i64 = 30_000;
/// Starts of one machine closer together than this belong to one crash loop.
const CRASH_LOOP_WINDOW_MS: i64 = 600_000;

/// What went wrong lately, by tenant.
#[derive(Debug, Default)]
pub struct Setbacks {
    tenants: BTreeMap<String, Setback>,
    starts: BTreeMap<String, Starts>,
    /// Updates of machines, with the revision that they were to bring about.
    updates: BTreeMap<String, (i64, Starts)>,
}

#[derive(Debug)]
struct Setback {
    revision: i64,
    failures: u32,
    hold: Hold,
}

#[derive(Debug)]
struct Starts {
    count: u32,
    last: UnixMillis,
}

impl Setbacks {
    /// Notes a failure of a tenant at a revision of what it should be.
    pub fn failed(
        &mut self,
        tenant: &str,
        revision: i64,
        kind: HoldKind,
        message: String,
        now: UnixMillis,
    ) {
        let known = self.tenants.get(tenant).filter(|setback| setback.revision == revision);
        let failures = known.map_or(0, |setback| setback.failures);
        let (failures, until) = match kind {
            // To wait for somebody is no failure: nothing grows by it.
            HoldKind::Leased { until } => (failures, lease_ends(until, now)),
            _ => {
                let failures = failures.saturating_add(1);
                (failures, now.plus_ms(delay_ms(tenant, failures)))
            }
        };
        let hold = Hold { until, message, kind };
        self.tenants.insert(tenant.to_owned(), Setback { revision, failures, hold });
    }

    /// Notes that all of a tenant's actions worked.
    pub fn worked(&mut self, tenant: &str) {
        self.tenants.remove(tenant);
    }

    /// Notes that a machine was started by us because it was down. The first such start costs
    /// nothing; each further one within ten minutes makes the tenant wait longer.
    pub fn started(&mut self, tenant: &str, revision: i64, machine: &str, now: UnixMillis) {
        let starts =
            self.starts.entry(machine.to_owned()).or_insert(Starts { count: 0, last: now });
        if now.since_ms(starts.last) > CRASH_LOOP_WINDOW_MS {
            starts.count = 0;
        }
        starts.count = starts.count.saturating_add(1);
        starts.last = now;
        if starts.count > 1 {
            let until = now.plus_ms(delay_ms(machine, starts.count - 1));
            let message =
                format!("machine {machine} keeps stopping: started {} times", starts.count);
            let hold = Hold { until, message, kind: HoldKind::BackOff };
            let failures = starts.count - 1;
            self.tenants.insert(tenant.to_owned(), Setback { revision, failures, hold });
        }
    }

    /// Notes that a machine was updated. The first update to what a tenant should be costs nothing;
    /// each further one within ten minutes means that the platform, or somebody, undoes them, and
    /// makes the tenant wait longer.
    pub fn updated(&mut self, tenant: &str, revision: i64, machine: &str, now: UnixMillis) {
        let fresh = (revision, Starts { count: 0, last: now });
        let (known, updates) = self.updates.entry(machine.to_owned()).or_insert(fresh);
        if *known != revision || now.since_ms(updates.last) > CRASH_LOOP_WINDOW_MS {
            updates.count = 0;
        }
        *known = revision;
        updates.count = updates.count.saturating_add(1);
        updates.last = now;
        if updates.count > 1 {
            let failures = updates.count - 1;
            let until = now.plus_ms(delay_ms(machine, failures));
            let message = format!(
                "machine {machine} was updated {} times to the same manifest: something undoes it",
                updates.count
            );
            let hold = Hold { until, message, kind: HoldKind::BackOff };
            self.tenants.insert(tenant.to_owned(), Setback { revision, failures, hold });
        }
    }

    /// Whether the last attempt for a tenant failed.
    #[must_use]
    pub fn has_failed(&self, tenant: &str) -> bool {
        self.tenants.contains_key(tenant)
    }

    /// The tenants that must wait. A new revision is tried at once: somebody may have mended it.
    pub fn holds<'a>(
        &self,
        revisions: impl IntoIterator<Item = (&'a str, i64)>,
        now: UnixMillis,
    ) -> BTreeMap<String, Hold> {
        revisions
            .into_iter()
            .filter_map(|(tenant, revision)| {
                let setback = self.tenants.get(tenant)?;
                let holds = setback.revision == revision && now < setback.hold.until;
                holds.then(|| (tenant.to_owned(), setback.hold.clone()))
            })
            .collect()
    }

    /// When the first of the waiting tenants may be tried again.
    pub fn next_until(&self, now: UnixMillis) -> Option<UnixMillis> {
        self.tenants.values().map(|setback| setback.hold.until).filter(|until| *until > now).min()
    }

    /// Forgets tenants that no longer exist, and starts that lie too far back to matter.
    pub fn keep_only(&mut self, exists: impl Fn(&str) -> bool, now: UnixMillis) {
        self.tenants.retain(|tenant, _| exists(tenant));
        self.starts.retain(|_, starts| now.since_ms(starts.last) <= CRASH_LOOP_WINDOW_MS);
        self.updates.retain(|_, (_, updates)| now.since_ms(updates.last) <= CRASH_LOOP_WINDOW_MS);
    }
}

/// When it is worth while to ask again for a machine that somebody has for themselves: when the
/// platform says that this ends, and now and then before, because it may end early.
fn lease_ends(until: Option<UnixMillis>, now: UnixMillis) -> UnixMillis {
    let latest = now.plus_ms(LEASE_LOOK_MS);
    until.unwrap_or(latest).clamp(now.plus_ms(DELAY_MIN_MS), latest)
}

/// Doubles with each failure. Up to a fifth is added, by the name, so that tenants that failed
/// together do not come back together.
fn delay_ms(name: &str, failures: u32) -> i64 {
    let doubled = DELAY_MIN_MS << failures.saturating_sub(1).min(20);
    let delay = doubled.min(DELAY_MAX_MS);
    let spread = name.bytes().fold(0_i64, |sum, byte| (sum * 31 + i64::from(byte)) % 1_000);
    delay + delay * spread / 5_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn wait_ms(setbacks: &Setbacks, generation: i64) -> Option<i64> {
        let holds = setbacks.holds([("acme", generation)], NOW);
        holds.get("acme").map(|hold| hold.until.0 - NOW.0)
    }

    #[test]
    fn each_failure_waits_longer_up_to_a_cap() {
        let mut setbacks = Setbacks::default();
        let mut before = 0;
        for _ in 0..8 {
            setbacks.failed("acme", 1, HoldKind::BackOff, "no".to_owned(), NOW);
            let wait = wait_ms(&setbacks, 1).unwrap();
            assert!(wait > before, "{wait} after {before}");
            before = wait;
        }
        for _ in 0..80 {
            setbacks.failed("acme", 1, HoldKind::BackOff, "no".to_owned(), NOW);
        }
        assert!(wait_ms(&setbacks, 1).unwrap() <= DELAY_MAX_MS * 6 / 5);
    }

    #[test]
    fn waiting_for_a_lease_is_no_failure_and_has_bounds() {
        let mut setbacks = Setbacks::default();
        for (until, wait) in [
            (Some(NOW.plus_ms(5_000)), 5_000),
            (Some(NOW.plus_ms(-5_000)), DELAY_MIN_MS),
            (Some(NOW.plus_ms(1_800_000)), LEASE_LOOK_MS),
            (None, LEASE_LOOK_MS),
        ] {
            for _ in 0..5 {
                setbacks.failed("acme", 1, HoldKind::Leased { until }, "no".to_owned(), NOW);
                assert_eq!(wait_ms(&setbacks, 1), Some(wait));
            }
        }
        setbacks.failed("acme", 1, HoldKind::BackOff, "no".to_owned(), NOW);
        assert_eq!(wait_ms(&setbacks, 1), Some(delay_ms("acme", 1)), "the first failure");
    }

    #[test]
    fn success_and_a_new_generation_end_the_wait() {
        let mut setbacks = Setbacks::default();
        setbacks.failed("acme", 1, HoldKind::Refused, "no".to_owned(), NOW);
        assert_eq!(wait_ms(&setbacks, 2), None);
        assert!(wait_ms(&setbacks, 1).is_some());
        setbacks.worked("acme");
        assert_eq!(wait_ms(&setbacks, 1), None);
    }

    #[test]
    fn one_restart_is_free_and_a_crash_loop_is_not() {
        let mut setbacks = Setbacks::default();
        setbacks.started("acme", 1, "acme-box-0", NOW);
        assert_eq!(wait_ms(&setbacks, 1), None);
        setbacks.started("acme", 1, "acme-box-0", NOW);
        let second = wait_ms(&setbacks, 1).unwrap();
        setbacks.started("acme", 1, "acme-box-0", NOW);
        assert!(wait_ms(&setbacks, 1).unwrap() > second);
    }

    #[test]
    fn updates_that_are_undone_wait_longer_each_time_and_a_new_revision_starts_anew() {
        let mut setbacks = Setbacks::default();
        setbacks.updated("acme", 1, "acme-box-0", NOW);
        assert_eq!(wait_ms(&setbacks, 1), None);
        let mut before = 0;
        for _ in 0..5 {
            setbacks.updated("acme", 1, "acme-box-0", NOW);
            let wait = wait_ms(&setbacks, 1).unwrap();
            assert!(wait > before, "{wait} after {before}");
            before = wait;
        }
        setbacks.worked("acme");
        setbacks.updated("acme", 2, "acme-box-0", NOW);
        assert_eq!(wait_ms(&setbacks, 2), None);
        setbacks.updated("acme", 2, "acme-box-0", NOW.plus_ms(CRASH_LOOP_WINDOW_MS + 1));
        assert_eq!(wait_ms(&setbacks, 2), None, "long ago");
    }
}
