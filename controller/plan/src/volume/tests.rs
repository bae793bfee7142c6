use vault_api::tenant::MachineState;

use super::*;
use crate::metadata;
use crate::observed::PlatformState;
use crate::testing::{NOW, machine, volume, wanted};

fn new(volumes: &[ObservedVolume], machines: &[ObservedMachine]) -> ForNew {
    new_after(&LastUsed::new(), volumes, machines)
}

fn new_after(
    last_used: &LastUsed,
    volumes: &[ObservedVolume],
    machines: &[ObservedMachine],
) -> ForNew {
    let wanted = wanted(MachineState::Started);
    let places: Vec<usize> = (0..volumes.len()).collect();
    let machines_in_app: Vec<usize> = (0..machines.len()).collect();
    let lists = AppLists {
        machines,
        volumes,
        machines_in_app: &machines_in_app,
        volumes_in_app: &places,
        last_used,
    };
    for_new(wanted.volume.as_ref().unwrap(), &wanted, lists)
}

fn reason(found: ForNew) -> Option<NoteReason> {
    match found {
        ForNew::Obstacle(note) | ForNew::Elsewhere(_, note) => Some(note.reason),
        _ => None,
    }
}

#[test]
fn a_new_machine_takes_back_its_volume_or_gets_one() {
    assert_eq!(new(&[], &[]), ForNew::Create);
    let mut other = volume("a", "ord", None);
    other.name = "v_other".to_owned();
    assert_eq!(new(&[other.clone()], &[]), ForNew::Create);
    assert_eq!(new(&[other, volume("b", "ord", None)], &[]), ForNew::TakeBack(1));
    // Of several, the first by id in the right region, unless it is known which is the newest.
    let several = [volume("c", "ord", None), volume("a", "fra", None), volume("b", "ord", None)];
    assert!(matches!(new(&several, &[]), ForNew::TakeBackOneOf(2, _)));
    let dated = |id, region, at| ObservedVolume {
        created_at: Some(UnixMillis(at)),
        ..volume(id, region, None)
    };
    let moved = [dated("a", "ord", 1), dated("b", "fra", 2), dated("c", "ord", 3)];
    assert!(matches!(new(&moved, &[]), ForNew::TakeBackOneOf(2, _)));
    // The data is elsewhere by now; what was left behind here is not given for it.
    let left = [dated("a", "ord", 1), dated("b", "fra", 2)];
    assert_eq!(reason(new(&left, &[])), Some(NoteReason::Invalid));
    // But what was in use after the younger one was made has the later data.
    let used = LastUsed::from([("a".to_owned(), UnixMillis(3))]);
    assert!(matches!(new_after(&used, &left, &[]), ForNew::TakeBackOneOf(0, _)));
    let both = LastUsed::from([("a".to_owned(), UnixMillis(3)), ("b".to_owned(), UnixMillis(4))]);
    assert_eq!(reason(new_after(&both, &left, &[])), Some(NoteReason::Invalid));
}

#[test]
fn a_volume_that_cannot_be_had_now_is_never_doubled() {
    let elsewhere = new(&[volume("a", "fra", None)], &[]);
    assert_eq!(reason(elsewhere), Some(NoteReason::Invalid));
    let mut making = volume("a", "ord", None);
    making.state = "restoring".to_owned();
    assert_eq!(reason(new(&[making], &[])), Some(NoteReason::Waiting));
    // The claim of a machine that is gone lingers, and outweighs a free volume of the same name.
    let lingering = [volume("a", "ord", None), volume("b", "ord", Some("machine"))];
    assert_eq!(reason(new(&lingering, &[])), Some(NoteReason::Waiting));
    let going = machine(PlatformState::Destroying, 0);
    assert_eq!(reason(new(&lingering, &[going])), Some(NoteReason::Waiting));
    let holder = machine(PlatformState::Started, 0);
    assert_eq!(reason(new(&lingering, &[holder])), Some(NoteReason::NotSupported));
}

#[test]
fn an_existing_machine_is_compared_by_what_it_holds() {
    let wanted = wanted(MachineState::Started);
    let seen_by =
        |machine: &ObservedMachine, volume: Option<&DesiredVolume>, seen: &[ObservedVolume]| {
            let wanted = DesiredMachine { volume: volume.cloned(), ..wanted.clone() };
            let places: Vec<usize> = (0..seen.len()).collect();
            let lists = AppLists {
                machines: &[],
                volumes: seen,
                machines_in_app: &[],
                volumes_in_app: &places,
                last_used: &LastUsed::new(),
            };
            match for_existing(&wanted, machine, lists, &Policy::default(), NOW) {
                Fit::Good(place) => ("good", place, None),
                Fit::Grow(place) => ("grow", Some(place), None),
                Fit::Different(place, note) => ("different", Some(place), Some(note.reason)),
                Fit::Anew(place, _) => ("anew", place, None),
                Fit::Unclear(note) => ("unclear", None, Some(note.reason)),
            }
        };
    let fit = |volume: Option<&DesiredVolume>, seen: &[ObservedVolume], age_ms| {
        seen_by(&machine(PlatformState::Started, age_ms), volume, seen)
    };
    let data = wanted.volume.as_ref();
    let held = [volume("a", "ord", None), volume("b", "ord", Some("machine"))];
    assert_eq!(fit(data, &held, 0), ("good", Some(1), None));
    assert_eq!(fit(None, &[], 0), ("good", None, None));
    let mut larger = held.clone();
    larger[1].size_gb = 3;
    assert_eq!(fit(data, &larger, 0), ("different", Some(1), Some(NoteReason::Invalid)));
    let more = DesiredVolume { size_gb: 2, ..data.unwrap().clone() };
    assert_eq!(fit(Some(&more), &held, 0), ("grow", Some(1), None));
    let mut growing = held.clone();
    growing[1].state = "extending".to_owned();
    assert_eq!(fit(Some(&more), &growing, 0), ("different", Some(1), Some(NoteReason::Waiting)));
    // Another volume than the manifest mounts, one too many, or none.
    let home = DesiredVolume { name: "v_home".to_owned(), ..more };
    assert_eq!(fit(Some(&home), &held, 0), ("anew", Some(1), None));
    assert_eq!(fit(None, &held, 0), ("anew", Some(1), None));
    // The list of volumes may lag, for a while.
    assert_eq!(fit(data, &held[..1], 0), ("unclear", None, Some(NoteReason::Waiting)));
    assert_eq!(fit(data, &held[..1], 299_999), ("unclear", None, Some(NoteReason::Waiting)));
    assert_eq!(fit(data, &held[..1], 300_000), ("unclear", None, Some(NoteReason::Stuck)));
    assert_eq!(fit(data, &[], 0), ("unclear", None, Some(NoteReason::Stuck)));
    // Its config is another, and it does not say that it was made with a volume.
    let mut bare = machine(PlatformState::Started, 0);
    bare.metadata.insert(metadata::SPEC_HASH.to_owned(), "0".to_owned());
    assert_eq!(seen_by(&bare, data, &held[..1]), ("anew", None, None));
    bare.metadata.insert(metadata::VOLUME_GB.to_owned(), "1".to_owned());
    assert_eq!(seen_by(&bare, data, &[]), ("unclear", None, Some(NoteReason::Stuck)));
}
