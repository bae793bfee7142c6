//! Arbitrary lines as an audit log: each follows or is refused, and a chain that was refused says why.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vault_protocol::audit::{Chain, Head};

fuzz_target!(|input: &[u8]| {
    let mut chain = Chain::default();
    let mut before: Option<Head> = None;
    for line in input.split(|byte| *byte == b'\n') {
        if let Ok(record) = chain.follow(line) {
            let head = chain.head().expect("a record");
            assert_eq!(head.sequence, record.sequence);
            if let Some(before) = before {
                assert_eq!(record.sequence, before.sequence + 1);
                assert_eq!(record.previous, before.hash);
            }
        }
        before = chain.head();
    }
});
