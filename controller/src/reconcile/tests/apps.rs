use super::*;
use crate::platform::AppOwner;

const LOOKS: usize = 3;

/// A Ready tenant without volumes, whose only machine is in a region that the list leaves out, and
/// a list of apps that is empty: nothing shows that the app is there.
async fn nothing_shows_the_app() -> Stage {
    let stage = Stage::new();
    let mut plain = tenant("acme", "nginx:1");
    plain["spec"]["volumes"] = json!([]);
    plain["spec"]["machines"][0]["config"]["mounts"] = json!([]);
    put(&stage.store, &plain, Source::Api).await;
    stage.pass().await;
    assert!(stage.pass().await.ready.contains("acme"));
    let mut world = stage.platform.world();
    world.apps.clear();
    world.error_regions.insert("ord".to_owned());
    world.owner = Some(AppOwner::Organization(ORG.to_owned()));
    world.calls.clear();
    drop(world);
    stage
}

fn asked(stage: &Stage) -> usize {
    let question = format!("app_owner {}", app_of_acme());
    stage.platform.world().calls.iter().filter(|call| **call == question).count()
}

#[tokio::test]
async fn an_app_that_is_wrongly_not_listed_is_asked_for_and_nothing_is_written() {
    let stage = nothing_shows_the_app().await;
    for _ in 0..LOOKS {
        let pass = stage.pass().await;
        assert_eq!((pass.actions, pass.calls.writes), (0, 0), "{pass:?}");
    }
    assert_eq!(asked(&stage), LOOKS);
    let preview = stage.reconciler.preview(Objects::load(&stage.store).await.unwrap()).await;
    assert_eq!(preview.unwrap().plan.actions, [], "a preview asks as well");
    assert_eq!(stage.store.secrets().await.unwrap().len(), 1, "its secret is not forgotten");
}

#[tokio::test]
async fn without_an_answer_to_whether_the_app_is_there_its_tenant_waits() {
    let stage = nothing_shows_the_app().await;
    stage.platform.fail("app_owner", rejected(503, "later"), false);
    let pass = stage.pass().await;
    assert_eq!((pass.actions, pass.failures, pass.calls.writes), (0, 0, 0), "{pass:?}");
    stage.platform.fail("app_owner", rejected(503, "later"), false);
    let preview = stage.reconciler.preview(Objects::load(&stage.store).await.unwrap()).await;
    let report = preview.unwrap().plan.report.tenants.remove(0);
    let told = report.notes.iter().any(|note| note.message.contains("was there and is not listed"));
    assert!(told, "{report:?}");
    assert_eq!(stage.store.secrets().await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_app_that_is_gone_is_made_again_with_its_secret() {
    let stage = nothing_shows_the_app().await;
    {
        let mut world = stage.platform.world();
        world.error_regions.clear();
        world.machines.clear();
        world.secrets.clear();
        world.owner = None;
    }
    stage.pass().await;
    assert!(stage.pass().await.ready.contains("acme"));
    let world = stage.platform.world();
    assert_eq!((world.apps.len(), world.secrets.len(), world.machines.len()), (1, 1, 1));
    drop(world);
    assert_eq!(asked(&stage), 1);
}

#[tokio::test]
async fn an_app_whose_name_went_to_somebody_else_is_told_as_taken() {
    let stage = nothing_shows_the_app().await;
    {
        let mut world = stage.platform.world();
        world.error_regions.clear();
        world.machines.clear();
        world.owner = Some(AppOwner::SomebodyElse);
    }
    stage.platform.fail("create_app", rejected(422, "Name has already been taken"), false);
    let pass = stage.pass().await;
    assert_eq!(pass.failures, 1, "{pass:?}");
    stage.pass().await;
    assert_eq!(stage.status("acme").await.conditions[0].reason, "NameTaken");
}
