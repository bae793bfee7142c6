//! Arbitrary messages to an agent in its handshake: however they come, nobody is accepted whose proof was
//! not looked at.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vault_protocol::frame::{Decoder, PAYLOAD_BYTES_MAX_BEFORE_PROOF};
use vault_protocol::handshake::{AgentEvent, AgentHandshake};
use vault_protocol::message::{Evidence, Health, Message, RefusedReason};

fuzz_target!(|input: &[u8]| {
    let mut decoder = Decoder::new(PAYLOAD_BYTES_MAX_BEFORE_PROOF);
    decoder.push(input);
    let mut handshake = AgentHandshake::new();
    while let Ok(Some(frame)) = decoder.next_frame() {
        let Ok(message) = Message::read(&frame) else { return };
        assert!(handshake.accept().is_err(), "accepted before a proof");
        let answered = match handshake.receive(message) {
            Err(_) => return,
            Ok(AgentEvent::MakeEvidence(_)) => {
                let evidence = Evidence { token: String::new(), software: String::new() };
                handshake.present(evidence).map(drop)
            }
            Ok(AgentEvent::AnswerHealth) => {
                let version = String::new();
                let health =
                    Health { version, boot_id: [0; 16].into(), ready: true, message: None };
                handshake.health(health).map(drop)
            }
            Ok(AgentEvent::CheckProof(_)) => {
                handshake.refuse(RefusedReason::Proof, "wrong").map(drop)
            }
        };
        answered.expect("the answer is in turn");
    }
});
