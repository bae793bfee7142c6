//! Faults at work: which of them hit a call, an answer or a machine, and what is still to come.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::action::{Call, Subject};
use super::answers::{self, Row, rows_of};
use super::document::Fault;
use super::history::History;
use super::kind::{Happening, Kind};
use super::schedule::Tally;
use crate::world::Machine;

/// Errands at once: each of the most machines that an organization may have can have one.
const ERRANDS_MAX: usize = 50_000;
/// Versions of machines that a fault remembers to have met; then it begins anew.
const MET_MAX: usize = 50_000;

/// Something that a fault left to be done later.
#[derive(Clone, Debug, PartialEq)]
pub enum Errand {
    /// Give a machine the version back that it had.
    Revert(Box<Machine>),
    /// Let go of a destroyed machine's volume.
    Release {
        /// The volume's id.
        volume_id: String,
    },
    /// Ask whether a fault happens to a machine now.
    Happen {
        /// Which fault.
        fault: usize,
        /// The machine's id.
        machine_id: String,
    },
    /// A machine's host is back, and does what it was asked for meanwhile.
    HostBack {
        /// The machine's id.
        machine_id: String,
    },
}

/// A fault that hits a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Its name in logs.
    pub label: String,
    /// What goes wrong.
    pub kind: Kind,
    /// When the fault is over, if that is known.
    pub until: Option<Timestamp>,
}

/// All faults, what they did so far, and what they still have to do.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    armed: Vec<Armed>,
    errands: BTreeMap<(Timestamp, u64), Errand>,
    /// Numbers errands, so that those of one instant keep their order.
    errand: u64,
    /// Machines whose destroy waits for their host.
    stranded: BTreeSet<String>,
}

#[derive(Clone, Debug)]
struct Armed {
    fault: Fault,
    tally: Tally,
    history: History,
    /// Versions of machines that it has met.
    met: HashSet<String>,
}

