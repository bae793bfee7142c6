//! Stories that are told only if somebody asks for them by name: seeds do not draw from them, so that
//! a new one changes no seed.

use super::{Group, Manifest, Tenant, Workload};

/// All of them, in a fixed order.
#[must_use]
pub fn apart() -> Vec<Workload> {
    let acme = |tokens: &[&'static str]| {
        let tokens = tokens.to_vec();
        ("acme", Tenant { tokens, ..Tenant::new(vec![Group::new("box")]) })
    };
    let bob = || ("bob", Tenant { tokens: vec!["ci"], ..Tenant::new(vec![Group::new("box")]) });
    vec![Workload::and_back(
        "tokens",
        vec![
            Manifest::of(&[acme(&["ci"]), bob()]),
            Manifest::of(&[acme(&["ci", "deploy"]), bob()]),
            Manifest::of(&[acme(&["deploy"]), bob()]),
            Manifest::of(&[bob()]),
            Manifest::of(&[acme(&["ci"]), bob()]),
        ],
    )]
}
