//! Who is let in, and who has to leave for it: plain data.
//!
//! A newcomer always gets in as long as somebody is there without proof: the oldest of those makes
//! room. So whoever opens connections and says nothing pushes out only connections like that.

use std::collections::{BTreeMap, HashMap};

use crate::limits::{CONNECTIONS_MAX, UNPROVEN_MAX, UNPROVEN_PER_SOURCE_MAX, UNVALIDATED_MAX};
use crate::source::Source;

/// Names a connection; later ones have larger numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionNumber(u64);

/// All connections. `H` is what ends one.
#[derive(Debug)]
pub struct Admission<H> {
    next: u64,
    proven: usize,
    /// In the order of arrival.
    unproven: BTreeMap<ConnectionNumber, Unproven<H>>,
    unproven_of: HashMap<Source, usize>,
    unvalidated: usize,
}

#[derive(Debug)]
struct Unproven<H> {
    source: Source,
    validated: bool,
    handle: H,
}

/// What becomes of a newcomer.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival<H> {
    /// It is in; `evicted` has to go.
    Admitted {
        /// Its name from now on.
        number: ConnectionNumber,
        /// The handle of the connection that made room.
        evicted: Option<H>,
    },
    /// It has to show first that it receives at its address.
    Retry,
    /// There are as many connections as there may be, all of them proven.
    Full,
}

impl<H> Default for Admission<H> {
    fn default() -> Self {
        Self {
            next: 0,
            proven: 0,
            unproven: BTreeMap::new(),
            unproven_of: HashMap::new(),
            unvalidated: 0,
        }
    }
}

impl<H> Admission<H> {
    /// A newcomer. `validated` says that it is known to receive at its address.
    pub fn arrive(&mut self, source: Source, validated: bool, handle: H) -> Arrival<H> {
        if !validated && self.unvalidated >= UNVALIDATED_MAX {
            return Arrival::Retry;
        }
        let total = self.proven + self.unproven.len();
        let leaves = if self.unproven_of.get(&source).copied() >= Some(UNPROVEN_PER_SOURCE_MAX) {
            self.unproven.iter().find(|(_, one)| one.source == source).map(|(number, _)| *number)
        } else if self.unproven.len() >= UNPROVEN_MAX || total >= CONNECTIONS_MAX {
            let oldest = self.unproven.keys().next().copied();
            if oldest.is_none() {
                return Arrival::Full;
            }
            oldest
        } else {
            None
        };
        let evicted = leaves.and_then(|number| self.remove(number)).map(|one| one.handle);
        let number = ConnectionNumber(self.next);
        self.next += 1;
        self.unvalidated += usize::from(!validated);
        *self.unproven_of.entry(source).or_default() += 1;
        self.unproven.insert(number, Unproven { source, validated, handle });
        Arrival::Admitted { number, evicted }
    }

    /// The connection's TLS handshake is done, so its peer receives at its address.
    pub fn validate(&mut self, number: ConnectionNumber) {
        if let Some(one) = self.unproven.get_mut(&number)
            && !one.validated
        {
            one.validated = true;
            self.unvalidated -= 1;
        }
    }

    /// The connection's proof is right. Answers whether it is still there to be used; if so,
    /// [`Self::leave_proven`] has to be called at its end.
    #[must_use]
    pub fn prove(&mut self, number: ConnectionNumber) -> bool {
        let is_there = self.remove(number).is_some();
        self.proven += usize::from(is_there);
        is_there
    }

    /// A connection without proof has ended, by itself or because it was evicted.
    pub fn leave_unproven(&mut self, number: ConnectionNumber) {
        self.remove(number);
    }

    /// A connection with proof has ended.
    pub fn leave_proven(&mut self) {
        self.proven -= 1;
    }

    /// How many connections have no proof yet.
    #[must_use]
    pub fn unproven(&self) -> usize {
        self.unproven.len()
    }

