//! Stories that are told only if somebody asks for them by name: seeds do not draw from them, so that
//! a new one changes no seed.

use vault_api::tenant::MachineState;

use super::{Group, Manifest, Tenant, Token, Workload};

/// All of them, in a fixed order.
#[must_use]
pub fn apart() -> Vec<Workload> {
    let acme = |tokens: &[&'static str]| {
        let tokens = tokens.iter().map(|name| Token::new(name)).collect();
        ("acme", Tenant { tokens, ..Tenant::new(vec![Group::new("box")]) })
    };
    let bob = || {
        let tokens = vec![Token::new("ci")];
        ("bob", Tenant { tokens, ..Tenant::new(vec![Group::new("box")]) })
    };
    let in_regions = |mode| {
        let tenant = |region| {
            Tenant::new(vec![Group { mode, region, volume_gb: Some(1), ..Group::new("box") }])
        };
        let regions = [("acme", "fra"), ("bob", "ord"), ("globex", "fra"), ("hooli", "ord")];
        Manifest::of(&regions.map(|(name, region)| (name, tenant(region))))
    };
    let regions = Workload::new("two-regions", vec![in_regions(0), in_regions(1)]);
    let tokens = Workload::and_back(
        "tokens",
        vec![
            Manifest::of(&[acme(&["ci"]), bob()]),
            Manifest::of(&[acme(&["ci", "deploy"]), bob()]),
            Manifest::of(&[acme(&["deploy"]), bob()]),
            Manifest::of(&[bob()]),
            Manifest::of(&[acme(&["ci"]), bob()]),
        ],
    );
    // What rests is destroyed without having been stopped: nothing says that it was down before.
    let at_rest = |region| {
        let state = MachineState::Stopped;
        let group = Group { region, state, ..Group::new("box") };
        Manifest::of(&[("acme", Tenant::new(vec![group]))])
    };
    let rest = Workload::new("region-at-rest", vec![at_rest("ord"), at_rest("fra")]);
    vec![tokens, regions, rest]
}
