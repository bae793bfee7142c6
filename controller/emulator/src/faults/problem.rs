//! What is wrong with a document of faults.

use std::fmt;

use thiserror::Error;

/// How different a word may be and still be meant: a third of its letters.
const LIKENESS_MIN: f64 = 0.66;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultProblem {
    /// Line and column in the file, both from 1; absent in JSON.
    pub place: Option<(u64, u64)>,
    /// Which fault and member, such as `fault 2 (lost-reply): times`.
    pub path: String,
    /// What is wrong, as a sentence.
    pub message: String,
}

/// All that is wrong with a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Error)]
pub struct FaultProblems(pub Vec<FaultProblem>);

impl FaultProblems {
    /// One line per problem, each located in `file`.
    #[must_use]
    pub fn located(&self, file: &str) -> String {
        let lines: Vec<String> = self
            .0
            .iter()
            .map(|problem| match problem.place {
                Some((line, column)) => format!("{file}:{line}:{column}: {problem}"),
                None => format!("{file}: {problem}"),
            })
            .collect();
        lines.join("\n")
    }
}

impl fmt::Display for FaultProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => formatter.write_str(&self.message),
            path => write!(formatter, "{path}: {}", self.message),
        }
    }
}

impl fmt::Display for FaultProblems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.0.iter().enumerate() {
            if place > 0 {
                formatter.write_str("; ")?;
            }
            write!(formatter, "{problem}")?;
        }
        Ok(())
    }
}

/// The sentence about a word that is none of `known`.
pub(super) fn unknown<'a>(
    what: &str,
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> String {
    let likeness = |known: &&str| strsim::jaro_winkler(&word.to_lowercase(), known);
    let nearest = known
        .into_iter()
        .map(|known| (likeness(&known), known))
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN);
    match nearest {
        Some((_, nearest)) => format!("unknown {what} `{word}`; did you mean `{nearest}`?"),
        None => format!("unknown {what} `{word}`"),
    }
}
