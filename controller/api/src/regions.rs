//! The regions of Fly.

use crate::names::did_you_mean;

/// The codes of the regions that Fly runs in 2026, in alphabetical order.
pub const REGIONS: [&str; 18] = [
    "ams", "arn", "bom", "cdg", "dfw", "ewr", "fra", "gru", "iad", "jnb", "lax", "lhr", "nrt",
    "ord", "sin", "sjc", "syd", "yyz",
];

/// A code that is none of [`REGIONS`]; prints with the nearest known one, or all of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown region `{found}`{hint}")]
pub struct UnknownRegion {
    found: String,
    hint: String,
}

/// Checks that a region exists.
///
/// # Errors
/// [`UnknownRegion`] if it does not.
pub fn check_region(code: &str) -> Result<(), UnknownRegion> {
    if REGIONS.binary_search(&code).is_ok() {
        return Ok(());
    }
    let mut hint = did_you_mean(code, REGIONS);
    if hint.is_empty() {
        hint = format!("; Fly's regions are {}", REGIONS.join(", "));
    }
    Err(UnknownRegion { found: crate::check::words::shorten(code), hint })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_region_passes_and_the_list_is_sorted() {
        assert!(REGIONS.is_sorted());
        for region in REGIONS {
            assert_eq!(check_region(region), Ok(()));
        }
    }

    #[test]
    fn an_unknown_region_names_the_nearest_or_all() {
        let message = |code| check_region(code).unwrap_err().to_string();
        assert_eq!(message("odr"), "unknown region `odr`; did you mean `ord`?");
        assert_eq!(message("ORD"), "unknown region `ORD`; did you mean `ord`?");
        assert!(message("us-east-1").contains("Fly's regions are ams, arn,"));
    }
}
