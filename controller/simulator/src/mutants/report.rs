//! What hunts came to, for people and for programs.

use serde_json::{Value, json};

use super::{Ground, Hunt, INEXPRESSIBLE};

/// Characters of what an oracle saw, in a line of the table.
const MESSAGE_CHARS_MAX: usize = 100;

/// A table for people.
#[must_use]
pub fn table(hunts: &[Hunt]) -> String {
    let width = hunts.iter().map(|hunt| hunt.mutant.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    let head = "SEAM      CAUGHT BY   RUNS  STORY              ORACLES";
    line(&mut text, &format!("{:width$}  {head}", "MUTANT"));
    for Hunt { mutant, catch, runs, unclean } in hunts {
        let (name, seam) = (mutant.name, mutant.seam.word());
        match catch {
            Some(catch) => {
                let by = format!("{} {}", unit(mutant.ground), catch.number);
                let (story, oracles) = (&catch.story, catch.oracles.join(", "));
                let found = format!("{by:9}  {runs:>5}  {story:17}  {oracles}");
                line(&mut text, &format!("{name:width$}  {seam:8}  {found}"));
                let message: String = catch.message.chars().take(MESSAGE_CHARS_MAX).collect();
                line(&mut text, &format!("{:width$}    {message}", ""));
            }
            None => line(&mut text, &format!("{name:width$}  {seam:8}  SURVIVES {runs} runs")),
        }
        if !unclean.is_empty() {
            let what = "does not count: the unchanged controller fails";
            line(&mut text, &format!("{:width$}    {what} {unclean:?}", ""));
        }
    }
    let caught = hunts.iter().filter(|hunt| hunt.catch.is_some()).count();
    line(&mut text, &format!("{caught} of {} broken controllers caught", hunts.len()));
    for known in INEXPRESSIBLE {
        line(&mut text, &format!("no mutant of: {}: {}", known.failure, known.why));
    }
    text
}

/// The same for programs.
#[must_use]
pub fn document(hunts: &[Hunt]) -> Value {
    let mutants = hunts.iter().map(|Hunt { mutant, catch, runs, unclean }| {
        let catch = catch.as_ref().map(|catch| {
            json!({
                (unit(mutant.ground)): catch.number,
                "story": catch.story,
                "oracles": catch.oracles,
                "message": catch.message,
            })
        });
        json!({
            "name": mutant.name,
            "imitates": mutant.imitates,
            "seam": mutant.seam.word(),
            "runs": runs,
            "caught": catch,
            "runsThatDoNotCount": unclean,
        })
    });
    let unexpressed =
        INEXPRESSIBLE.map(|known| json!({ "failure": known.failure, "why": known.why }));
    json!({ "mutants": mutants.collect::<Vec<_>>(), "inexpressible": unexpressed })
}

/// What runs are numbered by.
fn unit(ground: Ground) -> &'static str {
    match ground {
        Ground::Seeds | Ground::Story(_) => "seed",
        Ground::Matrix(_) | Ground::Lists(_) => "case",
    }
}

fn line(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}
