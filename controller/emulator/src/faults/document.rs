//! The document: a list of faults, as YAML in a file or as JSON over the control endpoint.
//!
//! ```yaml
//! - kind: lost-reply            # what goes wrong
//!   action: create-machine      # for which calls: action, method, path, app, machine, region, operation
//!   app: acme-*
//!   after: 1                    # when: in, for, after, times, probability with seed
//!   times: 1
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use super::action::{ACTIONS, Call, Subject};
use super::glob::Glob;
use super::kind::{Entry, Happening, KINDS, Kind, Reply, usual_text};
use super::member::{Located, Members};
use super::operation::OPERATIONS;
use super::problem::{FaultProblem, FaultProblems, unknown};
use super::schedule::Schedule;
use crate::world::region::REGIONS;

/// Faults in one document: each call is compared with all of them.
const FAULTS_MAX: usize = 1_000;
/// The methods of the API.
const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE"];
/// Members that every fault may have.
const COMMON: &[&str] = &[
    "kind",
    "name",
    "action",
    "method",
    "path",
    "app",
    "machine",
    "region",
    "operation",
    "in",
    "for",
    "after",
    "times",
    "probability",
    "seed",
];
/// Members that are shown, and passed over when they come back.
const SHOWN: &[&str] = &["matched", "fired", "active"];

/// One fault: what goes wrong, for which calls, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: Kind,
    pub(super) matcher: Matcher,
    pub(super) schedule: Schedule,
    /// Its name in logs: `name`, else the kind's.
    pub(super) label: String,
    /// As it was written, without what is only shown.
    pub(super) source: Map<String, Value>,
}

/// Which calls, or which machines, a fault is about.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Matcher {
    /// Empty for any.
    actions: Vec<String>,
    /// Empty for any.
    methods: Vec<String>,
    path: Option<String>,
    app: Option<Glob>,
    machine: Option<Glob>,
    regions: Vec<String>,
    /// Operations of S3, IAM and GraphQL; calls of those are not meant if it is empty.
    operations: Vec<Glob>,
}

impl Fault {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that cannot be read, or one line for each thing that is wrong in it.
    pub fn read_file(path: &Path) -> anyhow::Result<Vec<Self>> {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {place}"))?;
        Self::read_yaml(&text).map_err(|problems| anyhow::anyhow!("{}", problems.located(&place)))
    }

    /// Reads a document in YAML, of which JSON is a part.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place.
    pub fn read_yaml(text: &str) -> Result<Vec<Self>, FaultProblems> {
        type Written = Option<Vec<Spanned<BTreeMap<String, Spanned<Value>>>>>;
        let options = serde_saphyr::options! { with_snippet: false };
        let written: Written =
            serde_saphyr::from_str_with_options(text, options).map_err(|error| {
                let place = error.location().map(|place| (place.line(), place.column()));
                let message = format!("this is no list of faults: {error}");
                FaultProblems(vec![FaultProblem { place, path: String::new(), message }])
            })?;
        let faults = written.unwrap_or_default().into_iter().map(|fault| {
            let members = fault.value.into_iter().map(|(name, member)| {
                let place = Some((member.referenced.line(), member.referenced.column()));
                (name, Located { value: member.value, place })
            });
            let place = Some((fault.referenced.line(), fault.referenced.column()));
            (place, members.collect())
        });
        read(faults.collect())
    }

    /// Reads a document in JSON.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read_json(bytes: &[u8]) -> Result<Vec<Self>, FaultProblems> {
        let written: Vec<Map<String, Value>> = serde_json::from_slice(bytes).map_err(|error| {
            let message = format!("this is no list of faults: {error}");
            FaultProblems(vec![FaultProblem { place: None, path: String::new(), message }])
        })?;
        let faults = written.into_iter().map(|members| {
            let members = members.into_iter();
            (None, members.map(|(name, value)| (name, Located { value, place: None })).collect())
        });
        read(faults.collect())
    }
}

type Written = (Option<(u64, u64)>, BTreeMap<String, Located>);

fn read(written: Vec<Written>) -> Result<Vec<Fault>, FaultProblems> {
    let mut problems = Vec::new();
    if written.len() > FAULTS_MAX {
        let message = format!("{} faults; at most {FAULTS_MAX} are taken", written.len());
        let problem = FaultProblem { place: None, path: String::new(), message };
        return Err(FaultProblems(vec![problem]));
    }
    let mut faults = Vec::new();
    for (at, (place, members)) in written.into_iter().enumerate() {
        let members = Members::new(format!("fault {}", at + 1), place, members, &mut problems);
        faults.extend(fault(members));
    }
    if problems.is_empty() { Ok(faults) } else { Err(FaultProblems(problems)) }
}

