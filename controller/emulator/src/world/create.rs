//! Making machines and giving them new versions.

use jiff::Timestamp;

use crate::world::config::{self, Config};
use crate::world::error::Refusal;
use crate::world::image::ImageRef;
use crate::world::machine::{Machine, Source, State, name_handle};
use crate::world::restart::Tally;
use crate::world::{World, region};

/// Longest machine name.
const LONGEST_NAME: usize = 63;
/// Machines per organization: more than a computer can run, less than its memory holds.
const MAX_MACHINES: usize = 50_000;

/// What `POST …/machines` asks for.
#[derive(Clone, Debug, Default)]
pub struct NewMachine {
    /// The name; generated if absent.
    pub name: Option<String>,
    /// A code, an alias or a list; see [`region::choose`].
    pub region: Option<String>,
    /// The config as it was sent.
    pub config: Config,
    /// Leave it stopped.
    pub skip_launch: bool,
    /// Start it without the app's secrets.
    pub skip_secrets: bool,
    /// The version that the app's secrets have to have reached.
    pub min_secrets_version: Option<u64>,
    /// Keep the proxy's traffic from it until it is uncordoned.
    pub skip_service_registration: bool,
}

/// What `POST …/machines/{id}` asks for.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Has to be the machine's name if given.
    pub name: Option<String>,
    /// Has to be the machine's region if given.
    pub region: Option<String>,
    /// The whole new config.
    pub config: Config,
    /// Leave it stopped.
    pub skip_launch: bool,
    /// Has to be the live version if given.
    pub current_version: Option<String>,
    /// Start it without the app's secrets.
    pub skip_secrets: bool,
    /// The version that the app's secrets have to have reached.
    pub min_secrets_version: Option<u64>,
}

impl World {
    /// Creates a machine in an app and claims its volume. It answers in `created`; the clock does
    /// the rest.
    ///
    /// # Errors
    /// See [`Refusal`]: unknown app or region, a wrong config, a name in use, a volume that is
    /// missing, elsewhere, claimed or going, a version of the secrets that is not there yet, a full
    /// organization.
    pub fn create_machine(
        &mut self,
        now: Timestamp,
        app: &str,
        new: NewMachine,
    ) -> Result<Machine, Refusal> {
        let (org, network) = {
            let app = self.open_app(app)?;
            (app.org.clone(), app.network.clone())
        };
        self.check_secrets_version(app, new.min_secrets_version)?;
        let (config, known) = config::complete(new.config)?;
        let image = ImageRef::resolve(known.image.as_deref().unwrap_or_default())?;
        let name = new.name.filter(|name| !name.is_empty());
        if let Some(name) = &name {
            check_name(name)?;
            if let Some(other) = self.machines.by_handle(&name_handle(app, name)) {
                return Err(Refusal::MachineNameInUse { id: other.id.clone(), name: name.clone() });
            }
        }
        let mount = known.mount().map(|(volume, _)| volume.to_owned());
        let pinned = match &mount {
            Some(volume) => Some(self.claimable(app, volume)?.region.clone()),
            None => None,
        };
        let region = region::choose(new.region.as_deref(), pinned.as_deref())?;
        if self.machines.count(&org) >= MAX_MACHINES {
            return Err(Refusal::LimitReached("machine"));
        }
        let private_ip = self.free_address(&org, &network, &region)?;
        let id = self.ids.machine();
        let stamp = self.ids.stamp(now);
        let mut machine = Machine {
            name: name.unwrap_or_else(|| format!("machine-{id}")),
            private_ip,
            id,
            app: app.to_owned(),
            org,
            region,
            created_at: stamp,
            updated_at: stamp,
            version: self.ids.ulid(now),
            replaced: Vec::new(),
            config,
            image,
            state: State::Created,
            events: Vec::new(),
            due: Some(now),
            run: 0,
            process: None,
            skip_launch: new.skip_launch,
            skip_secrets: new.skip_secrets,
            restarts: Tally { count: 0, since: now },
            cordoned: new.skip_service_registration,
            lease: None,
            pending: Vec::new(),
            memory_limit_mb: None,
        };
        machine.record(&mut self.ids, now, ("launch", State::Created, Source::User), None);
        if let Some(volume) = mount {
            self.attach(now, &volume, Some(machine.id.clone()));
        }
        self.machines.insert(machine.clone());
        Ok(machine)
    }

    /// Replaces a machine's whole config: a new version, stopped and launched again unless
    /// `skip_launch`.
    ///
    /// # Errors
    /// See [`Refusal`]: a version that is not the live one, an update under way, a wrong config, a
    /// different name, region or volume.
    pub fn update_machine(
        &mut self,
        now: Timestamp,
        app: &str,
        id: &str,
        update: Update,
    ) -> Result<Machine, Refusal> {
        let machine = self.live_machine(app, id)?;
        let wanted = update.current_version.as_deref().filter(|version| !version.is_empty());
        if wanted.is_some_and(|version| version != machine.version) {
            return Err(Refusal::ConcurrentUpdate);
        }
        match machine.state {
            State::Replacing | State::Stopping => return Err(Refusal::ConcurrentUpdate),
            state @ State::Destroying => {
                return Err(Refusal::WrongState { action: "update", state });
            }
            _ => {}
        }
        self.check_secrets_version(app, update.min_secrets_version)?;
        let (config, known) = config::complete(update.config)?;
        let image = ImageRef::resolve(known.image.as_deref().unwrap_or_default())?;
        let same = |given: &Option<String>, own: &str| {
            given.as_deref().is_none_or(|given| given.is_empty() || given == own)
        };
        if !same(&update.name, &machine.name) {
            return Err(Refusal::invalid("the name of a machine cannot be changed"));
        }
        if !same(&update.region, &machine.region) {
            return Err(Refusal::invalid("the region of a machine cannot be changed"));
        }
        if known.mount().map(|(volume, _)| volume) != machine.volume().as_deref() {
            return Err(Refusal::invalid("the volume of a machine cannot be changed"));
        }
        // The running process is stopped in the way that its own config asks for.
        let (signal, timeout) = machine.way_to_stop(None, None)?;
        let before = machine.clone();
        let version = self.ids.ulid(now);
        self.remember_version(id);
        self.change_machine(now, id, |machine, ids| {
            machine.supersede(version);
            machine.config = config;
            machine.image = image;
            machine.skip_launch = update.skip_launch;
            machine.skip_secrets = update.skip_secrets;
            machine.record(ids, now, ("update", State::Replacing, Source::User), None);
            machine.enter(State::Replacing, Some(now));
        });
        self.stop_process(id, signal, timeout);
        self.faults.updated(now, before);
        Ok(self.live_machine(app, id)?.clone())
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.len() > LONGEST_NAME || !name.bytes().all(allowed) {
        return Err(Refusal::invalid(format!(
            "invalid machine name {name:?}: at most {LONGEST_NAME} letters, digits, -, _ and ."
        )));
    }
    Ok(())
}
