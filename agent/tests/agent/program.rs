//! The program itself: its environment, its signals.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use vault_protocol::SECRET_VARIABLE;
use vault_protocol::code::CloseCode;
use vault_protocol::message::Channel;

use crate::support::{
    Answer, Client, MACHINE, Platform, code, eventually, exec, is_alive, killed_by, secret, shell,
    soon,
};

/// A running `vault-agent`. Killed when dropped.
pub(crate) struct Program {
    child: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Program {
    #[expect(clippy::print_stderr, reason = "a log goes where the test's own output goes, too")]
    pub(crate) fn start(platform: &Platform, change: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vault-agent"));
        command
            .env("VAULT_LISTEN", "127.0.0.1:0")
            .env("FLY_API_SOCKET", &platform.socket)
            .env("FLY_MACHINE_ID", MACHINE)
            .env("VAULT_LOG", "info")
            .env(SECRET_VARIABLE, secret().text().as_str())
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        change(&mut command);
        let mut child = command.spawn().expect("starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        while !line.contains("the agent listens") {
            line.clear();
            assert_ne!(log.read_line(&mut line).expect("a log"), 0, "ended at its start");
        }
        // The rest of the log goes where the test's own output goes, too.
        let kept = Arc::new(Mutex::new(String::new()));
        let keep = Arc::clone(&kept);
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                eprintln!("{line}");
                keep.lock().expect("unpoisoned").push_str(&format!("{line}\n"));
            }
        });
        let (_, rest) = line.split_once(r#""address":""#).expect("an address in JSON");
        let address = rest.split('"').next().and_then(|text| text.parse().ok());
        Self { child, address: address.expect("an address"), log: kept }
    }

    /// What it has said since it listens.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("unpoisoned").clone()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn proc(&self, file: &str) -> Vec<u8> {
        std::fs::read(format!("/proc/{}/{file}", self.child.id())).expect("readable")
    }

    /// A line of `/proc/PID/status`, in KiB.
    pub(crate) fn memory_kib(&self, name: &str) -> u64 {
        let status = String::from_utf8(self.proc("status")).expect("UTF-8");
        let line = status.lines().find(|line| line.starts_with(name)).expect("the line");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("sent");
    }

    /// Waits for its end; whether it was a success.
    pub(crate) async fn ended(&mut self) -> bool {
        let mut status = None;
        eventually("the program ends", || {
            status = self.child.try_wait().expect("our child");
            status.is_some()
        })
        .await;
        status.is_some_and(|status| status.success())
    }

    pub(crate) async fn end(mut self) {
        self.signal(Signal::TERM);
        assert!(self.ended().await);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[tokio::test]
async fn the_secret_is_in_nobodys_environment() {
    let platform = Platform::start(Answer::Token);
    let program = Program::start(&platform, |command| {
        command.env("MARK", "of the test");
    });
    let text = secret().text();
    let environment = program.proc("environ");
    let holds =
        |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds(&environment, "MARK=of the test"));
    assert!(!holds(&environment, &text) && !holds(&environment, SECRET_VARIABLE));
    assert!(!holds(&program.proc("cmdline"), &text));
    let stdin = std::fs::read_link(format!("/proc/{}/fd/0", program.child.id()));
    assert_eq!(stdin.expect("a link").to_str(), Some("/dev/null"));
    // It is known all the same, and commands do not get it.
    let mut client = Client::connect(program.address).await;
    client.prove().await;
    let ran = client.run(exec(&["env"])).await;
    assert!(ran.stdout.contains("MARK=of the test"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("SECRET") && !ran.stdout.contains(text.as_str()));
    program.end().await;
}

#[tokio::test]
async fn termination_drains() {
    let platform = Platform::start(Answer::Token);
    let mut program = Program::start(&platform, |command| {
        command.env("VAULT_GRACE", "300ms");
    });
    let mut client = Client::connect(program.address).await;
    client.prove().await;
    // One cleans up after itself, one does not listen.
    let script = "trap 'echo cleaned; exit 3' TERM; echo up; while :; do sleep 0.01; done";
    let mut polite = client.start(shell(script)).await;
    polite.started().await;
    let mut stubborn =
        client.start(shell("trap '' TERM; echo up; while :; do sleep 0.01; done")).await;
    stubborn.started().await;
    // Both have set their traps.
    let mut outputs = Vec::new();
    for command in [&polite, &stubborn] {
        let (mut stream, mut bytes) = client.output(command.id, Channel::Stdout).await;
        while !bytes.ends_with(b"up\n") {
            let chunk = soon(stream.read_chunk(64, true)).await.expect("readable").expect("more");
            bytes.extend(&chunk.bytes);
        }
        outputs.push(stream);
    }
    program.signal(Signal::TERM);
    assert_eq!(soon(outputs[0].read_to_end(64)).await.expect("readable"), b"cleaned\n");
    assert_eq!(polite.exit().await, code(3));
    assert_eq!(stubborn.exit().await, killed_by(9));
    assert_eq!(client.closed().await, Some(CloseCode::ShuttingDown));
    assert!(program.ended().await, "exit code 0");
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let platform = Platform::start(Answer::Token);
    let mut program = Program::start(&platform, |command| {
        command.env("VAULT_GRACE", "1h");
    });
    let mut client = Client::connect(program.address).await;
    client.prove().await;
    let mut stubborn = client.start(shell("trap '' TERM; while :; do sleep 0.01; done")).await;
    let process = stubborn.started().await;
    program.signal(Signal::TERM);
    // It refuses new commands once it has seen the first signal.
    loop {
        let mut late = client.start(exec(&["true"])).await;
        match late.messages.next().await {
            Some(vault_protocol::message::Message::Started(_)) => {}
            _ => break,
        }
    }
    program.signal(Signal::TERM);
    assert!(!program.ended().await);
    eventually("the command is killed", || !is_alive(process)).await;
}

#[tokio::test]
async fn a_marker_without_sealed_memory_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_vault-agent"))
        .env("FLY_MACHINE_ID", MACHINE)
        .env("VAULT_SECRET_FD", "0")
        .stdin(Stdio::null())
        .output()
        .expect("runs");
    assert!(!output.status.success());
    let log = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(log.contains("standard input is not sealed memory"), "{log}");
}

