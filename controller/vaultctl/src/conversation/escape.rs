//! What is typed at the beginning of a line and meant for us, as ssh has it.
//!
//! ```text
//!   ⏎ ~ .    leave          ⏎ ~ ?    say what can be typed
//!   ⏎ ~ d    leave, and let the session go on
//!   ⏎ ~ ~    one ~          ⏎ ~ x    passed on as it is
//! ```
//!
//! All other keys go to the machine, Ctrl-C too: when it does not answer any more, this is the way out.

/// The key that begins them.
const ESCAPE: u8 = b'~';

/// What can be typed, for people.
pub(super) const HELP: &str = "at the beginning of a line: ~. leaves and ends the session, ~d leaves and lets it go on, \
     ~~ is one ~, ~? shows this";

/// What was meant for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Leave, whatever becomes of the command.
    Leave,
    /// Leave, and let the session go on.
    Detach,
    /// Say what can be typed.
    Help,
}

/// Looks at what is typed.
#[derive(Debug)]
pub(super) struct Escapes {
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Beginning,
    Escaped,
    Within,
}

impl Default for Escapes {
    fn default() -> Self {
        Self { place: Place::Beginning }
    }
}

impl Escapes {
    /// What of it is to be passed on, and what was meant for us. What is typed after a wish to leave is
    /// dropped.
    pub(super) fn typed(&mut self, keys: &[u8]) -> (Vec<u8>, Option<Wish>) {
        let mut passed = Vec::with_capacity(keys.len() + 1);
        let mut wish = None;
        for &key in keys {
            match (self.place, key) {
                (Place::Beginning, ESCAPE) => self.place = Place::Escaped,
                (Place::Escaped, b'.') => return (passed, Some(Wish::Leave)),
                (Place::Escaped, b'd') => return (passed, Some(Wish::Detach)),
                (Place::Escaped, b'?') => {
                    wish = Some(Wish::Help);
                    self.place = Place::Beginning;
                }
                (place, key) => {
                    if place == Place::Escaped && key != ESCAPE {
                        passed.push(ESCAPE);
                    }
                    passed.push(key);
                    let is_end = matches!(key, b'\r' | b'\n');
                    self.place = if is_end { Place::Beginning } else { Place::Within };
                }
            }
        }
        (passed, wish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(pieces: &[&str]) -> (String, Option<Wish>) {
        let mut escapes = Escapes::default();
        let mut all = (String::new(), None);
        for piece in pieces {
            let (passed, wish) = escapes.typed(piece.as_bytes());
            all.0.push_str(std::str::from_utf8(&passed).expect("UTF-8"));
            all.1 = all.1.or(wish);
        }
        all
    }

    #[test]
    fn only_the_beginning_of_a_line_escapes() {
        for (keys, passed, wish) in [
            ("~.", "", Some(Wish::Leave)),
            ("ls\r~.", "ls\r", Some(Wish::Leave)),
            ("ls\n~.rest", "ls\n", Some(Wish::Leave)),
            ("~?ls\r", "ls\r", Some(Wish::Help)),
            ("~~.\r", "~.\r", None),
            ("~/bin\r", "~/bin\r", None),
            ("~\r~.", "~\r", Some(Wish::Leave)),
            ("cd ~.", "cd ~.", None),
            ("a~~?b", "a~~?b", None),
            ("\x03~.", "\x03~.", None),
        ] {
            assert_eq!(typed(&[keys]), (passed.to_owned(), wish), "{keys:?}");
            let keys: Vec<String> = keys.chars().map(String::from).collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            // What is typed after the wish to leave would be dropped; here nobody leaves.
            if wish != Some(Wish::Leave) {
                assert_eq!(typed(&keys), (passed.to_owned(), wish), "{keys:?}, one by one");
            }
        }
    }
}
