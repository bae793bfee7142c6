//! Tombstones on a controller's disk: what is about to be deleted.

use std::collections::BTreeMap;

use serde_json::Value;
use vault_controller::store::{Doomed, Kind, Owner};
use vault_plan::tombstone::{Tombstone, TombstoneKind, TombstoneState};

use super::Database;

/// All tombstones of a disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Graveyard(BTreeMap<(TombstoneKind, String), Tombstone>);

impl Graveyard {
    /// Keeps tombstones as they are now.
    pub(super) fn put(&mut self, tombstones: impl IntoIterator<Item = Tombstone>) {
        for tombstone in tombstones {
            self.0.insert((tombstone.kind, tombstone.id.clone()), tombstone);
        }
    }
}

impl Database {
    /// All tombstones, in the order of their tenants.
    #[must_use]
    pub fn tombstones(&self) -> Vec<Tombstone> {
        let mut all: Vec<Tombstone> = self.tombstones.0.values().cloned().collect();
        // As the words of their kinds are in order.
        let key = |one: &Tombstone| (one.tenant.clone(), one.kind.word(), one.id.clone());
        all.sort_by_key(key);
        all
    }

    /// The tombstone over a thing, if there is one.
    #[must_use]
    pub fn tombstone(&self, kind: TombstoneKind, id: &str) -> Option<&Tombstone> {
        self.tombstones.0.get(&(kind, id.to_owned()))
    }

    pub(super) fn change_tombstones(&mut self, written: Vec<Tombstone>, cleared: Vec<Tombstone>) {
        self.tombstones.put(written);
        for tombstone in cleared {
            self.tombstones.0.remove(&(tombstone.kind, tombstone.id));
        }
    }

    /// Marks as acting what may be deleted now, and answers which: not what was taken back, or whose
    /// tenant was written, since the pass looked.
    pub(super) fn act_on_tombstones(&mut self, doomed: Vec<Doomed>) -> Vec<bool> {
        let mut acting = Vec::with_capacity(doomed.len());
        for Doomed { kind, id, made_at, owner } in doomed {
            let key = (kind, id);
            let known = self.tombstones.0.get(&key).filter(|known| known.made_at == made_at);
            let tenant = known.map(|known| known.tenant.clone());
            let is_same = tenant.is_some_and(|tenant| self.owner(&tenant) == owner);
            let standing = self.tombstones.0.get_mut(&key);
            let standing = standing.filter(|known| known.state == TombstoneState::Standing);
            acting.push(match standing {
                Some(known) if is_same => {
                    known.state = TombstoneState::Acting;
                    true
                }
                _ => false,
            });
        }
        acting
    }

    /// A tenant as it is now.
    fn owner(&self, name: &str) -> Option<Owner> {
        let object = self.stored(Kind::Tenant, name)?;
        let class = object.spec.get("class").and_then(Value::as_str).map(|class| {
            let known = self.stored(Kind::TenantClass, class);
            (class.to_owned(), known.map_or(0, |known| known.generation))
        });
        let (generation, deleting) = (object.generation, object.deleted_at.is_some());
        Some(Owner { generation, deleting, class })
    }
}