#[test]
fn whoever_starts_it_as_its_own_stage_gets_nothing() {
    // Without the socket, and with something else in its place.
    for place in ["3<&-", "3</etc/passwd", "3</dev/null"] {
        let agent = env!("CARGO_BIN_EXE_vault-agent");
        let script = format!("exec -a vault-agent-stage {agent} {place}");
        let output = Command::new("bash").args(["-c", &script]).output().expect("runs");
        assert_eq!(output.status.code(), Some(255), "{place}");
        assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{place}: {output:?}");
    }
}

#[test]
fn what_the_help_promises_is_there() {
    let output = Command::new(env!("CARGO_BIN_EXE_vault-agent")).arg("--help").output();
    let help = String::from_utf8(output.expect("runs").stdout).expect("UTF-8");
    for word in ["VAULT_LISTEN", "FLY_API_SOCKET", "FLY_MACHINE_ID", SECRET_VARIABLE, "VAULT_LOG"] {
        assert!(help.contains(word), "{word}");
    }
    assert_eq!(vault_agent::limits::TERMINATION_GRACE, Duration::from_secs(5));
}

#[tokio::test]
async fn many_commands_leave_no_descriptor_and_no_process_behind() {
    let platform = Platform::start(Answer::Token);
    let program = Program::start(&platform, |command| {
        command.env("VAULT_LOG", "vault_agent=info");
    });
    let descriptors = || {
        let folder = std::fs::read_dir(format!("/proc/{}/fd", program.child.id()));
        folder.expect("readable").count()
    };
    let before = descriptors();
    let mut client = Client::connect(program.address).await;
    client.prove().await;
    for _ in 0..2000 {
        assert_eq!(client.run(exec(&["true"])).await.exit, code(0));
    }
    eventually("their descriptors are closed", || descriptors() <= before).await;
    let tasks = format!("task/{}/children", program.child.id());
    assert_eq!(String::from_utf8(program.proc(&tasks)).expect("UTF-8"), "", "no zombies");
    client.connection.close(0_u32.into(), b"");
    program.end().await;
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "a test that is skipped has to be seen")]
async fn when_memory_runs_out_commands_go_before_the_agent() {
    if !crate::roots::is_root() {
        return;
    }
    let platform = Platform::start(Answer::Token);
    let program = Program::start(&platform, |_| {});
    let own = String::from_utf8(program.proc("oom_score_adj")).expect("UTF-8");
    if own.trim() == "0" {
        eprintln!("SKIPPED: this machine's root may not spare a process when memory runs out");
        return;
    }
    assert_eq!(own.trim(), "-900");
    let mut client = Client::connect(program.address).await;
    client.prove().await;
    for user in [None, Some("nobody".to_owned())] {
        // It is changed a moment after the command has started.
        let script =
            "until [ $(cat /proc/self/oom_score_adj) = 0 ]; do :; done; cat /proc/$$/oom_score_adj";
        let ran = client.run(vault_protocol::message::Exec { user, ..shell(script) }).await;
        assert_eq!((ran.stdout.as_str(), ran.exit), ("0\n", code(0)));
    }
    drop(client);
    program.end().await;
}
