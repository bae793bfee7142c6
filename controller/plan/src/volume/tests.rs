use vault_api::tenant::MachineState;

use super::*;
use crate::observed::PlatformState;
use crate::testing::{NOW, machine, volume, wanted};

fn new(volumes: &[ObservedVolume], machines: &[ObservedMachine]) -> ForNew {
    let wanted = wanted(MachineState::Started);
    let places: Vec<usize> = (0..volumes.len()).collect();
    let machines_in_app: Vec<usize> = (0..machines.len()).collect();
    let lists =
        AppLists { machines, volumes, machines_in_app: &machines_in_app, volumes_in_app: &places };
    for_new(wanted.volume.as_ref().unwrap(), &wanted, lists)
}

fn reason(found: ForNew) -> Option<NoteReason> {
    match found {
        ForNew::Obstacle(note) => Some(note.reason),
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
    // Of several, the first by id in the right region.
    let several = [volume("c", "ord", None), volume("a", "fra", None), volume("b", "ord", None)];
    assert!(matches!(new(&several, &[]), ForNew::TakeBackOneOf(2, _)));
}

#[test]
fn a_volume_that_cannot_be_had_now_is_never_doubled() {
    let elsewhere = new(&[volume("a", "fra", None)], &[]);
    assert_eq!(reason(elsewhere), Some(NoteReason::NotSupported));
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
    let fit = |wanted: Option<&DesiredVolume>, seen: &[ObservedVolume], age_ms| {
        let places: Vec<usize> = (0..seen.len()).collect();
        let machine = machine(PlatformState::Started, age_ms);
        let lists = AppLists {
            machines: &[],
            volumes: seen,
            machines_in_app: &[],
            volumes_in_app: &places,
        };
        match for_existing(wanted, &machine, lists, &Policy::default(), NOW) {
            Fit::Good(place) => ("good", place, None),
            Fit::Different(place, note) => ("different", Some(place), Some(note.reason)),
            Fit::Wrong(place, note) => ("wrong", place, Some(note.reason)),
        }
    };
    let data = wanted.volume.as_ref();
    let held = [volume("a", "ord", None), volume("b", "ord", Some("machine"))];
    assert_eq!(fit(data, &held, 0), ("good", Some(1), None));
    assert_eq!(fit(None, &[], 0), ("good", None, None));
    let mut larger = held.clone();
    larger[1].size_gb = 3;
    assert_eq!(fit(data, &larger, 0), ("different", Some(1), Some(NoteReason::NotSupported)));
    assert_eq!(fit(None, &held, 0), ("wrong", Some(1), Some(NoteReason::NotSupported)));
    assert_eq!(fit(data, &[], 0), ("wrong", None, Some(NoteReason::NotSupported)));
    // The list of volumes may lag, for a while.
    assert_eq!(fit(data, &held[..1], 0), ("wrong", None, Some(NoteReason::Waiting)));
    assert_eq!(fit(data, &held[..1], 900_000), ("wrong", None, Some(NoteReason::NotSupported)));
}
