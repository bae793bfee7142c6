use super::*;
use crate::testing::{FakePlatform, NOW, ORG, machine, rejected, unknown, volume};

const APP: &str = "acme-app";

fn known(machines: &[&str], volumes: &[&str]) -> Known {
    let place = || KnownMachine { app: APP.to_owned(), region: Some("ord".to_owned()) };
    Known {
        machines: machines.iter().map(|id| ((*id).to_owned(), place())).collect(),
        volumes: volumes.iter().map(|id| ((*id).to_owned(), APP.to_owned())).collect(),
        expected_volumes: BTreeSet::new(),
    }
}

async fn look(platform: &FakePlatform, known: Known) -> Look {
    look_at(platform, known, NOW).await
}

async fn look_at(platform: &FakePlatform, known: Known, now: UnixMillis) -> Look {
    let organizations = BTreeSet::from([ORG.to_owned()]);
    observe(platform, &organizations, &BTreeMap::from([(ORG.to_owned(), known)]), now).await
}

#[tokio::test]
async fn whole_lists_cost_three_calls() {
    let platform = FakePlatform::default();
    platform.world().machines.push(machine("m1", "acme-box-0", APP));
    let look = look(&platform, known(&["m1"], &[])).await;
    assert_eq!(platform.calls().reads, 3);
    assert_eq!(look.organizations[ORG].machines.len(), 1);
    assert_eq!(look.organizations[ORG].gaps, Gaps::default());
}

#[tokio::test]
async fn what_the_lists_leave_out_is_asked_for_by_id() {
    let platform = FakePlatform::default();
    {
        let mut world = platform.world();
        world.machines.push(machine("m1", "acme-box-0", APP));
        world.volumes.push(volume("vol_1", "v_data", APP));
        world.unlisted.extend(["m1".to_owned(), "vol_1".to_owned()]);
    }
    let look = look(&platform, known(&["m1", "m2"], &["vol_1", "vol_2"])).await;
    let seen = &look.organizations[ORG];
    assert_eq!((seen.machines.len(), seen.volumes.len()), (1, 1));
    assert_eq!(look.gone, BTreeSet::from(["m2".to_owned(), "vol_2".to_owned()]));
}

#[tokio::test]
async fn a_volume_that_no_list_shows_is_asked_for_by_id() {
    let platform = FakePlatform::default();
    {
        let mut world = platform.world();
        world.volumes.push(volume("vol_1", "v_data", APP));
        world.unlisted.insert("vol_1".to_owned());
        world.unlisted_in_app.insert("vol_1".to_owned());
    }
    let seen = look(&platform, known(&[], &["vol_1", "vol_2"])).await;
    assert_eq!(seen.organizations[ORG].volumes[0].id, "vol_1");
    assert_eq!(seen.gone, BTreeSet::from(["vol_2".to_owned()]));
    assert_eq!(platform.calls().reads, 3 + 1 + 2);

    platform.fail("volume", unknown(), false);
    let unsure = look(&platform, known(&[], &["vol_1", "vol_2"])).await;
    assert!(!unsure.gone.contains("vol_1"));
    assert!(unsure.organizations[ORG].gaps.unclear.is_some());
}

