//! Frames: a tag, a length and a payload, one after another on a stream.
//!
//! ```text
//!   0        1                       4                    4 + length
//!   ┌────────┬───────────────────────┬───────────────────────┐
//!   │  tag   │ length, big-endian    │ payload               │
//!   └────────┴───────────────────────┴───────────────────────┘
//! ```
//!
//! A claimed length costs nothing: it is compared with the cap before anything else, and the buffer
//! grows only by bytes that have arrived.

use thiserror::Error;

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 4;

/// The longest payload before the peer has proved itself: room for a Fly token, which is under
/// 2 KiB, with long names and a few more claims.
pub const PAYLOAD_BYTES_MAX_BEFORE_PROOF: usize = 16 << 10;

/// The longest payload after that: room for a command's arguments and environment, of which Linux
/// takes at most 2 MiB, and usually far less.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// The longest payload that the header can claim.
const CLAIM_MAX: usize = (1 << 24) - 1;

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The header claims more than is allowed now.
    #[error("a frame of {claimed} bytes, and at most {allowed} are allowed here")]
    TooLong {
        /// What the header says.
        claimed: usize,
        /// The cap.
        allowed: usize,
    },
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame, after {0} bytes of it")]
    CutShort(usize),
}

/// One frame, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What the payload is; see [`crate::message`].
    pub tag: u8,
    /// As it came.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Appends the frame's bytes.
    ///
    /// # Errors
    /// The payload is longer than `allowed`, or than a header can say.
    pub fn encode(&self, allowed: usize, bytes: &mut Vec<u8>) -> Result<(), FrameError> {
        let allowed = allowed.min(CLAIM_MAX);
        let claimed = self.payload.len();
        let length = u32::try_from(claimed).ok().filter(|_| claimed <= allowed);
        let length = length.ok_or(FrameError::TooLong { claimed, allowed })?;
        bytes.reserve(HEADER_BYTES + claimed);
        bytes.push(self.tag);
        bytes.extend_from_slice(&length.to_be_bytes()[1..]);
        bytes.extend_from_slice(&self.payload);
        Ok(())
    }
}

/// Cuts a stream's bytes into frames.
#[derive(Debug)]
pub struct Decoder {
    /// Bytes that have come and were not yet taken; never more than one frame and one push.
    unread: Vec<u8>,
    allowed: usize,
}

impl Decoder {
    /// A decoder for payloads of up to `allowed` bytes.
    #[must_use]
    pub fn new(allowed: usize) -> Self {
        Self { unread: Vec::new(), allowed }
    }

    /// From now on payloads of up to `allowed` bytes.
    pub fn allow(&mut self, allowed: usize) {
        self.allowed = allowed;
    }

