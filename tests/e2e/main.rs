//! The end-to-end stories, one module each.

mod audit_log;
mod bad_input;
mod blackhole;
mod breadth;
mod build;
mod copy;
mod counts;
mod crash;
mod deletion;
mod exec;
mod faults;
mod forward;
mod http;
mod isolation;
mod journal;
mod kills;
mod leases;
mod lifecycle;
mod platform;
mod profiles;
mod provisioning;
mod repair;
mod shared;
mod storage;
mod support;
mod terminals;
mod tokens;
mod tombstones;

/// A story that is not in the list above would never run.
#[test]
fn every_file_of_this_folder_is_a_module() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e");
    let main = std::fs::read_to_string(folder.join("main.rs")).expect("this file");
    for entry in std::fs::read_dir(&folder).expect("this folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        if path.extension().is_some_and(|extension| extension == "rs") && name != "main" {
            let module = format!("mod {name};");
            assert!(main.lines().any(|line| line == module), "main.rs lacks {module:?}");
        }
    }
}