#[tokio::test]
async fn many_volumes_gone_from_one_app_are_not_believed() {
    let platform = FakePlatform::default();
    let ids: Vec<String> = (0..51).map(|number| format!("vol_{number:03}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let look = look(&platform, known(&[], &ids)).await;
    assert!(look.organizations[ORG].gaps.unclear.is_some());
    assert_eq!(look.gone.len(), 50);
}

#[tokio::test]
async fn a_volume_that_was_sent_for_is_looked_for_in_its_app() {
    let platform = FakePlatform::default();
    platform.world().volumes.push(volume("vol_1", "v_data", APP));
    platform.world().unlisted.insert("vol_1".to_owned());
    let expected_volumes = BTreeSet::from([(APP.to_owned(), "v_data".to_owned())]);
    let look = look(&platform, Known { expected_volumes, ..Known::default() }).await;
    assert_eq!(look.organizations[ORG].volumes[0].id, "vol_1");
    assert_eq!(platform.calls().reads, 4);
}

#[tokio::test]
async fn however_many_volumes_were_sent_for_their_own_apps_wait_alone_and_each_is_asked() {
    let platform = FakePlatform::default();
    let app = |number: usize| format!("app-{number:03}");
    let count = EXPECTED_MAX + 8;
    let mut asked = 0;
    // Nobody ever answers.
    for pass in 0..40 {
        for _ in 0..EXPECTED_MAX {
            platform.fail("app_volumes", rejected(403, "no"), false);
        }
        let expected_volumes = (0..count).map(|number| (app(number), "v_data".to_owned()));
        let known = Known { expected_volumes: expected_volumes.collect(), ..Known::default() };
        let look = look_at(&platform, known, NOW.plus_ms(pass * 10_000)).await;
        let gaps = &look.organizations[ORG].gaps;
        assert_eq!(gaps.unclear, None, "nobody else waits");
        assert_eq!(gaps.volumes.len(), count);
        let VolumeGap::Unread(why) = &gaps.volumes[&app(count - 1)] else { panic!("{gaps:?}") };
        asked += usize::from(why != "other apps are asked first");
    }
    assert!(asked > 20, "{asked} of 40 passes asked the last one");
    assert_eq!(platform.calls().reads, 40 * (3 + EXPECTED_MAX as u64));
}

#[tokio::test]
async fn an_app_that_does_not_say_what_was_made_in_it_hides_no_other() {
    let platform = FakePlatform::default();
    platform.fail("app_volumes", unknown(), false);
    let expected_volumes = BTreeSet::from([(APP.to_owned(), "v_data".to_owned())]);
    let look = look(&platform, Known { expected_volumes, ..Known::default() }).await;
    let gaps = &look.organizations[ORG].gaps;
    assert!(gaps.unclear.is_none() && matches!(gaps.volumes[APP], VolumeGap::Unread(_)));
}

#[tokio::test]
async fn a_region_that_is_away_is_not_asked_for_and_nothing_in_it_is_gone() {
    let platform = FakePlatform::default();
    platform.world().machines.push(machine("m1", "acme-box-0", APP));
    platform.world().error_regions.insert("ord".to_owned());
    let look = look(&platform, known(&["m1"], &[])).await;
    assert_eq!(platform.calls().reads, 3);
    assert!(look.gone.is_empty());
    assert!(look.organizations[ORG].gaps.hides("ord").is_some());
    assert!(look.organizations[ORG].gaps.hides("iad").is_none());
}

#[tokio::test]
async fn many_things_gone_at_once_are_not_believed() {
    let platform = FakePlatform::default();
    let ids: Vec<String> = (0..51).map(|number| format!("m{number:03}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let look = look(&platform, known(&ids, &[])).await;
    assert!(look.organizations[ORG].gaps.unclear.is_some());
    assert_eq!(platform.calls().reads, 3 + 50);
}

#[tokio::test]
async fn a_question_without_an_answer_proves_nothing_and_hides_no_organization() {
    for (verb, known) in [("machine", known(&["m1"], &[])), ("app_volumes", known(&[], &["vol_1"]))]
    {
        let platform = FakePlatform::default();
        platform.fail(verb, unknown(), false);
        let look = look(&platform, known).await;
        assert!(look.gone.is_empty(), "{verb}");
        assert!(look.organizations[ORG].gaps.unclear.is_some(), "{verb}");
    }
}

#[tokio::test]
async fn a_list_that_fails_leaves_its_organization_out() {
    for verb in ["apps", "machines", "volumes"] {
        let platform = FakePlatform::default();
        platform.fail(verb, rejected(401, "no"), false);
        let look = look(&platform, Known::default()).await;
        assert!(look.organizations.is_empty());
        assert_eq!(look.failures[0].organization, ORG);
    }
}

#[tokio::test]
async fn volumes_that_are_counted_and_not_shown_are_a_gap_of_their_app() {
    let platform = FakePlatform::default();
    {
        let mut world = platform.world();
        world.volumes.push(volume("vol_1", "v_data", APP));
        world.volumes.push(volume("vol_2", "v_data", "other-app"));
        world.unlisted.insert("vol_1".to_owned());
        let counts = [(APP, 1), ("other-app", 1), ("third-app", 2)];
        world.volume_counts.extend(counts.map(|(app, count)| (app.to_owned(), count)));
    }
    let seen = look(&platform, Known::default()).await;
    let gap = |count| VolumeGap::Counted(count);
    let expected = [(APP.to_owned(), gap(1)), ("third-app".to_owned(), gap(2))];
    assert_eq!(seen.organizations[ORG].gaps.volumes, BTreeMap::from(expected));
    assert_eq!(platform.calls().reads, 3, "nothing is asked for that");

    // One that is known by id is asked for and found: there is no gap then.
    let seen = look(&platform, known(&[], &["vol_1"])).await;
    assert!(!seen.organizations[ORG].gaps.volumes.contains_key(APP));
}
