//! The addresses of machines.
//!
//! Where machines have an address of their own on the loopback interface, it is one of the
//! platform's private network. Elsewhere it is one of 127.0.0.0/8, all of which reach this computer
//! without anybody's leave.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;

use crate::world::World;
use crate::world::error::Refusal;
use crate::world::ids::number_of;
use crate::world::machine::State;

/// Second, third and fourth byte of a loopback address: `127.0.*` is left to the computer itself
/// (127.0.0.1, Debian's 127.0.1.1, resolvers at 127.0.0.53), as are the ends of each network.
const BYTES: (u64, u64, u64) = (254, 256, 254);
/// How many loopback addresses that makes.
const LOOPBACK_ADDRESSES: u64 = BYTES.0 * BYTES.1 * BYTES.2;

/// Which addresses machines get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// Of the private network, `fdaa::/16`.
    PrivateNetwork,
    /// Of 127.0.0.0/8.
    Loopback,
}

impl Addresses {
    fn include(self, address: IpAddr) -> bool {
        address.is_ipv6() == (self == Self::PrivateNetwork)
    }
}

impl World {
    /// An address that no other machine has.
    ///
    /// # Errors
    /// [`Refusal::LimitReached`] if there is none.
    pub(crate) fn free_address(
        &mut self,
        org: &str,
        network: &str,
        region: &str,
    ) -> Result<IpAddr, Refusal> {
        match self.settings.addresses {
            Addresses::PrivateNetwork => {
                // Emulators on one computer are different hosts: they share its loopback interface.
                let host = self.ids.offset(&format!("host/{region}"));
                Ok(private_network(org, network, host, self.ids.number()).into())
            }
            Addresses::Loopback => {
                let live = self.machines.iter().filter(|machine| machine.state != State::Destroyed);
                let taken: HashSet<IpAddr> = live.map(|machine| machine.private_ip).collect();
                // Emulators on one computer begin at different places.
                let start = self.ids.offset("loopback addresses");
                let free = (0..LOOPBACK_ADDRESSES)
                    .map(|_| IpAddr::from(loopback(start.wrapping_add(self.ids.number()))))
                    .find(|address| !taken.contains(address));
                free.ok_or(Refusal::LimitReached("machine"))
            }
        }
    }

    /// Gives new addresses to machines whose own is of the other kind: the emulator was started
    /// with more or fewer rights than before. On the platform, too, a machine that moves to another
    /// host has a new address at its next boot.
    pub(crate) fn readdress(&mut self, now: Timestamp) {
        let kind = self.settings.addresses;
        let strangers = self.machines.iter().filter(|machine| {
            machine.state != State::Destroyed && !kind.include(machine.private_ip)
        });
        let strangers: Vec<_> = strangers
            .map(|machine| {
                let network = self.apps.row(&machine.app).map(|app| app.network.clone());
                let network = network.unwrap_or_default();
                (machine.id.clone(), machine.org.clone(), network, machine.region.clone())
            })
            .collect();
        for (id, org, network, region) in strangers {
            // A world that has run out of addresses keeps its machines as they are.
            if let Ok(address) = self.free_address(&org, &network, &region) {
                self.change_machine(now, &id, |machine, _| machine.private_ip = address);
            }
        }
    }
}

/// The address of the `number`th machine: `fdaa`, 32 bits of network, 32 of host, 32 of machine,
/// and 16 bits that are the machine's own.
pub(crate) fn private_network(org: &str, network: &str, host: u64, number: u64) -> Ipv6Addr {
    let net = number_of(&format!("network/{org}/{network}")).to_be_bytes();
    let low = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0).to_be_bytes();
    let (host, machine) = (low(host), low(number));
    let pair = |bytes: [u8; 4]| {
        (u16::from_be_bytes([bytes[0], bytes[1]]), u16::from_be_bytes([bytes[2], bytes[3]]))
    };
    let ((a, b), (c, d), (e, f)) = (pair(net), pair(host), pair(machine));
    Ipv6Addr::new(0xfdaa, a, b, c, d, e, f, 2)
}

fn loopback(number: u64) -> Ipv4Addr {
    let (seconds, thirds, fourths) = BYTES;
    let byte = |number: u64| u8::try_from(number & 0xff).unwrap_or_default();
    let (rest, fourth) = (number / fourths, 1 + number % fourths);
    let (rest, third) = (rest / thirds, rest % thirds);
    Ipv4Addr::new(127, byte(1 + rest % seconds), byte(third), byte(fourth))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::world::Settings;
    use crate::world::testing::{at, machine, new_app, settings};

    fn world_with(addresses: Addresses) -> World {
        let mut world = World::new(Settings { addresses, ..settings(true) });
        world.create_app(at(0), new_app("app")).expect("an app");
        world
    }

    #[test]
    fn loopback_addresses_are_apart_and_never_the_computers_own() {
        for number in (0..LOOPBACK_ADDRESSES).step_by(9973).chain([0, LOOPBACK_ADDRESSES - 1]) {
            let [first, second, _, fourth] = loopback(number).octets();
            assert_eq!(first, 127);
            assert!((1..=254).contains(&second) && (1..=254).contains(&fourth), "{number}");
        }
        let around = |from: u64| (from..from + 70_000).map(loopback).collect::<BTreeSet<_>>().len();
        assert_eq!(around(0), 70_000);
        assert_eq!(around(LOOPBACK_ADDRESSES - 35_000), 70_000, "over the end of the range");
    }

    #[test]
    fn a_taken_address_is_not_given_again() {
        let mut world = world_with(Addresses::Loopback);
        let first = machine(&mut world, "a", &json!({}));
        assert!(matches!(first.private_ip, IpAddr::V4(address) if address.is_loopback()));
        // As if the numbers had come round: the next machine would have the first one's address.
        let free = |world: &mut World| world.free_address("local", "", "ord").expect("an address");
        let next = free(&mut world.clone());
        world.machines.change(&first.id, |machine| machine.private_ip = next);
        assert_ne!(free(&mut world), next);
    }

    #[test]
    fn emulators_side_by_side_give_different_addresses() {
        for addresses in [Addresses::PrivateNetwork, Addresses::Loopback] {
            let first_of = |seed| {
                let mut world = World::new(Settings { addresses, seed, ..settings(true) });
                world.create_app(at(0), new_app("app")).expect("an app");
                machine(&mut world, "a", &json!({})).private_ip
            };
            assert_ne!(first_of(1), first_of(2), "{addresses:?}");
        }
    }

    #[test]
    fn a_machine_keeps_its_address_until_the_kind_of_address_changes() {
        let world = world_with(Addresses::PrivateNetwork);
        let with = |world: &World, addresses| {
            let settings = Settings { addresses, ..settings(true) };
            let mut again = World::restore(settings, world.snapshot());
            again.resume(at(9));
            again
        };
        let mut world = with(&world, Addresses::PrivateNetwork);
        let id = machine(&mut world, "a", &json!({})).id;
        let address = |world: &World| world.machine("app", &id).expect("a machine").private_ip;
        let first = address(&world);
        assert!(first.is_ipv6());
        assert_eq!(address(&with(&world, Addresses::PrivateNetwork)), first);
        let without_rights = with(&world, Addresses::Loopback);
        assert!(address(&without_rights).is_loopback());
        let again = with(&without_rights, Addresses::Loopback);
        assert_eq!(address(&again), address(&without_rights));
    }
}
