//! Which places of the code were seen, with which fates: operation × boundary × fate.

use crate::boundary::{Boundary, Operation, Place, Write};
use crate::fate::Fate;
use crate::verb::Verb;

/// One bit per cell, those of deaths after those of mere crossings.
const WORDS: usize = (OPERATIONS * PLACES * FATES * 2).div_ceil(64);
const OPERATIONS: usize = Write::LAST as usize + Verb::LAST as usize + 2;
const PLACES: usize = 4;
const FATES: usize = 19;

/// A set of cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage([u64; WORDS]);

impl Default for Coverage {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl Coverage {
    /// Notes that a boundary was crossed with a fate, or that a process died there.
    pub fn note(&mut self, boundary: Boundary, dies: bool) {
        let operation = match boundary.operation {
            Operation::Write(write) => write as usize,
            Operation::Call(verb) => Write::LAST as usize + 1 + verb as usize,
        };
        let cell = (operation * PLACES + boundary.place as usize) * FATES + boundary.fate as usize;
        let bit = cell * 2 + usize::from(dies);
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
    pub fn possible() -> u32 {
        // A write to the disk works or is not made; it has no other fate, and is never on its way.
        let writes = (0..=Write::LAST as u32).map(|_| 3);
        // What the platform does not carry out has no effect.
        let places = |fate: Fate| if fate.acts() { 4 } else { 3 };
        let calls = crate::verb::IN_PASSES.into_iter().flat_map(|verb| {
            Fate::ALL.into_iter().filter(move |fate| fate.concerns(verb)).map(places)
        });
        writes.chain(calls).sum()
    }
}

const _: () = assert!(Place::Known as usize + 1 == PLACES);
const _: () = assert!(Fate::Unreadable as usize + 1 == FATES);
