//! Names and their limits, as Fly and Kubernetes set them, and the nearest known name for a typo.

use thiserror::Error;

/// Longest name of a tenant, a class, an app, an organization or a machine: a DNS label.
pub const DNS_LABEL_LENGTH_MAX: usize = 63;
/// Longest name of a machine group or a volume template: short enough that
/// `TENANT-GROUP-INDEX` usually fits a DNS label.
pub const GROUP_NAME_LENGTH_MAX: usize = 20;
/// Longest prefix of a label key, as in Kubernetes: a DNS name.
pub const LABEL_PREFIX_LENGTH_MAX: usize = 253;
/// Names longer than this get no suggestion: the distance is quadratic, and nobody mistypes a
/// known name into so long a text.
const NEAREST_LENGTH_MAX: usize = 64;

/// Why a name is refused; prints as the end of a sentence that begins with the name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// There is nothing.
    #[error("must not be empty")]
    Empty,
    /// There is too much.
    #[error("must be at most {limit} characters long, but has {found}")]
    TooLong {
        /// The length found, in characters.
        found: usize,
        /// The longest length that is accepted, in characters.
        limit: usize,
    },
    /// A character that may not stand in the name.
    #[error("must not contain {character:?}: only {allowed} are allowed")]
    Character {
        /// The first such character.
        character: char,
        /// What may stand there, in words.
        allowed: &'static str,
    },
    /// A character that may not begin the name.
    #[error("must begin with {allowed}")]
    First {
        /// What may stand there, in words.
        allowed: &'static str,
    },
    /// A character that may not end the name.
    #[error("must end with {allowed}")]
    Last {
        /// What may stand there, in words.
        allowed: &'static str,
    },
    /// A label key with more than one `/`.
    #[error("must be NAME or PREFIX/NAME, with one `/` at most")]
    Slashes,
    /// The part of a label key before the `/` is refused.
    #[error("has a prefix before the `/` that is not a DNS name")]
    Prefix,
}

/// Checks the name of a tenant or a class: 1 to 63 lower-case letters, digits and dashes,
/// beginning with a letter and ending with a letter or digit (RFC 1035 label).
///
/// # Errors
/// The first rule that the name breaks.
pub fn check_object_name(name: &str) -> Result<(), NameError> {
    OBJECT_NAME.check(name)
}

/// Checks the name of a Fly app: 1 to 63 lower-case letters, digits and dashes, with a letter or
/// digit at both ends, because the name becomes a host name.
///
/// # Errors
/// The first rule that the name breaks.
pub fn check_app_name(name: &str) -> Result<(), NameError> {
    HOST_NAME.check(name)
}

/// Checks the slug of a Fly organization: the same characters as an app's name.
///
/// # Errors
/// The first rule that the slug breaks.
pub fn check_org_slug(slug: &str) -> Result<(), NameError> {
    HOST_NAME.check(slug)
}

/// Checks the name of a machine group: 1 to 20 lower-case letters, digits and dashes, beginning
/// with a letter and ending with a letter or digit.
///
/// # Errors
/// The first rule that the name breaks.
pub fn check_group_name(name: &str) -> Result<(), NameError> {
    GROUP_NAME.check(name)
}

/// Checks the name of a volume template: 1 to 20 lower-case letters, digits, dashes and
/// underscores, beginning with a letter.
///
/// # Errors
/// The first rule that the name breaks.
pub fn check_volume_name(name: &str) -> Result<(), NameError> {
    VOLUME_NAME.check(name)
}

/// Checks the name of an environment variable: 1 to 255 letters, digits and underscores, not
/// beginning with a digit.
///
/// # Errors
/// The first rule that the name breaks.
pub fn check_env_name(name: &str) -> Result<(), NameError> {
    ENV_NAME.check(name)
}

/// Checks the name of a var: 1 to 63 letters, digits, dashes and underscores, beginning with a letter
/// or an underscore.
///
/// # Errors
/// The first rule that the name breaks.
pub fn check_var_name(name: &str) -> Result<(), NameError> {
    VAR_NAME.check(name)
}

/// Checks the key of a label or an annotation: `NAME` or `PREFIX/NAME`, as in Kubernetes.
///
/// # Errors
/// The first rule that the key breaks.
pub fn check_label_key(key: &str) -> Result<(), NameError> {
    let Some((prefix, name)) = key.split_once('/') else {
        return LABEL.check(key);
    };
    if name.contains('/') {
        return Err(NameError::Slashes);
    }
    let is_dns_name = prefix.len() <= LABEL_PREFIX_LENGTH_MAX
        && prefix.split('.').all(|label| HOST_NAME.check(label).is_ok());
    if !is_dns_name {
        return Err(NameError::Prefix);
    }
    LABEL.check(name)
}

/// Checks the value of a label: empty, or 1 to 63 letters, digits, dashes, underscores and dots
/// with a letter or digit at both ends, as in Kubernetes.
///
/// # Errors
/// The first rule that the value breaks.
pub fn check_label_value(value: &str) -> Result<(), NameError> {
    if value.is_empty() { Ok(()) } else { LABEL.check(value) }
}

/// The candidate that `name` was probably meant to be: at most a third of its characters (one at
/// least) inserted, removed, replaced or swapped. The first of equals wins.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().count();
    if length == 0 || length > NEAREST_LENGTH_MAX {
        return None;
    }
    let distance_max = (length / 3).max(1);
    let lower = name.to_lowercase();
    candidates
        .into_iter()
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= distance_max)
        .map(|candidate| (strsim::osa_distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= distance_max)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The end of a message about an unknown name: ``; did you mean `x`?`` or nothing.
#[must_use]
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates)
        .map(|candidate| format!("; did you mean `{candidate}`?"))
        .unwrap_or_default()
}

