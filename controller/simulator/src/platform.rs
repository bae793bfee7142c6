//! The platform as a process sees it: each call is a request on its way, an effect, and an answer on
//! its way back.
//!
//! ```text
//!   asked ──▶ left ──▶ (travels) ──▶ effect ──▶ (travels) ──▶ known
//!                          │                        │
//!                          └ lost, late, twice      └ lost, or another than the platform gave
//! ```
//!
//! A process that dies leaves its request on its way.

mod deletion;
mod effects;
mod leases;
mod reads;
mod request;
pub(crate) mod storage;
mod tokens;

use std::future::pending;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::oneshot;
use vault_cloud::error::CallError;
use vault_cloud::logs::Tail;
use vault_cloud::machines::Exit;
use vault_controller::platform::{
    AppContents, AppList, AppOwner, Calls, Lease, MachineList, MachineUpdate, MintedToken,
    NewDeployToken, NewLease, NewMachine, NewVolume, Platform, SecretList, SecretSet, TokenList,
    VolumeList, WholeMachine, WrittenMachine,
};
use vault_emulator::world::Refusal;
use vault_plan::observed::{ObservedMachine, ObservedSnapshot, ObservedVolume};
use vault_plan::time::UnixMillis;

use crate::boundary::{Boundary, Place};
use crate::fate::Fate;
use crate::faults::LATE_MS;
use crate::process::ProcessId;
use crate::universe::{Shared, Universe};
use crate::verb::Verb;
use request::{Request, give_up};

/// How long a request, or an answer, usually travels, in milliseconds.
const TRAVEL_MS: std::ops::Range<i64> = 1..25;
/// How long it travels on a bad day.
const SLOW_MS: std::ops::Range<i64> = 500..2_000;
/// When a caller gives up, in milliseconds.
const PATIENCE_MS: i64 = 1_000;

/// A process's way to the platform.
#[derive(Clone)]
pub struct SimPlatform {
    shared: Shared,
    controller: usize,
    process: ProcessId,
}

/// A call, and to what.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) verb: Verb,
    /// The place of the controller that makes it.
    pub(crate) controller: usize,
    process: ProcessId,
    /// The organization, for what concerns all of one.
    pub(crate) organization: String,
    pub(crate) app: String,
    /// The name, or the id, of what it is about.
    pub(crate) subject: String,
    fate: Fate,
    /// It was carried out before: the platform does so twice.
    pub(crate) is_repeated: bool,
}

impl SimPlatform {
    /// The platform as a process of the controller with that place sees it.
    #[must_use]
    pub fn new(shared: Shared, controller: usize, process: ProcessId) -> Self {
        Self { shared, controller, process }
    }

    async fn in_organization<T: Send + 'static>(
        &self,
        verb: Verb,
        organization: &str,
        act: impl FnMut(&mut Universe, &Call) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, CallError> {
        self.call(verb, [organization, "", ""], act).await
    }

    async fn in_app<T: Send + 'static>(
        &self,
        verb: Verb,
        app: &str,
        subject: &str,
        act: impl FnMut(&mut Universe, &Call) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, CallError> {
        self.call(verb, ["", app, subject], act).await
    }

    async fn call<T: Send + 'static>(
        &self,
        verb: Verb,
        [organization, app, subject]: [&str; 3],
        act: impl FnMut(&mut Universe, &Call) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, CallError> {
        let (answer, answered) = oneshot::channel();
        let call = Call {
            verb,
            controller: self.controller,
            process: self.process,
            organization: organization.to_owned(),
            app: app.to_owned(),
            subject: subject.to_owned(),
            fate: Fate::Works,
            is_repeated: false,
        };
        let request = Request { call, act: Box::new(act), answer: Some(answer) };
        self.shared.stand_still(self.process).await;
        let left = self.send(request);
        if let Some(fate) = left {
            let answer = self.shared.wait(answered).await;
            self.shared.stand_still(self.process).await;
            let known = Boundary::of_call(verb, Place::Known, fate);
            let mut universe = self.shared.lock();
            if !universe.boundary(self.process, known) {
                if verb.is_write() && answer.is_ok() {
                    let Universe { oracles, controllers, .. } = &mut *universe;
                    let call = (self.controller, verb, [app, subject]);
                    oracles.answered(call, &controllers[self.controller]);
                }
                return answer;
            }
        }
        pending().await
    }

