//! The table of `dev`, on a terminal that `script` (util-linux) makes.

use std::num::NonZero;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::skipped;

const MANIFEST: &str = "apiVersion: vaultctl.dev/v1\nkind: Tenant\nmetadata: { name: NAME }\nspec:\n  \
    machines:\n    - { name: box, region: ord, config: { image: 'nginx:1' } }\n";

/// Enough for all that such a run prints.
const ROWS: NonZero<u16> = NonZero::new(40).unwrap();
/// Enough for all but the messages in the table.
const COLUMNS: NonZero<u16> = NonZero::new(50).unwrap();

/// `dev --once` on a folder of two tenants; what it wrote to its terminal, or, without one, to
/// stdout and stderr.
fn dev(folder: &Path, on_terminal: bool) -> Option<String> {
    let manifests = folder.join("manifests");
    std::fs::create_dir_all(&manifests).unwrap();
    for name in ["acme", "umbra"] {
        let text = MANIFEST.replace("NAME", name);
        std::fs::write(manifests.join(format!("{name}.yaml")), text).unwrap();
    }
    let command = format!(
        "'{}' dev manifests --once --timeout 1m --machines none --listen 127.0.0.1:0 \
         --data-dir data",
        env!("CARGO_BIN_EXE_vaultctl")
    );
    let mut shell = if on_terminal {
        let mut script = Command::new("script");
        let sized = format!("stty rows {ROWS} cols {COLUMNS} && {command}");
        script.args(["--quiet", "--return", "--command", &sized, "/dev/null"]);
        script
    } else {
        let mut bash = Command::new("bash");
        bash.args(["-c", &format!("{command} 2>&1")]);
        bash
    };
    shell.current_dir(folder).env("TERM", "xterm").env("SHELL", "/bin/sh").stdin(Stdio::null());
    let output = match shell.output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && on_terminal => {
            skipped("`script` (util-linux) is not here to make a terminal");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}\n{text}", output.status);
    Some(text)
}

#[test]
fn on_a_terminal_a_table_is_redrawn_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let Some(text) = dev(folder.path(), true) else { return };
    let mut screen = vt100::Parser::new(ROWS, COLUMNS, 0);
    screen.process(text.as_bytes());
    let lines: Vec<String> = screen
        .screen()
        .rows(0, COLUMNS.get())
        .map(|line| line.trim_end().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    let [.., header, acme, umbra, sum] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(header.starts_with("TENANT   STATE   MACHINES   AGE "), "{lines:#?}");
    assert!(acme.starts_with("acme     Ready   1/1 "), "{lines:#?}");
    assert!(umbra.starts_with("umbra    Ready   1/1 "), "{lines:#?}");
    assert_eq!(sum, "2 of 2 tenants Ready");
    assert!(acme.ends_with('…'), "what does not fit is cut: {lines:#?}");
    // What happened stands above the table, and no older table is left anywhere.
    assert!(lines[0].starts_with("platform ") && lines[1].starts_with("API "), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("acme: Ready (")), "{lines:#?}");
    assert!(lines.contains(&"All 2 tenants are Ready.".to_owned()), "{lines:#?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("TENANT ")).count(), 1, "{lines:#?}");
    assert!(!lines.contains(&"reading the manifests".to_owned()), "{lines:#?}");
}

#[test]
fn elsewhere_there_are_lines_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = dev(folder.path(), false).unwrap();
    assert!(!text.contains('\u{1b}') && !text.contains('\r'), "{text:?}");
    assert!(!text.contains("TENANT "), "{text}");
    assert!(text.contains("\nacme: Ready ("), "{text}");
    assert!(text.contains("\nAll 2 tenants are Ready.\n"), "{text}");
}
