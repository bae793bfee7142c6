//! `vaultctl replace`; it shares its work with `create`.

pub(crate) use super::create::{ReplaceArgs as Args, run_replace as run};
