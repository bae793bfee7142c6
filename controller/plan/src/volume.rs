//! Volumes: found by attachment, then by derived name; created where there is none; never removed.
//!
//! ```text
//!   machine exists?  yes ─▶ the volume attached to it ─▶ as wanted? else a note
//!                    no  ─▶ volumes of the derived name: none ─▶ create
//!                                                        held ─▶ wait
//!                                                        free, in the region ─▶ take back
//!                                                        free, elsewhere ─▶ a note
//! ```

use crate::desired::{DesiredMachine, DesiredVolume};
use crate::machine::age_ms;
use crate::observed::{ObservedMachine, ObservedVolume};
use crate::policy::Policy;
use crate::report::{Note, NoteReason};
use crate::time::UnixMillis;

/// States in which a volume cannot be mounted yet, but will be.
const STATES_IN_THE_MAKING: [&str; 4] =
    ["creating", "restoring", "enabling_remote_export", "recovering"];

/// The machines and volumes of one app, by their places in the organization's lists.
#[derive(Clone, Copy)]
pub(crate) struct AppLists<'a> {
    pub(crate) machines: &'a [ObservedMachine],
    pub(crate) volumes: &'a [ObservedVolume],
    pub(crate) machines_in_app: &'a [usize],
    pub(crate) volumes_in_app: &'a [usize],
}

/// Where the volume of a machine that is to be made comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ForNew {
    /// There is one, at this place of the list.
    TakeBack(usize),
    /// There are several of the derived name: this one is taken, the note tells of the others.
    TakeBackOneOf(usize, Note),
    /// There is none.
    Create,
    /// It cannot be had now.
    Obstacle(Note),
}

/// How an existing machine's volume compares with the wanted one. The place is that of the volume
/// that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// As wanted.
    Good(Option<usize>),
    /// The right volume, but not as the manifest says.
    Different(usize, Note),
    /// The machine's mounts are not the manifest's. An update cannot change them, so the config
    /// cannot be written at all.
    Wrong(Option<usize>, Note),
}

/// Finds the volume for a machine that does not exist.
pub(crate) fn for_new(
    wanted: &DesiredVolume,
    machine: &DesiredMachine,
    lists: AppLists<'_>,
) -> ForNew {
    let volumes = lists.volumes;
    let mut named: Vec<usize> = named(wanted, lists).collect();
    // In the right region first; of several, always the same one.
    named.sort_unstable_by_key(|&place| {
        let volume = &volumes[place];
        (volume.region != *machine.region, volume.id.as_str())
    });
    let Some(&place) = named.first() else {
        return ForNew::Create;
    };
    // One that is held is the one with the data, even if a free one has the same name.
    if let Some(&held) = named.iter().find(|&&at| volumes[at].attached_machine.is_some()) {
        return ForNew::Obstacle(held_note(&volumes[held], lists));
    }
    let volume = &volumes[place];
    if volume.region != *machine.region {
        let message = format!(
            "volume {} ({}) lies in region {} and the manifest says {}; moving a volume is not \
             supported yet",
            volume.id, volume.name, volume.region, machine.region
        );
        return ForNew::Obstacle(Note::new(NoteReason::NotSupported, message));
    }
    if STATES_IN_THE_MAKING.contains(&volume.state.as_str()) {
        let message = format!("volume {} is {}", volume.id, volume.state);
        return ForNew::Obstacle(Note::new(NoteReason::Waiting, message));
    }
    if named.len() == 1 {
        return ForNew::TakeBack(place);
    }
    let message = format!(
        "{} volumes are named {}; {} is used, the others are left alone",
        named.len(),
        volume.name,
        volume.id
    );
    ForNew::TakeBackOneOf(place, Note::new(NoteReason::Kept, message))
}

/// A claim outlives its machine for seconds, so a holder that is gone, or going, is waited for.
fn held_note(volume: &ObservedVolume, lists: AppLists<'_>) -> Note {
    let holder = lists
        .machines_in_app
        .iter()
        .map(|&place| &lists.machines[place])
        .find(|machine| volume.attached_machine.as_deref() == Some(machine.id.as_str()));
    match holder {
        Some(machine) if !machine.state.is_passing() => Note::new(
            NoteReason::NotSupported,
            format!(
                "volume {} ({}) is held by machine {}; detaching is not supported yet",
                volume.id, volume.name, machine.name
            ),
        ),
        _ => {
            let message = format!("volume {} is still attached", volume.id);
            Note::new(NoteReason::Waiting, message)
        }
    }
}

/// Compares the volume that an existing machine holds with the wanted one.
pub(crate) fn for_existing(
    wanted: Option<&DesiredVolume>,
    machine: &ObservedMachine,
    lists: AppLists<'_>,
    policy: &Policy,
    now: UnixMillis,
) -> Fit {
    let volumes = lists.volumes;
    let attached = lists
        .volumes_in_app
        .iter()
        .copied()
        .find(|&place| volumes[place].attached_machine.as_deref() == Some(&machine.id));
    match (wanted, attached) {
        (None, None) => Fit::Good(None),
        (Some(wanted), Some(place)) if volumes[place].size_gb == wanted.size_gb => {
            Fit::Good(Some(place))
        }
        (Some(wanted), Some(place)) => {
            let message = format!(
                "volume {} has {} GB and the manifest says {}; resizing is not supported yet",
                volumes[place].id, volumes[place].size_gb, wanted.size_gb
            );
            Fit::Different(place, Note::new(NoteReason::NotSupported, message))
        }
        (None, Some(place)) => {
            let message = format!(
                "machine {} holds volume {}, which the manifest does not name; detaching is not \
                 supported yet",
                machine.name, volumes[place].id
            );
            Fit::Wrong(Some(place), Note::new(NoteReason::NotSupported, message))
        }
        (Some(wanted), None) => Fit::Wrong(None, unattached(wanted, machine, lists, policy, now)),
    }
}

/// The list of volumes may lag behind that of machines; for a while that is the likelier reason.
fn unattached(
    wanted: &DesiredVolume,
    machine: &ObservedMachine,
    lists: AppLists<'_>,
    policy: &Policy,
    now: UnixMillis,
) -> Note {
    let fresh = age_ms(machine, now) < policy.stuck_after_ms;
    if fresh && named(wanted, lists).next().is_some() {
        let message = format!("machine {} is not shown to hold its volume yet", machine.name);
        return Note::new(NoteReason::Waiting, message);
    }
    Note::new(
        NoteReason::NotSupported,
        format!(
            "machine {} was made without volume {}; attaching one is not supported yet",
            machine.name, wanted.template
        ),
    )
}

fn named<'a>(wanted: &'a DesiredVolume, lists: AppLists<'a>) -> impl Iterator<Item = usize> + 'a {
    let places = lists.volumes_in_app.iter().copied();
    places.filter(move |&place| lists.volumes[place].name == wanted.name)
}

#[cfg(test)]
mod tests;
