use PlatformState::{
    Created, Destroying, Failed, Replacing, Started, Starting, Stopped, Stopping, Suspended,
};

use super::*;
use crate::metadata;
use crate::testing::{CONTROLLER, NOW, machine, own_marks, wanted};

fn kind(need: &Need) -> &'static str {
    match need {
        Need::Nothing => "nothing",
        Need::Patience(_) => "patience",
        Need::Stuck(_) => "stuck",
        Need::Update(_) | Need::Correct(_) => "update",
        Need::Start(_) => "start",
        Need::Stop(_) => "stop",
        Need::Suspend(_) => "suspend",
        Need::Sight(_) => "sight",
    }
}

fn decide(state: MachineState, machine: &ObservedMachine) -> Need {
    need(&wanted(state), own_marks(), machine, Some(1), &Policy::default(), NOW)
}

#[test]
fn a_machine_whose_config_is_right_needs_only_its_state() {
    let other = || PlatformState::Other("pondering".to_owned());
    let table = [
        (MachineState::Started, Started, 0, "nothing"),
        (MachineState::Started, Created, 119_999, "patience"),
        (MachineState::Started, Created, 120_000, "start"),
        (MachineState::Started, Stopped, 0, "start"),
        (MachineState::Started, Suspended, 0, "start"),
        (MachineState::Started, Failed, 0, "start"),
        (MachineState::Stopped, Started, 0, "stop"),
        (MachineState::Stopped, Suspended, 0, "stop"),
        (MachineState::Stopped, Created, 900_000, "nothing"),
        (MachineState::Stopped, Stopped, 900_000, "nothing"),
        (MachineState::Stopped, Failed, 900_000, "nothing"),
        (MachineState::Started, Starting, 299_999, "patience"),
        (MachineState::Started, Starting, 300_000, "stuck"),
        (MachineState::Started, Stopping, 0, "patience"),
        (MachineState::Started, Replacing, 0, "patience"),
        (MachineState::Started, Destroying, 300_000, "stuck"),
        (MachineState::Stopped, other(), 0, "patience"),
        (MachineState::Suspended, Started, 0, "suspend"),
        (MachineState::Suspended, Suspended, 900_000, "nothing"),
        (MachineState::Suspended, Stopped, 0, "start"),
        (MachineState::Suspended, Created, 0, "patience"),
    ];
    for (state, seen, age_ms, expected) in table {
        let need = decide(state, &machine(seen.clone(), age_ms));
        assert_eq!(kind(&need), expected, "{state:?}, {seen:?} for {age_ms} ms: {need:?}");
    }
}

#[test]
fn what_differs_is_written_again() {
    type Change = fn(&mut ObservedMachine);
    let set = |key: &'static str, value: &'static str| (key, value);
    let (key, value) = set(metadata::SPEC_HASH, "0");
    let table: [(&str, Change, &str); 10] = [
        ("nothing", |_| {}, "nothing"),
        ("image", |machine| machine.image = Some("box:2".to_owned()), "update"),
        ("guest", |machine| drop(machine.guest.insert("cpus".to_owned(), 4.into())), "update"),
        (
            "guest, as another number",
            |machine| drop(machine.guest.insert("cpus".to_owned(), 2.0.into())),
            "nothing",
        ),
        (
            "guest, filled in",
            |machine| drop(machine.guest.insert("cpu_kind".to_owned(), "shared".into())),
            "nothing",
        ),
        ("metadata of the manifest", |machine| drop(machine.metadata.remove("team")), "update"),
        (
            "metadata of others",
            |machine| drop(machine.metadata.insert("fly".to_owned(), "x".to_owned())),
            "nothing",
        ),
        ("our mark", |machine| drop(machine.metadata.remove(metadata::CONTROLLER)), "update"),
        (
            "the version of the hash",
            |machine| drop(machine.metadata.remove(metadata::HASH_VERSION)),
            "update",
        ),
        (
            "the secrets that it started with",
            |machine| drop(machine.metadata.remove(metadata::SECRET_HASH)),
            "update",
        ),
    ];
    for (what, change, expected) in table {
        let mut machine = machine(Started, 0);
        change(&mut machine);
        assert_eq!(kind(&decide(MachineState::Started, &machine)), expected, "{what}");
    }
    let mut changed = machine(Started, 0);
    changed.metadata.insert(key.to_owned(), value.to_owned());
    assert_eq!(kind(&decide(MachineState::Started, &changed)), "update");
    // One that is to rest is stopped first, and written while it rests.
    assert_eq!(kind(&decide(MachineState::Stopped, &changed)), "stop");
    changed.state = Stopped;
    assert_eq!(kind(&decide(MachineState::Stopped, &changed)), "update");
    // Another value of the secrets than it started with.
    let mut stale = machine(Started, 0);
    stale.metadata.insert(metadata::SECRET_HASH.to_owned(), "0".to_owned());
    assert_eq!(kind(&decide(MachineState::Started, &stale)), "update");
    // A tenant without secrets does not care what they were.
    let own = OwnMarks { secret_hash: "", ..own_marks() };
    let need = need(&wanted(MachineState::Started), own, &stale, Some(1), &Policy::default(), NOW);
    assert_eq!(kind(&need), "nothing");
    // Its volume grew, and it has to start anew to see that. One that does not say is left alone.
    let grown = |known: Option<&str>| {
        let mut machine = machine(Started, 0);
        machine.metadata.extend(known.map(|gb| (metadata::VOLUME_GB.to_owned(), gb.to_owned())));
        let wanted = wanted(MachineState::Started);
        super::need(&wanted, own_marks(), &machine, Some(10), &Policy::default(), NOW)
    };
    let table = [(Some("9"), "update"), (Some("10"), "nothing"), (None, "nothing")];
    for (known, expected) in table {
        assert_eq!(kind(&grown(known)), expected, "{known:?}");
    }
    // A hash of another recipe is not compared; what is visible is.
    changed.metadata.insert(metadata::HASH_VERSION.to_owned(), "0".to_owned());
    assert_eq!(kind(&decide(MachineState::Stopped, &changed)), "nothing");
    changed.image = None;
    assert_eq!(kind(&decide(MachineState::Stopped, &changed)), "update");
}

#[test]
fn a_machine_that_is_not_shown_is_left_alone() {
    for state in [Started, Stopped, Created, Failed] {
        let mut machine = machine(state, 900_000);
        machine.image = None;
        machine.guest.clear();
        machine.metadata.clear();
        assert_eq!(kind(&decide(MachineState::Started, &machine)), "sight");
        assert_eq!(kind(&decide(MachineState::Stopped, &machine)), "sight");
    }
}

#[test]
fn marks_of_others_are_believed() {
    let mut seen = machine(Started, 0);
    assert_eq!(owner(&seen, "acme", CONTROLLER), Owner::Tenant);
    assert!(matches!(owner(&seen, "bob", CONTROLLER), Owner::SomebodyElse(_)));
    assert!(matches!(owner(&seen, "acme", "other"), Owner::SomebodyElse(_)));
    seen.metadata.clear();
    assert_eq!(owner(&seen, "acme", CONTROLLER), Owner::Tenant);
}
