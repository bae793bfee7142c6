//! Volumes: found by attachment, then by derived name; created where there is none; extended where
//! one is too small; never removed.
//!
//! ```text
//!   machine exists?  yes ─▶ the volume attached to it ─▶ as wanted? smaller ─▶ extend
//!                                                                   another, or none ─▶ machine anew
//!                                                                   larger ─▶ a note
//!                    no  ─▶ volumes of the derived name: none ─▶ create
//!                                                        held ─▶ wait
//!                                                        free, the last used in the region ─▶ take back
//!                                                        free, the last used elsewhere ─▶ a note, or moved
//! ```

use std::cmp::{Ordering, Reverse};

use crate::config::HASH_VERSION;
use crate::desired::{DesiredMachine, DesiredVolume};
use crate::history::{LastUsed, written_at};
use crate::machine::age_ms;
use crate::metadata::Marks;
use crate::observed::{ObservedMachine, ObservedVolume};
use crate::policy::Policy;
use crate::report::{Note, NoteReason};
use crate::time::UnixMillis;

/// States in which a volume cannot be mounted yet, but will be.
const STATES_IN_THE_MAKING: [&str; 4] =
    ["creating", "restoring", "enabling_remote_export", "recovering"];

/// States in which a volume can be mounted.
const STATES_MOUNTABLE: [&str; 2] = ["created", "hydrating"];

/// What Fly calls a volume that is being made larger.
const STATE_EXTENDING: &str = "extending";

/// The machines and volumes of one app, by their places in the organization's lists.
#[derive(Clone, Copy)]
pub(crate) struct AppLists<'a> {
    pub(crate) machines: &'a [ObservedMachine],
    pub(crate) volumes: &'a [ObservedVolume],
    pub(crate) machines_in_app: &'a [usize],
    pub(crate) volumes_in_app: &'a [usize],
    pub(crate) last_used: &'a LastUsed,
}

/// Where the volume of a machine that is to be made comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ForNew {
    /// There is one, at this place of the list.
    TakeBack(usize),
    /// There are several of the derived name: this one is taken, the note tells of the others.
    TakeBackOneOf(usize, Note),
    /// There is one, at this place of the list, but in another region; the note says so.
    Elsewhere(usize, Note),
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
    /// The right volume, but smaller than wanted.
    Grow(usize),
    /// The right volume, but not as the manifest says.
    Different(usize, Note),
    /// The machine's mounts are not the manifest's. An update cannot change them; the text says what
    /// differs.
    Anew(Option<usize>, String),
    /// What the machine mounts cannot be seen now, so its config cannot be written.
    Unclear(Note),
}

impl Fit {
    /// The place of the volume that the machine holds.
    pub(crate) fn held(&self) -> Option<usize> {
        match self {
            Self::Good(place) | Self::Anew(place, _) => *place,
            Self::Grow(place) | Self::Different(place, _) => Some(*place),
            Self::Unclear(_) => None,
        }
    }
}

/// Whether a volume cannot be mounted yet, but will be.
pub(crate) fn is_in_the_making(volume: &ObservedVolume) -> bool {
    STATES_IN_THE_MAKING.contains(&volume.state.as_str())
}

/// Whether a volume can be mounted now.
pub(crate) fn is_mountable(volume: &ObservedVolume) -> bool {
    STATES_MOUNTABLE.contains(&volume.state.as_str())
}

