//! Root filesystems and the agent's image, as `vaultctl build` makes them: no controller, no network.

mod attacks;
mod layout;
mod tree;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use vault_tests::binaries::binaries;
use vault_tests::eventually::{DEADLINE, eventually};
use vault_tests::program::{self, Output};

use self::layout::{Compression, Layer, Layout, amd64, platform};
use self::tree::{tree, unpacked};
use crate::support::skipped;

/// `vaultctl build ARGS…` in a folder.
fn command(folder: &Path, args: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(&binaries()?.vaultctl);
    command.current_dir(folder).arg("build").args(args);
    Ok(command)
}

async fn build(folder: &Path, args: &[&str]) -> anyhow::Result<Output> {
    program::run(&mut command(folder, args)?).await
}

/// What lies in a folder, temporary files too.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("a name in UTF-8");
    let mut names: Vec<String> = entries.map(|entry| name(entry.expect("an entry"))).collect();
    names.sort();
    names
}

/// Whether owners can be set, which layers need; says loudly if the story is skipped.
fn is_root(story: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        skipped(&format!("{story}: it needs root, who may set owners"));
    }
    is_root
}

/// A small root filesystem, with what archives easily lose.
fn small_root(folder: &Path) -> anyhow::Result<PathBuf> {
    let root = folder.join("root");
    fs::create_dir_all(root.join("usr/bin"))?;
    fs::create_dir_all(root.join("etc/empty"))?;
    fs::write(root.join("usr/bin/su"), "#!/bin/sh\n")?;
    fs::set_permissions(root.join("usr/bin/su"), fs::Permissions::from_mode(0o4755))?;
    fs::hard_link(root.join("usr/bin/su"), root.join("usr/bin/su2"))?;
    symlink("usr/bin", root.join("bin"))?;
    fs::write(root.join("etc/name with ünicode"), "x")?;
    fs::set_permissions(root.join("etc"), fs::Permissions::from_mode(0o750))?;
    Ok(root)
}

#[tokio::test]
async fn a_folder_is_packed_the_same_way_each_time() -> anyhow::Result<()> {
    let place = TempDir::new()?;
    let root = small_root(place.path())?;
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(root.join("etc/empty"), Some(1234), Some(5678))?;
    }
    let first = build(place.path(), &["rootfs", "root", "-o", "a.tar.zst"]).await?.expect(0);
    let json = ["rootfs", "./root/", "-o", "b.tar.zst", "--form", "json"];
    let second = build(place.path(), &json).await?.expect(0).json()?;
    assert_eq!(
        fs::read(place.path().join("a.tar.zst"))?,
        fs::read(place.path().join("b.tar.zst"))?
    );
    let (summary, found) = unpacked(&place.path().join("a.tar.zst"))?;
    assert_eq!(found, tree(&root)?);
    assert_eq!(second["sha256"], summary.sha256.as_str());
    assert_eq!(
        (&second["entries"], &second["bytes"]),
        (&summary.entries.into(), &summary.bytes.into())
    );
    assert_eq!(second["file"], "b.tar.zst");
    let line = format!(
        "a.tar.zst: {} entries, {} bytes, sha256 {}\n",
        summary.entries, summary.bytes, summary.sha256
    );
    assert_eq!(first.stdout, line);
    assert_eq!(first.stderr, "");
    // Everybody may read it whom the mask lets, as with any file that a program writes.
    fs::write(place.path().join("plain"), "")?;
    let mode = |name| Ok::<_, std::io::Error>(fs::metadata(place.path().join(name))?.mode());
    assert_eq!(mode("a.tar.zst")?, mode("plain")?);
    assert_eq!(names(place.path()), ["a.tar.zst", "b.tar.zst", "plain", "root"]);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_packed_leaves_nothing_behind() -> anyhow::Result<()> {
    let place = TempDir::new()?;
    let root = small_root(place.path())?;
    fs::write(place.path().join("out"), "older")?;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )?;
    fs::write(place.path().join("file"), "")?;
    for (args, code, says) in [
        (vec!["rootfs", "root", "-o", "out"], 2, "fifo cannot be packed"),
        (vec!["rootfs", "nowhere", "-o", "out"], 2, "cannot read nowhere"),
        (vec!["rootfs", "file", "-o", "out"], 2, "file is no folder"),
        (vec!["rootfs", "root", "-o", "no/out"], 2, "cannot write no/out"),
        (vec!["rootfs", "root", "-o", "root"], 2, "it is a folder"),
        (vec!["rootfs", "root", "-o", "root/etc/out"], 2, "root/etc/out is inside root"),
        (
            vec!["rootfs", "root", "-o", "out", "--platform", "linux/amd64"],
            2,
            "no OCI image layout",
        ),
        (vec!["rootfs", "root", "-o", "out", "--platform", "linux"], 2, "OS/ARCHITECTURE"),
        (vec!["rootfs", "root"], 2, "--output <FILE>"),
    ] {
        let output = build(place.path(), &args).await?.expect(code);
        assert!(output.stderr.contains(says), "{args:?}: {output}");
        assert_eq!(output.stdout, "", "{args:?}");
        assert_eq!(names(place.path()), ["file", "out", "root"], "{args:?}");
    }
    assert_eq!(fs::read_to_string(place.path().join("out"))?, "older");
    Ok(())
}

