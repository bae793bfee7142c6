//! The stories that have names.

use vault_api::storage::BucketAccess;
use vault_api::tenant::{DeletionPolicy, MachineState};

use super::{AppChoice, Bucket, Group, Manifest, Tenant, Token, Workload};

/// All of them, in a fixed order.
#[must_use]
pub fn named() -> Vec<Workload> {
    let mut all = simple();
    all.extend(changes());
    all.extend(places());
    all.extend(ends());
    all.extend(graves());
    all.extend(buckets());
    all.push(rotation());
    all
}

fn group() -> Group {
    Group::new("box")
}

fn with_volume() -> Group {
    Group { volume_gb: Some(1), ..group() }
}

fn one(group: Group) -> Manifest {
    Manifest::of(&[("acme", Tenant::new(vec![group]))])
}

fn simple() -> Vec<Workload> {
    let side = || Group::new("side");
    let both = Tenant::new(vec![with_volume(), side()]);
    let shared = |mode| Tenant {
        app: AppChoice::Shared("shared-app"),
        ..Tenant::new(vec![Group { mode, ..with_volume() }])
    };
    let named = Tenant { app: AppChoice::Named("named-app"), ..Tenant::new(vec![group()]) };
    let elsewhere = Tenant { organization: 1, ..Tenant::new(vec![group()]) };
    let here = Tenant::new(vec![with_volume()]);
    vec![
        Workload::new("one-machine", vec![one(group())]),
        Workload::new("volume", vec![one(with_volume())]),
        Workload::new("two-groups", vec![Manifest::of(&[("acme", both)])]),
        Workload::new("named-app", vec![Manifest::of(&[("acme", named)])]),
        Workload::new(
            "shared-app",
            vec![
                Manifest::of(&[("acme", shared(0))]),
                Manifest::of(&[("acme", shared(0)), ("bob", shared(0))]),
                Manifest::of(&[("acme", shared(1)), ("bob", shared(0))]),
            ],
        ),
        Workload::new(
            "two-organizations",
            vec![Manifest::of(&[("acme", here), ("globex", elsewhere)])],
        ),
    ]
}

fn changes() -> Vec<Workload> {
    let three = || Group { count: 3, ..with_volume() };
    let image = |image: &str, group: Group| Group { image: image.to_owned(), ..group };
    let secret = |secret| Tenant { secret, ..Tenant::new(vec![group()]) };
    let of_class = |class: &str| {
        let tenant = Tenant { class: Some(class.to_owned()), ..Tenant::new(vec![group()]) };
        Manifest::of(&[("acme", tenant)])
    };
    let paused = |paused, mode| {
        let tenant = Tenant { paused, ..Tenant::new(vec![Group { mode, ..group() }]) };
        Manifest::of(&[("acme", tenant)])
    };
    vec![
        Workload::and_back("scale", vec![one(with_volume()), one(three()), one(with_volume())]),
        Workload::new("image", vec![one(three()), one(image("image:2", three()))]),
        Workload::and_back(
            "there-and-back",
            vec![one(with_volume()), one(image("image:2", with_volume())), one(with_volume())],
        ),
        Workload::new(
            "class",
            vec![
                of_class("small").with_class("small", 0),
                of_class("large").with_class("small", 0).with_class("large", 1),
                of_class("large").with_class("small", 0).with_class("large", 2),
            ],
        ),
        Workload::new(
            "invalid",
            vec![of_class("nowhere"), of_class("nowhere").with_class("nowhere", 0)],
        ),
        Workload::new(
            "secrets",
            [None, Some("VAULTCTL_SECRET_FIRST"), Some("VAULTCTL_SECRET_SECOND"), None]
                .map(|variable| Manifest::of(&[("acme", secret(variable))]))
                .to_vec(),
        ),
        Workload::new("pause", vec![paused(false, 0), paused(true, 1), paused(false, 1)]),
        Workload::new(
            "growth",
            vec![one(with_volume()), one(Group { volume_gb: Some(2), ..with_volume() })],
        ),
        Workload::new("mount", vec![one(group()), one(with_volume())]),
    ]
}

fn places() -> Vec<Workload> {
    let moved = |group: Group| Group { region: "fra", ..group };
    let many = |mode| {
        let tenant = || Tenant::new(vec![Group { mode, ..group() }]);
        Manifest::of(&["acme", "bob", "globex", "hooli"].map(|name| (name, tenant())))
    };
    vec![
        Workload::new("region", vec![one(group()), one(moved(group()))]),
        Workload::new("relocate", vec![one(with_volume()), one(moved(with_volume()))]),
        Workload::new("four-tenants", vec![many(0), many(1)]),
    ]
}

