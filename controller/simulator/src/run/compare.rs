//! What a stage came to, held against everything that it must be like.

use std::collections::BTreeSet;

use super::Setting;
use crate::oracle::end::{
    StageEnd, lost_volumes, unlike_before, unlike_effects, unlike_reference, unlike_wishes,
};
use crate::oracle::{storage, unlike_tokens};
use crate::universe::{Shared, Universe};
use crate::workload::Manifest;

impl Setting {
    pub(super) fn compare(
        &self,
        shared: &Shared,
        number: usize,
        manifest: &Manifest,
        end: &StageEnd,
        reference: Option<&StageEnd>,
        first: Option<&StageEnd>,
    ) {
        let mut universe = shared.lock();
        let now_ms = universe.now_ms();
        let mut wrong: Vec<(&'static str, String)> = Vec::new();
        let mut note = |oracle, message: Option<String>| {
            wrong.extend(message.map(|message| (oracle, message)));
        };
        note("inventory", unlike_wishes(&end.inventory, &manifest.wishes()));
        let Universe { world, oracles, controllers, .. } = &*universe;
        let pardons = &oracles.pardons;
        let forgets = pardons.disk_lost || pardons.disk_restored;
        let names = self.workload.stages.iter().flat_map(|stage| stage.tenants.keys().cloned());
        let names: BTreeSet<String> = names.collect();
        let wanted = (manifest, &names);
        let tokens = unlike_tokens(world, oracles, 0, &controllers[0], wanted, now_ms);
        note("tokens", tokens);
        let wishes = manifest.wishes();
        note(
            "storage",
            storage::unlike_wishes(world, &controllers[0].id, &wishes, &names, forgets),
        );
        let may_go = |id: &str| oracles.deletion.is_gone(id);
        note("volumes", lost_volumes(world, &oracles.foreign, 0, may_go));
        // What people wanted once may have been made again in the meantime; and a move begins anew,
        // with another volume, if somebody lets the machine run that is being moved.
        let meddled = self.workload.moves() && self.nature.is_some_and(|nature| nature.people);
        // Tombstones come back from a backup only: without them what they named is kept.
        let forgot = self.workload.is_buried() && oracles.pardons.disk_lost;
        // A volume that the platform made twice of one request is understood by nobody: it outlives the
        // one that is buried, keeps its app, and is taken back when the tenant comes again.
        let muddled = self.workload.is_buried() && !oracles.pardons.doubled.is_empty();
        // What an app holds of a key that was forgotten with a disk, while nobody wants one, stays.
        let keyless = forgets
            && self.workload.has_buckets()
            && manifest.tenants.values().all(|tenant| tenant.buckets.is_empty());
        let comparable =
            !oracles.pardons.disk_restored && !meddled && !forgot && !muddled && !keyless;
        if let Some(reference) = reference.filter(|_| comparable) {
            let wishes = manifest.wishes();
            let found = match oracles.pardons.disk_lost {
                true => end.inventory.without_forgotten_secrets(&reference.inventory),
                false => end.inventory.clone(),
            };
            let id = &controllers[0].id;
            let alone: Vec<_> = wishes.left_alone.iter().map(|name| id.tenant_uid(name)).collect();
            let found = found.without_shared_secrets_of(&alone);
            let found = found.without_strangers_secrets(&reference.inventory);
            let expected = reference.inventory.without_shared_secrets_of(&alone);
            note("reference", unlike_reference(&found, &expected, &wishes));
            // Two leaders make and destroy together what one does alone, and what they undo.
            if !oracles.pardons.asked_anew && self.pause.is_none() {
                let kept = match self.workload.is_buried() {
                    true => oracles.pardons.occupied.len() as u64,
                    false => 0,
                };
                note("counts", unlike_effects(end.effects, reference.effects, kept));
            }
        }
        let moves = self.workload.moves();
        let mut volumes = end.inventory.volumes.iter().filter(|_| !moves);
        let doubled = volumes.find(|(_, (count, _))| *count > 1);
        note("doubles", doubled.map(|(key, (count, _))| format!("{count} volumes are {key:?}")));
        if let Some(first) = first
            && self.workload.returns
            && !self.storm
            && number + 1 == self.workload.stages.len()
        {
            note("return", unlike_before(&end.inventory, &first.inventory));
        }
        for (oracle, message) in wrong {
            universe.oracles.note(now_ms, oracle, message);
        }
    }
}
