//! Names with wildcards.

/// A name in which `*` stands for any text and `?` for one character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob(String);

impl Glob {
    pub(crate) fn new(pattern: &str) -> Self {
        Self(pattern.to_owned())
    }

    /// Whether the whole of `text` fits. Takes time in proportion to both lengths, whatever they
    /// hold: after a mismatch only the latest `*` is tried again.
    pub(crate) fn fits(&self, text: &str) -> bool {
        let (pattern, text) = (self.0.as_bytes(), text.as_bytes());
        let (mut at, mut place) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        while place < text.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    retry = Some((at, place));
                    at += 1;
                }
                Some(&wanted) if wanted == b'?' || wanted == text[place] => {
                    at += 1;
                    place += 1;
                }
                _ => match retry {
                    Some((star, from)) => {
                        retry = Some((star, from + 1));
                        at = star + 1;
                        place = from + 1;
                    }
                    None => return false,
                },
            }
        }
        pattern[at..].iter().all(|&rest| rest == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_fit_what_they_stand_for() {
        for (pattern, text, fits) in [
            ("acme", "acme", true),
            ("acme", "acme2", false),
            ("acme*", "acme", true),
            ("acme-*-0", "acme-box-0", true),
            ("acme-*-0", "acme-box-01", false),
            ("*-0", "a-0-0", true),
            ("?", "", false),
            ("a?c", "abc", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("*a*a*a*b", &"a".repeat(200), false),
        ] {
            assert_eq!(Glob::new(pattern).fits(text), fits, "{pattern} {text}");
        }
    }
}
