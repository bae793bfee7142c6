//! Kills at random moments while manifests change, for as long as one asks.
//!
//! ```text
//!   edit ─▶ a random moment ─▶ SIGKILL ─▶ look at the database ─▶ start ──┐  one to three times,
//!    ▲                                                                   │  then let it settle:
//!    └───────────────────────────────────────────────────────────────────┘  the inventory is exact
//! ```
//!
//! The moment is one of time, not an answer's number: so kills also fall into starts, into commits
//! and between calls. The seed gives the same edits and the same spans again; what the controller
//! has done by then is up to the machine.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use vault_tests::eventually;
use vault_tests::world::World;

use super::fleet::{Form, SECRET_FILE, THREE, Tenant, Whole, no_twins, prepare, settled, write};
use super::number;
use crate::support::say;

/// In CI; `VAULT_KILLS_SECONDS` asks for more.
const SECONDS: u64 = 10;
/// A start with its first pass takes less than this, so that some kills fall before and some after.
const SPAN_MAX_MS: u64 = 900;
/// Kills in a row, without time to settle.
const ROW_MAX: u32 = 3;
const MACHINES_MAX: u32 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_while_manifests_change() -> anyhow::Result<()> {
    let seed = number("VAULT_KILLS_SEED").unwrap_or_else(|| fastrand::u64(..));
    let seconds = number("VAULT_KILLS_SECONDS").unwrap_or(SECONDS);
    say(&format!("killed at random for {seconds} s: VAULT_KILLS_SEED={seed}"));
    let mut story = Story::begin(Rng::with_seed(seed)).await?;
    let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
    let mut rows = 0;
    while rows == 0 || tokio::time::Instant::now() < end {
        let kills = story.kills;
        let row = story.row().await;
        row.map_err(|error| error.context(format!("seed {seed}, after {kills} kills")))?;
        rows += 1;
    }
    say(&format!("killed {} times at random: settled {rows} times", story.kills));
    story.world.finish().await
}

struct Story {
    world: World,
    random: Rng,
    fleet: [Tenant<'static>; 3],
    /// The apps and the secrets of the fleet, which no edit changes.
    first: Whole,
    /// Every volume that was ever seen: none may go.
    volumes: BTreeSet<String>,
    kills: u32,
}

impl Story {
    async fn begin(random: Rng) -> anyhow::Result<Self> {
        let mut world = prepare(None, &THREE).await?;
        world.start_controller().await?;
        settled(&world, THREE.len()).await?;
        let first = Whole::read(&world).await?;
        let volumes = world.lists().await?.volume_ids().into_iter().collect();
        Ok(Self { world, random, fleet: THREE, first, volumes, kills: 0 })
    }

    /// Some kills in a row, with edits between them, and then the inventory.
    async fn row(&mut self) -> anyhow::Result<()> {
        for place in 0..self.random.u32(1..=ROW_MAX) {
            if place > 0 {
                self.world.spawn_controller(None)?;
            }
            self.edit()?;
            let span = Duration::from_millis(self.random.u64(0..SPAN_MAX_MS));
            eventually::elapse(span).await;
            self.world.kill_controller();
            self.kills += 1;
            self.world.database_is_whole()?;
            self.nothing_doubled_or_lost().await?;
        }
        self.world.start_controller().await?;
        settled(&self.world, self.fleet.len()).await?;
        self.nothing_doubled_or_lost().await?;
        self.is_exact().await
    }

    /// Changes one thing of one tenant; a secret's value changes for all who have it.
    fn edit(&mut self) -> anyhow::Result<()> {
        if self.random.u32(0..5) == 0 {
            let value = format!("the value {}", self.random.u64(..));
            self.world.write_file(SECRET_FILE, value)?;
            return Ok(());
        }
        let tenant = &mut self.fleet[self.random.usize(0..THREE.len())];
        match self.random.bool() {
            true => tenant.image += 1,
            false => tenant.machines = self.random.u32(1..=MACHINES_MAX),
        }
        write(&self.world, &[*tenant])
    }

    async fn nothing_doubled_or_lost(&mut self) -> anyhow::Result<()> {
        let lists = self.world.lists().await?;
        no_twins(&lists)?;
        let volumes: BTreeSet<String> = lists.volume_ids().into_iter().collect();
        let lost: Vec<&String> = self.volumes.difference(&volumes).collect();
        anyhow::ensure!(lost.is_empty(), "volumes are gone: {lost:?}");
        self.volumes = volumes;
        Ok(())
    }

    /// Every machine that the manifests name is there once, started and at its image, with its
    /// volume if it has one; and no other machine is.
    async fn is_exact(&self) -> anyhow::Result<()> {
        let now = Whole::read(&self.world).await?;
        assert_eq!(now.inventory.apps, self.first.inventory.apps);
        assert_eq!(now.secrets, self.first.secrets);
        let mut images: Vec<String> = self.fleet.iter().flat_map(Tenant::images).collect();
        images.sort();
        assert_eq!(now.images, images);
        for machine in &now.inventory.machines {
            assert!(machine.ends_with(" ord started"), "{now:#?}");
        }
        for tenant in self.fleet.iter().filter(|tenant| tenant.form == Form::Volume) {
            for machine in tenant.machine_names() {
                let attached = format!(" on {machine}");
                let volumes = now.inventory.volumes.iter();
                let own = volumes.filter(|volume| volume.ends_with(&attached)).count();
                assert_eq!(own, 1, "volumes of {machine}: {now:#?}");
            }
        }
        Ok(())
    }
}
