//! The controller's resource API, over HTTP: one method per verb, errors as Kubernetes states them.

mod connect;
mod deletion;
mod discovery;
mod list;
mod operators;
mod patch;
mod tokens;
mod trace;
mod usage;
mod watch;

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use vault_api::context::Context;
use vault_api::object::{GROUP, Status, VERSION};
use vault_api::plan::TenantPlan;

use crate::object::{Object, Reference, Resource};

pub(crate) use discovery::{Diagnosis, MachineDiagnosis, MachineExit};
pub(crate) use list::{CHUNK_SIZE, Listed, Selection, escaped};
pub(crate) use patch::PatchForm;
pub(crate) use watch::{Watch, WatchEvent};

/// The way to a controller is a private network or this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer is a list of ten thousand tenants, or a plan of one.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Ten thousand tenants at 10 kB each, twice over.
const MAX_ANSWER_BYTES: usize = 200 << 20;
/// How much of an answer that is not ours is quoted.
const MAX_QUOTED_CHARS: usize = 200;

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The context's address is no URL of a server.
    #[error("the context's server {server:?} is not an address such as https://HOST:PORT")]
    ServerAddress { server: String },
    /// The context's `certificateAuthority` is no certificate in PEM.
    #[error("the context's certificateAuthority is not a certificate in PEM")]
    CertificateAuthority {
        #[source]
        source: Option<reqwest::Error>,
    },
    /// The context's token has characters that no header may have.
    #[error("the context's token cannot be sent in a header")]
    Token,
    /// No HTTP client could be made.
    #[error("cannot set up the HTTP client")]
    Setup {
        #[source]
        source: reqwest::Error,
    },
    /// No answer came: not there, not trusted, or too slow.
    #[error("cannot reach the controller at {server}")]
    Unreachable {
        server: String,
        #[source]
        source: reqwest::Error,
    },
    /// The answer broke off.
    #[error("the controller's answer broke off")]
    Answer {
        #[source]
        source: reqwest::Error,
    },
    /// The answer is longer than [`MAX_ANSWER_BYTES`].
    #[error("the controller's answer is larger than {MAX_ANSWER_BYTES} bytes")]
    AnswerSize,
    /// A list has more than `limit` objects.
    #[error("the list has more than {limit} objects; select some of them")]
    ListSize { limit: usize },
    /// The controller answers a watch as if it were a list.
    #[error("the controller does not serve watches: it is older than this vaultctl")]
    NoWatch,
    /// The answer is a success, but not of the shape that was asked for.
    #[error("the controller's answer to {request} is not understood")]
    Meaning {
        request: String,
        #[source]
        source: serde_json::Error,
    },
    /// The answer is an error, but not from a controller.
    #[error("HTTP {code} from {server}, which does not look like a controller: {body}")]
    Foreign { server: String, code: u16, body: String },
    /// The controller says no, and why.
    #[error("{}", .0.message)]
    Refused(Box<Status>),
}

impl ClientError {
    /// The HTTP code of the controller's refusal.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Refused(status) => Some(status.code),
            _ => None,
        }
    }

    /// Whether the same request may be answered soon: the controller is not there, broke off, or is
    /// too busy.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Answer { .. } => true,
            Self::Refused(status) => matches!(status.code, 429 | 500..=599),
            Self::Foreign { code, .. } => matches!(code, 502..=504),
            _ => false,
        }
    }
}

/// How a write is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WriteOptions {
    /// Check and answer, but keep nothing.
    pub(crate) dry_run: bool,
    /// Become the owner of a spec that someone else owns.
    pub(crate) take_ownership: bool,
}

/// What became of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// The object is gone.
    Gone,
    /// It goes once its machines are removed.
    Pending,
}

/// A connection to one controller.
pub(crate) struct Client {
    http: reqwest::Client,
    server: Url,
    token: SecretString,
}

/// Chooses the cryptography of all connections of this process.
pub(crate) fn install_cryptography() {
    // Another part of this process may have installed it already; both mean the same provider.
    rustls::crypto::ring::default_provider().install_default().ok();
}

