//! What strangers can cost.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use tokio::net::UdpSocket;
use vault_agent::limits::{UNPROVEN_MAX, UNPROVEN_PER_SOURCE_MAX};
use vault_protocol::SERVER_NAME;
use vault_protocol::code::CloseCode;

use crate::program::Program;
use crate::support::{
    Answer, Client, Fixture, Platform, client_endpoint, code, eventually, shell, soon,
};

/// The largest length that a header can claim.
const LARGEST_CLAIM: [u8; 4] = [1, 0xff, 0xff, 0xff];

/// A claim of it, taken at its word once, would need 16 MiB.
const CLAIM_KIB: u64 = 16 << 10;

#[tokio::test]
async fn the_largest_claim_before_authentication_closes_the_connection_and_costs_no_memory() {
    let platform = Platform::start(Answer::Token);
    // With one arena, the allocator's address space grows by what is asked for and little more.
    let program = Program::start(&platform, |command| {
        command.env("MALLOC_ARENA_MAX", "1").env("TOKIO_WORKER_THREADS", "1");
    });
    for _ in 0..4 {
        Client::connect(program.address).await.prove().await;
    }
    let before = program.memory_kib("VmPeak");
    for _ in 0..16 {
        let mut client = Client::connect(program.address).await;
        client.control.write_all(&LARGEST_CLAIM).await.expect("sent");
        assert_eq!(client.closed().await, Some(CloseCode::Protocol));
    }
    let grown = program.memory_kib("VmPeak") - before;
    assert!(grown < CLAIM_KIB / 2, "{grown} KiB more");
    program.end().await;
}

/// First datagrams of clients that never say more: what clients send to somebody who is silent.
async fn first_datagrams(count: usize) -> Vec<Vec<u8>> {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
    let address = silent.local_addr().expect("bound");
    let endpoint = client_endpoint();
    let mut first = HashMap::new();
    let mut waiting = Vec::new();
    let mut buffer = [0; 2048];
    for number in 1..=count {
        waiting.push(endpoint.connect(address, SERVER_NAME).expect("an address"));
        // Earlier ones repeat theirs. The connection's id follows flags, version and its length.
        while first.len() < number {
            let length = soon(silent.recv(&mut buffer)).await.expect("a datagram");
            let id = buffer[6..6 + usize::from(buffer[5])].to_vec();
            first.entry(id).or_insert_with(|| buffer[..length].to_vec());
        }
    }
    first.into_values().collect()
}

#[tokio::test]
async fn a_thousand_half_open_connections_leave_a_command_working() {
    let fixture = Fixture::start();
    let address = fixture.agent.local_address();
    // A thousand that never answer the agent's first flight.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
    for datagram in first_datagrams(1000).await {
        socket.send_to(&datagram, address).await.expect("sent");
    }
    // And three hundred that complete TLS and then say nothing, of the same address.
    let endpoint = client_endpoint();
    let mut silent = Vec::new();
    for _ in 0..300 {
        let connecting = endpoint.connect(address, SERVER_NAME).expect("an address");
        silent.push(soon(connecting).await.expect("connected"));
    }
    let counts = fixture.agent.counts();
    assert!(counts.retries > 0, "{counts:?}");
    assert!(counts.evicted >= 300 - UNPROVEN_PER_SOURCE_MAX as u64, "{counts:?}");
    assert!(counts.open_connections <= UNPROVEN_MAX as u64, "{counts:?}");
    let ran = fixture.operator().await.run(shell("echo works")).await;
    assert_eq!((ran.stdout.as_str(), ran.exit), ("works\n", code(0)));
    // The oldest was told why.
    let close = soon(silent[0].closed()).await;
    assert!(close.to_string().contains(&format!("{}", CloseCode::Busy.number())), "{close}");
    drop(silent);
    eventually("all have left", || fixture.agent.counts().open_connections == 0).await;
}
