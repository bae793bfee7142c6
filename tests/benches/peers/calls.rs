//! The platform's answers, counted by verb, and the least that the same work takes.

use std::collections::BTreeMap;
use std::fmt;

use vault_emulator::AnswerInfo;

/// Rows in one page of an organization's list.
const PAGE_ROWS: usize = 1_000;

/// How often each call was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally(BTreeMap<String, usize>);

impl Tally {
    /// Counts answers.
    pub(crate) fn of(answers: &[AnswerInfo]) -> Self {
        let mut tally = Self::default();
        for answer in answers {
            *tally.0.entry(call(answer)).or_default() += 1;
        }
        tally
    }

    /// How often this call was made.
    pub(crate) fn count(&self, call: &str) -> usize {
        self.0.get(call).copied().unwrap_or_default()
    }

    /// How many sweeps were begun.
    pub(crate) fn sweeps(&self) -> usize {
        self.count(SWEEP)
    }

    /// All calls, without those that stand apart: see [`apart`].
    pub(crate) fn total(&self) -> usize {
        let counted = self.0.iter().filter(|(call, _)| apart(call).is_none());
        counted.map(|(_, count)| count).sum()
    }

    /// All calls but those of sweeps, without those that stand apart.
    pub(crate) fn beside_sweeps(&self) -> usize {
        let sweeps: usize = [SWEEP, MACHINES, VOLUMES].iter().map(|call| self.count(call)).sum();
        self.total() - sweeps
    }

    /// Prints it beside the least: `writes` calls besides `sweeps` sweeps of `fleet` tenants with a
    /// machine and a volume each, which `formula` explains.
    pub(crate) fn print(&self, what: &str, minimum: &Minimum) {
        println!("{what}");
        for (call, count) in &self.0 {
            let note = apart(call).map(|why| format!(" ({why}, not in the sum)"));
            println!("  {count:7}  {call}{}", note.unwrap_or_default());
        }
        let (total, least) = (self.total(), minimum.calls());
        println!("  {total:7}  in sum; {} sweeps", self.sweeps());
        println!("  {least:7}  at least: {minimum}");
        let writes = self.beside_sweeps();
        println!(
            "  ratio {:.3}; without the sweeps {writes} of {}: {}",
            ratio(total, least),
            minimum.writes,
            match minimum.writes {
                0 => "none".to_owned(),
                least => format!("{:.3}", ratio(writes, least)),
            }
        );
    }
}

const SWEEP: &str = "GET /v1/apps";
const MACHINES: &str = "GET /v1/orgs/{org}/machines";
const VOLUMES: &str = "GET /v1/orgs/{org}/volumes";
const SECRETS: &str = "GET /v1/apps/{app}/secrets";
const MACHINE: &str = "GET /v1/apps/{app}/machines/{id}";

/// Why a call stands in a row of its own: what has no list is read a little at a time.
fn apart(call: &str) -> Option<&'static str> {
    match call {
        SECRETS => Some("amortised over passes, whatever happens"),
        MACHINE => {
            Some("once per version that somebody else wrote, and per machine that a list lost")
        }
        _ => None,
    }
}

/// The least that some work takes.
#[derive(Clone, Debug)]
pub(crate) struct Minimum {
    /// Calls that are no sweeps.
    pub(crate) writes: usize,
    /// The machines, and as many volumes, at the end of each sweep.
    pub(crate) sweeps: Vec<usize>,
    /// Passes that only list what changed.
    pub(crate) changes: usize,
    /// What the calls are, by verb.
    pub(crate) formula: String,
}

impl Minimum {
    fn calls(&self) -> usize {
        self.writes + self.changes + self.sweeps.iter().map(|&rows| sweep(rows)).sum::<usize>()
    }
}

impl fmt::Display for Minimum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.formula)?;
        for sizes in self.sweeps.chunk_by(PartialEq::eq) {
            let (count, calls) = (sizes.len(), sweep(sizes[0]));
            write!(formatter, " + {count} x {calls} for a sweep of {} tenants", sizes[0])?;
        }
        match self.changes {
            0 => Ok(()),
            changes => write!(formatter, " + {changes} lists of changes"),
        }
    }
}

/// The calls of a sweep: the apps, and the pages of machines and of volumes, at least one of each.
pub(crate) fn sweep(rows: usize) -> usize {
    1 + 2 * rows.div_ceil(PAGE_ROWS).max(1)
}

/// Whether a sweep begins with this answer.
pub(crate) fn begins_sweep(answer: &AnswerInfo) -> bool {
    answer.method == "GET" && answer.path == "/v1/apps"
}

/// Method and path with placeholders for names.
fn call(answer: &AnswerInfo) -> String {
    let mut before = "";
    let parts = answer.path.split('/').map(|part| {
        let shown = match before {
            "apps" => "{app}",
            "orgs" => "{org}",
            "machines" | "volumes" => "{id}",
            "secrets" => "{name}",
            _ => part,
        };
        before = if shown == part { part } else { "" };
        shown
    });
    format!("{} {}", answer.method, parts.collect::<Vec<_>>().join("/"))
}

fn ratio(calls: usize, least: usize) -> f64 {
    calls as f64 / least as f64
}
