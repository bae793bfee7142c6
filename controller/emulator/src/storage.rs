//! Object storage on a listener of its own: S3 and IAM as Tigris serves them, over the world.
//!
//! ```text
//!            ┌▶ faults? ─▶ iam   POST /      signature ─▶ admin key? ─▶ world
//!  client ───┤
//!            └▶ faults? ─▶ front ─▶ s3s      signature ─▶ access: policies ─▶ s3 ─▶ world, files
//! ```
//!
//! Signatures of S3 are checked by the `s3s` crate, those of IAM by `sigv4`, because `s3s` takes the
//! services `s3` and `sts` only. What `s3s` leaves open is closed in `front` before it. Paths name
//! buckets (path style); virtual-host style is off. The listener speaks plain http in the place of a
//! TLS endpoint, so unsigned payloads are taken as there.
//!
//! Followed of Tigris: keys `tid_…` and `tsec_…`, policies attached to keys in the place of users, the
//! operations of its IAM pages, ARNs `arn:aws:iam::ORG:policy/NAME`, region `auto`. Followed of AWS for
//! want of a source: error codes and texts, the shapes of answers, paging, quotas, that a `UserName` of
//! CreateAccessKey is the key's name and is listed, that deleting a key detaches its policies, and that
//! a key without a policy may do nothing.

mod access;
mod admin;
mod faults;
mod files;
mod front;
mod iam;
mod operation;
mod s3;
mod sigv4;

pub use self::admin::StorageAccess;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use self::access::Gate;
use self::files::Files;
use self::s3::Buckets;
use crate::engine::Engine;

/// The region of everything, as Tigris has it.
pub const REGION: &str = "auto";
/// The largest body in XML, in bytes: ten thousand parts with a checksum each, or a thousand keys.
const XML_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How far a signature's date may be from now, in seconds: AWS's fifteen minutes.
const SKEW_SECONDS_MAX: u32 = 15 * 60;

/// What handlers work with.
#[derive(Clone)]
pub(crate) struct Storage {
    engine: Arc<Engine>,
    s3: S3Service,
    /// Calls that faults hit; they are carried out even if their callers leave.
    faulted: TaskTracker,
}

/// The listener, bound, and who may use it.
pub(crate) struct Opened {
    /// What to serve.
    pub(crate) routes: Router,
    /// Where to serve it.
    pub(crate) listener: TcpListener,
    /// The admin keys, by organization.
    pub(crate) access: BTreeMap<String, StorageAccess>,
}

/// Binds the listener, makes the admin keys that are missing, and writes down where they are used.
///
/// # Errors
/// An address that is in use, a folder that cannot be written.
pub(crate) async fn open(
    engine: &Arc<Engine>,
    faulted: TaskTracker,
    data_dir: &Path,
    listen: SocketAddr,
    orgs: impl IntoIterator<Item = String>,
) -> anyhow::Result<Opened> {
    let files = Files::new(data_dir.join("buckets"))?;
    let known = engine.read(|world| Ok(world.stored_files()))?;
    files.sweep(&known).context("removing what no bucket holds")?;
    let listener = bind(listen, admin::last_address(data_dir)).await?;
    let address = listener.local_addr()?;
    let access = admin::prepare(engine, data_dir, address, orgs)?;
    let mut config = S3Config::default();
    config.xml_max_body_size = XML_BYTES_MAX;
    config.presigned_url_max_skew_time_secs = SKEW_SECONDS_MAX;
    let mut builder = S3ServiceBuilder::new(Buckets::new(Arc::clone(engine), files));
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    builder.set_auth(Gate::new(Arc::clone(engine)));
    builder.set_access(Gate::new(Arc::clone(engine)));
    let storage = Storage { engine: Arc::clone(engine), s3: builder.build(), faulted };
    let routes = Router::new().fallback(answer).with_state(storage);
    Ok(Opened { routes, listener, access })
}

/// Where no port is asked for, the one of the last time is as good as any: machines have it in their
/// secrets.
async fn bind(listen: SocketAddr, last: Option<SocketAddr>) -> anyhow::Result<TcpListener> {
    if let Some(last) = last.filter(|_| listen.port() == 0)
        && let Ok(listener) = TcpListener::bind(SocketAddr::new(listen.ip(), last.port())).await
    {
        return Ok(listener);
    }
    let bound = TcpListener::bind(listen).await;
    bound.with_context(|| format!("listening on {listen} for storage"))
}

async fn answer(State(storage): State<Storage>, request: Request) -> Response {
    if iam::is_meant(&request) {
        iam::answer(storage, request).await
    } else {
        front::answer(storage, request).await
    }
}
