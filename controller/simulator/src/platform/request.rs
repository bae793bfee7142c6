//! A request on its way: it is lost, or arrives, once or twice, and its answer travels back.

use tokio::sync::oneshot;
use vault_cloud::error::CallError;
use vault_emulator::world::Refusal;

use super::{Call, SLOW_MS, TRAVEL_MS, effects};
use crate::boundary::{Boundary, Place};
use crate::fate::{Fate, dead_host, refused};
use crate::universe::Universe;
use crate::verb::Verb;

/// What a call does to the platform.
type Act<T> = Box<dyn FnMut(&mut Universe, &Call) -> Result<T, Refusal> + Send>;

/// A request on its way.
pub(super) struct Request<T> {
    pub(super) call: Call,
    pub(super) act: Act<T>,
    /// Gone if nobody waits any more.
    pub(super) answer: Option<oneshot::Sender<Result<T, CallError>>>,
}

/// The caller does not wait any longer.
pub(super) fn give_up<T>(
    universe: &mut Universe,
    answer: Option<oneshot::Sender<Result<T, CallError>>>,
    verb: Verb,
    fate: Fate,
) {
    if let (Some(answer), Some(error)) = (answer, fate.error(verb)) {
        universe.answer(answer, Err(error));
    }
}

impl<T: Send + 'static> Request<T> {
    /// It never arrives.
    pub(super) fn lose(self, universe: &mut Universe) {
        let Call { verb, fate, .. } = self.call;
        self.note(universe, "does not arrive");
        give_up(universe, self.answer, verb, fate);
    }

    /// It arrives: the platform acts, or does not, and answers.
    pub(super) fn arrive(mut self, universe: &mut Universe) {
        let Call { verb, fate, process, .. } = self.call;
        let is_dead = verb.is_write()
            && verb.names_machine()
            && universe.faults.dead_hosts.contains_key(&self.call.subject);
        let mut result = match (is_dead, fate.acts()) {
            (true, _) => self.strand(universe),
            (false, true) => {
                (self.act)(universe, &self.call).map_err(|refusal| refused(verb, &refusal))
            }
            // Overwritten below: these fates have an error of their own.
            (false, false) => Err(dead_host(verb)),
        };
        if fate == Fate::Twice && !is_dead {
            self.call.is_repeated = true;
            result = (self.act)(universe, &self.call).map_err(|refusal| refused(verb, &refusal));
        }
        if verb.is_write() {
            universe.platform_changed();
        }
        let outcome = match &result {
            Ok(_) => "done".to_owned(),
            Err(error) => {
                error.answer().map_or_else(|| "no answer".to_owned(), ToString::to_string)
            }
        };
        self.note(universe, if fate.acts() { &outcome } else { "not carried out" });
        // A refusal is one whether its answer comes or not.
        if let Some(error) = fate.error(verb) {
            result = Err(error);
        }
        universe.boundary(process, Boundary::of_call(verb, Place::Effect, fate));
        if let Some(answer) = self.answer {
            let travel_ms = match fate {
                Fate::Slow => universe.draw_ms(SLOW_MS),
                _ => universe.draw_ms(TRAVEL_MS),
            };
            universe.after(travel_ms, move |universe| universe.answer(answer, result));
        }
    }

    /// What it is about is on a host that does not answer: a destroy waits there for its return.
    fn strand(&self, universe: &mut Universe) -> Result<T, CallError> {
        let Call { verb, subject, .. } = &self.call;
        if *verb == Verb::DeleteMachine {
            let now = universe.timestamp();
            let until = universe.faults.dead_hosts.get(subject).copied().unwrap_or_default();
            effects::strand(universe, now, &self.call, until);
        }
        Err(dead_host(*verb))
    }

    fn note(&self, universe: &mut Universe, outcome: &str) {
        let Call { verb, controller, app, subject, organization, fate, .. } = &self.call;
        universe.trace.line(universe.now_ms(), || {
            let whom = [organization, app, subject].map(String::as_str).join(" ");
            let whom = whom.trim();
            let fate = match fate {
                Fate::Works => String::new(),
                fate => format!("[{fate}] "),
            };
            format!("controller {controller}: {verb} ({whom}): {fate}{outcome}")
        });
    }
}
