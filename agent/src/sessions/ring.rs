//! What of an output is kept, and who may forget it. Plain data.
//!
//! ```text
//!        start          taken              end
//!   ───────┼──────────────┼─────────────────┼──▶ bytes of the output, counted from 0
//!    gone  │ kept in case │ kept until the  │
//!          │ somebody asks│ client has them │
//! ```

use std::collections::VecDeque;

use bytes::Bytes;

/// The newest bytes of an output.
#[derive(Debug, Default)]
pub(super) struct Ring {
    chunks: VecDeque<Chunk>,
    start: u64,
    taken: u64,
    end: u64,
}

#[derive(Debug)]
struct Chunk {
    /// The number of its first byte.
    first: u64,
    bytes: Bytes,
}

/// Smaller chunks are put together: each one costs as much again as a line of text.
const CHUNK_BYTES_MIN: usize = 512;

impl Ring {
    /// The first byte that is kept.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Bytes that no client is known to have.
    pub(super) fn waiting(&self) -> u64 {
        self.end - self.taken
    }

    /// Bytes that are kept.
    pub(super) fn kept(&self) -> u64 {
        self.end - self.start
    }

    /// The command has written more.
    pub(super) fn push(&mut self, chunk: Bytes) {
        let first = self.end;
        self.end += length(&chunk);
        match self.chunks.back_mut() {
            Some(last) if last.bytes.len() + chunk.len() <= CHUNK_BYTES_MIN => {
                last.bytes = [&*last.bytes, &*chunk].concat().into();
            }
            _ => self.chunks.push_back(Chunk { first, bytes: chunk }),
        }
    }

    /// The client has all bytes before this one; what does not exist yet, nobody can have. Of those that
    /// are not waited for, `in_case` are kept.
    pub(super) fn take(&mut self, bytes: u64, in_case: u64) {
        self.taken = self.taken.max(bytes.min(self.end));
        let needed = self.taken.min(self.end.saturating_sub(in_case));
        self.forget_before(needed);
    }

    /// Forgets the oldest until at most so many are left, whether somebody has them or not.
    pub(super) fn shrink(&mut self, most: u64) {
        while self.kept() > most
            && let Some(first) = self.chunks.pop_front()
        {
            self.start += length(&first.bytes);
        }
        self.taken = self.taken.max(self.start);
    }

    /// Whole chunks only: a part of one would keep all of its memory.
    fn forget_before(&mut self, byte: u64) {
        while let Some(first) = self.chunks.front() {
            let next = first.first + length(&first.bytes);
            if next > byte {
                return;
            }
            self.start = next;
            self.chunks.pop_front();
        }
    }

    /// What stands at a byte, up to the end of its chunk; `None` at the end. A byte that is gone gives
    /// the oldest that is kept.
    pub(super) fn at(&self, byte: u64) -> Option<Bytes> {
        let byte = byte.max(self.start);
        let behind = self.chunks.partition_point(|chunk| chunk.first <= byte);
        let chunk = self.chunks.get(behind.checked_sub(1)?)?;
        let skipped = usize::try_from(byte - chunk.first).ok()?;
        (skipped < chunk.bytes.len()).then(|| chunk.bytes.slice(skipped..))
    }
}

fn length(chunk: &Bytes) -> u64 {
    u64::try_from(chunk.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn from(ring: &Ring, mut byte: u64) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(chunk) = ring.at(byte) {
            byte = byte.max(ring.start()) + length(&chunk);
            all.extend_from_slice(&chunk);
        }
        all
    }

    proptest! {
        #[test]
        fn what_nobody_has_is_kept(steps in vec((vec(any::<u8>(), 1..600), 0_u64..4000), 0..20), in_case in 0_u64..900) {
            let (mut ring, mut written) = (Ring::default(), Vec::new());
            for (chunk, taken) in steps {
                written.extend_from_slice(&chunk);
                ring.push(chunk.into());
                ring.take(taken, in_case);
                let end = u64::try_from(written.len()).expect("short");
                let due = taken.min(end);
                prop_assert!(ring.start() <= due.max(ring.taken));
                prop_assert!(ring.kept() >= in_case.min(end));
                let start = usize::try_from(ring.start()).expect("short");
                prop_assert_eq!(&from(&ring, 0), &written[start..]);
                let taken = usize::try_from(ring.taken).expect("short");
                prop_assert_eq!(&from(&ring, ring.taken), &written[taken..]);
            }
        }
    }

    #[test]
    fn what_is_too_much_goes_from_its_beginning() {
        let mut ring = Ring::default();
        for byte in [b'a', b'b', b'c'] {
            ring.push(vec![byte; 500].into());
        }
        ring.shrink(1100);
        assert_eq!((ring.start(), ring.kept(), ring.waiting()), (500, 1000, 1000));
        assert_eq!(from(&ring, 0).len(), 1000, "the oldest that there is");
        assert_eq!(from(&ring, 1499), b"c");
        assert_eq!(ring.at(1500), None);
    }
}