impl Client {
    /// Prepares to talk to a context's controller; sends nothing yet.
    ///
    /// # Errors
    /// The context's address, certificate or token cannot be used.
    pub(crate) fn new(context: &Context) -> Result<Self, ClientError> {
        install_cryptography();
        let server = server_address(&context.server)?;
        if reqwest::header::HeaderValue::from_str(&context.token).is_err() {
            return Err(ClientError::Token);
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("vaultctl/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            // The token goes to the server of the context and nowhere else.
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&server) {
            // A proxy for the internet cannot reach this machine's loopback.
            builder = builder.no_proxy();
        }
        if let Some(pem) = &context.certificate_authority {
            builder = builder.tls_certs_only(certificates(pem)?);
        }
        Ok(Self {
            http: builder.build().map_err(|source| ClientError::Setup { source })?,
            server,
            token: SecretString::from(context.token.clone()),
        })
    }

    /// The controller's address, for people.
    pub(crate) fn server(&self) -> &str {
        self.server.as_str().trim_end_matches('/')
    }

    /// One object.
    pub(crate) async fn read(&self, reference: &Reference) -> Result<Object, ClientError> {
        self.call(Method::GET, self.object(reference), None).await
    }

    /// One object, or `None` if it is not there.
    pub(crate) async fn find(&self, reference: &Reference) -> Result<Option<Object>, ClientError> {
        if reference.resource == Resource::Event {
            // Events lie in namespaces, so a name alone is no address; it can be selected by.
            let selection = Selection::named(&reference.name);
            let listed = self.select(Resource::Event, &selection, CHUNK_SIZE).await?;
            return Ok(listed.items.into_iter().find(|event| event.name() == reference.name));
        }
        match self.read(reference).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.code() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates an object that is not there yet.
    pub(crate) async fn create(
        &self,
        resource: Resource,
        object: &Object,
        options: WriteOptions,
    ) -> Result<Object, ClientError> {
        let url = with_options(self.collection(resource), options);
        self.call(Method::POST, url, Some(&object.0)).await
    }

    /// Replaces an object; its `metadata.resourceVersion` must be the live one.
    pub(crate) async fn replace(
        &self,
        reference: &Reference,
        object: &Object,
        options: WriteOptions,
    ) -> Result<Object, ClientError> {
        let url = with_options(self.object(reference), options);
        self.call(Method::PUT, url, Some(&object.0)).await
    }

    /// Asks for an object's deletion; with `only`, only if it is still as it is there.
    pub(crate) async fn delete(
        &self,
        reference: &Reference,
        only: Option<&Object>,
        dry_run: bool,
    ) -> Result<Deletion, ClientError> {
        let mut body = json!({ "kind": "DeleteOptions", "apiVersion": "v1" });
        if let Some(only) = only {
            body["preconditions"] = json!({
                "uid": only.text("/metadata/uid"),
                "resourceVersion": only.text("/metadata/resourceVersion"),
            });
        }
        if dry_run {
            body["dryRun"] = json!(["All"]);
        }
        let answer: Value = self.call(Method::DELETE, self.object(reference), Some(&body)).await?;
        let object = Object(answer);
        if object.kind() != "Status" && object.is_being_deleted() {
            return Ok(Deletion::Pending);
        }
        Ok(Deletion::Gone)
    }

    /// What the controller would do for a tenant now.
    pub(crate) async fn plan(&self, tenant: &str) -> Result<TenantPlan, ClientError> {
        self.call(Method::GET, self.plan_of(tenant), None).await
    }

    /// What the controller would do for a tenant if `documents` were applied.
    pub(crate) async fn plan_with(
        &self,
        tenant: &str,
        documents: &[Object],
    ) -> Result<TenantPlan, ClientError> {
        let body = json!({ "apiVersion": "v1", "kind": "List", "items": documents });
        self.call(Method::POST, self.plan_of(tenant), Some(&body)).await
    }

    /// What happened: to one object, or to all of them and the controller itself.
    pub(crate) async fn events(&self, of: Option<&Reference>) -> Result<Listed, ClientError> {
        self.select(Resource::Event, &events_of(of), CHUNK_SIZE).await
    }

    /// What the controller says about its version, in the shape of Kubernetes' `/version`.
    pub(crate) async fn version(&self) -> Result<Value, ClientError> {
        self.call(Method::GET, self.url(&["version"]), None).await
    }

    fn collection(&self, resource: Resource) -> Url {
        match resource {
            Resource::Event => self.url(&["api", "v1", resource.plural()]),
            _ => self.url(&["apis", GROUP, VERSION, resource.plural()]),
        }
    }

    fn object(&self, reference: &Reference) -> Url {
        let plural = reference.resource.plural();
        self.url(&["apis", GROUP, VERSION, plural, &reference.name])
    }

    fn plan_of(&self, tenant: &str) -> Url {
        let plural = Resource::Tenant.plural();
        self.url(&["apis", GROUP, VERSION, plural, tenant, "plan"])
    }

    /// The address of a path; each segment is escaped.
    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.server.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        body: Option<&Value>,
    ) -> Result<T, ClientError> {
        let request = format!("{method} {}", url.path());
        let mut builder = self.request(method, url);
        if let Some(body) = body {
            builder = builder.json(body);
        }
        self.answer(request, builder).await
    }

    /// A request with what every request has.
    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.http
            .request(method, url)
            .header(reqwest::header::ACCEPT, "application/json")
            .bearer_auth(self.token.expose_secret())
    }

    async fn send(&self, builder: RequestBuilder) -> Result<Response, ClientError> {
        builder.send().await.map_err(|source| ClientError::Unreachable {
            server: self.server().to_owned(),
            source: source.without_url(),
        })
    }

    /// Sends, and reads the whole answer; `request` names it in an error.
    async fn answer<T: DeserializeOwned>(
        &self,
        request: String,
        builder: RequestBuilder,
    ) -> Result<T, ClientError> {
        let answer = self.send(builder).await?;
        let code = answer.status();
        let bytes = bounded_body(answer).await?;
        if code.is_success() {
            return serde_json::from_slice(&bytes)
                .map_err(|source| ClientError::Meaning { request, source });
        }
        Err(refusal(self.server(), code.as_u16(), &bytes))
    }
}