    /// Sends a request on its way; its fate, or `None` if the process is dead by then.
    fn send<T: Send + 'static>(&self, mut request: Request<T>) -> Option<Fate> {
        let mut universe = self.shared.lock();
        let universe = &mut *universe;
        let (verb, process) = (request.call.verb, self.process);
        if universe.processes.is_dead(process) {
            return None;
        }
        let number = universe.faults.writes();
        let fate = universe.faults.fate(verb, &mut universe.chance);
        request.call.fate = fate;
        if verb.is_write() {
            let crossed = universe.processes.crossed();
            universe.trace.write_begins(number, crossed, verb);
        }
        if universe.boundary(process, Boundary::of_call(verb, Place::Asked, fate)) {
            return None;
        }
        universe.trace.call(verb, fate);
        let calls = &mut universe.controllers[self.controller].calls;
        match verb {
            Verb::Secrets | Verb::Tokens => calls.secret_reads += 1,
            verb if verb.is_write() => calls.writes += 1,
            verb if verb.is_storage() => calls.secret_reads += 1,
            _ => calls.reads += 1,
        }
        let now_ms = universe.now_ms();
        if verb.is_write() {
            let Universe { oracles, controllers, .. } = universe;
            oracles.sent(now_ms, &request.call, &controllers[self.controller]);
        }
        let travel_ms = match fate {
            Fate::Slow => universe.draw_ms(SLOW_MS),
            _ => universe.draw_ms(TRAVEL_MS),
        };
        match fate {
            Fate::NotSent => universe.after(travel_ms, move |universe| request.lose(universe)),
            Fate::LostRequest => {
                universe.after(PATIENCE_MS, move |universe| request.lose(universe));
            }
            Fate::LateRequest => {
                let answer = request.answer.take();
                universe.after(PATIENCE_MS, move |universe| {
                    give_up(universe, answer, verb, Fate::LateRequest);
                });
                let late_ms = universe.draw_ms(LATE_MS);
                universe.after(late_ms, move |universe| request.arrive(universe));
            }
            _ => universe.after(travel_ms, move |universe| request.arrive(universe)),
        }
        let left = Boundary::of_call(verb, Place::Left, fate);
        (!universe.boundary(process, left)).then_some(fate)
    }
}

impl Platform for SimPlatform {
    async fn organizations(&self) -> Result<Vec<String>, CallError> {
        self.in_organization(Verb::Organizations, "", |_, _| {
            Ok(crate::workload::ORGANIZATIONS.map(str::to_owned).to_vec())
        })
        .await
    }

    async fn apps(&self, organization: &str) -> Result<AppList, CallError> {
        self.in_organization(Verb::Apps, organization, reads::apps).await
    }

    async fn machines(&self, organization: &str) -> Result<MachineList, CallError> {
        self.in_organization(Verb::Machines, organization, reads::machines).await
    }

    async fn machines_since(
        &self,
        organization: &str,
        since: UnixMillis,
    ) -> Result<MachineList, CallError> {
        let list = move |universe: &mut Universe, call: &Call| {
            reads::machines_since(universe, call, since)
        };
        self.in_organization(Verb::MachinesSince, organization, list).await
    }

    async fn volumes(&self, organization: &str) -> Result<VolumeList, CallError> {
        self.in_organization(Verb::Volumes, organization, reads::volumes).await
    }

    async fn machine(&self, app: &str, id: &str) -> Result<Option<ObservedMachine>, CallError> {
        self.in_app(Verb::Machine, app, id, reads::machine).await
    }

    async fn whole_machine(&self, app: &str, id: &str) -> Result<Option<WholeMachine>, CallError> {
        self.in_app(Verb::Machine, app, id, reads::whole_machine).await
    }

