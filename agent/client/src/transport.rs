//! How QUIC is set up, and its bounds.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{
    ClientConfig, Endpoint, EndpointConfig, IdleTimeout, TokioRuntime, TransportConfig, VarInt,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::tls::{self, TlsError};

/// How long nothing may be heard of the agent before it counts as gone.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a silent connection says that it is alive: two of them may be lost within
/// [`IDLE_TIMEOUT`]. The transport takes it for the whole connection, so it holds from the first
/// packet on; what is never proved lives for seconds only, because the agent ends it.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long a round trip is taken to be before the first was seen: machines and their users are
/// often on one continent, and QUIC's own guess (333 ms) makes a lost first packet cost a second.
const INITIAL_ROUND_TRIP: Duration = Duration::from_millis(100);

/// How much the agent may send on one stream ahead of its reader, in bytes: 1 Gbit/s over 130 ms.
const STREAM_WINDOW: u32 = 16 << 20;

/// The same over all streams of a connection whose agent has not proved anything yet.
const WINDOW_BEFORE_PROOF: u32 = 64 << 10;

/// The same once the agent has accepted our proof: eight streams may stand still at full windows
/// without holding up a ninth.
const WINDOW: u32 = 9 * STREAM_WINDOW;

/// How much we send ahead of the agent's acknowledgements, in bytes; what standard input can have
/// in flight.
const SEND_WINDOW: u64 = 16 << 20;

/// How many one-way streams the agent may have open: two for each of the 256 commands that it runs
/// at most for one connection, and a few that are just being closed.
const CHANNELS_MAX: u32 = 2 * 256 + 16;

/// What the kernel is asked to keep of packets that were not read yet, and not sent yet, in bytes.
/// Its own choice, about 200 KiB, is less than 2 ms of a gigabit; what it has no room for is lost,
/// and has to be sent again.
const SOCKET_BUFFER: usize = 4 << 20;

/// Opens the UDP socket of a client, for both kinds of addresses if `address` is of IPv6.
pub(crate) fn endpoint(address: SocketAddr) -> io::Result<Endpoint> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    for asked in
        [socket.set_recv_buffer_size(SOCKET_BUFFER), socket.set_send_buffer_size(SOCKET_BUFFER)]
    {
        if let Err(error) = asked {
            tracing::debug!(%error, "the kernel does not give a larger socket buffer");
        }
    }
    socket.bind(&address.into())?;
    Endpoint::new(EndpointConfig::default(), None, socket.into(), Arc::new(TokioRuntime))
}

/// How a client connects.
pub(crate) fn client_config() -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::new(Arc::new(tls::client_config()?));
    config.transport_config(Arc::new(transport()));
    Ok(config)
}

/// Lets the agent open streams and send much: after the proof.
pub(crate) fn open_up(connection: &quinn::Connection) {
    connection.set_receive_window(VarInt::from_u32(WINDOW));
    connection.set_max_concurrent_uni_streams(VarInt::from_u32(CHANNELS_MAX));
}

fn transport() -> TransportConfig {
    let idle_timeout = u32::try_from(IDLE_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle_timeout))))
        .keep_alive_interval(Some(KEEP_ALIVE_INTERVAL))
        .initial_rtt(INITIAL_ROUND_TRIP)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(WINDOW_BEFORE_PROOF))
        .send_window(SEND_WINDOW)
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None);
    transport
}
