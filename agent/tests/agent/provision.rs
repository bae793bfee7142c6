//! A root filesystem from an archive to a booted workload, and what of it may go wrong. These tests need
//! root, because unpacking and booting do.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use vault_protocol::message::{
    DialFailedReason, Direction, Exec, ExecFailedReason, Message, ProvisionFailed,
    ProvisionFailedReason, Provisioned, Size, Terminal,
};

use crate::files::{self, download, upload};
use crate::forwards::{try_dial, unix};
use crate::roots::{Tree, ask, is_root, offset, provision, request, verdict};
use crate::support::{Answer, Fixture, code, eventually, exec, shell, soon};

/// An agent with a volume.
struct Machine {
    fixture: Fixture,
    data: TempDir,
}

impl Machine {
    fn start() -> Self {
        let data = TempDir::new().expect("a folder");
        Self { fixture: start(data.path()), data }
    }

    /// The agent ends and starts again.
    async fn restart(self) -> Self {
        let Self { fixture, data } = self;
        fixture.agent.shutdown(Duration::from_secs(1)).await;
        Self { fixture: start(data.path()), data }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.data.path().join(name)
    }

    /// The root filesystems that lie on the volume.
    fn roots(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.path("rootfs")).expect("readable").flatten();
        let names = entries.map(|entry| entry.file_name().into_string().expect("UTF-8"));
        names.filter(|name| !name.starts_with("state")).collect()
    }
}

fn start(data: &Path) -> Fixture {
    Fixture::with(Answer::Token, |config| config.data_dir = data.to_owned())
}

fn reason(outcome: Result<Provisioned, ProvisionFailed>) -> (ProvisionFailedReason, String) {
    let failed = outcome.expect_err("refused");
    (failed.reason, failed.message)
}

#[tokio::test]
async fn commands_run_in_the_provisioned_root_and_see_nothing_else() {
    if !is_root() {
        return;
    }
    let (machine, tree) = (Machine::start(), Tree::new());
    tree.write("etc/motd", "a root of its own");
    let mut client = machine.fixture.operator().await;
    let provisioned = provision(&client, &tree.archive(), false).await.expect("provisioned");
    assert!(!provisioned.unchanged && provisioned.entries > 10, "{provisioned:?}");
    let ran = client.run(shell("cat /etc/motd; echo; readlink /proc/self/root; echo $$")).await;
    assert_eq!((ran.exit, ran.stderr.as_str()), (code(0), ""));
    let mut lines = ran.stdout.lines();
    assert_eq!(lines.next(), Some("a root of its own"));
    assert_eq!(lines.next(), Some("/"));
    let pid: u32 = lines.next().expect("a number").parse().expect("a number");
    assert!(pid < 100, "{pid} is a number of the machine's");
    // Neither the volume nor the platform's socket, nor the agent.
    let data = machine.data.path().display().to_string();
    let hidden = client.run(shell(&format!("ls -d /.fly {data} /proc/[0-9]*/exe"))).await;
    let processes = hidden.stdout.lines().count();
    assert!(processes <= 4, "init and this command: {}", hidden.stdout);
    assert_eq!(hidden.stderr.matches("No such file").count(), 2, "{}", hidden.stderr);
    let init = client.run(shell("cat /proc/1/cmdline; cat /proc/1/environ")).await;
    assert!(!init.stdout.contains(vault_protocol::SECRET_VARIABLE), "{}", init.stdout);
    let ran = client.run(shell("echo x > /dev/null && ls /dev/pts/ptmx && id -u")).await;
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("/dev/pts/ptmx\n0\n", ""));
}

#[tokio::test]
async fn users_and_terminals_are_those_of_the_root() {
    if !is_root() {
        return;
    }
    let (machine, tree) = (Machine::start(), Tree::new());
    let mut client = machine.fixture.operator().await;
    provision(&client, &tree.archive(), false).await.expect("provisioned");
    let mut as_dev = shell("id -u; cat /etc/passwd");
    as_dev.user = Some("dev".to_owned());
    let ran = client.run(as_dev).await;
    assert_eq!(ran.exit, code(0), "{}", ran.stderr);
    assert!(ran.stdout.starts_with("1000\nroot:x:0:0::/root"), "{}", ran.stdout);
    let size = Size { columns: 80, rows: 24 };
    let mut typed = exec(&["tty"]);
    typed.terminal = Some(Terminal { kind: b"xterm".to_vec().into(), size });
    let ran = client.run(typed).await;
    assert_eq!((ran.stdout.as_str(), ran.exit), ("/dev/pts/0\r\n", code(0)));
}

