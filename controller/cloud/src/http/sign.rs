//! Signatures of AWS's version 4, which storage takes in the place of a token.

use std::fmt;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use http::{HeaderName, HeaderValue};
use secrecy::ExposeSecret;

use crate::error::BoxError;
use crate::storage::{StorageAccess, WallClock};

/// Signs requests to one service with one key.
pub(crate) struct Signer {
    credentials: Credentials,
    region: String,
    service: &'static str,
    clock: WallClock,
}

impl Signer {
    /// For `s3` or `iam`.
    pub(crate) fn new(access: &StorageAccess, service: &'static str, clock: WallClock) -> Self {
        let secret = access.secret_access_key.expose_secret();
        let credentials =
            Credentials::new(&access.access_key_id, secret, None, None, "vault-cloud");
        Self { credentials, region: access.region.clone(), service, clock }
    }

    /// Adds the signature to a request whose body is this one.
    ///
    /// # Errors
    /// If something in it cannot be signed; nothing was sent then.
    pub(super) fn sign(&self, request: &mut reqwest::Request, body: &[u8]) -> Result<(), BoxError> {
        let mut settings = SigningSettings::default();
        // As S3 wants it: paths as they are sent, and the hash of the body in a header.
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let identity = self.credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service)
            .time((self.clock)().into())
            .settings(settings)
            .build()?
            .into();
        let mut headers = Vec::new();
        for (name, value) in request.headers() {
            headers.push((name.as_str(), value.to_str()?));
        }
        let signable = SignableRequest::new(
            request.method().as_str(),
            request.url().as_str(),
            headers.into_iter(),
            SignableBody::Bytes(body),
        )?;
        let (instructions, _) = sign(signable, &parameters)?.into_parts();
        for (name, value) in instructions.headers() {
            let name = HeaderName::from_bytes(name.as_bytes())?;
            let mut value = HeaderValue::from_str(value)?;
            value.set_sensitive(name == http::header::AUTHORIZATION);
            request.headers_mut().insert(name, value);
        }
        Ok(())
    }
}

/// Without the secret.
impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Signer")
            .field("region", &self.region)
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}
