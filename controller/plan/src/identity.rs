//! Who we are, and the names that follow from it.
//!
//! ```text
//!   master key ─▶ ControllerId ─▶ tenant uid = UUIDv5(ControllerId, tenant name)
//!                                    ├─▶ app      <tenant, 40 at most>-<8 base32 of the uid>
//!                                    ├─▶ volume   v_<12 base32 of UUIDv5(uid, group/index/template)>
//!                                    ├─▶ bucket   <tenant, cut>-<bucket>-<8 base32 of the uid>
//!                                    └─▶ secret   <variable>_<26 BASE32 of the uid>, in a shared app
//!   machine  <tenant>-<group>-<index>
//! ```
//!
//! Identity is derived, not stored: a controller that lost its database finds its own resources by
//! these names and by [`crate::metadata`], and creates nothing twice.

use data_encoding::{Encoding, Specification};
use std::sync::LazyLock;
use uuid::Uuid;

/// Fly's limit for the name of an app, in characters.
pub const APP_NAME_LENGTH_MAX: usize = 63;

/// The limit of S3 for the name of a bucket, in characters.
pub const BUCKET_NAME_LENGTH_MAX: usize = 63;

/// How much of a tenant's name goes into the derived name of its app.
const APP_NAME_TENANT_LENGTH_MAX: usize = 40;
/// 40 bits: two of a million tenants of one name prefix collide with a chance of 1 in 2 million.
const APP_NAME_HASH_LENGTH: usize = 8;
/// 60 bits, and `v_` before them: 14 characters, letters, digits and `_`, which Fly surely accepts.
const VOLUME_NAME_HASH_LENGTH: usize = 12;

/// The digits of the largest index.
const INDEX_LENGTH_MAX: usize = 10;
/// 128 bits in base32, without padding.
const UUID_BASE32_LENGTH: usize = 26;

/// RFC 4648 base32 in lower case and without padding: safe in DNS labels and volume names.
static BASE32_LOWER: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    specification.encoding().expect("32 distinct symbols form a base32 alphabet")
});

/// The identity of one controller, derived from its master key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControllerId(Uuid);

impl ControllerId {
    /// Takes 16 bytes that were derived from the master key.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// The tenant's `metadata.uid`: the same for the same name, whatever happened to the database.
    #[must_use]
    pub fn tenant_uid(&self, tenant: &str) -> TenantUid {
        TenantUid(Uuid::new_v5(&self.0, tenant.as_bytes()))
    }

    /// The `metadata.uid` of an object that is not a tenant.
    #[must_use]
    pub fn object_uid(&self, kind: &str, name: &str) -> Uuid {
        Uuid::new_v5(&self.0, format!("{kind}/{name}").as_bytes())
    }
}

impl std::fmt::Display for ControllerId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The identity of one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantUid(pub Uuid);

