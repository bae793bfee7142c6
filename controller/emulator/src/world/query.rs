//! Reading the world: single rows, lists of an app, and pages over an organization.

use jiff::Timestamp;

use crate::world::World;
use crate::world::app::App;
use crate::world::error::Refusal;
use crate::world::machine::{Machine, State};
use crate::world::table::{Row, Table};
use crate::world::volume::{Volume, VolumeState};

/// What a list leaves out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Show what is destroyed but not yet forgotten.
    pub include_deleted: bool,
    /// Only this region.
    pub region: Option<String>,
    /// Only these states, by name; empty for all.
    pub states: Vec<String>,
    /// Only machines that carry all of these metadata pairs.
    pub metadata: Vec<(String, String)>,
}

/// Where a page begins: after this change, by time and id.
pub type Position = (Timestamp, String);

/// A page of an organization-wide list, oldest change first.
#[derive(Clone, Debug)]
pub struct Page<'a, T> {
    /// The rows.
    pub rows: Vec<&'a T>,
    /// Where the next page begins, if there may be one.
    pub next: Option<Position>,
}

impl World {
    /// An app that the caller may use, going or not.
    ///
    /// # Errors
    /// [`Refusal::AppNotFound`]; [`Refusal::Unauthorized`] if it belongs to an organization that
    /// `may_use` refuses.
    pub fn app(&self, name: &str, may_use: impl FnOnce(&str) -> bool) -> Result<&App, Refusal> {
        let app = self.apps.row(name).ok_or(Refusal::AppNotFound)?;
        if may_use(&app.org) { Ok(app) } else { Err(Refusal::Unauthorized) }
    }

    /// The apps of an organization, by name.
    pub fn apps<'a>(&'a self, org: &str) -> impl Iterator<Item = &'a App> {
        self.apps.group(org)
    }

    /// The machines of an app that are not destroyed.
    pub fn machine_count(&self, app: &str) -> usize {
        self.machines.group(app).filter(|machine| machine.state != State::Destroyed).count()
    }

    /// The volumes of an app that are not destroyed.
    pub fn volume_count(&self, app: &str) -> usize {
        self.volumes.group(app).filter(|volume| volume.state != VolumeState::Destroyed).count()
    }

    /// A machine of an app, also one that was destroyed a while ago.
    ///
    /// # Errors
    /// [`Refusal::MachineNotFound`].
    pub fn machine(&self, app: &str, id: &str) -> Result<&Machine, Refusal> {
        self.machines.row(id).filter(|machine| machine.app == app).ok_or(Refusal::MachineNotFound)
    }

    /// The machines of an app.
    pub fn machines<'a>(
        &'a self,
        app: &str,
        filter: &'a Filter,
    ) -> impl Iterator<Item = &'a Machine> {
        self.machines.group(app).filter(|machine| filter.admits_machine(machine))
    }

    /// The volumes of an app, deleted ones among them until their files are gone.
    pub fn volumes<'a>(&'a self, app: &str) -> impl Iterator<Item = &'a Volume> {
        self.volumes.group(app).filter(|volume| volume.state != VolumeState::Destroyed)
    }

    /// A page of an organization's machines.
    pub fn org_machines(
        &self,
        org: &str,
        filter: &Filter,
        after: Option<&Position>,
        limit: usize,
    ) -> Page<'_, Machine> {
        page(&self.machines, org, after, limit, |machine| filter.admits_machine(machine))
    }

    /// A page of an organization's volumes.
    pub fn org_volumes(
        &self,
        org: &str,
        filter: &Filter,
        after: Option<&Position>,
        limit: usize,
    ) -> Page<'_, Volume> {
        page(&self.volumes, org, after, limit, |volume| filter.admits_volume(volume))
    }

    /// An app that takes new things.
    pub(crate) fn open_app(&self, name: &str) -> Result<&App, Refusal> {
        self.apps.row(name).filter(|app| !app.deleting).ok_or(Refusal::AppNotFound)
    }

    /// A machine that can still be acted on.
    pub(crate) fn live_machine(&self, app: &str, id: &str) -> Result<&Machine, Refusal> {
        let machine = self.machine(app, id)?;
        if machine.state == State::Destroyed { Err(Refusal::MachineNotFound) } else { Ok(machine) }
    }
}

impl Filter {
    fn admits_machine(&self, machine: &Machine) -> bool {
        (self.include_deleted || machine.state != State::Destroyed)
            && self.admits(&machine.region, machine.state.name())
            && self
                .metadata
                .iter()
                .all(|(key, value)| machine.metadata().any(|(own, set)| own == key && set == value))
    }

    fn admits_volume(&self, volume: &Volume) -> bool {
        (self.include_deleted || volume.state != VolumeState::Destroyed)
            && self.admits(&volume.region, volume.state.name())
    }

    fn admits(&self, region: &str, state: &str) -> bool {
        self.region.as_deref().is_none_or(|wanted| wanted == region)
            && (self.states.is_empty() || self.states.iter().any(|wanted| wanted == state))
    }
}

fn page<'a, T: Row>(
    table: &'a Table<T>,
    org: &str,
    after: Option<&Position>,
    limit: usize,
    admits: impl Fn(&T) -> bool,
) -> Page<'a, T> {
    let mut rows: Vec<&T> =
        table.recent(org, after).filter(|row| admits(row)).take(limit + 1).collect();
    let more = rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().map(|row| (row.updated_at(), row.key().to_owned()));
    Page { next: last.filter(|_| more), rows }
}
