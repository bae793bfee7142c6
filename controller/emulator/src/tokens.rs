//! Who may call: one token for everything, and one per organization, made at the first start.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::world::DigestKey;

/// Credentials in one header; a token is a handful of macaroons.
const MAX_CREDENTIALS: usize = 16;

/// The public name of the token that opens everything.
pub const OPERATOR: &str = "operator";

/// The holder of a known token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token's public name.
    pub token_id: String,
    /// The organizations that the token opens.
    pub orgs: Arc<BTreeSet<String>>,
    /// Whether the values of secrets may be shown to it: to the operator and to organizations.
    pub reads_secrets: bool,
    /// The one app that it opens, if it does not open whole organizations.
    pub app: Option<String>,
}

/// All tokens, by the digests of their texts.
#[derive(Debug)]
pub struct Tokens {
    known: Vec<([u8; 32], Caller)>,
    operator: String,
    by_org: BTreeMap<String, String>,
}

impl Tokens {
    /// Reads the tokens of a data folder, and makes those that are missing: `operator.token` for
    /// all organizations, `tokens/ORG.token` for one each. All have mode 0600.
    ///
    /// # Errors
    /// A file that cannot be read or written, or that is empty.
    pub fn open(directory: &Path, orgs: &BTreeSet<String>) -> anyhow::Result<Self> {
        let operator = read_or_make(&directory.join("operator.token"))?;
        let folder = directory.join("tokens");
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let mut tokens =
            Self { known: Vec::new(), operator: operator.clone(), by_org: BTreeMap::new() };
        tokens.learn(OPERATOR, &operator, orgs.clone());
        for org in orgs {
            let token = read_or_make(&folder.join(format!("{org}.token")))?;
            tokens.learn(org, &token, BTreeSet::from([org.clone()]));
            tokens.by_org.insert(org.clone(), token);
        }
        Ok(tokens)
    }

    /// The token that opens every organization.
    pub fn operator(&self) -> &str {
        &self.operator
    }

    /// The token that opens one organization.
    pub fn of_org(&self, org: &str) -> Option<&str> {
        self.by_org.get(org).map(String::as_str)
    }

    /// The caller behind an `Authorization` header: `Bearer T`, or `FlyV1 T,T,…`. One known token
    /// is enough; discharges and tokens of others beside it do no harm.
    pub fn caller(&self, header: &str) -> Option<&Caller> {
        credentials(header).find_map(|token| self.holder(token))
    }

    fn learn(&mut self, name: &str, token: &str, orgs: BTreeSet<String>) {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let token_id = name.to_owned();
        let caller = Caller { token_id, orgs: Arc::new(orgs), reads_secrets: true, app: None };
        self.known.push((digest, caller));
    }

    /// Digests are compared in constant time, so that an answer's time tells nothing of a token.
    fn holder(&self, token: &str) -> Option<&Caller> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        self.known
            .iter()
            .find(|(known, _)| bool::from(known.ct_eq(&digest)))
            .map(|(_, caller)| caller)
    }
}

/// The tokens in an `Authorization` header; none if it is of another scheme.
pub(crate) fn credentials(header: &str) -> impl Iterator<Item = &str> {
    let known = header.trim().split_once(' ').filter(|(scheme, _)| {
        scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("flyv1")
    });
    let tokens = known.into_iter().flat_map(|(_, credentials)| {
        // Pasted tokens sometimes carry a scheme of their own.
        let credentials = credentials.trim();
        credentials.strip_prefix("FlyV1 ").unwrap_or(credentials).split(',')
    });
    tokens.map(str::trim).take(MAX_CREDENTIALS)
}

/// A new token's text, and the digest under which it is known.
///
/// # Errors
/// If the host has no randomness.
pub(crate) fn new_token() -> anyhow::Result<(String, String)> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).context("drawing a token")?;
    let token = format!("vault_emulator_{}", data_encoding::HEXLOWER.encode(&secret));
    let digest = digest(&token);
    Ok((token, digest))
}

/// The SHA-256 of a token's text, in hexadecimal digits.
pub(crate) fn digest(token: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(token.as_bytes()))
}

/// Reads the key of secrets' digests, `digest.key` in the data folder, and makes it if it is missing.
///
/// # Errors
/// A file that cannot be read or written, or that is empty.
pub fn digest_key(directory: &Path) -> anyhow::Result<DigestKey> {
    let text = read_or_make(&directory.join("digest.key"))?;
    Ok(DigestKey::new(Sha256::digest(text.as_bytes()).into()))
}

fn read_or_make(path: &Path) -> anyhow::Result<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let token = text.trim();
            anyhow::ensure!(
                !token.is_empty(),
                "{} is empty; remove it to get a new one",
                path.display()
            );
            Ok(token.to_owned())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let (token, _) = new_token()?;
            write_secret(path, &token).with_context(|| format!("writing {}", path.display()))?;
            Ok(token)
        }
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Written beside and renamed, so that a killed emulator leaves no half of a token.
fn write_secret(path: &Path, token: &str) -> std::io::Result<()> {
    let temporary = path.with_extension("token.new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn tokens_stay_open_their_organizations_and_are_private() {
        let directory = tempfile::tempdir().expect("a folder");
        let orgs = BTreeSet::from(["local".to_owned(), "other".to_owned()]);
        let tokens = Tokens::open(directory.path(), &orgs).expect("opens");
        let again = Tokens::open(directory.path(), &orgs).expect("opens");
        assert_eq!(tokens.operator(), again.operator());
        let mode = std::fs::metadata(directory.path().join("operator.token")).expect("a file");
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);

        let (operator, other) = (tokens.operator(), tokens.of_org("other").expect("a token"));
        let cases = [
            (format!("Bearer {operator}"), Some("operator")),
            (format!("bearer  {operator} "), Some("operator")),
            (format!("FlyV1 fm2_discharge,{other}"), Some("other")),
            (format!("Bearer FlyV1 {operator}"), Some("operator")),
            (format!("Basic {operator}"), None),
            (operator.to_owned(), None),
            ("Bearer ".to_owned(), None),
            ("Bearer wrong".to_owned(), None),
            (format!("Bearer {}", &operator[1..]), None),
        ];
        for (header, wanted) in cases {
            let caller = tokens.caller(&header).map(|caller| caller.token_id.as_str());
            assert_eq!(caller, wanted, "{header}");
        }
        assert_eq!(tokens.caller(&format!("Bearer {other}")).expect("known").orgs.len(), 1);
    }
}
