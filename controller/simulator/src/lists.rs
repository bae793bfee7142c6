//! The platform's lists, in the planner's words, and what earlier ones showed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use vault_controller::platform::{AppList, MachineList, VolumeList};
use vault_emulator::world::query::Filter;
use vault_emulator::world::volume::VolumeState;
use vault_emulator::world::{Machine, Volume, World};
use vault_plan::observed::{ObservedMachine, ObservedVolume, PlatformState};
use vault_plan::time::UnixMillis;

/// How many earlier lists of each kind are kept per organization.
const KEPT_MAX: usize = 8;
/// More rows than any run has: one page shows all.
const PAGE: usize = 1_000;

/// Earlier lists, the oldest first, with their times.
type Earlier<T> = BTreeMap<String, VecDeque<(i64, Arc<T>)>>;

/// What earlier lists showed, by organization.
#[derive(Default)]
pub struct Lists {
    pub(crate) apps: Earlier<AppList>,
    pub(crate) machines: Earlier<MachineList>,
    pub(crate) volumes: Earlier<VolumeList>,
}

/// Keeps a list for those who will be shown it too late.
pub(crate) fn keep<T>(earlier: &mut Earlier<T>, organization: &str, now_ms: i64, list: Arc<T>) {
    if !earlier.contains_key(organization) {
        earlier.insert(organization.to_owned(), VecDeque::new());
    }
    let Some(kept) = earlier.get_mut(organization) else { return };
    if kept.len() == KEPT_MAX {
        kept.pop_front();
    }
    kept.push_back((now_ms, list));
}

/// A list that was true between `since_ms` and now: the `pick`th of those that are kept.
pub(crate) fn stale<T>(
    earlier: &Earlier<T>,
    organization: &str,
    since_ms: i64,
    pick: usize,
) -> Option<Arc<T>> {
    let kept = earlier.get(organization)?;
    let fresh_enough: Vec<&Arc<T>> =
        kept.iter().filter(|(at, _)| *at >= since_ms).map(|(_, list)| list).collect();
    fresh_enough.get(pick % fresh_enough.len().max(1)).map(|list| Arc::clone(list))
}

/// The apps of an organization as they are.
#[must_use]
pub fn apps(world: &World, organization: &str) -> AppList {
    let mut list = AppList::default();
    for app in world.apps(organization).filter(|app| !app.deleting) {
        list.ids.insert(app.name.clone(), app.number.to_string());
        let count = world.volume_count(&app.name) as u64;
        if count > 0 {
            list.volume_counts.insert(app.name.clone(), count);
        }
        list.organization_id = Some(app.org_number().to_string());
        list.names.push(app.name.clone());
    }
    list
}

/// The machines of an organization as they are; `blank` says of which nothing but their names shows.
#[must_use]
pub fn machines(world: &World, organization: &str, blank: impl Fn(&str) -> bool) -> MachineList {
    let page = world.org_machines(organization, &Filter::default(), None, PAGE);
    let machines = page.rows.into_iter().map(|row| machine(row, blank(&row.id)));
    MachineList { machines: machines.collect(), ..MachineList::default() }
}

/// The machines of an organization that changed after `since`, destroyed ones among them.
#[must_use]
pub fn machines_since(
    world: &World,
    organization: &str,
    since: UnixMillis,
    blank: impl Fn(&str) -> bool,
) -> MachineList {
    let everything = Filter { include_deleted: true, ..Filter::default() };
    let since = Timestamp::from_millisecond(since.0).unwrap_or(Timestamp::MIN);
    // Greater than every id: rows of that very moment are not after it.
    let after = (since, "\u{7f}".to_owned());
    let page = world.org_machines(organization, &everything, Some(&after), PAGE);
    let machines = page.rows.into_iter().map(|row| machine(row, blank(&row.id)));
    MachineList { machines: machines.collect(), ..MachineList::default() }
}

/// The volumes of an organization as they are.
#[must_use]
pub fn volumes(world: &World, organization: &str) -> VolumeList {
    let page = world.org_volumes(organization, &Filter::default(), None, PAGE);
    volume_list(page.rows.into_iter())
}

/// Volumes, those that are going apart from the others.
pub fn volume_list<'a>(rows: impl Iterator<Item = &'a Volume>) -> VolumeList {
    let mut list = VolumeList::default();
    for row in rows {
        match is_departing(row) {
            true => list.departing.push(row.app.clone()),
            false => list.volumes.push(volume(row)),
        }
    }
    list
}

/// Whether a volume is being destroyed, or is.
#[must_use]
pub fn is_departing(volume: &Volume) -> bool {
    matches!(
        volume.state,
        VolumeState::SchedulingDestroy | VolumeState::PendingDestroy | VolumeState::Destroyed
    )
}

/// A machine in the planner's words; of a `blank` one the config is not shown.
#[must_use]
pub fn machine(row: &Machine, blank: bool) -> ObservedMachine {
    let config = &row.config;
    let shown = |name: &str| config.get(name).filter(|_| !blank);
    let metadata = match blank {
        true => BTreeMap::new(),
        false => row.metadata().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
    };
    ObservedMachine {
        id: row.id.clone(),
        name: row.name.clone(),
        app: row.app.clone(),
        state: PlatformState::read(row.state.name()),
        region: row.region.clone(),
        version: Some(row.version.clone()),
        private_ip: Some(row.private_ip.to_string()),
        image: shown("image").and_then(Value::as_str).map(str::to_owned),
        guest: shown("guest").and_then(Value::as_object).cloned().unwrap_or_default(),
        metadata,
        updated_at: Some(millis(row.updated_at)),
    }
}

/// A volume in the planner's words.
#[must_use]
pub fn volume(row: &Volume) -> ObservedVolume {
    ObservedVolume {
        id: row.id.clone(),
        name: row.name.clone(),
        app: row.app.clone(),
        region: row.region.clone(),
        size_gb: row.size_gb,
        state: row.state.name().to_owned(),
        attached_machine: row.attached_machine_id.clone(),
        created_at: Some(millis(row.created_at)),
    }
}

/// The platform's time in the planner's words.
#[must_use]
pub fn millis(timestamp: Timestamp) -> UnixMillis {
    UnixMillis(timestamp.as_millisecond())
}
