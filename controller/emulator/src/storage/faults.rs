//! Where calls of storage meet faults: `arrived ─▶ wait, lost, refused ─▶ carried out ─▶ lost, failed`.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use s3s::{S3Error, S3ErrorCode, s3_error};

use super::{Storage, front, iam};
use crate::api::faults::{broken, is_off};
use crate::faults::{Call, Hit, Kind, Reply, Subject};

/// The largest body that is delivered twice, in bytes: it is held in memory meanwhile.
const TWICE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How errors are written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// As S3 does.
    S3,
    /// As IAM does.
    Iam,
}

/// Carries a call out, with the faults that hit it.
pub(super) async fn meet<F>(
    storage: &Storage,
    operations: &[String],
    form: Form,
    request: Request,
    serve: impl Fn(Request) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = Response> + Send + 'static,
{
    let engine = &storage.engine;
    let none = engine.read(|world| Ok(world.faults().is_empty())).unwrap_or(true);
    if none || operations.is_empty() || is_off(request.headers()) {
        return serve(request).await;
    }
    let call =
        Call::of_operations(request.method().as_str(), request.uri().path(), operations.to_vec());
    let subject = Subject::default();
    let arrived = engine.change(|world, now| Ok(world.faults_mut().arrive(now, &call, &subject)));
    let hits = arrived.unwrap_or_default();
    if hits.is_empty() {
        return serve(request).await;
    }
    // At the real thing a call goes on when its caller has left.
    let inside = storage.clone();
    let carried_out =
        storage.faulted.spawn(async move { exchange(inside, hits, form, request, serve).await });
    carried_out.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a call that a fault hit did not end");
        form.write(&Reply { status: 500, error: "Internal Error".to_owned(), code: None })
    })
}

async fn exchange<F: Future<Output = Response> + Send>(
    storage: Storage,
    hits: Vec<Hit>,
    form: Form,
    request: Request,
    serve: impl Fn(Request) -> F + Send,
) -> Response {
    for hit in &hits {
        match &hit.kind {
            Kind::Latency(delay) => storage.engine.pause(*delay).await,
            Kind::LostRequest => return broken(),
            Kind::Fail(reply) => return form.write(reply),
            _ => {}
        }
    }
    let response = if hits.iter().any(|hit| hit.kind == Kind::DeliveredTwice) {
        let (parts, body) = request.into_parts();
        let Ok(body) = to_bytes(body, TWICE_BYTES_MAX).await else {
            return form.write(&Reply {
                status: 400,
                error: format!("a body is delivered twice up to {TWICE_BYTES_MAX} bytes only"),
                code: Some("EntityTooLarge".to_owned()),
            });
        };
        let again = || Request::from_parts(parts.clone(), Body::from(body.clone()));
        drop(serve(again()).await);
        serve(again()).await
    } else {
        serve(request).await
    };
    for hit in &hits {
        match &hit.kind {
            Kind::LostReply => return broken(),
            Kind::ActThenFail(reply) => return form.write(reply),
            _ => {}
        }
    }
    response
}

impl Form {
    fn write(self, reply: &Reply) -> Response {
        let status = StatusCode::from_u16(reply.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let code = reply.code.clone().unwrap_or_else(|| usual_code(self, reply.status).to_owned());
        match self {
            Self::S3 => {
                let code = code.parse().unwrap_or(S3ErrorCode::InternalError);
                let mut error: S3Error = s3_error!(InternalError);
                error.set_code(code);
                error.set_message(reply.error.clone());
                error.set_status_code(status);
                front::refused(error)
            }
            Self::Iam => iam::failed(status, &code, &reply.error),
        }
    }
}

/// The code that goes with a status, if the document names none.
fn usual_code(form: Form, status: u16) -> &'static str {
    match (form, status) {
        (Form::S3, 403) | (Form::Iam, 403) => "AccessDenied",
        (Form::S3, 404) => "NoSuchKey",
        (Form::Iam, 404) => "NoSuchEntity",
        (Form::S3, 409) => "OperationAborted",
        (Form::Iam, 409) => "ConcurrentModification",
        (Form::S3, 429) | (Form::S3, 503) => "SlowDown",
        (Form::Iam, 429) => "Throttling",
        (Form::S3, 500..) => "InternalError",
        (Form::Iam, 500..) => "ServiceFailure",
        (Form::S3, _) => "InvalidRequest",
        (Form::Iam, _) => "ValidationError",
    }
}
