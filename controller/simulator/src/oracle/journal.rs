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
        let kinds = verb.intents();
        if kinds.is_empty() {
            return None;
        }
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
            kinds.contains(&intent.kind) && in_place && named
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

#[cfg(test)]
mod tests {
    use ulid::Ulid;
    use vault_plan::action::ActionKind;
    use vault_plan::time::UnixMillis;

    use super::*;

    fn disk(state: IntentState) -> Database {
        let intent = Intent {
            id: Ulid::from_parts(1, 1),
            tenant: "acme".to_owned(),
            organization: "local".to_owned(),
            app: "app".to_owned(),
            kind: ActionKind::CreateMachine,
            external_name: "acme-box-0".to_owned(),
            external_id: None,
            state,
            planned_at: UnixMillis(0),
            sent_at: None,
            outcome: None,
            spec_hash: None,
        };
        Database::of_intents(vec![intent])
    }

    #[test]
    fn a_call_needs_an_intent_of_its_own_that_says_that_it_is_being_sent() {
        let sent = |verb, app, subject, disk: &Database| {
            JournalOracle.sent(verb, app, subject, disk).is_none()
        };
        let good = disk(IntentState::Sent);
        assert!(sent(Verb::CreateMachine, "app", "acme-box-0", &good));
        assert!(sent(Verb::Machines, "", "", &Database::new(0)), "looking needs none");
        assert!(!sent(Verb::CreateMachine, "app", "acme-box-0", &disk(IntentState::Planned)));
        assert!(!sent(Verb::CreateMachine, "app", "acme-box-0", &disk(IntentState::Acked)));
        assert!(!sent(Verb::CreateMachine, "app", "acme-box-1", &good));
        assert!(!sent(Verb::CreateMachine, "other", "acme-box-0", &good));
        assert!(!sent(Verb::CreateVolume, "app", "acme-box-0", &good));
    }
}
