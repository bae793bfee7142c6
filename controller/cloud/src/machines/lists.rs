//! What the platform's lists answer: the rows, and how much they can be trusted to be all.

use super::wire::{App, AppSecret, MachineRow, Volume, VolumeRow};

/// The apps of an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apps {
    /// Those that could be read.
    pub apps: Vec<App>,
    /// How many there are, if the platform said so.
    pub total: Option<u64>,
    /// One sentence for each that could not be read: absence of any app proves nothing.
    pub undecodable: Vec<String>,
}

/// The machines of an organization, destroyed ones left out.
#[derive(Clone, Debug, PartialEq)]
pub struct OrgMachines {
    /// Those that could be read.
    pub machines: Vec<MachineRow>,
    /// The regions that are missing: absence of a machine there proves nothing.
    pub error_regions: Vec<String>,
    /// One sentence for each that could not be read: absence of any machine proves nothing.
    pub undecodable: Vec<String>,
}

/// The volumes of an organization, destroyed ones left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrgVolumes {
    /// Those that could be read.
    pub volumes: Vec<VolumeRow>,
    /// The regions that are missing. The platform documents none for volumes; if it ever names
    /// one, it is not passed over.
    pub error_regions: Vec<String>,
    /// One sentence for each that could not be read: absence of any volume proves nothing.
    pub undecodable: Vec<String>,
}

/// The volumes of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppVolumes {
    /// Those that could be read.
    pub volumes: Vec<Volume>,
    /// One sentence for each that could not be read: absence of any volume proves nothing.
    pub undecodable: Vec<String>,
}

/// The secrets of an app, without their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSecrets {
    /// Those that could be read.
    pub secrets: Vec<AppSecret>,
    /// One sentence for each that could not be read: absence of any secret proves nothing.
    pub undecodable: Vec<String>,
}

impl Apps {
    /// Whether an app may exist that is not in the list.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !self.undecodable.is_empty()
            || self.total.is_some_and(|total| total > self.apps.len() as u64)
    }
}

impl OrgMachines {
    /// Whether a machine may exist that is not in the list.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        !self.error_regions.is_empty() || !self.undecodable.is_empty()
    }
}

impl OrgVolumes {
    /// Whether a volume may exist that is not in the list.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        !self.error_regions.is_empty() || !self.undecodable.is_empty()
    }
}
