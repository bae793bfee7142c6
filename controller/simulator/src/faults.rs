//! What goes wrong in a run: drawn from its chance, or written down call by call.

use std::collections::BTreeMap;

use fastrand::Rng;

use crate::fate::Fate;
use crate::verb::Verb;

/// The latest that a request arrives after it was sent, in milliseconds. Less than the time for
/// which the controller waits for lost calls ([`crate::actor::SETTLE_AFTER`]), even where its clock
/// is wrong: that is what the controller is told about its platform.
pub const LATE_MS: std::ops::Range<i64> = 1_500..5_000;
/// How old a stale list may be, in milliseconds; less than that time for the same reason.
pub const STALE_MS: i64 = 8_000;
/// Deaths of controllers in one stage: each costs a start, and more show nothing new.
const KILLS_MAX: u32 = 4;

/// How likely things are, each in ten thousandths.
#[derive(Clone, Debug)]
pub struct Rates {
    /// The fates of calls.
    pub fates: Vec<(Fate, u32)>,
    /// The death of the controller at a boundary.
    pub kill: u32,
}

/// Exactly what goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Script {
    /// The boundary at which the controller dies, by its number in the run.
    pub kill_at: Option<u64>,
    /// The call that may change something, by its number in the run, and its fate.
    pub write: Option<(u64, Fate)>,
    /// From this call that may change something on, until [`Script::LISTS`] lists were shown, lists
    /// have this fate.
    pub lists: Option<(u64, Fate)>,
}

impl Script {
    /// How many lists of a script have a fate of their own: those of two passes.
    pub const LISTS: u32 = 6;
}

/// Where faults come from.
#[derive(Clone, Debug, Default)]
pub enum Plan {
    /// Nothing goes wrong.
    #[default]
    None,
    /// Chance.
    Drawn(Rates),
    /// A script.
    Scripted(Script),
    /// From the second stage on, as long as faults are on, all calls that can have this fate do.
    Outage(Fate),
}

/// What goes wrong, and what has.
#[derive(Debug, Default)]
pub struct Faults {
    plan: Plan,
    healed: bool,
    /// How often things began to go wrong again: the number of the stage, from 1.
    stage: u32,
    kills: u32,
    /// Calls that may change something, so far.
    writes: u64,
    lists: u32,
    /// Calls that did not work as they should.
    spoiled: u64,
    /// Machines whose hosts do not answer, and until when.
    pub(crate) dead_hosts: BTreeMap<String, i64>,
}

impl Faults {
    /// Faults of a plan.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self { plan, ..Self::default() }
    }

    /// From now on nothing goes wrong.
    pub fn heal(&mut self) {
        self.healed = true;
        self.dead_hosts.clear();
    }

    /// From now on things go wrong again.
    pub fn resume(&mut self) {
        self.healed = false;
        self.stage += 1;
        self.kills = 0;
    }

    /// Whether anything may go wrong now.
    #[must_use]
    pub fn are_on(&self) -> bool {
        !self.healed && !matches!(self.plan, Plan::None)
    }

    /// Whether a list of now may be shown later: only then is it kept.
    #[must_use]
    pub(crate) fn may_show_again(&self) -> bool {
        self.are_on()
            && match &self.plan {
                Plan::None => false,
                Plan::Drawn(rates) => {
                    rates.fates.iter().any(|(fate, rate)| *fate == Fate::Stale && *rate > 0)
                }
                Plan::Scripted(script) => script.lists.is_some_and(|(_, fate)| fate == Fate::Stale),
                Plan::Outage(fate) => *fate == Fate::Stale,
            }
    }

    /// How many calls were made that may change something.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.writes
    }

    /// How many calls did not work as they should.
    #[must_use]
    pub fn spoiled(&self) -> u64 {
        self.spoiled
    }

    /// Whether a controller dies at the boundary with this number.
    pub(crate) fn kills(&mut self, number: u64, chance: &mut Rng) -> bool {
        let kills = match &self.plan {
            Plan::None | Plan::Outage(_) => false,
            Plan::Drawn(rates) => {
                !self.healed && self.kills < KILLS_MAX && chance.u32(0..10_000) < rates.kill
            }
            Plan::Scripted(script) => script.kill_at == Some(number),
        };
        self.kills += u32::from(kills);
        kills
    }

    /// The fate of the next call.
    pub(crate) fn fate(&mut self, verb: Verb, chance: &mut Rng) -> Fate {
        let fate = self.planned(verb, chance);
        self.spoiled += u64::from(fate != Fate::Works);
        fate
    }

    fn planned(&mut self, verb: Verb, chance: &mut Rng) -> Fate {
        let number = self.writes;
        self.writes += u64::from(verb.is_write());
        match &self.plan {
            Plan::Drawn(rates) if !self.healed => {
                let mut drawn = chance.u32(0..10_000);
                for (fate, rate) in rates.fates.iter().filter(|(fate, _)| fate.concerns(verb)) {
                    if drawn < *rate {
                        return *fate;
                    }
                    drawn -= rate;
                }
                Fate::Works
            }
            Plan::Scripted(script) => match (script.write, script.lists) {
                (Some((at, fate)), _) if verb.is_write() && at == number => {
                    match fate.concerns(verb) {
                        true => fate,
                        false => Fate::Works,
                    }
                }
                (_, Some((from, fate)))
                    if number > from && self.lists < Script::LISTS && fate.concerns(verb) =>
                {
                    self.lists += 1;
                    fate
                }
                _ => Fate::Works,
            },
            Plan::Outage(fate) if self.stage > 1 && !self.healed && fate.concerns(verb) => *fate,
            Plan::None | Plan::Drawn(_) | Plan::Outage(_) => Fate::Works,
        }
    }
}

impl Rates {
    /// The rates of a run: some fates often, others never.
    #[must_use]
    pub fn draw(chance: &mut Rng) -> Self {
        let loud = chance.u32(40..220);
        let fates = Fate::ALL.into_iter().filter(|fate| *fate != Fate::Works);
        let fates = fates.map(|fate| {
            let rate = match chance.u32(0..4) {
                0 => 0,
                1 => loud * 3,
                _ => loud,
            };
            (fate, rate)
        });
        let fates = fates.collect();
        Self { fates, kill: [0, 20, 60, 150][chance.usize(0..4)] }
    }
}
