//! What several stories need.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use vault_tests::binaries::workspace;
use vault_tests::world::{World, WorldOptions};

/// Options for machines as processes.
pub(crate) fn processes() -> WorldOptions {
    WorldOptions { processes: true, ..WorldOptions::default() }
}

/// Whether machines have their own files here; says loudly if the story is skipped.
pub(crate) fn is_isolated(world: &World, story: &str) -> anyhow::Result<bool> {
    let isolation = world.platform()?.isolation();
    let isolated = !isolation.contains("NOTHING IS ISOLATED");
    if !isolated {
        skipped(&format!("{story}: {isolation}"));
    }
    Ok(isolated)
}

/// Says loudly that something is not tested here: a skipped story must not look like a passed one.
pub(crate) fn skipped(why: &str) {
    say(&format!("SKIPPED: {why}"));
}

/// Prints a line although the test passes, which `eprintln` does not.
pub(crate) fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("standard error takes a line");
}

/// The examples that the repository comes with.
pub(crate) fn examples() -> PathBuf {
    workspace().join("manifests")
}

/// A short look at something that must stay as it is: long enough for several passes.
pub(crate) async fn passes(world: &World, more: u64) -> anyhow::Result<()> {
    let now = world.status().await?["passes"].as_u64().unwrap_or(0);
    world
        .status_where("some more passes", |status| status["passes"].as_u64() >= Some(now + more))
        .await?;
    Ok(())
}

/// Slow enough that nothing happens between two looks at the counts.
pub(crate) const SLOW: Duration = Duration::from_secs(3);
