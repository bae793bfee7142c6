//! Commands, once a client has proved itself.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use vault_protocol::code::StreamCode;
use vault_protocol::message::{Attach, Channel, Exec, ExecFailedReason, Message, Signal, Started};

use crate::support::{
    Client, Fixture, Messages, code, eventually, exec, is_alive, killed_by, say, shell, soon,
    variable,
};

#[tokio::test]
async fn standard_output_and_error_are_apart() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    let ran = client.run(shell("echo out; echo err >&2; exit 7")).await;
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!(ran.exit, code(7));
    assert_eq!(fixture.agent.counts().commands, 1);
}

#[tokio::test]
async fn standard_input_ends() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    let sent: Vec<u8> = (0..3_000_000_u32)
        .map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let mut cat = client.start(Exec { stdin: true, ..exec(&["cat"]) }).await;
    cat.started().await;
    let mut stdin = client.stdin(cat.id).await;
    let bytes = Bytes::from(sent.clone());
    let send = async {
        stdin.write_chunk(bytes).await.expect("sent");
        stdin.finish().expect("open");
    };
    let ((), received) =
        soon(async { tokio::join!(send, client.read(cat.id, Channel::Stdout)) }).await;
    assert!(received == sent, "{} bytes of {}", received.len(), sent.len());
    assert_eq!(cat.exit().await, code(0));
}

#[tokio::test]
async fn standard_input_may_come_before_its_command() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    // The id of the stream that is opened next.
    let mut stdin = client.stdin(4).await;
    stdin.write_all(b"early").await.expect("sent");
    stdin.finish().expect("open");
    // Delivered before the command is asked for.
    soon(stdin.stopped()).await.expect("delivered");
    let mut cat = client.start(Exec { stdin: true, ..exec(&["cat"]) }).await;
    assert_eq!(cat.id, 4);
    cat.started().await;
    assert_eq!(client.read(cat.id, Channel::Stdout).await, b"early");
    assert_eq!(cat.exit().await, code(0));
}

#[tokio::test]
async fn a_command_without_input_reads_nothing() {
    let fixture = Fixture::start();
    let ran = fixture.operator().await.run(exec(&["cat"])).await;
    assert_eq!((ran.stdout.as_str(), ran.exit), ("", code(0)));
}

#[tokio::test]
async fn streams_without_a_command_are_stopped() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    let stray = client.stdin(400).await;
    let mut wrong = client.connection.open_uni().await.expect("a stream");
    say(&mut wrong, Attach { command: 4, channel: Channel::Stdout }).await;
    let stopped = soon(wrong.stopped()).await.expect("alive").expect("stopped");
    assert_eq!(stopped, StreamCode::Protocol.number().into());
    let stopped = soon(stray.stopped()).await.expect("alive").expect("stopped");
    assert_eq!(stopped, StreamCode::NoCommand.number().into());
}

#[tokio::test]
async fn a_command_that_closes_its_input_is_a_broken_pipe() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    let script = "exec <&-; echo closed; read line < /dev/null; sleep 1000";
    let mut command = client.start(Exec { stdin: true, ..shell(script) }).await;
    command.started().await;
    let (mut stdout, mut bytes) = client.output(command.id, Channel::Stdout).await;
    while bytes != b"closed\n" {
        bytes.extend(
            soon(stdout.read_chunk(64, true)).await.expect("readable").expect("more").bytes,
        );
    }
    let mut stdin = client.stdin(command.id).await;
    stdin.write_all(b"unwanted").await.expect("sent");
    let stopped = soon(stdin.stopped()).await.expect("alive").expect("stopped");
    assert_eq!(stopped, StreamCode::BrokenPipe.number().into());
    command.signal(9).await;
    assert_eq!(command.exit().await, killed_by(9));
}

