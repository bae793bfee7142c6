//! Arbitrary bytes as frames, in two pushes: read or refused, the same however they are cut, and what was
//! read is written so that it reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vault_protocol::frame::{Decoder, Frame, FrameError, PAYLOAD_BYTES_MAX_BEFORE_PROOF};
use vault_protocol::message::Message;

fn frames(pieces: &[&[u8]]) -> (Vec<Frame>, Option<FrameError>) {
    let mut decoder = Decoder::new(PAYLOAD_BYTES_MAX_BEFORE_PROOF);
    let mut frames = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

fuzz_target!(|input: &[u8]| {
    let Some((cut, bytes)) = input.split_first() else { return };
    let (before, behind) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    let found = frames(&[before, behind]);
    assert_eq!(found, frames(&[bytes]));
    for frame in found.0 {
        if let Ok(message) = Message::read(&frame) {
            let again = Message::read(&message.frame()).expect("what we write, we read");
            assert_eq!(again, message);
        }
    }
});