#[tokio::test]
async fn files_are_copied_into_the_root_and_out_of_it_and_from_nowhere_else() {
    if !is_root() {
        return;
    }
    let (machine, tree) = (Machine::start(), Tree::new());
    let mut client = machine.fixture.operator().await;
    provision(&client, &tree.archive(), false).await.expect("provisioned");
    let from = machine.path("from");
    let inside = Path::new("/etc/copied");
    fs::write(&from, "copied").expect("written");
    upload(&client, &from, files::request(Direction::Upload, inside, None)).await.expect("copied");
    assert_eq!(client.run(shell("cat /etc/copied")).await.stdout, "copied");
    let to = machine.path("to");
    download(&client, files::request(Direction::Download, inside, None), &to)
        .await
        .expect("copied");
    assert_eq!(fs::read_to_string(&to).expect("readable"), "copied");
    // The same file by its name in the machine: no command sees that, and neither does a copy.
    let hidden = files::request(Direction::Download, &from, None);
    download(&client, hidden, &machine.path("hidden")).await.expect_err("not there");
    assert!(!machine.path("hidden").exists());
}

#[tokio::test]
async fn sockets_are_those_of_the_root_and_not_the_machines() {
    if !is_root() {
        return;
    }
    let (machine, tree) = (Machine::start(), Tree::new());
    let client = machine.fixture.operator().await;
    provision(&client, &tree.archive(), false).await.expect("provisioned");
    let path = machine.path("persist/home/dev/socket");
    let listener = UnixListener::bind(&path).expect("a socket");
    let inside = unix(Path::new("/home/dev/socket"));
    let (dialed, accepted) = tokio::join!(try_dial(&client, inside), listener.accept());
    let (mut stream, _) = accepted.expect("accepted");
    stream.write_all(b"from the socket").await.expect("sent");
    drop(stream);
    assert_eq!(dialed.expect("dialed").read_to_end().await, b"from the socket");
    // Neither by its name in the machine, nor the platform's.
    for path in [path.as_path(), &machine.fixture.platform.socket] {
        let failed = try_dial(&client, unix(path)).await.err().expect("not there");
        assert_eq!(failed.reason, DialFailedReason::NameNotFound, "{}", failed.message);
    }
}

#[tokio::test]
async fn home_folders_outlive_their_root_and_a_restart() {
    if !is_root() {
        return;
    }
    let (machine, tree) = (Machine::start(), Tree::new());
    tree.write("home/dev/from-the-archive", "1");
    let mut client = machine.fixture.operator().await;
    provision(&client, &tree.archive(), false).await.expect("provisioned");
    let keep = "echo kept > /root/mine && echo kept > /home/dev/mine && echo lost > /etc/mine";
    assert_eq!(client.run(shell(keep)).await.exit, code(0));
    tree.write("home/dev/from-the-archive", "2");
    tree.write("etc/second", "2");
    provision(&client, &tree.archive(), true).await.expect("provisioned");
    let look = "cat /root/mine /home/dev/mine /home/dev/from-the-archive; ls /etc";
    let ran = client.run(shell(look)).await;
    assert!(ran.stdout.starts_with("kept\nkept\n1"), "{}", ran.stdout);
    assert!(ran.stdout.contains("second") && !ran.stdout.contains("mine"), "{}", ran.stdout);
    drop(client);
    let machine = machine.restart().await;
    let mut client = machine.fixture.operator().await;
    let again = client.run(shell(look)).await;
    assert_eq!(again.stdout, ran.stdout);
    eventually("the first root is gone", || machine.roots().len() == 1).await;
}

#[tokio::test]
async fn a_machine_that_runs_it_already_is_sent_nothing_and_another_is_not_replaced_unasked() {
    if !is_root() {
        return;
    }
    let (machine, tree) = (Machine::start(), Tree::new());
    let client = machine.fixture.operator().await;
    let archive = tree.archive();
    provision(&client, &archive, false).await.expect("provisioned");
    let (_, first) = ask(&client, request(&archive, false)).await;
    let unchanged = Provisioned { unchanged: true, entries: 0, unpacked: 0 };
    assert_eq!(first, Some(unchanged.into()));
    tree.write("etc/other", "");
    let (reason, _) = reason(provision(&client, &tree.archive(), false).await);
    assert_eq!(reason, ProvisionFailedReason::InUse);
    assert_eq!(machine.roots().len(), 1);
}

