//! Commands over a connection.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vault_client::exec::shell_code;
use vault_client::protocol::message::ExecFailedReason;
use vault_client::{Command, Connection, ControlError, ExecError, Output, OutputError};

use crate::agent::{TestAgent, honest, secret};
use crate::issuer::TestIssuer;
use crate::{connect, soon};

struct Fixture {
    connection: Connection,
    agent: TestAgent,
    _issuer: TestIssuer,
}

async fn start() -> Fixture {
    let issuer = TestIssuer::start().await;
    let agent = TestAgent::start(honest(&issuer.url()));
    let attested = connect(&agent.target(&issuer.url())).await.expect("is believed");
    let connection = soon(attested.prove(&secret().proof_key("7811d2b4c90e38"))).await;
    Fixture { connection: connection.expect("is accepted"), agent, _issuer: issuer }
}

async fn whole(mut output: Output) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = soon(output.read_chunk()).await.expect("reads") {
        bytes.extend_from_slice(&chunk);
    }
    assert_eq!(output.read_chunk().await.expect("the end again"), None);
    bytes
}

#[tokio::test]
async fn outputs_come_apart_and_the_exit_code_is_the_commands() {
    let fixture = start().await;
    for _ in 0..20 {
        let exec = soon(fixture.connection.exec(Command::new(["say"]))).await.expect("runs");
        assert_eq!(exec.process_id, 42);
        assert!(exec.stdin.is_none());
        assert_eq!(whole(exec.stdout).await, b"out\n");
        assert_eq!(whole(exec.stderr).await, b"err\n");
        let mut control = exec.control;
        let exit = soon(control.wait()).await.expect("an exit");
        assert_eq!((exit.code, exit.signal, shell_code(&exit)), (Some(7), None, 7));
        assert_eq!(soon(control.wait()).await.expect("the same"), exit);
        control.signal(15).await.expect("is not sent to what has ended");
    }
}

#[tokio::test]
async fn a_command_arrives_as_it_is() {
    let fixture = start().await;
    let mut command = Command::new(["echo".into(), b"\xff-".to_vec()]);
    command.environment.push((b"NAME=".to_vec(), b"value-".to_vec()));
    command.directory = Some(b"/data".to_vec());
    let shown = format!("{command:?}");
    assert!(!shown.contains("value") && !shown.contains("118"), "{shown}");
    let exec = soon(fixture.connection.exec(command)).await.expect("runs");
    assert_eq!(whole(exec.stdout).await, b"\xff-NAME=value-/data");
    assert_eq!(whole(exec.stderr).await, b"");
}

#[tokio::test]
async fn a_mebibyte_of_standard_input_comes_back() {
    let fixture = start().await;
    let exec =
        soon(fixture.connection.exec(Command::new(["cat"]).with_stdin())).await.expect("runs");
    let mut sent = vec![0; 1 << 20];
    for (place, byte) in sent.iter_mut().enumerate() {
        *byte = u8::try_from(place * 31 % 251).expect("less than 251");
    }
    let (mut stdin, mut stdout) = (exec.stdin.expect("asked for"), exec.stdout);
    let mut received = Vec::new();
    let (written, read) = soon(async {
        tokio::join!(
            async {
                stdin.write_all(&sent).await?;
                stdin.flush().await?;
                stdin.finish();
                std::io::Result::Ok(())
            },
            stdout.read_to_end(&mut received),
        )
    })
    .await;
    written.expect("is written");
    assert_eq!(read.expect("is read"), sent.len());
    assert!(received == sent, "came back as it went");
    let mut control = exec.control;
    assert_eq!(soon(control.wait()).await.expect("an exit").code, Some(0));
}

#[tokio::test]
async fn a_signal_ends_a_command() {
    let fixture = start().await;
    let exec = soon(fixture.connection.exec(Command::new(["sleep"]))).await.expect("runs");
    let mut control = exec.control;
    // A wait that is given up loses nothing.
    tokio::select! {
        biased;
        exit = control.wait() => panic!("it sleeps: {exit:?}"),
        () = std::future::ready(()) => {}
    }
    control.signal(15).await.expect("is sent");
    let exit = soon(control.wait()).await.expect("an exit");
    assert_eq!((exit.code, exit.signal, shell_code(&exit)), (None, Some(15), 143));
}

#[tokio::test]
async fn a_reader_that_leaves_is_a_broken_pipe() {
    let fixture = start().await;
    let exec = soon(fixture.connection.exec(Command::new(["yes"]))).await.expect("runs");
    let (mut stdout, mut control) = (exec.stdout, exec.control);
    let mut first = [0; 2];
    soon(stdout.read_exact(&mut first)).await.expect("reads");
    assert_eq!(&first, b"y\n");
    stdout.stop();
    assert_eq!(soon(control.wait()).await.expect("an exit").signal, Some(13));
    // Also if it left before the stream came.
    let exec = soon(fixture.connection.exec(Command::new(["yes"]))).await.expect("runs");
    drop((exec.stdout, exec.stderr));
    let mut control = exec.control;
    assert_eq!(soon(control.wait()).await.expect("an exit").signal, Some(13));
}

#[tokio::test]
async fn more_than_fits_into_any_window_arrives() {
    let fixture = start().await;
    let exec = soon(fixture.connection.exec(Command::new(["yes"]))).await.expect("runs");
    let mut stdout = exec.stdout;
    let mut piece = vec![0; 1 << 20];
    for _ in 0..160 {
        soon(stdout.read_exact(&mut piece)).await.expect("reads");
        assert!(piece.chunks_exact(2).all(|line| line == b"y\n"));
    }
}