/// What a name may be made of.
struct Rule {
    length_max: usize,
    first: fn(char) -> bool,
    first_words: &'static str,
    inner: fn(char) -> bool,
    inner_words: &'static str,
    last: fn(char) -> bool,
    last_words: &'static str,
}

const OBJECT_NAME: Rule = Rule {
    length_max: DNS_LABEL_LENGTH_MAX,
    first: |character| character.is_ascii_lowercase(),
    first_words: "a lower-case letter",
    inner: is_lower_digit_or_dash,
    inner_words: "lower-case letters, digits and dashes",
    last: is_lower_or_digit,
    last_words: "a lower-case letter or a digit",
};

const HOST_NAME: Rule =
    Rule { first: is_lower_or_digit, first_words: "a lower-case letter or a digit", ..OBJECT_NAME };

const GROUP_NAME: Rule = Rule { length_max: GROUP_NAME_LENGTH_MAX, ..OBJECT_NAME };

const VOLUME_NAME: Rule = Rule {
    length_max: GROUP_NAME_LENGTH_MAX,
    inner: |character| is_lower_digit_or_dash(character) || character == '_',
    inner_words: "lower-case letters, digits, dashes and underscores",
    last: |_| true,
    ..OBJECT_NAME
};

const VAR_NAME: Rule = Rule {
    length_max: DNS_LABEL_LENGTH_MAX,
    first: |character| character.is_ascii_alphabetic() || character == '_',
    first_words: "a letter or an underscore",
    inner: |character| character.is_ascii_alphanumeric() || "-_".contains(character),
    inner_words: "letters, digits, dashes and underscores",
    last: |_| true,
    last_words: "any of these",
};

const ENV_NAME: Rule = Rule {
    length_max: 255,
    inner: |character| character.is_ascii_alphanumeric() || character == '_',
    inner_words: "letters, digits and underscores",
    ..VAR_NAME
};

const LABEL: Rule = Rule {
    length_max: DNS_LABEL_LENGTH_MAX,
    first: |character| character.is_ascii_alphanumeric(),
    first_words: "a letter or a digit",
    inner: |character| character.is_ascii_alphanumeric() || "-_.".contains(character),
    inner_words: "letters, digits, dashes, underscores and dots",
    last: |character| character.is_ascii_alphanumeric(),
    last_words: "a letter or a digit",
};

impl Rule {
    fn check(&self, name: &str) -> Result<(), NameError> {
        let Some(first) = name.chars().next() else {
            return Err(NameError::Empty);
        };
        if let Some(character) = name.chars().find(|character| !(self.inner)(*character)) {
            return Err(NameError::Character { character, allowed: self.inner_words });
        }
        if !(self.first)(first) {
            return Err(NameError::First { allowed: self.first_words });
        }
        if !name.chars().next_back().is_some_and(self.last) {
            return Err(NameError::Last { allowed: self.last_words });
        }
        let found = name.chars().count();
        if found > self.length_max {
            return Err(NameError::TooLong { found, limit: self.length_max });
        }
        Ok(())
    }
}

fn is_lower_or_digit(character: char) -> bool {
    character.is_ascii_lowercase() || character.is_ascii_digit()
}

fn is_lower_digit_or_dash(character: char) -> bool {
    is_lower_or_digit(character) || character == '-'
}

#[cfg(test)]
mod tests {
    use super::*;

    type Check = fn(&str) -> Result<(), NameError>;

    #[test]
    fn good_names_pass_and_bad_names_do_not() {
        let (letters_63, letters_64) = ("a".repeat(63), "a".repeat(64));
        let (letters_20, letters_21) = ("a".repeat(20), "a".repeat(21));
        let table: [(Check, &[&str], &[&str]); 8] = [
            (
                check_var_name,
                &["plan", "_x", "A-b_1", &letters_63],
                &["", "1", "-a", "a.b", "a b", "{{", &letters_64],
            ),
            (
                check_object_name,
                &["acme", "a", "a-1", &letters_63],
                &["", "Acme", "1a", "-a", "a-", "a_b", "a.b", "ä", "{{tenant}}", &letters_64],
            ),
            (check_app_name, &["acme", "1a", &letters_63], &["", "-a", "a-", "A", &letters_64]),
            (check_org_slug, &["personal", "acme-org"], &["", "Acme", "a b"]),
            (check_group_name, &["box", &letters_20], &["", "1", "box-", "b_x", &letters_21]),
            (check_volume_name, &["data", "d_1", "d-1", "d_"], &["", "1d", "D", &letters_21]),
            (
                check_label_key,
                &["tier", "app.kubernetes.io/name", "A_b.C", "kubectl.kubernetes.io/x"],
                &["", "/x", "a/", "a/b/c", "-a", "a b", "A.b/x", &letters_64],
            ),
            (check_label_value, &["", "pro", "1.2_3-X"], &["-", "a b", "a/b", &letters_64]),
        ];
        for (check, good, bad) in table {
            for name in good {
                assert_eq!(check(name), Ok(()), "{name}");
            }
            for name in bad {
                assert!(check(name).is_err(), "{name:?} should be refused");
            }
        }
    }

    #[test]
    fn nearest_finds_typos_and_nothing_far() {
        let fields = ["name", "region", "count", "state", "config"];
        assert_eq!(nearest("regoin", fields), Some("region"));
        assert_eq!(nearest("Region", fields), Some("region"));
        assert_eq!(nearest("cnt", fields), None);
        assert_eq!(nearest("stat", fields), Some("state"));
        assert_eq!(nearest("", fields), None);
        assert_eq!(nearest("something", fields), None);
        assert_eq!(nearest("odr", ["ams", "ord"]), Some("ord"));
        assert_eq!(nearest(&"x".repeat(1 << 20), fields), None);
    }
}
