//! Arbitrary bytes, in arbitrary pieces, as the control stream of an agent that trusts nobody: cut
//! into frames, read as messages, given to the handshake of both ends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vault_protocol::frame::{Decoder, HEADER_BYTES, PAYLOAD_BYTES_MAX_BEFORE_PROOF};
use vault_protocol::handshake::{AgentEvent, AgentHandshake, ClientHandshake};
use vault_protocol::message::{Evidence, Message};

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, stream) = input;
    let mut decoder = Decoder::new(PAYLOAD_BYTES_MAX_BEFORE_PROOF);
    let mut agent = AgentHandshake::new();
    let (mut client, _) = ClientHandshake::begin("fuzz");
    for chunk in stream.chunks(usize::from(cut).max(1)) {
        decoder.push(chunk);
        loop {
            let frame = match decoder.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => return,
            };
            let Ok(message) = Message::read(&frame) else { continue };
            // What was read is written as something that reads the same.
            assert_eq!(Message::read(&message.frame()).expect("our own bytes"), message);
            drop(client.receive(message.clone()));
            if let Ok(AgentEvent::MakeEvidence(_)) = agent.receive(message) {
                let evidence = Evidence { token: String::new(), software: String::new() };
                agent.present(evidence).expect("it was asked for");
            }
            assert!(agent.clone().accept().is_err() || frame.tag == 0x05);
        }
        assert!(decoder.unread() < HEADER_BYTES + PAYLOAD_BYTES_MAX_BEFORE_PROOF);
    }
});