#[tokio::test]
async fn a_connection_that_breaks_off_is_gone_on_with_and_no_byte_is_sent_twice() {
    if !is_root() {
        return;
    }
    let (machine, tree) = (Machine::start(), Tree::new());
    let archive = tree.archive();
    let client = machine.fixture.operator().await;
    let (mut stream, first) = ask(&client, request(&archive, false)).await;
    assert_eq!(offset(first), 0);
    let half = archive.len() / 2;
    stream.sender.write_all(&archive[..half]).await.expect("sent");
    // The first one takes over, as it would if the client's address had changed unnoticed.
    let second = machine.fixture.operator().await;
    let unpacked = || {
        let id = machine.roots().pop_first().expect("a folder to unpack into");
        let tree = machine.path("rootfs").join(id).join("root");
        fs::read_dir(tree).expect("readable").count() > 0
    };
    eventually("a part of the first half is unpacked", unpacked).await;
    let (mut again, first) = ask(&second, request(&archive, false)).await;
    let from = usize::try_from(offset(first)).expect("small");
    assert!(from > 0 && from <= half, "{from} of {half}");
    let (told, _) = reason(verdict(&mut stream.messages).await);
    assert_eq!(told, ProvisionFailedReason::TakenOver);
    again.sender.write_all(&archive[from..]).await.expect("sent");
    again.sender.finish().expect("finished");
    verdict(&mut again.messages).await.expect("provisioned");
}

#[tokio::test]
async fn what_is_refused_leaves_the_old_root_as_it_was() {
    if !is_root() {
        return;
    }
    let (machine, tree) = (Machine::start(), Tree::new());
    let mut client = machine.fixture.operator().await;
    let archive = tree.archive();
    provision(&client, &archive, false).await.expect("provisioned");
    let before = machine.roots();
    // Another digest than announced.
    let mut wrong = request(&archive, true);
    wrong.sha256 = [1; 32].into();
    let (mut stream, first) = ask(&client, wrong).await;
    assert_eq!(offset(first), 0);
    stream.sender.write_all(&archive).await.expect("sent");
    stream.sender.finish().expect("finished");
    let (told, _) = reason(verdict(&mut stream.messages).await);
    assert_eq!(told, ProvisionFailedReason::Digest);
    // Cut short.
    let (told, message) = reason(provision(&client, &archive[..archive.len() - 9], true).await);
    assert_eq!(told, ProvisionFailedReason::Archive, "{message}");
    // No archive at all.
    let (told, message) = reason(provision(&client, &[7; 4096], true).await);
    assert_eq!(told, ProvisionFailedReason::Archive, "{message}");
    // An attack, in the words of the crate that refuses it.
    let (told, message) = reason(provision(&client, &outside(), true).await);
    assert_eq!(told, ProvisionFailedReason::Archive);
    assert!(message.contains("../outside"), "{message}");
    assert!(!machine.path("rootfs/outside").exists() && !machine.path("outside").exists());
    assert_eq!(client.run(shell("cat /etc/passwd")).await.exit, code(0));
    eventually("what was unpacked is removed", || machine.roots() == before).await;
}

/// An archive whose only entry leads out of the folder.
fn outside() -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_size(0);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header.as_ustar_mut().expect("ustar").name[..10].copy_from_slice(b"../outside");
    header.set_cksum();
    let mut archive = header.as_bytes().to_vec();
    archive.extend([0; 1024]);
    archive
}

#[tokio::test]
async fn a_root_that_does_not_boot_is_taken_back() {
    if !is_root() {
        return;
    }
    let (machine, tree) = (Machine::start(), Tree::new());
    let mut client = machine.fixture.operator().await;
    provision(&client, &tree.archive(), false).await.expect("provisioned");
    for script in ["exit 7", "kill -9 $$; exit 7"] {
        tree.init(script);
        let (told, message) = reason(provision(&client, &tree.archive(), true).await);
        assert_eq!(told, ProvisionFailedReason::Boot);
        assert!(message.contains("exit code 7"), "{message}");
        let ran = client.run(shell("ls /sbin/init")).await;
        assert_ne!(ran.exit, code(0), "the old root runs: {}", ran.stdout);
    }
    tree.write("sbin/init", "neither a script nor a program");
    let (told, message) = reason(provision(&client, &tree.archive(), true).await);
    assert_eq!(told, ProvisionFailedReason::Boot);
    assert!(message.contains("executing /sbin/init"), "{message}");
    eventually("what does not boot is removed", || machine.roots().len() == 1).await;
}

