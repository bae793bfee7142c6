//! What hunts came to, for people and for programs.

use serde_json::{Value, json};

use super::{Hunt, INEXPRESSIBLE};

/// Characters of what an oracle saw, in a line of the table.
const MESSAGE_CHARS_MAX: usize = 100;

/// A table for people.
#[must_use]
pub fn table(hunts: &[Hunt]) -> String {
    let width = hunts.iter().map(|hunt| hunt.mutant.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    line(
        &mut text,
        &format!("{:width$}  SEAM      SEED  SEEDS  STORY              ORACLES", "MUTANT"),
    );
    for Hunt { mutant, catch, seeds, unclean } in hunts {
        let (name, seam) = (mutant.name, mutant.seam.word());
        match catch {
            Some(catch) => {
                let (seed, story, oracles) = (catch.seed, &catch.story, catch.oracles.join(", "));
                line(
                    &mut text,
                    &format!(
                        "{name:width$}  {seam:8}  {seed:>4}  {seeds:>5}  {story:17}  {oracles}"
                    ),
                );
                let message: String = catch.message.chars().take(MESSAGE_CHARS_MAX).collect();
                line(&mut text, &format!("{:width$}    {message}", ""));
            }
            None => {
                line(&mut text, &format!("{name:width$}  {seam:8}  SURVIVES {seeds} seeds"));
            }
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
    let mutants = hunts.iter().map(|Hunt { mutant, catch, seeds, unclean }| {
        let catch = catch.as_ref().map(|catch| {
            json!({
                "seed": catch.seed,
                "story": catch.story,
                "oracles": catch.oracles,
                "message": catch.message,
            })
        });
        json!({
            "name": mutant.name,
            "imitates": mutant.imitates,
            "seam": mutant.seam.word(),
            "seeds": seeds,
            "caught": catch,
            "seedsThatDoNotCount": unclean,
        })
    });
    let unexpressed =
        INEXPRESSIBLE.map(|known| json!({ "failure": known.failure, "why": known.why }));
    json!({ "mutants": mutants.collect::<Vec<_>>(), "inexpressible": unexpressed })
}

fn line(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}