    async fn app_volumes(&self, app: &str) -> Result<VolumeList, CallError> {
        self.in_app(Verb::AppVolumes, app, "", reads::app_volumes).await
    }

    async fn volume(&self, app: &str, id: &str) -> Result<Option<ObservedVolume>, CallError> {
        self.in_app(Verb::Volume, app, id, reads::volume).await
    }

    async fn app_owner(&self, app: &str) -> Result<AppOwner, CallError> {
        self.in_app(Verb::AppOwner, app, "", reads::app_owner).await
    }

    async fn secrets(&self, app: &str) -> Result<SecretList, CallError> {
        self.in_app(Verb::Secrets, app, "", reads::secrets).await
    }

    async fn set_secret(
        &self,
        app: &str,
        name: &str,
        value: &SecretString,
    ) -> Result<SecretSet, CallError> {
        let value = value.expose_secret().to_owned();
        let set =
            move |universe: &mut Universe, call: &Call| effects::set_secret(universe, call, &value);
        self.in_app(Verb::SetSecret, app, name, set).await
    }

    async fn create_app(&self, organization: &str, app: &str) -> Result<(), CallError> {
        self.call(Verb::CreateApp, [organization, app, ""], effects::create_app).await
    }

    async fn create_volume(&self, app: &str, volume: NewVolume) -> Result<String, CallError> {
        let name = volume.name.clone();
        let create = move |universe: &mut Universe, call: &Call| {
            effects::create_volume(universe, call, &volume)
        };
        self.in_app(Verb::CreateVolume, app, &name, create).await
    }

    async fn create_machine(
        &self,
        app: &str,
        machine: NewMachine,
    ) -> Result<WrittenMachine, CallError> {
        let name = machine.name.clone();
        let create = move |universe: &mut Universe, call: &Call| {
            effects::create_machine(universe, call, &machine)
        };
        self.in_app(Verb::CreateMachine, app, &name, create).await
    }

    async fn update_machine(
        &self,
        app: &str,
        id: &str,
        update: MachineUpdate,
    ) -> Result<WrittenMachine, CallError> {
        let update = move |universe: &mut Universe, call: &Call| {
            effects::update_machine(universe, call, &update)
        };
        self.in_app(Verb::UpdateMachine, app, id, update).await
    }

    async fn start_machine(&self, app: &str, id: &str) -> Result<(), CallError> {
        self.in_app(Verb::StartMachine, app, id, effects::start_machine).await
    }

    async fn stop_machine(
        &self,
        app: &str,
        id: &str,
        lease: Option<&str>,
    ) -> Result<(), CallError> {
        let lease = lease.map(str::to_owned);
        let stop = move |universe: &mut Universe, call: &Call| {
            effects::stop_machine(universe, call, lease.as_deref())
        };
        self.in_app(Verb::StopMachine, app, id, stop).await
    }

    async fn suspend_machine(&self, app: &str, id: &str) -> Result<(), CallError> {
        self.in_app(Verb::SuspendMachine, app, id, effects::suspend_machine).await
    }

    async fn set_metadata(
        &self,
        app: &str,
        id: &str,
        key: &str,
        value: &str,
    ) -> Result<(), CallError> {
        let entry = (key.to_owned(), value.to_owned());
        let set = move |universe: &mut Universe, call: &Call| {
            effects::set_metadata(universe, call, &entry)
        };
        self.in_app(Verb::SetMetadata, app, id, set).await
    }

    async fn extend_volume(&self, app: &str, id: &str, size_gb: u32) -> Result<bool, CallError> {
        let extend = move |universe: &mut Universe, call: &Call| {
            effects::extend_volume(universe, call, size_gb)
        };
        self.in_app(Verb::ExtendVolume, app, id, extend).await
    }

    async fn snapshots(&self, app: &str, volume: &str) -> Result<Vec<ObservedSnapshot>, CallError> {
        self.in_app(Verb::Snapshots, app, volume, reads::snapshots).await
    }

