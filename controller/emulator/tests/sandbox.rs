//! Machines as real processes, seen from both sides. Needs root and namespaces for most of it; what
//! this host does not allow is skipped with a line on standard error.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use vault_emulator::process::{Isolation, ProcessRunner, ProcessRunnerConfig};
use vault_emulator::runner::{Environment, Exit, Launch, MachineRunner, MountedVolume};

/// Far beyond what anything here takes; only a failure waits this long.
const DEADLINE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const TICK: Duration = Duration::from_millis(10);

const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// A runner with a data folder and a folder that machines may break.
struct Bed {
    // First, so that the machines end before their folders go.
    runner: ProcessRunner,
    data: TempDir,
    /// Under `/var/tmp`, which unlike `/tmp` machines see of their host.
    scratch: TempDir,
}

/// One run of one machine.
struct Run {
    machine_id: String,
    exits: Receiver<Exit>,
}

impl Bed {
    /// With the strongest isolation; `None`, said loudly, where that is not what is asked for.
    fn new(isolation: Isolation) -> Option<Self> {
        // A process that is to be killed gets a folder that its parent removes.
        let base = std::env::var_os("VAULT_TEST_FOLDER").unwrap_or_else(|| "/var/tmp".into());
        let folder = |prefix| {
            let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(&base);
            folder.expect("a folder")
        };
        let (data, scratch) = (folder("vault-data-"), folder("vault-scratch-"));
        let config = ProcessRunnerConfig {
            data_dir: data.path().join("emulator"),
            launcher: PathBuf::from(env!("CARGO_BIN_EXE_vault-emulator")),
            launcher_args: vec!["machine-init".to_owned()],
            masked: vec![data.path().join("controller"), data.path().join("not-there-yet")],
        };
        fs::create_dir(data.path().join("controller")).expect("made");
        fs::write(data.path().join("controller/master.key"), "secret").expect("written");
        match ProcessRunner::with_isolation(config, &[isolation]) {
            Ok(runner) => Some(Self { runner, data, scratch }),
            Err(error) => {
                assert_ne!(isolation, Isolation::PlainProcess, "always possible: {error}");
                skipped(&format!("this host does not allow {isolation:?}: {error}"));
                None
            }
        }
    }

    fn launch(&self, machine_id: &str, argv: &[&str]) -> Run {
        self.launch_with(machine_id, argv, |_| {})
    }

    fn shell(&self, machine_id: &str, script: &str) -> Run {
        self.launch(machine_id, &["/bin/sh", "-c", script])
    }

    fn launch_with(&self, id: &str, argv: &[&str], change: impl FnOnce(&mut Launch)) -> Run {
        let mut launch = Launch {
            machine_id: id.to_owned(),
            machine_name: format!("{id}-name"),
            app_name: "app".to_owned(),
            run: 1,
            argv: argv.iter().map(ToString::to_string).collect(),
            env: Environment::default(),
            shown: None,
            fly: None,
            volume: Some(MountedVolume { directory: self.volume(id), path: "/data".to_owned() }),
            private_ip: address_of(id).into(),
            hostname: format!("{id}-host"),
        };
        change(&mut launch);
        let (sender, exits) = sync_channel(2);
        let machine_id = launch.machine_id.clone();
        self.runner.launch(launch, Box::new(move |exit| sender.send(exit).expect("room")));
        Run { machine_id, exits }
    }

    /// The host's folder of the machine's volume.
    fn volume(&self, machine_id: &str) -> PathBuf {
        let directory = self.data.path().join("emulator/volumes").join(machine_id);
        fs::create_dir_all(&directory).expect("made");
        directory
    }

    fn console(&self, machine_id: &str) -> String {
        let path = self.data.path().join("emulator/machines").join(machine_id);
        fs::read_to_string(path.join("console.log")).unwrap_or_default()
    }

    fn wait_for_console(&self, machine_id: &str, text: &str) {
        eventually(&format!("{machine_id} says {text}"), || {
            self.console(machine_id).contains(text)
        });
    }

    /// Runs the script to its end, which must be good, and answers what it printed.
    fn output(&self, machine_id: &str, script: &str) -> String {
        let exit = self.shell(machine_id, script).exit();
        let console = self.console(machine_id);
        assert_eq!(exit.code, Some(0), "{script}: {console}");
        console.split_once(")\n").expect("a header").1.to_owned()
    }
}

