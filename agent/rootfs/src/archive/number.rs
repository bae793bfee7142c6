//! Numbers in headers: octal text, or GNU's base 256.
//!
//! Stricter than the `tar` crate, which takes signs, drops the high bytes of base 256, and finds
//! numbers that GNU tar and bsdtar do not.

use crate::error::Problem;

/// The number in a field, below 2^63.
pub(super) fn unsigned(field: &[u8], name: &'static str) -> Result<u64, Problem> {
    signed(field, name)?.try_into().map_err(|_| Problem::Number(name))
}

/// The number in a field; before 1970 times are negative, which only base 256 can say.
pub(super) fn signed(field: &[u8], name: &'static str) -> Result<i64, Problem> {
    let number = match field {
        [0x80 | 0xff, ..] => base_256(field),
        _ => octal(field),
    };
    number.ok_or(Problem::Number(name))
}

/// A size or an offset. The bound leaves room to round up to whole blocks.
pub(super) fn size(field: &[u8], name: &'static str) -> Result<u64, Problem> {
    let size = unsigned(field, name)?;
    if size > i64::MAX as u64 - super::BLOCK {
        return Err(Problem::Number(name));
    }
    Ok(size)
}

/// Decimal digits and nothing else, as in PAX records.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = text.iter().fold(0, |sum: u64, digit| sum * 10 + u64::from(digit - b'0'));
    i64::try_from(number).is_ok_and(|number| number <= i64::MAX - 512).then_some(number)
}

/// Spaces, digits, and then only zero bytes and spaces.
fn octal(field: &[u8]) -> Option<i64> {
    let begin = field.iter().position(|byte| *byte != b' ')?;
    let rest = &field[begin..];
    let end = rest.iter().position(|byte| !(b'0'..=b'7').contains(byte)).unwrap_or(rest.len());
    let (digits, filler) = rest.split_at(end);
    // Twelve digits of three bits are the longest field.
    if digits.is_empty() || !filler.iter().all(|byte| matches!(byte, 0 | b' ')) {
        return None;
    }
    Some(digits.iter().fold(0, |sum, digit| sum * 8 + i64::from(digit - b'0')))
}

/// The first byte says the sign, the others are big-endian in two's complement.
fn base_256(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    let begin = if *first == 0xff { -1_i128 } else { 0 };
    // At most eleven bytes, 88 bits.
    let number = rest.iter().fold(begin, |sum, byte| (sum << 8) | i128::from(*byte));
    i64::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_gnu_tar_reads_them() {
        let read = |field: &[u8]| signed(field, "test").ok();
        assert_eq!(read(b"0000644\0"), Some(0o644));
        assert_eq!(read(b"000644 \0"), Some(0o644));
        assert_eq!(read(b"   644 \0"), Some(0o644));
        assert_eq!(read(b"777777777777"), Some(0o7777_7777_7777));
        assert_eq!(read(b"\x80\0\0\0\0\0\0\0\0\0\x01\0"), Some(256));
        assert_eq!(read(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe"), Some(-2));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for field in [
            &b"\0\0\0\0\0\0\0\0"[..],
            b"        ",
            b"+000644\0",
            b"-000644\0",
            b"000648\0\0",
            b"0644\x000644",
            // High bytes that others may drop.
            b"\x80\0\0\x01\0\0\0\0\0\0\0\0",
            b"\x81\0\0\0\0\0\0\0",
        ] {
            assert!(signed(field, "test").is_err(), "{}", field.escape_ascii());
        }
        assert!(size(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", "test").is_err());
        assert!(unsigned(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", "test").is_err());
        assert_eq!(decimal(b"0123"), Some(123));
        for text in [&b""[..], b"+1", b"1 ", b"-1", b"99999999999999999999", b"9223372036854775807"]
        {
            assert_eq!(decimal(text), None, "{}", text.escape_ascii());
        }
    }
}
