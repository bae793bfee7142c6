//! What the test agent takes for processes: a program's name decides what happens.

use std::sync::Arc;

use quinn::{Connection, RecvStream, SendStream, VarInt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use vault_client::protocol::code::{CloseCode, StreamCode};
use vault_client::protocol::message::{
    Attach, Channel, Exec, ExecFailed, ExecFailedReason, Exit, Message, Started,
};

use crate::agent::{Talk, bytes};

/// Runs commands for as long as the connection lasts.
pub(crate) async fn run_commands(connection: &Connection) {
    // There is one command with standard input at a time in these tests.
    let (stdin, waiting) = mpsc::channel(1);
    let waiting = Arc::new(tokio::sync::Mutex::new(waiting));
    let mut commands = JoinSet::new();
    loop {
        tokio::select! {
            streams = connection.accept_bi() => {
                let Ok(streams) = streams else { return };
                let (connection, waiting) = (connection.clone(), waiting.clone());
                commands.spawn(async move {
                    let talk = Talk::new(streams);
                    Running { connection, talk }.run(&waiting).await;
                });
            }
            stream = connection.accept_uni() => {
                let Ok(stream) = stream else { return };
                stdin.send(stream).await.expect("someone waits");
            }
        }
    }
}

type Waiting = tokio::sync::Mutex<mpsc::Receiver<RecvStream>>;

struct Running {
    connection: Connection,
    talk: Talk,
}

impl Running {
    async fn run(mut self, stdin: &Waiting) {
        let Some(Message::Exec(exec)) = self.talk.hear().await else { return };
        let program = exec.arguments.first().map(|name| name.to_vec()).unwrap_or_default();
        match program.as_slice() {
            b"missing" => {
                let message = "no such \u{1b}program".to_owned();
                let failed = ExecFailed { reason: ExecFailedReason::NotFound, message };
                return self.talk.say(failed).await;
            }
            b"vanish" => return self.vanish(),
            _ => self.talk.say(Started { process_id: 42, kept: None }).await,
        }
        match program.as_slice() {
            b"say" => self.say().await,
            b"echo" => self.echo(&exec).await,
            b"cat" => self.cat(stdin).await,
            b"sleep" => self.sleep().await,
            b"yes" => self.yes().await,
            b"strays" => self.strays().await,
            b"half" => self.half().await,
            b"vanish-later" => self.vanish(),
            other => panic!("{other:?}"),
        }
    }

    async fn open(&self, channel: Channel, first: &[u8]) -> SendStream {
        self.open_as(self.id(), channel, first).await
    }

    /// Opens a stream, with its first bytes in the same packet as the frame before them.
    async fn open_as(&self, command: u64, channel: Channel, first: &[u8]) -> SendStream {
        let mut stream = self.connection.open_uni().await.expect("room for a stream");
        let start = [bytes(Attach { command, channel }), first.to_vec()].concat();
        drop(stream.write_all(&start).await);
        stream
    }

    fn id(&self) -> u64 {
        VarInt::from(self.talk.send.id()).into_inner()
    }

    async fn exit(&mut self, code: Option<u8>, signal: Option<u8>) {
        self.talk.say(Exit { code, signal, core_dumped: false, timed_out: None }).await;
        drop(self.talk.send.finish());
        // Whoever opened the stream has read to its end.
        drop(self.talk.send.stopped().await);
    }

    async fn outputs(&mut self, stdout: &[u8], stderr: &[u8]) {
        // The other way round, to show that the order does not matter.
        drop(self.open(Channel::Stderr, stderr).await.finish());
        drop(self.open(Channel::Stdout, stdout).await.finish());
    }

    async fn say(mut self) {
        self.outputs(b"out\n", b"err\n").await;
        self.exit(Some(7), None).await;
    }

    async fn echo(mut self, exec: &Exec) {
        let mut text = Vec::new();
        for argument in &exec.arguments[1..] {
            text.extend_from_slice(argument);
        }
        for variable in &exec.environment {
            text.extend_from_slice(&[variable.name.to_vec(), variable.value.to_vec()].concat());
        }
        text.extend(exec.directory.iter().flat_map(|directory| directory.to_vec()));
        self.outputs(&text, if exec.stdin { b"stdin" } else { b"" }).await;
        self.exit(Some(0), None).await;
    }

    async fn cat(mut self, stdin: &Waiting) {
        let mut stdout = self.open(Channel::Stdout, b"").await;
        drop(self.open(Channel::Stderr, b"").await.finish());
        let mut input = stdin.lock().await.recv().await.expect("standard input");
        let mut attach =
            vec![0; bytes(Attach { command: self.id(), channel: Channel::Stdin }).len()];
        input.read_exact(&mut attach).await.expect("an attach frame");
        assert_eq!(attach, bytes(Attach { command: self.id(), channel: Channel::Stdin }));
        while let Some(chunk) = input.read_chunk(1 << 20, true).await.expect("reads") {
            stdout.write_chunk(chunk.bytes).await.expect("writes");
        }
        drop(stdout.finish());
        self.exit(Some(0), None).await;
    }

    /// Until a signal ends it, or a hang-up.
    async fn sleep(mut self) {
        self.outputs(b"", b"").await;
        match self.talk.hear().await {
            Some(Message::Signal(signal)) => self.exit(None, Some(signal.number)).await,
            Some(other) => panic!("{}", other.name()),
            None => self.connection.close(VarInt::from_u32(99), b"hang-up"),
        }
    }

    async fn yes(mut self) {
        let mut stdout = self.open(Channel::Stdout, b"").await;
        drop(self.open(Channel::Stderr, b"").await.finish());
        let line = "y\n".repeat(4096);
        let broken = loop {
            if let Err(error) = stdout.write_all(line.as_bytes()).await {
                break error;
            }
        };
        let code = VarInt::from_u32(StreamCode::BrokenPipe.number());
        assert_eq!(broken, quinn::WriteError::Stopped(code));
        self.exit(None, Some(13)).await;
    }

    /// Streams for nobody, and streams that make no sense; standard output tells what became of
    /// them.
    async fn strays(mut self) {
        let mut nobodys = self.open_as(self.id() + 4, Channel::Stdout, b"x").await;
        let mut stdins = self.open(Channel::Stdin, b"x").await;
        let mut senseless = self.connection.open_uni().await.expect("room for a stream");
        senseless.write_all(&bytes(Started { process_id: 1, kept: None })).await.expect("writes");
        let mut too_long = self.connection.open_uni().await.expect("room for a stream");
        too_long.write_all(&[0x20, 0xff, 0xff, 0xff]).await.expect("writes");
        let mut codes = String::new();
        for stream in [&mut nobodys, &mut stdins, &mut senseless, &mut too_long] {
            let code = stream.stopped().await.expect("connected").expect("stopped");
            codes.push_str(&code.into_inner().to_string());
        }
        self.outputs(codes.as_bytes(), b"").await;
        self.exit(Some(0), None).await;
    }

    /// Standard output breaks off, and the end of the process makes no sense.
    async fn half(mut self) {
        let mut stdout = self.open(Channel::Stdout, b"half").await;
        drop(self.open(Channel::Stderr, b"").await.finish());
        // What is not read yet is lost by a reset.
        let Some(Message::Signal(_)) = self.talk.hear().await else { return };
        drop(stdout.reset(VarInt::from_u32(StreamCode::Failed.number())));
        self.exit(None, None).await;
    }

    fn vanish(self) {
        let code = VarInt::from_u32(CloseCode::ShuttingDown.number());
        self.connection.close(code, b"");
    }
}
