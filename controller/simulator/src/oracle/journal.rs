//! Intent before effect: when a call that may change something leaves, an intent on the disk covers
//! it, and says that it is being sent. Answer before the next pass: what the platform said yes to is
//! on the disk when the pass ends that asked.

use std::collections::BTreeSet;

use ulid::Ulid;
use vault_controller::store::{Intent, IntentState};

use crate::store::Database;
use crate::verb::Verb;

/// Compares calls with the journal.
#[derive(Debug, Default)]
pub struct JournalOracle {
    /// Intents whose calls the platform said yes to in the pass that is under way, with the places
    /// of the controllers that know of it.
    answered: BTreeSet<(usize, Ulid)>,
}

impl JournalOracle {
    /// What is wrong with a call that leaves while this is on the disk.
    #[must_use]
    pub fn sent(&self, verb: Verb, app: &str, subject: &str, disk: &Database) -> Option<String> {
        if verb.intents().is_empty() {
            return None;
        }
        let covers = |intent: &&Intent| covers(intent, verb, app, subject);
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

    /// A controller has been told yes. Only calls that one intent alone can cover are watched.
    pub fn answered(
        &mut self,
        controller: usize,
        verb: Verb,
        [app, subject]: [&str; 2],
        disk: &Database,
    ) {
        let is_alone =
            verb.names_machine() && verb.intents().len() == 1 && verb != Verb::SetMetadata
                || matches!(verb, Verb::CreateMachine | Verb::CreateVolume | Verb::MintToken);
        if !is_alone {
            return;
        }
        let sent = disk.open_intents().filter(|intent| intent.state == IntentState::Sent);
        // An older one of the same name may be in doubt still.
        let covering = sent.filter(|intent| covers(intent, verb, app, subject));
        if let Some(intent) = covering.max_by_key(|intent| disk.sending_number(intent.id)) {
            self.answered.insert((controller, intent.id));
        }
    }

    /// What is wrong with a disk at the end of its controller's pass. What was answered to turns that
    /// go on, those of the tenants `under_way`, may still be written: that is looked at when a later
    /// pass ends.
    #[must_use]
    pub fn pass_ended(
        &mut self,
        controller: usize,
        disk: &Database,
        under_way: &BTreeSet<String>,
    ) -> Option<String> {
        let answered = self.take(controller);
        let open = disk.open_intents();
        let unwritten: Vec<&Intent> = open
            .filter(|intent| intent.state == IntentState::Sent && answered.contains(&intent.id))
            .collect();
        let (going_on, forgotten): (Vec<&Intent>, Vec<&Intent>) =
            unwritten.into_iter().partition(|intent| under_way.contains(&intent.tenant));
        self.answered.extend(going_on.iter().map(|intent| (controller, intent.id)));
        let forgotten = forgotten.first()?;
        let Intent { kind, external_name, app, .. } = forgotten;
        Some(format!(
            "{kind} of {external_name} in app {app} was answered in the pass that ends, and the \
             journal says that it is still being sent"
        ))
    }

    /// A controller's process ends: what it was told is not known any more.
    pub fn take(&mut self, controller: usize) -> BTreeSet<Ulid> {
        let its = self.answered.extract_if(.., |(of, _)| *of == controller);
        its.map(|(_, id)| id).collect()
    }
}

/// Whether an intent is one for such a call.
fn covers(intent: &Intent, verb: Verb, app: &str, subject: &str) -> bool {
    let named = match verb {
        Verb::CreateApp | Verb::DeleteApp => true,
        // The journal names the volume, the call the machine that holds it.
        Verb::SetMetadata => true,
        _ => intent.external_name == subject || intent.external_id.as_deref() == Some(subject),
    };
    // A token is revoked by its id alone, and buckets are in no app.
    let in_place = verb == Verb::RevokeToken || verb.is_storage() || intent.app == app;
    verb.intents().contains(&intent.kind) && in_place && named
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
            JournalOracle::default().sent(verb, app, subject, disk).is_none()
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

    #[test]
    fn an_answer_that_is_not_on_the_disk_at_the_end_of_its_pass_is_missed() {
        let told = |state| {
            let mut oracle = JournalOracle::default();
            let named = ["app", "acme-box-0"];
            oracle.answered(0, Verb::CreateMachine, named, &disk(IntentState::Sent));
            oracle.pass_ended(0, &disk(state), &BTreeSet::new())
        };
        assert_eq!(told(IntentState::Acked), None);
        let message = told(IntentState::Sent).unwrap();
        assert!(message.contains("acme-box-0"), "{message}");

        let mut oracle = JournalOracle::default();
        let named = ["app", "acme-box-0"];
        oracle.answered(0, Verb::CreateMachine, named, &disk(IntentState::Sent));
        assert_eq!(
            oracle.pass_ended(1, &disk(IntentState::Sent), &BTreeSet::new()),
            None,
            "another's"
        );
        let acme = BTreeSet::from(["acme".to_owned()]);
        for _ in 0..2 {
            let goes_on = oracle.pass_ended(0, &disk(IntentState::Sent), &acme);
            assert_eq!(goes_on, None, "its turn goes on");
        }
        assert!(oracle.pass_ended(0, &disk(IntentState::Sent), &BTreeSet::new()).is_some());
        oracle.answered(0, Verb::CreateMachine, named, &disk(IntentState::Sent));
        oracle.take(0);
        assert_eq!(
            oracle.pass_ended(0, &disk(IntentState::Sent), &BTreeSet::new()),
            None,
            "its process has ended"
        );
    }
}
