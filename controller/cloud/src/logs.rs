//! What machines printed: the platform's log API, which stands on a host of its own.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::error::CallError;
use crate::http::{ClientError, Request};
use crate::machines::{Caller, ClientConfig, Page};
use crate::operation::Operation;
use crate::text::printable;

/// Rows that the platform gives at once; fewer are the end of the log.
const PAGE_ROWS: usize = 100;
/// Pages read of one log. At one call a second after a burst of three, more would take longer than
/// a person waits; the log is then told to be longer.
const PAGES_MAX: usize = 5;
/// How much is kept of one line, in bytes: it is written by whoever runs inside the machine.
const LINE_BYTES_MAX: usize = 2_048;

/// Reads logs. Clones share connections and rate limits.
#[derive(Clone)]
pub struct LogsClient {
    caller: Arc<Caller>,
}

/// The last lines of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Oldest first.
    pub lines: Vec<LogLine>,
    /// The log goes on after them: it is longer than is read at once.
    pub is_longer: bool,
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was printed, if that is told.
    pub at: Option<Timestamp>,
    /// At most 2,048 bytes, without control characters: safe to show on a terminal.
    pub message: String,
}

impl LogsClient {
    /// A client for the log API at `config.base_url`, such as `https://api.fly.io`. Makes no call.
    ///
    /// # Errors
    /// [`ClientError`], see there.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        Ok(Self { caller: Arc::new(Caller::new(config)?) })
    }

    /// The last `count` lines that a machine printed.
    ///
    /// # Errors
    /// [`CallError`], also if only one page could not be read.
    pub async fn tail(
        &self,
        app: &str,
        machine: &str,
        region: &str,
        count: usize,
    ) -> Result<Tail, CallError> {
        let mut lines = VecDeque::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut request = Request::new(Operation::ReadLogs, &["apps", app, "logs"], app)
                .query("instance", machine)
                .query("region", region);
            if let Some(token) = &token {
                request = request.query("next_token", token);
            }
            let success = self.caller.call(&request).await?;
            let page: Page<Row> = success.decode(|body| Page::of_member("data", body))?;
            let rows = page.rows.len() + page.undecodable.len();
            // Some proxies and old versions pass over the filter.
            let own =
                page.rows.into_iter().map(|row| row.attributes).filter(|line| {
                    line.instance.as_deref().is_none_or(|instance| instance == machine)
                });
            lines.extend(own.map(Line::into_line));
            lines.drain(..lines.len().saturating_sub(count));
            let next = page.rest.get("meta").and_then(|meta| meta.get("next_token"));
            let next = next.and_then(Value::as_str).filter(|next| !next.is_empty());
            let is_new = next.is_some() && next != token.as_deref();
            if rows < PAGE_ROWS || !is_new {
                return Ok(Tail { lines: lines.into(), is_longer: false });
            }
            token = next.map(str::to_owned);
        }
        Ok(Tail { lines: lines.into(), is_longer: true })
    }
}

#[derive(Deserialize)]
struct Row {
    attributes: Line,
}

#[derive(Deserialize)]
struct Line {
    timestamp: Option<Value>,
    #[serde(default)]
    message: Option<String>,
    instance: Option<String>,
}

impl Line {
    fn into_line(self) -> LogLine {
        let at = self.timestamp.as_ref().and_then(Value::as_str);
        let message = self.message.unwrap_or_default();
        LogLine {
            at: at.and_then(|at| at.parse().ok()),
            message: printable(message.trim_end(), LINE_BYTES_MAX),
        }
    }
}
