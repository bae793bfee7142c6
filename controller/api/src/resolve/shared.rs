//! What keeps a machine out of a shared app: a config that chooses app secrets by itself.
//!
//! App secrets reach every machine of an app, unless its config says which ones its process gets.
//! The controller says so for every machine in a shared app, so that no tenant sees another's; a
//! config that has words of its own for it could name the secrets of others.

use serde_json::{Map, Value};

use super::{Merged, Place, Resolution};
use crate::tenant::MachineGroup;

impl Resolution<'_> {
    /// Finds what keeps the machines of a group out of a shared app.
    pub(super) fn check_shared(
        &mut self,
        place: &Place,
        group: &Merged<'_, MachineGroup>,
        config: &Map<String, Value>,
    ) {
        let has_entries = |member: &str| match config.get(member) {
            None | Some(Value::Null) => false,
            Some(Value::Array(entries)) => !entries.is_empty(),
            Some(_) => true,
        };
        let names_secret =
            |file: &Value| file.get("secret_name").is_some_and(|name| !name.is_null());
        let files = config.get("files").and_then(Value::as_array).into_iter().flatten();
        let obstacles = [
            ("processes", has_entries("processes"), "the controller writes `processes` itself"),
            ("containers", has_entries("containers"), "each container names its own secrets"),
            (
                "files",
                files.into_iter().any(names_secret),
                "`secret_name` could be another tenant's",
            ),
        ];
        for (member, _, why) in obstacles.into_iter().filter(|(_, found, _)| *found) {
            let is_own = group.own_has(|group| group.config.get(member));
            let message = format!(
                "`{member}` cannot be used in a shared app, where secrets reach only the machines \
                 of their tenant: {why}"
            );
            let problem = self.blame(place, is_own, &["config", member], message);
            self.problems.push(problem);
        }
    }
}
