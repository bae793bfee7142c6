//! One request, one answer: the only place that knows the HTTP library.

mod answer;
mod base;
mod request;
mod sign;

use std::time::Duration;

use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, ClientBuilder, RequestBuilder, Response, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;

pub(crate) use request::Request;
pub(crate) use sign::Signer;

use crate::authorization::{TokenError, authorization};
use crate::error::{
    Answer, BoxError, CallError, NotSent, NotSentReason, RequestLine, Unknown, UnknownCause,
};
use crate::operation::Operation;
use crate::text::printable;
use crate::xml;

/// How much of an answer that is no success is read, in bytes; its sentence stands at the front.
const FAILURE_CAP: usize = 64 << 10;

/// The longest time for name, connection and TLS together. Well below the whole request's, so that
/// a host that does not answer is known as "not sent" and not as "unknown".
const CONNECT_TIMEOUT_CAP: Duration = Duration::from_secs(10);

/// How long an unused connection is kept. Shorter than the minute after which servers commonly close
/// theirs: a write that meets a closing connection has an unknown outcome.
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address of the platform or of its storage is not `http://HOST[:PORT]` or
    /// `https://HOST[:PORT]`.
    #[error("{url:?} is no address of the platform: {reason}")]
    BaseUrl {
        /// Its scheme, host and port, as far as it has them.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The token cannot be used.
    #[error("the platform's token cannot be used")]
    Token(#[source] TokenError),
    /// The name of this program cannot stand in a header.
    #[error("{0:?} cannot be the name of a program in an HTTP header")]
    UserAgent(String),
    /// The process has not chosen its cryptography.
    #[error(
        "no provider of cryptography is installed for TLS: the program installs one when it starts"
    )]
    NoCryptoProvider,
    /// The HTTP library could not be set up; with an `https` address, perhaps because this system
    /// has no root certificates.
    #[error("the HTTP client could not be set up")]
    Setup(#[source] BoxError),
}

/// How much is kept of the reason why an answer cannot be read, in bytes: it may quote the answer.
const REASON_CAP: usize = 256;

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Success {
    pub(crate) request: RequestLine,
    pub(crate) status: StatusCode,
    pub(crate) fly_request_id: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// The platform's address, and the right to call it.
pub(crate) struct Http {
    client: Client,
    base: Url,
    timeout: Duration,
    /// Who signs each request, where no token goes with all of them.
    signer: Option<Signer>,
}

impl Http {
    /// # Errors
    /// [`ClientError`], see there.
    pub(crate) fn new(
        base_url: &str,
        token: &SecretString,
        user_agent: &str,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        let base = base::parse(base_url)?;
        if base::is_exposed(&base) {
            tracing::warn!(
                platform = base.as_str(),
                "the token goes in clear over a network that is not private: use https"
            );
        }
        let header = authorization(token).map_err(ClientError::Token)?;
        let mut header = HeaderValue::from_str(header.expose_secret())
            .map_err(|_| ClientError::Token(TokenError::Character))?;
        header.set_sensitive(true);
        let headers = HeaderMap::from_iter([(AUTHORIZATION, header)]);
        Self::made(base, headers, None, user_agent, timeout)
    }

    /// With a signature on each request in the place of a token. What is signed is no secret, but
    /// answers may be: so without TLS only within this machine.
    ///
    /// # Errors
    /// [`ClientError`], see there.
    pub(crate) fn signed(
        base_url: &str,
        signer: Signer,
        user_agent: &str,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        let base = base::parse(base_url)?;
        base::check_is_closed(&base)?;
        Self::made(base, HeaderMap::new(), Some(signer), user_agent, timeout)
    }

    fn made(
        base: Url,
        headers: HeaderMap,
        signer: Option<Signer>,
        user_agent: &str,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        let user_agent = HeaderValue::from_str(user_agent)
            .map_err(|_| ClientError::UserAgent(user_agent.to_owned()))?;
        // The library panics without one.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(ClientError::NoCryptoProvider);
        }
        let builder = Client::builder()
            .default_headers(headers)
            .user_agent(user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT_CAP.min(timeout / 2))
            .pool_idle_timeout(IDLE_CONNECTION_TIMEOUT);
        let client = for_scheme(builder, base.scheme())
            .build()
            .map_err(|error| ClientError::Setup(error.into()))?;
        Ok(Self { client, base, timeout, signer })
    }

    /// Method and path of a request, for messages.
    pub(crate) fn request_line(&self, request: &Request) -> RequestLine {
        RequestLine {
            method: request.operation.method(),
            path: self.url(request).path().to_owned(),
        }
    }

    /// Sends a request once and reads its answer. Follows nothing, repeats nothing.
    pub(crate) async fn send(&self, request: &Request) -> Result<Success, CallError> {
        let url = self.url(request);
        let line = RequestLine { method: request.operation.method(), path: url.path().to_owned() };
        if let Some(segment) = request.segments.iter().find(|segment| !is_sound(segment)) {
            let reason = NotSentReason::Segment(segment.clone());
            return Err(CallError::NotSent(NotSent { request: line, reason }));
        }
        let mut builder = self
            .client
            .request(request.operation.method(), url)
            .timeout(self.timeout + request.held_back);
        if let Some((name, value)) = &request.header {
            builder = builder.header(*name, value);
        }
        if let Some(body) = &request.body {
            builder = builder.header(CONTENT_TYPE, body.content_type).body(body.bytes.clone());
            for (name, value) in &body.headers {
                builder = builder.header(*name, value);
            }
        }
        let result = match self.execute(builder, request).await {
            Ok(Ok(response)) => receive(line, response, request).await,
            Ok(Err(error)) => Err(no_answer(line, error)),
            Err(error) => {
                let reason = NotSentReason::Build(error);
                Err(CallError::NotSent(NotSent { request: line, reason }))
            }
        };
        log(request.operation, &result);
        result
    }

    /// The outer error: nothing was sent, for want of a signature.
    async fn execute(
        &self,
        builder: RequestBuilder,
        request: &Request,
    ) -> Result<Result<Response, reqwest::Error>, BoxError> {
        let mut built = match builder.build() {
            Ok(built) => built,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(signer) = &self.signer {
            let body = request.body.as_ref().map_or(&[][..], |body| &body.bytes);
            signer.sign(&mut built, body)?;
        }
        Ok(self.client.execute(built).await)
    }

    fn url(&self, request: &Request) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(request.operation.root()).extend(&request.segments);
        }
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        url
    }
}