    /// How many connections have a proof.
    #[must_use]
    pub fn proven(&self) -> usize {
        self.proven
    }

    fn remove(&mut self, number: ConnectionNumber) -> Option<Unproven<H>> {
        let one = self.unproven.remove(&number)?;
        self.unvalidated -= usize::from(!one.validated);
        if let Some(count) = self.unproven_of.get_mut(&one.source) {
            *count -= 1;
            if *count == 0 {
                self.unproven_of.remove(&one.source);
            }
        }
        Some(one)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn source(number: u32) -> Source {
        Source::of(Ipv4Addr::from_bits(number).into())
    }

    fn admitted<H>(arrival: Arrival<H>) -> (ConnectionNumber, Option<H>) {
        match arrival {
            Arrival::Admitted { number, evicted } => (number, evicted),
            Arrival::Retry => panic!("has to retry"),
            Arrival::Full => panic!("full"),
        }
    }

    #[test]
    fn the_oldest_of_a_greedy_source_makes_room() {
        let mut admission = Admission::default();
        let (other, _) = admitted(admission.arrive(source(2), true, 1000));
        for handle in 0..UNPROVEN_PER_SOURCE_MAX {
            assert_eq!(admitted(admission.arrive(source(1), true, handle)).1, None);
        }
        assert_eq!(admitted(admission.arrive(source(1), true, 1001)).1, Some(0));
        assert_eq!(admitted(admission.arrive(source(1), true, 1002)).1, Some(1));
        assert_eq!(admission.unproven(), UNPROVEN_PER_SOURCE_MAX + 1);
        assert!(admission.prove(other), "the other source lost nobody");
    }

    #[test]
    fn the_oldest_of_all_makes_room_when_sources_are_many() {
        let mut admission = Admission::default();
        let mut numbers = Vec::new();
        for number in 0..UNPROVEN_MAX {
            let source = source(u32::try_from(number).expect("small"));
            numbers.push(admitted(admission.arrive(source, true, number)).0);
        }
        assert!(admission.prove(numbers[0]));
        assert_eq!(admitted(admission.arrive(source(9999), true, 500)).1, None);
        assert_eq!(admitted(admission.arrive(source(9999), true, 501)).1, Some(1));
        assert!(!admission.prove(numbers[1]), "it was evicted");
        assert_eq!((admission.proven(), admission.unproven()), (1, UNPROVEN_MAX));
    }

    #[test]
    fn proven_connections_are_never_pushed_out() {
        let mut admission = Admission::default();
        for _ in 0..CONNECTIONS_MAX {
            let (number, evicted) = admitted(admission.arrive(source(1), true, ()));
            assert_eq!(evicted, None);
            assert!(admission.prove(number));
        }
        assert_eq!(admission.arrive(source(1), true, ()), Arrival::Full);
        admission.leave_proven();
        admitted(admission.arrive(source(1), true, ()));
        assert_eq!(admitted(admission.arrive(source(2), true, ())).1, Some(()));
    }

    #[test]
    fn unseen_addresses_have_to_be_shown_once_there_are_many() {
        let mut admission = Admission::default();
        let mut numbers = Vec::new();
        for number in 0..UNVALIDATED_MAX {
            let source = source(u32::try_from(number).expect("small"));
            numbers.push(admitted(admission.arrive(source, false, ())).0);
        }
        assert_eq!(admission.arrive(source(99), false, ()), Arrival::Retry);
        admitted(admission.arrive(source(99), true, ()));
        admission.validate(numbers[0]);
        admission.validate(numbers[0]);
        admitted(admission.arrive(source(98), false, ()));
        assert_eq!(admission.arrive(source(99), false, ()), Arrival::Retry);
        admission.leave_unproven(numbers[0]);
        assert_eq!(admission.arrive(source(99), false, ()), Arrival::Retry);
        admission.leave_unproven(numbers[1]);
        admission.leave_unproven(numbers[1]);
        admitted(admission.arrive(source(97), false, ()));
    }
}
