//! The platform's regions, their aliases, and the choice of one.

use crate::world::error::Refusal;

/// A region as `GET /v1/platform/regions` lists it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// The three-letter code.
    pub code: &'static str,
    /// The name for people.
    pub name: &'static str,
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// The part of the world, as in the `eu` and `apac` aliases.
    pub area: &'static str,
}

/// The region of the edge that answers: what a request without a region gets.
pub const NEAREST: &str = "ord";

/// All regions, ordered by code.
pub const REGIONS: [Region; 18] = [
    region("ams", "Amsterdam, Netherlands", 52.37, 4.9, "europe"),
    region("arn", "Stockholm, Sweden", 59.65, 17.92, "europe"),
    region("bom", "Mumbai, India", 19.08, 72.88, "asia_pacific"),
    region("cdg", "Paris, France", 48.86, 2.35, "europe"),
    region("dfw", "Dallas, Texas (US)", 32.78, -96.8, "north_america"),
    region("ewr", "Secaucus, NJ (US)", 40.79, -74.06, "north_america"),
    region("fra", "Frankfurt, Germany", 50.12, 8.68, "europe"),
    region("gru", "Sao Paulo, Brazil", -23.55, -46.63, "south_america"),
    region("iad", "Ashburn, Virginia (US)", 39.02, -77.46, "north_america"),
    region("jnb", "Johannesburg, South Africa", -26.2, 28.04, "africa"),
    region("lax", "Los Angeles, California (US)", 33.94, -118.41, "north_america"),
    region("lhr", "London, United Kingdom", 51.51, -0.13, "europe"),
    region("nrt", "Tokyo, Japan", 35.76, 140.38, "asia_pacific"),
    region("ord", "Chicago, Illinois (US)", 41.88, -87.63, "north_america"),
    region("sin", "Singapore, Singapore", 1.35, 103.82, "asia_pacific"),
    region("sjc", "San Jose, California (US)", 37.35, -121.96, "north_america"),
    region("syd", "Sydney, Australia", -33.87, 151.21, "asia_pacific"),
    region("yyz", "Toronto, Canada", 43.65, -79.38, "north_america"),
];

const fn region(
    code: &'static str,
    name: &'static str,
    latitude: f64,
    longitude: f64,
    area: &'static str,
) -> Region {
    Region { code, name, latitude, longitude, area }
}

/// Chooses a region from what a request asked for: nothing, a code, an alias, or a priority list of
/// both. `pinned` is the region of the volume to mount: it must be among the candidates.
///
/// # Errors
/// [`Refusal::RegionNotFound`] for an unknown name, [`Refusal::Invalid`] if the volume is elsewhere.
pub(crate) fn choose(asked: Option<&str>, pinned: Option<&str>) -> Result<String, Refusal> {
    let asked = asked.map(str::trim).filter(|text| !text.is_empty());
    let Some(asked) = asked else {
        return Ok(pinned.unwrap_or(NEAREST).to_owned());
    };
    let candidates = candidates(asked)?;
    match pinned {
        Some(pinned) if candidates.contains(&pinned) => Ok(pinned.to_owned()),
        Some(pinned) => Err(Refusal::invalid(format!(
            "the volume to mount is in region {pinned}, the machine was asked for in {asked}"
        ))),
        None => Ok(candidates[0].to_owned()),
    }
}

/// The regions that a list of codes and aliases names, in its order, each once.
///
/// # Errors
/// [`Refusal::RegionNotFound`] for an unknown name.
pub(crate) fn candidates(asked: &str) -> Result<Vec<&'static str>, Refusal> {
    let mut candidates = Vec::new();
    for name in asked.split(',').map(str::trim) {
        let mut known = false;
        for region in REGIONS.iter().filter(|region| matches(region, name)) {
            known = true;
            if !candidates.contains(&region.code) {
                candidates.push(region.code);
            }
        }
        if !known {
            return Err(Refusal::RegionNotFound(name.to_owned()));
        }
    }
    Ok(candidates)
}

fn matches(region: &Region, name: &str) -> bool {
    match name {
        "any" => true,
        "us" | "usa" => region.name.ends_with("(US)"),
        "na" => region.area == "north_america",
        "sa" => region.area == "south_america",
        "eu" => region.area == "europe",
        "apac" => region.area == "asia_pacific",
        code => region.code == code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_chosen_from_codes_lists_aliases_and_the_volume() {
        type Case =
            (Option<&'static str>, Option<&'static str>, Result<&'static str, &'static str>);
        let cases: [Case; 9] = [
            (None, None, Ok("ord")),
            (Some(""), Some("ams"), Ok("ams")),
            (Some("lhr"), None, Ok("lhr")),
            (Some("lhr,eu"), Some("fra"), Ok("fra")),
            (Some("usa"), None, Ok("dfw")),
            (Some("any"), Some("syd"), Ok("syd")),
            (Some("xyz"), None, Err("target region xyz not found")),
            (Some("lhr,xyz"), None, Err("target region xyz not found")),
            (
                Some("ord"),
                Some("ams"),
                Err(
                    "invalid_argument: the volume to mount is in region ams, the machine was asked for in ord",
                ),
            ),
        ];
        for (asked, pinned, wanted) in cases {
            let chosen = choose(asked, pinned).map_err(|refusal| refusal.to_string());
            assert_eq!(chosen.as_deref().map_err(String::as_str), wanted, "{asked:?} {pinned:?}");
        }
    }
}
