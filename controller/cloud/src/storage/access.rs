//! Where storage is, and the key of ours that may do everything there.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// Where S3 is, if nobody says.
const S3_DEFAULT: &str = "https://fly.storage.tigris.dev";
/// Where IAM is, if nobody says.
const IAM_DEFAULT: &str = "https://iam.storage.dev";
/// The region that signatures name, if nobody says.
const REGION_DEFAULT: &str = "auto";

const KEY: &str = "AWS_ACCESS_KEY_ID";
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
const S3: &str = "AWS_ENDPOINT_URL_S3";
const IAM: &str = "AWS_ENDPOINT_URL_IAM";
const REGION: &str = "AWS_REGION";

/// The environment variables that [`StorageAccess::from_environment`] reads.
pub const VARIABLES: [&str; 5] = [KEY, SECRET, S3, IAM, REGION];

/// The longest key id, secret or region that is taken, in bytes; Tigris's have about 70.
const WORD_BYTES_MAX: usize = 256;

/// Where storage is, and the key that signs.
#[derive(Clone)]
pub struct StorageAccess {
    /// The base of all URLs of S3: `https://HOST[:PORT]`, or `http://` on this machine.
    pub s3: String,
    /// The base of all URLs of IAM, likewise.
    pub iam: String,
    /// The region that signatures name.
    pub region: String,
    /// The key's id.
    pub access_key_id: String,
    /// The key's secret.
    pub secret_access_key: SecretString,
}

/// Why the environment names no key. Shows no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageAccessError {
    /// Some of it is there, and this is not.
    #[error(
        "{missing} is not set, but {present} is: storage takes both halves of an access key, {KEY} \
         and {SECRET}"
    )]
    Missing {
        /// The variable that is missing.
        missing: &'static str,
        /// One that is there.
        present: &'static str,
    },
    /// A value cannot stand in a signature.
    #[error(
        "{variable} is no value that a signature takes: 1 to {WORD_BYTES_MAX} visible ASCII \
         characters"
    )]
    Value {
        /// The variable.
        variable: &'static str,
    },
}

impl StorageAccess {
    /// What the environment says; `lookup` answers the value of a variable. `None` if it names no
    /// storage: neither a key nor an address. A region alone names none, and an empty value is as
    /// good as none.
    ///
    /// # Errors
    /// [`StorageAccessError`], if only a part of it is there.
    pub fn from_environment(
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, StorageAccessError> {
        let value = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let Some(present) = [KEY, SECRET, S3, IAM].into_iter().find(|name| value(name).is_some())
        else {
            return Ok(None);
        };
        let needed = |variable| {
            let value = value(variable)
                .ok_or(StorageAccessError::Missing { missing: variable, present })?;
            if is_word(&value) { Ok(value) } else { Err(StorageAccessError::Value { variable }) }
        };
        let (access_key_id, secret_access_key) = (needed(KEY)?, needed(SECRET)?.into());
        let region = value(REGION).unwrap_or_else(|| REGION_DEFAULT.to_owned());
        if !is_word(&region) {
            return Err(StorageAccessError::Value { variable: REGION });
        }
        let url = |name, default: &str| value(name).unwrap_or_else(|| default.to_owned());
        let (s3, iam) = (url(S3, S3_DEFAULT), url(IAM, IAM_DEFAULT));
        Ok(Some(Self { s3, iam, region, access_key_id, secret_access_key }))
    }
}

fn is_word(text: &str) -> bool {
    text.len() <= WORD_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Without the secret.
impl fmt::Debug for StorageAccess {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("StorageAccess")
            .field("s3", &self.s3)
            .field("iam", &self.iam)
            .field("region", &self.region)
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

impl PartialEq for StorageAccess {
    fn eq(&self, other: &Self) -> bool {
        let all = |access: &Self| {
            [&access.s3, &access.iam, &access.region, &access.access_key_id].map(String::clone)
        };
        // Of two configurations of one program, not of a caller's word: time tells nobody anything.
        all(self) == all(other)
            && self.secret_access_key.expose_secret() == other.secret_access_key.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<StorageAccess>, StorageAccessError> {
        StorageAccess::from_environment(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_key_is_enough_and_the_rest_has_defaults() {
        let access = read(&[(KEY, "tid_1"), (SECRET, "tsec_1")]).unwrap().expect("access");
        assert_eq!((&*access.s3, &*access.iam), (S3_DEFAULT, IAM_DEFAULT));
        assert_eq!((&*access.region, &*access.access_key_id), ("auto", "tid_1"));
        assert_eq!(access.secret_access_key.expose_secret(), "tsec_1");
        assert!(!format!("{access:?}").contains("tsec"), "{access:?}");
        let given = [
            (KEY, "tid_1"),
            (SECRET, "tsec_1"),
            (S3, "http://127.0.0.1:1"),
            (IAM, "http://127.0.0.1:2"),
            (REGION, "fra"),
        ];
        let access = read(&given).unwrap().expect("access");
        let seen = (&*access.s3, &*access.iam, &*access.region);
        assert_eq!(seen, ("http://127.0.0.1:1", "http://127.0.0.1:2", "fra"));
    }

    #[test]
    fn nothing_is_no_storage() {
        for nothing in [&[][..], &[(REGION, "eu-west-1")], &[(KEY, ""), (SECRET, "")]] {
            assert_eq!(read(nothing), Ok(None), "{nothing:?}");
        }
    }

    #[test]
    fn a_part_is_an_error_that_names_what_is_missing() {
        for (part, missing, present) in [
            (&[(KEY, "tid_1")][..], SECRET, KEY),
            (&[(KEY, "tid_1"), (SECRET, "")], SECRET, KEY),
            (&[(SECRET, "tsec_1")], KEY, SECRET),
            (&[(S3, "https://storage.example")], KEY, S3),
            (&[(IAM, "https://iam.example")], KEY, IAM),
        ] {
            let error = read(part).unwrap_err();
            assert_eq!(error, StorageAccessError::Missing { missing, present }, "{part:?}");
            assert!(!error.to_string().contains("_1"), "{error}");
        }
    }

    #[test]
    fn values_that_no_signature_takes_are_refused_without_showing_them() {
        let long = "x".repeat(WORD_BYTES_MAX + 1);
        for wrong in ["a b", "tsec_ä", "tsec_1\n", &long] {
            let error = read(&[(KEY, "tid_1"), (SECRET, wrong)]).unwrap_err();
            assert_eq!(error, StorageAccessError::Value { variable: SECRET });
            assert!(!error.to_string().contains(wrong), "{error}");
            let error = read(&[(KEY, "k"), (SECRET, "s"), (REGION, wrong)]).unwrap_err();
            assert_eq!(error, StorageAccessError::Value { variable: REGION });
        }
    }
}
