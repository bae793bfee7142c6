//! Watches: one long answer, a line of JSON per change.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::list::Selection;
use super::{Client, ClientError, refusal};
use crate::object::{Object, Resource};

/// How long a watch is asked to last; it is taken up again where it ended. Short enough that a
/// connection which died silently is noticed.
const LASTS: Duration = Duration::from_secs(240);
/// How much longer than that an answer may take before the controller counts as gone.
const GRACE: Duration = Duration::from_secs(30);
/// A line is one object: four times what a manifest may be.
const MAX_LINE_BYTES: usize = 4 * vault_api::manifest::MANIFEST_BYTES_MAX;

/// One change.
#[derive(Debug)]
pub(crate) enum WatchEvent {
    /// An object is there that was not, or was not selected.
    Added(Object),
    /// An object has changed.
    Modified(Object),
    /// An object is gone, or is not selected any more; its last state.
    Deleted(Object),
    /// Nothing has changed; a watch may be taken up again from this version.
    Bookmark(Object),
}

/// A watch that is going on.
pub(crate) struct Watch {
    answer: reqwest::Response,
    /// What has come of the lines that have not been handed out.
    buffer: Vec<u8>,
    /// How much of the buffer is known to hold no line end.
    searched: usize,
    request: String,
    server: String,
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    r#type: Option<String>,
    #[serde(default)]
    object: Value,
}

impl Client {
    /// What happens to the selected objects after `version`.
    pub(crate) async fn watch(
        &self,
        resource: Resource,
        selection: &Selection,
        version: &str,
    ) -> Result<Watch, ClientError> {
        let mut url = self.collection(resource);
        selection.append_to(&mut url);
        url.query_pairs_mut()
            .append_pair("watch", "true")
            .append_pair("resourceVersion", version)
            .append_pair("allowWatchBookmarks", "true")
            .append_pair("timeoutSeconds", &LASTS.as_secs().to_string());
        let request = format!("GET {} (watch)", url.path());
        let answer = self.send(self.request(Method::GET, url).timeout(LASTS + GRACE)).await?;
        let server = self.server().to_owned();
        if !answer.status().is_success() {
            let code = answer.status().as_u16();
            let bytes = super::bounded_body(answer).await?;
            return Err(refusal(&server, code, &bytes));
        }
        Ok(Watch { answer, buffer: Vec::new(), searched: 0, request, server })
    }
}

impl Watch {
    /// The next change; `None` at the orderly end of the watch. Waiting for it may be broken off
    /// without losing anything.
    ///
    /// # Errors
    /// The answer broke off, is not a watch, or holds an error (with code 410 if the watch began too
    /// far in the past).
    pub(crate) async fn next(&mut self) -> Result<Option<WatchEvent>, ClientError> {
        loop {
            if let Some(line) = self.line() {
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return self.event(&line).map(Some);
            }
            match self.answer.chunk().await {
                Ok(Some(chunk)) if self.buffer.len() + chunk.len() > MAX_LINE_BYTES => {
                    return Err(ClientError::AnswerSize);
                }
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                // The last line may lack its end, above all if the answer was no watch.
                Ok(None) if self.buffer.is_empty() => return Ok(None),
                Ok(None) => self.buffer.push(b'\n'),
                Err(source) => return Err(ClientError::Answer { source }),
            }
        }
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let rest = self.buffer.split_off(self.searched + end + 1);
        self.searched = 0;
        Some(std::mem::replace(&mut self.buffer, rest))
    }

    fn event(&self, line: &[u8]) -> Result<WatchEvent, ClientError> {
        let meaning = |source| ClientError::Meaning { request: self.request.clone(), source };
        let Line { r#type, object } = serde_json::from_slice(line).map_err(meaning)?;
        let object = Object(object);
        match r#type.as_deref() {
            Some("ADDED") => Ok(WatchEvent::Added(object)),
            Some("MODIFIED") => Ok(WatchEvent::Modified(object)),
            Some("DELETED") => Ok(WatchEvent::Deleted(object)),
            Some("BOOKMARK") => Ok(WatchEvent::Bookmark(object)),
            Some("ERROR") => {
                let code = object.0.get("code").and_then(Value::as_u64).unwrap_or(500);
                let code = u16::try_from(code).unwrap_or(500);
                let text = object.0.to_string();
                Err(refusal(&self.server, code, text.as_bytes()))
            }
            // An older controller answers with what it has, and does not go on.
            None => Err(ClientError::NoWatch),
            Some(other) => {
                let message = format!("unknown type of change {other:?}");
                Err(meaning(serde::de::Error::custom(message)))
            }
        }
    }
}
