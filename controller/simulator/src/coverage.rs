//! Which places of the code were seen, with which fates: operation × boundary × fate.

use std::collections::BTreeMap;

use crate::boundary::{Boundary, Operation, Place, Write};
use crate::fate::Fate;
use crate::verb::{IN_PASSES, NOT_IN_PASSES, Verb};

/// Two bits per cell: it was reached, and somebody died there.
const WORDS: usize = (OPERATIONS * PLACES * FATES * 2).div_ceil(64);
const OPERATIONS: usize = Write::LAST as usize + Verb::LAST as usize + 2;
const PLACES: usize = 4;
const FATES: usize = 19;

/// How many cells that were not seen are named per operation.
const UNSEEN_SHOWN: usize = 12;

/// A set of cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage([u64; WORDS]);

impl Default for Coverage {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl Coverage {
    /// Notes that a boundary was reached with a fate, and whether a process died there.
    pub fn note(&mut self, boundary: Boundary, dies: bool) {
        self.set(bit(boundary, false));
        if dies {
            self.set(bit(boundary, true));
        }
    }

    fn set(&mut self, bit: usize) {
        self.0[bit / 64] |= 1 << (bit % 64);
    }

    /// Adds what another run saw.
    pub fn merge(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    /// How many cells were crossed, and in how many somebody died.
    #[must_use]
    pub fn cells(&self) -> (u32, u32) {
        const CROSSED: u64 = 0x5555_5555_5555_5555;
        let count = |mask: u64| self.0.iter().map(|word| (word & mask).count_ones()).sum();
        (count(CROSSED), count(!CROSSED))
    }

    /// How many cells there can be.
    #[must_use]
    pub fn possible() -> usize {
        cells()
            .filter(|(operation, place, fate)| why_not(*operation, *place, *fate).is_none())
            .count()
    }

    /// What was seen and what was not, and what cannot be and why: lines for people.
    #[must_use]
    pub fn report(&self) -> Vec<String> {
        let (crossed, died) = self.cells();
        let possible = Self::possible();
        let mut lines = vec![format!(
            "operation × boundary × fate: {crossed} of {possible} possible cells crossed, {died} died at"
        )];
        let mut impossible: BTreeMap<&str, usize> = BTreeMap::new();
        let mut unseen: BTreeMap<Operation, Vec<String>> = BTreeMap::new();
        for (operation, place, fate) in cells() {
            match why_not(operation, place, fate) {
                Some(why) => *impossible.entry(why).or_default() += 1,
                None if self.has(operation, place, fate) => {}
                None => {
                    let unseen = unseen.entry(operation).or_default();
                    unseen.push(format!("{fate} at {place:?}"));
                }
            }
        }
        let count: usize = impossible.values().sum();
        lines.push(format!("  {count} cells of {} are impossible:", cells().count()));
        lines.extend(impossible.iter().map(|(why, count)| format!("    {count:>5}  {why}")));
        lines.push(format!("  not crossed: {}", possible - crossed as usize));
        lines.extend(unseen.iter().map(|(operation, unseen)| {
            let name = match operation {
                Operation::Write(write) => format!("{write:?}"),
                Operation::Call(verb) => verb.to_string(),
            };
            let shown: Vec<&str> = unseen.iter().take(UNSEEN_SHOWN).map(String::as_str).collect();
            let more = unseen.len() - shown.len();
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            format!("    {:>5}  {name}: {}{more}", unseen.len(), shown.join(", "))
        }));
        lines
    }

    /// Cells that were crossed though they are called impossible: none, unless this table is wrong.
    #[must_use]
    pub fn contradictions(&self) -> Vec<String> {
        let impossible = cells().filter_map(|(operation, place, fate)| {
            Some((operation, place, fate, why_not(operation, place, fate)?))
        });
        let crossed =
            impossible.filter(|(operation, place, fate, _)| self.has(*operation, *place, *fate));
        crossed
            .map(|(operation, place, fate, why)| format!("{operation:?}, {place:?}, {fate}: {why}"))
            .collect()
    }

    fn has(&self, operation: Operation, place: Place, fate: Fate) -> bool {
        let bit = bit(Boundary { operation, place, fate }, false);
        self.0[bit / 64] & (1 << (bit % 64)) != 0
    }
}

fn bit(Boundary { operation, place, fate }: Boundary, dies: bool) -> usize {
    let operation = match operation {
        Operation::Write(write) => write as usize,
        Operation::Call(verb) => Write::LAST as usize + 1 + verb as usize,
    };
    ((operation * PLACES + place as usize) * FATES + fate as usize) * 2 + usize::from(dies)
}

/// The whole table.
fn cells() -> impl Iterator<Item = (Operation, Place, Fate)> {
    let calls = IN_PASSES.into_iter().chain(NOT_IN_PASSES).map(Operation::Call);
    let operations = Write::ALL.into_iter().map(Operation::Write).chain(calls);
    operations.flat_map(|operation| {
        let places = [Place::Asked, Place::Left, Place::Effect, Place::Known];
        places
            .into_iter()
            .flat_map(move |place| Fate::ALL.into_iter().map(move |fate| (operation, place, fate)))
    })
}

/// Why a cell cannot be seen, if it cannot.
fn why_not(operation: Operation, place: Place, fate: Fate) -> Option<&'static str> {
    let verb = match operation {
        Operation::Write(_) if fate != Fate::Works => {
            return Some("a write to the disk is made or not made, and has no other fate");
        }
        Operation::Write(_) if place == Place::Left => {
            return Some("a write to the disk is asked for and then durable: nothing lies between");
        }
        Operation::Write(_) => return None,
        Operation::Call(verb) => verb,
    };
    if NOT_IN_PASSES.contains(&verb) {
        return Some("no pass makes this call: it belongs to what people ask");
    }
    match fate {
        Fate::Stale if !fate.concerns(verb) => Some("only lists of whole organizations lag behind"),
        Fate::Partial if !fate.concerns(verb) => {
            Some("only the list of machines says which regions it leaves out")
        }
        Fate::Empty | Fate::Unreadable if !fate.concerns(verb) => {
            Some("its answer is no list whose rows can be missing or unreadable")
        }
        fate if !fate.concerns(verb) => Some(
            "what only looks changes nothing, late, twice, refused or unanswered: it is lost or not",
        ),
        Fate::NotSent | Fate::LostRequest if place == Place::Effect => {
            Some("a request that never arrives has no effect")
        }
        _ => None,
    }
}

const _: () = assert!(Place::Known as usize + 1 == PLACES);
const _: () = assert!(Fate::Unreadable as usize + 1 == FATES);
const _: () = assert!(Write::ALL.len() == Write::LAST as usize + 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_possible_or_has_a_reason_and_what_was_seen_is_told() {
        let nothing = Coverage::default();
        assert_eq!(cells().count(), OPERATIONS * PLACES * FATES);
        let impossible =
            cells().filter(|(what, place, fate)| why_not(*what, *place, *fate).is_some());
        assert_eq!(Coverage::possible() + impossible.count(), cells().count());
        let told = |coverage: &Coverage| coverage.report().join("\n");
        assert!(told(&nothing).contains("CreateApp") || told(&nothing).contains("POST /v1/apps:"));
        let mut one = nothing.clone();
        one.note(Boundary::of_call(Verb::CreateApp, Place::Known, Fate::LostReply), true);
        assert_eq!((one.cells(), one.contradictions()), ((1, 1), Vec::new()));
        assert!(told(&one).starts_with(&format!(
            "operation × boundary × fate: 1 of {} possible cells crossed, 1 died at",
            Coverage::possible()
        )));
        one.note(Boundary::of_call(Verb::Apps, Place::Known, Fate::Is409), false);
        let [wrong] = &*one.contradictions() else { panic!("{:?}", one.contradictions()) };
        assert!(wrong.starts_with("Call(Apps), Known"), "{wrong}");
    }
}
