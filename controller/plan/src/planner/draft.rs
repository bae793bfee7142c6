//! One tenant while it is being planned.

use std::sync::Arc;

use super::burial;
use super::drift::Cause;
use super::index::{Index, Owned, Places};
use crate::action::{Action, AppPlace, PlannedAction};
use crate::bucket::StorageReport;
use crate::desired::DesiredTenant;
use crate::observed::{Hold, HoldKind, Observed, ObservedMachine, ObservedOrganization};
use crate::report::{MachineReport, Note, NoteReason, TenantReport};
use crate::time::UnixMillis;
use crate::token::TokenReport;
use crate::volume::AppLists;

/// What was found of a tenant, and what has been decided about it so far.
pub(super) struct Draft<'a> {
    pub(super) tenant: &'a DesiredTenant,
    pub(super) organization: &'a ObservedOrganization,
    /// The tenant's app; of a shared one, what is this tenant's business.
    pub(super) lists: AppLists<'a>,
    /// The places of all machines in the app, whoever they belong to.
    pub(super) machines_in_app: &'a [usize],
    pub(super) app_exists: bool,
    /// The machines that carry this tenant's mark, wherever they are.
    pub(super) owned: &'a [Owned<'a>],
    /// Why nothing may be done for the tenant now.
    pub(super) hold: Option<&'a Hold>,
    /// The version of the app's secrets that machines have to start with, as far as it is known
    /// before the plan is carried out.
    pub(super) secrets_version: Option<u64>,
    /// A volume that was not there before is asked for, and not only told of.
    pub(super) wants_volume: bool,
    /// The end of a machine waits for a snapshot of its volume.
    pub(super) snapshotting: bool,
    pub(super) machines: Vec<MachineReport>,
    pub(super) tokens: Vec<TokenReport>,
    pub(super) storage: Option<StorageReport>,
    /// Why the next action is needed.
    pub(super) cause: Cause,
    /// What others changed is reported, and not corrected.
    pub(super) reports_drift: bool,
    /// What would correct it.
    pub(super) drifted: Vec<PlannedAction>,
    actions: Vec<PlannedAction>,
    notes: Vec<Note>,
}

impl<'a> Draft<'a> {
    /// `None` if the tenant's organization could not be read.
    pub(super) fn new(
        tenant: &'a DesiredTenant,
        observed: &'a Observed,
        index: &'a Index<'a>,
        now: UnixMillis,
    ) -> Option<Self> {
        let app = tenant.app.as_str();
        let organization = observed.organizations.get(&*tenant.organization)?;
        let places = index.organization(&tenant.organization)?;
        let all = Places { machines: places.machines(app), volumes: places.volumes(app) };
        let own = if tenant.app_is_shared { index.in_shared_app(&tenant.name) } else { all };
        Some(Self {
            tenant,
            organization,
            lists: AppLists {
                machines: &organization.machines,
                volumes: &organization.volumes,
                machines_in_app: own.machines,
                volumes_in_app: own.volumes,
                last_used: &observed.last_used,
            },
            machines_in_app: all.machines,
            app_exists: places.has_app(app),
            owned: index.owned(&tenant.name),
            hold: observed.holds.get(&*tenant.name).filter(|hold| now < hold.until),
            secrets_version: None,
            wants_volume: false,
            snapshotting: false,
            machines: Vec::new(),
            tokens: Vec::new(),
            storage: None,
            cause: Cause::Manifest,
            reports_drift: tenant.reports_drift && observed.reached.contains(&*tenant.name),
            drifted: Vec::new(),
            actions: Vec::new(),
            notes: Vec::new(),
        })
    }

    /// A machine at one of these places of which it cannot be said whose it is.
    pub(super) fn blank_among(&self, places: &[usize]) -> Option<&'a ObservedMachine> {
        let mut machines = places.iter().map(|&place| &self.organization.machines[place]);
        machines.find(|machine| machine.is_blank())
    }

    /// Decides on an action in the tenant's app.
    pub(super) fn act(&mut self, action: Action, reason: impl Into<String>) {
        let organization = Arc::clone(&self.tenant.organization);
        self.push(organization, self.tenant.app.clone(), action, reason.into());
    }

    /// Decides on an action on one of our machines, in the app in which it really is.
    pub(super) fn act_on(&mut self, owned: Owned<'_>, action: Action, reason: impl Into<String>) {
        let app = owned.machine.app.clone();
        self.push(owned.organization.into(), app, action, reason.into());
    }

    fn push(&mut self, organization: Arc<str>, app: String, action: Action, reason: String) {
        let tenant = Arc::clone(&self.tenant.name);
        let planned = PlannedAction { tenant, organization, app, action, reason };
        if self.withholds() {
            self.withhold(planned);
        } else {
            self.actions.push(planned);
        }
    }

    /// Says what is left undone.
    pub(super) fn note(&mut self, reason: NoteReason, message: impl Into<String>) {
        self.notes.push(Note::new(reason, message));
    }

    /// Says what is left undone.
    pub(super) fn add(&mut self, note: Note) {
        self.notes.push(note);
    }

    /// Why it is not known which volumes the tenant's app has, as a sentence.
    pub(super) fn volume_gap(&self) -> Option<String> {
        let app = self.tenant.app.as_str();
        self.organization.gaps.volumes.get(app).map(|gap| gap.sentence(app))
    }

    /// The tenant's app, if it has to be asked for its volumes before it gets another one. A tenant
    /// for which nothing is done asks for nothing.
    pub(super) fn app_to_confirm(&self) -> Option<AppPlace> {
        let asks =
            self.wants_volume && self.app_exists && !self.tenant.paused && self.hold.is_none();
        asks.then(|| AppPlace {
            organization: Arc::clone(&self.tenant.organization),
            app: self.tenant.app.clone(),
        })
    }

    /// The tenant's report; its actions are handed over, unless the tenant is held.
    pub(super) fn finish(mut self, gone: bool, actions: &mut Vec<PlannedAction>) -> TenantReport {
        let gone = gone && !self.tenant.paused;
        if self.tenant.paused {
            self.note_pause();
        }
        match self.hold {
            Some(hold) if !self.actions.is_empty() => {
                self.note(hold_reason(hold), hold.message.clone());
            }
            _ => actions.append(&mut self.actions),
        }
        let deletion = self.tenant.deleting.then(|| burial::stage(&self));
        TenantReport {
            tenant: Arc::clone(&self.tenant.name),
            app_exists: self.app_exists,
            deletion,
            notes: self.notes,
            machines: self.machines,
            tokens: self.tokens,
            storage: self.storage,
            gone,
        }
    }

    /// A pause in which there is nothing to do needs no word here: the tenant's status has one.
    fn note_pause(&mut self) {
        let count = self.actions.len();
        if self.tenant.deleting {
            self.note(NoteReason::Paused, "its deletion waits: reconcile is Paused");
        } else if count > 0 {
            let actions = if count == 1 { "action is" } else { "actions are" };
            let message = format!("reconcile is Paused: {count} {actions} left undone");
            self.note(NoteReason::Paused, message);
        }
    }
}

/// What a hold is called in a note.
pub(super) fn hold_reason(hold: &Hold) -> NoteReason {
    match hold.kind {
        HoldKind::BackOff => NoteReason::BackOff,
        HoldKind::Unsettled => NoteReason::Unsettled,
        HoldKind::NameTaken => NoteReason::NameTaken,
        HoldKind::Refused => NoteReason::Refused,
        HoldKind::Leased { .. } => NoteReason::Waiting,
    }
}