/// `None` only if a problem was noted.
fn fault(mut members: Members<'_>) -> Option<Fault> {
    for shown in SHOWN {
        members.ignore(shown);
    }
    let source = members.source();
    let place = members.place_of("kind");
    let Some(word) = members.text("kind") else {
        if place.is_none() {
            members.problem("kind", None, "every fault names its kind");
        }
        return None;
    };
    let Some(entry) = KINDS.iter().find(|entry| entry.name == word) else {
        let message = unknown("kind", &word, KINDS.iter().map(|entry| entry.name));
        members.problem("kind", place, message);
        return None;
    };
    members.fault = format!("{} ({})", members.fault, entry.name);
    let label = members.text("name").unwrap_or_else(|| entry.name.to_owned());
    let kind = kind(entry, &mut members)?;
    // Before the others are read, because it goes with none of them.
    let operations = operations(entry, &kind, &mut members);
    let matcher = Matcher { operations, ..matcher(entry, &mut members) };
    let mut schedule = schedule(&mut members);
    if !kind.meets_calls() && !kind.changes_answers() && !matcher.takes_any_call() {
        members.problem("", place, "this kind happens to machines, not to calls");
    }
    if matches!(kind, Kind::Happens(..)) {
        // What happens by itself would happen again as soon as it is mended.
        schedule.times = schedule.times.or(Some(1));
    }
    let known: Vec<&str> = COMMON.iter().chain(entry.options).copied().collect();
    members.finish(&known);
    Some(Fault { kind, matcher, schedule, label, source })
}

fn kind(entry: &Entry, members: &mut Members<'_>) -> Option<Kind> {
    let second = std::time::Duration::from_secs(1);
    let reply = |members: &mut Members<'_>, usual: u16| {
        let status = members.status(400..=599).unwrap_or(usual);
        let error = members.text("error").unwrap_or_else(|| usual_text(status));
        Reply { status, error, code: members.text("code") }
    };
    if let Some(mut reply) = entry.preset() {
        if entry.options.contains(&"status") {
            reply.status = members.status(400..=499).unwrap_or(reply.status);
        }
        return Some(Kind::Fail(reply));
    }
    let happens = |members: &mut Members<'_>, what| {
        Kind::Happens(what, members.span("delay").unwrap_or_default())
    };
    Some(match entry.name {
        "fail" => Kind::Fail(reply(members, 503)),
        "act-then-fail" => Kind::ActThenFail(reply(members, 500)),
        "lost-request" => Kind::LostRequest,
        "lost-reply" => Kind::LostReply,
        "delivered-twice" => Kind::DeliveredTwice,
        "latency" => Kind::Latency(required(members, "delay", Members::span)?),
        "name-taken" => Kind::NameTaken,
        "start-refused" => Kind::StartRefused(members.span("delay").unwrap_or(second * 3)),
        "foreign-lease" => Kind::ForeignLease,
        "dead-host" => {
            let status = members.status(400..=599).unwrap_or(408);
            Kind::DeadHost(Reply { status, error: usual_text(status), code: None })
        }
        "empty-list" => Kind::EmptyList,
        "stale-list" => Kind::StaleList(required(members, "age", Members::span)?),
        "partial-list" => {
            let codes: Vec<&str> = REGIONS.iter().map(|region| region.code).collect();
            let regions =
                required(members, "regions", |members, name| members.words_of(name, &codes))?;
            Kind::PartialList(regions.into_iter().collect())
        }
        "wire-drift" => Kind::WireDrift,
        "flicker" => {
            let states = ["stopped", "replacing", "starting", "created", "stopping"];
            let words = members.words_of("state", &states).unwrap_or_default();
            Kind::Flicker(words.into_iter().next().unwrap_or_else(|| "stopped".to_owned()))
        }
        "slow-image" => Kind::SlowImage(required(members, "delay", Members::span)?),
        "reverted-update" => Kind::RevertedUpdate(members.span("delay").unwrap_or(second)),
        "lingering-claim" => Kind::LingeringClaim(required(members, "delay", Members::span)?),
        "destroyed-shown" => Kind::DestroyedShown(required(members, "delay", Members::span)?),
        "migration" => happens(members, Happening::Migration),
        "autostop" => happens(members, Happening::Autostop),
        "user-stop" => happens(members, Happening::UserStop),
        "user-edit" => {
            let config = required(members, "config", Members::object)?;
            happens(members, Happening::UserEdit(config))
        }
        "user-destroy" => happens(members, Happening::UserDestroy),
        other => {
            members.problem("kind", None, format!("`{other}` has no meaning"));
            return None;
        }
    })
}

