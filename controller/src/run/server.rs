//! The HTTP server: TLS or not, and what one connection may cost before it has shown a token.
//!
//! ```text
//!   connection ─▶ room? ─▶ TLS handshake (10 s) ─▶ head of a request (HEAD_TIMEOUT) ─▶ router
//! ```

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::TokioTimer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::ControllerError;

/// How many connections may be open at once: clients are some people and some programs, and each
/// connection takes tens of kilobytes.
const CONNECTIONS_MAX: usize = 1_024;
/// How long the head of a request may take. It also ends connections on which nothing is asked.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How many bytes the head of a request may have; a token and a path take a few hundred.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long requests that are being answered may take when the controller ends.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// Serves until `stop`, and then until the answers that are being made are sent.
///
/// # Errors
/// If the listener cannot be used.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    router: Router,
    stop: CancellationToken,
) -> Result<(), ControllerError> {
    serve_within(HEAD_TIMEOUT, listener, tls, router, stop).await
}

async fn serve_within(
    head_timeout: Duration,
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    router: Router,
    stop: CancellationToken,
) -> Result<(), ControllerError> {
    let handle = Handle::new();
    let mut server =
        axum_server::from_tcp(listener).map_err(ControllerError::Serve)?.handle(handle.clone());
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(HEAD_BYTES_MAX);
    let room = Room(Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    // The audit log names the address that a request came from.
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let serving = async move {
        // HTTP/1 alone, as the TLS side offers: whoever might speak either is waited for without a
        // limit before it has said which, and an HTTP/2 connection that asks nothing is never ended.
        // It is said last: another acceptor would forget it.
        match tls {
            Some(config) => {
                let tls = RustlsAcceptor::new(RustlsConfig::from_config(config)).acceptor(room);
                server.acceptor(tls).http1_only().serve(service).await
            }
            None => server.acceptor(room).http1_only().serve(service).await,
        }
    };
    tokio::pin!(serving);
    // Both arms are cancel-safe: the server goes on below.
    let served = tokio::select! {
        served = &mut serving => served,
        () = stop.cancelled() => {
            handle.graceful_shutdown(Some(SHUTDOWN_GRACE));
            serving.await
        }
    };
    served.map_err(ControllerError::Serve)
}

/// Turns connections away when there are too many.
#[derive(Clone)]
struct Room(Arc<Semaphore>);

impl<I: Send + 'static, S: Send + 'static> Accept<I, S> for Room {
    type Stream = I;
    type Service = Seated<S>;
    type Future = std::future::Ready<io::Result<(I, Seated<S>)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let seated = match Arc::clone(&self.0).try_acquire_owned() {
            Ok(seat) => Ok((stream, Seated { service, _seat: Arc::new(seat) })),
            Err(error) => Err(io::Error::other(error)),
        };
        std::future::ready(seated)
    }
}

/// A connection's service; its seat is free again when the connection has ended.
#[derive(Clone)]
struct Seated<S> {
    service: S,
    _seat: Arc<OwnedSemaphorePermit>,
}

impl<S, R> Service<R> for Seated<S>
where
    S: Service<R, Error = Infallible>,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.service.call(request)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn who_connects_and_says_nothing_is_sent_away() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving =
            serve_within(Duration::from_millis(100), listener, None, Router::new(), stop.clone());
        let silent = async {
            for beginning in ["", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
                let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
                tokio::io::AsyncWriteExt::write_all(&mut stream, beginning.as_bytes())
                    .await
                    .unwrap();
                let patience = Duration::from_secs(10);
                let ended =
                    tokio::time::timeout(patience, stream.read_to_end(&mut Vec::new())).await;
                assert!(ended.is_ok(), "{beginning:?} holds its seat");
            }
            stop.cancel();
        };
        let (served, ()) = tokio::join!(serving, silent);
        served.unwrap();
    }

    #[test]
    fn a_seat_is_taken_until_the_last_clone_of_the_service_goes() {
        let room = Room(Arc::new(Semaphore::new(1)));
        let accept = || room.accept((), ()).into_inner();
        let (_, first) = accept().unwrap();
        let clone = first.clone();
        assert!(accept().is_err());
        drop(first);
        assert!(accept().is_err());
        drop(clone);
        assert!(accept().is_ok());
    }
}
