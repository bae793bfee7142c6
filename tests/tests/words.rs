//! What the documents say about the tests is true.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use vault_tests::binaries::workspace;

/// The sections of `TESTING.md` whose tables name tests.
const SECTIONS: [&str; 2] =
    ["## Defects of the agent's forerunner", "## OpenSSH's regress scripts"];

/// A name in backquotes with fewer underscores is none of a test.
const UNDERSCORES: usize = 2;

#[test]
fn tests_that_are_named_are_there() {
    let root = workspace();
    let text = fs::read_to_string(root.join("TESTING.md")).expect("readable");
    let mut there = BTreeSet::new();
    for folder in ["agent", "controller", "tests"] {
        collect(&root.join(folder), &mut there);
    }
    for section in SECTIONS {
        let (_, behind) = text.split_once(section).expect("the section");
        let rows = behind.split("\n## ").next().unwrap_or_default();
        let named: BTreeSet<&str> = rows
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| name.matches('_').count() >= UNDERSCORES || *name == "bombs")
            .collect();
        assert!(named.len() > 10, "{section}: {named:?}");
        let absent: Vec<_> = named.iter().filter(|name| !there.contains(**name)).collect();
        assert!(absent.is_empty(), "{section} names tests that are not there: {absent:?}");
    }
}

/// The names of all tests in a folder.
fn collect(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let code = fs::read_to_string(&path).expect("readable");
            let mut is_test = false;
            for line in code.lines().map(str::trim) {
                is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                let Some((_, name)) = line.split_once("fn ").filter(|_| is_test) else { continue };
                names.extend(name.split('(').next().map(str::to_owned));
                is_test = false;
            }
        }
    }
}
