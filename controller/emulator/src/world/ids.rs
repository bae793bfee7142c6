//! Identifiers: drawn from a seed and a counter, so that the same requests at the same times give
//! the same world again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use ulid::Ulid;

/// Characters of app and volume ids: base 36, as Fly's look.
const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// Characters after `vol_`.
const VOLUME_ID_LENGTH: usize = 16;
/// Characters of an app's opaque id.
const APP_ID_LENGTH: usize = 16;

/// The source of all identifiers and of the world's strictly growing time stamps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identifiers {
    seed: u64,
    counter: u64,
    latest: Timestamp,
}

impl Identifiers {
    /// A source that has given nothing yet.
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, counter: 0, latest: Timestamp::UNIX_EPOCH }
    }

    /// `now`, or one nanosecond after the stamp before it if the clock has not moved. Because no
    /// two changes share a stamp, a cursor made of one never skips a row.
    pub(crate) fn stamp(&mut self, now: Timestamp) -> Timestamp {
        let next = Timestamp::from_nanosecond(self.latest.as_nanosecond() + 1).unwrap_or(now);
        self.latest = now.max(next);
        self.latest
    }

    /// A number that was never given before, from 1.
    pub(crate) fn number(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// A number of this world and this purpose, always the same one.
    pub(crate) fn offset(&self, purpose: &str) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.digest(purpose, 0);
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// A ULID that sorts after every earlier one.
    pub(crate) fn ulid(&mut self, now: Timestamp) -> String {
        let at = self.stamp(now);
        let number = self.number();
        let [a, b, c, d, ..] = self.digest("ulid", number);
        let random = u128::from(number) << 32 | u128::from(u32::from_be_bytes([a, b, c, d]));
        let milliseconds = u64::try_from(at.as_millisecond()).unwrap_or(0);
        Ulid::from_parts(milliseconds, random).to_string()
    }

    /// A machine id: 14 hexadecimal digits.
    pub(crate) fn machine(&mut self) -> String {
        let number = self.number();
        data_encoding::HEXLOWER.encode(&self.digest("machine", number)[..7])
    }

    /// A volume id: `vol_` and 16 characters of base 36.
    pub(crate) fn volume(&mut self) -> String {
        let number = self.number();
        format!("vol_{}", base36(&self.digest("volume", number), VOLUME_ID_LENGTH))
    }

    /// A snapshot id: `vs_` and 16 characters of base 36.
    pub(crate) fn snapshot(&mut self) -> String {
        let number = self.number();
        format!("vs_{}", base36(&self.digest("snapshot", number), VOLUME_ID_LENGTH))
    }

    /// A lease's nonce: 12 hexadecimal digits.
    pub(crate) fn nonce(&mut self) -> String {
        let number = self.number();
        data_encoding::HEXLOWER.encode(&self.digest("nonce", number)[..6])
    }

    /// An app's opaque id.
    pub(crate) fn app(&mut self) -> String {
        let number = self.number();
        base36(&self.digest("app", number), APP_ID_LENGTH)
    }

    fn digest(&self, kind: &str, number: u64) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_be_bytes());
        hash.update(number.to_be_bytes());
        hash.update(kind.as_bytes());
        hash.finalize().into()
    }
}

/// A number that depends on the text alone: networks and organizations keep theirs for ever.
pub(crate) fn number_of(text: &str) -> u32 {
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let [a, b, c, d, ..] = digest;
    u32::from_be_bytes([a, b, c, d])
}

fn base36(bytes: &[u8], length: usize) -> String {
    bytes.iter().take(length).map(|byte| char::from(ALPHABET[usize::from(*byte) % 36])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulids_grow_even_when_the_clock_stands_or_runs_back() {
        let mut ids = Identifiers::new(7);
        let now = Timestamp::from_second(1_800_000_000).expect("a time");
        let mut last = ids.ulid(now);
        for seconds in [0, 0, -5, 3, 3, -100] {
            let at = Timestamp::from_second(1_800_000_000 + seconds).expect("a time");
            let next = ids.ulid(at);
            assert!(next > last, "{next} after {last}");
            assert_eq!(next.len(), 26);
            last = next;
        }
    }

    #[test]
    fn ids_have_the_platforms_shapes_and_follow_the_seed() {
        let mut ids = Identifiers::new(1);
        let machine = ids.machine();
        assert_eq!(machine.len(), 14);
        assert!(machine.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert!(ids.volume().starts_with("vol_"));
        assert_eq!(Identifiers::new(1).machine(), machine);
        assert_ne!(Identifiers::new(2).machine(), machine);
    }
}