/// As Ctrl-C does, in the middle of a file that is long enough to be in the middle of.
#[tokio::test]
async fn an_interrupted_build_leaves_nothing_behind() -> anyhow::Result<()> {
    let place = TempDir::new()?;
    let root = place.path().join("root");
    fs::create_dir(&root)?;
    // Random bytes are slow to pack, and there is always something to write.
    let mut bytes = vec![0; 256 << 20];
    fastrand::fill(&mut bytes);
    fs::write(root.join("large"), &bytes)?;
    drop(bytes);
    let child = command(place.path(), &["rootfs", "root", "-o", "out"])?
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let pid = child.id().context("it runs")?;
    let temporary = || names(place.path()).into_iter().find(|name| name.starts_with(".out."));
    eventually("bytes are written", async || {
        let name = temporary().ok_or("no temporary file")?;
        let size = fs::metadata(place.path().join(name)).map_err(|error| error.to_string())?.len();
        if size > 0 { Ok(()) } else { Err("it is empty".to_owned()) }
    })
    .await?;
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).context("a process id")?;
    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    let ended = tokio::time::timeout(DEADLINE, child.wait_with_output()).await??;
    let stderr = String::from_utf8(ended.stderr)?;
    assert_eq!(ended.status.code(), Some(6), "{stderr}");
    assert!(stderr.starts_with("error: interrupted"), "{stderr}");
    assert_eq!(names(place.path()), ["root"]);
    Ok(())
}

/// The layers of the image that the stories use: each kind of compression, a whiteout, an opaque folder.
fn layers() -> Vec<Layer> {
    layers_with(Compression::Zstd)
}

/// The same, the highest compressed like this.
fn layers_with(highest: Compression) -> Vec<Layer> {
    vec![
        Layer::new(Compression::None)
            .folder("etc/", 0o750, 1000)
            .file("etc/passwd", "low", 0o600)
            .folder("srv/", 0o755, 1000)
            .folder("srv/data/", 0o755, 1000)
            .file("srv/data/old", "old", 0o644)
            .file("gone", "gone", 0o644)
            .symlink("bin", "usr/bin"),
        Layer::new(Compression::Gzip)
            .file(".wh.gone", "", 0o644)
            .file("etc/passwd", "high", 0o644)
            .hard_link("etc/passwd-", "etc/passwd")
            .file("srv/data/new", "new", 0o644)
            // Behind what it does not hide.
            .file("srv/data/.wh..wh..opq", "", 0o644),
        Layer::new(highest).file("usr/bin/su", "su", 0o4755),
    ]
}

/// The tree that they make, by hand.
fn expected(folder: &Path) -> anyhow::Result<PathBuf> {
    let root = folder.join("expected");
    for sub in ["etc", "srv/data", "usr/bin"] {
        fs::create_dir_all(root.join(sub))?;
    }
    for (name, content, mode) in [
        ("etc/passwd", "high", 0o644),
        ("srv/data/new", "new", 0o644),
        ("usr/bin/su", "su", 0o4755),
    ] {
        fs::write(root.join(name), content)?;
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode))?;
        tree::set_time(&root.join(name), layout::TIME)?;
    }
    fs::hard_link(root.join("etc/passwd"), root.join("etc/passwd-"))?;
    symlink("usr/bin", root.join("bin"))?;
    tree::set_time(&root.join("bin"), layout::TIME)?;
    // What no layer names is from 1970, with the usual mode.
    for (name, mode, time) in [
        ("usr/bin", 0o755, 0),
        ("usr", 0o755, 0),
        ("srv/data", 0o755, 1000),
        ("srv", 0o755, 1000),
        ("etc", 0o750, 1000),
        ("", 0o755, 0),
    ] {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode))?;
        tree::set_time(&root.join(name), time)?;
    }
    Ok(root)
}