impl Faults {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.armed.is_empty()
    }

    /// Takes other faults in place of those before. What has happened has happened; the hosts that
    /// were dead are back.
    pub fn replace(&mut self, now: Timestamp, faults: Vec<Fault>) {
        self.errands
            .retain(|_, errand| matches!(errand, Errand::Revert(_) | Errand::Release { .. }));
        for machine_id in std::mem::take(&mut self.stranded) {
            self.send(now, Errand::HostBack { machine_id });
        }
        let tally = Tally { since: now, matched: 0, fired: 0 };
        let armed = faults.into_iter().map(|fault| Armed {
            fault,
            tally,
            history: History::default(),
            met: HashSet::new(),
        });
        self.armed = armed.collect();
    }

    /// The document, and of each fault how many calls matched, how many were hit, and whether it may
    /// still happen.
    #[must_use]
    pub fn show(&self, now: Timestamp) -> Value {
        let faults = self.armed.iter().map(|armed| {
            let mut shown = armed.fault.source.clone();
            shown.insert("matched".to_owned(), json!(armed.tally.matched));
            shown.insert("fired".to_owned(), json!(armed.tally.fired));
            shown.insert("active".to_owned(), json!(armed.fault.schedule.is_on(&armed.tally, now)));
            Value::Object(shown)
        });
        faults.collect()
    }

    /// What hits a call that has arrived, in the order of the document.
    pub fn arrive(&mut self, now: Timestamp, call: &Call, subject: &Subject) -> Vec<Hit> {
        let mut hits = Vec::new();
        for armed in self.armed.iter_mut().filter(|armed| armed.meets(now, call, subject)) {
            if armed.fires(now) {
                let (_, until) = armed.fault.schedule.window(armed.tally.since);
                let (label, kind) = (armed.fault.label.clone(), armed.fault.kind.clone());
                hits.push(Hit { label, kind, until });
            }
        }
        hits
    }

    /// Whether somebody else holds the machine's lease; asked again by calls that wait for its end.
    #[must_use]
    pub fn is_leased(&self, now: Timestamp, call: &Call, subject: &Subject) -> bool {
        self.armed.iter().any(|armed| {
            armed.fault.kind == Kind::ForeignLease
                && armed.meets(now, call, subject)
                && armed.fault.schedule.is_on(&armed.tally, now)
        })
    }

    /// Makes of an answer to a read what is shown; whether anything was changed. `list` is the path
    /// with its query: what lists of another page or filter said is another matter.
    pub fn answer(&mut self, now: Timestamp, call: &Call, list: &str, body: &mut Value) -> bool {
        let mut changed = false;
        for armed in self.armed.iter_mut().filter(|armed| armed.fault.matcher.fits_call(call)) {
            changed |= armed.answer(now, call, list, body);
        }
        changed
    }

    /// How long a new version of a machine waits for its image; told once per version.
    pub(crate) fn image_pull(&mut self, now: Timestamp, machine: &Machine) -> Option<Duration> {
        let version = format!("{}/{}", machine.id, machine.version);
        let new = |armed: &Armed| !armed.met.contains(&version);
        let found = self.strike(now, machine, |armed| match armed.fault.kind {
            Kind::SlowImage(delay) if new(armed) => Some(delay),
            _ => None,
        })?;
        let (armed, delay) = found;
        if armed.met.len() >= MET_MAX {
            armed.met.clear();
        }
        armed.met.insert(version);
        Some(delay)
    }

    /// How long a destroyed machine is known, if a fault says so.
    pub(crate) fn destroyed_shown(
        &mut self,
        now: Timestamp,
        machine: &Machine,
    ) -> Option<Duration> {
        let struck = self.strike(now, machine, |armed| match armed.fault.kind {
            Kind::DestroyedShown(delay) => Some(delay),
            _ => None,
        });
        struck.map(|(_, delay)| delay)
    }

    /// Whether a destroyed machine's volume stays claimed; if so, it is let go later.
    pub(crate) fn keeps_claim(&mut self, now: Timestamp, machine: &Machine, volume: &str) -> bool {
        let struck = self.strike(now, machine, |armed| match armed.fault.kind {
            Kind::LingeringClaim(delay) => Some(delay),
            _ => None,
        });
        let Some((_, delay)) = struck else { return false };
        self.send(now + delay, Errand::Release { volume_id: volume.to_owned() });
        true
    }

    /// Whether an update will be undone; `before` is the machine without it.
    pub(crate) fn updated(&mut self, now: Timestamp, before: Machine) {
        let struck = self.strike(now, &before, |armed| match armed.fault.kind {
            Kind::RevertedUpdate(delay) => Some(delay),
            _ => None,
        });
        if let Some((_, delay)) = struck {
            self.send(now + delay, Errand::Revert(Box::new(before)));
        }
    }

    /// Notes that a machine was seen started: things may happen to it from now on.
    pub(crate) fn started(&mut self, now: Timestamp, machine: &Machine) {
        let subject = Subject::of(machine);
        let mut due = Vec::new();
        for (place, armed) in self.armed.iter().enumerate() {
            let Kind::Happens(_, delay) = armed.fault.kind else { continue };
            let (begin, end) = armed.fault.schedule.window(armed.tally.since);
            let at = (now + delay).max(begin);
            let left = armed.fault.schedule.times.is_none_or(|times| armed.tally.fired < times);
            if left && end.is_none_or(|end| at < end) && armed.fault.matcher.fits(&subject) {
                due.push((at, place));
            }
        }
        for (at, fault) in due {
            self.send(at, Errand::Happen { fault, machine_id: machine.id.clone() });
        }
    }

    /// What happens to a machine whose errand is due.
    pub(crate) fn happens(&mut self, now: Timestamp, fault: usize) -> Option<Happening> {
        let armed = self.armed.get_mut(fault)?;
        let Kind::Happens(what, _) = armed.fault.kind.clone() else { return None };
        armed.fires(now).then_some(what)
    }

    /// Notes a destroy that waits for the machine's host.
    pub(crate) fn strand(&mut self, machine_id: &str, until: Option<Timestamp>) {
        self.stranded.insert(machine_id.to_owned());
        if let Some(until) = until {
            self.send(until, Errand::HostBack { machine_id: machine_id.to_owned() });
        }
    }

    /// When the last of what is still to be done is due, such as an update that is taken back; `None` if
    /// nothing is left.
    #[must_use]
    pub fn last_deadline(&self) -> Option<Timestamp> {
        self.errands.last_key_value().map(|((at, _), _)| *at)
    }

    /// When the next errand is due.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.errands.first_key_value().map(|((at, _), _)| *at)
    }

    /// An errand that is due.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<Errand> {
        let first = self.errands.first_entry().filter(|entry| entry.key().0 <= now)?;
        let errand = first.remove();
        if let Errand::HostBack { machine_id } = &errand {
            self.stranded.remove(machine_id);
        }
        Some(errand)
    }

    fn send(&mut self, at: Timestamp, errand: Errand) {
        if self.errands.len() >= ERRANDS_MAX {
            tracing::warn!(?errand, "too many faults are under way; this one is left out");
            return;
        }
        self.errand += 1;
        self.errands.insert((at, self.errand), errand);
    }

    /// The first fault that has something to say about a machine, and hits it.
    fn strike<T>(
        &mut self,
        now: Timestamp,
        machine: &Machine,
        say: impl Fn(&Armed) -> Option<T>,
    ) -> Option<(&mut Armed, T)> {
        if self.armed.is_empty() {
            return None;
        }
        let subject = Subject::of(machine);
        self.armed.iter_mut().find_map(|armed| {
            let said = say(armed).filter(|_| armed.fault.matcher.fits(&subject))?;
            armed.fires(now).then_some((armed, said))
        })
    }
}

