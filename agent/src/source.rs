//! Where a client comes from, as far as limits and penalties go.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The first 16 bits of the addresses of Fly's private networks.
const PRIVATE_NETWORK: u16 = 0xfdaa;

/// The part of an address that one party holds: an IPv4 address; of IPv6 a /64, which is what
/// providers give to one customer; in Fly's private networks a /112, which is one machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    network: IpAddr,
    bits: u8,
}

impl Source {
    /// The source that this address belongs to.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        // A socket for both families shows IPv4 clients as IPv6 ones.
        match address.to_canonical() {
            network @ IpAddr::V4(_) => Self { network, bits: 32 },
            IpAddr::V6(address) => {
                let bits = if address.segments()[0] == PRIVATE_NETWORK { 112 } else { 64 };
                let mask = u128::MAX << (128 - u32::from(bits));
                let network = Ipv6Addr::from_bits(address.to_bits() & mask);
                Self { network: network.into(), bits }
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.network {
            IpAddr::V4(address) => write!(formatter, "{address}"),
            IpAddr::V6(network) => write!(formatter, "{network}/{}", self.bits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_what_one_party_holds() {
        let source = |text: &str| Source::of(text.parse().expect("an address")).to_string();
        assert_eq!(source("192.0.2.7"), "192.0.2.7");
        assert_eq!(source("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(source("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(source("fdaa:0:18:a7b:7d:1:2:3"), "fdaa:0:18:a7b:7d:1:2:0/112");
        assert_ne!(source("fdaa:0:18:a7b:7d:1:3:3"), source("fdaa:0:18:a7b:7d:1:2:3"));
        assert_eq!(source("fdab:0:18:a7b:7d:1:3:3"), "fdab:0:18:a7b::/64");
    }
}