fn required<'m, T>(
    members: &mut Members<'m>,
    name: &str,
    read: impl FnOnce(&mut Members<'m>, &str) -> Option<T>,
) -> Option<T> {
    if !members.has(name) {
        members.problem("", None, format!("this kind needs `{name}`"));
        return None;
    }
    read(members, name)
}

fn matcher(entry: &Entry, members: &mut Members<'_>) -> Matcher {
    let names: Vec<&str> = ACTIONS.iter().map(|action| action.name).collect();
    let paths: Vec<&str> = ACTIONS.iter().map(|action| action.path).collect();
    let codes: Vec<&str> = REGIONS.iter().map(|region| region.code).collect();
    let path_place = members.place_of("path");
    let mut actions = members.words_of("action", &names).unwrap_or_default();
    let methods = members.words_of("method", METHODS).unwrap_or_default();
    let path = members.text("path");
    if let Some(path) = path.as_ref().filter(|path| !paths.contains(&path.as_str())) {
        members.problem("path", path_place, unknown("path", path, paths.iter().copied()));
    }
    let concerned = |action: &&String| entry.actions.contains(&action.as_str());
    let stranger = actions.iter().find(|action| !entry.actions.is_empty() && !concerned(action));
    if let Some(stranger) = stranger {
        let message = format!("this kind concerns {} only", entry.actions.join(", "));
        let stranger = stranger.clone();
        members.problem("action", None, format!("{stranger}: {message}"));
    }
    if actions.is_empty() {
        actions = entry.actions.iter().map(|action| (*action).to_owned()).collect();
    }
    let glob = |text: Option<String>| text.map(|text| Glob::new(&text));
    Matcher {
        actions,
        methods,
        path,
        app: glob(members.text("app")),
        machine: glob(members.text("machine")),
        regions: members.words_of("region", &codes).unwrap_or_default(),
        operations: Vec::new(),
    }
}

/// The operations that a fault is about: words, or patterns that fit at least one.
fn operations(entry: &Entry, kind: &Kind, members: &mut Members<'_>) -> Vec<Glob> {
    let place = members.place_of("operation");
    let Some(words) = members.words("operation") else { return Vec::new() };
    for word in &words {
        let glob = Glob::new(word);
        if !OPERATIONS.iter().any(|known| glob.fits(known)) {
            let message = unknown("operation", word, OPERATIONS.iter().copied());
            members.problem("operation", place, message);
        }
    }
    if !kind.meets_operations() || !entry.actions.is_empty() {
        let message = "this kind does not happen to calls of S3, IAM and GraphQL";
        members.problem("operation", place, message);
    }
    let others = ["action", "path", "app", "machine", "region"];
    if let Some(other) = others.iter().find(|other| members.has(other)) {
        members.problem("operation", place, format!("`{other}` says nothing of such calls"));
    }
    words.iter().map(|word| Glob::new(word)).collect()
}

fn schedule(members: &mut Members<'_>) -> Schedule {
    Schedule {
        begins: members.span("in").unwrap_or_default(),
        lasts: members.span("for"),
        after: members.count("after").unwrap_or_default(),
        times: members.count("times"),
        probability: members.share("probability"),
        seed: members.count("seed").unwrap_or_default(),
    }
}

impl Matcher {
    /// Whether it names neither action, method nor path.
    fn takes_any_call(&self) -> bool {
        self.actions.is_empty()
            && self.methods.is_empty()
            && self.path.is_none()
            && self.operations.is_empty()
    }

    /// Whether a call has the form that is meant.
    pub(super) fn fits_call(&self, call: &Call) -> bool {
        let action = call.action;
        let named = match (self.operations.as_slice(), call.operations.as_slice()) {
            ([], operations) => operations.is_empty(),
            (globs, operations) => {
                globs.iter().any(|glob| operations.iter().any(|operation| glob.fits(operation)))
            }
        };
        let among = |words: &[String], word: &str| {
            words.is_empty() || words.iter().any(|known| known == word)
        };
        let name = action.map_or("", |action| action.name);
        let path = action.map_or("", |action| action.path);
        named
            && among(&self.actions, name)
            && among(&self.methods, &call.method)
            && self.path.as_deref().is_none_or(|wanted| wanted == path)
    }

    /// Whether that is whom it is about. What is not known of a subject is not what was meant.
    pub(super) fn fits(&self, subject: &Subject) -> bool {
        let one = |glob: &Option<Glob>, texts: [&Option<String>; 2]| match glob {
            None => true,
            Some(glob) => texts.into_iter().flatten().any(|text| glob.fits(text)),
        };
        let region = subject.region.as_ref();
        one(&self.app, [&subject.app, &None])
            && one(&self.machine, [&subject.machine_name, &subject.machine_id])
            && (self.regions.is_empty()
                || region.is_some_and(|region| self.regions.contains(region)))
    }
}
