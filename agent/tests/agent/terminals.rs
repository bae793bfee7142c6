//! Commands that have a terminal, another user, or only so much time. (Of the reference, W10: there a
//! command always has a terminal, and neither user nor time.)

use std::time::Duration;

use vault_protocol::message::{
    Channel, Exec, ExecFailed, ExecFailedReason, Exit, Message, Resize, Size, Terminal,
};

use crate::program::Program;
use crate::support::{
    Answer, Client, Fixture, Platform, code, eventually, exec, is_alive, killed_by, say, shell,
    soon, variable,
};

const SIZE: Size = Size { columns: 90, rows: 33 };

fn on_terminal(exec: Exec) -> Exec {
    let terminal = Terminal { kind: b"xterm-256color".to_vec().into(), size: SIZE };
    Exec { terminal: Some(terminal), stdin: true, ..exec }
}

/// Reads standard output until it holds this.
async fn shown(client: &mut Client, command: u64, until: &str) -> String {
    let (mut stream, first) = client.output(command, Channel::Stdout).await;
    let mut text = String::from_utf8_lossy(&first).into_owned();
    while !text.contains(until) {
        let chunk = soon(stream.read_chunk(1 << 16, true)).await.expect("readable");
        let Some(chunk) = chunk else { panic!("it ended: {text:?}") };
        text.push_str(&String::from_utf8_lossy(&chunk.bytes));
    }
    client.put_back(command, Channel::Stdout, stream);
    text
}

#[tokio::test]
async fn a_command_on_a_terminal_sees_one_of_that_kind_and_size() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    let script =
        "test -t 0 -a -t 1 -a -t 2 && tty && stty size && echo $TERM && echo seen >&2; exit 7";
    let ran = client.run(Exec { stdin: false, ..on_terminal(shell(script)) }).await;
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines[0].starts_with("/dev/pts/"), "{ran:?}");
    assert_eq!(lines[1..], ["33 90", "xterm-256color", "seen"]);
    assert_eq!((ran.stderr.as_str(), ran.exit), ("", code(7)));
    assert!(ran.stdout.contains("\r\n"), "a terminal ends lines for people");
}

#[tokio::test]
async fn what_is_typed_is_edited_and_interrupts_and_the_size_follows() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    let script = "trap 'echo resized to $(stty size)' WINCH; trap 'echo interrupted' INT; \
                  echo ready; while :; do read line && echo \"read $line\"; done";
    let mut command = client.start(on_terminal(exec(&["bash", "-c", script]))).await;
    command.started().await;
    let mut typed = client.stdin(command.id).await;
    shown(&mut client, command.id, "ready").await;
    typed.write_all(b"helpx\x7f\n").await.expect("typed");
    shown(&mut client, command.id, "read help\r\n").await;
    // A shell runs what a signal asks for when it has read its line.
    typed.write_all(b"\x03\n").await.expect("typed");
    shown(&mut client, command.id, "interrupted").await;
    say(&mut command.sender, Resize { size: Size { columns: 40, rows: 10 } }).await;
    typed.write_all(b"\n").await.expect("typed");
    shown(&mut client, command.id, "resized to 10 40").await;
    command.signal(9).await;
    let rest = client.read(command.id, Channel::Stdout).await;
    assert!(rest.len() < 1 << 16);
    assert_eq!(command.exit().await, killed_by(9));
}

#[tokio::test]
async fn the_end_of_the_input_is_typed_and_ends_a_shell() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    let mut command = client.start(on_terminal(exec(&["cat"]))).await;
    command.started().await;
    let mut typed = client.stdin(command.id).await;
    typed.write_all(b"line\n").await.expect("typed");
    typed.finish().expect("finished");
    let output = client.read(command.id, Channel::Stdout).await;
    // Once as it is typed, once as it is written.
    assert_eq!(String::from_utf8_lossy(&output), "line\r\nline\r\n");
    assert_eq!(command.exit().await, code(0));
}