#[tokio::test]
async fn the_layers_of_an_image_become_one_tree() -> anyhow::Result<()> {
    if !is_root("the_layers_of_an_image_become_one_tree") {
        return Ok(());
    }
    let place = TempDir::new()?;
    let other = vec![Layer::new(Compression::Gzip).file("other", "arm", 0o644)];
    let mut layout = Layout::new(&place.path().join("layout"))?;
    let image = layout.image(&amd64(), &layers())?;
    let arm = layout.image(&platform("linux", "arm64", Some("v8")), &other)?;
    let nested = layout.index(&[arm.clone(), layout::attestation(), image.clone()])?;
    layout.finish(&[nested])?;

    let output = build(place.path(), &["rootfs", "layout", "-o", "a", "--form", "json"]).await?;
    let made = output.expect(0).json()?;
    assert_eq!(made["image"]["digest"], image["digest"]);
    assert_eq!(made["image"]["platform"], "linux/amd64");
    let (summary, found) = unpacked(&place.path().join("a"))?;
    assert_eq!(found, tree(&expected(place.path())?)?);
    assert_eq!(made["sha256"], summary.sha256.as_str());

    // Once more, elsewhere: the same bytes.
    let elsewhere = TempDir::new()?;
    let to = elsewhere.path().join("b");
    let to = to.to_str().context("UTF-8")?;
    drop(build(place.path(), &["rootfs", "layout", "-o", to]).await?.expect(0));
    assert_eq!(fs::read(place.path().join("a"))?, fs::read(to)?);

    for wanted in ["linux/arm64", "linux/arm64/v8"] {
        let args = ["rootfs", "layout", "-o", "c", "--platform", wanted, "--form", "json"];
        let made = build(place.path(), &args).await?.expect(0).json()?;
        assert_eq!(made["image"]["platform"], "linux/arm64/v8");
        let (_, found) = unpacked(&place.path().join("c"))?;
        assert_eq!(found.into_keys().collect::<Vec<_>>(), ["", "other"]);
    }
    let args = ["rootfs", "layout", "-o", "d", "--platform", "linux/riscv64"];
    let output = build(place.path(), &args).await?.expect(2);
    for says in ["no image for linux/riscv64", "linux/amd64", "linux/arm64/v8", "hint: --platform"]
    {
        assert!(output.stderr.contains(says), "{says}: {output}");
    }
    assert_eq!(names(place.path()), ["a", "c", "expected", "layout"]);
    Ok(())
}

#[tokio::test]
async fn a_layout_with_one_image_needs_no_platform() -> anyhow::Result<()> {
    if !is_root("a_layout_with_one_image_needs_no_platform") {
        return Ok(());
    }
    let place = TempDir::new()?;
    let mut layout = Layout::new(&place.path().join("layout"))?;
    let mut image = layout.image(&platform("linux", "s390x", None), &layers())?;
    // As skopeo writes it: the platform stands in the image alone.
    drop(image.as_object_mut().and_then(|image| image.remove("platform")));
    layout.finish(&[image.clone()])?;
    let made = build(place.path(), &["rootfs", "layout", "-o", "a"]).await?.expect(0);
    assert!(made.stdout.contains("linux/s390x"), "{made}");
    let args = ["rootfs", "layout", "-o", "b", "--platform", "linux/amd64"];
    let output = build(place.path(), &args).await?.expect(2);
    assert!(output.stderr.contains("there are: linux/s390x"), "{output}");

    // Two for one platform, by two names.
    let second = layout.image(&amd64(), &[Layer::new(Compression::None).file("a", "", 0o644)])?;
    let third = layout.image(&amd64(), &[Layer::new(Compression::None).file("b", "", 0o644)])?;
    layout.finish(&[image, second.clone(), second.clone(), third.clone()])?;
    let output = build(place.path(), &["rootfs", "layout", "-o", "b"]).await?.expect(2);
    for image in [second, third] {
        let digest = image["digest"].as_str().context("a digest")?;
        assert!(output.stderr.contains(digest), "{digest}: {output}");
    }
    Ok(())
}

