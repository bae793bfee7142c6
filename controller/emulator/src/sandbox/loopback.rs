//! Puts a machine's private address on the loopback interface, by netlink.
//!
//! Machines share the host's network; with an address of its own each can still listen on the same
//! port as its sibling, and be reached at the address that the API reports.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// The private networks of all organizations lie in `fdaa::/16`.
const PRIVATE_NETWORK: u16 = 0xfdaa;

/// One answer of the kernel fits by far: an error code and our own header.
const ANSWER_BYTES: usize = 4096;

/// An address on the loopback interface, until this is dropped.
#[derive(Debug)]
pub(crate) struct Held(Ipv6Addr);

impl Held {
    /// Adds the address. One that is there already (left by a supervisor that was killed) is taken
    /// over. Refuses what is not a private address of a machine: it would be removed at the end.
    pub(crate) fn add(address: Ipv6Addr) -> io::Result<Self> {
        if address.segments()[0] != PRIVATE_NETWORK {
            let text = format!("{address} is not in {PRIVATE_NETWORK:x}::/16");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        match change(flags, RouteNetlinkMessage::NewAddress(message(address)?)) {
            Ok(()) => Ok(Self(address)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Self(address)),
            Err(error) => Err(error),
        }
    }
}

/// Removes the address, wherever it came from; one that is not there is no error.
pub(crate) fn remove(address: Ipv6Addr) -> io::Result<()> {
    let request = RouteNetlinkMessage::DelAddress(message(address)?);
    match change(0, request) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Ok(()),
        result => result,
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Err(error) = remove(self.0) {
            super::say(format_args!("{} stays on the loopback: {error}", self.0));
        }
    }
}

/// `address`/128 on the loopback interface, usable at once (no search for duplicates).
fn message(address: Ipv6Addr) -> io::Result<AddressMessage> {
    let index = fs::read_to_string("/sys/class/net/lo/ifindex")?;
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.prefix_len = 128;
    message.header.flags = AddressHeaderFlags::Nodad;
    message.header.index = index.trim().parse().map_err(io::Error::other)?;
    message.attributes = vec![
        AddressAttribute::Local(IpAddr::V6(address)),
        AddressAttribute::Address(IpAddr::V6(address)),
    ];
    Ok(message)
}

/// Sends one change to the kernel and waits for its answer.
fn change(flags: u16, message: RouteNetlinkMessage) -> io::Result<()> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&bytes, 0)?;
    let mut answer = Vec::with_capacity(ANSWER_BYTES);
    socket.recv(&mut answer, 0)?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer);
    match answer.map_err(io::Error::other)?.payload {
        NetlinkPayload::Error(answer) if answer.code.is_none() => Ok(()),
        NetlinkPayload::Error(answer) => Err(answer.to_io()),
        _ => Err(io::Error::other("the kernel answered something else")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_addresses_are_touched() {
        let error = Held::add(Ipv6Addr::LOCALHOST).expect_err("the host's own");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