    /// Adds bytes that have come. Take all frames out before the next push: that bounds what is
    /// kept.
    pub fn push(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// The next frame, if it is whole.
    ///
    /// # Errors
    /// Its header claims too much. The stream is then of no further use.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some((&[tag, high, middle, low], rest)) = self.unread.split_first_chunk() else {
            return Ok(None);
        };
        let claimed = u32::from_be_bytes([0, high, middle, low]) as usize;
        if claimed > self.allowed {
            return Err(FrameError::TooLong { claimed, allowed: self.allowed });
        }
        let Some(payload) = rest.get(..claimed).map(<[u8]>::to_vec) else {
            return Ok(None);
        };
        self.unread.drain(..HEADER_BYTES + claimed);
        Ok(Some(Frame { tag, payload }))
    }

    /// How many bytes the next frame needs yet, as far as its header tells; at least 1 before it is
    /// whole. Whoever pushes no more than that has none of the raw bytes behind the frame in here.
    #[must_use]
    pub fn wanted(&self) -> usize {
        let whole = match self.unread.first_chunk() {
            Some(&[_, high, middle, low]) => {
                HEADER_BYTES + u32::from_be_bytes([0, high, middle, low]) as usize
            }
            None => HEADER_BYTES,
        };
        whole.saturating_sub(self.unread.len())
    }

    /// How many bytes have come and were not taken yet.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.unread.len()
    }

    /// What stands after the last frame that was taken: on streams where raw bytes follow a frame.
    #[must_use]
    pub fn into_rest(self) -> Vec<u8> {
        self.unread
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// It ended inside a frame.
    pub fn finish(&self) -> Result<(), FrameError> {
        match self.unread.len() {
            0 => Ok(()),
            count => Err(FrameError::CutShort(count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(tag: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let frame = Frame { tag, payload: payload.to_vec() };
        frame.encode(PAYLOAD_BYTES_MAX, &mut bytes).expect("short enough");
        bytes
    }

    #[test]
    fn a_frame_is_tag_length_payload() {
        assert_eq!(bytes(0x05, b"abc"), [0x05, 0, 0, 3, b'a', b'b', b'c']);
        assert_eq!(bytes(0xff, b""), [0xff, 0, 0, 0]);
        assert_eq!(bytes(1, &[7; 0x0001_0203])[..5], [1, 1, 2, 3, 7]);
    }

    #[test]
    fn frames_come_out_of_single_bytes_as_of_one_push() {
        let stream = [bytes(1, b"one"), bytes(2, b""), bytes(3, b"three")].concat();
        let mut decoder = Decoder::new(8);
        let mut frames = Vec::new();
        for byte in &stream {
            decoder.push(std::slice::from_ref(byte));
            while let Some(frame) = decoder.next_frame().expect("in bounds") {
                frames.push((frame.tag, frame.payload));
            }
        }
        assert_eq!(frames, [(1, b"one".to_vec()), (2, Vec::new()), (3, b"three".to_vec())]);
        decoder.finish().expect("ended between frames");
    }

    #[test]
    fn the_largest_claim_is_refused_by_its_header_alone() {
        let mut decoder = Decoder::new(PAYLOAD_BYTES_MAX_BEFORE_PROOF);
        decoder.push(&[1, 0xff, 0xff, 0xff]);
        let refused =
            FrameError::TooLong { claimed: CLAIM_MAX, allowed: PAYLOAD_BYTES_MAX_BEFORE_PROOF };
        assert_eq!(decoder.next_frame(), Err(refused));
        assert!(decoder.unread.capacity() <= 64, "{}", decoder.unread.capacity());
    }

    #[test]
    fn a_frame_over_the_cap_is_not_written() {
        let frame = Frame { tag: 1, payload: vec![0; 9] };
        let mut bytes = Vec::new();
        assert_eq!(
            frame.encode(8, &mut bytes),
            Err(FrameError::TooLong { claimed: 9, allowed: 8 })
        );
        assert!(bytes.is_empty());
        let frame = Frame { tag: 1, payload: vec![0; CLAIM_MAX + 1] };
        frame.encode(usize::MAX, &mut bytes).expect_err("no header can say it");
    }

    #[test]
    fn an_end_inside_a_frame_is_told() {
        let mut decoder = Decoder::new(8);
        decoder.push(&[1, 0, 0]);
        assert_eq!(decoder.next_frame(), Ok(None));
        assert_eq!(decoder.finish(), Err(FrameError::CutShort(3)));
    }

    #[test]
    fn a_frame_is_taken_without_what_follows_it() {
        let stream = [bytes(9, b"abc"), b"raw".to_vec()].concat();
        let (mut decoder, mut rest) = (Decoder::new(8), stream.as_slice());
        let frame = loop {
            if let Some(frame) = decoder.next_frame().expect("in bounds") {
                break frame;
            }
            let (front, behind) = rest.split_at(decoder.wanted().max(1));
            decoder.push(front);
            rest = behind;
        };
        assert_eq!((frame.payload.as_slice(), rest), (b"abc".as_slice(), b"raw".as_slice()));
        assert_eq!(decoder.unread(), 0);
    }

    #[test]
    fn raw_bytes_after_a_frame_are_kept() {
        let mut decoder = Decoder::new(8);
        decoder.push(&[bytes(9, b"x"), b"raw".to_vec()].concat());
        assert!(decoder.next_frame().expect("in bounds").is_some());
        assert_eq!(decoder.into_rest(), b"raw");
    }
}