/// umoci is the reference for what layers mean.
#[tokio::test]
async fn umoci_unpacks_the_same_tree() -> anyhow::Result<()> {
    if !is_root("umoci_unpacks_the_same_tree") {
        return Ok(());
    }
    if Command::new("umoci").arg("--version").stdout(Stdio::null()).status().await.is_err() {
        skipped("umoci_unpacks_the_same_tree: no umoci");
        return Ok(());
    }
    let place = TempDir::new()?;
    let mut layout = Layout::new(&place.path().join("layout"))?;
    // Not every version of umoci knows zstd.
    let mut image = layout.image(&amd64(), &layers_with(Compression::Gzip))?;
    image["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": "one" });
    layout.finish(&[image])?;
    drop(build(place.path(), &["rootfs", "layout", "-o", "ours"]).await?.expect(0));
    let mut umoci = Command::new("umoci");
    umoci.current_dir(place.path()).args(["raw", "unpack", "--image", "layout:one", "theirs"]);
    drop(program::run(&mut umoci).await?.expect(0));
    let (_, mut ours) = unpacked(&place.path().join("ours"))?;
    let mut theirs = tree(&place.path().join("theirs"))?;
    // When folders were made that no layer names is nobody's business.
    for unnamed in ["", "usr", "usr/bin"] {
        assert!(ours.remove(unnamed).is_some() && theirs.remove(unnamed).is_some(), "{unnamed}");
    }
    assert_eq!(ours, theirs);
    Ok(())
}

/// Not root: a layer's other owners cannot be made, and the error says what to do.
#[tokio::test]
async fn without_root_the_way_out_is_told() -> anyhow::Result<()> {
    // Only root can become somebody else.
    if !is_root("without_root_the_way_out_is_told") {
        return Ok(());
    }
    let place = TempDir::new()?;
    let mut layout = Layout::new(&place.path().join("layout"))?;
    let image = layout.image(&amd64(), &layers())?;
    layout.finish(&[image])?;
    let theirs = place.path().join("theirs");
    fs::create_dir(&theirs)?;
    std::os::unix::fs::chown(&theirs, Some(65534), Some(65534))?;
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755))?;
    // The program itself may lie where only root can look.
    fs::copy(&binaries()?.vaultctl, place.path().join("vaultctl"))?;
    let mut command = Command::new(place.path().join("vaultctl"));
    command.args(["build", "rootfs", "../layout", "-o", "out"]).current_dir(&theirs);
    let output = program::run(command.uid(65534).gid(65534)).await?.expect(6);
    for says in ["setting the owner failed", "hint: ", "run it as root", "user namespace"] {
        assert!(output.stderr.contains(says), "{says}: {output}");
    }
    assert_eq!(names(&theirs), Vec::<String>::new());
    Ok(())
}

/// A program that needs nothing beside it: as small as one can be.
fn static_program(machine: u16) -> Vec<u8> {
    let mut program = b"\x7fELF\x02\x01\x01".to_vec();
    program.resize(16, 0);
    for (kind, value) in [(2, 2), (2, u64::from(machine)), (4, 1), (8, 0x40_0078), (8, 64), (8, 0)]
    {
        program.extend_from_slice(&value.to_le_bytes()[..kind]);
    }
    for (kind, value) in [(4, 0), (2, 64), (2, 56), (2, 1), (2, 64), (2, 0), (2, 0_u64)] {
        program.extend_from_slice(&value.to_le_bytes()[..kind]);
    }
    // One segment, to be loaded.
    for (kind, value) in [(4, 1), (4, 5), (8, 0), (8, 0x40_0000), (8, 0x40_0000)] {
        program.extend_from_slice(&u64::to_le_bytes(value)[..kind]);
    }
    for value in [129_u64, 129, 4096] {
        program.extend_from_slice(&value.to_le_bytes());
    }
    // exit(0)
    program.extend_from_slice(b"\x31\xff\xb8\x3c\x00\x00\x00\x0f\x05");
    program
}

