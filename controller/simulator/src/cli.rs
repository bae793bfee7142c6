//! The command line: ranges of seeds, and one seed again.

mod mutants;

use std::io::Write as _;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::{Parser, Subcommand};
use vault_controller::clock::{Clock as _, SystemClock};

use crate::ledger::{self, Line};
use crate::matrix::Matrix;
use crate::range::{self, Tally};
use crate::seed::Seeds;

/// How many failing seeds are shown before a run gives up.
const FAILURES_MAX: usize = 5;

#[derive(Debug, Parser)]
#[command(
    name = "vault-simulator",
    about = "Runs the controller's own code on virtual time, over a platform that fails on purpose"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a range of seeds
    Run {
        /// The first seed, and the one after the last
        #[arg(long, value_name = "A..B", value_parser = range)]
        seeds: (u64, u64),
        /// How many threads
        #[arg(long, default_value_t = 1)]
        threads: usize,
        /// Add a line to this file: the range, the commit, and what came of it
        #[arg(long, value_name = "FILE", requires = "commit")]
        ledger: Option<PathBuf>,
        /// The commit that this program was built of, for the ledger
        #[arg(long, value_name = "HASH", requires = "ledger")]
        commit: Option<String>,
    },
    /// Run the crash matrix, all of it or that of one story
    Matrix {
        /// How many threads
        #[arg(long, default_value_t = 1)]
        threads: usize,
        /// Only this story
        #[arg(long, value_name = "NAME")]
        workload: Option<String>,
        /// Run this case alone and print its trace
        #[arg(long, value_name = "NUMBER")]
        case: Option<usize>,
    },
    /// Run broken controllers until an oracle bites; exit code 1 if one survives
    Mutants {
        /// How many seeds each of them has to survive
        #[arg(long, value_name = "N", default_value_t = 5_000)]
        seeds_max: u64,
        /// Only this one
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
        /// How many threads
        #[arg(long, default_value_t = 1)]
        threads: usize,
        /// What to print
        #[arg(short, long, value_enum, default_value = "table")]
        output: mutants::Output,
    },
    /// Run one seed again and print its trace
    Replay {
        /// Which
        seed: u64,
        /// On this story rather than the one that the seed says
        #[arg(long, value_name = "NAME")]
        workload: Option<String>,
        /// With this broken controller
        #[arg(long, value_name = "NAME")]
        mutant: Option<String>,
    },
}

