//! What may depend on what, and how long a file may be.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::MetadataCommand;
use vault_tests::binaries::{cargo, workspace};

/// Lines of one file of code.
const LINES_MAX: usize = 500;

/// What a package, with default features off, never reaches as a normal dependency.
struct Fence {
    package: &'static str,
    forbidden: &'static [&'static str],
    /// Dependencies whose own dependencies do not count.
    leaves: &'static [&'static str],
}

const fn fence(package: &'static str, forbidden: &'static [&'static str]) -> Fence {
    Fence { package, forbidden, leaves: &[] }
}

const FENCES: [Fence; 13] = [
    fence("vault-api", &["tokio", "reqwest", "rusqlite"]),
    Fence {
        // The schema checker of `vault-api` seeds its tables through `ahash`; no plan sees that.
        leaves: &["ahash"],
        ..fence("vault-plan", &["tokio", "reqwest", "rusqlite", "rand", "getrandom"])
    },
    fence("vault-cloud", &["rusqlite", "vault-plan"]),
    // It reaches quinn through `vault-client` alone, to ask agents how they are.
    fence("vault-controller", &["vault-emulator", "vault-agent"]),
    fence(
        "vault-emulator",
        &["vault-controller", "vault-plan", "vault-cloud", "vault-api", "vault-protocol"],
    ),
    fence(
        "vaultctl",
        &[
            "rusqlite",
            "vault-plan",
            "vault-cloud",
            "vault-controller",
            "vault-emulator",
            "vault-agent",
        ],
    ),
    // It drives the controller's code over the emulator's world: neither process nor person needed.
    fence("vault-simulator", &["vaultctl", "vault-agent"]),
    fence("vault-protocol", &["tokio", "quinn", "mio", "socket2", "getrandom"]),
    fence("vault-files", &["reqwest", "rusqlite", "vault-api", "vault-agent", "vault-client"]),
    fence("vault-relay", &["reqwest", "rusqlite", "vault-api", "vault-agent", "vault-client"]),
    fence("vault-agent", &["reqwest", "rusqlite", "vault-api", "vault-client", "jsonwebtoken"]),
    // It runs in a process that has no network, and is to need nothing of ours.
    fence(
        "vault-rootfs",
        &[
            "tokio",
            "quinn",
            "mio",
            "socket2",
            "hyper",
            "tokio-tar",
            "vault-protocol",
            "vault-agent",
        ],
    ),
    fence("vault-client", &["rusqlite", "vault-api", "vault-agent"]),
];

#[test]
fn the_fences_hold() {
    for Fence { package, forbidden, leaves } in FENCES {
        let reached = reached(package, leaves);
        // An empty tree would have no forbidden package in it either.
        assert!(reached.contains(package) && reached.len() > 5, "{package}: {reached:?}");
        let found: Vec<_> = forbidden.iter().filter(|name| reached.contains(**name)).collect();
        assert!(found.is_empty(), "{package} reaches {found:?}: cargo tree -p {package} -i …");
    }
}

#[test]
fn every_package_has_its_fence_and_nothing_depends_on_the_tests() {
    let metadata = MetadataCommand::new()
        .manifest_path(workspace().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("the workspace's metadata");
    let mut names = BTreeSet::new();
    for package in metadata.workspace_packages() {
        names.insert(package.name.to_string());
        for dependency in &package.dependencies {
            assert_ne!(dependency.name, "vault-tests", "a dependency of {}", package.name);
        }
    }
    assert!(names.remove("vault-tests"));
    let fenced: BTreeSet<String> = FENCES.iter().map(|fence| fence.package.to_owned()).collect();
    assert_eq!(names, fenced, "a new package needs a fence");
}

#[test]
fn no_file_is_too_long() {
    let mut files = Vec::new();
    collect(workspace(), &mut files);
    assert!(files.iter().any(|file| file.ends_with("controller/src/lib.rs")), "{files:?}");
    let mut long = Vec::new();
    for file in files.iter().filter(|file| !is_test(file)) {
        let lines = fs::read_to_string(file).expect("a source file").lines().count();
        if lines > LINES_MAX {
            long.push(format!("{}: {lines} lines", file.display()));
        }
    }
    assert!(long.is_empty(), "more than {LINES_MAX} lines: {long:#?}");
}

/// The names of everything that a package links on Linux, itself included. `cargo tree`
/// resolves features for this package alone, which the workspace's metadata does not.
fn reached(package: &str, leaves: &[&str]) -> BTreeSet<String> {
    let output = cargo()
        .args(["tree", "--package", package, "--no-default-features", "--edges", "normal"])
        .args(leaves.iter().flat_map(|leaf| ["--prune", leaf]))
        .args(["--prefix", "none", "--format", "{p}", "--target"])
        .arg(format!("{}-unknown-linux-gnu", std::env::consts::ARCH))
        .output()
        .expect("cargo tree");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).expect("names are ASCII");
    tree.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn is_test(file: &Path) -> bool {
    let inside = file.strip_prefix(workspace()).unwrap_or(file);
    let in_folder = inside.iter().any(|part| part == "tests" || part == "e2e" || part == "benches");
    in_folder || inside.ends_with("tests.rs") || inside.ends_with("testing.rs")
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let (path, kind) = (entry.path(), entry.file_type().expect("a type"));
        let name = entry.file_name();
        let skipped =
            name.as_encoded_bytes().starts_with(b".") || path.join("CACHEDIR.TAG").exists();
        if kind.is_dir() && !skipped {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
