//! Rows by id, with the orders that the world asks for: by group, by latest change, by deadline and
//! by unique name. Rows change only through [`Table::change`], which keeps those orders true and
//! remembers what has to be journaled.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use jiff::Timestamp;

/// What a table has to know of its rows.
pub(crate) trait Row {
    /// The primary key; never changes.
    fn key(&self) -> &str;
    /// The organization that the row belongs to; never changes.
    fn org(&self) -> &str;
    /// What the row is listed under: an app for machines and volumes; never changes.
    fn group(&self) -> &str;
    /// When the row was last changed.
    fn updated_at(&self) -> Timestamp;
    /// When the clock has something to do with the row.
    fn deadline(&self) -> Option<Timestamp> {
        None
    }
    /// A second key, unique among the rows that have one.
    fn handle(&self) -> Option<String> {
        None
    }
}

/// Rows and their orders.
#[derive(Clone, Debug)]
pub(crate) struct Table<T> {
    rows: BTreeMap<String, T>,
    groups: BTreeMap<String, BTreeSet<String>>,
    recent: BTreeMap<String, BTreeSet<(Timestamp, String)>>,
    deadlines: BTreeSet<(Timestamp, String)>,
    handles: BTreeMap<String, String>,
    changed: BTreeSet<String>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            groups: BTreeMap::new(),
            recent: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            handles: BTreeMap::new(),
            changed: BTreeSet::new(),
        }
    }
}

impl<T: Row> Table<T> {
    pub(crate) fn row(&self, id: &str) -> Option<&T> {
        self.rows.get(id)
    }

    pub(crate) fn by_handle(&self, handle: &str) -> Option<&T> {
        self.rows.get(self.handles.get(handle)?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.rows.values()
    }

    /// The rows of a group, in the order of their ids.
    pub(crate) fn group(&self, group: &str) -> impl Iterator<Item = &T> {
        self.groups.get(group).into_iter().flatten().filter_map(|id| self.rows.get(id))
    }

    /// The same, only those after an id.
    pub(crate) fn group_after<'a>(
        &'a self,
        group: &str,
        after: Option<&str>,
    ) -> impl Iterator<Item = &'a T> {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.to_owned()));
        let ids = self.groups.get(group).into_iter();
        let ids = ids.flat_map(move |ids| ids.range((from.clone(), Bound::Unbounded)));
        ids.filter_map(|id| self.rows.get(id))
    }

    /// How many rows a group has.
    pub(crate) fn group_count(&self, group: &str) -> usize {
        self.groups.get(group).map_or(0, BTreeSet::len)
    }

    /// How many rows the organization has, whatever their state.
    pub(crate) fn count(&self, org: &str) -> usize {
        self.recent.get(org).map_or(0, BTreeSet::len)
    }

    /// The rows of an organization that changed after `after`, oldest change first.
    pub(crate) fn recent<'a>(
        &'a self,
        org: &str,
        after: Option<&(Timestamp, String)>,
    ) -> impl Iterator<Item = &'a T> {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.clone()));
        self.recent
            .get(org)
            .into_iter()
            .flat_map(move |order| order.range((from.clone(), Bound::Unbounded)))
            .filter_map(|(_, id)| self.rows.get(id))
    }

    /// The earliest deadline and whose it is.
    pub(crate) fn next_deadline(&self) -> Option<&(Timestamp, String)> {
        self.deadlines.first()
    }

    pub(crate) fn insert(&mut self, row: T) {
        let id = row.key().to_owned();
        self.remove(&id);
        self.groups.entry(row.group().to_owned()).or_default().insert(id.clone());
        self.link(&row);
        self.changed.insert(id.clone());
        self.rows.insert(id, row);
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<T> {
        let row = self.rows.remove(id)?;
        self.unlink(&row);
        if let Some(group) = self.groups.get_mut(row.group()) {
            group.remove(id);
            if group.is_empty() {
                self.groups.remove(row.group());
            }
        }
        self.changed.insert(id.to_owned());
        Some(row)
    }

    /// Changes a row in place; `None` if there is no such row.
    pub(crate) fn change<R>(&mut self, id: &str, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut row = self.rows.remove(id)?;
        self.unlink(&row);
        let answer = change(&mut row);
        self.link(&row);
        self.rows.insert(id.to_owned(), row);
        self.changed.insert(id.to_owned());
        Some(answer)
    }

    /// The ids whose rows were written or removed since the last call.
    pub(crate) fn take_changed(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.changed)
    }

    fn link(&mut self, row: &T) {
        let id = row.key().to_owned();
        let order = self.recent.entry(row.org().to_owned()).or_default();
        order.insert((row.updated_at(), id.clone()));
        if let Some(at) = row.deadline() {
            self.deadlines.insert((at, id.clone()));
        }
        if let Some(handle) = row.handle() {
            self.handles.insert(handle, id);
        }
    }

    fn unlink(&mut self, row: &T) {
        let id = row.key().to_owned();
        if let Some(order) = self.recent.get_mut(row.org()) {
            order.remove(&(row.updated_at(), id.clone()));
        }
        if let Some(at) = row.deadline() {
            self.deadlines.remove(&(at, id));
        }
        if let Some(handle) = row.handle() {
            self.handles.remove(&handle);
        }
    }
}