#[tokio::test]
async fn a_reader_that_stands_still_holds_up_nobody_else() {
    let fixture = start().await;
    let flood = soon(fixture.connection.exec(Command::new(["yes"]))).await.expect("runs");
    let exec = soon(fixture.connection.exec(Command::new(["say"]))).await.expect("runs");
    assert_eq!(whole(exec.stdout).await, b"out\n");
    assert_eq!(flood.process_id, 42);
}

#[tokio::test]
async fn a_control_that_is_dropped_hangs_the_command_up() {
    let fixture = start().await;
    let exec = soon(fixture.connection.exec(Command::new(["sleep"]))).await.expect("runs");
    drop(exec.control);
    let reason = soon(fixture.connection.closed()).await;
    assert!(reason.to_string().contains("hang-up"), "{reason}");
}

#[tokio::test]
async fn streams_of_nobody_are_stopped() {
    let fixture = start().await;
    let exec = soon(fixture.connection.exec(Command::new(["strays"]))).await.expect("runs");
    // No command, no command, protocol, protocol.
    assert_eq!(whole(exec.stdout).await, b"2233");
}

#[tokio::test]
async fn a_command_that_does_not_run_says_why() {
    let fixture = start().await;
    let error =
        soon(fixture.connection.exec(Command::new(["missing"]))).await.expect_err("is missing");
    let ExecError::NotRun { reason, message } = &error else { panic!("{error:?}") };
    assert_eq!(
        (*reason, message.as_str()),
        (ExecFailedReason::NotFound, "no such \u{fffd}program")
    );
    assert!(!error.may_have_run() && !error.is_retryable());
    let long = Command::new(["echo".to_owned(), "x".repeat(1 << 20)]);
    let error = soon(fixture.connection.exec(long)).await.expect_err("is too long");
    assert!(matches!(error, ExecError::TooLong(_)) && !error.may_have_run(), "{error:?}");
    soon(fixture.connection.exec(Command::new(["say"]))).await.expect("the connection goes on");
}

#[tokio::test]
async fn a_connection_that_is_lost_leaves_it_unknown_whether_the_command_ran() {
    let fixture = start().await;
    let error = soon(fixture.connection.exec(Command::new(["vanish"]))).await.expect_err("is lost");
    assert!(matches!(error, ExecError::Unknown(_)) && error.may_have_run(), "{error:?}");
    assert!(!error.is_retryable());
    // From then on it is known that nothing is sent.
    let error = soon(fixture.connection.exec(Command::new(["say"]))).await.expect_err("is lost");
    assert!(matches!(error, ExecError::NotSent(_)) && error.is_retryable(), "{error:?}");
    assert!(fixture.connection.is_closed());
}

#[tokio::test]
async fn a_connection_that_is_lost_is_no_exit_and_no_end_of_output() {
    let fixture = start().await;
    let exec = soon(fixture.connection.exec(Command::new(["vanish-later"]))).await;
    // The close may overtake the word that it has started.
    match exec {
        Err(error) => assert!(error.may_have_run(), "{error:?}"),
        Ok(mut exec) => {
            let error = soon(exec.control.wait()).await.expect_err("nobody said so");
            assert!(matches!(error, ControlError::ExitUnknown(_)), "{error:?}");
            for output in [&mut exec.stdout, &mut exec.stderr] {
                for _ in 0..2 {
                    let error = soon(output.read_chunk()).await.expect_err("is no end");
                    assert!(matches!(error, OutputError::NeverCame(Some(_))), "{error:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn an_output_that_breaks_off_is_no_end_and_an_exit_without_a_reason_is_none() {
    let fixture = start().await;
    let mut exec = soon(fixture.connection.exec(Command::new(["half"]))).await.expect("runs");
    let chunk = soon(exec.stdout.read_chunk()).await.expect("reads").expect("is there");
    assert_eq!(&chunk[..], b"half");
    exec.control.signal(1).await.expect("is sent");
    let error = soon(exec.stdout.read_chunk()).await.expect_err("is broken off");
    assert!(matches!(error, OutputError::Read(_)), "{error:?}");
    let error = soon(exec.control.wait()).await.expect_err("makes no sense");
    assert!(matches!(error, ControlError::ExitUnknown(_)), "{error:?}");
}

#[tokio::test]
async fn a_connection_lives_as_long_as_someone_has_a_part_of_it() {
    let Fixture { connection, agent, _issuer } = start().await;
    let other = connection.clone();
    drop(connection);
    let exec = soon(other.exec(Command::new(["cat"]).with_stdin())).await.expect("runs");
    drop(other);
    let (mut stdin, stdout) = (exec.stdin.expect("asked for"), exec.stdout);
    stdin.write_all(b"still here").await.expect("is written");
    stdin.shutdown().await.expect("ends");
    let mut control = exec.control;
    assert_eq!(whole(stdout).await, b"still here");
    assert_eq!(soon(control.wait()).await.expect("an exit").code, Some(0));
    assert_eq!(agent.seen(), ["Hello", "Proof"]);
}

#[tokio::test]
async fn a_closed_connection_is_closed_for_all() {
    let fixture = start().await;
    let other = fixture.connection.clone();
    fixture.connection.close();
    assert!(other.is_closed());
    soon(other.closed()).await;
    let error = soon(other.exec(Command::new(["say"]))).await.expect_err("is closed");
    assert!(matches!(error, ExecError::NotSent(_)), "{error:?}");
}

#[tokio::test]
async fn leaving_takes_no_longer_than_a_word() {
    let fixture = start().await;
    let began = tokio::time::Instant::now();
    soon(fixture.connection.leave()).await;
    assert!(fixture.connection.is_closed());
    // The least that QUIC stays to repeat it is 75 ms (RFC 9000 §10.2: three times the PTO).
    assert!(began.elapsed() < std::time::Duration::from_millis(60), "{:?}", began.elapsed());
    soon(fixture.connection.leave()).await;
}
