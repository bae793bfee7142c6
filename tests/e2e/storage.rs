//! Buckets, as a tenant's own program uses them: stock boto3, with nothing but its environment.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::AsyncWriteExt;
use vault_tests::manifests;
use vault_tests::program::Output;
use vault_tests::world::World;

use crate::support;

/// Time for sending boto3 into a machine, on a machine that does a lot besides.
const SENDING: Duration = Duration::from_secs(120);

/// Where boto3 lies in machines.
const INSIDE: &str = "/opt/boto3";

/// Uses its own bucket, and then somebody else's, which is the first argument.
const PROGRAM: &str = r#"
import os, sys
import boto3
from botocore.exceptions import ClientError

s3 = boto3.client("s3")
own, sibling = os.environ["BUCKET_NAME"], sys.argv[1]
assert os.environ["BUCKET_NAME_STATE"] == own != sibling
s3.put_object(Bucket=own, Key="notes/one", Body=b"written inside")
assert s3.get_object(Bucket=own, Key="notes/one")["Body"].read() == b"written inside"
assert [row["Key"] for row in s3.list_objects_v2(Bucket=own)["Contents"]] == ["notes/one"]
for call, arguments in [
    (s3.put_object, {"Bucket": sibling, "Key": "k", "Body": b"x"}),
    (s3.get_object, {"Bucket": sibling, "Key": "notes/one"}),
    (s3.delete_object, {"Bucket": sibling, "Key": "notes/one"}),
    (s3.list_objects_v2, {"Bucket": sibling}),
    (s3.delete_bucket, {"Bucket": sibling}),
    (s3.create_bucket, {"Bucket": own + "-more"}),
]:
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == "AccessDenied", error
    else:
        raise AssertionError(f"{call} was not refused")
print("own bucket only")
"#;

/// A tenant whose machine runs the agent, and which has the bucket `state`.
fn with_bucket(name: &str) -> String {
    let storage = "  storage: { buckets: [{ name: state, access: ReadWrite }] }\n";
    format!("{}{storage}", manifests::agent(name, 1))
}

/// The packages of boto3 as `.ci/install-clients` puts them, in one archive; says loudly if they are
/// not there.
fn boto3() -> anyhow::Result<Option<Vec<u8>>> {
    let test = std::env::current_exe()?;
    // target/release/deps/e2e-…
    let target = test.ancestors().nth(3).context("a target folder")?;
    let library = target.join("clients/boto3/lib");
    let python = std::fs::read_dir(&library).into_iter().flatten().next();
    let packages: Option<PathBuf> =
        python.transpose()?.map(|python| python.path().join("site-packages"));
    let Some(packages) = packages.filter(|packages| packages.join("boto3").is_dir()) else {
        let why = format!("{} is empty; .ci/install-clients fills it", library.display());
        support::skipped(&why);
        return Ok(None);
    };
    let output = Command::new("tar")
        .args(["--create", "--exclude", "pip*", "--exclude", "__pycache__", "--directory"])
        .arg(packages)
        .arg(".")
        .stderr(Stdio::inherit())
        .output()
        .context("tar")?;
    ensure!(output.status.success(), "tar: {}", output.status);
    Ok(Some(output.stdout))
}

async fn exec(world: &World, arguments: &[&str]) -> anyhow::Result<Output> {
    world.vaultctl(&[&["exec"], arguments].concat()).await
}

/// Unpacks an archive in a tenant's machine.
async fn send(world: &World, tenant: &str, archive: &[u8]) -> anyhow::Result<()> {
    let script = format!("mkdir -p {INSIDE} && tar --extract --no-same-owner --directory {INSIDE}");
    let mut child = world
        .vaultctl_command(&["exec", tenant, "--", "sh", "-c", &script])?
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().context("it is piped")?;
    let sending = async {
        stdin.write_all(archive).await?;
        drop(stdin);
        child.wait().await
    };
    let status = tokio::time::timeout(SENDING, sending).await??;
    ensure!(status.success(), "unpacking in the machine: {status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boto3_in_a_machine_uses_its_own_bucket_and_is_refused_a_siblings() -> anyhow::Result<()> {
    let Some(archive) = boto3()? else { return Ok(()) };
    let world = World::start(support::processes()).await?;
    if !support::is_isolated(&world, "boto3 in a machine")? {
        return world.finish().await;
    }
    for name in ["acme", "umbra"] {
        world.write_manifest(&format!("{name}.yaml"), with_bucket(name))?;
    }
    world.all_ready(2).await?;
    let sibling = exec(&world, &["umbra", "--", "printenv", "BUCKET_NAME"]).await?.expect(0).stdout;
    let variables = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ENDPOINT_URL_S3",
        "AWS_REGION",
        "BUCKET_NAME",
        "BUCKET_NAME_STATE",
    ];
    let printed = exec(&world, &[&["acme", "--", "printenv"], &variables[..]].concat()).await?;
    let printed = printed.expect(0).stdout;
    assert_eq!(printed.lines().count(), variables.len(), "{printed}");

    send(&world, "acme", &archive).await?;
    let path = format!("PYTHONPATH={INSIDE}");
    let program = ["acme", "-e", &path, "--", "python3", "-c", PROGRAM, sibling.trim()];
    assert_eq!(exec(&world, &program).await?.expect(0).stdout, "own bucket only\n");

    // The key is told to the tenant's machines and to nobody else.
    let secret = printed.lines().nth(1).context("the second variable")?;
    assert!(secret.starts_with("tsec_"), "{secret}");
    let shown = world.vaultctl(&["get", "tenant", "acme", "-o", "yaml"]).await?.expect(0).stdout;
    for told in [world.controller_log()?, shown] {
        assert!(!told.contains(secret), "a secret is told: {told}");
    }
    world.finish().await
}
