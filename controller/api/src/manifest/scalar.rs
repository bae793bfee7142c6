//! Plain scalars of YAML 1.2's core schema, and the core tags.

use std::sync::Arc;

use granit_parser::{ScalarStyle, Tag};
use serde_json::Number;

use super::tree::Content;
use crate::check::words::shorten;

/// What a scalar means.
///
/// # Errors
/// A sentence for people: the tag is not known, the value does not fit the tag, a number has no
/// counterpart in JSON, or could be meant in two ways.
pub(super) fn resolve(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
) -> Result<Content, String> {
    let Some(tag) = tag else {
        return if style == ScalarStyle::Plain { plain(text) } else { Ok(string(text)) };
    };
    // The tag `!` alone says: take this as text.
    if tag.original() == "!" {
        return Ok(string(text));
    }
    let Some(wanted) = tag.core_suffix() else {
        return Err(unknown_tag(tag));
    };
    if wanted == "str" {
        return Ok(string(text));
    }
    let content = plain(text)?;
    let fits = match (&content, wanted) {
        (Content::Null, "null") | (Content::Bool(_), "bool") => true,
        (Content::Number(number), "int") => !number.is_f64(),
        (Content::Number(_), "float") => true,
        _ => false,
    };
    if fits { Ok(content) } else { Err(format!("`{}` is no `!!{wanted}`", shorten(text))) }
}

/// The message about a tag that nobody knows.
pub(super) fn unknown_tag(tag: &Tag) -> String {
    format!("the tag `{}` is not supported", shorten(&tag.original()))
}

fn string(text: &str) -> Content {
    Content::String(Arc::from(text))
}

fn plain(text: &str) -> Result<Content, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Content::Null),
        "true" | "True" | "TRUE" => return Ok(Content::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Content::Bool(false)),
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Err(format!("`{text}` has no place in a document: quote it if it is text"));
    }
    let is_digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if is_digits(unsigned) {
        if unsigned.len() > 1 && unsigned.starts_with('0') {
            let shown = shorten(text);
            return Err(format!(
                "`{shown}` is octal for some readers of YAML and decimal for others: write `0o…` \
                 for octal, leave out the leading zeros, or quote it"
            ));
        }
        return whole(text, text, 10);
    }
    if let Some(digits) = text.strip_prefix("0o").filter(|digits| is_digits(digits)) {
        return whole(text, digits, 8);
    }
    if let Some(digits) = text.strip_prefix("0x")
        && !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        return whole(text, digits, 16);
    }
    if !is_float(unsigned) {
        return Ok(string(text));
    }
    text.parse().ok().and_then(Number::from_f64).map(Content::Number).ok_or_else(|| too_large(text))
}

fn whole(text: &str, digits: &str, radix: u32) -> Result<Content, String> {
    i64::from_str_radix(digits, radix)
        .map(Number::from)
        .or_else(|_| u64::from_str_radix(digits, radix).map(Number::from))
        .map(Content::Number)
        .map_err(|_| too_large(text))
}

fn too_large(text: &str) -> String {
    format!("the number `{}` does not fit 64 bits: quote it if it is text", shorten(text))
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`, without the first sign.
fn is_float(unsigned: &str) -> bool {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let has_digits = !whole.is_empty() || !fraction.is_empty();
    let exponent_is_good = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && is_digits(digits)
    });
    has_digits && is_digits(whole) && is_digits(fraction) && exponent_is_good
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        let table = [
            ("8080", "8080"),
            ("-1", "-1"),
            ("+5", "5"),
            ("0", "0"),
            ("18446744073709551615", "18446744073709551615"),
            ("0o644", "420"),
            ("0xff", "255"),
            ("1.10", "1.1"),
            ("1.", "1.0"),
            (".5", "0.5"),
            ("1e3", "1000.0"),
            ("true", "true"),
            ("False", "false"),
            ("~", "null"),
            ("", "null"),
            ("yes", "\"yes\""),
            ("no", "\"no\""),
            ("1.2.3", "\"1.2.3\""),
            ("-", "\"-\""),
            (".", "\".\""),
            ("e3", "\"e3\""),
            ("1e", "\"1e\""),
            ("0x", "\"0x\""),
            ("0xfg", "\"0xfg\""),
            ("inf", "\"inf\""),
            ("NaN", "\"NaN\""),
            ("2024-01-01", "\"2024-01-01\""),
            ("10s", "\"10s\""),
        ];
        for (text, expected) in table {
            let content = plain(text).unwrap();
            assert_eq!(content.to_value().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_json_cannot_say_or_nobody_can_tell_is_refused() {
        for text in [".inf", "-.INF", ".nan", "1e999", "99999999999999999999", "0644", "-007"] {
            assert!(plain(text).is_err(), "{text}");
        }
    }
}