#[tokio::test]
async fn a_client_that_goes_hangs_the_terminal_up() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    // In the foreground, in a process group of its own, as of a shell with job control.
    let script = "set -m; sh -c 'echo $$; exec sleep 1000'; exit 0";
    let mut command = client.start(on_terminal(exec(&["bash", "-c", script]))).await;
    let leader = command.started().await;
    let child = shown(&mut client, command.id, "\n").await;
    let child: u32 = child.trim().parse().expect("a process id");
    assert!(is_alive(leader) && is_alive(child));
    drop((command, client));
    eventually("both have ended", || !is_alive(leader) && !is_alive(child)).await;
}

#[tokio::test]
async fn nothing_is_lost_that_was_written_before_the_end() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    for _ in 0..20 {
        let ran =
            client.run(Exec { stdin: false, ..on_terminal(shell("seq 20000; exit 3")) }).await;
        assert_eq!(ran.stdout.lines().last(), Some("20000"));
        assert_eq!((ran.stdout.lines().count(), ran.exit), (20_000, code(3)));
    }
}

#[tokio::test]
async fn without_a_program_the_users_login_shell_runs() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    // What the user of these tests has in their start-up files is none of ours.
    let home = tempfile::tempdir().expect("a folder");
    let environment = vec![variable("HOME", home.path().to_str().expect("UTF-8"))];
    let mut command = client.start(Exec { stdin: true, environment, ..exec(&[]) }).await;
    command.started().await;
    let mut typed = client.stdin(command.id).await;
    typed.write_all(b"echo $0 $HOME $USER; exit 5\n").await.expect("typed");
    let output = client.read(command.id, Channel::Stdout).await;
    let output = String::from_utf8_lossy(&output).into_owned();
    let words: Vec<&str> = output.lines().last().unwrap_or_default().split(' ').collect();
    assert!(words[0].starts_with('-'), "a login shell: {output}");
    assert_eq!((words.len(), command.exit().await), (3, code(5)), "{output}");
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn may_become_another_user() -> bool {
    let may = rustix::process::geteuid().is_root();
    if !may {
        eprintln!("SKIPPED: only root can run commands as another user");
    }
    may
}

fn as_nobody(exec: Exec) -> Exec {
    Exec { user: Some("nobody".to_owned()), ..exec }
}

#[tokio::test]
async fn a_command_runs_as_the_user_that_it_is_for_with_their_rights_alone() {
    if !may_become_another_user() {
        return;
    }
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    let script = "id -un; id -ru; echo $USER $LOGNAME; cat /proc/self/status | grep -c 'CapEff:.*0000000000000000'";
    let ran = client.run(as_nobody(shell(script))).await;
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines, ["nobody", "65534", "nobody nobody", "1"], "{ran:?}");
    // Saved rights would let it become root again; a folder is entered with its own rights.
    let ran = client.run(as_nobody(exec(&["grep", "^Uid:", "/proc/self/status"]))).await;
    assert_eq!(
        ran.stdout.split_whitespace().collect::<Vec<_>>(),
        ["Uid:", "65534", "65534", "65534", "65534"]
    );
    let secret = tempfile::tempdir().expect("a folder");
    let only_root = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(secret.path(), only_root).expect("set");
    let folder = secret.path().to_str().expect("UTF-8");
    let directory = Some(folder.as_bytes().to_vec().into());
    let refused = started(&mut client, Exec { directory, ..as_nobody(exec(&["true"])) }).await;
    assert_eq!(refused, Err(ExecFailedReason::Directory));
    // On a terminal it can open its own end.
    let ran =
        client.run(Exec { stdin: false, ..on_terminal(as_nobody(shell("tty >/dev/tty"))) }).await;
    assert!(ran.stdout.starts_with("/dev/pts/"), "{ran:?}");
    // The next one is the agent's own user's.
    let ran = client.run(exec(&["id", "-u"])).await;
    assert_eq!(ran.stdout, "0\n");
    let ran = client.run(Exec { user: Some("4242".to_owned()), ..exec(&["id", "-u"]) }).await;
    assert_eq!(ran.stdout, "4242\n");
}

