//! The programs that the stories start, built once per test process.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, ensure};
use cargo_metadata::Message;

/// Where the built programs lie.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The command line.
    pub vaultctl: PathBuf,
    /// The controller.
    pub controller: PathBuf,
    /// The emulator; the fixture runs it in process, machines are launched with the program.
    pub emulator: PathBuf,
    /// The agent, which runs in machines.
    pub agent: PathBuf,
}

/// Builds the programs, or finds them up to date, in the target folder and profile of this test.
///
/// # Errors
/// If they do not build; cargo's own words are on standard error.
pub fn binaries() -> anyhow::Result<&'static Binaries> {
    static BUILT: OnceLock<Result<Binaries, String>> = OnceLock::new();
    BUILT
        .get_or_init(|| build().map_err(|error| format!("{error:#}")))
        .as_ref()
        .map_err(|error| anyhow::anyhow!("the programs to test could not be built: {error}"))
}

/// The root of the workspace.
#[must_use]
pub fn workspace() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    // This package lies directly in the workspace's root.
    own.parent().unwrap_or(own)
}

/// What cargo tells a test about its package. Build scripts of dependencies look at these too: seen
/// by a cargo inside a test, they would make it build half of everything again.
const OF_THE_PACKAGE: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];

/// The cargo that runs us, or the one on the path.
#[must_use]
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace()).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if OF_THE_PACKAGE.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}

fn build() -> anyhow::Result<Binaries> {
    let (target, profile) = place()?;
    // Tests are built too, which is to say not: they are what runs us. Without them, dependencies
    // would be resolved without the tests' features, and half of everything would be built again.
    let mut child = cargo()
        .args(["build", "--workspace", "--bins", "--tests", "--profile", &profile])
        .arg("--message-format=json")
        .arg("--target-dir")
        .arg(&target)
        .stdout(Stdio::piped())
        .spawn()
        .context("starting cargo")?;
    let output = child.stdout.take().context("cargo's output")?;
    let mut built = BTreeMap::new();
    for message in Message::parse_stream(BufReader::new(output)) {
        if let Message::CompilerArtifact(artifact) = message.context("reading cargo's output")?
            && let Some(executable) = artifact.executable
            && !artifact.profile.test
        {
            built.insert(artifact.target.name, executable.into_std_path_buf());
        }
    }
    ensure!(child.wait()?.success(), "cargo build failed; see above");
    let mut program = |name: &str| built.remove(name).with_context(|| format!("no binary {name}"));
    Ok(Binaries {
        vaultctl: program("vaultctl")?,
        controller: program("vault-controller")?,
        emulator: program("vault-emulator")?,
        agent: program("vault-agent")?,
    })
}

/// The target folder and the profile that this test itself was built with: it lies in
/// `TARGET/PROFILE/deps/`.
fn place() -> anyhow::Result<(PathBuf, String)> {
    let this = std::env::current_exe().context("finding this test")?;
    let folder = this.ancestors().nth(2).context("the test lies in no profile's folder")?;
    let target = folder.parent().context("the test lies in no target folder")?;
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    Ok((target.to_owned(), profile.to_owned()))
}