impl TenantUid {
    /// Reads a uid in the one form in which it is written.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self).filter(|uid| uid.to_string() == text)
    }

    /// The name of the tenant's app, where its manifest names none.
    #[must_use]
    pub fn app_name(&self, tenant: &str) -> String {
        let end = tenant.char_indices().nth(APP_NAME_TENANT_LENGTH_MAX);
        let prefix = end.map_or(tenant, |(end, _)| &tenant[..end]);
        let mut name = String::with_capacity(prefix.len() + "-".len() + APP_NAME_HASH_LENGTH);
        name.push_str(prefix.trim_end_matches('-'));
        name.push('-');
        push_base32(&mut name, self.0, APP_NAME_HASH_LENGTH);
        name
    }

    /// The name that a secret of this tenant has in an app that it shares, where the machines find
    /// it as `variable`. All of the uid is in it: no two tenants can come to the same name, whatever
    /// they call their variables.
    #[must_use]
    pub fn secret_name(&self, variable: &str) -> String {
        let mut name = String::with_capacity(variable.len() + "_".len() + UUID_BASE32_LENGTH);
        name.push_str(variable);
        name.push('_');
        push_base32(&mut name, self.0, UUID_BASE32_LENGTH);
        name[variable.len()..].make_ascii_uppercase();
        name
    }

    /// The name at Tigris of the bucket that the tenant's manifest calls `bucket`. Names of buckets are
    /// global; what is cut off is the tenant's name, because its identity stands at the end.
    #[must_use]
    pub fn bucket_name(&self, tenant: &str, bucket: &str) -> String {
        let rest = bucket.len() + "--".len() + APP_NAME_HASH_LENGTH;
        let room = BUCKET_NAME_LENGTH_MAX.saturating_sub(rest);
        let end = tenant.char_indices().nth(room);
        let prefix = end.map_or(tenant, |(end, _)| &tenant[..end]).trim_end_matches('-');
        let mut name = String::with_capacity(BUCKET_NAME_LENGTH_MAX);
        name.push_str(prefix);
        name.push('-');
        name.push_str(bucket);
        name.push('-');
        push_base32(&mut name, self.0, APP_NAME_HASH_LENGTH);
        name
    }

    /// Whether a bucket of that name is this tenant's, whatever its manifest calls it.
    #[must_use]
    pub fn owns_bucket(&self, name: &str) -> bool {
        let mut end = String::from("-");
        push_base32(&mut end, self.0, APP_NAME_HASH_LENGTH);
        name.ends_with(&end)
    }

    /// Whether an app secret of that name is this tenant's in an app that it shares.
    #[must_use]
    pub fn owns_secret(&self, name: &str) -> bool {
        name.ends_with(&self.secret_name(""))
    }

    /// The name of the volume that machine `group`-`index` mounts from `template`.
    ///
    /// Fly does not make volume names unique, so the name alone tells whose the volume is.
    #[must_use]
    pub fn volume_name(&self, group: &str, index: u32, template: &str) -> String {
        let mut slot =
            String::with_capacity(group.len() + template.len() + "/".len() * 2 + INDEX_LENGTH_MAX);
        slot.push_str(group);
        slot.push('/');
        push_number(&mut slot, index);
        slot.push('/');
        slot.push_str(template);
        let slot = Uuid::new_v5(&self.0, slot.as_bytes());
        let mut name = String::with_capacity("v_".len() + VOLUME_NAME_HASH_LENGTH);
        name.push_str("v_");
        push_base32(&mut name, slot, VOLUME_NAME_HASH_LENGTH);
        name
    }
}

impl std::fmt::Display for TenantUid {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Whether a name has the form of the names that volumes of ours have. Whose it is, it does not
/// tell.
#[must_use]
pub fn is_volume_name(name: &str) -> bool {
    name.strip_prefix("v_").is_some_and(|hash| {
        let is_digit = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'2'..=b'7');
        hash.len() == VOLUME_NAME_HASH_LENGTH && hash.bytes().all(is_digit)
    })
}

/// The name of machine `index` of a group: unique per app at Fly.
#[must_use]
pub fn machine_name(tenant: &str, group: &str, index: u32) -> String {
    let mut name =
        String::with_capacity(tenant.len() + group.len() + "-".len() * 2 + INDEX_LENGTH_MAX);
    name.push_str(tenant);
    name.push('-');
    name.push_str(group);
    name.push('-');
    push_number(&mut name, index);
    name
}

fn push_number(text: &mut String, number: u32) {
    use std::fmt::Write as _;
    write!(text, "{number}").expect("writing to a String cannot fail");
}

