//! Clients that are not built here: where they were installed, and what happens without them.

use std::io::Write;
use std::path::PathBuf;

use vault_tests::binaries::workspace;

/// The folder that `.ci/install-clients` installs Python packages into.
pub(crate) fn python_packages() -> PathBuf {
    workspace().join("target/clients/python")
}

/// Says loudly that something is not tested here: a skipped story must not look like a passed one.
pub(crate) fn skipped(why: &str) {
    writeln!(std::io::stderr(), "SKIPPED: {why}").expect("standard error takes a line");
}