#[tokio::test]
async fn a_command_of_another_user_finds_the_same_world_as_the_agents_own() {
    if !may_become_another_user() {
        return;
    }
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    // Signals blocked, ignored and caught; how many are queued is counted for each user.
    let world =
        "echo /proc/self/fd/*; grep '^Sig[BIC]' /proc/self/status; ps -o sid= -p $$ | grep -c $$";
    let [own, theirs] = [exec(&["bash", "-c", world]), as_nobody(exec(&["bash", "-c", world]))];
    let (own, theirs) = (client.run(own).await, client.run(theirs).await);
    assert!(own.stdout.ends_with("\n1\n"), "{own:?}");
    assert_eq!((own.stdout, own.exit), (theirs.stdout, theirs.exit));
    // A variable for the dynamic linker is not for a program that is still root: it would list the
    // agent's libraries, and could as well load the user's.
    let traced = vec![variable("LD_TRACE_LOADED_OBJECTS", "1")];
    let own = client.run(Exec { environment: traced.clone(), ..exec(&["true"]) }).await;
    let theirs = Exec { environment: traced, ..as_nobody(exec(&["true"])) };
    let libraries = |list: &str| list.lines().count();
    assert_eq!(libraries(&client.run(theirs).await.stdout), libraries(&own.stdout));
}

#[tokio::test]
async fn who_gets_a_command_cannot_end_the_agent_that_starts_it() {
    if !may_become_another_user() {
        return;
    }
    let platform = Platform::start(Answer::Token);
    let program = Program::start(&platform, |_| {});
    let mut client = Client::connect(program.address).await;
    client.prove().await;
    // A thread with a user's rights may be stopped or killed by that user, and all its process with it.
    let attackers = ["KILL", "STOP"].map(|signal| {
        let attack = format!("for thread in *; do kill -{signal} $thread; done");
        let place = format!("exec 2>/dev/null; cd /proc/{}/task", program.id());
        as_nobody(shell(&format!("{place}; echo ready; while :; do {attack}; done")))
    });
    let mut running = Vec::new();
    for attacker in attackers {
        let attacker = client.start(attacker).await;
        shown(&mut client, attacker.id, "ready").await;
        running.push(attacker);
    }
    for _ in 0..50 {
        let ran = client.run(as_nobody(exec(&["true"]))).await;
        // It may itself have been killed on its way, which is theirs to do.
        assert!(ran.exit == code(0) || ran.exit == killed_by(9), "{ran:?}");
    }
    assert_eq!(client.run(exec(&["true"])).await.exit, code(0));
    for mut attacker in running {
        assert!(matches!(attacker.messages.next().await, Some(Message::Started(_))));
        attacker.signal(9).await;
        assert_eq!(attacker.exit().await, killed_by(9));
    }
    program.end().await;
}

/// Whether a command starts, or why it does not.
async fn started(client: &mut Client, exec: Exec) -> Result<(), ExecFailedReason> {
    let mut command = client.start(exec).await;
    match command.messages.next().await {
        Some(Message::Started(_)) => Ok(()),
        Some(Message::ExecFailed(ExecFailed { reason, .. })) => Err(reason),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nothing_runs_as_somebody_whom_the_machine_does_not_know() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    for unknown in ["no-such-user", "", "-1", "root:x:0:0"] {
        let exec = Exec { user: Some(unknown.to_owned()), ..exec(&["true"]) };
        assert_eq!(started(&mut client, exec).await, Err(ExecFailedReason::User), "{unknown}");
    }
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_ended_with_all_it_started() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    let milliseconds = |span: Duration| u64::try_from(span.as_millis()).ok();
    let timeout_ms = milliseconds(Duration::from_millis(300));
    let timed_out = Exit { timed_out: Some(true), ..killed_by(15) };
    let script = "sleep 1000 & echo $!; wait";
    let ran = client.run(Exec { timeout_ms, ..shell(script) }).await;
    assert_eq!(ran.exit, timed_out);
    let child: u32 = ran.stdout.trim().parse().expect("a process id");
    eventually("its child has ended", || !is_alive(child)).await;
    // Whoever is done in time is not told of it.
    let timeout_ms = milliseconds(Duration::from_secs(3600));
    assert_eq!(client.run(Exec { timeout_ms, ..shell("exit 4") }).await.exit, code(4));
    // A span that no clock can hold is none.
    let forever = Exec { timeout_ms: Some(u64::MAX), ..shell("exit 4") };
    assert_eq!(client.run(forever).await.exit, code(4));
}
