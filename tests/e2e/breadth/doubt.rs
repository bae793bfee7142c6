//! Lists that are wrong when nothing is remembered, and apps that are no longer named.

use serde_json::json;
use vault_tests::world::looks::condition;
use vault_tests::world::{World, WorldOptions};

use super::{acme, becomes};
use crate::support::passes;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_an_empty_database_empty_lists_make_no_second_volume() -> anyhow::Result<()> {
    let mut world = World::start(WorldOptions::default()).await?;
    becomes(&world, &acme(json!({}), json!({}))).await?;
    let before = world.lists().await?;
    for actions in [
        // The organization's lists alone: the app's own tells the truth.
        json!(["list-org-machines", "list-org-volumes"]),
        // All of them: the list of apps still counts one volume.
        json!(["list-org-machines", "list-org-volumes", "list-machines", "list-volumes"]),
    ] {
        world.kill_controller();
        world.remove_database()?;
        world.set_faults(json!([{ "kind": "empty-list", "action": actions }])).await?;
        world.start_controller().await?;
        passes(&world, 5).await?;
        let volumes = world.volumes_ever().await?;
        assert_eq!(volumes.len(), 1, "{actions}: {volumes:#?}");
        world.end_faults().await?;
        world.all_ready(1).await?;
        let after = world.lists().await?;
        assert_eq!(after.machine_ids(), before.machine_ids(), "{actions}");
        assert_eq!(after.volume_ids(), before.volume_ids(), "{actions}");
    }
    assert_eq!(world.machines_ever().await?.len(), 1);
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_is_counted_and_not_shown_is_waited_for_and_told() -> anyhow::Result<()> {
    let mut world = World::start(WorldOptions::default()).await?;
    becomes(&world, &acme(json!({}), json!({}))).await?;
    becomes(&world, &acme(json!({}), json!({ "count": 0 }))).await?;
    world.kill_controller();
    world.remove_database()?;
    let actions = ["list-org-volumes", "list-volumes"];
    world.set_faults(json!([{ "kind": "empty-list", "action": actions }])).await?;
    world.write_manifest("acme.yaml", acme(json!({}), json!({})))?;
    world.start_controller().await?;
    // First it waits because the database is new.
    world
        .tenant_where("acme", "waits for its volume", |tenant| {
            let ready = condition(tenant, "Ready");
            let message = ready["message"].as_str().unwrap_or_default();
            ready["reason"] == "Unobserved" && message.contains("counts 1 volumes in app")
        })
        .await?;
    passes(&world, 3).await?;
    assert_eq!(world.volumes_ever().await?.len(), 1);
    assert_eq!(world.lists().await?.machines.len(), 0, "nor a machine without its data");
    world.end_faults().await?;
    world.all_ready(1).await?;
    let lists = world.lists().await?;
    assert_eq!((lists.machines.len(), world.volumes_ever().await?.len()), (1, 1));
    assert_eq!(lists.volumes[0]["attached_machine_id"], lists.machines[0]["id"]);
    world.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_app_gets_a_new_volume_and_an_event_tells_of_the_old_one() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    becomes(&world, &acme(json!({}), json!({}))).await?;
    becomes(&world, &acme(json!({}), json!({ "count": 0 }))).await?;
    let old = world.lists().await?.volumes[0].clone();
    becomes(&world, &acme(json!({ "app": "acme-elsewhere" }), json!({}))).await?;
    let lists = world.lists().await?;
    assert_eq!((lists.machines.len(), lists.volumes.len()), (1, 2));
    assert!(lists.volume_ids().iter().any(|id| old["id"] == id.as_str()), "the old one is kept");
    let events = world.vaultctl(&["events", "--for", "tenant/acme"]).await?.expect(0);
    let (id, app) = (old["id"].as_str().unwrap(), old["app_name"].as_str().unwrap());
    let told = format!("volume {id} in app {app}, which the manifest no longer names, stays");
    assert!(events.stdout.contains("LeftBehind") && events.stdout.contains(&told), "{events}");
    world.finish().await
}
