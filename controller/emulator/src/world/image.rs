//! Image references and the digest that each one resolves to.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::world::error::Refusal;

/// Longer references exist in no registry.
const LONGEST_REFERENCE: usize = 512;

/// A resolved image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRef {
    /// The registry's host, `registry-1.docker.io` if the reference names none.
    pub registry: String,
    /// The path without registry, tag and digest.
    pub repository: String,
    /// The tag, if the reference has one or has no digest (`latest`).
    pub tag: Option<String>,
    /// The digest of the reference, else one derived from the reference's text.
    pub digest: String,
}

impl ImageRef {
    /// Resolves a reference. There is no registry here, so a reference without a digest gets the
    /// SHA-256 of its own text: the same text is always the same image.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] if the text is no image reference.
    pub(crate) fn resolve(reference: &str) -> Result<Self, Refusal> {
        let malformed = || {
            Refusal::invalid(format!("invalid config.image: {reference:?} is no image reference"))
        };
        let shape = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if reference.is_empty() || reference.len() > LONGEST_REFERENCE || !shape(reference) {
            return Err(malformed());
        }
        let (name, digest) = match reference.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (reference, None),
        };
        // A colon before the last slash belongs to the registry's port.
        let (path, tag) = match name.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (name, None),
        };
        let (registry, repository) = match path.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => {
                (host, rest.to_owned())
            }
            Some(_) => ("registry-1.docker.io", path.to_owned()),
            None => ("registry-1.docker.io", format!("library/{path}")),
        };
        if path.is_empty() || repository.ends_with('/') || tag == Some("") {
            return Err(malformed());
        }
        let derived = || {
            format!(
                "sha256:{}",
                data_encoding::HEXLOWER.encode(&Sha256::digest(reference.as_bytes()))
            )
        };
        let digest = match digest {
            Some(given) if is_digest(given) => given.to_owned(),
            Some(_) => return Err(malformed()),
            None => derived(),
        };
        let tag = tag.or_else(|| (name == reference).then_some("latest")).map(str::to_owned);
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }

    /// Whether the image is the tenant agent: the last part of its repository says so.
    pub(crate) fn is_agent(&self) -> bool {
        self.repository.rsplit('/').next() == Some("agent")
    }
}

fn is_digest(text: &str) -> bool {
    let Some(hex) = text.strip_prefix("sha256:") else {
        return false;
    };
    hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_taken_apart() {
        let zeros = format!("sha256:{}", "0".repeat(64));
        let pinned = format!("registry.fly.io/vault-tenants/agent@{zeros}");
        let cases = [
            ("nginx:1.29", "registry-1.docker.io", "library/nginx", Some("1.29")),
            ("nginx", "registry-1.docker.io", "library/nginx", Some("latest")),
            ("acme/web", "registry-1.docker.io", "acme/web", Some("latest")),
            ("localhost:5000/a/b:c", "localhost:5000", "a/b", Some("c")),
            ("localhost:5000/a/b", "localhost:5000", "a/b", Some("latest")),
            (pinned.as_str(), "registry.fly.io", "vault-tenants/agent", None),
        ];
        for (text, registry, repository, tag) in cases {
            let image = ImageRef::resolve(text).expect(text);
            assert_eq!(
                (image.registry.as_str(), image.repository.as_str(), image.tag.as_deref()),
                (registry, repository, tag)
            );
            assert!(is_digest(&image.digest), "{}", image.digest);
        }
        let agent = ImageRef::resolve(&pinned).expect("pinned");
        assert!(agent.is_agent());
        assert_eq!(agent.digest, zeros);
        let (one, two) =
            (ImageRef::resolve("a:1").expect("one"), ImageRef::resolve("a:2").expect("two"));
        assert_ne!(one.digest, two.digest);
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for text in ["", "two words", "a@sha256:12", "a/", "a:", ":tag"] {
            assert!(ImageRef::resolve(text).is_err(), "{text:?}");
        }
    }
}