fn ends() -> Vec<Workload> {
    let rests = |state| one(Group { state, ..with_volume() });
    let two = || {
        Manifest::of(&[
            ("acme", Tenant::new(vec![with_volume()])),
            ("bob", Tenant::new(vec![group()])),
        ])
    };
    let bob = || Manifest::of(&[("bob", Tenant::new(vec![group()]))]);
    vec![
        Workload::and_back(
            "stop",
            vec![
                rests(MachineState::Started),
                rests(MachineState::Stopped),
                rests(MachineState::Started),
            ],
        ),
        Workload::and_back(
            "suspend",
            vec![
                rests(MachineState::Started),
                rests(MachineState::Suspended),
                rests(MachineState::Started),
            ],
        ),
        Workload::new("delete", vec![two(), bob()]),
        Workload::and_back("delete-and-again", vec![two(), bob(), two()]),
        Workload::and_back(
            "empty",
            vec![
                one(with_volume()),
                Manifest::of(&[("acme", Tenant::new(Vec::new()))]),
                one(with_volume()),
            ],
        ),
    ]
}

/// What is deleted goes for good, after its grace, and is made anew if it is wanted again.
fn graves() -> Vec<Workload> {
    let with = |deletion, count| {
        let acme = Tenant::new(vec![Group { deletion, count, ..with_volume() }]);
        Manifest::of(&[("acme", acme), ("bob", Tenant::new(vec![group()]))])
    };
    let bob = || Manifest::of(&[("bob", Tenant::new(vec![group()]))]);
    let both = |deletion| vec![with(deletion, 1), bob(), with(deletion, 1)];
    vec![
        Workload::and_back("bury", both(DeletionPolicy::Delete)).buries(),
        Workload::and_back("bury-with-copy", both(DeletionPolicy::Snapshot)).buries(),
        Workload::new(
            "bury-surplus",
            vec![with(DeletionPolicy::Delete, 2), with(DeletionPolicy::Delete, 1)],
        )
        .buries(),
    ]
}

/// Buckets that come, change and go; and tenants in one app with a bucket each.
fn buckets() -> Vec<Workload> {
    use BucketAccess::{ReadOnly, ReadWrite};
    use DeletionPolicy::{Delete, Retain};
    let bucket = |name, access, deletion| Bucket { name, access, deletion };
    let with =
        |buckets: &[Bucket]| Tenant { buckets: buckets.to_vec(), ..Tenant::new(vec![group()]) };
    let acme = |buckets: &[Bucket]| Manifest::of(&[("acme", with(buckets))]);
    let shared =
        |buckets: &[Bucket]| Tenant { app: AppChoice::Shared("shared-app"), ..with(buckets) };
    let (state, logs) = (bucket("state", ReadWrite, Retain), bucket("logs", ReadWrite, Retain));
    let going = |access| bucket("state", access, Delete);
    let bob = || ("bob", Tenant::new(vec![group()]));
    let both = || Manifest::of(&[("acme", with(&[going(ReadWrite)])), bob()]);
    vec![
        Workload::new(
            "bucket",
            vec![acme(&[state]), acme(&[bucket("state", ReadOnly, Retain), logs])],
        ),
        Workload::and_back(
            "bucket-removed",
            vec![acme(&[state, logs]), acme(&[]), acme(&[state, logs])],
        ),
        Workload::and_back("bucket-deleted", vec![both(), Manifest::of(&[bob()]), both()]).buries(),
        Workload::new("bucket-unnamed", vec![acme(&[going(ReadWrite), logs]), acme(&[logs])])
            .buries(),
        Workload::new(
            "bucket-shared",
            vec![Manifest::of(&[("acme", shared(&[state])), ("bob", shared(&[logs]))])],
        ),
    ]
}

/// A deploy token is good for four hours, and the next one is minted after three; the one before stays
/// for half an hour. Its tenant has a bucket, and all of it goes in the end.
///
/// ```text
///   minted ──▶ 2:59:30 stage 2: the next one is minted ──▶ 3:29:30 stage 3: the first is revoked ──▶ gone
/// ```
fn rotation() -> Workload {
    const MINUTE_MS: i64 = 60_000;
    const AHEAD_MS: i64 = 30_000;
    let token = Token { name: "ci", ttl_min: 240, rotate_before_min: 60 };
    let access = BucketAccess::ReadWrite;
    let bucket = Bucket { name: "state", access, deletion: DeletionPolicy::Delete };
    let acme = Tenant { tokens: vec![token], buckets: vec![bucket], ..Tenant::new(vec![group()]) };
    let acme = || Manifest::of(&[("acme", acme.clone())]);
    let rotates_ms = 180 * MINUTE_MS;
    let begins = [0, rotates_ms - AHEAD_MS, rotates_ms + token.overlap_ms() - AHEAD_MS];
    Workload::new("rotation", vec![acme(), acme(), acme(), Manifest::default()])
        .begins(&begins)
        .buries()
}
