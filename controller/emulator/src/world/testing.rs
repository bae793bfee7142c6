//! What the world's tests share.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::world::{
    Addresses, DigestKey, Machine, NewApp, NewMachine, NewVolume, Settings, Volume, World,
};

/// A time, in seconds after a fixed one.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("a time")
}

/// Settings with the organizations `local` and `other`, and one second of boot delay.
pub(crate) fn settings(processes: bool) -> Settings {
    let orgs = BTreeSet::from(["local".to_owned(), "other".to_owned()]);
    Settings {
        seed: 42,
        orgs,
        boot_delay: Duration::from_secs(1),
        processes,
        addresses: Addresses::PrivateNetwork,
        digest_key: DigestKey::new([7; 32]),
    }
}

/// A world with the app `app` in `local`.
pub(crate) fn world(processes: bool) -> World {
    let mut world = World::new(settings(processes));
    world.create_app(at(0), new_app("app")).expect("an app");
    world
}

/// A request for an app in `local`.
pub(crate) fn new_app(name: &str) -> NewApp {
    NewApp { name: Some(name.to_owned()), org: "local".to_owned(), ..NewApp::default() }
}

/// A request for a machine with members over the minimal config.
pub(crate) fn new_machine(name: &str, members: &Value) -> NewMachine {
    let mut config = json!({ "image": "nginx:1" });
    let (own, more) =
        (config.as_object_mut().expect("an object"), members.as_object().expect("an object"));
    own.extend(more.clone());
    NewMachine { name: Some(name.to_owned()), config: own.clone(), ..NewMachine::default() }
}

/// A machine of `app`, created at second 0.
pub(crate) fn machine(world: &mut World, name: &str, members: &Value) -> Machine {
    world.create_machine(at(0), "app", new_machine(name, members)).expect("a machine")
}

/// A volume of `app` in `ord`, created at second 0.
pub(crate) fn volume(world: &mut World) -> Volume {
    let new = NewVolume {
        name: "data".to_owned(),
        region: Some("ord".to_owned()),
        ..NewVolume::default()
    };
    world.create_volume(at(0), "app", new).expect("a volume")
}