#[tokio::test]
async fn an_init_process_of_the_root_runs_as_number_one_and_is_asked_to_end() {
    if !is_root() {
        return;
    }
    let (machine, tree) = (Machine::start(), Tree::new());
    tree.init("trap 'echo ended > /root/ended; exit 0' TERM\necho $$ > /root/number\nwhile :; do sleep 0.1; done");
    let mut client = machine.fixture.operator().await;
    provision(&client, &tree.archive(), false).await.expect("provisioned");
    assert_eq!(client.run(shell("cat /root/number")).await.stdout, "1\n");
    drop(client);
    let machine = machine.restart().await;
    let ended = fs::read_to_string(machine.path("persist/root/ended")).expect("written");
    assert_eq!(ended, "ended\n");
}

#[tokio::test]
async fn what_loads_code_into_the_kernel_is_taken_from_a_workload() {
    if !is_root() {
        return;
    }
    let (machine, tree) = (Machine::start(), Tree::new());
    let mut client = machine.fixture.operator().await;
    provision(&client, &tree.archive(), false).await.expect("provisioned");
    // CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_BOOT, CAP_MAC_ADMIN (`capabilities(7)`).
    let forbidden: u64 = 1 << 16 | 1 << 17 | 1 << 22 | 1 << 33;
    for (file, user) in
        [("/proc/self/status", None), ("/proc/self/status", Some("dev")), ("/proc/1/status", None)]
    {
        let look = Exec { user: user.map(str::to_owned), ..exec(&["cat", file]) };
        let ran = client.run(look).await;
        let sets: Vec<u64> = ["CapPrm:", "CapBnd:"]
            .into_iter()
            .map(|set| {
                let line = ran.stdout.lines().find_map(|line| line.strip_prefix(set));
                u64::from_str_radix(line.expect("a set").trim(), 16).expect("hexadecimal")
            })
            .collect();
        assert!(sets.iter().all(|set| set & forbidden == 0), "{file} of {user:?}: {sets:x?}");
        assert_ne!(sets[1], 0, "the others are kept");
    }
}

/// Double forks in CI; the environment may ask for more.
fn double_forks() -> usize {
    match std::env::var("VAULT_DOUBLE_FORKS") {
        Ok(number) => number.parse().expect("a number"),
        Err(_) => 1_000,
    }
}

#[tokio::test]
async fn no_zombie_is_left_in_a_workload() {
    if !is_root() {
        return;
    }
    let (machine, tree) = (Machine::start(), Tree::new());
    let mut client = machine.fixture.operator().await;
    provision(&client, &tree.archive(), false).await.expect("provisioned");
    let forks = double_forks();
    let script = format!("i=0; while [ $i -lt {forks} ]; do (: &); i=$((i+1)); done");
    let mut forking = client.start(shell(&script)).await;
    forking.started().await;
    assert_eq!(forking.exit().await, code(0));
    let left = async {
        let mut turns = tokio::time::interval(Duration::from_millis(20));
        loop {
            turns.tick().await;
            let ran = client.run(shell("for f in /proc/[0-9]*/stat; do cat $f; done")).await;
            if ran.stdout.lines().count() == 2 {
                return ran.stdout;
            }
        }
    };
    let left = soon(left).await;
    assert!(!left.contains(") Z "), "init and a shell: {left}");
}

#[tokio::test]
async fn a_workload_that_ends_is_booted_again() {
    if !is_root() {
        return;
    }
    let (machine, tree) = (Machine::start(), Tree::new());
    let mut client = machine.fixture.operator().await;
    provision(&client, &tree.archive(), false).await.expect("provisioned");
    let mut waiting = client.start(shell("sleep 1000")).await;
    waiting.started().await;
    // Its own init process ends when it is asked to, and everything ends with it.
    assert!(client.run(shell("kill -TERM 1; sleep 1000")).await.exit.signal.is_some());
    assert!(waiting.exit().await.signal.is_some());
    let booted = async {
        let mut turns = tokio::time::interval(Duration::from_millis(50));
        loop {
            turns.tick().await;
            let mut command = client.start(shell("exit 5")).await;
            match command.messages.next().await {
                Some(Message::Started(_)) => return command.exit().await,
                Some(Message::ExecFailed(failed)) => {
                    assert_eq!(failed.reason, ExecFailedReason::NotBooted, "{}", failed.message);
                }
                other => panic!("{other:?}"),
            }
        }
    };
    assert_eq!(soon(booted).await, code(5));
}