/// Where a line is added, and of which commit.
struct Ledger {
    path: PathBuf,
    commit: String,
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run { seeds: (first, end), threads, ledger, commit } => {
            let ledger = ledger.zip(commit).map(|(path, commit)| Ledger { path, commit });
            run(first..end, threads, ledger.as_ref())
        }
        Command::Matrix { threads, workload, case } => matrix(threads, workload.as_deref(), case),
        Command::Replay { seed, workload, mutant } => {
            replay(seed, workload.as_deref(), mutant.as_deref())
        }
        Command::Mutants { seeds_max, only, threads, output } => {
            mutants::main(seeds_max, only.as_deref(), threads, output)
        }
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            say(&format!("vault-simulator: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn range(text: &str) -> anyhow::Result<(u64, u64)> {
    let (first, end) = text.split_once("..").ok_or_else(|| anyhow!("a range is A..B"))?;
    let number = |text: &str| text.parse().with_context(|| format!("{text:?} is no number"));
    let (first, end) = (number(first)?, number(end)?);
    (first < end).then_some((first, end)).ok_or_else(|| anyhow!("the range is empty"))
}

fn run(seeds: Range<u64>, threads: usize, ledger: Option<&Ledger>) -> anyhow::Result<ExitCode> {
    if let Some(Ledger { path, commit }) = ledger {
        ledger::check(path, &seeds, commit)?;
    }
    let began = now_ms();
    let all = seeds.end - seeds.start;
    let progress = |done| say(&format!("{done} seeds of {all}"));
    let mut total = range::run(&seeds, threads, FAILURES_MAX, progress);
    let milliseconds = now_ms() - began;
    report(&mut total, threads, milliseconds as f64 / 1000.0);
    if let Some(Ledger { path, commit }) = ledger {
        let line = Line {
            seeds,
            commit: commit.clone(),
            run: total.calls.len() as u64,
            failed: total.failures.len() as u64,
            date: vault_controller::clock::rfc3339(SystemClock.now()),
            seconds: u64::try_from(milliseconds / 1000).unwrap_or(0),
        };
        ledger::append(path, &line)?;
    }
    Ok(if total.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report(total: &mut Tally, threads: usize, seconds: f64) {
    let seeds = total.calls.len();
    let per_second = seeds as f64 / seconds.max(0.001);
    let (calls, faults) = total.medians();
    say(&format!(
        "{seeds} seeds in {seconds:.1} s: {per_second:.0} a second, {:.0} a second and thread; median \
         {calls} calls and {faults} faults; {} passes, {} deaths; {} seeds failed",
        per_second / threads.max(1) as f64,
        total.passes,
        total.kills,
        total.failures.len(),
    ));
    total.coverage.report().iter().for_each(|line| say(line));
    for (seed, violation) in &total.failures {
        say(&format!("  seed {seed}: {violation}"));
        say(&format!("    cargo run --release -p vault-simulator -- replay {seed}"));
    }
}

fn matrix(threads: usize, only: Option<&str>, case: Option<usize>) -> anyhow::Result<ExitCode> {
    let began = now_ms();
    let mut seeds = Seeds::default();
    let matrix = Matrix::new(&mut seeds, only);
    if matrix.is_empty() {
        return Err(anyhow!("there is no story of that name; there are {}", names()));
    }
    if let Some(case) = case {
        let (lines, violations) =
            matrix.replay(case, &seeds).ok_or_else(|| anyhow!("cases end at {}", matrix.len()))?;
        lines.iter().for_each(|line| say(line));
        violations.iter().for_each(|violation| say(&format!("VIOLATION: {violation}")));
        return Ok(if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let found = matrix.run_all(threads, FAILURES_MAX);
    say(&format!(
        "{} plans of {} in {:.1} s, {} distinct traces; {} failed",
        found.cases,
        matrix.len(),
        (now_ms() - began) as f64 / 1000.0,
        found.traces.len(),
        found.violations.len(),
    ));
    found.coverage.report().iter().for_each(|line| say(line));
    for (case, violation) in &found.violations {
        say(&format!("  {case}: {violation}"));
    }
    Ok(if found.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn names() -> String {
    let stories = crate::workload::named().into_iter().chain(crate::workload::apart());
    let names: Vec<String> = stories.map(|story| story.name).collect();
    names.join(", ")
}

fn replay(seed: u64, workload: Option<&str>, mutant: Option<&str>) -> anyhow::Result<ExitCode> {
    let mutant = mutant.map(mutants::named).transpose()?;
    let mut seeds = Seeds::default();
    let story = workload.or_else(|| mutant.and_then(|mutant| mutant.ground.story()));
    let setting = seeds.setting(seed, story, true);
    let mut setting =
        setting.ok_or_else(|| anyhow!("there is no story of that name; there are {}", names()))?;
    setting.mutation = mutant.map(|mutant| mutant.mutation);
    let outcome = seeds.run_setting(&setting);
    for line in &outcome.lines {
        say(line);
    }
    for violation in &outcome.violations {
        say(&format!("VIOLATION: {violation}"));
    }
    let counts = outcome.counts;
    say(&format!(
        "seed {seed}: {} calls, {} faults, {} deaths, {} passes",
        counts.calls, counts.faults, counts.kills, counts.passes
    ));
    Ok(if outcome.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A line for whoever watches; a closed pipe ends nothing.
fn say(line: &str) {
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}

/// The real time, in milliseconds: how fast seeds are is all that it tells.
fn now_ms() -> i64 {
    SystemClock.now().0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_ledger_needs_a_commit_and_a_run_needs_none() {
        let parse = |rest: &[&str]| {
            Cli::try_parse_from(["vault-simulator", "run", "--seeds", "0..7"].iter().chain(rest))
        };
        assert!(parse(&[]).is_ok());
        assert!(parse(&["--ledger", "l.csv", "--commit", "0123456"]).is_ok());
        assert!(parse(&["--ledger", "l.csv"]).is_err());
        assert!(parse(&["--commit", "0123456"]).is_err());
        for range in ["7..0", "7", "a..b", "7..7"] {
            assert!(Cli::try_parse_from(["x", "run", "--seeds", range]).is_err(), "{range}");
        }
    }
}