#[tokio::test]
async fn the_agents_image_holds_the_agent_alone() -> anyhow::Result<()> {
    let place = TempDir::new()?;
    let agent = place.path().join("agent");
    fs::write(&agent, static_program(62))?;
    let args = ["image", "--agent", "agent", "-o", "a", "--form", "json"];
    let made = build(place.path(), &args).await?.expect(0).json()?;
    drop(build(place.path(), &["image", "--agent", "agent", "-o", "b"]).await?.expect(0));
    assert_eq!(tree::contents(&place.path().join("a"))?, tree::contents(&place.path().join("b"))?);
    assert_eq!(made["platform"], "linux/amd64");

    let index: Value = serde_json::from_slice(&fs::read(place.path().join("a/index.json"))?)?;
    assert_eq!(index["manifests"][0]["digest"], made["digest"]);
    let blob = |descriptor: &Value| layout::blob(&place.path().join("a"), descriptor);
    let manifest: Value = serde_json::from_slice(&blob(&index["manifests"][0])?)?;
    let config: Value = serde_json::from_slice(&blob(&manifest["config"])?)?;
    let layer = layout::gunzip(&blob(&manifest["layers"][0])?)?;
    assert_eq!(manifest["layers"].as_array().map(Vec::len), Some(1));
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/usr/bin/vault-agent"]));
    assert_eq!((&config["os"], &config["architecture"]), (&"linux".into(), &"amd64".into()));
    assert_eq!(config["rootfs"]["diff_ids"], serde_json::json!([layout::digest(&layer)]));

    // We read what we write, too.
    if is_root("the_agents_image_holds_the_agent_alone, as a tree") {
        drop(build(place.path(), &["rootfs", "a", "-o", "root"]).await?.expect(0));
        let (_, found) = unpacked(&place.path().join("root"))?;
        let paths: Vec<_> = found.keys().map(String::as_str).collect();
        assert_eq!(paths, ["", "usr", "usr/bin", "usr/bin/vault-agent"]);
        let node = &found["usr/bin/vault-agent"];
        assert_eq!((node.mode, node.uid, node.gid, node.time), (0o755, 0, 0, 0));
        assert_eq!(node.content, layout::digest(&fs::read(&agent)?));
    }
    let skopeo = Command::new("skopeo")
        .current_dir(place.path())
        .args(["inspect", "--format", "{{.Digest}} {{.Os}}/{{.Architecture}}", "oci:a"])
        .output()
        .await;
    match skopeo {
        Ok(output) => {
            let expected = format!("{} linux/amd64\n", made["digest"].as_str().unwrap_or_default());
            assert_eq!(String::from_utf8(output.stdout)?, expected);
        }
        Err(_) => skipped("the_agents_image_holds_the_agent_alone: no skopeo to read it"),
    }
    Ok(())
}

#[tokio::test]
async fn an_agent_that_could_not_start_is_refused() -> anyhow::Result<()> {
    let place = TempDir::new()?;
    fs::write(place.path().join("arm"), static_program(183))?;
    fs::write(place.path().join("mips"), static_program(8))?;
    fs::write(place.path().join("text"), "#!/bin/sh\n")?;
    fs::write(place.path().join("cut"), &static_program(62)[..100])?;
    let args = ["image", "--agent", "arm", "-o", "image", "--form", "json"];
    assert_eq!(build(place.path(), &args).await?.expect(0).json()?["platform"], "linux/arm64");
    let before = names(place.path());
    let shell = fs::canonicalize("/bin/sh")?;
    let shell = shell.to_str().context("UTF-8")?;
    for (agent, says) in [
        ("mips", "a processor that is not known (machine type 8)"),
        ("text", "no program for Linux"),
        ("cut", "no program for Linux"),
        ("nowhere", "cannot read nowhere"),
        (shell, "is not static"),
    ] {
        let output = build(place.path(), &["image", "--agent", agent, "-o", "b"]).await?.expect(2);
        assert!(output.stderr.contains(says), "{agent}: {output}");
        assert!(output.stderr.contains("crt-static"), "the next step: {output}");
        assert_eq!(names(place.path()), before, "{agent}");
    }
    let taken = build(place.path(), &["image", "--agent", "arm", "-o", "image"]).await?.expect(2);
    assert!(taken.stderr.contains("a folder that is not empty"), "{taken}");
    // Where no agent is installed beside the program.
    fs::copy(&binaries()?.vaultctl, place.path().join("vaultctl"))?;
    let mut alone = Command::new(place.path().join("vaultctl"));
    alone.args(["build", "image", "-o", "b"]).current_dir(place.path());
    let output = program::run(&mut alone).await?.expect(2);
    assert!(output.stderr.contains("hint: --agent FILE"), "{output}");
    Ok(())
}