#[tokio::test]
async fn exit_comes_after_both_outputs() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    // The process ends at once; what it left behind holds its outputs and goes on writing.
    let script = "(sleep 0.3; echo late; exec >&-; sleep 0.2; echo later >&2) & exit 4";
    let mut command = client.start(shell(script)).await;
    command.started().await;
    // The exit is read first, and by then both outputs have to be complete and delivered.
    assert_eq!(command.exit().await, code(4));
    let read = async {
        let stdout = client.read(command.id, Channel::Stdout).await;
        (stdout, client.read(command.id, Channel::Stderr).await)
    };
    let read = timeout(Duration::from_secs(1), read).await.expect("there already");
    assert_eq!(read, (b"late\n".to_vec(), b"later\n".to_vec()));
}

#[tokio::test]
async fn a_signal_reaches_the_group() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    let mut command = client.start(shell("sleep 1000 & echo $!; wait")).await;
    let leader = command.started().await;
    let (mut stdout, mut bytes) = client.output(command.id, Channel::Stdout).await;
    while !bytes.ends_with(b"\n") {
        bytes.extend(
            soon(stdout.read_chunk(64, true)).await.expect("readable").expect("more").bytes,
        );
    }
    let child: u32 = String::from_utf8(bytes).expect("UTF-8").trim().parse().expect("a number");
    assert!(is_alive(leader) && is_alive(child));
    command.signal(15).await;
    assert_eq!(command.exit().await, killed_by(15));
    eventually("the child has ended too", || !is_alive(child)).await;
}

/// Signals 32 and 33 are glibc's own; it ignores them in every child that it makes.
const OF_GLIBC: u64 = 0b11 << 31;

#[tokio::test]
async fn signals_have_their_default_meaning_and_real_time_ones_arrive() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    let ran = client.run(shell("grep -E '^Sig(Ign|Blk)' /proc/self/status")).await;
    assert_eq!(ran.stdout.lines().count(), 2, "{}", ran.stdout);
    for line in ran.stdout.lines() {
        let (name, mask) = line.split_once(":\t").expect("a mask");
        let mask = u64::from_str_radix(mask, 16).expect("a mask");
        assert_eq!(mask & !OF_GLIBC, 0, "{name}: {mask:x}");
    }
    for number in [6, 10, 34, 64] {
        let mut command = client.start(exec(&["sleep", "1000"])).await;
        command.started().await;
        command.signal(number).await;
        let exit = command.exit().await;
        assert_eq!((exit.code, exit.signal), (None, Some(number)));
    }
    let ran = client.run(shell("kill -TERM $$")).await;
    assert_eq!(ran.exit, killed_by(15));
}

#[tokio::test]
async fn a_signal_that_does_not_exist_ends_the_command() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    for number in [0, 65] {
        let mut command = client.start(exec(&["sleep", "1000"])).await;
        let process = command.started().await;
        command.signal(number).await;
        assert_eq!(command.messages.next().await, None);
        eventually("it is hung up", || !is_alive(process)).await;
    }
}

#[tokio::test]
async fn a_closed_output_is_a_broken_pipe() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    let mut yes = client.start(exec(&["yes"])).await;
    yes.started().await;
    let (mut stdout, _) = client.output(yes.id, Channel::Stdout).await;
    let chunk = soon(stdout.read_chunk(2, true)).await.expect("readable").expect("more");
    assert_eq!(chunk.bytes.len(), 2);
    stdout.stop(StreamCode::BrokenPipe.number().into()).expect("open");
    assert_eq!(yes.exit().await, killed_by(13));
    // A pipeline inside the command dies of it too.
    let ran = client.run(shell("yes | head -1")).await;
    assert_eq!((ran.stdout.as_str(), ran.exit), ("y\n", code(0)));
    // And a silent command, once it says something.
    let mut silent = client.start(Exec { stdin: true, ..shell("read line; echo x; echo y") }).await;
    silent.started().await;
    let (mut stdout, _) = client.output(silent.id, Channel::Stdout).await;
    stdout.stop(StreamCode::BrokenPipe.number().into()).expect("open");
    let mut stdin = client.stdin(silent.id).await;
    // The stop overtakes: it was sent before, and the connection's packets are taken in order.
    stdin.write_all(b"go\n").await.expect("sent");
    let exit = silent.exit().await;
    assert_ne!(exit.code, Some(0), "{exit:?}");
}

