//! Intent before effect: when a call that may change something leaves, an intent on the disk covers
//! it, and says that it is being sent.

use vault_controller::store::{Intent, IntentState};

use crate::store::Database;
use crate::verb::Verb;

/// Compares calls with the journal.
#[derive(Debug, Default)]
pub struct JournalOracle;

impl JournalOracle {
    /// What is wrong with a call that leaves while this is on the disk.
    #[must_use]
    pub fn sent(&self, verb: Verb, app: &str, subject: &str, disk: &Database) -> Option<String> {
        let kind = verb.intent()?;
        let covers = |intent: &&Intent| {
            let named = match verb {
                Verb::CreateApp | Verb::DeleteApp => true,
                // The journal names the volume, the call the machine that holds it.
                Verb::SetMetadata => true,
                _ => {
                    intent.external_name == subject
                        || intent.external_id.as_deref() == Some(subject)
                }
            };
            // A token is revoked by its id alone.
            let in_place = verb == Verb::RevokeToken || intent.app == app;
            intent.kind == kind && in_place && named
        };
        let found: Vec<&Intent> = disk.open_intents().filter(covers).collect();
        if found.iter().any(|intent| intent.state == IntentState::Sent) {
            return None;
        }
        let states: Vec<&str> = found.iter().map(|intent| intent.state.word()).collect();
        Some(format!(
            "{verb} of {subject} in app {app} leaves, and no intent that is being sent covers it \
             (found: {states:?})"
        ))
    }
}
