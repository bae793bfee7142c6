//! Volumes: found by attachment, then by derived name; created where there is none; never removed.

use crate::desired::DesiredVolume;
use crate::observed::{ObservedMachine, ObservedVolume};

/// What the lists say about the volume that a machine should mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VolumeMatch {
    /// The volume at this place of the list is the one.
    Found(usize),
    /// Several free volumes carry the derived name: this one (the first by id) is taken, the rest
    /// are left alone and reported.
    FoundAmong(usize, usize),
    /// There is none.
    Missing,
    /// The machine at that id holds a volume under our derived name, and it is not our machine.
    HeldElsewhere(usize),
    /// The machine exists without the volume; attaching one needs a new machine.
    NotAttachable,
}

/// Finds the volume for a machine among the volumes of its app.
pub(crate) fn find(
    wanted: &DesiredVolume,
    machine: Option<&ObservedMachine>,
    volumes: &[ObservedVolume],
    in_app: &[usize],
) -> VolumeMatch {
    if let Some(machine) = machine {
        let attached = in_app
            .iter()
            .copied()
            .find(|&place| volumes[place].attached_machine.as_deref() == Some(&machine.id));
        return attached.map_or(VolumeMatch::NotAttachable, VolumeMatch::Found);
    }
    let mut named: Vec<usize> = in_app
        .iter()
        .copied()
        .filter(|&place| volumes[place].name == wanted.name)
        .collect();
    named.sort_unstable_by(|&one, &other| volumes[one].id.cmp(&volumes[other].id));
    let free = named
        .iter()
        .copied()
        .find(|&place| volumes[place].attached_machine.is_none());
    match (free, named.as_slice()) {
        (Some(place), [_]) => VolumeMatch::Found(place),
        (Some(place), several) => VolumeMatch::FoundAmong(place, several.len()),
        (None, [place, ..]) => VolumeMatch::HeldElsewhere(*place),
        (None, []) => VolumeMatch::Missing,
    }
}
