//! Stories that chance tells.

use std::collections::BTreeMap;

use fastrand::Rng;
use vault_api::storage::BucketAccess;
use vault_api::tenant::{DeletionPolicy, MachineState};

use super::{AppChoice, Bucket, Group, Manifest, REGIONS, Tenant, Token, Workload};

/// Tenants of a story at most: enough to be served side by side, and few enough that a run is short.
const TENANTS: [&str; 4] = ["acme", "bob", "globex", "hooli"];
/// What all of these stories are called.
pub const RANDOM: &str = "random";
/// Stages at most.
const STAGES_MAX: usize = 4;

/// A story that follows from `chance`.
#[must_use]
pub fn random(chance: &mut Rng) -> Workload {
    let mut manifest = Manifest::default();
    for name in &TENANTS[..chance.usize(1..=TENANTS.len())] {
        manifest.tenants.insert((*name).to_owned(), tenant(chance, name));
    }
    let mut stages = vec![manifest];
    for _ in 1..chance.usize(2..=STAGES_MAX) {
        let next = edited(&stages[stages.len() - 1], chance);
        stages.push(next);
    }
    let_nothing_shrink(&mut stages);
    let mut apart = Rng::with_seed(chance.clone().u64(..));
    add_buckets(&mut stages, &mut apart);
    add_tokens(&mut stages, &mut apart);
    Workload::new(RANDOM, stages)
}

/// A tenant that is deleted and wanted again finds the volumes that were kept for it, and a volume
/// never shrinks: what asks for a smaller one is refused, and rightly never Ready. Nobody here asks for
/// that.
fn let_nothing_shrink(stages: &mut [Manifest]) {
    let mut largest: BTreeMap<(String, &str), u32> = BTreeMap::new();
    for (name, tenant) in stages.iter_mut().flat_map(|stage| &mut stage.tenants) {
        for group in &mut tenant.groups {
            let before = largest.entry((name.clone(), group.name)).or_default();
            if let Some(size) = &mut group.volume_gb {
                *before = (*before).max(*size);
                *size = *before;
            }
        }
    }
}

/// Buckets for one story of four: two at most, of which each stage has other ones. They are drawn
/// apart, so that the other stories stay what they were.
fn add_buckets(stages: &mut [Manifest], chance: &mut Rng) {
    if chance.u8(0..4) > 0 {
        return;
    }
    for tenant in stages.iter_mut().flat_map(|stage| stage.tenants.values_mut()) {
        for name in ["state", "logs"] {
            if chance.bool() {
                let access = [BucketAccess::ReadWrite, BucketAccess::ReadOnly];
                let access = access[chance.usize(0..access.len())];
                tenant.buckets.push(Bucket { name, access, deletion: DeletionPolicy::Retain });
            }
        }
    }
}

/// Deploy tokens for one story of eight, of which each stage has other ones: their list is read every
/// few minutes only, which takes time that other stories need not take.
fn add_tokens(stages: &mut [Manifest], chance: &mut Rng) {
    if chance.u8(0..8) > 0 {
        return;
    }
    let tenants = stages.iter_mut().flat_map(|stage| stage.tenants.values_mut());
    // A token opens its app: there is none for one that tenants share.
    for tenant in tenants.filter(|tenant| !matches!(tenant.app, AppChoice::Shared(_))) {
        let drawn = ["ci", "deploy"].into_iter().filter(|_| chance.u8(0..3) == 0);
        tenant.tokens.extend(drawn.map(Token::new));
    }
}

fn tenant(chance: &mut Rng, name: &str) -> Tenant {
    let mut groups = vec![group(chance, "box")];
    if chance.u8(0..3) == 0 {
        groups.push(group(chance, "side"));
    }
    let app = match name {
        "globex" | "hooli" => AppChoice::Shared("shared-app"),
        "bob" => AppChoice::Named("named-app"),
        _ => AppChoice::Derived,
    };
    Tenant { app, ..Tenant::new(groups) }
}

fn group(chance: &mut Rng, name: &'static str) -> Group {
    Group {
        count: chance.u32(1..3),
        volume_gb: chance.bool().then_some(1),
        region: REGIONS[chance.usize(0..REGIONS.len())],
        ..Group::new(name)
    }
}

/// The manifest after somebody has edited one tenant, or several.
fn edited(before: &Manifest, chance: &mut Rng) -> Manifest {
    let mut after = before.clone();
    for name in TENANTS {
        if chance.u8(0..3) == 0 {
            continue;
        }
        let Some(mut tenant) = after.tenants.remove(name) else {
            if before.tenants.is_empty() || chance.u8(0..3) == 0 {
                after.tenants.insert(name.to_owned(), self::tenant(chance, name));
            }
            continue;
        };
        if chance.u8(0..6) != 0 {
            edit(&mut tenant, chance);
            after.tenants.insert(name.to_owned(), tenant);
        }
    }
    after
}

fn edit(tenant: &mut Tenant, chance: &mut Rng) {
    let place = chance.usize(0..tenant.groups.len().max(1));
    let Some(group) = tenant.groups.get_mut(place) else { return };
    match chance.u8(0..8) {
        0 => group.image = format!("image:{}", chance.u8(1..4)),
        1 => group.count = chance.u32(0..4),
        2 => group.mode = chance.u8(0..4),
        3 => group.region = REGIONS[chance.usize(0..REGIONS.len())],
        4 => group.volume_gb = group.volume_gb.map(|size| (size + 1).min(3)),
        5 => {
            let states = [MachineState::Started, MachineState::Stopped, MachineState::Suspended];
            group.state = states[chance.usize(0..states.len())];
        }
        6 => {
            let variables = [None, Some("VAULTCTL_SECRET_FIRST"), Some("VAULTCTL_SECRET_SECOND")];
            tenant.secret = variables[chance.usize(0..variables.len())];
        }
        _ => tenant.paused = chance.u8(0..3) == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_story_asks_for_a_smaller_volume_than_the_one_that_was_kept() {
        let mut largest = BTreeMap::new();
        let mut grown = 0;
        // In seed 7609 a tenant comes again with another size of its volume.
        for seed in 0..2_000 {
            largest.clear();
            for (name, tenant) in
                random(&mut Rng::with_seed(seed)).stages.iter().flat_map(|stage| &stage.tenants)
            {
                for group in &tenant.groups {
                    let Some(size) = group.volume_gb else { continue };
                    let before = largest.entry((name.clone(), group.name)).or_insert(size);
                    assert!(size >= *before, "seed {seed}: {name}: {before} GB, then {size}");
                    grown += u32::from(size > *before);
                    *before = size;
                }
            }
        }
        assert!(grown > 100, "and volumes do grow: {grown}");
    }
}