impl Armed {
    fn fires(&mut self, now: Timestamp) -> bool {
        let fires = self.fault.schedule.fires(&mut self.tally, now);
        if fires {
            tracing::info!(fault = self.fault.label, fired = self.tally.fired, "a fault happens");
        }
        fires
    }

    /// Whether a call that arrives is one that the fault is about.
    fn meets(&self, now: Timestamp, call: &Call, subject: &Subject) -> bool {
        let Fault { kind, matcher, .. } = &self.fault;
        let is_meant = kind.meets_calls()
            && kind.concerns(call)
            && matcher.fits_call(call)
            && matcher.fits(subject);
        match kind {
            Kind::StartRefused(delay) => {
                is_meant && subject.version_at.is_some_and(|made| now < made + *delay)
            }
            _ => is_meant,
        }
    }

    fn answer(&mut self, now: Timestamp, call: &Call, list: &str, body: &mut Value) -> bool {
        let matcher = self.fault.matcher.clone();
        let Some(kind) = rows_of(call) else {
            if self.fault.kind == Kind::WireDrift && self.fires(now) {
                answers::drift(body);
                return true;
            }
            return false;
        };
        let is_meant = |row: &Value| matcher.fits(&answers::subject(call, kind, row));
        match self.fault.kind.clone() {
            Kind::WireDrift if self.fires(now) => answers::drift(body),
            Kind::StaleList(age) => {
                let lagging = self.history.lag(now, list, body, age);
                match lagging.filter(|lagging| lagging != body) {
                    Some(lagging) if self.fires(now) => *body = lagging,
                    _ => return false,
                }
            }
            Kind::EmptyList => {
                let any = answers::rows(call, body).iter().any(|row| is_meant(row));
                if !any || !self.fires(now) {
                    return false;
                }
                answers::take_out(call, body, is_meant);
            }
            Kind::PartialList(regions) if self.fires(now) => {
                let missing = |row: &Value| {
                    let region = row.get("region").and_then(Value::as_str);
                    region.is_some_and(|region| regions.contains(region))
                };
                answers::take_out(call, body, missing);
                answers::name_missing(body, &regions);
            }
            Kind::Flicker(state) if kind == Row::Machine => {
                return self
                    .show(now, call, body, is_meant, |row| answers::show_state(row, &state));
            }
            Kind::DeadHost(_) if kind != Row::App => {
                let unreachable = |row: &mut Value| answers::show_unreachable(kind, row);
                return self.show(now, call, body, is_meant, unreachable);
            }
            _ => return false,
        }
        true
    }

    /// Shows the rows that are meant as they are not; whether there were any.
    fn show(
        &mut self,
        now: Timestamp,
        call: &Call,
        body: &mut Value,
        is_meant: impl Fn(&Value) -> bool,
        show: impl Fn(&mut Value),
    ) -> bool {
        let meant: Vec<&mut Value> =
            answers::rows(call, body).into_iter().filter(|row| is_meant(row)).collect();
        if meant.is_empty() || !self.fires(now) {
            return false;
        }
        meant.into_iter().for_each(show);
        true
    }
}
