//! The audit log to whoever asks for it.
//!
//! ```text
//!   stream ── AuditLogRequest ──▶ AuditLog: how many bytes ──▶ the lines ──▶ the end
//! ```

use std::io::{self, Read};

use bytes::Bytes;
use quinn::SendStream;
use tokio::task::spawn_blocking;
use vault_protocol::audit::Event;
use vault_protocol::code::StreamCode;
use vault_protocol::frame::PAYLOAD_BYTES_MAX;
use vault_protocol::message::{AuditLog, AuditLogRequest};

use super::{Context, deliver, delivered};
use crate::audit::Kept;
use crate::framed;
use crate::limits::READ_BYTES;

/// Sends what is kept, as far as it goes now.
pub(crate) async fn run(context: Context, request: AuditLogRequest, mut sender: SendStream) {
    let audit = &context.shared.audit;
    audit.record(Event::LogRead { source: context.who() });
    let kept = match audit.read(request.from).await {
        Ok(kept) => kept,
        Err(message) => {
            return deliver(&mut sender, AuditLog { bytes: 0, message: Some(message) }.into())
                .await;
        }
    };
    let bytes = kept.iter().map(|kept| kept.bytes).sum();
    let header = AuditLog { bytes, message: None }.into();
    if framed::send(&mut sender, &header, PAYLOAD_BYTES_MAX).await.is_err() {
        return;
    }
    for kept in kept {
        match copy(kept, &mut sender).await {
            Ok(()) => {}
            Err(Stopped::ByClient) => return,
            Err(Stopped::ByDisk(error)) => {
                tracing::error!(%error, "the audit log cannot be read");
                // The client may have left meanwhile.
                drop(sender.reset(StreamCode::Failed.number().into()));
                return;
            }
        }
    }
    if sender.finish().is_ok() {
        delivered(&sender).await;
    }
}

/// Why not all was sent.
enum Stopped {
    ByClient,
    ByDisk(io::Error),
}

/// A file may have grown since it was counted; of that nothing is sent.
async fn copy(kept: Kept, sender: &mut SendStream) -> Result<(), Stopped> {
    let mut rest = kept.file.take(kept.bytes);
    loop {
        let read = spawn_blocking(move || {
            let mut bytes = Vec::new();
            let read = rest.by_ref().take(READ_BYTES as u64).read_to_end(&mut bytes);
            read.map(|_| (rest, bytes))
        });
        let read = read.await.map_err(|error| Stopped::ByDisk(error.into()))?;
        let (remaining, bytes) = read.map_err(Stopped::ByDisk)?;
        if bytes.is_empty() {
            // Fewer bytes than were promised show at the other end.
            return Ok(());
        }
        sender.write_chunk(Bytes::from(bytes)).await.map_err(|_| Stopped::ByClient)?;
        rest = remaining;
    }
}
