//! Clients that are not built here: where they were installed, and what happens without them.

use std::io::Write;
use std::path::PathBuf;

/// The Python into which `.ci/install-clients` installs packages; `None` if it did not.
pub(crate) fn python() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    // target/release/deps/kubectl-…
    let target = own.ancestors().nth(3)?;
    let python = target.join("clients/python/bin/python");
    python.exists().then_some(python)
}

/// Says loudly that something is not tested here: a skipped story must not look like a passed one.
pub(crate) fn skipped(why: &str) {
    writeln!(std::io::stderr(), "SKIPPED: {why}").expect("standard error takes a line");
}
