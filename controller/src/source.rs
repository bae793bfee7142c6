//! Who owns an object's spec: whoever created it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The owner of an object's spec. Another writer is refused, unless it takes ownership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Source {
    /// A request to the resource API.
    Api,
    /// A manifest in the watched folder.
    Folder {
        /// The file's name inside the folder.
        file: String,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api => formatter.write_str("API"),
            Self::Folder { file } => write!(formatter, "folder {file}"),
        }
    }
}
