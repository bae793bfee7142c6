//! A tenant with a deploy token and a bucket, with the controller killed around every answer: of the
//! Machines API, of GraphQL, of S3 and of IAM.
//!
//! ```text
//!   first convergence, killed at n ─▶ start ─▶ Ready: one token and one key, and both open theirs
//!   deletion, killed at n          ─▶ start ─▶ gone: no token, key or bucket of it
//! ```

use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::Method;
use vault_tests::eventually::eventually;
use vault_tests::manifests;
use vault_tests::world::controller::{Crash, Moment};
use vault_tests::world::storage::{BucketLook, StorageClient};
use vault_tests::world::{World, WorldOptions};

use super::{SIDE_BY_SIDE, chosen};
use crate::support::say;
use crate::tokens::{app, fetch, look, open_tokens};

/// In CI so many answers of each story, evenly spread, and one of these moments each, in turn: the
/// client keeps to the platform's pace of one write per second and app, and a tenant with a bucket
/// has six secrets.
const KILLS: usize = 6;
const MOMENTS: [Moment; 2] = [Moment::Answered, Moment::Requested];
/// The tenant that is made and deleted.
const ACME: &str = "acme";
/// The one that nothing may happen to meanwhile.
const UMBRA: &str = "umbra";

/// A tenant with the deploy token `ci` and the bucket `state`, which goes with it.
fn manifest(name: &str) -> String {
    let idle = manifests::idle(name).replace("deletionPolicy: Retain", "deletionPolicy: Delete");
    format!(
        "{idle}  tokens: {{ deploy: [{{ name: ci, ttl: 24h }}] }}
  storage: {{ buckets: [{{ name: state, access: ReadWrite, deletionPolicy: Delete }}] }}
"
    )
}

/// A folder that prunes, tombstones that mature at once, and no controller yet.
async fn prepare(tenants: &[&str]) -> anyhow::Result<World> {
    let world = World::with_platform(WorldOptions {
        interval: Duration::from_millis(100),
        prune: true,
        arguments: vec!["--deletion-grace".to_owned(), "1s".to_owned()],
        ..WorldOptions::default()
    })
    .await?;
    for tenant in tenants {
        world.write_manifest(&file(tenant), manifest(tenant))?;
    }
    Ok(world)
}

fn file(tenant: &str) -> String {
    format!("{tenant}.yaml")
}