    async fn create_snapshot(&self, app: &str, volume: &str) -> Result<(), CallError> {
        self.in_app(Verb::CreateSnapshot, app, volume, effects::create_snapshot).await
    }

    async fn delete_secret(&self, app: &str, name: &str) -> Result<Option<u64>, CallError> {
        self.in_app(Verb::DeleteSecret, app, name, effects::delete_secret).await
    }

    async fn delete_machine(
        &self,
        app: &str,
        id: &str,
        lease: Option<&str>,
    ) -> Result<(), CallError> {
        let lease = lease.map(str::to_owned);
        let delete = move |universe: &mut Universe, call: &Call| {
            effects::delete_machine(universe, call, lease.as_deref())
        };
        self.in_app(Verb::DeleteMachine, app, id, delete).await
    }

    async fn acquire_lease(&self, app: &str, id: &str, new: NewLease) -> Result<Lease, CallError> {
        let acquire =
            move |universe: &mut Universe, call: &Call| leases::acquire(universe, call, &new);
        self.in_app(Verb::AcquireLease, app, id, acquire).await
    }

    async fn release_lease(&self, app: &str, id: &str, nonce: &str) -> Result<(), CallError> {
        let nonce = nonce.to_owned();
        let release =
            move |universe: &mut Universe, call: &Call| leases::release(universe, call, &nonce);
        self.in_app(Verb::ReleaseLease, app, id, release).await
    }

    async fn delete_volume(&self, app: &str, id: &str) -> Result<(), CallError> {
        self.in_app(Verb::DeleteVolume, app, id, deletion::volume).await
    }

    /// As the client of the real platform does: the app itself, then what it holds, list by list.
    async fn app_contents(&self, app: &str) -> Result<Option<AppContents>, CallError> {
        let found = self.in_app(Verb::AppOwner, app, "", deletion::found).await?;
        let Some(found) = found else { return Ok(None) };
        let machines = self.in_app(Verb::AppMachines, app, "", deletion::machines).await?;
        let list = self.in_app(Verb::AppVolumes, app, "", reads::app_volumes).await?;
        let certificates = self.in_app(Verb::Certificates, app, "", deletion::certificates).await?;
        let addresses = self.in_app(Verb::Addresses, app, "", deletion::addresses).await?;
        let listed = (list.volumes.len() + list.unreadable) as u64;
        let volumes = found.volumes.max(listed);
        let machines = machines.max(found.machines);
        Ok(Some(AppContents { machines, volumes, certificates, addresses, ..found }))
    }

    async fn delete_app(&self, app: &str) -> Result<(), CallError> {
        self.in_app(Verb::DeleteApp, app, "", deletion::app).await
    }

    async fn exits(&self, app: &str, id: &str) -> Result<Vec<Exit>, CallError> {
        // Nothing runs here, and so nothing ends.
        self.in_app(Verb::Exits, app, id, |_, _| Ok(Vec::new())).await
    }

    async fn log_tail(&self, app: &str, id: &str, _: &str, _: usize) -> Result<Tail, CallError> {
        // Nothing runs here, and so nothing is printed.
        self.in_app(Verb::LogTail, app, id, |_, _| Ok(Tail::default())).await
    }

    async fn tokens(&self, organization: &str) -> Result<TokenList, CallError> {
        self.in_organization(Verb::Tokens, organization, tokens::list).await
    }

    async fn mint_token(&self, app: &str, token: NewDeployToken) -> Result<MintedToken, CallError> {
        let name = token.name.clone();
        let mint = move |universe: &mut Universe, call: &Call| tokens::mint(universe, call, &token);
        self.in_app(Verb::MintToken, app, &name, mint).await
    }

    async fn revoke_token(&self, id: &str) -> Result<(), CallError> {
        self.in_app(Verb::RevokeToken, "", id, tokens::revoke).await
    }

    fn calls(&self) -> Calls {
        self.shared.lock().controllers[self.controller].calls
    }
}