fn push_base32(text: &mut String, uuid: Uuid, length: usize) {
    let mut encoded = [0; UUID_BASE32_LENGTH];
    let encoded = BASE32_LOWER.encode_mut_str(uuid.as_bytes(), &mut encoded);
    text.push_str(&encoded[..length]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn controller() -> ControllerId {
        ControllerId::from_bytes([7; 16])
    }

    #[test]
    fn names_are_the_same_for_the_same_controller_and_tenant() {
        let uid = controller().tenant_uid("acme");
        assert_eq!(uid, controller().tenant_uid("acme"));
        assert_eq!(uid.app_name("acme"), "acme-n5ve6vma");
        assert_eq!(uid.volume_name("box", 0, "data"), "v_dmgcm7xz7rpw");
        assert_eq!(machine_name("acme", "box", 0), "acme-box-0");
    }

    #[test]
    fn identities_are_written_as_uuids_and_differ_by_kind_and_name() {
        let controller = controller();
        assert_eq!(controller.to_string(), "07070707-0707-8707-8707-070707070707");
        let class = controller.object_uid("TenantClass", "dev");
        assert_eq!(class, controller.object_uid("TenantClass", "dev"));
        assert_ne!(class, controller.object_uid("TenantClass", "web"));
        assert_ne!(class, controller.object_uid("Tenant", "dev"));
        assert_ne!(class, ControllerId::from_bytes([8; 16]).object_uid("TenantClass", "dev"));
        let uid = controller.tenant_uid("acme");
        assert_eq!(TenantUid::read(&uid.to_string()), Some(uid));
    }

    #[test]
    fn only_what_has_the_length_and_the_letters_of_our_hashes_is_a_volume_name() {
        let ours = controller().tenant_uid("acme").volume_name("box", 0, "data");
        assert!(is_volume_name(&ours), "{ours}");
        for other in ["data", "v_", "v_data", "v_dmgcm7xz7rp1", "v_DMGCM7XZ7RPW", "v_dmgcm7xz7rpww"]
        {
            assert!(!is_volume_name(other), "{other}");
        }
    }

    #[test]
    fn names_differ_by_controller_tenant_group_index_and_template() {
        let uid = controller().tenant_uid("acme");
        assert_ne!(uid, ControllerId::from_bytes([8; 16]).tenant_uid("acme"));
        assert_ne!(uid, controller().tenant_uid("acme2"));
        let volume = uid.volume_name("box", 0, "data");
        for other in [
            uid.volume_name("box", 1, "data"),
            uid.volume_name("web", 0, "data"),
            uid.volume_name("box", 0, "logs"),
        ] {
            assert_ne!(volume, other);
        }
    }

    #[test]
    fn a_secret_in_a_shared_app_is_of_one_tenant() {
        let (acme, bob) = (controller().tenant_uid("acme"), controller().tenant_uid("bob"));
        let name = acme.secret_name("DATABASE_URL");
        assert_eq!(name.len(), "DATABASE_URL_".len() + UUID_BASE32_LENGTH);
        assert!(name.starts_with("DATABASE_URL_"), "{name}");
        let valid = |letter: char| letter.is_ascii_uppercase() || "_234567".contains(letter);
        assert!(name.chars().all(valid), "{name}");
        assert!(acme.owns_secret(&name) && !bob.owns_secret(&name));
        // A variable that is called like another tenant's secret is still the one's who named it.
        let stolen = bob.secret_name(&name);
        assert!(bob.owns_secret(&stolen) && !acme.owns_secret(&stolen));
        assert!(!acme.owns_secret("DATABASE_URL"));
    }

    #[test]
    fn bucket_names_are_the_tenants_and_keep_within_the_limit() {
        let uid = controller().tenant_uid("acme");
        assert_eq!(uid.bucket_name("acme", "state"), "acme-state-n5ve6vma");
        assert!(uid.owns_bucket("acme-state-n5ve6vma"));
        assert!(!controller().tenant_uid("bob").owns_bucket("acme-state-n5ve6vma"));
        for (tenant, bucket) in
            [("a".repeat(63), "b".repeat(40)), ("a-".repeat(31), "b".to_owned())]
        {
            let name = controller().tenant_uid(&tenant).bucket_name(&tenant, &bucket);
            assert!(name.len() <= BUCKET_NAME_LENGTH_MAX && !name.contains("--"), "{name}");
            assert!(name.contains(&format!("-{bucket}-")), "{name}");
        }
        let (tenant, bucket) = ("a".repeat(63), "b".repeat(40));
        let name = controller().tenant_uid(&tenant).bucket_name(&tenant, &bucket);
        assert_eq!(name.len(), BUCKET_NAME_LENGTH_MAX, "no more is cut off than has to be: {name}");
    }

    #[test]
    fn app_names_keep_within_flys_limit_and_form() {
        let long = format!("{}-{}", "a".repeat(39), "b".repeat(23));
        let name = controller().tenant_uid(&long).app_name(&long);
        assert!(name.len() <= APP_NAME_LENGTH_MAX, "{name}");
        assert!(!name.contains("--"), "a cut at a dash leaves no double dash: {name}");
    }
}