/// The controller's Status, with the code of the answer itself; else what was answered instead.
fn refusal(server: &str, code: u16, bytes: &[u8]) -> ClientError {
    match serde_json::from_slice::<Status>(bytes) {
        Ok(mut status) if status.kind == "Status" => {
            status.code = code;
            if status.message.is_empty() {
                status.message = format!("the controller answered HTTP {code}");
            }
            ClientError::Refused(Box::new(status))
        }
        _ => ClientError::Foreign {
            server: server.to_owned(),
            code,
            body: String::from_utf8_lossy(bytes)
                .chars()
                .map(|letter| if letter.is_control() { ' ' } else { letter })
                .take(MAX_QUOTED_CHARS)
                .collect(),
        },
    }
}

async fn bounded_body(mut answer: reqwest::Response) -> Result<Vec<u8>, ClientError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|source| ClientError::Answer { source })? {
        if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(ClientError::AnswerSize);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn server_address(server: &str) -> Result<Url, ClientError> {
    Url::parse(server)
        .ok()
        .filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host())
        .ok_or_else(|| ClientError::ServerAddress { server: server.to_owned() })
}

fn is_loopback(server: &Url) -> bool {
    let host = server.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// At least one certificate, so that a broken entry never means "trust nobody, and say nothing".
fn certificates(pem: &str) -> Result<Vec<reqwest::Certificate>, ClientError> {
    match reqwest::Certificate::from_pem_bundle(pem.as_bytes()) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(ClientError::CertificateAuthority { source: None }),
        Err(source) => Err(ClientError::CertificateAuthority { source: Some(source) }),
    }
}

/// Selects the events of one object, or all of them.
pub(crate) fn events_of(of: Option<&Reference>) -> Selection {
    let fields = of.map(|reference| {
        let (kind, name) = (reference.resource.kind(), escaped(&reference.name));
        format!("involvedObject.kind={kind},involvedObject.name={name}")
    });
    Selection { labels: None, fields }
}

/// A field that the controller does not know is an error here, never dropped.
fn with_options(mut url: Url, options: WriteOptions) -> Url {
    url.query_pairs_mut().append_pair("fieldValidation", "Strict");
    if options.dry_run {
        url.query_pairs_mut().append_pair("dryRun", "All");
    }
    if options.take_ownership {
        url.query_pairs_mut().append_pair("takeOwnership", "true");
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(server: &str) -> Result<Client, ClientError> {
        Client::new(&Context {
            name: "test".into(),
            server: server.into(),
            certificate_authority: None,
            token: "token".into(),
        })
    }

    #[test]
    fn a_name_is_one_segment_of_the_path_whatever_it_holds() {
        let client = client("http://127.0.0.1:8844").unwrap();
        let reference = Reference { resource: Resource::Tenant, name: "a/b?c".into() };
        assert_eq!(
            client.object(&reference).as_str(),
            "http://127.0.0.1:8844/apis/vaultctl.dev/v1/tenants/a%2Fb%3Fc"
        );
    }

    #[test]
    fn a_name_is_one_value_of_a_field_selector_whatever_it_holds() {
        let reference = Reference { resource: Resource::Tenant, name: r"a,b=c\d".into() };
        assert_eq!(
            events_of(Some(&reference)).fields.as_deref(),
            Some(r"involvedObject.kind=Tenant,involvedObject.name=a\,b\=c\\d")
        );
        assert_eq!(events_of(None), Selection::default());
    }

    #[test]
    fn a_server_may_lie_beneath_a_path() {
        let client = client("http://127.0.0.1:8844/vault/").unwrap();
        let options = WriteOptions { dry_run: true, take_ownership: true };
        assert_eq!(
            with_options(client.collection(Resource::TenantClass), options).as_str(),
            "http://127.0.0.1:8844/vault/apis/vaultctl.dev/v1/tenantclasses?fieldValidation=Strict&dryRun=All&takeOwnership=true"
        );
    }

    #[test]
    fn what_is_no_address_or_certificate_is_refused() {
        for server in ["", "127.0.0.1:8844", "ftp://example.com", "https://"] {
            assert!(matches!(client(server), Err(ClientError::ServerAddress { .. })), "{server}");
        }
        assert!(certificates("").is_err());
        assert!(certificates("no certificate").is_err());
    }

    #[test]
    fn loopback_is_known_in_all_its_forms() {
        for (server, loopback) in [
            ("https://127.0.0.1:1", true),
            ("https://[::1]:1", true),
            ("https://localhost", true),
            ("https://10.0.0.1", false),
            ("https://localhost.example.com", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(server).unwrap()), loopback, "{server}");
        }
    }

    #[test]
    fn an_error_that_is_not_from_a_controller_is_quoted_safely() {
        let error = refusal("http://s", 502, b"<h1>Bad\x1b[31m gateway</h1>");
        assert_eq!(
            error.to_string(),
            "HTTP 502 from http://s, which does not look like a controller: <h1>Bad [31m gateway</h1>"
        );
    }
}
