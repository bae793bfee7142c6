//! Files into a machine and out of it: `vaultctl cp`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use vault_tests::manifests;
use vault_tests::world::World;

use crate::support;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_and_folders_go_into_a_machine_and_out_of_it() -> anyhow::Result<()> {
    let world = World::start(support::processes()).await?;
    if !support::is_isolated(&world, "files are copied into a machine of its own")? {
        return world.finish().await;
    }
    world.write_manifest("acme.yaml", manifests::agent("acme", 1))?;
    world.all_ready(1).await?;
    let here = |name: &str| world.path(name).to_string_lossy().into_owned();
    let large: Vec<u8> = (0..5_000_000_u32).map(|index| (index % 251) as u8).collect();
    fs::create_dir_all(world.path("tree/deep"))?;
    fs::write(world.path("tree/deep/large"), &large)?;
    fs::write(world.path("tree/script"), "#!/bin/sh\necho ran\n")?;
    fs::set_permissions(world.path("tree/script"), fs::Permissions::from_mode(0o755))?;

    // Into the machine: a folder, and two files to a folder that is there.
    drop(world.vaultctl(&["cp", "-rp", &here("tree"), "acme:/srv"]).await?.expect(0));
    let ran = world.vaultctl(&["exec", "acme", "--", "/srv/tree/script"]).await?.expect(0);
    assert_eq!(ran.stdout, "ran\n", "the mode came along");
    let (script, deep) = (here("tree/script"), here("tree/deep/large"));
    drop(world.vaultctl(&["cp", &script, &deep, "acme:/srv/tree"]).await?.expect(0));
    let compare = ["exec", "acme", "--", "cmp", "/srv/tree/large", "/srv/tree/deep/large"];
    drop(world.vaultctl(&compare).await?.expect(0));
    // To the home folder, where commands begin.
    drop(world.vaultctl(&["cp", &script, "acme:"]).await?.expect(0));
    drop(world.vaultctl(&["exec", "acme", "--", "sh", "./script"]).await?.expect(0));

    // And out of it, the content of a folder alone.
    drop(world.vaultctl(&["cp", "-r", "acme:/srv/tree/.", &here("back")]).await?.expect(0));
    assert_eq!(fs::read(world.path("back/deep/large"))?, large);
    // Half of it, and then the rest.
    fs::write(world.path("resumed"), &large[..2_000_000])?;
    let resume = ["cp", "--resume", "acme:/srv/tree/large", &here("resumed")];
    drop(world.vaultctl(&resume).await?.expect(0));
    assert_eq!(fs::read(world.path("resumed"))?, large);

    let absent = world.vaultctl(&["cp", "acme:/srv/absent", &here("x")]).await?.expect(1);
    assert!(absent.stderr.contains("/srv/absent: cannot be opened: No such file"), "{absent}");
    let folder = world.vaultctl(&["cp", "acme:/srv", &here("x")]).await?.expect(1);
    assert!(folder.stderr.contains("/srv: is a folder: --recursive copies folders"), "{folder}");
    assert!(!world.path("x").exists());
    drop(world.vaultctl(&["cp", &script, &here("x")]).await?.expect(2));
    let gone = ["cp", "--connect-timeout", "0", &script, "nobody:"];
    drop(world.vaultctl(&gone).await?.expect(255));
    world.finish().await
}
