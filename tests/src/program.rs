//! Running a program to its end.

use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::process::Command;

/// No command takes this long; only one that hangs does.
const LIMIT: Duration = Duration::from_secs(120);

/// What a program left behind.
#[derive(Clone, Debug)]
#[must_use = "a program's exit code says whether it worked"]
pub struct Output {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

impl Output {
    /// Takes the output if the program ended with `code`.
    ///
    /// # Panics
    /// If it ended otherwise; everything that it printed is shown.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Standard output as JSON.
    ///
    /// # Errors
    /// If it is none.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("no JSON: {self}"))
    }
}

impl fmt::Display for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, stdout, stderr } = self;
        write!(formatter, "exit {code:?}\n--- stdout\n{stdout}--- stderr\n{stderr}")
    }
}

/// Runs a program without input to its end.
///
/// # Errors
/// If it cannot be started, or runs for longer than two minutes.
pub async fn run(command: &mut Command) -> anyhow::Result<Output> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(LIMIT, command.output());
    let output = ended
        .await
        .with_context(|| format!("it did not end within {LIMIT:?}: {command:?}"))?
        .with_context(|| format!("could not run {command:?}"))?;
    Ok(Output {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
