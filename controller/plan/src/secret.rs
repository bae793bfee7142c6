//! One secret: whether it has to be set, given what is known of it.
//!
//! ```text
//!   no app, or missing, changed, of another hash ─▶ set it
//!   no answer came, or nobody watched over it ────▶ set it
//!   set, with the wanted hash ────────────────────▶ leave it
//!   nothing known ─▶ a machine in the app carries the wanted hash? yes ─▶ leave it   no ─▶ set it
//! ```

use std::borrow::Cow;

use crate::desired::DesiredSecret;
use crate::metadata::Marks;
use crate::observed::{ObservedMachine, SecretState};

/// How many characters of a hash are shown: 48 bits, so that two values do not look the same.
const DIGEST_SHOWN: usize = 12;

/// Why a secret has to be set; `None` if it is as wanted. `machines` are the tenant's own in the
/// app.
///
/// Setting is harmless where it was not needed, so a doubt is a reason to set it.
pub(crate) fn need<'a>(
    wanted: &DesiredSecret,
    known: Option<&SecretState>,
    app_exists: bool,
    machines: impl IntoIterator<Item = &'a ObservedMachine>,
) -> Option<Cow<'static, str>> {
    if !app_exists {
        return Some("its app is new".into());
    }
    match known {
        Some(SecretState::Set { hash }) if *hash == wanted.hash => None,
        Some(SecretState::Set { hash }) => {
            let (before, after) = (veiled(hash), veiled(&wanted.hash));
            Some(format!("its value is another now: {before} → {after}").into())
        }
        Some(SecretState::Changed) => Some("somebody else changed it".into()),
        Some(SecretState::Missing) => Some("somebody else removed it".into()),
        Some(SecretState::Unsure) => Some("it is not certain to be what was last set".into()),
        // A mark is written only after the secret was set, and outlives our memory. That of an access
        // key may be older than the key that its app holds: an older database has another one.
        None if wanted.storage.is_none()
            && machines
                .into_iter()
                .any(|machine| Marks::read(&machine.metadata).knows_secret(&wanted.hash)) =>
        {
            None
        }
        None => Some("it is not known to be set".into()),
    }
}

/// A secret as people see it: that there is a value, and the beginning of its keyed hash, by which
/// two values are told apart and none is guessed.
fn veiled(hash: &str) -> String {
    format!("*** (digest {})", hash.get(..DIGEST_SHOWN).unwrap_or(hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata;
    use crate::observed::PlatformState;
    use crate::testing::{SECRET_HASH, machine, secrets};

    #[test]
    fn a_secret_is_set_unless_it_is_known_to_be_as_wanted() {
        let wanted = &secrets()[0];
        let set = |hash: &str| Some(SecretState::Set { hash: hash.to_owned() });
        let (marked, mut unmarked) =
            (machine(PlatformState::Started, 0), machine(PlatformState::Started, 0));
        unmarked.metadata.remove(metadata::SECRET_HASH);
        let mut other = marked.clone();
        other.metadata.insert(metadata::SECRET_HASH.to_owned(), "other".to_owned());
        let mut several = marked.clone();
        let both = format!("other,{SECRET_HASH}");
        several.metadata.insert(metadata::SECRET_HASH.to_owned(), both);
        let table = [
            (set(SECRET_HASH), true, &other, false),
            (set("other"), true, &marked, true),
            (Some(SecretState::Changed), true, &marked, true),
            (Some(SecretState::Missing), true, &marked, true),
            (Some(SecretState::Unsure), true, &marked, true),
            (None, true, &marked, false),
            (None, true, &several, false),
            (None, true, &unmarked, true),
            (None, true, &other, true),
            // What is remembered of an app that is no more says nothing about a new one.
            (set(SECRET_HASH), false, &marked, true),
        ];
        for (known, app_exists, machine, expected) in table {
            let reason = need(wanted, known.as_ref(), app_exists, [machine]);
            assert_eq!(reason.is_some(), expected, "{known:?}, {app_exists}, {machine:?}");
        }
        assert!(need(wanted, None, true, []).is_some());
        let key = Some(crate::desired::StorageValue::KeyId("tid_1".to_owned()));
        let of_key = DesiredSecret { storage: key, ..wanted.clone() };
        assert!(need(&of_key, None, true, [&marked]).is_some(), "a mark may be older than a key");
        assert!(need(&of_key, set(SECRET_HASH).as_ref(), true, [&marked]).is_none());
        let rotated = need(wanted, set("ffeeddccbbaa99").as_ref(), true, []).unwrap();
        let shown = "*** (digest ffeeddccbbaa) → *** (digest 001122334455)";
        assert_eq!(rotated, format!("its value is another now: {shown}"));
    }
}
