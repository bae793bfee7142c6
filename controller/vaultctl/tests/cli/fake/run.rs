//! Running the built binary in the fake's folder.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};

use super::{Fake, PATIENCE};

/// More lines than any test prints.
const LINES: usize = 1000;
/// What must not come from whoever runs the tests.
const FOREIGN: [&str; 8] = [
    "VAULTCTL_CONFIG",
    "VAULTCTL_USAGE_BEARER_TOKEN",
    "KUBE_EDITOR",
    "VAULTCTL_EDITOR",
    "VISUAL",
    "EDITOR",
    "NO_COLOR",
    "CLICOLOR_FORCE",
];

/// How a run of the binary ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A run that goes on.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Fake {
    /// Runs `vaultctl ARGS…` in the folder.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        self.run_with_input(args, "")
    }

    /// The same with something on standard input.
    pub(crate) fn run_with_input(&self, args: &[&str], input: &str) -> Ended {
        self.run_with(args, &[], input)
    }

    /// The same with more in the environment.
    pub(crate) fn run_with(&self, args: &[&str], env: &[(&str, &str)], input: &str) -> Ended {
        let mut child = self.command(args).envs(env.iter().copied()).spawn().unwrap();
        // A command may end without having read it.
        child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
        let output = child.wait_with_output().unwrap();
        Ended {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Starts a command that does not end by itself.
    pub(crate) fn begin(&self, args: &[&str]) -> Running {
        let mut child = self.command(args).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = sync_channel(LINES);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Running { child, lines }
    }

    /// `vaultctl ARGS…` in the folder, not started yet.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vaultctl"));
        command
            .args(args)
            .current_dir(self.folder())
            .env("HOME", self.folder().join("home"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for name in FOREIGN {
            command.env_remove(name);
        }
        command
    }
}

impl Running {
    /// The next line of its result.
    pub(crate) fn line(&mut self) -> String {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(error) => {
                self.child.kill().ok();
                let mut errors = String::new();
                self.child.stderr.take().unwrap().read_to_string(&mut errors).ok();
                panic!("no line came ({error}); stderr: {errors}");
            }
        }
    }

    /// Ends it; what it said beside its result.
    pub(crate) fn stop(mut self) -> String {
        self.child.kill().ok();
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        self.child.wait().unwrap();
        errors
    }
}
