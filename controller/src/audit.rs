//! The audit log: what was asked of the API, by whom, and what came of it.

use vault_api::operator::Role;
use vault_plan::time::UnixMillis;

/// One write request and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// When it was answered.
    pub at: UnixMillis,
    /// The name of the token.
    pub who: String,
    /// The role of the token.
    pub role: Role,
    /// The address that the request came from; empty if it is not known.
    pub source: String,
    /// `create`, `update`, `patch` or `delete`.
    pub verb: String,
    /// The object's kind; empty for a path that there is not.
    pub kind: String,
    /// The object's name; empty if the request named none.
    pub name: String,
    /// Such as `status`; empty for the object itself.
    pub subresource: String,
    /// Nothing was to be kept.
    pub dry_run: bool,
    /// The HTTP status of the answer.
    pub code: u16,
    /// What came of it, for people; at most [`MESSAGE_BYTES_MAX`].
    pub message: String,
}

/// Longest message of a record. A refusal may name a hundred problems; the first ones tell enough.
pub const MESSAGE_BYTES_MAX: usize = 1_024;
/// Longest name of a record: what is longer is the name of nothing.
pub const NAME_BYTES_MAX: usize = 253;

impl AuditRecord {
    /// The record within its bounds: what strangers to the grammar of names write is cut, and what
    /// would move a terminal's cursor or begin a line of its own is shown as a mark.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        make_plain(&mut self.message);
        make_plain(&mut self.name);
        cut(&mut self.message, MESSAGE_BYTES_MAX);
        cut(&mut self.name, NAME_BYTES_MAX);
        self
    }
}

/// Replaces what a terminal obeys instead of showing it: control characters, and those that turn the
/// direction of the text.
fn make_plain(text: &mut String) {
    const MARK: char = '\u{fffd}';
    let is_obeyed = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.contains(is_obeyed) {
        *text = text.replace(is_obeyed, MARK.encode_utf8(&mut [0; 4]));
    }
}

/// Cuts a text at a character's edge, and shows that something is missing.
fn cut(text: &mut String, bytes_max: usize) {
    const MORE: &str = "…";
    if text.len() <= bytes_max {
        return;
    }
    let end = text.floor_char_boundary(bytes_max - MORE.len());
    text.truncate(end);
    text.push_str(MORE);
}

/// Which records are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only those of writes to this tenant.
    pub tenant: Option<String>,
    /// Only those from this instant on.
    pub since: Option<UnixMillis>,
    /// At most so many, the newest.
    pub limit: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let mut text = "ä".repeat(10);
        cut(&mut text, 20);
        assert_eq!(text, "ä".repeat(10));
        cut(&mut text, 10);
        assert_eq!(text, "äää…");
    }
}