/// A client for `http` needs no root certificates, and a system without them must not stop it; nor
/// does a proxy named in the environment make sense within a private network or one machine.
fn for_scheme(builder: ClientBuilder, scheme: &str) -> ClientBuilder {
    if scheme == "http" {
        builder.no_proxy().tls_certs_only(std::iter::empty::<Certificate>())
    } else {
        builder
    }
}

/// An empty segment, `.` and `..` would vanish from the path and address something else.
fn is_sound(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..")
}

/// Reads the answer that has begun.
async fn receive(
    line: RequestLine,
    response: Response,
    request: &Request,
) -> Result<Success, CallError> {
    let status = response.status();
    let headers = response.headers().clone();
    if !status.is_success() {
        let mut body = read_front(response).await;
        if let Some(secret) = &request.confidential {
            body = without(secret, &body);
        }
        return Err(answer::classify(line, answer::read(status, &headers, &body)));
    }
    match read_whole(response, request.cap).await {
        Ok(body) => {
            let fly_request_id = answer::fly_request_id(&headers);
            Ok(Success { request: line, status, fly_request_id, body })
        }
        Err(cause) => {
            let answer = Some(Box::new(answer::read(status, &headers, &[])));
            Err(CallError::Unknown(Unknown { request: line, answer, cause }))
        }
    }
}

/// A failure's body, in which the platform may quote what it was sent: it ends in logs and events.
fn without(secret: &SecretString, body: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(body).replace(secret.expose_secret(), "[secret]").into_bytes()
}

async fn read_whole(mut response: Response, cap: usize) -> Result<Vec<u8>, UnknownCause> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > cap {
            return Err(UnknownCause::TooLong { cap });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// As much as comes, up to the cap: the status alone decides, the body only explains.
async fn read_front(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() >= FAILURE_CAP {
            body.truncate(FAILURE_CAP);
            break;
        }
    }
    body
}

fn no_answer(request: RequestLine, error: reqwest::Error) -> CallError {
    let not_sent = |reason| CallError::NotSent(NotSent { request: request.clone(), reason });
    if error.is_builder() {
        not_sent(NotSentReason::Build(error.without_url().into()))
    } else if error.is_connect() {
        not_sent(NotSentReason::Connect(error.without_url().into()))
    } else {
        CallError::Unknown(Unknown { request, answer: None, cause: broken(error) })
    }
}

fn broken(error: reqwest::Error) -> UnknownCause {
    let error = error.without_url();
    if error.is_timeout() {
        UnknownCause::Timeout(error.into())
    } else {
        UnknownCause::Broken(error.into())
    }
}

fn log(operation: Operation, result: &Result<Success, CallError>) {
    match result {
        Ok(success) => tracing::debug!(
            operation = operation.name(),
            request = %success.request,
            status = success.status.as_u16(),
            fly_request_id = success.fly_request_id,
            bytes = success.body.len(),
            "the platform answered"
        ),
        Err(error) => tracing::debug!(
            operation = operation.name(),
            request = %error.request(),
            status = error.status().map(|status| status.as_u16()),
            fly_request_id = error.fly_request_id(),
            error = %Chain(error),
            "a call failed"
        ),
    }
}

/// An error and its sources on one line.
struct Chain<'a>(&'a CallError);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut source = std::error::Error::source(self.0);
        while let Some(error) = source {
            write!(formatter, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl Success {
    /// The body as JSON.
    ///
    /// # Errors
    /// Unknown: the platform did act, but nobody can say with what result.
    pub(crate) fn decode<T>(
        self,
        decode: impl FnOnce(&[u8]) -> Result<T, serde_json::Error>,
    ) -> Result<T, CallError> {
        decode(&self.body).map_err(|error| self.undecodable(&error))
    }

    /// The body as XML whose root element has this name.
    ///
    /// # Errors
    /// Unknown, without a word of the body: it may hold a secret.
    pub(crate) fn decode_xml<T: DeserializeOwned>(self, root: &str) -> Result<T, CallError> {
        match xml::read(&self.body, root) {
            Ok(read) => Ok(read),
            Err(problem) => Err(self.unknown(UnknownCause::Undecodable(problem.to_string()))),
        }
    }

    /// A success whose body cannot be read.
    pub(crate) fn undecodable(self, error: &serde_json::Error) -> CallError {
        self.unknown(UnknownCause::Undecodable(printable(&error.to_string(), REASON_CAP)))
    }

    /// A success that is none after all.
    pub(crate) fn unknown(self, cause: UnknownCause) -> CallError {
        let answer = Answer {
            status: self.status,
            fly_request_id: self.fly_request_id,
            message: String::new(),
            code: None,
            retry_after: None,
        };
        CallError::Unknown(Unknown { request: self.request, answer: Some(Box::new(answer)), cause })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_cryptography_there_is_an_error_and_no_panic() {
        let made = Http::new("http://127.0.0.1:1", &"t".into(), "test", Duration::from_secs(1));
        assert!(matches!(made.err(), Some(ClientError::NoCryptoProvider)));
    }
}