#[tokio::test]
async fn a_lost_client_ends_its_command() {
    let fixture = Fixture::start();
    // One listens to SIGHUP, one does not, and one hides in the background.
    let mut client = fixture.operator().await;
    let mut polite = client.start(exec(&["sleep", "1000"])).await;
    let polite = polite.started().await;
    let mut stubborn = client.start(shell("trap '' HUP; while :; do sleep 0.1; done")).await;
    let stubborn = stubborn.started().await;
    assert_eq!(fixture.agent.counts().running_commands, 2);
    client.connection.close(0_u32.into(), b"");
    eventually("SIGHUP ends it", || !is_alive(polite)).await;
    eventually("SIGKILL ends it", || !is_alive(stubborn)).await;
    eventually("nothing is left", || {
        let counts = fixture.agent.counts();
        counts.running_commands == 0 && counts.open_connections == 0
    })
    .await;
}

#[tokio::test]
async fn a_reset_control_stream_ends_its_command_alone() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    let mut command = client.start(exec(&["sleep", "1000"])).await;
    let process = command.started().await;
    command.sender.reset(0_u32.into()).expect("open");
    eventually("SIGHUP ends it", || !is_alive(process)).await;
    assert_eq!(client.run(exec(&["true"])).await.exit, code(0));
    // The end of the stream only means that no signals come.
    let mut command = client.start(shell("sleep 0.1; exit 5")).await;
    command.sender.finish().expect("open");
    command.started().await;
    assert_eq!(command.exit().await, code(5));
}

#[tokio::test]
async fn folder_and_environment_are_as_asked() {
    let fixture = Fixture::start();
    let folder = fixture.platform.folder().to_str().expect("UTF-8").to_owned();
    let mut client = fixture.operator().await;
    let mut request = shell("pwd; echo $COLOUR; echo $HOME; tty; ps -o sid= -p $$");
    request.directory = Some(folder.clone().into_bytes().into());
    request.environment = vec![variable("COLOUR", "green"), variable("HOME", "/nowhere")];
    let mut command = client.start(request).await;
    let process = command.started().await;
    let stdout = client.read(command.id, Channel::Stdout).await;
    let stdout = String::from_utf8(stdout).expect("UTF-8");
    let lines: Vec<&str> = stdout.lines().map(str::trim).collect();
    assert_eq!(lines[..4], [folder.as_str(), "green", "/nowhere", "not a tty"]);
    if let Some(session) = lines.get(4) {
        assert_eq!(*session, process.to_string());
    }
    // A home folder that is not there is no reason not to run.
    let mut request = exec(&["pwd"]);
    request.environment = vec![variable("HOME", "/nowhere")];
    assert_eq!(client.run(request).await.stdout, "/\n");
}

#[tokio::test]
async fn what_does_not_run_is_told_with_its_reason() {
    use std::os::unix::fs::PermissionsExt;

    let fixture = Fixture::start();
    let folder = fixture.platform.folder();
    let file = |name: &str, mode: u32| {
        let path = folder.join(name);
        std::fs::write(&path, "neither a script nor a program").expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("ours");
        path.to_str().expect("UTF-8").to_owned()
    };
    let (plain, broken) = (file("plain", 0o644), file("broken", 0o755));
    let in_folder = |folder: &str| Exec {
        directory: Some(folder.as_bytes().to_vec().into()),
        ..exec(&["true"])
    };
    let with_path = |program: &str| Exec {
        environment: vec![variable("PATH", &format!("/nowhere:{}", folder.display()))],
        ..exec(&[program])
    };
    let mut client = fixture.operator().await;
    for (request, reason) in [
        (exec(&["no-such-program-anywhere"]), ExecFailedReason::NotFound),
        (exec(&["/nowhere/program"]), ExecFailedReason::NotFound),
        (exec(&["/dev/null/program"]), ExecFailedReason::NotFound),
        (exec(&[&plain]), ExecFailedReason::NotExecutable),
        (exec(&[&broken]), ExecFailedReason::NotExecutable),
        (with_path("plain"), ExecFailedReason::NotExecutable),
        (with_path("absent"), ExecFailedReason::NotFound),
        (exec(&["/tmp"]), ExecFailedReason::NotExecutable),
        (in_folder("/nowhere"), ExecFailedReason::Directory),
        (in_folder("/dev/null"), ExecFailedReason::Directory),
        (exec(&["true", "a\0b"]), ExecFailedReason::Invalid),
        (exec(&["true", &"x".repeat(500_000)]), ExecFailedReason::Invalid),
    ] {
        let asked = format!("{:?} {:?}", request.arguments.first(), request.directory);
        let mut command = client.start(request).await;
        let Some(Message::ExecFailed(failed)) = command.messages.next().await else {
            panic!("{asked} runs");
        };
        assert_eq!(failed.reason, reason, "{asked}: {}", failed.message);
    }
    assert_eq!(fixture.agent.counts().running_commands, 0);
    assert_eq!(fixture.agent.counts().commands, 0);
}

