//! The limits that the planner keeps, each with its reason.

/// What the planner may do at once, and how patient it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The share of all our machines that may be down by our doing at any instant, in percent,
    /// rounded down, at least one machine. What a person deletes by name is not counted.
    pub disruption_percent: u32,
    /// How long a machine may stay `created` before it is started by hand, in milliseconds. Fly
    /// launches a created machine by itself, after 70 s with a cold image (measured).
    pub created_grace_ms: i64,
    /// How long a machine may stay in a passing state before that is called stuck, in
    /// milliseconds. Fly calls 5 minutes stuck for starting, stopping and destroying.
    pub stuck_after_ms: i64,
}

impl Default for Policy {
    fn default() -> Self {
        Self { disruption_percent: 10, created_grace_ms: 120_000, stuck_after_ms: 300_000 }
    }
}

impl Policy {
    /// How many of `machines` may be down by our doing at once.
    #[must_use]
    pub fn disruption_budget(&self, machines: usize) -> usize {
        (machines * self.disruption_percent as usize / 100).max(1)
    }
}