/// The crashes of a phase of so many answers: with `VAULT_KILLS=all` both moments of each.
fn crashes(answers: u64) -> anyhow::Result<Vec<Crash>> {
    let of = |answers, moment| Crash { answers, moment };
    let numbers = chosen(answers, usize::try_from(answers)?.div_ceil(KILLS)).into_iter();
    Ok(match super::all() {
        true => numbers.flat_map(|answers| MOMENTS.map(|moment| of(answers, moment))).collect(),
        false => {
            let moments = MOMENTS.into_iter().cycle();
            numbers.zip(moments).map(|(answers, moment)| of(answers, moment)).collect()
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_every_answer_of_a_first_convergence_one_credential_of_each_kind_is_left()
-> anyhow::Result<()> {
    let mut world = prepare(&[ACME]).await?;
    world.start_controller().await?;
    world.all_ready(1).await?;
    let answers = world.calls().answers();
    one_of_each(&world, &[ACME]).await?;
    world.finish().await?;

    let crashes = crashes(answers)?;
    let total = crashes.len();
    let runs = stream::iter(crashes).map(|crash| async move {
        let outcome = async {
            let mut world = prepare(&[ACME]).await?;
            world.spawn_controller(Some(crash))?;
            world.crashed().await?;
            world.database_is_whole()?;
            world.start_controller().await?;
            world.all_ready(1).await?;
            one_of_each(&world, &[ACME]).await?;
            world.finish().await
        };
        outcome.await.with_context(|| format!("{crash:?}"))
    });
    let () = runs.buffer_unordered(SIDE_BY_SIDE).try_collect().await?;
    say(&format!("a first convergence with credentials has {answers} answers: {total} kills"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_every_answer_of_a_deletion_no_credential_is_left() -> anyhow::Result<()> {
    let mut world = settled_and_removed().await?;
    let since = world.calls().answers();
    world.start_controller().await?;
    gone(&world).await?;
    let answers = world.calls().answers() - since;
    world.finish().await?;

    let crashes = crashes(answers)?;
    let total = crashes.len();
    let runs = stream::iter(crashes).map(|crash| async move {
        let outcome = async {
            let mut world = settled_and_removed().await?;
            let since = world.calls().answers();
            world.spawn_controller(Some(Crash { answers: since + crash.answers, ..crash }))?;
            world.crashed().await?;
            world.database_is_whole()?;
            world.start_controller().await?;
            gone(&world).await?;
            one_of_each(&world, &[UMBRA]).await?;
            world.finish().await
        };
        outcome.await.with_context(|| format!("{crash:?}"))
    });
    let () = runs.buffer_unordered(SIDE_BY_SIDE).try_collect().await?;
    say(&format!("a deletion with credentials has {answers} answers: {total} kills"));
    Ok(())
}

/// Two tenants that were Ready; the manifest of one is removed while no controller runs.
async fn settled_and_removed() -> anyhow::Result<World> {
    let mut world = prepare(&[ACME, UMBRA]).await?;
    world.start_controller().await?;
    world.all_ready(2).await?;
    one_of_each(&world, &[ACME, UMBRA]).await?;
    world.kill_controller();
    world.remove_manifest(&file(ACME))?;
    Ok(world)
}

/// Waits until these tenants, and nobody else, have one token, one key and one bucket, and asks
/// whether the token and the key open what is theirs.
async fn one_of_each(world: &World, tenants: &[&str]) -> anyhow::Result<()> {
    let storage = world.storage()?;
    held(world, &storage, tenants.len()).await?;
    for tenant in tenants {
        let token = fetch(world, tenant).await?;
        let app = app(&world.tenant(tenant).await?);
        ensure!(look(world, &app, &token).await? == 200, "the token of {tenant} opens its app");
        let secrets = secrets(world, &app).await?;
        let value = |name: &str| {
            let found = secrets.iter().find(|secret| secret.0 == name);
            found.map(|secret| secret.1.clone()).with_context(|| format!("{app} has no {name}"))
        };
        let id = value("AWS_ACCESS_KEY_ID")?;
        let own = world.storage_with_key(id, value("AWS_SECRET_ACCESS_KEY")?)?;
        let bucket = value("BUCKET_NAME")?;
        let seen = own.bucket(&bucket).await.with_context(|| format!("the key of {tenant}"))?;
        ensure!(seen == BucketLook::Ours, "the key of {tenant} opens its bucket: {seen:?}");
    }
    Ok(())
}

/// Waits until there are so many tokens, keys and buckets of tenants.
async fn held(world: &World, storage: &StorageClient, wanted: usize) -> anyhow::Result<()> {
    eventually("each tenant has one token, key and bucket", async || {
        let seen = async {
            let tokens = open_tokens(world).await?.len();
            let keys = storage.access_keys().await?;
            let of_tenants = keys.iter().filter(|key| key.name.starts_with("vault/")).count();
            let buckets = storage.buckets().await?.len();
            anyhow::Ok([tokens, of_tenants, buckets])
        };
        let seen = seen.await.map_err(|error| format!("{error:#}"))?;
        match seen == [wanted; 3] {
            true => Ok(()),
            false => Err(format!("tokens, keys and buckets: {seen:?}; wanted: {wanted} each")),
        }
    })
    .await
}

/// Waits until nothing of the deleted tenant is left at the platform.
async fn gone(world: &World) -> anyhow::Result<()> {
    eventually("the app of the deleted tenant is gone", async || {
        let lists = world.lists().await.map_err(|error| format!("{error:#}"))?;
        let (apps, volumes) = (lists.apps.len(), lists.volumes.len());
        match (apps, volumes) {
            (1, 1) => Ok(()),
            left => Err(format!("apps and volumes: {left:?}")),
        }
    })
    .await?;
    held(world, &world.storage()?, 1).await
}

/// The secrets of an app, as its machines get them.
async fn secrets(world: &World, app: &str) -> anyhow::Result<Vec<(String, String)>> {
    let path = format!("/v1/apps/{app}/secrets?show_secrets=true");
    let answer = world.platform_call(Method::GET, &path, None).await?.expect(200);
    let rows = answer["secrets"].as_array().with_context(|| format!("{answer:#}"))?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    Ok(rows.iter().map(|row| (text(&row["name"]), text(&row["value"]))).collect())
}