impl Run {
    /// How it ended, and that it is told once only.
    fn exit(self) -> Exit {
        let exit = self.exits.recv_timeout(DEADLINE);
        let exit = exit.unwrap_or_else(|error| panic!("{} did not end: {error}", self.machine_id));
        assert!(self.exits.recv_timeout(DEADLINE).is_err(), "the notice is gone once given");
        exit
    }
}

/// Says it past the test harness, which keeps back what passing tests print.
fn skipped(why: &str) {
    let line = format!("SKIPPED: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("said");
}

fn code(code: i32) -> Exit {
    Exit { code: Some(code), signal: None }
}

fn signal(signal: i32) -> Exit {
    Exit { code: None, signal: Some(signal) }
}

/// An address of its own for each machine of each test process.
fn address_of(machine_id: &str) -> Ipv6Addr {
    let mut segments = [0xfdaa, 0xffff, 0, 0, 0, 0, 0, 2];
    let own = std::process::id();
    segments[2] = u16::try_from(own >> 16).expect("16 bits");
    segments[3] = u16::try_from(own & 0xffff).expect("16 bits");
    for (index, byte) in machine_id.bytes().enumerate() {
        let segment = &mut segments[4 + index % 3];
        *segment = segment.wrapping_mul(31).wrapping_add(u16::from(byte));
    }
    Ipv6Addr::from(segments)
}

#[allow(clippy::disallowed_methods, reason = "the one place where these tests wait")]
fn eventually(what: &str, mut is_met: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is_met() {
        assert!(start.elapsed() < DEADLINE, "waited in vain until {what}");
        std::thread::sleep(TICK);
    }
}

/// The host's processes whose arguments, each followed by a blank, contain the text.
fn processes_with(text: &str) -> BTreeMap<i32, String> {
    let ids = fs::read_dir("/proc").expect("proc").flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let command_line = |id: i32| {
        let line = fs::read(format!("/proc/{id}/cmdline")).ok()?;
        Some((id, String::from_utf8_lossy(&line).replace('\0', " ")))
    };
    ids.filter_map(command_line).filter(|(_, line)| line.contains(text)).collect()
}

/// Kills the only process with these arguments, once there is one.
fn kill_by_hand(text: &str) {
    eventually(&format!("{text} runs"), || processes_with(text).len() == 1);
    let id = processes_with(text).into_keys().next().and_then(Pid::from_raw).expect("an id");
    kill_process(id, Signal::KILL).expect("killed");
}

macro_rules! bed {
    ($isolation:ident) => {
        match Bed::new(Isolation::$isolation) {
            Some(bed) => bed,
            None => return,
        }
    };
}

fn ends_are_told_as_they_were(bed: &Bed) {
    assert_eq!(bed.shell("zero", "exit 0").exit(), code(0));
    assert_eq!(bed.shell("code", "exit 42").exit(), code(42));
    assert_eq!(bed.shell("signal", "kill -SEGV $$").exit(), signal(11));
    assert_eq!(bed.launch("missing", &["/no/such/program"]).exit(), code(127));
    let console = bed.console("missing");
    assert!(console.contains("cannot run /no/such/program"), "{console}");
}

fn a_stop_is_a_signal_then_a_kill(bed: &Bed) {
    let willing = bed.shell("willing", "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done");
    bed.wait_for_console("willing", "up");
    bed.runner.stop("willing", 2, SIGTERM, Duration::ZERO);
    bed.runner.stop("willing", 1, SIGTERM, DEADLINE);
    assert_eq!(willing.exit(), code(7));

    let deaf = bed.shell("deaf", "trap '' TERM; echo up; while :; do sleep 0.05; done");
    bed.wait_for_console("deaf", "up");
    bed.runner.stop("deaf", 1, SIGTERM, DEADLINE);
    bed.runner.stop("deaf", 1, SIGTERM, Duration::from_millis(50));
    bed.runner.stop("deaf", 1, SIGTERM, DEADLINE);
    assert_eq!(deaf.exit(), signal(SIGKILL));

    let killed = bed.launch("killed", &["sleep", "1000"]);
    bed.runner.kill("killed", 1);
    assert_eq!(killed.exit(), signal(SIGKILL));
}

fn a_pause_stops_at_once(bed: &Bed) {
    for (id, number, expected) in
        [("term", SIGTERM, code(0)), ("int", SIGINT, code(0)), ("kill", SIGKILL, signal(SIGKILL))]
    {
        let pause = bed.launch(id, &[]);
        bed.runner.stop(id, 1, number, DEADLINE);
        assert_eq!(pause.exit(), expected, "{id}");
    }
}

/// What escaped its process group and lost its parent still ends with the machine.
fn nothing_outlives_its_machine(bed: &Bed, marker: &str) {
    let script = format!(
        "(setsid sh -c 'trap \"\" TERM; echo orphan; while :; do sleep 0.05; done' {marker} &); \
         sleep 1000"
    );
    let run = bed.shell("parent", &script);
    bed.wait_for_console("parent", "orphan");
    assert!(!processes_with(marker).is_empty());
    bed.runner.stop("parent", 1, SIGTERM, DEADLINE);
    assert_eq!(run.exit(), signal(SIGTERM));
    assert_eq!(processes_with(marker), BTreeMap::new());
}

#[test]
fn namespaces_ends() {
    let bed = bed!(Namespaces);
    ends_are_told_as_they_were(&bed);
    a_stop_is_a_signal_then_a_kill(&bed);
    a_pause_stops_at_once(&bed);
    nothing_outlives_its_machine(&bed, "outlives-namespaces");
}

#[test]
fn user_namespaces_ends() {
    let bed = bed!(UserNamespaces);
    ends_are_told_as_they_were(&bed);
    a_stop_is_a_signal_then_a_kill(&bed);
    a_pause_stops_at_once(&bed);
    nothing_outlives_its_machine(&bed, "outlives-user-namespaces");
}

#[test]
fn plain_process_ends() {
    let bed = bed!(PlainProcess);
    ends_are_told_as_they_were(&bed);
    a_stop_is_a_signal_then_a_kill(&bed);
    a_pause_stops_at_once(&bed);
    nothing_outlives_its_machine(&bed, "outlives-plain");
    // In its own folder, with its own home, and the sentence does not hide what is missing.
    let output = bed.output("where", "pwd; echo $HOME");
    let home = bed.data.path().join("emulator/machines/where/home").display().to_string();
    assert_eq!(output.lines().collect::<Vec<_>>(), [&home, &home]);
    assert!(bed.runner.isolation().to_string().contains("NOTHING IS ISOLATED"));
}

/// A machine is asked to stop by signals; what we block for ourselves must not be blocked there.
#[test]
fn a_workload_begins_with_no_signal_blocked_or_ignored() {
    no_signal_is_blocked_or_ignored(&bed!(Namespaces));
    no_signal_is_blocked_or_ignored(&bed!(UserNamespaces));
    no_signal_is_blocked_or_ignored(&bed!(PlainProcess));
}

fn no_signal_is_blocked_or_ignored(bed: &Bed) {
    let run = bed.launch("signals", &["grep", "-E", "SigBlk|SigIgn", "/proc/self/status"]);
    assert_eq!(run.exit(), code(0));
    let console = bed.console("signals");
    let masks = console.lines().skip(1).map(|line| {
        let mask = line.split_whitespace().nth(1).expect("a mask");
        // The C library keeps 32 and 33 to itself.
        u64::from_str_radix(mask, 16).expect("hexadecimal") & !0x1_8000_0000
    });
    assert_eq!(masks.collect::<Vec<_>>(), [0, 0], "{console}");

    // A shell that starts nothing else leaves all signals as it found them.
    let run = bed.shell("obeys", "echo up; exec sleep 1000");
    bed.wait_for_console("obeys", "up");
    bed.runner.stop("obeys", 1, SIGINT, DEADLINE);
    assert_eq!(run.exit(), signal(SIGINT));
}

#[test]
fn a_machine_has_its_environment_and_name() {
    let bed = bed!(Namespaces);
    let script = "env; hostname; cat /etc/hostname; grep fly-local-6pn /etc/hosts; pwd; \
                  cat /proc/1/environ | wc -c";
    let run = bed.launch_with("named", &["sh", "-c", script], |launch| {
        launch.env.insert("TENANT".to_owned(), "acme = \"1\"".to_owned());
    });
    assert_eq!(run.exit(), code(0));
    let console = bed.console("named");
    let mut lines: Vec<_> = console.lines().skip(1).collect();
    // The shell adds these two itself.
    lines.retain(|line| !line.starts_with("PWD=") && !line.starts_with("SHLVL="));
    lines[..3].sort_unstable();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let address = format!("{} named-host fly-local-6pn", address_of("named"));
    lines.retain(|line| !line.starts_with("_=") && !line.starts_with("OLDPWD="));
    let expected = ["HOME=/root", path, "TENANT=acme = \"1\"", "named-host", "named-host"];
    assert_eq!(lines[..5], expected);
    assert_eq!(lines[5..], [address.as_str(), "/", "0"]);
}

#[test]
fn breaking_a_machine_leaves_host_and_sibling_intact() {
    let bed = bed!(Namespaces);
    host_and_sibling_stay_intact(&bed);
}

#[test]
fn breaking_a_machine_in_a_user_namespace_leaves_host_and_sibling_intact() {
    let bed = bed!(UserNamespaces);
    host_and_sibling_stay_intact(&bed);
}

fn host_and_sibling_stay_intact(bed: &Bed) {
    let scratch = bed.scratch.path().display();
    fs::create_dir(bed.scratch.path().join("deep")).expect("made");
    fs::write(bed.scratch.path().join("deep/file"), "precious").expect("written");
    let in_tmp = tempfile::tempdir_in("/tmp").expect("a folder");
    fs::write(in_tmp.path().join("file"), "precious").expect("written");

    let watch =
        format!("echo up; until [ -e /data/go ]; do sleep 0.05; done; cat {scratch}/deep/file");
    let sibling = bed.shell("sibling", &watch);
    bed.wait_for_console("sibling", "up");
    let in_tmp_path = in_tmp.path().display();
    // Without root, folders of other users (`/var/tmp` is one) cannot be changed even inside.
    let is_root = rustix::process::geteuid().is_root();
    let gone = if is_root { format!("! test -e {scratch}") } else { "true".to_owned() };
    let script = format!(
        "cat {scratch}/deep/file; rm -rf {in_tmp_path} {scratch} 2>/dev/null; {gone} && echo done"
    );
    let output = bed.output("breaker", &script);
    assert_eq!(output, "preciousdone\n");
    fs::write(bed.volume("sibling").join("go"), "").expect("written");
    assert_eq!(sibling.exit(), code(0));
    assert!(bed.console("sibling").ends_with("up\nprecious"));
    let read = |path: &Path| fs::read_to_string(path).expect("still there");
    assert_eq!(read(&bed.scratch.path().join("deep/file")), "precious");
    assert_eq!(read(&in_tmp.path().join("file")), "precious");
    // And the machine itself starts afresh.
    assert_eq!(bed.output("second", &format!("cat {scratch}/deep/file")), "precious");
}

#[test]
fn the_root_is_fresh_at_each_start_and_the_volume_stays() {
    let bed = bed!(Namespaces);
    let scratch = bed.scratch.path().display();
    let script = format!(
        "for folder in {scratch} /etc /tmp /run /data /usr/bin; do \
           test -e $folder/mark && echo $folder; echo x > $folder/mark || exit 1; \
         done"
    );
    assert_eq!(bed.output("twice", &script), "");
    let run = bed.launch_with("twice", &["sh", "-c", &script], |launch| launch.run = 2);
    assert_eq!(run.exit(), code(0));
    let console = bed.console("twice");
    let lines: Vec<_> = console.lines().collect();
    assert_eq!(lines.len(), 3, "{console}");
    assert!(lines[0].starts_with("--- run 1 ") && lines[1].starts_with("--- run 2 "));
    assert_eq!(lines[2], "/data");
    assert_eq!(fs::read_to_string(bed.volume("twice").join("mark")).expect("kept"), "x\n");
    assert!(!bed.scratch.path().join("mark").exists());
    assert!(!Path::new("/etc/mark").exists());

    bed.runner.forget("twice");
    assert!(!bed.data.path().join("emulator/machines/twice").exists());
    assert!(bed.volume("twice").join("mark").exists(), "a volume is never forgotten");
}

#[test]
fn masked_folders_are_empty_and_stay_so() {
    masked_folders_are_empty(&bed!(Namespaces));
    masked_folders_are_empty(&bed!(UserNamespaces));
}

fn masked_folders_are_empty(bed: &Bed) {
    let data = bed.data.path().display();
    let script = format!(
        "ls -A {data}/emulator {data}/controller {data}/not-there-yet; \
         echo up; until [ -e /data/go ]; do sleep 0.05; done; \
         ls -A {data}/not-there-yet; touch {data}/controller/x && echo written; exit 0"
    );
    let run = bed.shell("masked", &script);
    bed.wait_for_console("masked", "up");
    fs::create_dir(bed.data.path().join("not-there-yet")).expect("made");
    fs::write(bed.data.path().join("not-there-yet/key"), "secret").expect("written");
    fs::write(bed.volume("masked").join("go"), "").expect("written");
    assert_eq!(run.exit(), code(0));
    let console = bed.console("masked");
    assert!(!console.contains("key") && !console.contains("machines"), "{console}");
    assert!(!console.contains("written") && console.contains("Read-only"), "{console}");
}

#[test]
fn a_machine_sees_its_own_processes_and_devices_only() {
    let bed = bed!(Namespaces);
    let script = "echo /proc/[0-9]*; ls /dev; \
                  test -w /dev/null && echo x > /dev/null && head -c 4 /dev/urandom | wc -c; \
                  (echo 1 > /proc/sysrq-trigger) 2>/dev/null && echo sysrq; \
                  (mknod /tmp/disk b 8 0) 2>/dev/null && echo mknod; \
                  (echo 1 > /proc/sys/kernel/printk) 2>/dev/null && echo sysctl; \
                  ls /proc/self/fd | wc -l; ls /.host 2>/dev/null; exit 0";
    let output = bed.output("alone", script);
    let lines: Vec<_> = output.lines().collect();
    // PID 1, and the shell.
    assert_eq!(lines[0].split(' ').count(), 2, "{output}");
    let devices = [
        "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
        "urandom", "zero",
    ];
    assert_eq!(lines[1..14], devices);
    // Three streams, and the folder that `ls` reads.
    assert_eq!(lines[14..], ["4", "4"], "{output}");
}

#[test]
fn a_program_in_tmp_is_shown_alone() {
    let bed = bed!(Namespaces);
    let folder = tempfile::tempdir_in("/tmp").expect("a folder");
    let program = folder.path().join("program");
    fs::write(&program, "#!/bin/sh\nls $(dirname $0); echo x >> $0; exit 5\n").expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
    fs::write(folder.path().join("secret"), "").expect("written");
    let run = bed.launch("shown", &[program.to_str().expect("UTF-8")]);
    assert_eq!(run.exit(), code(5));
    let console = bed.console("shown");
    assert!(console.contains("\nprogram\n") && console.contains("Read-only"), "{console}");
}

#[test]
fn the_agents_program_is_shown_even_in_a_masked_folder() {
    the_program_is_shown(&bed!(Namespaces));
    the_program_is_shown(&bed!(UserNamespaces));
}

fn the_program_is_shown(bed: &Bed) {
    let in_tmp = tempfile::tempdir_in("/tmp").expect("a folder");
    let masked = bed.data.path().join("controller/deep");
    fs::create_dir(&masked).expect("made");
    let open = bed.scratch.path().to_owned();
    let folders = [in_tmp.path().to_owned(), masked, open].map(|path| path.canonicalize());
    for (index, folder) in folders.into_iter().enumerate() {
        let folder = folder.expect("real");
        let program = folder.join("agent");
        let script = "#!/bin/sh\necho args $*; ls $(dirname $0); (echo x >> $0) 2>&1; exit 5\n";
        fs::write(&program, script).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
        fs::write(folder.join("neighbour"), "").expect("written");
        let id = format!("shown{index}");
        let argv = [program.to_str().expect("UTF-8"), "agent", "now"];
        let run = bed.launch_with(&id, &argv, |launch| launch.shown = Some(program.clone()));
        assert_eq!(run.exit(), code(5), "{}", bed.console(&id));
        let console = bed.console(&id);
        assert!(console.contains("args agent now") && console.contains("Read-only"), "{console}");
        // The last of the folders is hidden from nobody.
        assert_eq!(console.contains("neighbour"), index == 2, "{console}");
    }
    let key = bed.data.path().join("controller/master.key").display().to_string();
    let run = bed.launch_with("masked", &["/bin/cat", &key], |launch| {
        launch.shown = Some(bed.data.path().join("controller/deep/agent"));
    });
    assert_eq!(run.exit(), code(1));
}

#[test]
fn masks_may_lie_in_each_other() {
    let data = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let platform = data.path().join("platform");
    fs::create_dir(&platform).expect("made");
    for isolation in [Isolation::Namespaces, Isolation::UserNamespaces] {
        let config = ProcessRunnerConfig {
            data_dir: platform.clone(),
            launcher: PathBuf::from(env!("CARGO_BIN_EXE_vault-emulator")),
            launcher_args: vec!["machine-init".to_owned()],
            masked: vec![platform.clone(), data.path().to_owned()],
        };
        let bare = ProcessRunnerConfig { masked: Vec::new(), ..config.clone() };
        if let Err(error) = ProcessRunner::with_isolation(bare, &[isolation]) {
            skipped(&format!("this host does not allow {isolation:?}: {error}"));
            continue;
        }
        ProcessRunner::with_isolation(config, &[isolation]).expect("nothing keeps it from it");
    }
}

#[test]
fn the_api_folder_is_seen_and_cannot_be_written() {
    the_api_folder_is_seen(&bed!(Namespaces), "/.fly");
    the_api_folder_is_seen(&bed!(UserNamespaces), "/.fly");
}

fn the_api_folder_is_seen(bed: &Bed, inside: &str) {
    let fly = bed.data.path().join("emulator/machines/flying/fly");
    fs::create_dir_all(&fly).expect("made");
    fs::write(fly.join("api"), "here").expect("written");
    let script = format!(
        "cat {inside}/api; touch {inside}/x; rm {inside}/api; echo; echo up; \
         until [ -e /data/go ]; do sleep 0.05; done; cat {inside}/later"
    );
    let run = bed.launch_with("flying", &["sh", "-c", &script], |launch| {
        launch.fly = Some(fly.clone());
    });
    bed.wait_for_console("flying", "up");
    fs::write(fly.join("later"), "and later").expect("written");
    fs::write(bed.volume("flying").join("go"), "").expect("written");
    assert_eq!(run.exit(), code(0));
    let console = bed.console("flying");
    assert!(console.contains("here") && console.ends_with("and later"), "{console}");
    assert_eq!(console.matches("Read-only").count(), 2, "{console}");
    assert!(fly.join("api").exists() && !fly.join("x").exists());

    bed.runner.forget("flying");
    assert!(!bed.data.path().join("emulator/machines/flying").exists());
}

#[test]
fn without_a_mount_namespace_the_environment_names_the_socket() {
    let bed = bed!(PlainProcess);
    let fly = bed.data.path().join("emulator/machines/plain/fly");
    fs::create_dir_all(&fly).expect("made");
    let run = bed.launch_with("plain", &["sh", "-c", "echo $FLY_API_SOCKET"], |launch| {
        launch.fly = Some(fly.clone());
    });
    assert_eq!(run.exit(), code(0));
    let socket = fly.canonicalize().expect("real").join("api").display().to_string();
    assert_eq!(bed.console("plain").lines().last(), Some(socket.as_str()));
}

#[test]
fn the_network_is_the_hosts() {
    let own = fs::read_link("/proc/self/ns/net").expect("a namespace");
    let own = format!("{}\n", own.display());
    assert_eq!(bed!(Namespaces).output("net", "readlink /proc/self/ns/net"), own);
    assert_eq!(bed!(UserNamespaces).output("net", "readlink /proc/self/ns/net"), own);
}

#[test]
fn a_machine_listens_on_its_own_address() {
    let bed = bed!(Namespaces);
    if !Path::new("/proc/net/if_inet6").exists() {
        skipped("this host has no IPv6");
        return;
    }
    let id = format!("listener{}", std::process::id());
    let own = SocketAddr::from((address_of(&id), 0));
    TcpListener::bind(own).expect_err("not there before");
    let run = bed.shell(&id, "echo up; sleep 1000");
    bed.wait_for_console(&id, "up");
    drop(TcpListener::bind(own).expect("there while it runs"));
    bed.runner.kill(&id, 1);
    assert_eq!(run.exit(), signal(SIGKILL));
    TcpListener::bind(own).expect_err("not there after");

    // A supervisor that is killed by hand cannot clean up; the runner does.
    let run = bed.shell(&id, "echo again; sleep 1000");
    bed.wait_for_console(&id, "again");
    kill_by_hand(&format!(" supervise {id} "));
    assert_eq!(run.exit(), signal(SIGKILL));
    TcpListener::bind(own).expect_err("not there after a kill");
}

#[test]
fn a_machine_whose_process_is_killed_by_hand_says_so() {
    let bed = bed!(Namespaces);
    let own = std::process::id();
    let run = bed.shell("victim", &format!("echo up; exec sleep 9876{own}"));
    bed.wait_for_console("victim", "up");
    kill_by_hand(&format!("sleep 9876{own} "));
    assert_eq!(run.exit(), signal(SIGKILL));

    let head = format!("head{own}");
    let run = bed.shell(&head, "echo up; sleep 1000");
    bed.wait_for_console(&head, "up");
    kill_by_hand(&format!(" init {head} "));
    assert_eq!(run.exit(), signal(SIGKILL));
}

#[test]
fn secrets_are_in_no_command_line() {
    let bed = bed!(Namespaces);
    let run = bed.launch_with("discreet", &["sh", "-c", "echo up; sleep 1000"], |launch| {
        launch.env.insert("TOKEN".to_owned(), "hush-hush-7261".to_owned());
    });
    bed.wait_for_console("discreet", "up");
    assert!(!processes_with("discreet").is_empty(), "the supervisor shows the machine's id");
    assert_eq!(processes_with("hush-hush-7261"), BTreeMap::new());
    bed.runner.kill("discreet", 1);
    assert_eq!(run.exit(), signal(SIGKILL));
    assert!(!bed.console("discreet").contains("hush-hush-7261"));
}

#[test]
fn a_console_keeps_within_its_bounds() {
    let bed = bed!(Namespaces);
    let run = bed.shell("loud", "yes 0123456789 | head -c 20000000; echo the end");
    assert_eq!(run.exit(), code(0));
    let folder = bed.data.path().join("emulator/machines/loud");
    let sizes = ["console.log", "console.log.1"]
        .map(|name| fs::metadata(folder.join(name)).expect("a log").len());
    assert!(sizes.iter().all(|size| *size <= 4 << 20), "{sizes:?}");
    assert!(bed.console("loud").ends_with("the end\n"));
}

#[test]
fn twenty_machines_run_at_once() {
    let bed = bed!(Namespaces);
    let ids: Vec<_> = (0..20).map(|index| format!("many{index}")).collect();
    let runs: Vec<_> = ids.iter().map(|id| bed.shell(id, "hostname; sleep 1000")).collect();
    for id in &ids {
        bed.wait_for_console(id, &format!("{id}-host"));
    }
    bed.runner.shutdown();
    for run in runs {
        assert_eq!(run.exit(), signal(SIGKILL));
    }
    assert_eq!(bed.launch("late", &[]).exit(), code(127));
}

#[test]
fn what_cannot_be_started_is_told_once() {
    let bed = bed!(Namespaces);
    let volume = |path: &str, directory: PathBuf| {
        let path = path.to_owned();
        move |launch: &mut Launch| launch.volume = Some(MountedVolume { directory, path })
    };
    let argv = ["sh", "-c", "exit 0"];
    let missing = bed.data.path().join("no-such-volume");
    assert_eq!(bed.launch_with("lost", &argv, volume("/data", missing)).exit(), code(127));
    let over_root = volume("/", bed.volume("greedy"));
    assert_eq!(bed.launch_with("greedy", &argv, over_root).exit(), code(127));
    assert!(bed.console("greedy").contains("a volume cannot be mounted at /"));
    assert_eq!(bed.launch("../evil", &argv).exit(), code(127));
    let first = bed.launch("twin", &[]);
    assert_eq!(bed.launch("twin", &[]).exit(), code(127));
    bed.runner.kill("twin", 1);
    assert_eq!(first.exit(), signal(SIGKILL));
}

#[test]
fn a_large_environment_arrives_and_one_too_large_is_refused() {
    let bed = bed!(Namespaces);
    let launch = |id: &str, count: usize| {
        bed.launch_with(id, &["sh", "-c", "env | wc -c"], |launch| {
            let values = (0..count).map(|index| (format!("V{index}"), "x".repeat(100_000)));
            launch.env.extend(values);
        })
    };
    assert_eq!(launch("large", 8).exit(), code(0));
    assert!(bed.console("large").lines().last().expect("a line") > "800000");
    assert_eq!(launch("huge", 50).exit(), code(127));
}

#[test]
fn a_volume_mount_point_cannot_lead_to_the_host() {
    let bed = bed!(Namespaces);
    let scratch = bed.scratch.path();
    std::os::unix::fs::symlink("/var/tmp", scratch.join("link")).expect("linked");
    let name = scratch.file_name().expect("a name").to_string_lossy();
    let point = scratch.join("link").join(name.as_ref()).join("made");
    let path = point.display().to_string();
    let run = bed.launch_with("linked", &["sh", "-c", "ls -d $POINT"], |launch| {
        launch.env.insert("POINT".to_owned(), path.clone());
        launch.volume.as_mut().expect("a volume").path = path.clone();
    });
    assert_eq!(run.exit(), code(0));
    assert!(!scratch.join("made").exists(), "made on the host");
}

/// Not a test of its own: another test runs this in a process that it kills.
#[test]
#[ignore = "started by `machines_end_with_the_emulator`"]
fn emulator_to_be_killed() {
    let Ok(isolation) = std::env::var("VAULT_TEST_ISOLATION") else {
        return;
    };
    let isolation = match isolation.as_str() {
        "Namespaces" => Isolation::Namespaces,
        "UserNamespaces" => Isolation::UserNamespaces,
        _ => Isolation::PlainProcess,
    };
    let Some(bed) = Bed::new(isolation) else {
        return;
    };
    let marker = std::env::var("VAULT_TEST_MARKER").expect("a marker");
    let script = format!("(setsid sh -c 'sleep 1000; :' {marker} &); echo up; sleep 1000");
    let runs = ["one", "two"].map(|id| bed.shell(id, &script));
    for id in ["one", "two"] {
        bed.wait_for_console(id, "up");
    }
    std::io::stderr().write_all(b"ready\n").expect("said");
    // Until the parent goes, if it does not kill us before.
    let mut rest = Vec::new();
    drop(std::io::stdin().read_to_end(&mut rest));
    drop(runs);
}

#[test]
fn machines_end_with_the_emulator() {
    for isolation in ["Namespaces", "UserNamespaces", "PlainProcess"] {
        let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
        let marker = format!("killed-emulator-{isolation}-{}", std::process::id());
        let mut emulator = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "emulator_to_be_killed", "--ignored", "--nocapture"])
            .env("VAULT_TEST_ISOLATION", isolation)
            .env("VAULT_TEST_MARKER", &marker)
            .env("VAULT_TEST_FOLDER", folder.path())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let mut said = String::new();
        let mut errors = emulator.stderr.take().expect("piped");
        let mut byte = [0];
        while !said.contains("ready") && errors.read(&mut byte).expect("read") == 1 {
            said.push(char::from(byte[0]));
        }
        if said.contains("SKIPPED") {
            std::io::stderr().write_all(said.as_bytes()).expect("said");
            continue;
        }
        assert!(said.contains("ready"), "{said}");
        // Two workloads and their two orphans, each as a shell. One that executes another program at
        // this moment shows no arguments.
        eventually("four of them are seen", || processes_with(&marker).len() >= 4);
        emulator.kill().expect("killed");
        emulator.wait().expect("waited");
        eventually("the machines are gone", || processes_with(&marker).is_empty());
    }
}
