//! Nothing of others is touched: what a call changes was made by the controller that makes it.

use std::collections::BTreeMap;

use crate::verb::Verb;

/// Whose apps, volumes and machines are.
#[derive(Debug, Default)]
pub struct ForeignOracle {
    /// Controllers' places by the names of apps, and the ids of volumes and machines. What is
    /// missing here is a stranger's.
    owners: BTreeMap<String, usize>,
    /// All controllers are one identity: what one made is the other's too.
    pub twins: bool,
}

impl ForeignOracle {
    /// Notes who made something.
    pub fn own(&mut self, made: &str, controller: usize) {
        let controller = if self.twins { 0 } else { controller };
        self.owners.insert(made.to_owned(), controller);
    }

    /// Whose something is.
    #[must_use]
    pub fn owner(&self, of: &str) -> Option<usize> {
        self.owners.get(of).copied()
    }

    /// The ids and names of what a controller made.
    pub fn owned_by(&self, controller: usize) -> impl Iterator<Item = &str> {
        let owners = self.owners.iter().filter(move |(_, owner)| **owner == controller);
        owners.map(|(owned, _)| owned.as_str())
    }

    /// What is wrong with a controller's touching something.
    #[must_use]
    pub fn touches(&self, controller: usize, verb: Verb, touched: &str) -> Option<String> {
        let controller = if self.twins { 0 } else { controller };
        let whose = match self.owner(touched) {
            Some(owner) if owner == controller => return None,
            Some(owner) => format!("controller {owner}'s"),
            None => "a stranger's".to_owned(),
        };
        Some(format!("controller {controller} touches {touched}, which is {whose}: {verb}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_made_may_not_be_touched() {
        let mut oracle = ForeignOracle::default();
        oracle.own("ours", 0);
        oracle.own("theirs", 1);
        assert_eq!(oracle.touches(0, Verb::StopMachine, "ours"), None);
        let message = oracle.touches(0, Verb::StopMachine, "theirs").unwrap();
        assert!(message.contains("controller 1's"), "{message}");
        let message = oracle.touches(0, Verb::StopMachine, "unknown").unwrap();
        assert!(message.contains("a stranger's"), "{message}");
    }
}
