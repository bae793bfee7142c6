//! A fleet that changes, with the controller killed after every answer that the change takes.
//!
//! ```text
//!   settled ─▶ changed while no controller runs ─▶ start, kill at n ─▶ start, settled: as without
//!      ▲                                                                                kills?
//!      └────────────────────── changed back, settled: as before? ◀──────────────────────────┘
//! ```

use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::Method;
use vault_tests::client::TENANTS;
use vault_tests::world::World;
use vault_tests::world::controller::Crash;

use super::answers::{answers_of, crashes};
use super::fleet::{THREE, Tenant, Whole, journaled, prepare, settled, write};
use crate::support::say;

/// Worlds at once, each of which tries its share of the numbers.
const LANES: usize = 2;
/// In CI every third answer, as for a first convergence.
const STEP: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Every tenant gets another image.
    Image,
    /// A tenant of two machines keeps one.
    ScaleDown,
    /// Two of three tenants are deleted: the one with a volume, and the one in a shared app.
    Delete,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_every_answer_of_an_image_update() -> anyhow::Result<()> {
    story(Change::Image).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_every_answer_of_a_scale_down() -> anyhow::Result<()> {
    story(Change::ScaleDown).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_every_answer_of_a_deletion() -> anyhow::Result<()> {
    story(Change::Delete).await
}

async fn story(change: Change) -> anyhow::Result<()> {
    let mut lane = Lane::start(change, None).await?;
    let (after, last) = lane.without_kills().await?;
    lane.undo().await?;
    let key = std::fs::read(lane.world.path("controller/master.key"))?;
    lane.world.finish().await?;

    let crashes = crashes(last, STEP);
    let total = crashes.len();
    let shares = (0..LANES).map(|lane| {
        let share = crashes.iter().skip(lane).step_by(LANES).copied();
        share.collect::<Vec<Crash>>()
    });
    let (after, key) = (&after, &key);
    let lanes = stream::iter(shares).map(|share| async move {
        let mut lane = Lane::start(change, Some(key.clone())).await?;
        for crash in share {
            let outcome = lane.killed(crash, after).await;
            outcome.map_err(|error| error.context(format!("{change:?}, {crash:?}")))?;
        }
        lane.world.finish().await
    });
    let () = lanes.buffer_unordered(LANES).try_collect().await?;
    say(&format!("{change:?} has {last} answers: {total} kills"));
    Ok(())
}

/// A world whose controller runs and whose fleet is settled, between two kills.
struct Lane {
    world: World,
    change: Change,
    before: Whole,
    machines: Vec<String>,
    volumes: Vec<String>,
}

impl Lane {
    async fn start(change: Change, key: Option<Vec<u8>>) -> anyhow::Result<Self> {
        let manifests: &[Tenant<'_>] = if change == Change::Delete { &[] } else { &THREE };
        let mut world = prepare(key, manifests).await?;
        world.start_controller().await?;
        if change == Change::Delete {
            apply(&world).await?;
        }
        settled(&world, THREE.len()).await?;
        let (before, lists) = (Whole::read(&world).await?, world.lists().await?);
        let (machines, volumes) = (lists.machine_ids(), lists.volume_ids());
        Ok(Self { world, change, before, machines, volumes })
    }

    /// How many tenants are left when the change is done.
    fn left(&self) -> usize {
        if self.change == Change::Delete { 1 } else { THREE.len() }
    }

    /// Leaves the change to be done, known to no running controller.
    async fn begin(&mut self) -> anyhow::Result<()> {
        let changed = THREE.map(|tenant| match self.change {
            Change::Image => Tenant { image: 2, ..tenant },
            Change::ScaleDown => Tenant { machines: 1, ..tenant },
            Change::Delete => tenant,
        });
        if self.change != Change::Delete {
            self.world.kill_controller();
            return write(&self.world, &changed);
        }
        // What it takes while the platform is gone, it cannot act upon before it is killed.
        self.world.proxy()?.refuse(true);
        for tenant in [THREE[0], THREE[2]] {
            let path = format!("{TENANTS}/{}", tenant.name);
            let deleted = self.world.client()?.send(Method::DELETE, &path, None).await?;
            assert!([200, 202].contains(&deleted.status), "{deleted:?}");
        }
        self.world.kill_controller();
        self.world.proxy()?.refuse(false);
        Ok(())
    }

    async fn undo(&self) -> anyhow::Result<()> {
        match self.change {
            Change::Delete => apply(&self.world).await?,
            Change::Image | Change::ScaleDown => write(&self.world, &THREE)?,
        }
        settled(&self.world, THREE.len()).await
    }

    /// What comes of the change, and how many answers it takes.
    async fn without_kills(&mut self) -> anyhow::Result<(Whole, u64)> {
        self.begin().await?;
        let since = self.world.proxy()?.answers();
        self.world.start_controller().await?;
        settled(&self.world, self.left()).await?;
        let after = Whole::read(&self.world).await?;
        assert_ne!(after, self.before, "{:?} changes something", self.change);
        Ok((after, answers_of(&self.world, since)?))
    }

    /// One kill, `crash.answers` after the start, and back.
    async fn killed(&mut self, crash: Crash, after: &Whole) -> anyhow::Result<()> {
        let made = self.world.machines_ever().await?.len();
        self.begin().await?;
        let since = self.world.proxy()?.answers();
        self.world.spawn_controller(Some(Crash { answers: since + crash.answers, ..crash }))?;
        self.world.crashed().await?;
        self.world.database_is_whole()?;
        self.world.start_controller().await?;
        settled(&self.world, self.left()).await?;
        journaled(&self.world)?;
        assert_eq!(Whole::read(&self.world).await?, *after, "{:?}, {crash:?}", self.change);
        let lists = self.world.lists().await?;
        let ids = lists.machine_ids();
        assert!(ids.iter().all(|id| self.machines.contains(id)), "{crash:?}: {ids:?} are new");
        assert_eq!(lists.volume_ids(), self.volumes, "{crash:?}: the volumes are the same");
        let ever = self.world.machines_ever().await?;
        assert_eq!(ever.len(), made, "{crash:?}: none was made in between: {ever:#?}");

        self.undo().await?;
        assert_eq!(Whole::read(&self.world).await?, self.before, "changed back after {crash:?}");
        let lists = self.world.lists().await?;
        assert_eq!(lists.volume_ids(), self.volumes, "{crash:?}: the volumes are taken back");
        self.machines = lists.machine_ids();
        Ok(())
    }
}

/// Applies the fleet through the API, where it can be deleted by name. Its secrets come from the
/// operator's folder, which the API may not name.
async fn apply(world: &World) -> anyhow::Result<()> {
    for tenant in THREE {
        let tenant = Tenant { secret: false, ..tenant };
        let file = world.write_file(&tenant.file(), tenant.manifest())?;
        let file = file.to_str().expect("a path in ASCII");
        drop(world.vaultctl(&["apply", "-f", file]).await?.expect(0));
    }
    Ok(())
}
