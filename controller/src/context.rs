//! What others need to reach us: certificates, the context file and the kubeconfig.
//!
//! ```text
//!   DIR/tls/ca.key, ca.pem   made once; clients trust it through the files below
//!   (in memory)              the server's certificate: new at each start, signed by the CA
//!   DIR/config.yaml          for vaultctl
//!   DIR/kubeconfig           for kubectl and every other Kubernetes client
//! ```

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::BASE64;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use vault_api::context::{Context, ContextFile};
use vault_api::object::API_VERSION;
use zeroize::Zeroizing;

use crate::identity::write_private;

/// Why there is no certificate.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file could not be read or written.
    #[error("could not use {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A certificate could not be made.
    #[error("could not make a certificate")]
    Make(#[from] rcgen::Error),
    /// A file holds no certificate or key.
    #[error("{path} holds no certificate or key in PEM form")]
    Pem {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not go together.
    #[error("the certificate and its key cannot be used")]
    Unusable(#[from] rustls::Error),
}

/// How the API is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// With a certificate of our own making.
    Own,
    /// With given files, in PEM form.
    Given {
        /// The certificate and its chain.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// Without: only behind a proxy that speaks TLS.
    Off,
}

/// How to serve, and what clients have to trust.
pub struct Serving {
    /// `None` with TLS off.
    pub config: Option<Arc<ServerConfig>>,
    /// The authority that clients have to trust, as PEM text; `None` if the system's will do.
    pub authority: Option<String>,
}

/// Prepares TLS for a server at `address`.
///
/// # Errors
/// If files cannot be read or written, or do not hold what they should.
pub fn serving(tls: &Tls, data_dir: &Path, address: SocketAddr) -> Result<Serving, TlsError> {
    match tls {
        Tls::Off => Ok(Serving { config: None, authority: None }),
        Tls::Given { certificate, key } => {
            let chain = CertificateDer::pem_file_iter(certificate)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|source| TlsError::Pem { path: certificate.clone(), source })?;
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|source| TlsError::Pem { path: key.clone(), source })?;
            Ok(Serving { config: Some(server_config(chain, key)?), authority: None })
        }
        Tls::Own => {
            let authority = Authority::load_or_create(&data_dir.join("tls"))?;
            let (certificate, key) = authority.issue(address)?;
            Ok(Serving {
                config: Some(server_config(vec![certificate], key)?),
                authority: Some(authority.pem),
            })
        }
    }
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The certificate authority of one controller.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn load_or_create(folder: &Path) -> Result<Self, TlsError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| TlsError::File { path, source }
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        let (key_path, pem_path) = (folder.join("ca.key"), folder.join("ca.pem"));
        let (key, is_new) = match fs::read_to_string(&key_path) {
            Ok(text) => (KeyPair::from_pem(&Zeroizing::new(text))?, false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = KeyPair::generate()?;
                let pem = Zeroizing::new(key.serialize_pem());
                write_private(&key_path, pem.as_bytes()).map_err(failed(&key_path))?;
                (key, true)
            }
            Err(error) => return Err(failed(&key_path)(error)),
        };
        let params = Self::params();
        let pem = match fs::read_to_string(&pem_path) {
            // The certificate of a lost key says nothing about the new one.
            Ok(pem) if !is_new => pem,
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(&pem_path)(error));
            }
            Ok(_) | Err(_) => {
                let pem = params.self_signed(&key)?.pem();
                write_private(&pem_path, pem.as_bytes()).map_err(failed(&pem_path))?;
                pem
            }
        };
        Ok(Self { pem, issuer: Issuer::new(params, key) })
    }

    fn params() -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "vaultctl controller");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
    }

    /// A certificate for every name under which a server at `address` is reached from here.
    fn issue(
        &self,
        address: SocketAddr,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), TlsError> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, "vaultctl");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let mut addresses = vec![IpAddr::from([127, 0, 0, 1]), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        if !addresses.contains(&address.ip()) && !address.ip().is_unspecified() {
            addresses.push(address.ip());
        }
        params.subject_alt_names.extend(addresses.into_iter().map(SanType::IpAddress));
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::try_from(key.serialize_der())
            .map_err(|text| rustls::Error::General(text.to_owned()))?;
        Ok((certificate.der().clone(), key))
    }
}

/// The address under which clients on this machine reach a server at `address`.
#[must_use]
pub fn url(address: SocketAddr, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    let host = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        ip => ip,
    };
    format!("{scheme}://{}", SocketAddr::new(host, address.port()))
}

/// Writes `config.yaml` and `kubeconfig`, readable by their owner only: both hold the operator
/// token.
///
/// # Errors
/// If they cannot be written.
pub fn write_clients(
    data_dir: &Path,
    server: &str,
    authority: Option<&str>,
    token: &SecretString,
) -> io::Result<()> {
    let context = Context {
        name: "local".to_owned(),
        server: server.to_owned(),
        certificate_authority: authority.map(str::to_owned),
        token: token.expose_secret().to_owned(),
    };
    let file = ContextFile {
        api_version: API_VERSION.to_owned(),
        kind: "Config".to_owned(),
        current_context: context.name.clone(),
        contexts: vec![context],
    };
    let yaml = serde_saphyr::to_string(&file).map_err(io::Error::other)?;
    write_private(&data_dir.join("kubeconfig"), kubeconfig(server, authority, token)?.as_bytes())?;
    write_private(&data_dir.join("config.yaml"), yaml.as_bytes())
}

fn kubeconfig(server: &str, authority: Option<&str>, token: &SecretString) -> io::Result<String> {
    let mut cluster = serde_json::json!({ "server": server });
    if let Some(authority) = authority {
        cluster["certificate-authority-data"] = BASE64.encode(authority.as_bytes()).into();
    }
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "vaultctl",
        "clusters": [{ "name": "vaultctl", "cluster": cluster }],
        "users": [{ "name": "operator", "user": { "token": token.expose_secret() } }],
        "contexts": [{ "name": "vaultctl", "context": { "cluster": "vaultctl", "user": "operator" } }],
    });
    serde_saphyr::to_string(&config).map_err(io::Error::other)
}
