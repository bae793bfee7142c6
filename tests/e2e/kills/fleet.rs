//! The fleets of these stories, and everything that the platform holds of them.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::ensure;
use vault_tests::eventually::eventually;
use vault_tests::inventory::{Inventory, Lists};
use vault_tests::manifests;
use vault_tests::proxy::Write;
use vault_tests::world::{World, WorldOptions};

use crate::support::passes;

/// The app of all tenants of the form [`Form::Shared`].
pub(super) const SHARED_APP: &str = "vault-tenants";
/// A file beneath `--secrets-dir` that manifests name.
pub(super) const SECRET_FILE: &str = "secrets/fleet";
/// A pass that writes nothing proves little; as many do.
const QUIET_PASSES: u64 = 3;

/// What a tenant has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// An app, and machines with a volume each.
    Volume,
    /// An app, and machines without volumes.
    Plain,
    /// Machines in an app of many tenants.
    Shared,
}

/// A tenant as its manifest says it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tenant<'a> {
    pub(super) name: &'a str,
    pub(super) form: Form,
    pub(super) machines: u32,
    /// The tag of its image.
    pub(super) image: u32,
    /// Whether it has a secret from a file.
    pub(super) secret: bool,
}

/// One of each form.
pub(super) const THREE: [Tenant<'static>; 3] = [
    Tenant { name: "alpha", form: Form::Volume, machines: 1, image: 1, secret: false },
    Tenant { name: "beta", form: Form::Plain, machines: 2, image: 1, secret: false },
    Tenant { name: "gamma", form: Form::Shared, machines: 1, image: 1, secret: true },
];

impl Tenant<'_> {
    pub(super) fn file(&self) -> String {
        format!("{}.yaml", self.name)
    }

    pub(super) fn manifest(&self) -> String {
        let text = match self.form {
            Form::Volume => {
                manifests::idle(self.name).replace("debian:bookworm-slim", &self.image()).replace(
                    "region: ord\n",
                    &format!("region: ord\n      count: {}\n", self.machines),
                )
            }
            Form::Plain | Form::Shared => manifests::agent(self.name, self.machines)
                .replace("registry.fly.io/vault-tenants/agent:1", &self.image()),
        };
        let text = match self.form {
            Form::Shared => text.replace(
                "spec:\n",
                &format!("spec:\n  app: {{ name: {SHARED_APP}, shared: true }}\n"),
            ),
            Form::Volume | Form::Plain => text,
        };
        match self.secret {
            true => text + "  secrets:\n    - { name: DATABASE_URL, from: { file: fleet } }\n",
            false => text,
        }
    }

    /// The names of its machines.
    pub(super) fn machine_names(&self) -> impl Iterator<Item = String> {
        (0..self.machines).map(|index| format!("{}-box-{index}", self.name))
    }

    /// `MACHINE IMAGE` of each of its machines.
    pub(super) fn images(&self) -> impl Iterator<Item = String> {
        self.machine_names().map(|name| format!("{name} {}", self.image()))
    }

    fn image(&self) -> String {
        format!("registry.fly.io/vault-tenants/box:{}", self.image)
    }
}

pub(super) fn options(master_key: Option<Vec<u8>>) -> WorldOptions {
    WorldOptions {
        interval: Duration::from_millis(100),
        master_key,
        proxied: true,
        ..WorldOptions::default()
    }
}

/// A platform, and a folder with the manifests of these tenants; no controller yet.
pub(super) async fn prepare(
    master_key: Option<Vec<u8>>,
    tenants: &[Tenant<'_>],
) -> anyhow::Result<World> {
    let world = World::with_platform(options(master_key)).await?;
    world.write_file(SECRET_FILE, "the first value")?;
    write(&world, tenants)?;
    Ok(world)
}

/// Writes the manifests of these tenants.
pub(super) fn write(world: &World, tenants: &[Tenant<'_>]) -> anyhow::Result<()> {
    for tenant in tenants {
        world.write_manifest(&tenant.file(), tenant.manifest())?;
    }
    Ok(())
}

/// Everything of the controller at the platform, without ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) inventory: Inventory,
    /// `MACHINE IMAGE`
    pub(super) images: Vec<String>,
    /// `APP/NAME`
    pub(super) secrets: Vec<String>,
}

impl Whole {
    pub(super) async fn read(world: &World) -> anyhow::Result<Self> {
        let lists = world.lists().await?;
        let inventory = lists.inventory();
        let secrets = world.secrets(&inventory.apps).await?;
        Ok(Self { images: lists.images(), inventory, secrets })
    }
}

/// Waits until `count` tenants are Ready and the journal is settled; then the next passes must
/// write nothing, and the journal must have seen every write.
pub(super) async fn settled(world: &World, count: usize) -> anyhow::Result<()> {
    world.all_ready(count).await?;
    eventually("the journal is settled", async || match world.open_intents() {
        Ok(0) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    let before = world.proxy()?.writes();
    passes(world, QUIET_PASSES).await?;
    let after = world.proxy()?.writes();
    ensure!(before == after, "written with nothing to do: {:#?}", &after[before.len()..]);
    Ok(())
}

/// Every write at the platform was sent by an intent: never more writes than intents.
pub(super) fn journaled(world: &World) -> anyhow::Result<()> {
    let (mut writes, intents) = (world.proxy()?.writes(), world.sent_intents()?);
    writes.retain(|write| !is_lease(write));
    ensure!(writes.len() <= intents, "{intents} intents were sent for these writes: {writes:#?}");
    Ok(())
}

/// Leases are taken and ended within the intent of what is done under them, and leave nothing.
fn is_lease(write: &Write) -> bool {
    write.path.ends_with("/lease")
}

/// Nothing was made twice: there were never more machines and volumes than there are, and nothing
/// was deleted.
pub(super) async fn made_once(world: &World) -> anyhow::Result<()> {
    let lists = world.lists().await?;
    let (machines, volumes) = (world.machines_ever().await?, world.volumes_ever().await?);
    ensure!(machines.len() == lists.machines.len(), "machines that ever were: {machines:#?}");
    ensure!(volumes.len() == lists.volumes.len(), "volumes that ever were: {volumes:#?}");
    let writes = world.proxy()?.writes();
    let deleted = writes.iter().filter(|write| write.method == "DELETE" && !is_lease(write));
    let deleted: Vec<_> = deleted.collect();
    ensure!(deleted.is_empty(), "deleted: {deleted:#?}");
    Ok(())
}

/// No two machines and no two volumes of an app have one name, at any moment.
pub(super) fn no_twins(lists: &Lists) -> anyhow::Result<()> {
    for (kind, objects) in [("machines", &lists.machines), ("volumes", &lists.volumes)] {
        let mut seen = BTreeSet::new();
        for object in objects {
            let name = (object["app_name"].as_str(), object["name"].as_str());
            ensure!(seen.insert(name), "two {kind} with one name: {object:#}");
        }
    }
    Ok(())
}
