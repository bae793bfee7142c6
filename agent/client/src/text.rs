//! Words of the other side, made fit for a log or a terminal.

/// How much of a peer's text is shown, in characters: enough for a sentence.
pub(crate) const SHOWN_CHARACTERS_MAX: usize = 256;

/// The front of a text without control characters, which could steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    let shown = |character: char| if character.is_control() { '\u{fffd}' } else { character };
    text.chars().take(SHOWN_CHARACTERS_MAX).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_and_cannot_steer_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
        assert_eq!(printable(&"ä".repeat(1000)).chars().count(), SHOWN_CHARACTERS_MAX);
    }
}
