//! Addresses of apps. Public ones are of ranges that are routed nowhere (RFC 2544, RFC 3849), so that
//! nobody takes them for reachable.

use std::net::{Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Belonging, Kind, Thing};
use crate::world::address::private_network;
use crate::world::error::Refusal;
use crate::world::{World, region};

/// The address that all apps share, the first of 198.18.0.0/15.
const SHARED_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The hosts of 198.18.0.0/15 after the shared one.
const PUBLIC_V4: u64 = (1 << 17) - 3;

/// A kind of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressType {
    /// Public, of the app alone.
    V4,
    /// Public.
    V6,
    /// Public, shared by all apps.
    SharedV4,
    /// Flycast: within a private network.
    PrivateV6,
    /// Outbound.
    EgressV4,
    /// Outbound.
    EgressV6,
    /// Outbound, one of each.
    EgressPair,
}

/// An address as it was assigned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Its kind.
    pub kind: AddressType,
    /// The region's code; empty for addresses that are everywhere.
    pub region: String,
    /// In the caller's words.
    pub service_name: String,
    /// The private network and its organization; for Flycast only.
    pub network: Option<(String, String)>,
}

/// What `POST …/ip_assignments` asks for.
#[derive(Clone, Debug)]
pub struct NewAssignment {
    /// The kind of address.
    pub kind: AddressType,
    /// A region's code.
    pub region: Option<String>,
    /// In the caller's words.
    pub service_name: Option<String>,
    /// The private network of a Flycast address.
    pub network: Option<String>,
}

impl World {
    /// Assigns an address to an app; an egress pair is two, IPv4 first.
    ///
    /// # Errors
    /// An unknown region, a network that no app of the organization has, too many addresses.
    pub fn assign_address(
        &mut self,
        now: Timestamp,
        app: &str,
        new: NewAssignment,
    ) -> Result<Vec<Belonging>, Refusal> {
        let org = self.open_app(app)?.org.clone();
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let region = given(new.region).map(|asked| region::choose(Some(&asked), None));
        let region = region.transpose()?.unwrap_or_default();
        let network = given(new.network);
        if let Some(network) = &network
            && !self.apps.group(&org).any(|other| other.network == *network)
        {
            return Err(Refusal::NetworkNotFound);
        }
        let service_name = new.service_name.unwrap_or_default();
        let kinds = match new.kind {
            AddressType::EgressPair => vec![AddressType::EgressV4, AddressType::EgressV6],
            kind => vec![kind],
        };
        self.check_room_for_things(app, Kind::Address, kinds.len())?;
        let mut assigned = Vec::with_capacity(kinds.len());
        for kind in kinds {
            let joins = (kind == AddressType::PrivateV6)
                .then(|| (network.clone().unwrap_or_default(), org.clone()));
            let ip = self.draw_address(kind, &org, network.as_deref().unwrap_or_default());
            let (region, service_name) = (region.clone(), service_name.clone());
            let thing = Assignment { kind, region, service_name, network: joins };
            assigned.push(self.set_belonging(now, app, &ip, Thing::Address(thing))?);
        }
        Ok(assigned)
    }

    /// Takes an address from an app.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub fn release_address(&mut self, app: &str, ip: &str) -> Result<(), Refusal> {
        // Addresses have many spellings.
        let ip = ip.parse().map_or_else(|_| ip.to_owned(), |ip: std::net::IpAddr| ip.to_string());
        self.remove_belonging(app, Kind::Address, &ip)
    }

    fn draw_address(&mut self, kind: AddressType, org: &str, network: &str) -> String {
        let number = self.ids.number();
        let low = u32::try_from(number % PUBLIC_V4).unwrap_or_default();
        match kind {
            AddressType::SharedV4 => SHARED_V4.to_string(),
            AddressType::V4 | AddressType::EgressV4 => {
                Ipv4Addr::from(u32::from(SHARED_V4) + 1 + low).to_string()
            }
            AddressType::V6 | AddressType::EgressV6 | AddressType::EgressPair => {
                let prefix = u128::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0));
                Ipv6Addr::from(prefix | u128::from(number)).to_string()
            }
            AddressType::PrivateV6 => {
                // A host of its own for addresses that are no machine's.
                let host = self.ids.offset("flycast");
                private_network(org, network, host, number).to_string()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::NewApp;
    use crate::world::testing::{at, new_app, world};

    fn new(kind: AddressType, network: Option<&str>) -> NewAssignment {
        let network = network.map(str::to_owned);
        NewAssignment { kind, region: None, service_name: None, network }
    }

    #[test]
    fn addresses_are_of_their_kind_and_apart() {
        let mut world = world(false);
        let mut assign = |kind| {
            let made = world.assign_address(at(0), "app", new(kind, None)).expect("assigned");
            made.into_iter().map(|belonging| belonging.name).collect::<Vec<_>>()
        };
        let first = assign(AddressType::V4);
        assert!(first[0].starts_with("198.1"), "{first:?}");
        assert_ne!(assign(AddressType::V4), first);
        assert!(assign(AddressType::V6)[0].starts_with("2001:db8::"));
        assert!(assign(AddressType::PrivateV6)[0].starts_with("fdaa:"));
        assert_eq!(assign(AddressType::SharedV4), assign(AddressType::SharedV4));
        assert_eq!(assign(AddressType::EgressPair).len(), 2);
        let spelled = assign(AddressType::V6)[0].replace("::", ":0:0:0:0:0:");
        world.release_address("app", &spelled).expect("released");
        assert_eq!(world.release_address("app", &spelled), Err(Refusal::NotFound("ip assignment")));
    }

    #[test]
    fn half_of_a_pair_is_not_assigned() {
        let mut world = world(false);
        let room = |world: &World| {
            world.check_room_for_things("app", Kind::Address, 1).is_ok()
                && world.check_room_for_things("app", Kind::Address, 2).is_err()
        };
        while !room(&world) {
            world.assign_address(at(0), "app", new(AddressType::V6, None)).expect("assigned");
        }
        let pair = world.assign_address(at(0), "app", new(AddressType::EgressPair, None));
        assert_eq!(pair, Err(Refusal::LimitReached("ip assignment")));
        assert!(room(&world), "nothing was assigned");
    }

    #[test]
    fn a_flycast_address_joins_a_network_that_exists() {
        let mut world = world(false);
        let unknown = world.assign_address(at(0), "app", new(AddressType::PrivateV6, Some("n")));
        assert_eq!(unknown, Err(Refusal::NetworkNotFound));
        let app = NewApp { network: "n".to_owned(), ..new_app("other") };
        world.create_app(at(0), app).expect("an app");
        let made = world.assign_address(at(0), "app", new(AddressType::PrivateV6, Some("n")));
        let Thing::Address(address) = &made.expect("assigned")[0].thing else {
            panic!("an address")
        };
        assert_eq!(address.network, Some(("n".to_owned(), "local".to_owned())));
    }
}