#[tokio::test]
async fn a_stream_that_is_no_command_is_reset() {
    let fixture = Fixture::start();
    let client = fixture.operator().await;
    let (mut sender, receiver) = client.connection.open_bi().await.expect("a stream");
    say(&mut sender, Signal { number: 9 }).await;
    assert_eq!(Messages::new(receiver).next().await, None);
    let stopped = soon(sender.stopped()).await.expect("alive").expect("stopped");
    assert_eq!(stopped, StreamCode::Protocol.number().into());
}

#[tokio::test]
async fn many_commands_run_at_once() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    let mut commands = Vec::new();
    for number in 0..200 {
        commands.push((number, client.start(shell(&format!("echo {number}"))).await));
    }
    for (number, mut command) in commands {
        command.started().await;
        let stdout = client.read(command.id, Channel::Stdout).await;
        assert_eq!(stdout, format!("{number}\n").into_bytes());
        assert_eq!(client.read(command.id, Channel::Stderr).await, b"");
        assert_eq!(command.exit().await, code(0));
    }
}

/// Counts the bytes of an output without keeping them.
async fn drain(client: &mut Client, command: u64, channel: Channel) -> (quinn::RecvStream, u64) {
    let (stream, first) = client.output(command, channel).await;
    (stream, first.len() as u64)
}

async fn count((mut stream, mut total): (quinn::RecvStream, u64)) -> u64 {
    while let Some(chunk) = stream.read_chunk(1 << 20, false).await.expect("readable") {
        total += chunk.bytes.len() as u64;
    }
    total
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gibibyte_on_both_outputs_arrives_whole() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    let script = "head -c 536870912 /dev/zero >&2 & head -c 536870912 /dev/zero; wait";
    let mut command = client.start(shell(script)).await;
    let Some(Message::Started(Started { .. })) = command.messages.next().await else {
        panic!("not started");
    };
    let stdout = drain(&mut client, command.id, Channel::Stdout).await;
    let stderr = drain(&mut client, command.id, Channel::Stderr).await;
    let (stdout, stderr) = soon(async { tokio::join!(count(stdout), count(stderr)) }).await;
    assert_eq!((stdout, stderr), (512 << 20, 512 << 20));
    assert_eq!(command.exit().await, code(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_renewed_under_a_command() {
    let fixture = Fixture::start();
    let mut client = fixture.operator().await;
    let mut command = client.start(Exec { stdin: true, ..exec(&["cat"]) }).await;
    let mut input = client.stdin(command.id).await;
    command.started().await;
    let (mut output, mut came) = client.output(command.id, Channel::Stdout).await;
    let mut sent = Vec::new();
    for round in 0..10_u8 {
        // Each time after bytes have come back: keys are not renewed before the last renewal has shown.
        let piece = vec![round; 256 << 10];
        input.write_all(&piece).await.expect("sent");
        sent.extend(piece);
        while came.len() < sent.len() {
            let chunk = soon(output.read_chunk(64 << 10, true)).await.expect("readable");
            came.extend_from_slice(&chunk.expect("more").bytes);
        }
        client.connection.force_key_update();
    }
    input.finish().expect("open");
    assert_eq!(soon(output.read_to_end(1)).await.expect("readable"), b"");
    assert!(came == sent, "what came back is what was sent");
    assert_eq!(command.exit().await, code(0));
}
