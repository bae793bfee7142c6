//! Foreign text, made fit for messages and logs.

/// At most `cap` bytes of a foreign text, safe to show on a terminal and in a log.
pub(crate) fn printable(text: &str, cap: usize) -> String {
    let end =
        (0..=cap.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text[..end]
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect()
}
