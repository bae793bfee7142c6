//! What `audit` finds: what names and marks prove to be ours, and nobody wants.

use super::*;

#[test]
fn orphans_are_what_names_and_marks_prove_to_be_ours() {
    let mut case = Case::new();
    let kinds = |case: &Case| -> Vec<&'static str> {
        let found = orphans(&case.desired(), &case.observed());
        found
            .iter()
            .map(|orphan| match orphan.what {
                OrphanKind::Machine(_) => "machine",
                OrphanKind::App(..) => "app",
                OrphanKind::Volume(_) => "volume",
                OrphanKind::Unused(_) => "unused",
                OrphanKind::Duplicate(_) => "duplicate",
                OrphanKind::Tombstone(_) => "tombstone",
                OrphanKind::Bucket { .. } => "bucket",
            })
            .collect()
    };
    assert_eq!(kinds(&case), ["app", "tombstone"]);
    case.tombstones.clear();
    assert_eq!(kinds(&case), ["app", "volume"]);
    case.lists.machines.push(machine("acme-box-1", "acme"));
    assert_eq!(kinds(&case), ["machine", "app", "volume"]);
    case.tenant = Some((spec(1, "Retain"), false));
    assert_eq!(kinds(&case), ["unused"]);
    case.tenant = Some((spec(2, "Retain"), false));
    assert_eq!(kinds(&case), [] as [&str; 0]);
    let newer = ObservedVolume { id: "vol_2".to_owned(), created_at: Some(NOW), ..volume() };
    case.lists.volumes.push(newer);
    assert_eq!(kinds(&case), ["duplicate"]);
    // Neither mark nor derived name: somebody else's.
    let mut foreign = Case::new();
    foreign.tombstones.clear();
    foreign.lists.apps = vec!["acme-aaaaaaaa".to_owned()];
    foreign.lists.volumes[0].app = "acme-aaaaaaaa".to_owned();
    assert_eq!(kinds(&foreign), [] as [&str; 0]);
}

#[test]
fn an_app_of_nobody_tells_what_it_holds_and_a_volume_in_it_is_nobodys_either() {
    let mut case = Case::new();
    case.tombstones.clear();
    case.lists.apps.push("elsewhere".to_owned());
    let elsewhere = || "elsewhere".to_owned();
    for name in ["theirs", "theirs-again"] {
        case.lists.machines.push(ObservedMachine { app: elsewhere(), ..machine(name, "x") });
    }
    case.lists.machines.push(machine("theirs-too", "x"));
    let found = |case: &Case| -> Vec<(Option<String>, OrphanKind)> {
        let found = orphans(&case.desired(), &case.observed()).into_iter();
        let strangers = |kind: &OrphanKind| matches!(kind, OrphanKind::Machine(_));
        found
            .filter(|orphan| !strangers(&orphan.what))
            .map(|orphan| (orphan.tenant, orphan.what))
            .collect()
    };
    let acme = || Some("acme".to_owned());
    let expected = [(acme(), OrphanKind::App(1, 1)), (acme(), OrphanKind::Volume(volume()))];
    assert_eq!(found(&case), expected);
    // The tombstone of one tenant says nothing of another's app, and that of a volume of no other.
    case.tombstones = vec![of_tenant("umbra")];
    assert_eq!(found(&case)[..2], expected);
    case.tombstones = vec![of_tenant("acme")];
    assert!(!found(&case).contains(&expected[0]));
    let other = Tombstone { id: "vol_2".to_owned(), ..due() };
    case.tombstones = vec![other.clone()];
    assert!(found(&case).contains(&expected[1]));
    case.tombstones = vec![other, due()];
    assert!(!found(&case).contains(&expected[1]));
}

#[test]
fn a_volume_is_unused_if_it_is_free_and_its_tenant_does_not_want_it() {
    let unused = |count, attached: Option<&str>| {
        let mut case = Case::new();
        case.tombstones.clear();
        case.lists.volumes[0].attached_machine = attached.map(str::to_owned);
        case.tenant = Some((spec(count, "Retain"), false));
        let found = orphans(&case.desired(), &case.observed());
        found.iter().any(|orphan| matches!(orphan.what, OrphanKind::Unused(_)))
    };
    assert!(unused(1, None));
    assert!(!unused(1, Some("anybody")), "somebody holds it");
    assert!(!unused(2, None), "it is wanted");
    assert!(!unused(2, Some("machine")));
}

#[test]
fn a_volume_of_a_shared_app_is_a_tenants_if_its_name_says_so_wanted_or_not() {
    let mut case = Case::new();
    case.tombstones.clear();
    let shared = |count| {
        let mut spec = spec(count, "Retain");
        spec.app = serde_json::from_value(json!({ "name": "many", "shared": true })).ok();
        spec
    };
    case.lists.apps = vec!["many".to_owned()];
    case.lists.volumes[0].app = "many".to_owned();
    let kinds = |case: &Case| orphans(&case.desired(), &case.observed()).len();
    case.tenant = Some((shared(2), false));
    assert_eq!(kinds(&case), 0, "it is wanted");
    case.tenant = Some((shared(1), false));
    assert_eq!(kinds(&case), 1, "its slot says whose it is");
    case.lists.volumes[0].name = controller().tenant_uid("other").volume_name("box", 1, "data");
    assert_eq!(kinds(&case), 0, "nothing says whose it is");
}

#[test]
fn of_several_volumes_of_one_name_the_one_that_is_held_or_newest_is_no_duplicate() {
    let duplicates = |change: fn(&mut Vec<ObservedVolume>)| -> Vec<String> {
        let mut case = Case::new();
        case.tombstones.clear();
        case.tenant = Some((spec(2, "Retain"), false));
        let second = ObservedVolume { id: "vol_2".to_owned(), ..volume() };
        case.lists.volumes.push(second);
        change(&mut case.lists.volumes);
        let found = orphans(&case.desired(), &case.observed()).into_iter();
        let of = |what| match what {
            OrphanKind::Duplicate(volume) => Some(volume.id),
            _ => None,
        };
        found.filter_map(|orphan| of(orphan.what)).collect()
    };
    assert_eq!(duplicates(|_| {}), ["vol_2"], "of two alike always the same one");
    assert_eq!(duplicates(|volumes| volumes[1].created_at = Some(NOW)), ["vol_1"], "it is older");
    assert_eq!(duplicates(|volumes| volumes[1].name = "data".to_owned()), [""; 0]);
    let held = |volumes: &mut Vec<ObservedVolume>| {
        volumes[1].attached_machine = Some("machine".to_owned());
    };
    assert_eq!(duplicates(held), ["vol_1"]);
}