/// Finds the volume for a machine that does not exist.
pub(crate) fn for_new(
    wanted: &DesiredVolume,
    machine: &DesiredMachine,
    lists: AppLists<'_>,
) -> ForNew {
    let volumes = lists.volumes;
    let mut named: Vec<usize> = named(wanted, lists).collect();
    // The last one in use has the latest data, and of those that were never seen in use the
    // youngest: older ones are what moves to another region left behind. If that cannot be told, the
    // one in the right region; of several, always the same one.
    let is_dated = named.iter().all(|&at| written_at(&volumes[at], lists.last_used).is_some());
    named.sort_unstable_by_key(|&place| {
        let volume = &volumes[place];
        let age = is_dated.then_some(Reverse(written_at(volume, lists.last_used)));
        (age, volume.region != *machine.region, volume.id.as_str())
    });
    let Some(&place) = named.first() else {
        return ForNew::Create;
    };
    // One that is held is the one with the data, even if a free one has the same name.
    if let Some(&held) = named.iter().find(|&&at| volumes[at].attached_machine.is_some()) {
        return ForNew::Obstacle(held_note(&volumes[held], lists));
    }
    let volume = &volumes[place];
    if is_in_the_making(volume) {
        let message = format!("volume {} is {}", volume.id, volume.state);
        return ForNew::Obstacle(Note::new(NoteReason::Waiting, message));
    }
    if volume.region != *machine.region {
        let message = format!(
            "volume {} ({}) lies in region {} and the manifest says {}; it moves only with \
             `relocate: Snapshot`",
            volume.id, volume.name, volume.region, machine.region
        );
        return ForNew::Elsewhere(place, Note::new(NoteReason::Invalid, message));
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
    wanted_machine: &DesiredMachine,
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
    match (wanted_machine.volume.as_ref(), attached) {
        (None, None) => Fit::Good(None),
        (Some(wanted), Some(place)) if volumes[place].name == wanted.name => {
            sized(wanted, place, &volumes[place])
        }
        (_, Some(place)) => {
            let volume = &volumes[place];
            let why = format!("it holds volume {}, which the manifest does not mount", volume.id);
            Fit::Anew(Some(place), why)
        }
        (Some(wanted), None) => unattached(wanted, wanted_machine, machine, lists, policy, now),
    }
}

/// Compares the sizes of the right volume.
fn sized(wanted: &DesiredVolume, place: usize, volume: &ObservedVolume) -> Fit {
    if volume.state == STATE_EXTENDING {
        let message = format!("volume {} is being extended", volume.id);
        return Fit::Different(place, Note::new(NoteReason::Waiting, message));
    }
    match volume.size_gb.cmp(&wanted.size_gb) {
        Ordering::Equal => Fit::Good(Some(place)),
        Ordering::Less => Fit::Grow(place),
        Ordering::Greater => {
            let message = format!(
                "volume {} has {} GB and the manifest says {}; a volume never shrinks: write {} GB, \
                 or more",
                volume.id, volume.size_gb, wanted.size_gb, volume.size_gb
            );
            Fit::Different(place, Note::new(NoteReason::Invalid, message))
        }
    }
}

/// Whether a machine was made without a volume, or holds one that is not shown: then it is left
/// alone, because a list of volumes may lag, or be empty for everybody, and the machine would come
/// back without its data.
fn unattached(
    wanted: &DesiredVolume,
    wanted_machine: &DesiredMachine,
    machine: &ObservedMachine,
    lists: AppLists<'_>,
    policy: &Policy,
    now: UnixMillis,
) -> Fit {
    let marks = Marks::read(&machine.metadata);
    let config_is_another = marks.spec_hash.is_some_and(|seen| !wanted_machine.spec_hash.is(seen));
    if marks.volume_gb.is_none() && marks.hash_version == Some(HASH_VERSION) && config_is_another {
        return Fit::Anew(None, format!("it was made without volume {}", wanted.template));
    }
    let fresh = age_ms(machine, now) < policy.stuck_after_ms;
    if fresh && named(wanted, lists).next().is_some() {
        let message = format!("machine {} is not shown to hold its volume yet", machine.name);
        return Fit::Unclear(Note::new(NoteReason::Waiting, message));
    }
    let message = format!(
        "machine {} should hold volume {}, and the platform shows none that it holds",
        machine.name, wanted.template
    );
    Fit::Unclear(Note::new(NoteReason::Stuck, message))
}

fn named<'a>(wanted: &'a DesiredVolume, lists: AppLists<'a>) -> impl Iterator<Item = usize> + 'a {
    let places = lists.volumes_in_app.iter().copied();
    places.filter(move |&place| lists.volumes[place].name == wanted.name)
}

#[cfg(test)]
mod tests;
